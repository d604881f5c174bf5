// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! How the run loop enters a normal vCPU.

use core::arch::asm;

use aarch64_cpu::asm as instructions;
use aarch64_cpu::asm::barrier;
use host_mm::stage2::Stage2;
use host_vmm::normal::{
    self, Arrival, Cpus, Exception, Injected, Next, Registers, Trap, TrapKind, Vectors,
};
use host_vmm::vcpu::{EnterError, VcpuPort};
use rmi::psci::PsciReturn;
use rmi::{Ipa, RecEnter, RecExit, RmiError, Syndrome};

use super::context::Context;
use super::controls::Controls;
use super::timers::Timers;
use super::{lists, switch};
use crate::cpu;
use crate::guest::Events;
use crate::machine::Machine;
use crate::sysreg::{read_sysreg, write_sysreg};

/// Bits of `PAR_EL1`.
const PAR_FAILED: u64 = 1;
const PAR_ADDRESS: u64 = 0x000F_FFFF_FFFF_F000;

/// A vCPU of a normal VM that is in no PE.
#[derive(Clone, Debug, Default)]
pub(crate) struct NormalVcpu {
    registers: Registers,
    context: Context,
    timers: Timers,
}

/// A vCPU of a normal VM in its PE. Dropping it takes the vCPU out.
pub(crate) struct NormalPort<'a> {
    cpus: &'a Cpus,
    vcpu: usize,
    events: &'a Events<'a>,
    state: &'a mut NormalVcpu,
    _controls: Controls,
}

impl<'a> NormalPort<'a> {
    /// Puts vCPU `vcpu` of `cpus` into this PE, as `state` says and with `stage2` as its memory.
    pub(crate) fn load(
        cpus: &'a Cpus,
        vcpu: usize,
        state: &'a mut NormalVcpu,
        stage2: &Stage2<'_, Machine>,
        events: &'a Events<'a>,
    ) -> Self {
        let controls = Controls::set(vcpu, stage2);
        state.context.load();
        Self {
            cpus,
            vcpu,
            events,
            state,
            _controls: controls,
        }
    }

    /// Runs the guest until something happens that the run loop decides about.
    fn run(&mut self, exit: &mut RecExit) {
        loop {
            // SAFETY: `load` has put the guest's stage 2 into force, which host-mm keeps to the
            // guest's own memory and devices.
            let kind = unsafe { switch::enter(&mut self.state.registers) };
            let Some(trap) = describe(kind) else {
                continue;
            };
            let registers = &mut self.state.registers;
            match normal::handle(&trap, registers, self.cpus, self.vcpu, cpu::read_id, exit) {
                Next::Resume => (),
                Next::Inject(exception) => self.inject(exception),
                Next::Exit => return,
            }
        }
    }

    fn inject(&mut self, injected: Injected) {
        let vectors = Vectors {
            vbar: read_sysreg!("vbar_el1"),
            sctlr: read_sysreg!("sctlr_el1"),
        };
        let Exception {
            elr,
            spsr,
            esr,
            far,
        } = injected.take(&mut self.state.registers, &vectors);
        write_sysreg!("elr_el1", elr);
        write_sysreg!("spsr_el1", spsr);
        write_sysreg!("esr_el1", esr);
        if let Some(far) = far {
            write_sysreg!("far_el1", far);
        }
    }
}

impl Drop for NormalPort<'_> {
    fn drop(&mut self) {
        self.state.context.save();
        self.state.timers.release();
    }
}

impl VcpuPort for NormalPort<'_> {
    fn enter(&mut self, enter: &RecEnter, exit: &mut RecExit) -> Result<(), EnterError> {
        match self.cpus.arrive(self.vcpu) {
            Arrival::Off => return Err(EnterError::Rmi(RmiError::Rec)),
            Arrival::On => {
                if let Some(exception) = normal::complete(enter, exit, &mut self.state.registers) {
                    self.inject(exception);
                }
            }
            Arrival::Start(start) => {
                let state = &mut *self.state;
                state.registers = Registers {
                    pc: start.pc,
                    ..Registers::default()
                };
                state.registers.gprs[0] = start.argument;
                state.context = Context::default();
                state.context.load();
                state.timers.reset();
            }
        }
        lists::present(enter);
        self.state.timers.start();
        self.run(exit);
        self.state.timers.stop(exit);
        lists::take_back(exit);
        Ok(())
    }

    fn complete_psci(&mut self, target: usize, status: PsciReturn) -> Result<(), EnterError> {
        self.cpus
            .complete(target, &mut self.state.registers, status);
        Ok(())
    }

    fn service_interrupts(&mut self) {
        self.events.service();
    }

    fn wait_for_interrupt(&mut self) {
        instructions::wfi();
        self.events.service();
    }
}

/// Returns the trap that this PE has just taken, or nothing when the guest has to try again.
fn describe(kind: TrapKind) -> Option<Trap> {
    let mut trap = Trap {
        kind,
        esr: read_sysreg!("esr_el2"),
        far: read_sysreg!("far_el2"),
        hpfar: read_sysreg!("hpfar_el2"),
    };
    let syndrome = Syndrome::new(trap.esr);
    let is_abort = syndrome.is_data_abort() || syndrome.is_instruction_abort();
    let is_unknown = syndrome.is_permission_fault() && !syndrome.is_table_walk();
    if kind == TrapKind::Synchronous && is_abort && is_unknown {
        trap.hpfar = RecExit::hpfar_of(translate(trap.far)?);
    }
    Some(trap)
}

/// Translates an address of the guest; `HPFAR_EL2` is not valid for a permission fault (Arm ARM).
///
/// Nothing when the guest's own tables no longer do, or cannot be read: it will fault there.
fn translate(address: u64) -> Option<Ipa> {
    let before = read_sysreg!("par_el1");
    // SAFETY: a translation by the guest's stage 1, whose result is in a register of the guest
    // that is restored below.
    unsafe { asm!("at s1e1r, {}", in(reg) address, options(nostack, preserves_flags)) };
    barrier::isb(barrier::SY);
    let result = read_sysreg!("par_el1");
    write_sysreg!("par_el1", before);
    (result & PAR_FAILED == 0).then(|| Ipa::new(result & PAR_ADDRESS))
}
