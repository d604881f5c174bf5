// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Accesses to registers that trap.

use rmm_hal::{CpuFeatures, RecContext};

use crate::rec::context::skip_instruction;
use crate::rec::id_registers;
use crate::rec::object::RealmTraits;
use crate::rec::syndrome::Esr;

/// The name of a register as an instruction encodes it: op0, op1, CRn, CRm, op2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name(u8, u8, u8, u8, u8);

/// GIC registers whose writes the Host acts on.
const ICC_DIR_EL1: Name = Name(3, 0, 12, 11, 1);
const ICC_SGI1R_EL1: Name = Name(3, 0, 12, 11, 5);
const ICC_ASGI1R_EL1: Name = Name(3, 0, 12, 11, 6);
const ICC_SGI0R_EL1: Name = Name(3, 0, 12, 11, 7);

/// RAS: the number of error records, of which a Realm has none.
const ERRIDR_EL1: Name = Name(3, 0, 5, 3, 0);

/// The last CRm of the ID space: op0 = 3, op1 = 0, CRn = 0.
const ID_CRM_LAST: u8 = 7;

/// What becomes of an access to a register that trapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Done; the Realm goes on behind the instruction.
    Done,
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
    let (name, syndrome) = (Name::of(esr), Esr(esr));
    if syndrome.is_trapped_read() {
        let Some(value) = read(name, cpu, realm) else {
            return Verdict::Undefined;
        };
        syndrome.trapped_register().write(&mut context.gprs, value);
        skip_instruction(context);
        return Verdict::Done;
    }
    match name {
        ICC_DIR_EL1 | ICC_SGI0R_EL1 | ICC_SGI1R_EL1 | ICC_ASGI1R_EL1 => Verdict::Host,
        _ => Verdict::Undefined,
    }
}

fn read(name: Name, cpu: &CpuFeatures, realm: &RealmTraits) -> Option<u64> {
    match name {
        Name(3, 0, 0, crm, op2) if crm <= ID_CRM_LAST => {
            Some(id_registers::read(crm, op2, cpu, realm))
        }
        ERRIDR_EL1 => Some(0),
        _ => None,
    }
}

impl Name {
    /// Returns the register that a trapped access names (Arm ARM, ISS encoding of EC 0x18).
    fn of(esr: u64) -> Self {
        let field = |shift: u32, mask: u64| {
            let [low, ..] = (esr >> shift & mask).to_le_bytes();
            low
        };
        Self(
            field(20, 0b11),
            field(14, 0b111),
            field(10, 0xF),
            field(1, 0xF),
            field(17, 0b111),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rec::tests::{context, cpu, realm_traits};

    const READ: u64 = 1;
    const WRITE: u64 = 0;

    fn esr(name: Name, rt: u64, direction: u64) -> u64 {
        let Name(op0, op1, crn, crm, op2) = name;
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
        let mut cpu = cpu();
        cpu.id_registers[6 * 8] = 0x2 << 20;
        let verdict = access(esr, &mut context, &cpu, &realm_traits());
        (verdict, context)
    }

    #[test]
    fn id_register_read_is_emulated() {
        let (verdict, context) = try_access(esr(Name(3, 0, 0, 6, 0), 9, READ));
        assert_eq!(verdict, Verdict::Done);
        assert_eq!(
            (context.gprs[9], context.gprs[8], context.pc),
            (0x20_0000, 0x55, 0x1004)
        );
        let (verdict, context) = try_access(esr(Name(3, 0, 0, 6, 0), 31, READ));
        assert_eq!(
            (verdict, context.gprs, context.pc),
            (Verdict::Done, [0x55; 31], 0x1004)
        );
    }

    #[test]
    fn whole_id_space_reads() {
        for crm in 0..=7 {
            for op2 in 0..=7 {
                let (verdict, _) = try_access(esr(Name(3, 0, 0, crm, op2), 0, READ));
                assert_eq!(verdict, Verdict::Done);
            }
        }
    }

    #[test]
    fn software_interrupts_and_deactivation_go_to_the_host() {
        for name in [ICC_DIR_EL1, ICC_SGI0R_EL1, ICC_SGI1R_EL1, ICC_ASGI1R_EL1] {
            let (verdict, context) = try_access(esr(name, 3, WRITE));
            assert_eq!((verdict, context.pc), (Verdict::Host, 0x1000));
            assert_eq!(try_access(esr(name, 3, READ)).0, Verdict::Undefined);
        }
    }

    #[test]
    fn error_records_are_none() {
        let (verdict, context) = try_access(esr(ERRIDR_EL1, 3, READ));
        assert_eq!((verdict, context.gprs[3]), (Verdict::Done, 0));
        assert_eq!(try_access(esr(ERRIDR_EL1, 3, WRITE)).0, Verdict::Undefined);
    }

    #[test]
    fn everything_else_is_undefined() {
        // PMCR_EL0, AMCR_EL0, SMCR_EL1, LORC_EL1, PMSCR_EL1, TRFCR_EL1, S3_0_C15_C0_0, an ID register write.
        let names = [
            Name(3, 3, 9, 12, 0),
            Name(3, 3, 13, 2, 0),
            Name(3, 0, 1, 2, 6),
            Name(3, 0, 10, 4, 3),
            Name(3, 0, 9, 9, 0),
            Name(3, 0, 1, 2, 1),
            Name(3, 0, 15, 0, 0),
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
        assert_eq!(
            try_access(esr(Name(3, 0, 0, 4, 0), 3, WRITE)).0,
            Verdict::Undefined
        );
    }
}
