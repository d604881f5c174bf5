// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The loop of a vCPU that a Host drives.

use core::sync::atomic::Ordering;

use test_realm::protocol::{COMMAND_IMM, Command, Outcome, Report, pattern, sequence_step};

use crate::entry::MAX_VCPUS;
use crate::guard::{self, Registers};
use crate::{banks, cpu, end, gic, regs, smc, smp, stretches, sweep, timer};

/// Takes commands from the Host until it asks for something that does not return.
pub(crate) fn serve() -> ! {
    let cpu = cpu::current();
    let mut outcome = Outcome::Done;
    let mut registers = [0; 18];
    loop {
        let report = Report {
            outcome,
            registers,
            vcpu: cpu::number() as u64,
            interrupts: cpu.interrupts.load(Ordering::Relaxed),
            serrors: cpu.serrors.load(Ordering::Relaxed),
        };
        let (status, values) = smc::host_call(COMMAND_IMM, &report.encode());
        if status != 0 {
            end::fail(format_args!("the host call returned {status:#x}"));
        }
        (outcome, registers) = match Command::decode(&values) {
            Some(command) => execute(command),
            None => (Outcome::NotUnderstood, [0; 18]),
        };
    }
}

fn execute(command: Command) -> (Outcome, Registers) {
    match command {
        Command::Nothing => done(&[]),
        Command::Run {
            instruction,
            mut registers,
        } => {
            // SAFETY: whoever drives the payload answers for what it asks for.
            let outcome = unsafe { guard::run(instruction, &mut registers) };
            (outcome, registers)
        }
        Command::RunUser {
            instruction,
            mut registers,
        } => {
            // SAFETY: as above.
            let outcome = unsafe { guard::run_user(instruction, &mut registers) };
            (outcome, registers)
        }
        Command::Call {
            address,
            mut registers,
        } => {
            // SAFETY: as above.
            let outcome = unsafe { guard::call(address, &mut registers) };
            (outcome, registers)
        }
        Command::RunAll {
            instruction,
            seed,
            first,
        } => run_with_all(instruction, seed, first),
        Command::Fill(bank, seed) => (banks::fill(bank, seed), [0; 18]),
        Command::Check(bank) => (Outcome::Done, banks::check(bank)),
        Command::Residue(bank) => (Outcome::Done, banks::residue(bank)),
        Command::FillMemory {
            address,
            words,
            seed,
        } => fill_memory(address, words, seed),
        Command::CheckMemory {
            address,
            words,
            seed,
        } => check_memory(address, words, seed),
        Command::Interrupts(is_on) => {
            if is_on {
                gic::enable_cpu_interface();
                regs::unmask_interrupts();
            } else {
                regs::mask_interrupts();
            }
            done(&[])
        }
        Command::SetTimer {
            timer,
            ticks,
            again,
        } => {
            cpu::current().rearm_ticks.store(again, Ordering::Relaxed);
            if ticks == 0 {
                timer::stop(timer);
            } else {
                timer::start(timer, ticks);
            }
            done(&[])
        }
        Command::WaitInterrupts { count, ticks } => wait_interrupts(count, ticks),
        Command::StartVcpu(vcpu) => done(&[smp::turn_on(vcpu)]),
        Command::Sequence { seed, rounds } => done(&[long_sequence(seed, rounds)]),
        Command::Stretch(stretch, seed) => done(&stretches::run(stretch, seed)),
        Command::SendSgis {
            sgi,
            targets,
            count,
            ticks,
        } => send_sgis(sgi, targets, count, ticks),
        Command::Sweep {
            class,
            writes,
            secret,
        } => done(&sweep::sweep(class, writes, secret).to_words()),
    }
}

fn done(results: &[u64]) -> (Outcome, Registers) {
    let mut registers = [0; 18];
    registers[..results.len()].copy_from_slice(results);
    (Outcome::Done, registers)
}

/// Returns the pattern of x0 to x30 that `seed` names, with other values of x0 to x2.
pub(crate) fn all_registers(seed: u64, first: [u64; 3]) -> guard::AllRegisters {
    let mut registers = core::array::from_fn(|n| pattern(seed, n as u64));
    registers[..3].copy_from_slice(&first);
    registers
}

/// Returns the mask of x3 to x29 that differ.
pub(crate) fn changed(before: &guard::AllRegisters, after: &guard::AllRegisters) -> u64 {
    (3..30)
        .filter(|n| before[*n] != after[*n])
        .fold(0, |mask, n| mask | 1 << n)
}

fn run_with_all(instruction: u32, seed: u64, first: [u64; 3]) -> (Outcome, Registers) {
    let before = all_registers(seed, first);
    let mut after = before;
    // SAFETY: whoever drives the payload answers for what it asks for.
    let outcome = unsafe { guard::run_with_all(instruction, &mut after) };
    let (_, registers) = done(&[after[0], after[1], after[2], changed(&before, &after)]);
    (outcome, registers)
}

/// A word of memory wherever the Host says, under guard.
fn access(instruction: u32, address: u64, value: u64) -> Result<u64, Outcome> {
    let mut registers = [0; 18];
    registers[0] = value;
    registers[1] = address;
    // SAFETY: whoever drives the payload answers for what it asks for.
    match unsafe { guard::run(instruction, &mut registers) } {
        Outcome::Done => Ok(registers[0]),
        other => Err(other),
    }
}

fn fill_memory(address: u64, words: u64, seed: u64) -> (Outcome, Registers) {
    for index in 0..words {
        let value = pattern(seed, index);
        let written = access(test_realm::instructions::STR_X0, address + 8 * index, value);
        if let Err(outcome) = written {
            return (outcome, [0; 18]);
        }
    }
    done(&[])
}

fn check_memory(address: u64, words: u64, seed: u64) -> (Outcome, Registers) {
    let mut results = [0; 3];
    for index in 0..words {
        let value = match access(test_realm::instructions::LDR_X0, address + 8 * index, 0) {
            Ok(value) => value,
            Err(outcome) => return (outcome, [0; 18]),
        };
        if value != pattern(seed, index) {
            if results[0] == 0 {
                results[1..].copy_from_slice(&[index, value]);
            }
            results[0] += 1;
        }
    }
    done(&results)
}

fn wait_interrupts(count: u64, ticks: u64) -> (Outcome, Registers) {
    let cpu = cpu::current();
    smp::wait_until(ticks, || cpu.interrupts.load(Ordering::Acquire) >= count);
    let sgis = (0..16).map(|intid| cpu.count(intid)).sum();
    done(&[sgis, cpu.count(27), cpu.count(30)])
}

fn send_sgis(sgi: u64, targets: u64, count: u64, ticks: u64) -> (Outcome, Registers) {
    let (sgi, targets) = (sgi as u32, targets as u16);
    let receivers = || (0..MAX_VCPUS).filter(|vcpu| targets >> vcpu & 1 == 1);
    let before: [u64; MAX_VCPUS] = core::array::from_fn(|vcpu| cpu::of(vcpu).count(sgi));
    for sent in 1..=count {
        if gic::send_sgi(sgi, targets).is_err() {
            return (Outcome::NotUnderstood, [0; 18]);
        }
        let have_taken = || receivers().all(|vcpu| cpu::of(vcpu).count(sgi) >= before[vcpu] + sent);
        if !smp::wait_until(ticks, have_taken) {
            return done(&[sent - 1]);
        }
    }
    done(&[count])
}

/// The computation of the protocol, out of line so that it is one loop in registers.
#[inline(never)]
pub(crate) fn long_sequence(seed: u64, rounds: u64) -> u64 {
    (0..rounds).fold(seed, sequence_step)
}
