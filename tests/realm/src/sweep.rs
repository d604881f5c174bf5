// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Trying every encoding of a system register.

use test_realm::instructions::SystemRegister;
use test_realm::protocol::Outcome;
use test_realm::registers::{self, Sweep, is_secret};

use crate::guard;

/// `ICC_SGI1R_EL1` and its kind, whose writes are for the Host: op0, op1, CRn and CRm.
const SOFTWARE_INTERRUPTS: [u32; 4] = [3, 0, 12, 11];

/// Reads, or reads and writes back, every register with this op0, op1 and CRn.
pub(crate) fn sweep(class: [u8; 3], writes: bool, secret: u64) -> Sweep {
    let [op0, op1, crn] = class.map(u32::from);
    let mut result = Sweep::default();
    for (bit, (crm, op2)) in (0..16)
        .flat_map(|crm| (0..8).map(move |op2| (crm, op2)))
        .enumerate()
    {
        if writes && [op0, op1, crn, crm] == SOFTWARE_INTERRUPTS {
            continue;
        }
        let register = SystemRegister::new(op0, op1, crn, crm, op2);
        let (mut outcome, value) = run(register.read_x0(), 0);
        if is_secret(value, secret) {
            result.leaked |= 1 << bit;
        }
        if writes {
            (outcome, _) = run(register.write_x0(), value);
        }
        match outcome {
            Outcome::Done => result.done |= 1 << bit,
            Outcome::Fault(fault) if registers::is_undefined(register, &fault) => {
                result.undefined |= 1 << bit;
            }
            Outcome::Fault(fault) => result.other_esr = fault.esr,
            Outcome::NotUnderstood => {}
        }
    }
    result
}

/// Runs an access with x0; returns x0, zero when it faults.
fn run(instruction: u32, x0: u64) -> (Outcome, u64) {
    let mut registers = [0; 18];
    registers[0] = x0;
    // SAFETY: the instruction reads a register, or writes what it holds.
    let outcome = unsafe { guard::run(instruction, &mut registers) };
    match outcome {
        Outcome::Done => (outcome, registers[0]),
        Outcome::Fault(_) | Outcome::NotUnderstood => (outcome, 0),
    }
}
