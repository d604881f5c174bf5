// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the checks try, and how the faults they expect look.

use core::fmt;

use rmi::rsi::RsiCommand;
use test_realm::instructions::{BR_X1, STR_X0};
use test_realm::protocol::{BASE, Fault, Outcome};

use super::{Detail, require};
use crate::guard::{self, Registers};
use crate::{machine, mmu, smc};

/// Memory that neither the payload nor its device tree uses. Every check leaves it empty.
pub(super) const SCRATCH: u64 = BASE + 0x100_0000;
/// Bytes of it.
pub(super) const SCRATCH_BYTES: u64 = 0x10_0000;

/// Exception class of an Instruction Abort from EL0.
pub(super) const FETCH_FROM_USER: u64 = 0x20;
/// Exception class of an Instruction Abort from EL1.
pub(super) const FETCH: u64 = 0x21;
/// Exception class of a Data Abort from EL0.
pub(super) const DATA_FROM_USER: u64 = 0x24;
/// Exception class of a Data Abort from EL1.
pub(super) const DATA: u64 = 0x25;

/// Fault status: synchronous external abort.
const EXTERNAL: u64 = 0x10;
/// Syndrome bits of an abort: write, stage 1 walk, fault address not valid.
const WRITE: u64 = 1 << 6;
const STAGE_1_WALK: u64 = 1 << 7;
const FAR_NOT_VALID: u64 = 1 << 10;
/// A syndrome's bit for an instruction of 32 bits.
const LONG: u64 = 1 << 25;

/// The exception level a probe runs at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Kernel,
    User,
}

/// Runs a load from the address in x1 at some level; returns x0.
pub(super) fn load_at(level: Level, instruction: u32, address: u64) -> Result<u64, Fault> {
    let mut registers = [0; 18];
    registers[1] = address;
    let outcome = match level {
        // SAFETY: a load changes x0 and x2 at most.
        Level::Kernel => unsafe { guard::run(instruction, &mut registers) },
        // SAFETY: as above.
        Level::User => unsafe { guard::run_user(instruction, &mut registers) },
    };
    match outcome {
        Outcome::Fault(fault) => Err(fault),
        Outcome::Done | Outcome::NotUnderstood => Ok(registers[0]),
    }
}

/// Runs a load from the address in x1; returns x0.
pub(super) fn load(instruction: u32, address: u64) -> Result<u64, Fault> {
    load_at(Level::Kernel, instruction, address)
}

/// Runs a store of x0 to the address in x1, which must not be in the payload itself.
pub(super) fn store_at(
    level: Level,
    instruction: u32,
    address: u64,
    value: u64,
) -> Result<(), Fault> {
    let place = address & ((1 << 39) - 1);
    assert!(
        !(BASE..SCRATCH).contains(&place),
        "a store into the payload"
    );
    let mut registers = [0; 18];
    registers[0] = value;
    registers[1] = address;
    let outcome = match level {
        // SAFETY: nothing this image relies on is at the address.
        Level::Kernel => unsafe { guard::run(instruction, &mut registers) },
        // SAFETY: as above.
        Level::User => unsafe { guard::run_user(instruction, &mut registers) },
    };
    match outcome {
        Outcome::Fault(fault) => Err(fault),
        Outcome::Done | Outcome::NotUnderstood => Ok(()),
    }
}

/// Runs a store of x0 to the address in x1, which must not be in the payload itself.
pub(super) fn store(instruction: u32, address: u64, value: u64) -> Result<(), Fault> {
    store_at(Level::Kernel, instruction, address, value)
}

/// Stores eight bytes in the scratch memory or its alias.
pub(super) fn poke(address: u64, value: u64) -> Result<(), Detail> {
    store(STR_X0, address, value)
        .map_err(|fault| super::detail!("store to {address:#x}: {}", Shown(&fault)))
}

/// Jumps to an address where a `ret` is or the fetch faults.
pub(super) fn fetch(address: u64) -> Result<(), Fault> {
    let mut registers = [0; 18];
    // SAFETY: the checks leave nothing but a `ret` at the addresses they use.
    match unsafe { guard::call(address, &mut registers) } {
        Outcome::Fault(fault) => Err(fault),
        Outcome::Done | Outcome::NotUnderstood => Ok(()),
    }
}

/// Jumps to an address at EL0 whose fetch faults.
pub(super) fn fetch_from_user(address: u64) -> Result<(), Fault> {
    load_at(Level::User, BR_X1, address).map(|_| ())
}

/// Runs an instruction that changes nothing but general registers; x0 and x1 are given.
pub(super) fn try_run(instruction: u32, x0: u64, x1: u64) -> Result<Registers, Fault> {
    let mut registers = [0; 18];
    registers[0] = x0;
    registers[1] = x1;
    // SAFETY: the checks use it for instructions without a lasting effect.
    match unsafe { guard::run(instruction, &mut registers) } {
        Outcome::Fault(fault) => Err(fault),
        Outcome::Done | Outcome::NotUnderstood => Ok(registers),
    }
}

/// Requires a synchronous external abort of a class at an address.
pub(super) fn require_external_abort<T>(
    what: &str,
    result: Result<T, Fault>,
    class: u64,
    address: u64,
    is_write: bool,
) -> Result<(), Detail> {
    let Err(fault) = result else {
        return Err(super::detail!("{what} at {address:#x} did not fault"));
    };
    let bits = WRITE | STAGE_1_WALK | FAR_NOT_VALID | LONG;
    let expected = LONG | if is_write { WRITE } else { 0 };
    require!(
        fault.class() == class
            && fault.status() == EXTERNAL
            && fault.esr & bits == expected
            && fault.far == address,
        "{what} at {address:#x}: {}",
        Shown(&fault)
    );
    Ok(())
}

/// Requires an Address Size Fault of a class at an address.
pub(super) fn require_address_size<T>(
    what: &str,
    result: Result<T, Fault>,
    class: u64,
    address: u64,
) -> Result<(), Detail> {
    let Err(fault) = result else {
        return Err(super::detail!("{what} at {address:#x} did not fault"));
    };
    require!(
        fault.class() == class && fault.status() & !0b11 == 0 && fault.far == address,
        "{what} at {address:#x}: {}",
        Shown(&fault)
    );
    Ok(())
}

/// A fault in few words.
pub(super) struct Shown<'a>(pub(super) &'a Fault);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { esr, elr, far, .. } = self.0;
        write!(f, "esr {esr:#x} elr {elr:#x} far {far:#x}")
    }
}

/// A state of addresses by its number in RSI.
pub(super) const EMPTY: u64 = 0;
/// Memory of the Realm.
pub(super) const RAM: u64 = 1;

/// Asks for a state of `[base, top)` until all of it has it.
pub(super) fn set_state(base: u64, top: u64, state: u64) -> Result<(), Detail> {
    let mut at = base;
    while at < top {
        let [status, next, response, ..] = smc::rsi(RsiCommand::IpaStateSet, &[at, top, state, 0]);
        require!(
            status == 0 && response == 0 && next > at && next <= top,
            "set {at:#x} to {top:#x} state {state}: status {status:#x} next {next:#x} response \
             {response}"
        );
        at = next;
    }
    Ok(())
}

/// Requires that all of `[base, top)` has a state; returns in how many steps the monitor said so.
pub(super) fn require_state(base: u64, top: u64, state: u64) -> Result<u32, Detail> {
    let mut at = base;
    let mut steps = 0;
    while at < top {
        let [status, next, found, ..] = smc::rsi(RsiCommand::IpaStateGet, &[at, top]);
        require!(
            status == 0 && next > at && next <= top && found == state,
            "get {at:#x} to {top:#x}: status {status:#x} next {next:#x} state {found}, not {state}"
        );
        at = next;
        steps += 1;
    }
    Ok(steps)
}

/// Returns where an address of the shared half is mapped.
pub(super) fn alias(ipa: u64) -> u64 {
    mmu::SHARED + ipa
}

/// Returns the first address beyond the Realm's own half.
pub(super) fn own_top() -> u64 {
    machine::shared_base()
}
