// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Registers keep their values while the Realm does not run.

use rmi::SMCCC_NOT_SUPPORTED;
use rmi::rsi::RsiCommand;
use test_realm::instructions::{LDR_W0, NOP, RDVL_X0, SMC, STR_W0, SystemRegister, WFI};
use test_realm::protocol::{Bank, Outcome, Timer};
use test_realm::registers::SYSTEM_REGISTERS;

use super::probe::{RAM, SCRATCH, alias, set_state, store, try_run};
use super::{Detail, Verdict, detail, require};
use crate::commands::{all_registers, changed};
use crate::smc::PAGE;
use crate::{banks, guard, machine, regs, smc, timer};

/// A register of the console that holds any value.
const UART_IBRD: u64 = machine::UART + 0x24;

/// General registers across every kind of exit.
pub(super) fn general() -> Verdict {
    let fresh = fresh_page()?;
    let written = store(STR_W0, alias(UART_IBRD), 0);
    require!(written.is_ok(), "device write: {written:x?}");
    let cases = [
        ("nop", NOP, [1, 2, 3], None),
        (
            "unknown call",
            SMC,
            [0xC400_0150, 2, 3],
            Some(SMCCC_NOT_SUPPORTED),
        ),
        (
            "rsi_features",
            SMC,
            [RsiCommand::Features.fid(), 0, 0],
            Some(0),
        ),
        ("device read", LDR_W0, [1, alias(UART_IBRD), 3], Some(0)),
        ("device write", STR_W0, [0, alias(UART_IBRD), 3], None),
        ("page fault", LDR_W0, [1, fresh, 3], Some(0)),
    ];
    for (seed, (what, instruction, first, x0)) in (10..).zip(cases) {
        require_kept(what, instruction, seed, first, x0)?;
    }
    regs::mask_interrupts();
    timer::start(Timer::Virtual, timer::frequency() / 200);
    let waited = require_kept("wfi", WFI, 20, [1, 2, 3], None);
    timer::stop(Timer::Virtual);
    regs::unmask_interrupts();
    waited?;
    Ok(detail!("{} kinds of exit", cases.len() + 1))
}

fn require_kept(
    what: &str,
    instruction: u32,
    seed: u64,
    first: [u64; 3],
    x0: Option<u64>,
) -> Result<(), Detail> {
    let before = all_registers(seed, first);
    let mut after = before;
    // SAFETY: the cases read, write the console's baud rate, or make calls without an effect.
    let outcome = unsafe { guard::run_with_all(instruction, &mut after) };
    require!(outcome == Outcome::Done, "{what}: {outcome:x?}");
    let expected = x0.unwrap_or(first[0]);
    require!(after[0] == expected, "{what}: x0 is {:#x}", after[0]);
    // A call may change x0 to x17; nothing else may change anything.
    let mask = changed(&before, &after) & if instruction == SMC { !0x3_FFFF } else { !0 };
    require!(mask == 0, "{what}: changed registers {mask:#x}");
    Ok(())
}

/// Returns the address of memory that the host has not given yet.
fn fresh_page() -> Result<u64, Detail> {
    let page = SCRATCH + 0x8_0000;
    set_state(page, page + PAGE, super::probe::EMPTY)?;
    set_state(page, page + PAGE, RAM)?;
    Ok(page)
}

/// Registers of EL1 and EL0.
pub(super) fn system() -> Verdict {
    regs::mask_interrupts();
    banks::fill(Bank::System, 7);
    let exits = make_exits();
    let [wrong, undefined, found, expected, ..] = banks::check(Bank::System);
    timer::stop(Timer::Virtual);
    timer::stop(Timer::Physical);
    regs::unmask_interrupts();
    exits?;
    let name = SYSTEM_REGISTERS
        .get(wrong.trailing_zeros() as usize)
        .map_or("none", |row| row.name);
    require!(
        wrong == 0,
        "{name} is {found:#x}, not {expected:#x}; wrong registers {wrong:#x}"
    );
    let count = SYSTEM_REGISTERS.len() as u32 - undefined.count_ones();
    Ok(detail!(
        "{count} registers, {} undefined",
        undefined.count_ones()
    ))
}

/// SIMD and floating-point registers.
pub(super) fn vectors() -> Verdict {
    banks::fill(Bank::Vectors, 8);
    make_exits()?;
    let [wrong, control, ..] = banks::check(Bank::Vectors);
    require!(
        wrong == 0 && control == 0,
        "wrong registers {wrong:#x}, FPSR or FPCR {control}"
    );
    Ok(detail!("32 registers"))
}

/// SVE registers, if the Realm has them; else that SVE is undefined.
pub(super) fn scalable() -> Verdict {
    let id = try_run(SystemRegister::new(3, 0, 0, 4, 0).read_x0(), 0, 0);
    let has_sve = matches!(id, Ok(registers) if registers[0] >> 32 & 0xF != 0);
    let outcome = banks::fill(Bank::Scalable, 9);
    if !has_sve {
        let is_undefined = matches!(outcome, Outcome::Fault(fault) if fault.is_undefined());
        require!(is_undefined, "RDVL {RDVL_X0:#x}: {outcome:x?}");
        return Ok(detail!("not there"));
    }
    require!(outcome == Outcome::Done, "{outcome:x?}");
    make_exits()?;
    let [z, p, bytes, ..] = banks::check(Bank::Scalable);
    require!(z == 0 && p == 0, "wrong registers Z {z:#x} P {p:#x}");
    Ok(detail!("vectors of {bytes} bytes"))
}

/// Leaves the Realm in several ways.
fn make_exits() -> Result<(), Detail> {
    let (status, _) = smc::host_call(1, &[0; 31]);
    require!(status == 0, "host call: status {status:#x}");
    let access = try_run(LDR_W0, 0, alias(UART_IBRD));
    require!(access.is_ok(), "device read: {access:x?}");
    let page = try_run(LDR_W0, 0, fresh_page()?);
    require!(page.is_ok(), "page fault: {page:x?}");
    let [status, ..] = smc::rsi(RsiCommand::MeasurementRead, &[0]);
    require!(status == 0, "measurement: status {status:#x}");
    // The monitor may hash with vector registers.
    let [status, ..] = smc::rsi(RsiCommand::MeasurementExtend, &[2, 64]);
    require!(status == 0, "measurement: status {status:#x}");
    // Long enough for other PEs to use this one's registers, if they can.
    crate::smp::wait_until(timer::frequency() / 50, || false);
    Ok(())
}
