// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Vector state of the Non-secure world and of the REC.
//!
//! The monitor is built without SIMD, so between calls the registers hold the Host's values. With SVE
//! they are put aside whole (Z, P and FFR, in the streaming mode the Host was in) before a Realm runs,
//! else at the Realm's first use of SIMD. The REC's are loaded at that first use, which traps.
//! [`Simd::restore`] turns both round. ZA and ZT0 are never touched: a Realm cannot reach them.

use core::arch::global_asm;
use core::cell::RefCell;

use rmm_hal::registers::{Control, trap_bits};
use rmm_hal::{CpuFeatures, GranuleWindow, RecContext, RunControls};

use crate::regs::{isb, read_sysreg, write_sysreg};

global_asm!(include_str!("simd.S"));

unsafe extern "C" {
    fn v_save(to: *mut u8);
    fn v_load(from: *const u8);
    fn z_save(low: *mut u8, high: *mut u8);
    fn z_load(low: *const u8, high: *const u8);
    fn p_save(to: *mut u8);
    fn p_load(from: *const u8);
    fn p_save_streaming(to: *mut u8);
    fn p_load_streaming(from: *const u8);
}

/// `CPTR_EL2` with E2H = 0: traps of activity monitors (TAM) and trace (TTA), and the bits that are one.
const CPTR_BASE: u64 = 1 << 30 | 1 << 20 | 0x22FF;
/// `CPTR_EL2.TFP`.
const CPTR_TFP: u64 = 1 << 10;
/// `CPTR_EL2.TZ`; reads as one without SVE.
const CPTR_TZ: u64 = 1 << 8;
/// `CPTR_EL2.TSM`; reads as one without SME.
const CPTR_TSM: u64 = 1 << 12;
// What traps for every Realm is in both values that a Realm runs with.
const _: () = assert!(trap_bits(Control::Cptr) & !(CPTR_BASE | CPTR_TSM) == 0);

/// `SVCR.SM`.
pub(crate) const STREAMING: u64 = 1;
/// `ZCR_EL2.LEN` that gives the greatest length of the PE.
pub(crate) const LONGEST: u64 = 0xF;

/// Room for the longest vectors: sixteen Z registers twice, sixteen predicates and FFR.
#[repr(C, align(64))]
struct Registers {
    low: [u8; 16 * 256],
    high: [u8; 16 * 256],
    predicates: [u8; 17 * 32],
    fp_control: [u64; 2],
    zcr_el1: u64,
    zcr_el2: u64,
    svcr: u64,
    /// The Host's registers are here and not in the PE.
    aside: bool,
    /// The REC's registers are in the PE.
    rec_loaded: bool,
}

/// Returns the value of `CPTR_EL2` under which R-EL2 may use what the PE has.
pub(crate) fn open_traps(has_sve: bool, has_sme: bool) -> u64 {
    let mut value = CPTR_BASE;
    if !has_sve {
        value |= CPTR_TZ;
    }
    if !has_sme {
        value |= CPTR_TSM;
    }
    value
}

/// Who the vector registers of this PE belong to, and the Host's while they are the REC's.
pub(crate) struct Simd {
    has_sve: bool,
    has_sme: bool,
    host: RefCell<Registers>,
}

impl Simd {
    pub(crate) fn new(features: &CpuFeatures) -> Self {
        Self {
            has_sve: features.sve_vq.is_some(),
            has_sme: features.sme,
            host: RefCell::new(Registers {
                low: [0; 16 * 256],
                high: [0; 16 * 256],
                predicates: [0; 17 * 32],
                fp_control: [0; 2],
                zcr_el1: 0,
                zcr_el2: 0,
                svcr: 0,
                aside: false,
                rec_loaded: false,
            }),
        }
    }

    /// Lets R-EL2 use the vector registers; the state between two Realm runs.
    pub(crate) fn open(&self) {
        write_sysreg!("CPTR_EL2", open_traps(self.has_sve, self.has_sme));
    }

    /// Arms the traps for a Realm whose vector registers are not loaded yet.
    ///
    /// With SVE the Host's registers are put aside first. An exception return to a level where SVE is
    /// trapped makes what is longer than 128 bits inaccessible, and the PE may lose it then (Arm ARM,
    /// on the accessible vector length). This also leaves streaming mode, in which a Realm's SIMD
    /// instructions would trap as SME.
    pub(crate) fn arm(&self) {
        if self.has_sve {
            let mut host = self.host.borrow_mut();
            self.save_host(&mut host);
            host.aside = true;
        }
        write_sysreg!("CPTR_EL2", CPTR_BASE | CPTR_TFP | CPTR_TZ | CPTR_TSM);
    }

    /// Loads the REC's registers, after the Host's were put aside. Does nothing when they are loaded.
    pub(crate) fn enable<W: GranuleWindow>(
        &self,
        window: &W,
        context: &RecContext,
        controls: &RunControls,
    ) {
        let mut host = self.host.borrow_mut();
        if host.rec_loaded {
            return;
        }
        self.open();
        isb();
        if !host.aside {
            self.save_host(&mut host);
            host.aside = true;
        }
        self.load_rec(window, context, controls);
        write_sysreg!("S3_3_C4_C4_1", context.fp_control[0]);
        write_sysreg!("S3_3_C4_C4_0", context.fp_control[1]);
        host.rec_loaded = true;
        let mut traps = CPTR_BASE | CPTR_TSM;
        if controls.sve.is_none() {
            traps |= CPTR_TZ;
        }
        write_sysreg!("CPTR_EL2", traps);
    }

    /// Saves the REC's registers if they are loaded, and gives the Host its own back.
    pub(crate) fn restore<W: GranuleWindow>(
        &self,
        window: &W,
        context: &mut RecContext,
        controls: &RunControls,
    ) {
        self.open();
        let mut host = self.host.borrow_mut();
        if !host.aside {
            return;
        }
        isb();
        if host.rec_loaded {
            context.fp_control = [read_sysreg!("S3_3_C4_C4_1"), read_sysreg!("S3_3_C4_C4_0")];
            self.save_rec(window, context, controls);
            host.rec_loaded = false;
        }
        self.load_host(&host);
        host.aside = false;
    }

    fn save_host(&self, host: &mut Registers) {
        host.fp_control = [read_sysreg!("S3_3_C4_C4_1"), read_sysreg!("S3_3_C4_C4_0")];
        if !self.has_sve {
            // SAFETY: `low` has 512 bytes; CPTR_EL2 is open.
            unsafe { v_save(host.low.as_mut_ptr()) };
            return;
        }
        host.svcr = if self.has_sme {
            read_sysreg!("S3_3_C4_C2_2")
        } else {
            0
        };
        host.zcr_el1 = read_sysreg!("S3_0_C1_C2_0");
        host.zcr_el2 = read_sysreg!("S3_4_C1_C2_0");
        write_sysreg!("S3_4_C1_C2_0", LONGEST);
        isb();
        // SAFETY: both halves have sixteen times the longest vector; CPTR_EL2 is open.
        unsafe { z_save(host.low.as_mut_ptr(), host.high.as_mut_ptr()) };
        let predicates = host.predicates.as_mut_ptr();
        if host.svcr & STREAMING == 0 {
            // SAFETY: room for seventeen of the longest predicates; not in streaming mode.
            unsafe { p_save(predicates) };
        } else {
            // SAFETY: room for sixteen of the longest predicates.
            unsafe { p_save_streaming(predicates) };
            write_sysreg!("S3_3_C4_C2_2", host.svcr & !STREAMING);
        }
    }

    fn load_host(&self, host: &Registers) {
        if self.has_sve {
            if host.svcr & STREAMING != 0 {
                write_sysreg!("S3_3_C4_C2_2", host.svcr);
            }
            write_sysreg!("S3_4_C1_C2_0", LONGEST);
            isb();
            // SAFETY: both halves were filled by `save_host` in the same mode and length.
            unsafe { z_load(host.low.as_ptr(), host.high.as_ptr()) };
            let predicates = host.predicates.as_ptr();
            if host.svcr & STREAMING == 0 {
                // SAFETY: filled by `p_save` at the same length; not in streaming mode.
                unsafe { p_load(predicates) };
            } else {
                // SAFETY: filled by `p_save_streaming` at the same length.
                unsafe { p_load_streaming(predicates) };
            }
            write_sysreg!("S3_4_C1_C2_0", host.zcr_el2);
            write_sysreg!("S3_0_C1_C2_0", host.zcr_el1);
        } else {
            // SAFETY: `low` was filled by `v_save`.
            unsafe { v_load(host.low.as_ptr()) };
        }
        write_sysreg!("S3_3_C4_C4_1", host.fp_control[0]);
        write_sysreg!("S3_3_C4_C4_0", host.fp_control[1]);
    }

    fn load_rec<W: GranuleWindow>(&self, window: &W, context: &RecContext, controls: &RunControls) {
        let Some(sve) = &controls.sve else {
            // SAFETY: the array is 512 bytes.
            unsafe { v_load(context.simd.as_ptr().cast()) };
            return;
        };
        write_sysreg!("S3_4_C1_C2_0", u64::from(sve.vq));
        write_sysreg!("S3_0_C1_C2_0", context.zcr_el1);
        isb();
        let [low, high, predicates] = sve.storage.map(|granule| window.map(granule));
        // SAFETY: a granule holds sixteen times the longest vector; the REC's auxiliary granules are
        // its own while it is in use, and nobody else shows them.
        unsafe { z_load(low.as_ptr(), high.as_ptr()) };
        // SAFETY: a granule holds seventeen predicates.
        unsafe { p_load(predicates.as_ptr()) };
        for view in [low, high, predicates] {
            // SAFETY: mapped above, used no more.
            unsafe { window.unmap(view) };
        }
    }

    fn save_rec<W: GranuleWindow>(
        &self,
        window: &W,
        context: &mut RecContext,
        controls: &RunControls,
    ) {
        let Some(sve) = &controls.sve else {
            // SAFETY: the array is 512 bytes.
            unsafe { v_save(context.simd.as_mut_ptr().cast()) };
            return;
        };
        context.zcr_el1 = read_sysreg!("S3_0_C1_C2_0");
        let [low, high, predicates] = sve.storage.map(|granule| window.map(granule));
        // SAFETY: as in `load_rec`, and ZCR_EL2 still has the REC's length.
        unsafe { z_save(low.as_ptr(), high.as_ptr()) };
        // SAFETY: a granule holds seventeen predicates; a Realm is never in streaming mode.
        unsafe { p_save(predicates.as_ptr()) };
        for view in [low, high, predicates] {
            // SAFETY: mapped above, used no more.
            unsafe { window.unmap(view) };
        }
    }
}
