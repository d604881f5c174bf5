// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Vector registers that the monitor borrows for a moment.
//!
//! They are the Host's, or those of a REC that is loaded, and writing the low 128 bits of one zeroes the
//! rest of it. So with SVE they are put aside in their full length, whatever length their owner may use
//! at the moment, and the controls for it are put back too. In streaming mode there is no loan: most
//! vector instructions do not work in it, and leaving it destroys every register.

use core::arch::global_asm;
use core::mem::MaybeUninit;

use rmm_hal::CpuFeatures;

use crate::regs::{isb, read_sysreg, write_sysreg};
use crate::simd::{LONGEST, STREAMING, open_traps};

global_asm!(include_str!("loan.S"), options(raw));

unsafe extern "C" {
    fn loan_take_v(area: *mut Area);
    fn loan_return_v(area: *mut Area);
    fn loan_take_z(area: *mut Area);
    fn loan_return_z(area: *mut Area);
}

/// Room for sixteen of the longest vectors.
#[repr(C, align(16))]
struct Area([u8; 16 * 256]);

/// How this PE lends its first sixteen vector registers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lender {
    has_sve: bool,
    has_sme: bool,
    open_traps: u64,
}

impl Lender {
    pub(crate) fn new(features: &CpuFeatures) -> Self {
        let (has_sve, has_sme) = (features.sve_vq.is_some(), features.sme);
        Self {
            has_sve,
            has_sme,
            open_traps: open_traps(has_sve, has_sme),
        }
    }

    /// Runs `work`, and says whether it may use V0 to V15: it may unless the PE is in streaming mode.
    /// Their owner finds them as they were, and no copy is left.
    #[inline]
    pub(crate) fn lend<R>(self, work: impl FnOnce(bool) -> R) -> R {
        let traps = read_sysreg!("CPTR_EL2");
        write_sysreg!("CPTR_EL2", self.open_traps);
        isb();
        let mut area = MaybeUninit::uninit();
        let is_streaming = self.has_sme && read_sysreg!("S3_3_C4_C2_2") & STREAMING != 0;
        let taken = (!is_streaming).then(|| self.take(&mut area));
        let result = work(taken.is_some());
        if let Some(taken) = taken {
            self.give_back(&mut area, taken);
        }
        // Whoever uses the registers next is behind an exception return or opens them again.
        write_sysreg!("CPTR_EL2", traps);
        result
    }

    fn take(self, area: &mut MaybeUninit<Area>) -> Taken {
        let area = area.as_mut_ptr();
        if !self.has_sve {
            // SAFETY: the area has room for sixteen V registers; CPTR_EL2 is open.
            unsafe { loan_take_v(area) };
            return Taken { zcr: 0 };
        }
        let zcr = read_sysreg!("S3_4_C1_C2_0");
        write_sysreg!("S3_4_C1_C2_0", LONGEST);
        isb();
        // SAFETY: the area has room for sixteen of the longest vectors; CPTR_EL2 is open.
        unsafe { loan_take_z(area) };
        Taken { zcr }
    }

    fn give_back(self, area: &mut MaybeUninit<Area>, taken: Taken) {
        let area = area.as_mut_ptr();
        if !self.has_sve {
            // SAFETY: filled by `loan_take_v`; CPTR_EL2 is open.
            unsafe { loan_return_v(area) };
            return;
        }
        // SAFETY: filled by `loan_take_z` at the length that ZCR_EL2 still has; CPTR_EL2 is open.
        unsafe { loan_return_z(area) };
        write_sysreg!("S3_4_C1_C2_0", taken.zcr);
    }
}

/// What was changed to take registers of every length.
struct Taken {
    zcr: u64,
}
