// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Exceptions that a Realm takes although no hardware raised them there.
//!
//! They are entered as the hardware would: Arm ARM, `AArch64.TakeException` with EL1 as its target.

use rmi::RttLevel;
use rmm_hal::{CpuFeatures, ExceptionEntry, RealmCpu, RecContext, Syndrome};

use crate::rec::pstate;
use crate::rec::syndrome::{self, CM, Esr, FNV, IL, WNR, class, fault};

/// Offsets from `VBAR_EL1` by where the exception comes from.
const VECTOR_EL1T: u64 = 0x000;
const VECTOR_EL1H: u64 = 0x200;
const VECTOR_EL0_64: u64 = 0x400;
const VECTOR_EL0_32: u64 = 0x600;
/// Offset of the SError vector from the synchronous one.
const VECTOR_SERROR: u64 = 0x180;

/// `SCTLR_EL1` fields that shape the new PSTATE.
const SCTLR_SPAN: u64 = 1 << 23;
const SCTLR_DSSBS: u64 = 1 << 44;
const SCTLR_SPINTMASK: u64 = 1 << 62;
/// `SCTLR2_EL1.EASE`: external aborts are taken to the SError vector.
const SCTLR2_EASE: u64 = 1 << 1;

/// An exception that the Realm takes at EL1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Injected {
    /// The instruction is undefined.
    Unknown,
    /// The memory system answered the access with an error. The abort as R-EL2 saw it.
    ExternalAbort { esr: u64, far: u64 },
    /// The address is wider than the Realm's address space. The abort as R-EL2 saw it, and the stage 1
    /// level that led there.
    AddressSize { esr: u64, far: u64, level: RttLevel },
}

/// Has the loaded REC take `exception` at its current instruction.
pub(crate) fn inject<R: RealmCpu>(
    cpu: &R,
    features: &CpuFeatures,
    context: &mut RecContext,
    exception: Injected,
) {
    let [vbar, sctlr, sctlr2] = cpu.exception_controls();
    let old = context.pstate;
    let (esr, far) = exception.syndrome(old);
    cpu.enter_exception(&ExceptionEntry {
        esr,
        far,
        elr: context.pc,
        spsr: old,
    });
    let to_serror = exception.is_external() && sctlr2 & SCTLR2_EASE != 0;
    let vector = vector(old) + if to_serror { VECTOR_SERROR } else { 0 };
    context.pc = vbar.wrapping_add(vector);
    context.pstate = pstate_at_el1(old, sctlr, features);
}

impl Injected {
    /// Returns the abort that R-EL2 took as an external abort of the Realm.
    pub(crate) fn external(syndrome: &Syndrome) -> Self {
        Self::ExternalAbort {
            esr: syndrome.esr,
            far: syndrome.far,
        }
    }

    fn is_external(self) -> bool {
        match self {
            Self::ExternalAbort { .. } => true,
            Self::Unknown | Self::AddressSize { .. } => false,
        }
    }

    /// Returns `ESR_EL1` and, where the exception has one, `FAR_EL1`.
    fn syndrome(self, old: u64) -> (u64, Option<u64>) {
        match self {
            Self::Unknown => (syndrome::class_bits(class::UNKNOWN) | IL, None),
            Self::ExternalAbort { esr, far } => (
                abort_syndrome(esr, old) | syndrome::EA | fault::EXTERNAL,
                Some(far),
            ),
            Self::AddressSize { esr, far, level } => (
                abort_syndrome(esr, old) | syndrome::address_size_fault(level),
                Some(far),
            ),
        }
    }
}

/// Returns what an abort reports at EL1 besides its fault status. What describes the instruction is
/// for stage 2 only and reads zero there.
fn abort_syndrome(esr: u64, old: u64) -> u64 {
    let is_same_level = old & pstate::MODE_EL != 0;
    let is_instruction = Esr(esr).class() == class::INSTRUCTION_ABORT_LOWER;
    let class = match (is_instruction, is_same_level) {
        (true, false) => class::INSTRUCTION_ABORT_LOWER,
        (true, true) => class::INSTRUCTION_ABORT_SAME,
        (false, false) => class::DATA_ABORT_LOWER,
        (false, true) => class::DATA_ABORT_SAME,
    };
    let access = if is_instruction { 0 } else { esr & (CM | WNR) };
    syndrome::class_bits(class) | esr & (IL | FNV) | access
}

fn vector(old: u64) -> u64 {
    if old & pstate::MODE_EL == 0 {
        if old & pstate::NRW != 0 {
            VECTOR_EL0_32
        } else {
            VECTOR_EL0_64
        }
    } else if old & pstate::MODE_SP != 0 {
        VECTOR_EL1H
    } else {
        VECTOR_EL1T
    }
}

/// Returns PSTATE behind the vector: flags, DIT and PAN stay unless a control or a feature says
/// otherwise, and everything else is as after a reset.
fn pstate_at_el1(old: u64, sctlr: u64, features: &CpuFeatures) -> u64 {
    let has = PstateFeatures::of(features);
    let mut new = pstate::RESET | old & (pstate::NZCV | pstate::DIT | pstate::PAN);
    if has.pan && sctlr & SCTLR_SPAN == 0 {
        new |= pstate::PAN;
    }
    if has.ssbs && sctlr & SCTLR_DSSBS != 0 {
        new |= pstate::SSBS;
    }
    if has.mte {
        new |= pstate::TCO;
    }
    if has.nmi && sctlr & SCTLR_SPINTMASK == 0 {
        new |= pstate::ALLINT;
    }
    new
}

/// Which bits of PSTATE the hardware has, whether or not a Realm is told.
struct PstateFeatures {
    pan: bool,
    ssbs: bool,
    mte: bool,
    nmi: bool,
}

impl PstateFeatures {
    fn of(features: &CpuFeatures) -> Self {
        let field = |crm, op2, shift: u32| features.id_register(crm, op2) >> shift & 0xF;
        Self {
            pan: field(7, 1, 20) != 0,
            ssbs: field(4, 1, 4) != 0,
            mte: field(4, 1, 8) >= 2,
            nmi: field(4, 1, 36) != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rec::tests::cpu;

    const DATA: u64 = 0x9300_8047;
    const FETCH: u64 = 0x8200_0007;
    const EL0: u64 = 0x0;
    const EL0_32: u64 = 0x10;
    const EL1T: u64 = 0x4;
    const EL1H: u64 = 0x5;

    fn modern() -> CpuFeatures {
        let mut cpu = cpu();
        cpu.id_registers[7 * 8 + 1] = 3 << 20;
        cpu.id_registers[4 * 8 + 1] = 2 << 4 | 3 << 8 | 1 << 36;
        cpu
    }

    fn plain() -> CpuFeatures {
        let mut cpu = cpu();
        cpu.id_registers = [0; rmm_hal::ID_REGISTERS];
        cpu
    }

    #[test]
    fn vector_depends_on_where_the_exception_comes_from() {
        let cases = [(EL1T, 0x000), (EL1H, 0x200), (EL0, 0x400), (EL0_32, 0x600)];
        for (mode, offset) in cases {
            assert_eq!(vector(mode), offset);
        }
    }

    #[test]
    fn external_abort_reports_class_access_and_status_only() {
        let abort = |esr| Injected::ExternalAbort { esr, far: 0x1234 };
        // EC, IL as at R-EL2, EA, WnR of data aborts, FSC 0x10.
        assert_eq!(
            abort(DATA).syndrome(EL1H),
            (0x25 << 26 | 1 << 25 | 0x250, Some(0x1234))
        );
        assert_eq!(
            abort(DATA).syndrome(EL0),
            (0x24 << 26 | 1 << 25 | 0x250, Some(0x1234))
        );
        assert_eq!(
            abort(FETCH).syndrome(EL1T),
            (0x21 << 26 | 1 << 25 | 0x210, Some(0x1234))
        );
        assert_eq!(
            abort(FETCH).syndrome(EL0_32),
            (0x20 << 26 | 1 << 25 | 0x210, Some(0x1234))
        );
    }

    #[test]
    fn address_size_fault_reports_its_level() {
        let fault = Injected::AddressSize {
            esr: DATA,
            far: 1,
            level: RttLevel::LEVEL_3,
        };
        assert_eq!(fault.syndrome(EL1H), (0x25 << 26 | 1 << 25 | 0x43, Some(1)));
    }

    #[test]
    fn unknown_has_no_address() {
        assert_eq!(Injected::Unknown.syndrome(EL0), (1 << 25, None));
    }

    #[test]
    fn pstate_of_a_plain_machine_keeps_flags_only() {
        let old = 0xF000_0000 | 1 << 24 | 1 << 21 | 1 << 20 | 0b11 << 10 | 1 << 12 | 1 << 23;
        assert_eq!(pstate_at_el1(old, 0, &plain()), 0xF100_03C5);
        assert_eq!(
            pstate_at_el1(EL0_32 | 0x0FE0_FE20, u64::MAX, &plain()),
            0x0140_03C5
        );
    }

    #[test]
    fn pstate_of_a_modern_machine_follows_sctlr() {
        let cpu = modern();
        let (tco, allint) = (1 << 25, 1 << 13);
        let taken = |old, sctlr| pstate_at_el1(old, sctlr, &cpu);
        let (always, pan) = (0x3C5 | tco | allint, 1 << 22);
        assert_eq!(taken(EL0, 0), always | pan);
        assert_eq!(taken(EL0, SCTLR_SPAN), always);
        assert_eq!(taken(pan, SCTLR_SPAN), always | pan);
        assert_eq!(taken(EL0, SCTLR_SPAN | SCTLR_DSSBS), always | 1 << 12);
        // Whether or not SCTLR_EL1.NMI gives the bit a meaning.
        let masked = SCTLR_SPAN | SCTLR_SPINTMASK;
        assert_eq!(taken(EL0, masked), 0x3C5 | tco);
        assert_eq!(taken(EL0, masked | 1 << 61), 0x3C5 | tco);
    }
}
