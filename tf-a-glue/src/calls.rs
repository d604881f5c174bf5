// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Calls from the RMM to EL3.
//!
//! Function identifiers are those of the RMM-EL3 communication specification. EL3 prints a line for each
//! transition it refuses, so callers look at their own state first.

use rmi::GranuleAddr;
use rmm_hal::{El3, El3Error};

/// X0 to X8: the arguments of an SMC, and in place of the first eight its results.
pub type SmcRegisters = [u64; 9];

pub(crate) const RMI_REQ_COMPLETE: u64 = 0xC400_018F;
pub(crate) const RMM_BOOT_COMPLETE: u64 = 0xC400_01CF;
const GTSI_DELEGATE: u64 = 0xC400_01B0;
const GTSI_UNDELEGATE: u64 = 0xC400_01B1;
pub(crate) const ATTEST_GET_REALM_KEY: u64 = 0xC400_01B2;
pub(crate) const ATTEST_GET_PLAT_TOKEN: u64 = 0xC400_01B3;

/// The one way out of the RMM.
pub trait Smc {
    /// Issues an SMC and replaces X0 to X7 by what EL3 returned.
    ///
    /// Everything the call was told through memory is visible to EL3, and what EL3 wrote is visible
    /// afterwards. Registers that EL3 does not list as results hold anything.
    fn call(&self, registers: &mut SmcRegisters);
}

/// EL3, as the RMM sees it at run time.
#[derive(Clone, Copy, Debug)]
pub struct TfA<S>(pub S);

impl<S: Smc> TfA<S> {
    fn change_pas(&self, function: u64, granule: GranuleAddr) -> Result<(), El3Error> {
        let mut registers = [function, granule.raw(), 0, 0, 0, 0, 0, 0, 0];
        self.0.call(&mut registers);
        let [status, ..] = registers;
        if status == 0 { Ok(()) } else { Err(El3Error) }
    }
}

impl<S: Smc> El3 for TfA<S> {
    fn delegate(&self, granule: GranuleAddr) -> Result<(), El3Error> {
        self.change_pas(GTSI_DELEGATE, granule)
    }

    fn undelegate(&self, granule: GranuleAddr) -> Result<(), El3Error> {
        self.change_pas(GTSI_UNDELEGATE, granule)
    }
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::*;

    struct FakeEl3 {
        status: u64,
        seen: Cell<SmcRegisters>,
    }

    impl Smc for FakeEl3 {
        fn call(&self, registers: &mut SmcRegisters) {
            self.seen.set(*registers);
            *registers = [self.status, 1, 2, 3, 4, 5, 6, 7, 8];
        }
    }

    #[test]
    fn granules_change_hands() {
        let el3 = TfA(FakeEl3 {
            status: 0,
            seen: Cell::default(),
        });
        let granule = GranuleAddr::new(0x8000_3000).unwrap();
        assert_eq!(el3.delegate(granule), Ok(()));
        assert_eq!(
            el3.0.seen.get(),
            [0xC400_01B0, 0x8000_3000, 0, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(el3.undelegate(granule), Ok(()));
        assert_eq!(
            el3.0.seen.get(),
            [0xC400_01B1, 0x8000_3000, 0, 0, 0, 0, 0, 0, 0]
        );
    }

    #[test]
    fn any_other_status_is_a_refusal() {
        let granule = GranuleAddr::new(0x8000_3000).unwrap();
        for status in [u64::MAX, u64::MAX - 1, u64::MAX - 2, 1] {
            let el3 = TfA(FakeEl3 {
                status,
                seen: Cell::default(),
            });
            assert_eq!(el3.delegate(granule), Err(El3Error));
            assert_eq!(el3.undelegate(granule), Err(El3Error));
        }
    }
}
