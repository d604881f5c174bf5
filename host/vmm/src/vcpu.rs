// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The run loop of a vCPU: enter the guest, find out why it stopped, do what that asks for.
//!
//! The loop knows no hardware. Three traits are the machine: [`VcpuPort`] enters the guest on this
//! PE, [`MemoryFaults`] gives guest memory its pages, [`Host`] is everything else. A Realm's port
//! calls `RMI_REC_ENTER`; a normal VM's port switches contexts itself and fills the same page.
//!
//! Order within a turn: the interrupts that are due go into the list registers as late as possible
//! and are taken back first of all, so that whatever is done in between sees their true state. A PE
//! that is interrupted by another while it is in the loop stops again right after its next entry,
//! and no request is lost.

#[cfg(test)]
mod tests;

pub use crate::vm::EnterError;

use crate::exits::{AccessKind, Exit, MemoryFault, Mmio, MmioOperation, PsciCall, SystemRegister};
use crate::machine::{Half, Place, VcpuSet, vcpu_of};
use crate::psci::AfterOff;
use crate::virtio::SharedMemory;
use crate::vm::{PSCI_STATUS, Register, StopReason, Vm};
use rmi::psci::{PsciFunction, PsciReturn};
use rmi::rec_run::REC_GPRS;
use rmi::status::REALM_INDEX_SYSTEM_OFF;
use rmi::{RecEnter, RecExit, RecMpidr, RipasChange, RmiError};

/// Accesses to nothing that are worth a line of the log.
const LOGGED_HOLES: u64 = 16;

/// One vCPU on the PE that runs it.
pub trait VcpuPort {
    /// Enters the guest and returns when it stopped, with `exit` filled in.
    ///
    /// # Errors
    ///
    /// The guest did not run.
    fn enter(&mut self, enter: &RecEnter, exit: &mut RecExit) -> Result<(), EnterError>;

    /// Answers the PSCI call that this vCPU stopped with, a call about vCPU `target`.
    ///
    /// For a Realm this is `RMI_PSCI_COMPLETE`. A normal VM's port starts the target, or writes the
    /// answer into the caller's registers.
    ///
    /// # Errors
    ///
    /// The call was refused.
    fn complete_psci(&mut self, target: usize, status: PsciReturn) -> Result<(), EnterError>;

    /// Handles the physical interrupts that are pending on this PE.
    fn service_interrupts(&mut self);

    /// Waits until a physical interrupt comes, and handles it.
    ///
    /// An interrupt that came before the wait began ends it at once.
    fn wait_for_interrupt(&mut self);
}

/// Guest memory.
pub trait MemoryFaults: SharedMemory {
    /// Makes the address accessible. The guest is entered again and retries.
    ///
    /// # Errors
    ///
    /// There is no memory at the address, or none left, for the reason given.
    fn handle_fault(&self, vcpu: usize, fault: &MemoryFault) -> Result<(), &'static str>;

    /// Applies a change of address state, or as much of it as possible, or refuses it.
    fn change_ripas(&self, vcpu: usize, change: &RipasChange) -> RipasAnswer;
}

/// What the host says to a change of address state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RipasAnswer {
    /// It has been applied, perhaps in part; the guest asks again for the rest.
    Accept,
    /// It is refused.
    Reject,
}

/// The host as a VM sees it; one value for all vCPUs.
pub trait Host {
    /// Interrupts the PEs that run these vCPUs; the calling PE may be among them.
    fn kick(&self, vcpus: VcpuSet);

    /// Prints a line of the guest's console.
    fn console_line(&self, line: &str);

    /// Fills bytes with random numbers; nothing without a source of them.
    fn fill_random(&self, bytes: &mut [u8]) -> Option<()>;

    /// Answers a call of the guest to the host, in place.
    fn host_call(&self, vcpu: usize, imm: u16, gprs: &mut [u64; REC_GPRS]) -> HostCallAnswer;

    /// Returns a clock that only goes forward.
    fn ticks(&self) -> u64;

    /// Returns how fast that clock is.
    fn ticks_per_second(&self) -> u64;
}

/// What a host call leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostCallAnswer {
    /// The guest goes on. A call without a meaning is answered so, with its registers unchanged.
    Resume,
    /// The VM ends.
    Stop,
}

/// What the run loop knows of a vCPU from one exit to the next entry. Together with the port's state
/// of a vCPU that has left its loop it can go on in another VM ([`Vm::continued`]).
#[derive(Clone, Debug, Default)]
pub struct VcpuState {
    enter: RecEnter,
    exit: RecExit,
    /// An entry may be refused because the request to turn this vCPU on was stale.
    may_be_off: bool,
}

/// A vCPU in its loop.
struct Loop<'a, P, M, H> {
    vm: &'a Vm,
    vcpu: usize,
    state: &'a mut VcpuState,
    port: &'a mut P,
    memory: &'a M,
    host: &'a H,
}

/// Whether the loop goes on.
type Turn = Result<(), StopReason>;

impl Vm {
    /// Runs a vCPU on this PE until the VM stops, and returns why it did; or until the VM pauses,
    /// and returns nothing: the same call with the same `state` goes on.
    pub fn run_vcpu(
        &self,
        vcpu: usize,
        state: &mut VcpuState,
        port: &mut impl VcpuPort,
        memory: &impl MemoryFaults,
        host: &impl Host,
    ) -> Option<StopReason> {
        let mut vcpu = Loop {
            vm: self,
            vcpu,
            state,
            port,
            memory,
            host,
        };
        loop {
            if let Some(reason) = self.stopped() {
                return Some(reason);
            }
            if self.is_paused() {
                return None;
            }
            if let Err(reason) = vcpu.turn() {
                return Some(self.stop(reason, host));
            }
        }
    }
}

impl<P: VcpuPort, M: MemoryFaults, H: Host> Loop<'_, P, M, H> {
    fn turn(&mut self) -> Turn {
        if !self.vm.power().is_on(self.vcpu) {
            self.port.wait_for_interrupt();
            return Ok(());
        }
        let lists = self.vm.gic().flush(self.vcpu);
        self.state.enter.gicv3_lrs = lists.words;
        self.state.enter.gicv3_hcr = lists.control;
        let entered = self.port.enter(&self.state.enter, &mut self.state.exit);
        if let Err(error) = entered {
            // Nothing ran: the list registers come back as they were.
            self.vm.gic().fold(self.vcpu, &lists.words, 0);
            return self.refused(error);
        }
        self.vm.gic().fold(
            self.vcpu,
            &self.state.exit.gicv3_lrs,
            self.state.exit.gicv3_hcr,
        );
        self.vm.sample_lines(self.vcpu, &self.state.exit);
        self.vm.counters().count_exit(self.state.exit.exit_reason);
        self.state.may_be_off = false;
        self.state.enter.reset();
        self.handle()
    }

    fn refused(&mut self, error: EnterError) -> Turn {
        match error {
            EnterError::Rmi(RmiError::Realm(REALM_INDEX_SYSTEM_OFF)) => Err(StopReason::SystemOff),
            EnterError::Rmi(RmiError::Rec) if self.state.may_be_off => {
                self.turn_off();
                Ok(())
            }
            _ => Err(StopReason::Entry(error)),
        }
    }

    fn handle(&mut self) -> Turn {
        match Exit::decode(&self.state.exit) {
            Exit::DataAbort(fault, mmio) => self.data_abort(&fault, mmio.as_ref()),
            Exit::InstructionAbort(fault) => self.memory_fault(&fault),
            Exit::ExternalAbort(syndrome) => Err(StopReason::ExternalAbort(syndrome.raw())),
            Exit::SystemRegister(access) => {
                self.system_register(access);
                Ok(())
            }
            Exit::Wait => Ok(()),
            Exit::Interrupt => {
                self.port.service_interrupts();
                Ok(())
            }
            Exit::Psci(call) => self.psci(call),
            Exit::RipasChange(change) => {
                if self.memory.change_ripas(self.vcpu, &change) == RipasAnswer::Reject {
                    self.state.enter.reject_ripas_change();
                }
                Ok(())
            }
            Exit::HostCall(imm) => self.host_call(imm),
            Exit::Serror(syndrome) => {
                self.vm.counters().serrors.bump();
                log::warn!("vCPU {}: SError, syndrome {:#x}", self.vcpu, syndrome.raw());
                Ok(())
            }
            Exit::Unknown => Err(StopReason::UnknownExit {
                code: self.state.exit.exit_reason,
                esr: self.state.exit.esr,
            }),
        }
    }

    /// An access to memory is a fault; one to a device is emulated if it is described.
    fn data_abort(&mut self, fault: &MemoryFault, mmio: Option<&Mmio>) -> Turn {
        match (self.vm.map().locate(fault.ipa), mmio) {
            (Place::Memory(_), _) => self.memory_fault(fault),
            (Place::Device(device, offset), Some(mmio)) => {
                let register = Register {
                    device,
                    offset,
                    size_bytes: mmio.size_bytes,
                };
                let answer = self.vm.access_device(
                    self.vcpu,
                    register,
                    mmio.operation,
                    self.memory,
                    self.host,
                );
                match mmio.operation {
                    MmioOperation::Read => self.state.enter.complete_mmio_read(answer),
                    MmioOperation::Write(_) => self.state.enter.complete_mmio_write(),
                }
                Ok(())
            }
            (Place::Device(..), None) => self.fail_access(fault, "not an access of one register"),
            (Place::Hole, _) => self.fail_access(fault, "nothing is there"),
        }
    }

    fn memory_fault(&mut self, fault: &MemoryFault) -> Turn {
        self.vm.counters().memory_faults.bump();
        let began = self.host.ticks();
        let served = self.memory.handle_fault(self.vcpu, fault);
        let ticks = self.host.ticks().saturating_sub(began);
        self.vm.counters().count_fault(fault.class, ticks);
        match served {
            Ok(()) => Ok(()),
            Err(cause) => self.fail_access(fault, cause),
        }
    }

    /// Lets the guest's access fail, where the host may: any access of a normal VM, and a Realm's
    /// data accesses outside its protected half.
    fn fail_access(&mut self, fault: &MemoryFault, cause: &'static str) -> Turn {
        let map = self.vm.map();
        let is_own = map.half(fault.ipa) == Half::Protected || fault.access == AccessKind::Fetch;
        if map.is_realm() && is_own {
            return Err(StopReason::Fault {
                ipa: fault.ipa,
                cause,
            });
        }
        if self.vm.counters().hole_accesses.bump() < LOGGED_HOLES {
            let ipa = fault.ipa.raw();
            log::warn!("vCPU {}: access to IPA {ipa:#x} fails: {cause}", self.vcpu);
        }
        self.state.enter.inject_sea();
        Ok(())
    }

    fn system_register(&self, access: SystemRegister) {
        match access {
            SystemRegister::SendSgi(register, value) => {
                self.vm.send_sgi(self.vcpu, register, value, self.host);
            }
            SystemRegister::Deactivate(intid) => {
                let affected = self.vm.gic().deactivate(self.vcpu, intid);
                self.vm.kick_others(self.vcpu, affected, self.host);
            }
            // Reads as zero, and writes have no effect.
            SystemRegister::Other(iss) => {
                log::warn!("vCPU {}: trapped register, syndrome {iss:#x}", self.vcpu);
            }
        }
    }

    fn psci(&mut self, call: PsciCall) -> Turn {
        match call.function {
            PsciFunction::CpuOn | PsciFunction::AffinityInfo => self.complete_psci(call),
            PsciFunction::CpuOff => {
                self.turn_off();
                Ok(())
            }
            // Every power state is a short wait, and a wait may end at any time.
            PsciFunction::CpuSuspend => Ok(()),
            PsciFunction::SystemOff => Err(StopReason::SystemOff),
            PsciFunction::SystemReset => Err(StopReason::SystemReset),
            PsciFunction::Version | PsciFunction::Features => Err(StopReason::UnknownExit {
                code: self.state.exit.exit_reason,
                esr: self.state.exit.esr,
            }),
        }
    }

    /// Completes a call about another vCPU, and lets its PE run it if it was turned on.
    fn complete_psci(&mut self, call: PsciCall) -> Turn {
        let [target, ..] = call.arguments;
        let vcpus = self.vm.map().vcpus();
        let Some(vcpu) = RecMpidr::from_affinity(target).and_then(|name| vcpu_of(name, vcpus))
        else {
            return Err(StopReason::PsciCompletion {
                target,
                error: None,
            });
        };
        if let Err(error) = self.port.complete_psci(vcpu, PSCI_STATUS) {
            return Err(StopReason::PsciCompletion {
                target,
                error: Some(error),
            });
        }
        if call.function == PsciFunction::CpuOn && self.vm.power().turn_on(vcpu) {
            self.vm
                .kick_others(self.vcpu, VcpuSet::only(vcpu), self.host);
        }
        Ok(())
    }

    fn turn_off(&mut self) {
        self.state.may_be_off = self.vm.power().turn_off(self.vcpu) == AfterOff::TryAgain;
    }

    fn host_call(&mut self, imm: u16) -> Turn {
        self.state.enter.gprs = self.state.exit.gprs;
        match self
            .host
            .host_call(self.vcpu, imm, &mut self.state.enter.gprs)
        {
            HostCallAnswer::Resume => Ok(()),
            HostCallAnswer::Stop => Err(StopReason::HostCall(imm)),
        }
    }
}
