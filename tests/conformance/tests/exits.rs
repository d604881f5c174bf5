// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the Host sees of each exit, byte by byte, and how the Realm goes on.
//!
//! The Realm is a closure that stops with a syndrome whose every bit is set that does not decide what
//! happens: what the specification does not list for the exit must not reach the run page (A4.3).

use conformance::bench::{
    ASSIGNED, BEYOND, Bench, DESTROYED, EMPTY, ExitPage, PC, SHARED, UNASSIGNED, VBAR, gprs, step,
    with_bench,
};
use conformance::port::InProcess;
use rmi::{Command, EnterFlags, GranuleAddr, RecEnter};
use rmm_fake::Pas;
use rmm_hal::{Exit, Hal, Syndrome};
use scenarios::RmiPort;

const PAGE: u64 = 0x1000;

/// Offsets in the exit half of the run page.
const REASON: usize = 0x0;
const ESR: usize = 0x100;
const FAR: usize = 0x108;
const HPFAR: usize = 0x110;
const GPRS: usize = 0x200;
const RIPAS_BASE: usize = 0x500;
const RIPAS_TOP: usize = 0x508;
const RIPAS_VALUE: usize = 0x510;
const IMM: usize = 0x600;

/// Exit reasons.
const IRQ: u64 = 1;
const FIQ: u64 = 2;
const PSCI: u64 = 3;
const RIPAS_CHANGE: u64 = 4;
const SERROR: u64 = 6;

/// Fields of a syndrome register.
const EC: fn(u64) -> u64 = |class| class << 26;
const IL: u64 = 1 << 25;
const ISV: u64 = 1 << 24;
const EA: u64 = 1 << 9;
const WNR: u64 = 1 << 6;
/// Translation fault and permission fault at level 3; synchronous external abort.
const TRANSLATION: u64 = 0x07;
const PERMISSION: u64 = 0x0F;
const EXTERNAL: u64 = 0x10;

/// SSE, AR, bits of virtual nested registers, CM, S1PTW and the upper word: never shown.
const HIDDEN: u64 = 0xFFFF_FFFF_0000_0000 | 1 << 21 | 1 << 14 | 1 << 13 | 1 << 8 | 1 << 7;
/// SET = 2, FnV: shown of every data abort.
const SHOWN: u64 = 0b10 << 11 | 1 << 10;
/// SAS = 3, SRT = x5, SF: what a described access says of itself.
const ACCESS: u64 = ISV | 0b11 << 22 | 5 << 16 | 1 << 15;

const FAR_EL2: u64 = 0xFFFF_8000_1234_5678;

fn gpr(n: usize) -> u64 {
    gprs()[n]
}

fn hpfar(ipa: u64) -> u64 {
    ipa >> 12 << 4
}

fn sync(esr: u64, ipa: u64) -> Exit {
    Exit::Sync(Syndrome {
        esr,
        far: FAR_EL2 & !0xFFF | ipa & 0xFFF,
        hpfar: hpfar(ipa),
    })
}

/// A word of the exit half and its offset.
type Word = (usize, u64);

/// What every exit shows of `bench::interrupt_state`.
const ALWAYS: [Word; 10] = [
    (0x300, 0xF800_40FE),
    (0x308, 40),
    (0x310, 41),
    (0x318, 42),
    (0x388, 0x22),
    (0x390, 0x1111),
    (0x400, 0b001),
    (0x408, 0x4444),
    (0x410, 0b011),
    (0x418, 0x3333),
];

/// Requires that an exit page holds these words and what every exit shows, and zero everywhere else.
#[track_caller]
fn require(name: &str, page: &ExitPage, words: &[Word]) {
    let mut wanted = [0; 2048];
    for (offset, word) in ALWAYS.iter().chain(words) {
        wanted[*offset..*offset + 8].copy_from_slice(&word.to_le_bytes());
    }
    for offset in (0..2048).step_by(8) {
        let [found, wanted] = [page, &wanted]
            .map(|page| u64::from_le_bytes(page[offset..offset + 8].try_into().unwrap()));
        assert_eq!(found, wanted, "{name}: offset {offset:#x}");
    }
}

#[test]
fn data_aborts_show_what_their_kind_lists() {
    let data = EC(0x24) | IL;
    let visible = EC(0x24) | SHOWN;
    let store = ACCESS | WNR;
    let described = ISV | 0b11 << 22 | 1 << 15;
    #[rustfmt::skip]
    let rows = [
        ("load", data | HIDDEN | SHOWN | ACCESS | TRANSLATION, SHARED + 0x18, vec![
            (ESR, visible | described | TRANSLATION), (FAR, 0x18), (HPFAR, hpfar(SHARED))]),
        ("store", data | HIDDEN | SHOWN | store | PERMISSION, SHARED + 0x20, vec![
            (ESR, visible | described | WNR | PERMISSION), (FAR, 0x20), (HPFAR, hpfar(SHARED)),
            (GPRS, gpr(5))]),
        ("store of xzr", data | store | 31 << 16 | TRANSLATION, SHARED, vec![
            (ESR, EC(0x24) | described | WNR | TRANSLATION), (HPFAR, hpfar(SHARED))]),
        ("not described", data | HIDDEN | SHOWN | store & !ISV | TRANSLATION, SHARED + 8, vec![
            (ESR, visible | IL | TRANSLATION), (HPFAR, hpfar(SHARED))]),
        ("misaligned", data | HIDDEN | SHOWN | store | 0x21, SHARED + 8, vec![
            (ESR, visible | IL | 0x21), (HPFAR, hpfar(SHARED))]),
        ("unassigned", data | HIDDEN | SHOWN | store | TRANSLATION, UNASSIGNED + 8, vec![
            (ESR, visible | TRANSLATION), (HPFAR, hpfar(UNASSIGNED))]),
        ("destroyed", data | HIDDEN | SHOWN | store | TRANSLATION, DESTROYED + 8, vec![
            (ESR, visible | TRANSLATION), (HPFAR, hpfar(DESTROYED))]),
        ("external", data | HIDDEN | SHOWN | 0b11 << 11 | EA | EXTERNAL, ASSIGNED, vec![
            (ESR, visible | 0b11 << 11 | EA | EXTERNAL)]),
    ];
    with_bench(|bench| {
        for (name, esr, ipa, words) in &rows {
            let page = bench.stop(sync(*esr, *ipa));
            require(name, &page, words);
            let context = bench.resume(&RecEnter::default());
            assert_eq!(context.pc, PC, "{name}: the access is made again");
            assert_eq!(context.gprs, gprs(), "{name}");
        }
    });
}

#[test]
fn fetches_show_what_their_kind_lists() {
    let fetch = EC(0x20) | IL | HIDDEN | SHOWN | ACCESS | TRANSLATION;
    with_bench(|bench| {
        for (name, ipa) in [("unassigned", UNASSIGNED), ("destroyed", DESTROYED)] {
            let page = bench.stop(sync(fetch, ipa));
            let esr = EC(0x20) | 0b10 << 11 | TRANSLATION;
            require(name, &page, &[(ESR, esr), (HPFAR, hpfar(ipa))]);
            assert_eq!(bench.resume(&RecEnter::default()).pc, PC, "{name}");
        }
    });
}

#[test]
fn waits_show_the_instruction_and_its_timeout() {
    let wait = EC(0x01) | IL | 0xFFFF_FFFF << 32 | 1 << 24 | 0xE << 20 | 9 << 5;
    #[rustfmt::skip]
    let rows = [
        ("WFI", wait, vec![(ESR, EC(1))]),
        ("WFE", wait | 1, vec![(ESR, EC(1) | 1)]),
        ("WFIT", wait | 1 << 2 | 2, vec![(ESR, EC(1) | 2), (GPRS, gpr(9))]),
        ("WFET", wait | 1 << 2 | 3, vec![(ESR, EC(1) | 3), (GPRS, gpr(9))]),
    ];
    with_bench(|bench| {
        for (name, esr, words) in &rows {
            let page = bench.stop(sync(*esr, 0));
            require(name, &page, words);
            assert_eq!(bench.resume(&RecEnter::default()).pc, PC + 4, "{name}");
        }
    });
}

#[test]
fn wait_of_a_short_instruction_is_passed_by_its_length() {
    // AArch32 at EL0, T32: IT = 0b1100_1010 is the second of three conditional instructions.
    let it = |it: u64| (it >> 2 & 0x3F) << 10 | (it & 3) << 25;
    let t32 = 0x10 | 1 << 5;
    let wait = EC(0x01) | 1 << 24 | 0xE << 20 | 1;
    with_bench(|bench| {
        for (esr, bytes, before, after) in [
            (wait, 2, 0b1100_1010, 0b1101_0100),
            (wait, 2, 0b1100_1000, 0),
            (wait, 2, 0, 0),
            (wait | IL, 4, 0b1100_1010, 0b1101_0100),
        ] {
            let page = bench.stop_at(sync(esr, 0), move |context| {
                context.pstate = t32 | it(before) | 1 << 21;
            });
            require("WFE", &page, &[(ESR, EC(1) | 1)]);
            let context = bench.resume(&RecEnter::default());
            assert_eq!(context.pc, PC + bytes, "{esr:#x}");
            assert_eq!(context.pstate, t32 | it(after), "{before:#b}");
        }
    });
}

#[test]
fn asynchronous_exits_show_their_reason() {
    let esr = EC(0x2F) | IL | 0xFFFF_FFFF_0000_0000 | 1 << 13 | EA | 0x11 | 1 << 8;
    let serror = |aet: u64| Exit::SError {
        esr: esr | aet << 10,
    };
    let shown = EC(0x2F) | EA | 0x11;
    with_bench(|bench| {
        require("IRQ", &bench.stop(Exit::Irq), &[(REASON, IRQ)]);
        require("FIQ", &bench.stop(Exit::Fiq), &[(REASON, FIQ)]);
        for aet in [0, 1, 2, 3, 6] {
            let words = [(REASON, SERROR), (ESR, shown | aet << 10)];
            require("SError", &bench.stop(serror(aet)), &words);
        }
        assert_eq!(bench.resume(&RecEnter::default()).pc, PC);
    });
}

#[test]
fn gic_writes_show_their_value() {
    // msr icc_sgi1r_el1, x7
    let esr = EC(0x18) | IL | 3 << 20 | 5 << 17 | 12 << 10 | 7 << 5 | 11 << 1;
    with_bench(|bench| {
        let page = bench.stop(sync(esr, 0));
        require("SGI", &page, &[(ESR, esr & !(0x1F << 5)), (GPRS, gpr(7))]);
        assert_eq!(bench.resume(&RecEnter::default()).pc, PC + 4);
    });
}

/// A step that calls the monitor.
fn smc(bench: &Bench<'_>, registers: &[u64]) -> ExitPage {
    let registers = registers.to_vec();
    bench.stop_at(sync(EC(0x17) | IL, 0), move |context| {
        context.gprs[..registers.len()].copy_from_slice(&registers);
    })
}

#[test]
fn calls_show_their_arguments_and_no_more() {
    let on = 0xC400_0003;
    #[rustfmt::skip]
    let rows: [(&str, &[u64], &[Word]); 8] = [
        ("CPU_SUSPEND", &[0xC400_0001, 1, 2, 3], &[(REASON, PSCI), (GPRS, 0xC400_0001)]),
        ("CPU_SUSPEND 32", &[0x8401_0001, 1, 2, 3], &[(REASON, PSCI), (GPRS, 0x8400_0001)]),
        ("IPA_STATE_SET RAM", &[0xC400_0197, 0, PAGE, 1, 0], &[
            (REASON, RIPAS_CHANGE), (RIPAS_TOP, PAGE), (RIPAS_VALUE, 1)]),
        ("IPA_STATE_SET EMPTY", &[0xC400_0197, PAGE, SHARED, 0xFF00, u64::MAX], &[
            (REASON, RIPAS_CHANGE), (RIPAS_BASE, PAGE), (RIPAS_TOP, SHARED)]),
        ("HOST_CALL missing", &[0xC400_0199, UNASSIGNED + 0x100], &[
            (ESR, EC(0x24) | TRANSLATION), (HPFAR, hpfar(UNASSIGNED))]),
        ("HOST_CALL destroyed", &[0xC400_0199, DESTROYED], &[
            (ESR, EC(0x24) | TRANSLATION), (HPFAR, hpfar(DESTROYED))]),
        ("REALM_CONFIG missing", &[0xC400_0196, UNASSIGNED], &[
            (ESR, EC(0x24) | TRANSLATION), (HPFAR, hpfar(UNASSIGNED))]),
        ("CPU_ON", &[on, 1, PC, 0x77], &[(REASON, PSCI), (GPRS, on), (GPRS + 8, 1)]),
    ];
    with_bench(|bench| {
        for (name, registers, words) in rows {
            let page = smc(bench, registers);
            require(name, &page, words);
        }
        let (x0, _) = bench.enter(&bench.recs[0], &RecEnter::default(), Vec::new());
        assert_eq!(x0, 3, "a call is pending");
    });
    for fid in [0x8400_0002, 0x8400_0008, 0x8400_0009] {
        with_bench(|bench| {
            let page = smc(bench, &[fid, 1, 2, 3]);
            require("end", &page, &[(REASON, PSCI), (GPRS, fid)]);
            let (x0, _) = bench.enter(&bench.recs[0], &RecEnter::default(), Vec::new());
            let wanted = if fid == 0x8400_0002 { 3 } else { 2 | 1 << 8 };
            assert_eq!(x0, wanted, "{fid:#x}");
        });
    }
}

#[test]
fn host_call_shows_the_structure() {
    with_bench(|bench| {
        let call = step(sync(EC(0x17), 0), |context| {
            context.gprs[..2].copy_from_slice(&[0xC400_0199, ASSIGNED + 0x300]);
        });
        let page = bench.site.machine;
        let data = {
            let mut port = InProcess::new(bench.site);
            let (rd, ipa, level) = (bench.realm.rd, ASSIGNED, 3);
            let reply = port.call(Command::RttReadEntry { rd, ipa, level }.encode());
            GranuleAddr::new(reply[3]).unwrap()
        };
        let words: [u64; 32] = std::array::from_fn(|n| 0xC0DE_0000 + n as u64);
        for (n, word) in words.iter().enumerate() {
            page.store(data, Pas::Realm, 0x60 + n, *word).unwrap();
        }
        let (x0, exit) = bench.enter(&bench.recs[0], &RecEnter::default(), vec![call]);
        assert_eq!(x0, 0);
        let at = |offset: usize| u64::from_le_bytes(exit[offset..offset + 8].try_into().unwrap());
        assert_eq!((at(REASON), at(IMM)), (5, 0), "imm is the low half word");
        assert!((0..31).all(|n| at(GPRS + 8 * n) == words[n + 1]));
        assert_eq!([at(ESR), at(FAR), at(HPFAR), at(RIPAS_TOP)], [0; 4]);
        let mut enter = RecEnter::default();
        enter.gprs = std::array::from_fn(|n| 0xAA00 + n as u64);
        let context = bench.resume(&enter);
        assert_eq!(context.pc, PC + 4);
        assert_eq!(context.gprs[..=16], [0; 17], "what the call does not list");
        for n in 0..32 {
            let found = page.load(data, Pas::Realm, 0x60 + n).unwrap();
            let wanted = if n == 0 {
                words[0]
            } else {
                0xAA00 + n as u64 - 1
            };
            assert_eq!(found, wanted, "word {n}");
        }
    });
}

#[test]
fn realm_takes_what_is_its_own() {
    let data = EC(0x24) | IL | SHOWN & !(1 << 10) | ACCESS;
    let fetch = EC(0x20) | IL | TRANSLATION;
    let sea = |class: u64| EC(class) | IL | EA | EXTERNAL;
    #[rustfmt::skip]
    let rows = [
        ("load of EMPTY", data | TRANSLATION, EMPTY, sea(0x25)),
        ("store to EMPTY", data | WNR | TRANSLATION, EMPTY, sea(0x25) | WNR),
        ("fetch of EMPTY", fetch, EMPTY, sea(0x21)),
        ("fetch of shared", fetch, SHARED, sea(0x21)),
        ("load beyond", data | TRANSLATION, BEYOND, EC(0x25) | IL),
        ("fetch beyond", fetch, BEYOND, EC(0x21) | IL),
    ];
    with_bench(|bench| {
        for (name, esr, ipa, wanted) in rows {
            let page = bench.stop(sync(esr, ipa));
            require(name, &page, &[(REASON, IRQ)]);
            let [esr, elr, far] = bench.exception();
            assert_eq!((esr, elr, far), (wanted, PC, FAR_EL2 & !0xFFF), "{name}");
            let context = bench.resume(&RecEnter::default());
            assert_eq!(context.pc, VBAR + 0x200, "{name}");
            assert_eq!(context.gprs, gprs(), "{name}");
        }
    });
}

#[test]
fn undefined_instruction_is_where_the_exception_returns_to() {
    with_bench(|bench| {
        // HVC comes to R-EL2 with the address behind it, everything else with its own.
        for (name, esr, pc) in [
            ("HVC", EC(0x16) | IL | 0x1234, PC + 4),
            ("SVE", EC(0x19) | IL, PC),
            ("PMCR_EL0", EC(0x18) | IL | 0x0030_2F08, PC),
        ] {
            let page = bench.stop_at(sync(esr, 0), move |context| context.pc = pc);
            require(name, &page, &[(REASON, IRQ)]);
            let [esr, elr, _] = bench.exception();
            assert_eq!((esr, elr), (IL, PC), "{name}");
        }
    });
}

#[test]
fn emulation_is_for_the_last_exit_only() {
    let load = EC(0x24) | IL | ACCESS | TRANSLATION;
    let mut emulate = RecEnter::default();
    emulate.set_enter_flags(EnterFlags::EMUL_MMIO);
    emulate.gprs = [0x1234_5678_9ABC_DEF0; 31];
    with_bench(|bench| {
        bench.stop(sync(load, SHARED));
        let context = bench.resume(&emulate);
        let mut wanted = gprs();
        wanted[5] = 0x1234_5678_9ABC_DEF0;
        assert_eq!((context.pc, context.gprs), (PC + 4, wanted));
        // Each of these is an exit after the abort.
        let call = sync(EC(0x17) | IL, 0);
        for exit in [Exit::Irq, Exit::Fiq, sync(load, UNASSIGNED), call] {
            bench.stop(sync(load, SHARED));
            bench.stop_at(exit, |context| context.gprs[0] = 0xC400_0001);
            let (x0, _) = bench.enter(&bench.recs[0], &emulate, Vec::new());
            assert_eq!(x0, 3, "after {exit:x?}");
        }
    });
}

/// An SError that the Realm has not taken comes again with each entry, but not to a processor that was
/// turned off in between: that starts from a reset.
#[test]
fn serror_that_was_not_taken_ends_with_the_power() {
    let unrecoverable = EC(0x2F) | 1 << 10 | EA | 0x11;
    with_bench(|bench| {
        let [rec, other] = bench.recs;
        let pending = || bench.pe.realm().pending_serror.get();
        bench.stop(Exit::SError { esr: unrecoverable });
        for _ in 0..2 {
            bench.resume(&RecEnter::default());
            assert_eq!(pending(), Some(unrecoverable & 0x1FF_FFFF));
        }
        smc(bench, &[0x8400_0002]);
        let on = step(sync(EC(0x17), 0), |context| {
            context.gprs[..4].copy_from_slice(&[0xC400_0003, 0, PC, 0x77]);
        });
        let (x0, _) = bench.enter(&other, &RecEnter::default(), vec![on]);
        assert_eq!(x0, 0);
        let x0 = bench.call(Command::PsciComplete {
            calling_rec: other.rec,
            target_rec: rec.rec,
            status: 0,
        });
        assert_eq!(x0, 0);
        let context = bench.resume(&RecEnter::default());
        assert_eq!((context.pc, context.gprs[0]), (PC, 0x77));
        assert_eq!(pending(), None);
    });
}
