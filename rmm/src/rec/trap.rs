// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! From an exception that a Realm caused at R-EL2 to what has to be done about it.

use rmi::{Ipa, Ripas};
use rmm_hal::Syndrome;

use crate::rec::object::RealmTraits;
use crate::rec::pstate;
use crate::rec::syndrome::{AET_MASK, AET_SHIFT, Esr, FSC_MASK, IDS, ISV, class, fault};

/// What a synchronous exception is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trap {
    /// WFI, WFE and their forms with a timeout.
    Wait,
    /// A call to the monitor.
    Smc,
    /// A call to a hypervisor, which is none of a Realm's: undefined.
    Hvc,
    /// An access to a register or an instruction that traps.
    Register,
    /// The first use of SIMD or, where the Realm has it, SVE.
    Simd,
    /// Something that a Realm does not have.
    Undefined,
    /// A fetch or a data access that stage 2 or the memory system refused.
    Abort(Access),
}

/// The kind of access that aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Fetch,
    Data,
}

/// Syndrome of a trapped SME access: PSTATE.SM does not allow the instruction. The Realm has no SME, so
/// the Host left the PE in streaming mode and the Realm uses SIMD.
const SMTC_ILLEGAL_IN_STREAMING_MODE: u64 = 0b001;
const SMTC_MASK: u64 = 0b111;

impl Trap {
    /// Says what the exception with this `ESR_EL2` is about, for a Realm with or without SVE.
    ///
    /// Classes that are not listed mean that a Realm used something no Realm has: an AArch32
    /// coprocessor, a feature whose trap the machine leaves on.
    pub(crate) fn of(esr: u64, has_sve: bool) -> Self {
        let syndrome = Esr(esr);
        match syndrome.class() {
            class::WFX => Self::Wait,
            class::HVC => Self::Hvc,
            class::SMC => Self::Smc,
            class::SYSTEM_REGISTER => Self::Register,
            class::FP_SIMD => Self::Simd,
            class::SVE if has_sve => Self::Simd,
            class::SME if esr & SMTC_MASK == SMTC_ILLEGAL_IN_STREAMING_MODE => Self::Simd,
            class::INSTRUCTION_ABORT_LOWER => Self::Abort(Access::Fetch),
            class::DATA_ABORT_LOWER => Self::Abort(Access::Data),
            _ => Self::Undefined,
        }
    }
}

/// Where an access that aborted went to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Anywhere: the memory system answered with an error.
    Error(ErrorType),
    /// Beyond the Realm's address space.
    Outside,
    /// The half that the Host answers for.
    Unprotected(Access, Emulation),
    /// The half that the monitor answers for.
    Protected(Ipa),
}

/// Whether the Host can emulate an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Emulation {
    Possible,
    Impossible,
}

/// What an error in the memory system asks for (Arm ARM, the field SET of an abort, AET of an SError).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorType {
    /// The Realm cannot go on as if nothing had happened.
    Unrecoverable,
    /// The instruction can be executed again.
    Restartable,
}

/// Uncorrected, restartable (SET of a synchronous abort).
const SET_UEO: u64 = 0b11;
/// Uncorrected, restartable (AET of an SError).
const AET_UEO: u64 = 0b010;
/// Corrected (AET of an SError).
const AET_CE: u64 = 0b110;

/// Bits of `HPFAR_EL2` with the page number, and how far they are from their place in an address.
const FIPA_MASK: u64 = 0xFFF_FFFF_FFFF << 4;
const FIPA_SHIFT: u32 = 8;
const PAGE_OFFSET: u64 = 0xFFF;

/// Returns the address of an aborted access: exact for data, its page for anything else.
pub(crate) fn fault_ipa(abort: &Syndrome) -> Ipa {
    let page = (abort.hpfar & FIPA_MASK) << FIPA_SHIFT;
    Ipa::new(page | abort.far & PAGE_OFFSET)
}

/// Says where the access that aborted with PSTATE `pstate` went to.
///
/// The Host emulates what it has not mapped or not permitted; what fails for another reason, like an
/// alignment that the Host's memory type asks for, it cannot (A4.3.4.3).
pub(crate) fn target(access: Access, abort: &Syndrome, pstate: u64, realm: &RealmTraits) -> Target {
    let esr = Esr(abort.esr);
    if esr.is_external_abort() {
        return Target::Error(if esr.error_type() == SET_UEO {
            ErrorType::Restartable
        } else {
            ErrorType::Unrecoverable
        });
    }
    let ipa = fault_ipa(abort);
    if !realm.tree.contains(ipa) {
        return Target::Outside;
    }
    if realm.tree.is_protected(ipa) {
        return Target::Protected(ipa);
    }
    let is_described = esr.has(ISV) && pstate & pstate::NRW == 0;
    let is_host_fault = esr.is_translation_fault() || esr.is_permission_fault();
    let emulation = if is_described && is_host_fault {
        Emulation::Possible
    } else {
        Emulation::Impossible
    };
    Target::Unprotected(access, emulation)
}

/// What the monitor knows of a protected address: the table entry that an access would use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProtectedPage {
    /// The state of the address.
    pub(crate) ripas: Ripas,
    /// Whether there is memory behind it.
    pub(crate) is_assigned: bool,
}

/// What happens to an access at a protected address (granules-and-rtt: what a Realm access does).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProtectedVerdict {
    /// The Realm takes an external abort.
    ExternalAbort,
    /// The Host has to provide memory, or learns that it took memory away.
    Exit,
    /// The Host provided memory since the exception: the access succeeds now.
    Retry,
}

/// Decides about an access with this `ESR_EL2` at a protected address.
pub(crate) fn protected_verdict(page: ProtectedPage, esr: u64) -> ProtectedVerdict {
    match page.ripas {
        Ripas::Empty => ProtectedVerdict::ExternalAbort,
        Ripas::Ram if page.is_assigned && Esr(esr).is_translation_fault() => {
            ProtectedVerdict::Retry
        }
        Ripas::Ram | Ripas::Destroyed => ProtectedVerdict::Exit,
    }
}

/// Says how bad an SError is. One that is not described architecturally is taken as bad.
pub(crate) fn serror_type(esr: u64) -> ErrorType {
    let is_described = esr & IDS == 0 && esr & FSC_MASK == fault::ASYNCHRONOUS;
    match (esr & AET_MASK) >> AET_SHIFT {
        AET_UEO | AET_CE if is_described => ErrorType::Restartable,
        _ => ErrorType::Unrecoverable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rec::tests::realm_traits;

    const FETCH: u64 = 0x20 << 26;
    const DATA: u64 = 0x24 << 26;

    fn at(esr: u64, ipa: u64) -> Syndrome {
        Syndrome {
            esr,
            far: 0xFFFF_0000_0000_0000 | ipa & 0xFFF,
            hpfar: ipa >> 12 << 4,
        }
    }

    fn target_of(access: Access, esr: u64, ipa: u64, pstate: u64) -> Target {
        target(access, &at(esr, ipa), pstate, &realm_traits())
    }

    #[test]
    fn trap_classes_are_those_of_section_5() {
        let known = [
            (0x01, Trap::Wait),
            (0x07, Trap::Simd),
            (0x16, Trap::Hvc),
            (0x17, Trap::Smc),
            (0x18, Trap::Register),
            (0x20, Trap::Abort(Access::Fetch)),
            (0x24, Trap::Abort(Access::Data)),
        ];
        for class in 0..64 {
            let expected = known.iter().find(|row| row.0 == class);
            let expected = expected.map_or(Trap::Undefined, |row| row.1);
            assert_eq!(
                Trap::of(class << 26 | 1 << 25, false),
                expected,
                "{class:#x}"
            );
        }
    }

    #[test]
    fn sve_and_streaming_mode_traps_are_told_apart() {
        assert_eq!(Trap::of(0x19 << 26, true), Trap::Simd);
        assert_eq!(Trap::of(0x19 << 26, false), Trap::Undefined);
        for smtc in 0..8 {
            let expected = if smtc == 1 {
                Trap::Simd
            } else {
                Trap::Undefined
            };
            assert_eq!(Trap::of(0x1D << 26 | smtc, true), expected);
        }
    }

    #[test]
    fn target_depends_on_the_address() {
        // The Realm of the tests has 40 bits.
        let data = |ipa| target_of(Access::Data, DATA | ISV | 7, ipa, 0x5);
        assert_eq!(
            data(0x7F_FFFF_F123),
            Target::Protected(Ipa::new(0x7F_FFFF_F123))
        );
        let possible = Target::Unprotected(Access::Data, Emulation::Possible);
        assert_eq!(data(1 << 39), possible);
        assert_eq!(data((1 << 40) - 1), possible);
        assert_eq!(data(1 << 40), Target::Outside);
        assert_eq!(data(1 << 51), Target::Outside);
        let fetch = target_of(Access::Fetch, FETCH | 7, 1 << 39, 0x5);
        assert_eq!(
            fetch,
            Target::Unprotected(Access::Fetch, Emulation::Impossible)
        );
    }

    #[test]
    fn emulation_takes_a_described_access_of_aarch64() {
        let impossible = Target::Unprotected(Access::Data, Emulation::Impossible);
        assert_eq!(target_of(Access::Data, DATA | 7, 1 << 39, 0x5), impossible);
        assert_eq!(
            target_of(Access::Data, DATA | ISV | 7, 1 << 39, 0x10),
            impossible
        );
        let possible = Target::Unprotected(Access::Data, Emulation::Possible);
        for status in 0..64 {
            let target = target_of(Access::Data, DATA | ISV | status, 1 << 39, 0x5);
            match status {
                0x04..=0x07 | 0x0C..=0x0F | 0x2B => assert_eq!(target, possible, "{status:#x}"),
                _ => assert_ne!(target, possible, "{status:#x}"),
            }
        }
    }

    #[test]
    fn external_aborts_have_no_address() {
        for status in [0x10, 0x13, 0x14, 0x17, 0x18, 0x1B, 0x1C, 0x1F] {
            for (set, expected) in [
                (0b00, ErrorType::Unrecoverable),
                (0b10, ErrorType::Unrecoverable),
                (0b11, ErrorType::Restartable),
            ] {
                let esr = DATA | set << 11 | status;
                let target = target_of(Access::Data, esr, 0x1000, 0x5);
                assert_eq!(target, Target::Error(expected), "{status:#x}");
            }
        }
    }

    #[test]
    fn protected_access_follows_the_table() {
        use ProtectedVerdict::{Exit, ExternalAbort, Retry};
        let rows = [
            (Ripas::Empty, false, ExternalAbort),
            (Ripas::Empty, true, ExternalAbort),
            (Ripas::Ram, false, Exit),
            (Ripas::Ram, true, Retry),
            (Ripas::Destroyed, false, Exit),
            (Ripas::Destroyed, true, Exit),
        ];
        for (ripas, is_assigned, expected) in rows {
            let page = ProtectedPage { ripas, is_assigned };
            for esr in [DATA | 4, DATA | 7, FETCH | 6, FETCH | 0x2B] {
                assert_eq!(protected_verdict(page, esr), expected);
            }
        }
        // A fault that no table entry explains must not be retried for ever.
        let page = ProtectedPage {
            ripas: Ripas::Ram,
            is_assigned: true,
        };
        for status in [0x0F, 0x21, 0x28, 0x30, 0x31] {
            assert_eq!(protected_verdict(page, DATA | status), Exit);
        }
    }

    #[test]
    fn serror_is_restartable_only_if_it_says_so() {
        for aet in 0..8 {
            let expected = if matches!(aet, 0b010 | 0b110) {
                ErrorType::Restartable
            } else {
                ErrorType::Unrecoverable
            };
            assert_eq!(serror_type(0x2F << 26 | aet << 10 | 0x11), expected);
            assert_eq!(
                serror_type(0x2F << 26 | aet << 10),
                ErrorType::Unrecoverable
            );
            let undescribed = 0x2F << 26 | 1 << 24 | aet << 10 | 0x11;
            assert_eq!(serror_type(undescribed), ErrorType::Unrecoverable);
        }
    }
}
