// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Accesses to registers that trap.

use rmm_hal::registers::{self, Emulation};
use rmm_hal::{CpuFeatures, RecContext, TimerRegister};

use crate::rec::context::skip_instruction;
use crate::rec::object::RealmTraits;
use crate::rec::syndrome::Esr;
use crate::rec::{debug, id_registers};

/// What becomes of an access to a register that trapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Done; the Realm goes on behind the instruction.
    Done,
    /// Done, and the debug state of the REC is another.
    DebugChanged,
    /// The Host acts on the write. The Realm goes on behind the instruction at the next entry.
    Host,
    /// The Realm has no such register.
    Undefined,
}

/// Makes the access with this `ESR_EL2` for the Realm as far as the monitor can.
pub(crate) fn access(
    esr: u64,
    context: &mut RecContext,
    cpu: &CpuFeatures,
    realm: &RealmTraits,
) -> Verdict {
    let (fields, syndrome) = (fields(esr), Esr(esr));
    let Some(emulation) = registers::emulation(fields) else {
        return Verdict::Undefined;
    };
    let register = syndrome.trapped_register();
    let verdict = if syndrome.is_trapped_read() {
        let Some(value) = read(emulation, fields, context, cpu, realm) else {
            return Verdict::Undefined;
        };
        register.write(&mut context.gprs, value);
        Verdict::Done
    } else {
        let value = register.read(&context.gprs);
        write(emulation, fields, value, context, realm)
    };
    match verdict {
        Verdict::Done | Verdict::DebugChanged => skip_instruction(context),
        Verdict::Host | Verdict::Undefined => {}
    }
    verdict
}

/// Returns the register of a timer that an access with this `ESR_EL2` is about, if it is one.
pub(crate) fn timer_register(esr: u64) -> Option<TimerRegister> {
    match fields(esr) {
        [3, 3, 14, 2, 0] => Some(TimerRegister::PhysicalValue),
        [3, 3, 14, 2, 1] => Some(TimerRegister::PhysicalControl),
        [3, 3, 14, 2, 2] => Some(TimerRegister::PhysicalCompare),
        [3, 3, 14, 3, 0] => Some(TimerRegister::VirtualValue),
        [3, 3, 14, 3, 1] => Some(TimerRegister::VirtualControl),
        [3, 3, 14, 3, 2] => Some(TimerRegister::VirtualCompare),
        _ => None,
    }
}

fn read(
    emulation: Emulation,
    [.., crm, op2]: [u8; 5],
    context: &RecContext,
    cpu: &CpuFeatures,
    realm: &RealmTraits,
) -> Option<u64> {
    match emulation {
        Emulation::Identification => Some(id_registers::read(crm, op2, cpu, realm)),
        Emulation::Revision => Some(cpu.id_register(crm, op2)),
        Emulation::ReadZero | Emulation::Zero => Some(0),
        Emulation::Host => None,
        Emulation::Debug(register) => debug::read(register, crm, &context.debug, realm),
    }
}

fn write(
    emulation: Emulation,
    [.., crm, _]: [u8; 5],
    value: u64,
    context: &mut RecContext,
    realm: &RealmTraits,
) -> Verdict {
    match emulation {
        Emulation::Identification | Emulation::Revision | Emulation::ReadZero => Verdict::Undefined,
        Emulation::Zero => Verdict::Done,
        Emulation::Host => Verdict::Host,
        Emulation::Debug(register) => {
            match debug::write(register, crm, value, &mut context.debug, realm) {
                Some(()) => Verdict::DebugChanged,
                None => Verdict::Undefined,
            }
        }
    }
}

/// Returns op0, op1, CRn, CRm and op2 of a trapped access (Arm ARM, ISS encoding of EC 0x18).
fn fields(esr: u64) -> [u8; 5] {
    let field = |shift: u32, mask: u64| {
        let [low, ..] = (esr >> shift & mask).to_le_bytes();
        low
    };
    [
        field(20, 0b11),
        field(14, 0b111),
        field(10, 0xF),
        field(1, 0xF),
        field(17, 0b111),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rec::tests::{context, cpu, realm_traits};

    const READ: u64 = 1;
    const WRITE: u64 = 0;

    const MDSCR: [u8; 5] = [2, 0, 0, 2, 2];
    const DBGBVR3: [u8; 5] = [2, 0, 0, 3, 4];
    const ERRIDR: [u8; 5] = [3, 0, 5, 3, 0];

    fn esr([op0, op1, crn, crm, op2]: [u8; 5], rt: u64, direction: u64) -> u64 {
        let fields = [(op0, 20), (op2, 17), (op1, 14), (crn, 10), (crm, 1)];
        let name = fields
            .into_iter()
            .fold(0, |esr, (value, shift)| esr | u64::from(value) << shift);
        0x18 << 26 | 1 << 25 | name | rt << 5 | direction
    }

    fn try_access(esr: u64) -> (Verdict, RecContext) {
        let mut context = context();
        context.pc = 0x1000;
        context.gprs = [0x55; 31];
        context.debug.bvr[3] = 0x77;
        let mut cpu = cpu();
        cpu.id_registers[6] = 0x99;
        cpu.id_registers[6 * 8] = 0x2 << 20;
        let verdict = access(esr, &mut context, &cpu, &realm_traits());
        (verdict, context)
    }

    #[test]
    fn id_register_read_is_emulated() {
        let (verdict, context) = try_access(esr([3, 0, 0, 6, 0], 9, READ));
        assert_eq!(verdict, Verdict::Done);
        assert_eq!(
            (context.gprs[9], context.gprs[8], context.pc),
            (0x20_0000, 0x55, 0x1004)
        );
        let (verdict, context) = try_access(esr([3, 0, 0, 6, 0], 31, READ));
        assert_eq!(
            (verdict, context.gprs, context.pc),
            (Verdict::Done, [0x55; 31], 0x1004)
        );
    }

    #[test]
    fn whole_id_space_reads() {
        for crm in 1..=7 {
            for op2 in 0..=7 {
                let (verdict, _) = try_access(esr([3, 0, 0, crm, op2], 0, READ));
                assert_eq!(verdict, Verdict::Done);
            }
        }
    }

    #[test]
    fn revision_is_that_of_the_hardware() {
        let (verdict, context) = try_access(esr([3, 0, 0, 0, 6], 3, READ));
        assert_eq!((verdict, context.gprs[3]), (Verdict::Done, 0x99));
    }

    #[test]
    fn software_interrupts_and_deactivation_go_to_the_host() {
        // ICC_DIR_EL1, ICC_SGI1R_EL1, ICC_ASGI1R_EL1, ICC_SGI0R_EL1.
        for op2 in [1, 5, 6, 7] {
            let name = [3, 0, 12, 11, op2];
            let (verdict, context) = try_access(esr(name, 3, WRITE));
            assert_eq!((verdict, context.pc), (Verdict::Host, 0x1000));
            assert_eq!(try_access(esr(name, 3, READ)).0, Verdict::Undefined);
        }
    }

    #[test]
    fn error_records_are_none() {
        let (verdict, context) = try_access(esr(ERRIDR, 3, READ));
        assert_eq!((verdict, context.gprs[3]), (Verdict::Done, 0));
        assert_eq!(try_access(esr(ERRIDR, 3, WRITE)).0, Verdict::Undefined);
    }

    #[test]
    fn debug_is_the_realms_own() {
        let (verdict, context) = try_access(esr(MDSCR, 3, WRITE));
        assert_eq!((verdict, context.pc), (Verdict::DebugChanged, 0x1004));
        // 0x55 has SS and nothing else of self-hosted debug.
        assert_eq!(context.debug.mdscr, 1);
        let (verdict, context) = try_access(esr(DBGBVR3, 3, READ));
        assert_eq!((verdict, context.gprs[3]), (Verdict::Done, 0x77));
        // The Realm's breakpoints are 0 to 5.
        let beyond = [2, 0, 0, 6, 4];
        for direction in [READ, WRITE] {
            let (verdict, context) = try_access(esr(beyond, 3, direction));
            assert_eq!((verdict, context.pc), (Verdict::Undefined, 0x1000));
        }
    }

    #[test]
    fn debug_communication_reads_zero_and_keeps_nothing() {
        // OSDTRRX_EL1, OSDTRTX_EL1, OSECCR_EL1, DBGDTR_EL0, DBGDTRTX_EL0.
        for name in [
            [2, 0, 0, 0, 2],
            [2, 0, 0, 3, 2],
            [2, 0, 0, 6, 2],
            [2, 3, 0, 4, 0],
            [2, 3, 0, 5, 0],
        ] {
            let (verdict, context) = try_access(esr(name, 3, WRITE));
            assert_eq!((verdict, context.pc), (Verdict::Done, 0x1004));
            let (verdict, context) = try_access(esr(name, 3, READ));
            assert_eq!((verdict, context.gprs[3]), (Verdict::Done, 0));
        }
    }

    #[test]
    fn everything_else_is_undefined() {
        // PMCR_EL0, AMCR_EL0, SMCR_EL1, LORC_EL1, PMSCR_EL1, TRFCR_EL1, S3_0_C15_C0_0, SMIDR_EL1.
        let names = [
            [3, 3, 9, 12, 0],
            [3, 3, 13, 2, 0],
            [3, 0, 1, 2, 6],
            [3, 0, 10, 4, 3],
            [3, 0, 9, 9, 0],
            [3, 0, 1, 2, 1],
            [3, 0, 15, 0, 0],
            [3, 1, 0, 0, 6],
        ];
        for name in names {
            for direction in [READ, WRITE] {
                let (verdict, context) = try_access(esr(name, 3, direction));
                assert_eq!(
                    (verdict, context.pc),
                    (Verdict::Undefined, 0x1000),
                    "{name:?}"
                );
                assert_eq!(context.gprs, [0x55; 31]);
            }
        }
        // An identification register cannot be written.
        assert_eq!(
            try_access(esr([3, 0, 0, 4, 0], 3, WRITE)).0,
            Verdict::Undefined
        );
    }
}
