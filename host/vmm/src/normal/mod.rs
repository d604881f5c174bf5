// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The vCPU of a normal VM, as far as it is the same on every machine.
//!
//! A Realm's vCPU is run by the RMM, which answers many of its traps itself and reports the others
//! in a run page. For a normal VM the host is that monitor: [`handle`] looks at a trap, answers
//! what needs no device and no other vCPU, and fills the same page for the rest, so that one run
//! loop serves both kinds. [`complete`] does at the next entry what the run loop has decided.
//!
//! Words: a *trap* is the moment the hardware leaves the guest; only some traps become exits.

mod exception;
mod id;
mod psci;

pub use exception::{Exception, Injected, Vectors};
pub use id::{IdRegister, limit};
pub use psci::{Arrival, Cpus, Start};

use crate::exits::loaded_value;
use psci::Answer;
use rmi::smccc::SMCCC_NOT_SUPPORTED;
use rmi::syndrome::{EC_HVC64, EC_SMC64, EC_SYSREG, EC_WFX};
use rmi::{EnterFlags, ExitReason, RecEnter, RecExit, Syndrome};

/// `PSTATE` of a vCPU that starts: EL1 on its own stack pointer, all interrupts masked.
pub const START_PSTATE: u64 = 0x3C5;
/// `SCTLR_EL1` of a vCPU that starts: the bits that are one, and neither MMU nor caches.
pub const START_SCTLR: u64 = 0x30D0_0800;

/// Bytes of an A64 instruction.
const INSTRUCTION_BYTES: u64 = 4;
/// Number of the register that reads as zero.
const ZERO_REGISTER: usize = 31;
/// Direction bit of a system register access: set for a read.
const SYSREG_READ: u64 = 1;
const SYSREG_RT_SHIFT: u32 = 5;
const SYSREG_CRN_SHIFT: u32 = 10;
/// x0 to x3: a PSCI call and its arguments.
const PSCI_REGISTERS: usize = 4;
/// CRn of the GIC's interrupt registers.
const CRN_GIC: u64 = 12;

/// The general registers of a vCPU while it does not run. The layout is known to assembly.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Registers {
    /// x0 to x30.
    pub gprs: [u64; 31],
    /// Where the guest goes on.
    pub pc: u64,
    /// Its processor state.
    pub pstate: u64,
}

impl Default for Registers {
    fn default() -> Self {
        Self {
            gprs: [0; 31],
            pc: 0,
            pstate: START_PSTATE,
        }
    }
}

impl Registers {
    /// Returns register `number` as an instruction reads it.
    fn read(&self, number: usize) -> u64 {
        self.gprs.get(number).copied().unwrap_or(0)
    }

    /// Writes register `number` as an instruction does.
    fn write(&mut self, number: usize, value: u64) {
        if let Some(register) = self.gprs.get_mut(number) {
            *register = value;
        }
    }

    fn skip_instruction(&mut self) {
        self.pc = self.pc.wrapping_add(INSTRUCTION_BYTES);
    }
}

/// Why the hardware left the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrapKind {
    /// What the guest did.
    #[default]
    Synchronous,
    /// A physical IRQ.
    Irq,
    /// A physical FIQ.
    Fiq,
    /// An asynchronous external abort.
    Serror,
}

/// A trap with the registers that describe it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trap {
    /// Its kind.
    pub kind: TrapKind,
    /// `ESR_EL2`.
    pub esr: u64,
    /// `FAR_EL2`.
    pub far: u64,
    /// `HPFAR_EL2`, valid for every stage 2 abort.
    pub hpfar: u64,
}

/// What happens after a trap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The guest goes on.
    Resume,
    /// The guest goes on with an exception.
    Inject(Injected),
    /// The run loop decides; the exit has been filled in.
    Exit,
}

/// Looks at a trap of a vCPU: answers it, or fills `exit` in.
///
/// `read_id` returns an identification register of the PE. The parts of `exit` that describe
/// timers and interrupts are the caller's.
pub fn handle(
    trap: &Trap,
    registers: &mut Registers,
    cpus: &Cpus,
    vcpu: usize,
    read_id: impl Fn(IdRegister) -> u64,
    exit: &mut RecExit,
) -> Next {
    let reason = match trap.kind {
        TrapKind::Synchronous => return synchronous(trap, registers, cpus, vcpu, read_id, exit),
        TrapKind::Irq => ExitReason::Irq,
        TrapKind::Fiq => ExitReason::Fiq,
        TrapKind::Serror => ExitReason::Serror,
    };
    fill(exit, reason, trap);
    Next::Exit
}

/// Finishes what the guest stopped with, as the run loop says in `enter`; `exit` is how it stopped.
///
/// Returns the exception that the guest gets instead, if there is one.
pub fn complete(enter: &RecEnter, exit: &RecExit, registers: &mut Registers) -> Option<Injected> {
    let flags = enter.enter_flags();
    if flags.contains(EnterFlags::INJECT_SEA) {
        return Some(Injected::external_abort(exit));
    }
    if flags.contains(EnterFlags::EMUL_MMIO) {
        let syndrome = exit.syndrome();
        if !syndrome.is_write() {
            let value = loaded_value(syndrome, enter.gprs[0]);
            registers.write(usize::from(syndrome.register()), value);
        }
        registers.skip_instruction();
    }
    None
}

fn synchronous(
    trap: &Trap,
    registers: &mut Registers,
    cpus: &Cpus,
    vcpu: usize,
    read_id: impl Fn(IdRegister) -> u64,
    exit: &mut RecExit,
) -> Next {
    let syndrome = Syndrome::new(trap.esr);
    if syndrome.is_data_abort() || syndrome.is_instruction_abort() {
        fill(exit, ExitReason::Sync, trap);
        if syndrome.has_instruction() && syndrome.is_write() {
            exit.gprs[0] = registers.read(usize::from(syndrome.register()));
        }
        return Next::Exit;
    }
    match syndrome.class() {
        EC_WFX => {
            registers.skip_instruction();
            fill(exit, ExitReason::Sync, trap);
            Next::Exit
        }
        // A trapped SMC is returned to; an HVC is already behind the guest.
        EC_SMC64 => {
            registers.skip_instruction();
            call(registers, cpus, vcpu, exit)
        }
        EC_HVC64 => {
            registers.write(0, SMCCC_NOT_SUPPORTED);
            Next::Resume
        }
        EC_SYSREG => system_register(trap, registers, read_id, exit),
        // What the guest was told it does not have.
        _ => Next::Inject(Injected::undefined()),
    }
}

fn call(registers: &mut Registers, cpus: &Cpus, vcpu: usize, exit: &mut RecExit) -> Next {
    let answer = cpus.call(vcpu, &registers.gprs);
    if let Answer::Done(x0) = answer {
        registers.write(0, x0);
        return Next::Resume;
    }
    fill(exit, ExitReason::Psci, &Trap::default());
    exit.gprs[..PSCI_REGISTERS].copy_from_slice(&registers.gprs[..PSCI_REGISTERS]);
    if let Answer::Exit(x0) = answer {
        registers.write(0, x0);
    }
    Next::Exit
}

fn system_register(
    trap: &Trap,
    registers: &mut Registers,
    read_id: impl Fn(IdRegister) -> u64,
    exit: &mut RecExit,
) -> Next {
    let register = (trap.esr >> SYSREG_RT_SHIFT) as usize & ZERO_REGISTER;
    let is_read = trap.esr & SYSREG_READ != 0;
    if let Some(id) = IdRegister::of_syndrome(trap.esr)
        && is_read
    {
        registers.write(register, limit(id, read_id(id)));
        registers.skip_instruction();
        return Next::Resume;
    }
    if is_read || trap.esr >> SYSREG_CRN_SHIFT & 0xF != CRN_GIC {
        return Next::Inject(Injected::undefined());
    }
    fill(exit, ExitReason::Sync, trap);
    exit.gprs[0] = registers.read(register);
    registers.skip_instruction();
    Next::Exit
}

/// Describes a trap as an exit.
fn fill(exit: &mut RecExit, reason: ExitReason, trap: &Trap) {
    exit.exit_reason = reason.code();
    exit.esr = trap.esr;
    exit.far = trap.far;
    exit.hpfar = trap.hpfar;
    exit.gprs = [0; rmi::rec_run::REC_GPRS];
}

#[cfg(test)]
mod tests;
