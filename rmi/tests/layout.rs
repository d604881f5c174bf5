// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The structures in shared memory, with offsets copied by hand from the tables of DEN0137.
//!
//! Each test draws the bytes that the document describes, then compares them with what the typed
//! structures write, all bytes included, and with what they read.

use rmi::rec_run::{REC_GIC_LRS, REC_GPRS};
use rmi::{
    EnterFlags, ExitReason, HashAlgorithm, HostCall, Ipa, RealmConfig, RealmFlags, RealmParams,
    RealmRequest, RecEnter, RecExit, RecFlags, RecMpidr, RecParams, RecRequest, RecRun, Ripas,
};
use zerocopy::{FromBytes, IntoBytes};

/// A structure as bytes, drawn field by field.
struct Drawing(Vec<u8>);

impl Drawing {
    fn new(size: usize) -> Self {
        Self(vec![0; size])
    }

    fn put(&mut self, offset: usize, bytes: &[u8]) -> &mut Self {
        let field = &mut self.0[offset..offset + bytes.len()];
        assert!(
            field.iter().all(|byte| *byte == 0),
            "overlap at {offset:#x}"
        );
        field.copy_from_slice(bytes);
        self
    }

    fn byte(&mut self, offset: usize, value: u8) -> &mut Self {
        self.put(offset, &[value])
    }

    fn half(&mut self, offset: usize, value: u16) -> &mut Self {
        self.put(offset, &value.to_le_bytes())
    }

    fn word(&mut self, offset: usize, value: u32) -> &mut Self {
        self.put(offset, &value.to_le_bytes())
    }

    fn long(&mut self, offset: usize, value: u64) -> &mut Self {
        self.put(offset, &value.to_le_bytes())
    }

    fn longs(&mut self, offset: usize, values: &[u64]) -> &mut Self {
        for (index, value) in values.iter().enumerate() {
            self.long(offset + 8 * index, *value);
        }
        self
    }

    /// Checks that `value` is written as drawn, and returns what is read from the drawing.
    fn compare<T: FromBytes + IntoBytes + zerocopy::Immutable>(&self, value: &T) -> T {
        assert_eq!(value.as_bytes().len(), self.0.len());
        for (offset, (written, drawn)) in value.as_bytes().iter().zip(&self.0).enumerate() {
            assert_eq!(written, drawn, "at {offset:#x}");
        }
        T::read_from_bytes(&self.0).unwrap()
    }
}

/// Returns values that differ from each other and from zero, in every byte.
fn distinct<const N: usize>(seed: u64) -> [u64; N] {
    core::array::from_fn(|index| {
        let index = u64::try_from(index).unwrap();
        0x0101_0101_0101_0101 * seed + index
    })
}

#[test]
fn realm_params_page_is_as_documented() {
    let rpv: [u8; 64] = core::array::from_fn(|index| u8::try_from(index).unwrap() + 1);
    let mut drawing = Drawing::new(0x1000);
    drawing
        .long(0x0, 0b101)
        .byte(0x8, 41)
        .byte(0x10, 3)
        .byte(0x18, 5)
        .byte(0x20, 7)
        .byte(0x28, 9)
        .byte(0x30, 1)
        .put(0x400, &rpv)
        .half(0x800, 0xABCD)
        .long(0x808, 0x8_8765_4000)
        .put(0x810, &(-1_i64).to_le_bytes())
        .word(0x818, 0x1234_5678);
    let request = RealmRequest {
        flags: RealmFlags::LPA2 | RealmFlags::PMU,
        s2sz: 41,
        sve_vl: 3,
        num_bps: 5,
        num_wps: 7,
        pmu_num_ctrs: 9,
        hash_algo: HashAlgorithm::Sha512,
        rpv,
        vmid: 0xABCD,
        rtt_base: 0x8_8765_4000,
        rtt_level_start: -1,
        rtt_num_start: 0x1234_5678,
    };
    let read = drawing.compare(&RealmParams::from(&request));
    assert_eq!(RealmRequest::try_from(&read), Ok(request));
}

#[test]
fn realm_flags_are_as_documented() {
    assert_eq!(RealmFlags::LPA2.bits(), 1 << 0);
    assert_eq!(RealmFlags::SVE.bits(), 1 << 1);
    assert_eq!(RealmFlags::PMU.bits(), 1 << 2);
}

#[test]
fn rec_params_page_is_as_documented() {
    let mut drawing = Drawing::new(0x1000);
    drawing
        .long(0x0, 1)
        .long(0x100, 0x0403_0201)
        .long(0x200, 0xFFFF_8000_1234_5678)
        .longs(0x300, &distinct::<8>(0x11))
        .long(0x800, 16)
        .longs(0x808, &distinct::<16>(0x22));
    let request = RecRequest {
        flags: RecFlags::RUNNABLE,
        // Aff0 1, Aff1 2, Aff2 3, Aff3 4.
        mpidr: RecMpidr::from_index(1 + 16 * 2 + 4096 * 3 + 1_048_576 * 4).unwrap(),
        pc: 0xFFFF_8000_1234_5678,
        gprs: distinct(0x11),
        num_aux: 16,
        aux: distinct(0x22),
    };
    let read = drawing.compare(&RecParams::from(&request));
    assert_eq!(RecRequest::try_from(&read), Ok(request));
}

/// Draws the Host's half of the run page.
fn draw_enter(drawing: &mut Drawing) {
    drawing
        .long(0x0, 0b1_0101)
        .longs(0x200, &distinct::<31>(0x11))
        .long(0x300, 0xC0FE)
        .longs(0x308, &distinct::<16>(0x33));
}

/// Returns what [`draw_enter`] draws.
fn enter() -> RecEnter {
    let mut enter = RecEnter::default();
    let flags = EnterFlags::EMUL_MMIO | EnterFlags::TRAP_WFI | EnterFlags::RIPAS_REJECT;
    enter.set_enter_flags(flags);
    enter.gprs = distinct::<REC_GPRS>(0x11);
    enter.gicv3_hcr = 0xC0FE;
    enter.gicv3_lrs = distinct::<REC_GIC_LRS>(0x33);
    enter
}

/// Draws the monitor's half of the run page, which starts at `base`.
fn draw_exit(drawing: &mut Drawing, base: usize) {
    drawing
        .byte(base, 4)
        .long(base + 0x100, 0x9200_0047)
        .long(base + 0x108, 0x234)
        .long(base + 0x110, 0x0900_0010)
        .longs(base + 0x200, &distinct::<31>(0x44))
        .long(base + 0x300, 0x301)
        .longs(base + 0x308, &distinct::<16>(0x55))
        .long(base + 0x388, 0x388)
        .long(base + 0x390, 0x390)
        .long(base + 0x400, 0x400)
        .long(base + 0x408, 0x408)
        .long(base + 0x410, 0x410)
        .long(base + 0x418, 0x418)
        .long(base + 0x500, 0x5000)
        .long(base + 0x508, 0x6000)
        .byte(base + 0x510, 1)
        .half(base + 0x600, 0xBEEF)
        .byte(base + 0x700, 1);
}

/// Returns what [`draw_exit`] draws.
fn exit() -> RecExit {
    let mut exit = RecExit::default();
    exit.exit_reason = ExitReason::RipasChange.code();
    exit.esr = 0x9200_0047;
    exit.far = 0x234;
    exit.hpfar = 0x0900_0010;
    exit.gprs = distinct::<REC_GPRS>(0x44);
    exit.gicv3_hcr = 0x301;
    exit.gicv3_lrs = distinct::<REC_GIC_LRS>(0x55);
    exit.gicv3_misr = 0x388;
    exit.gicv3_vmcr = 0x390;
    exit.cntp_ctl = 0x400;
    exit.cntp_cval = 0x408;
    exit.cntv_ctl = 0x410;
    exit.cntv_cval = 0x418;
    exit.ripas_base = 0x5000;
    exit.ripas_top = 0x6000;
    exit.ripas_value = Ripas::Ram.code();
    exit.imm = 0xBEEF;
    exit.pmu_ovf_status = 1;
    exit
}

#[test]
fn rec_enter_is_as_documented() {
    let mut drawing = Drawing::new(0x800);
    draw_enter(&mut drawing);
    assert_eq!(drawing.compare(&enter()), enter());
}

#[test]
fn enter_flags_are_as_documented() {
    assert_eq!(EnterFlags::EMUL_MMIO.bits(), 1 << 0);
    assert_eq!(EnterFlags::INJECT_SEA.bits(), 1 << 1);
    assert_eq!(EnterFlags::TRAP_WFI.bits(), 1 << 2);
    assert_eq!(EnterFlags::TRAP_WFE.bits(), 1 << 3);
    assert_eq!(EnterFlags::RIPAS_REJECT.bits(), 1 << 4);
}

#[test]
fn rec_exit_is_as_documented() {
    let mut drawing = Drawing::new(0x800);
    draw_exit(&mut drawing, 0);
    let read = drawing.compare(&exit());
    assert_eq!(read.reason(), Some(ExitReason::RipasChange));
    assert_eq!(read.fault_ipa(), Ipa::new(0x9_0000_1234));
    let change = read.ripas_change().unwrap();
    assert_eq!(change.base.raw(), 0x5000);
    assert_eq!(change.top.raw(), 0x6000);
    assert_eq!(change.ripas, Ripas::Ram);
    assert!(read.has_pmu_overflow());
}

#[test]
fn rec_run_page_joins_both_halves() {
    let mut drawing = Drawing::new(0x1000);
    draw_enter(&mut drawing);
    draw_exit(&mut drawing, 0x800);
    let run = RecRun {
        enter: enter(),
        exit: exit(),
    };
    assert_eq!(drawing.compare(&run), run);
}

#[test]
fn realm_config_page_is_as_documented() {
    let rpv: [u8; 64] = core::array::from_fn(|index| u8::try_from(index).unwrap() + 1);
    let mut drawing = Drawing::new(0x1000);
    drawing.long(0x0, 40).byte(0x8, 1).put(0x200, &rpv);
    let config = RealmConfig::new(40, HashAlgorithm::Sha512, rpv);
    let read = drawing.compare(&config);
    assert_eq!(read.ipa_width, 40);
    assert_eq!(read.hash_algo, 1);
    assert_eq!(read.rpv, rpv);
}

#[test]
fn host_call_is_as_documented() {
    let mut drawing = Drawing::new(0x100);
    drawing.half(0x0, 0xBEEF).longs(0x8, &distinct::<31>(0x66));
    let mut call = HostCall::default();
    call.imm = 0xBEEF;
    call.gprs = distinct(0x66);
    let read = drawing.compare(&call);
    assert_eq!((read.imm, read.gprs), (call.imm, call.gprs));
}
