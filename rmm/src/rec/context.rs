// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The registers a REC starts with, and how it goes on behind an instruction.

use rmm_hal::RecContext;

use crate::rec::pstate;
use crate::rec::syndrome::{Esr, IL};

/// Bytes of an instruction, and of a short one of AArch32.
const INSTRUCTION_BYTES: u64 = 4;
const SHORT_INSTRUCTION_BYTES: u64 = 2;

/// `SCTLR_EL1` after a reset: MMU and caches off. Fields that are RES1 without their feature, or of
/// which software relies on the old behaviour: LSMAOE, nTLSMD, SPAN, EIS, TSCXT, EOS, SED, ITD.
const SCTLR_RESET: u64 =
    1 << 29 | 1 << 28 | 1 << 23 | 1 << 22 | 1 << 20 | 1 << 11 | 1 << 8 | 1 << 7;
/// `SCTLR_EL1.EE`: data accesses at EL1 are big-endian.
const SCTLR_EE: u64 = 1 << 25;
/// `MDSCR_EL1.TDCC`: EL0 does not reach the debug communication channel.
const MDSCR_RESET: u64 = 1 << 12;

/// Makes a context, still all zeroes, that of a processor after reset which starts at `pc`.
///
/// The OS lock is open: only a Cold reset takes it, and it is for a debugger outside, which a Realm does
/// not have. Software that opens it first finds nothing to do.
pub(crate) fn reset(context: &mut RecContext, pc: u64, gprs: &[u64]) {
    for (to, from) in context.gprs.iter_mut().zip(gprs) {
        *to = *from;
    }
    context.pc = pc;
    context.pstate = pstate::RESET;
    context.el1.sctlr_el1 = SCTLR_RESET;
    context.debug.mdscr = MDSCR_RESET;
}

/// Starts a processor that is off, as PSCI `CPU_ON` demands: at `pc`, with `x0` and zero in all other
/// general registers, and with the endianness of the caller, whose `SCTLR_EL1` is given.
pub(crate) fn turn_on(context: &mut RecContext, pc: u64, x0: u64, callers_sctlr: u64) {
    context.gprs = [0; 31];
    let [first, ..] = &mut context.gprs;
    *first = x0;
    context.pc = pc;
    context.pstate = pstate::RESET;
    context.el1.sctlr_el1 = SCTLR_RESET | callers_sctlr & SCTLR_EE;
}

/// Goes on behind the instruction that `pc` points to, as if it had been executed.
pub(crate) fn skip_instruction(context: &mut RecContext) {
    context.pc = context.pc.wrapping_add(INSTRUCTION_BYTES);
    context.pstate &= !(pstate::SS | pstate::BTYPE);
}

/// Goes on behind the WFI or WFE with this `ESR_EL2`, which may be one of AArch32 at EL0.
pub(crate) fn skip_wait(context: &mut RecContext, esr: u64) {
    if context.pstate & pstate::NRW == 0 {
        return skip_instruction(context);
    }
    let bytes = if Esr(esr).has(IL) {
        INSTRUCTION_BYTES
    } else {
        SHORT_INSTRUCTION_BYTES
    };
    context.pc = context.pc.wrapping_add(bytes);
    context.pstate = advance_it(context.pstate & !pstate::SS);
}

/// Goes back to an HVC: R-EL2 sees it with the address behind it, and to the Realm it is undefined.
pub(crate) fn return_to_hvc(context: &mut RecContext) {
    context.pc = context.pc.wrapping_sub(INSTRUCTION_BYTES);
}

/// Leaves one conditional instruction of an AArch32 block behind (Arm ARM, `AArch32.ITAdvance`).
fn advance_it(old: u64) -> u64 {
    let high = (old & pstate::IT_HIGH) >> pstate::IT_HIGH_SHIFT;
    let it = high << 2 | (old & pstate::IT_LOW) >> pstate::IT_LOW_SHIFT;
    let it = if it & 0b111 == 0 {
        0
    } else {
        it & 0xE0 | it << 1 & 0x1F
    };
    old & !(pstate::IT_HIGH | pstate::IT_LOW)
        | it >> 2 << pstate::IT_HIGH_SHIFT
        | (it & 0b11) << pstate::IT_LOW_SHIFT
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rec::tests::context;

    #[test]
    fn reset_masks_interrupts_at_el1_with_the_mmu_off() {
        let mut context = context();
        reset(&mut context, 0x8000_0000, &[1, 2, 3]);
        assert_eq!(context.pstate, 0x3C5);
        assert_eq!(context.pc, 0x8000_0000);
        assert_eq!(context.gprs[..4], [1, 2, 3, 0]);
        assert_eq!(context.el1.sctlr_el1, 0x30D0_0980);
        assert_eq!(context.debug.mdscr, 0x1000);
    }

    #[test]
    fn turning_on_keeps_what_psci_does_not_name() {
        let mut context = context();
        context.gprs = [7; 31];
        context.el1.vbar_el1 = 0x4000;
        turn_on(&mut context, 0x9000_0000, 0x1234, u64::MAX);
        assert_eq!(context.gprs[0], 0x1234);
        assert_eq!(context.gprs[1..], [0; 30]);
        assert_eq!(context.el1.sctlr_el1, 0x32D0_0980);
        assert_eq!(context.el1.vbar_el1, 0x4000);
    }

    #[test]
    fn skipped_instruction_counts_as_a_step() {
        let mut context = context();
        context.pc = u64::MAX - 3;
        context.pstate = u64::MAX;
        skip_instruction(&mut context);
        assert_eq!(context.pc, 0);
        assert_eq!(context.pstate, !(1 << 21 | 0b11 << 10));
    }
}
