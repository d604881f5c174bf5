// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the Host learns when a REC stops: one constructor per reason, each with exactly the fields
//! that the specification lists (A4.3), everything else zero.

use rmi::{Ipa, RttLevel};
use rmm_hal::Syndrome;

use crate::rec::mmio;
use crate::rec::object::RipasRequest;
use crate::rec::syndrome::{
    self, AET_MASK, EA, EC_MASK, Esr, FNV, FSC_MASK, IDS, IL, ISV, SAS_MASK, SET_MASK, SF,
    TRAPPED_RT_MASK, WFX_TI_MASK, WNR, class,
};

/// EC, ISV, SAS, SF, SET, FnV, EA, WnR, DFSC.
const EMULATABLE: u64 = EC_MASK | ISV | SAS_MASK | SF | SET_MASK | FNV | EA | WNR | FSC_MASK;
/// EC, SET, FnV, EA, DFSC.
const NOT_EMULATABLE: u64 = EC_MASK | SET_MASK | FNV | EA | FSC_MASK;
/// EC, SET, EA, IFSC.
const INSTRUCTION_ABORT: u64 = EC_MASK | SET_MASK | EA | FSC_MASK;
/// EC, TI.
const WFX: u64 = EC_MASK | WFX_TI_MASK;
/// EC, IDS, AET, EA, DFSC.
const SERROR: u64 = EC_MASK | IDS | AET_MASK | EA | FSC_MASK;

/// The part of an address in `FAR_EL2` that the Host may know of an emulatable access.
const FAR_PAGE_OFFSET: u64 = 0xFFF;

/// Why a REC stopped, and what goes with the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// A synchronous exception that the Host has to resolve.
    Sync(SyncExit),
    /// A physical interrupt, or a change of a timer's output.
    Irq,
    /// A physical fast interrupt.
    Fiq,
    /// A PSCI call: function identifier and arguments as far as the Host may know them.
    Psci([u64; 4]),
    /// The Realm asks to change the state of addresses.
    RipasChange(RipasRequest),
    /// A call to the Host, whose general register values are kept apart ([`Running`]).
    ///
    /// [`Running`]: crate::rec::running::Running
    HostCall {
        /// What the call is about.
        imm: u16,
    },
    /// An asynchronous external abort.
    SError {
        /// The visible part of `ESR_EL2`.
        esr: u64,
    },
}

/// The registers of a synchronous exception as the Host sees them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SyncExit {
    /// The visible part of `ESR_EL2`.
    pub(crate) esr: u64,
    /// The visible part of `FAR_EL2`.
    pub(crate) far: u64,
    /// `HPFAR_EL2`.
    pub(crate) hpfar: u64,
    /// The one general register value that belongs to the exception.
    pub(crate) value: u64,
}

impl Stop {
    /// A trapped WFI, WFE, WFIT or WFET.
    pub(crate) fn wait(esr: u64, gprs: &[u64; 31]) -> Self {
        let timeout = Esr(esr).timeout_register();
        Self::Sync(SyncExit {
            esr: esr & WFX,
            value: timeout.map_or(0, |register| register.read(gprs)),
            ..SyncExit::default()
        })
    }

    /// A fetch that the Host can make succeed.
    pub(crate) fn instruction_abort(abort: &Syndrome) -> Self {
        Self::Sync(SyncExit {
            esr: abort.esr & INSTRUCTION_ABORT,
            hpfar: abort.hpfar,
            ..SyncExit::default()
        })
    }

    /// An access at an unprotected address that the Host can emulate.
    pub(crate) fn emulatable_abort(abort: &Syndrome, gprs: &[u64; 31]) -> Self {
        Self::Sync(SyncExit {
            esr: abort.esr & EMULATABLE,
            far: abort.far & FAR_PAGE_OFFSET,
            hpfar: abort.hpfar,
            value: mmio::visible_value(abort.esr, gprs),
        })
    }

    /// An access at a protected address that the Host can make succeed.
    pub(crate) fn protected_abort(abort: &Syndrome) -> Self {
        Self::Sync(SyncExit {
            esr: abort.esr & NOT_EMULATABLE,
            hpfar: abort.hpfar,
            ..SyncExit::default()
        })
    }

    /// An access at an unprotected address that the Host can make succeed but not emulate.
    pub(crate) fn unprotected_abort(abort: &Syndrome) -> Self {
        Self::Sync(SyncExit {
            esr: abort.esr & (NOT_EMULATABLE | IL),
            hpfar: abort.hpfar,
            ..SyncExit::default()
        })
    }

    /// An access that the monitor could not make for the Realm because the page of `ipa` is missing;
    /// the walk of its tables ended at `level`.
    pub(crate) fn missing_page(ipa: Ipa, level: RttLevel) -> Self {
        Self::Sync(SyncExit {
            esr: syndrome::class_bits(class::DATA_ABORT_LOWER) | syndrome::translation_fault(level),
            hpfar: rmi::RecExit::hpfar_of(ipa),
            ..SyncExit::default()
        })
    }

    /// An access that the memory system answered with an error. Where is not for the Host to know.
    pub(crate) fn external_abort(abort: &Syndrome) -> Self {
        Self::Sync(SyncExit {
            esr: abort.esr & NOT_EMULATABLE,
            ..SyncExit::default()
        })
    }

    /// A write to a GIC register that the Host implements, with the value written.
    pub(crate) fn register_write(esr: u64, gprs: &[u64; 31]) -> Self {
        Self::Sync(SyncExit {
            esr: esr & !TRAPPED_RT_MASK,
            value: Esr(esr).trapped_register().read(gprs),
            ..SyncExit::default()
        })
    }

    /// An asynchronous external abort.
    pub(crate) fn serror(esr: u64) -> Self {
        Self::SError { esr: esr & SERROR }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: u64 = 0xFFFF_8000_1234_5678;
    const HPFAR: u64 = 0x0000_0080_0000_1230;

    fn abort(esr: u64) -> Syndrome {
        Syndrome {
            esr,
            far: FAR,
            hpfar: HPFAR,
        }
    }

    fn gprs() -> [u64; 31] {
        core::array::from_fn(|n| 0xA000_0000_0000_0000 + u64::try_from(n).unwrap())
    }

    fn sync(stop: Stop) -> SyncExit {
        match stop {
            Stop::Sync(exit) => exit,
            other => panic!("{other:?}"),
        }
    }

    /// Returns the mask of bits from single bits and ranges, as the document writes them.
    fn bits(list: &[(u32, u32)]) -> u64 {
        let mut mask = 0;
        for (msb, lsb) in list {
            for bit in *lsb..=*msb {
                mask |= 1 << bit;
            }
        }
        mask
    }

    #[test]
    fn emulatable_abort_shows_section_5_3() {
        let seen = bits(&[
            (31, 26),
            (24, 24),
            (23, 22),
            (15, 15),
            (12, 11),
            (10, 10),
            (9, 9),
            (6, 6),
            (5, 0),
        ]);
        let exit = sync(Stop::emulatable_abort(&abort(u64::MAX), &gprs()));
        assert_eq!(
            exit,
            SyncExit {
                esr: seen,
                far: 0x678,
                hpfar: HPFAR,
                value: 0
            }
        );
        // A store of w5.
        let exit = sync(Stop::emulatable_abort(&abort(0x9385_0047), &gprs()));
        assert_eq!(exit.value, 5);
        assert_eq!(exit.esr, 0x9180_0047);
    }

    #[test]
    fn other_data_aborts_show_section_5_4() {
        let seen = bits(&[(31, 26), (12, 11), (10, 10), (9, 9), (5, 0)]);
        let expected = SyncExit {
            esr: seen,
            far: 0,
            hpfar: HPFAR,
            value: 0,
        };
        assert_eq!(sync(Stop::protected_abort(&abort(u64::MAX))), expected);
        let expected = SyncExit {
            esr: seen | 1 << 25,
            ..expected
        };
        assert_eq!(sync(Stop::unprotected_abort(&abort(u64::MAX))), expected);
    }

    #[test]
    fn instruction_abort_shows_section_5_2() {
        let seen = bits(&[(31, 26), (12, 11), (9, 9), (5, 0)]);
        let expected = SyncExit {
            esr: seen,
            far: 0,
            hpfar: HPFAR,
            value: 0,
        };
        assert_eq!(sync(Stop::instruction_abort(&abort(u64::MAX))), expected);
    }

    #[test]
    fn external_abort_shows_no_address() {
        let exit = sync(Stop::external_abort(&abort(0x9200_0010 | 1 << 9)));
        assert_eq!(
            exit,
            SyncExit {
                esr: 0x9000_0210,
                ..SyncExit::default()
            }
        );
    }

    #[test]
    fn missing_page_is_a_translation_fault() {
        let at = |level| sync(Stop::missing_page(Ipa::new(0x80_1234_5678), level));
        let exit = at(RttLevel::LEVEL_3);
        let expected = SyncExit {
            esr: 0x24 << 26 | 0b111,
            hpfar: 0x8012_3450,
            ..SyncExit::default()
        };
        assert_eq!(exit, expected);
        assert_eq!(at(RttLevel::LEVEL_1).esr, 0x24 << 26 | 0b101);
        assert_eq!(at(RttLevel::LEVEL_MINUS_1).esr, 0x24 << 26 | 0b10_1011);
    }

    #[test]
    fn wait_shows_class_and_instruction() {
        let wfx = 1 << 26 | 1 << 25 | 1 << 24 | 0xE << 20;
        for ti in 0..4 {
            // Rn = 9, RV = 1 for the forms with a timeout.
            let rv = if ti >= 2 { 1 << 2 } else { 0 };
            let exit = sync(Stop::wait(wfx | 9 << 5 | rv | ti, &gprs()));
            let value = if ti >= 2 { gprs()[9] } else { 0 };
            assert_eq!(
                exit,
                SyncExit {
                    esr: 1 << 26 | ti,
                    value,
                    ..SyncExit::default()
                }
            );
        }
        let zero = sync(Stop::wait(wfx | 31 << 5 | 0b110, &gprs()));
        assert_eq!(zero.value, 0);
    }

    #[test]
    fn register_write_hides_the_register() {
        // msr icc_sgi1r_el1, x7
        let esr = 0x18 << 26 | 1 << 25 | 3 << 20 | 5 << 17 | 12 << 10 | 7 << 5 | 11 << 1;
        let exit = sync(Stop::register_write(esr, &gprs()));
        assert_eq!(exit.esr, esr & !(0x1F << 5));
        assert_eq!(exit.value, gprs()[7]);
        assert_eq!((exit.far, exit.hpfar), (0, 0));
    }

    #[test]
    fn serror_shows_section_6() {
        let seen = bits(&[(31, 26), (24, 24), (12, 10), (9, 9), (5, 0)]);
        assert_eq!(Stop::serror(u64::MAX), Stop::SError { esr: seen });
    }
}
