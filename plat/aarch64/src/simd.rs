// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Vector state of the Non-secure world and of the REC.
//!
//! The monitor is built without SIMD, so between calls the registers hold the Host's values. They are
//! put aside in the [`Form`] that the Host needs: before a Realm runs where running could lose them, else
//! at the Realm's first use of SIMD. The REC's are loaded at that first use, which traps.
//! [`Simd::restore`] turns both round. ZA and ZT0 are never touched: a Realm cannot reach them.

use core::arch::global_asm;
use core::cell::RefCell;

use rmm_hal::registers::{Control, trap_bits};
use rmm_hal::{CpuFeatures, GranuleWindow, HostSve, RecContext, RunControls};

use crate::regs::{isb, read_sysreg, write_sysreg};

global_asm!(include_str!("simd.S"));

unsafe extern "C" {
    fn v_save(to: *mut u8);
    fn v_load(from: *const u8);
    fn z_save(low: *mut u8, high: *mut u8);
    fn z_load(low: *const u8, high: *const u8);
    fn p_save(to: *mut u8);
    fn p_load(from: *const u8);
    fn p_clear();
    fn ffr_save(to: *mut u8) -> u64;
    fn ffr_load(from: *const u8);
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

/// What the Host has in its registers that must not be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// V0 to V31. With SVE, the rest of Z, P and FFR are zero afterwards.
    Vectors,
    /// Z, P and FFR.
    Scalable,
    /// Z and P in streaming mode, and FFR where the Host enabled all instructions in it (FEAT_SME_FA64).
    /// A Realm's SIMD instructions would trap as SME there, and leaving the mode destroys all registers.
    Streaming,
}

/// Where FFR is in the granule of a REC's predicates: behind sixteen of the longest.
const FFR_OFFSET: usize = 16 * 32;

/// Room for the longest vectors: sixteen Z registers twice, sixteen predicates, FFR.
#[repr(C, align(64))]
struct Registers {
    low: [u8; 16 * 256],
    high: [u8; 16 * 256],
    predicates: [u8; 16 * 32],
    ffr: [u8; 32],
    has_ffr: bool,
    fp_control: [u64; 2],
    zcr_el1: u64,
    zcr_el2: u64,
    svcr: u64,
    form: Form,
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
                predicates: [0; 16 * 32],
                ffr: [0; 32],
                has_ffr: false,
                fp_control: [0; 2],
                zcr_el1: 0,
                zcr_el2: 0,
                svcr: 0,
                form: Form::Vectors,
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
    /// What the Host has beyond V0 to V31 is put aside first. An exception return to a level where SVE is
    /// trapped makes what is longer than 128 bits inaccessible, and the PE may lose it then (Arm ARM,
    /// on the accessible vector length).
    pub(crate) fn arm(&self, host_sve: HostSve) {
        let mut host = self.host.borrow_mut();
        host.svcr = if self.has_sme {
            read_sysreg!("S3_3_C4_C2_2")
        } else {
            0
        };
        host.form = if host.svcr & STREAMING != 0 {
            Form::Streaming
        } else if self.has_sve && host_sve == HostSve::Live {
            Form::Scalable
        } else {
            Form::Vectors
        };
        if host.form != Form::Vectors {
            self.save_host(&mut host);
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
        host.aside = true;
        host.fp_control = [read_sysreg!("S3_3_C4_C4_1"), read_sysreg!("S3_3_C4_C4_0")];
        if self.has_sve {
            host.zcr_el1 = read_sysreg!("S3_0_C1_C2_0");
            host.zcr_el2 = read_sysreg!("S3_4_C1_C2_0");
            write_sysreg!("S3_4_C1_C2_0", LONGEST);
            isb();
        }
        if host.form == Form::Vectors {
            // SAFETY: `low` has 512 bytes; CPTR_EL2 is open.
            unsafe { v_save(host.low.as_mut_ptr()) };
            return;
        }
        // SAFETY: both halves have sixteen times the longest vector; CPTR_EL2 is open.
        unsafe { z_save(host.low.as_mut_ptr(), host.high.as_mut_ptr()) };
        // SAFETY: room for sixteen of the longest predicates.
        unsafe { p_save(host.predicates.as_mut_ptr()) };
        // SAFETY: room for the longest predicate; P0 was saved above.
        host.has_ffr = unsafe { ffr_save(host.ffr.as_mut_ptr()) } != 0;
        if host.form == Form::Streaming {
            write_sysreg!("S3_3_C4_C2_2", host.svcr & !STREAMING);
        }
    }

    fn load_host(&self, host: &Registers) {
        if self.has_sve {
            write_sysreg!("S3_4_C1_C2_0", LONGEST);
        }
        if host.form == Form::Streaming {
            write_sysreg!("S3_3_C4_C2_2", host.svcr);
        }
        isb();
        if host.form == Form::Vectors {
            // SAFETY: `low` was filled by `v_save`.
            unsafe { v_load(host.low.as_ptr()) };
            if self.has_sve {
                // SAFETY: the PE has SVE, CPTR_EL2 is open, and it is not in streaming mode.
                unsafe { p_clear() };
            }
        } else {
            self.load_host_scalable(host);
        }
        if self.has_sve {
            write_sysreg!("S3_4_C1_C2_0", host.zcr_el2);
            write_sysreg!("S3_0_C1_C2_0", host.zcr_el1);
        }
        write_sysreg!("S3_3_C4_C4_1", host.fp_control[0]);
        write_sysreg!("S3_3_C4_C4_0", host.fp_control[1]);
    }

    fn load_host_scalable(&self, host: &Registers) {
        // SAFETY: both halves were filled by `z_save` in the same mode and length.
        unsafe { z_load(host.low.as_ptr(), host.high.as_ptr()) };
        if host.has_ffr {
            // SAFETY: filled by `ffr_save` in the same mode and length; P0 is loaded below.
            unsafe { ffr_load(host.ffr.as_ptr()) };
        }
        // SAFETY: filled by `p_save` in the same mode and length.
        unsafe { p_load(host.predicates.as_ptr()) };
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
        let ffr = predicates.as_ptr().wrapping_add(FFR_OFFSET);
        // SAFETY: a granule holds the longest FFR at its place; P0 is loaded below.
        unsafe { ffr_load(ffr) };
        // SAFETY: the sixteen longest predicates are before it.
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
        // SAFETY: a granule holds the sixteen longest predicates.
        unsafe { p_save(predicates.as_ptr()) };
        let ffr = predicates.as_ptr().wrapping_add(FFR_OFFSET);
        // SAFETY: FFR has its place behind them, P0 was saved above; a Realm is never in streaming mode.
        unsafe { ffr_save(ffr) };
        for view in [low, high, predicates] {
            // SAFETY: mapped above, used no more.
            unsafe { window.unmap(view) };
        }
    }
}
