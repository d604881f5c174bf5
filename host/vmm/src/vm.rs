// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! One VM: its devices, the power of its vCPUs, and its life.
//!
//! A [`Vm`] is shared by every PE that runs one of its vCPUs. It is running until the first call of
//! [`Vm::stop`]; every vCPU sees the reason at its next exit. In between it may be paused.

use crate::exits::{MmioOperation, cut};
use crate::gic::{Gic, SgiRegister};
use crate::machine::{
    Device, ENTROPY_INTID, GuestMap, PHYSICAL_TIMER_INTID, PMU_INTID, UART_INTID,
    VIRTUAL_TIMER_INTID, VcpuSet,
};
use crate::psci::Power;
use crate::summary::VmCounters;
use crate::uart::{LineAssembler, Uart};
use crate::vcpu::Host;
use crate::virtio::{Entropy, SharedMemory};
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use rmi::psci::PsciReturn;
use rmi::{Ipa, RecExit, RmiError};
use spin::{Mutex, Once};

/// Bit of a timer's control register: it is on.
const TIMER_ENABLE: u64 = 1 << 0;
/// Its output is masked.
const TIMER_MASK: u64 = 1 << 1;
/// Its condition is met.
const TIMER_STATUS: u64 = 1 << 2;

/// Why a VM stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The guest turned itself off.
    SystemOff,
    /// The guest asked for a reset.
    SystemReset,
    /// The guest asked for its end by a host call with this immediate.
    HostCall(u16),
    /// The host ended it, and says why.
    Host(&'static str),
    /// A memory fault of the guest could not be served.
    Fault {
        /// Where.
        ipa: Ipa,
        /// Why.
        cause: &'static str,
    },
    /// The memory system failed an access of the guest; its syndrome.
    ExternalAbort(u64),
    /// A vCPU could not be entered.
    Entry(EnterError),
    /// `RMI_PSCI_COMPLETE` failed for a call about this MPIDR.
    PsciCompletion {
        /// The target of the call.
        target: u64,
        /// How it failed; nothing when there is no such vCPU.
        error: Option<EnterError>,
    },
    /// An exit that this host does not know.
    UnknownExit {
        /// Code of the reason.
        code: u8,
        /// The syndrome.
        esr: u64,
    },
}

impl StopReason {
    /// Tells whether the guest ended the way a guest should.
    pub fn is_orderly(&self) -> bool {
        matches!(self, Self::SystemOff)
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SystemOff => write!(f, "the guest turned itself off"),
            Self::SystemReset => write!(f, "the guest asked for a reset"),
            Self::HostCall(imm) => write!(f, "the guest ended itself by host call {imm:#x}"),
            Self::Host(cause) => write!(f, "{cause}"),
            Self::Fault { ipa, cause } => {
                write!(f, "memory fault at IPA {:#x}: {cause}", ipa.raw())
            }
            Self::ExternalAbort(esr) => write!(f, "external abort, syndrome {esr:#x}"),
            Self::Entry(error) => write!(f, "a vCPU could not be entered: {error}"),
            Self::PsciCompletion {
                target,
                error: Some(error),
            } => {
                write!(f, "PSCI completion for {target:#x} failed: {error}")
            }
            Self::PsciCompletion {
                target,
                error: None,
            } => {
                write!(f, "PSCI call names no vCPU: {target:#x}")
            }
            Self::UnknownExit { code, esr } => {
                write!(f, "unknown exit: reason {code}, syndrome {esr:#x}")
            }
        }
    }
}

/// Why a call about a vCPU failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnterError {
    /// The RMM refused with this status.
    Rmi(RmiError),
    /// The answer is no status of RMI.
    Unknown(u64),
}

impl fmt::Display for EnterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rmi(error) => write!(f, "{error}"),
            Self::Unknown(x0) => write!(f, "unknown status {x0:#x}"),
        }
    }
}

/// One virtual machine.
#[derive(Debug)]
pub struct Vm {
    map: GuestMap,
    gic: Gic,
    console: Mutex<Console>,
    entropy: Mutex<Entropy>,
    power: Power,
    end: Once<StopReason>,
    paused: AtomicBool,
    counters: VmCounters,
}

#[derive(Clone, Debug, Default)]
struct Console {
    uart: Uart,
    lines: LineAssembler,
}

impl Vm {
    /// Builds the devices of a VM; vCPU 0 is on, the others wait to be turned on.
    ///
    /// `list_count` is the number of list registers of the machine.
    pub fn new(map: GuestMap, list_count: usize) -> Self {
        Self {
            gic: Gic::new(map.vcpus(), list_count),
            map,
            console: Mutex::default(),
            entropy: Mutex::default(),
            power: Power::new(VcpuSet::only(0)),
            end: Once::new(),
            paused: AtomicBool::new(false),
            counters: VmCounters::default(),
        }
    }

    /// Returns a VM whose devices are as this one's are, for vCPUs that go on with other memory.
    ///
    /// This VM is paused and every vCPU has left its loop. Its counters stay with it.
    pub fn continued(&self) -> Self {
        Self {
            map: self.map,
            gic: self.gic.clone(),
            console: Mutex::new(self.console.lock().clone()),
            entropy: Mutex::new(self.entropy.lock().clone()),
            power: self.power.clone(),
            end: Once::new(),
            paused: AtomicBool::new(false),
            counters: VmCounters::default(),
        }
    }

    /// Returns the VM's address space.
    pub fn map(&self) -> &GuestMap {
        &self.map
    }

    /// Returns the interrupt controller.
    pub fn gic(&self) -> &Gic {
        &self.gic
    }

    /// Returns the power state of the vCPUs.
    pub fn power(&self) -> &Power {
        &self.power
    }

    /// Returns the counters.
    pub fn counters(&self) -> &VmCounters {
        &self.counters
    }

    /// Returns why the VM stopped, if it did.
    pub fn stopped(&self) -> Option<StopReason> {
        self.end.get().copied()
    }

    /// Ends the VM, interrupts the PEs of its vCPUs and returns the reason that counts: the first.
    pub fn stop(&self, reason: StopReason, host: &impl Host) -> StopReason {
        let first = *self.end.call_once(|| reason);
        host.kick(VcpuSet::first(self.map.vcpus()));
        first
    }

    /// Makes every vCPU leave its run loop at its next exit, and interrupts their PEs.
    pub fn pause(&self, host: &impl Host) {
        self.paused.store(true, Ordering::Release);
        host.kick(VcpuSet::first(self.map.vcpus()));
    }

    /// Lets the vCPUs run again.
    pub fn resume(&self) {
        self.paused.store(false, Ordering::Release);
    }

    /// Tells whether the vCPUs are to leave their run loops.
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    /// Sends bytes to the guest's console; returns how many there was room for.
    pub fn type_in(&self, bytes: &[u8], host: &impl Host) -> usize {
        let mut console = self.console.lock();
        let taken = console.uart.receive(bytes);
        host.kick(
            self.gic
                .set_shared_line(UART_INTID, console.uart.is_interrupting()),
        );
        taken
    }

    /// Prints a partial line of the guest's console to which nothing has come for a second.
    ///
    /// The host calls this about once a second, from any PE.
    pub fn flush_console(&self, host: &impl Host) {
        let second = host.ticks_per_second();
        self.flush_console_older(second, host);
    }

    /// Prints a partial line of the guest's console, however young: the VM has ended.
    pub fn finish_console(&self, host: &impl Host) {
        self.flush_console_older(0, host);
    }

    fn flush_console_older(&self, age: u64, host: &impl Host) {
        let mut console = self.console.lock();
        console
            .lines
            .flush_older(host.ticks(), age, |line| host.console_line(line));
    }

    /// Does an access to a device for a vCPU; returns what a read answers.
    pub(crate) fn access_device(
        &self,
        vcpu: usize,
        register: Register,
        operation: MmioOperation,
        memory: &impl SharedMemory,
        host: &impl Host,
    ) -> u64 {
        match operation {
            MmioOperation::Read => {
                self.counters.count_read(register.device);
                cut(self.read_device(vcpu, register, host), register.size_bytes)
            }
            MmioOperation::Write(value) => {
                self.counters.count_write(register.device);
                self.write_device(vcpu, register, value, memory, host);
                0
            }
        }
    }

    /// Sends the interrupts that a write to one of the SGI registers asks for.
    pub(crate) fn send_sgi(
        &self,
        sender: usize,
        register: SgiRegister,
        value: u64,
        host: &impl Host,
    ) {
        self.counters.sgis.bump();
        self.kick_others(sender, self.gic.send_sgi(sender, register, value), host);
    }

    /// Drives the interrupts of a vCPU's timers and counters from what its exit reports.
    pub(crate) fn sample_lines(&self, vcpu: usize, exit: &RecExit) {
        let counters = &self.counters;
        let virtual_line = is_timer_high(exit.cntv_ctl);
        if self
            .gic
            .set_private_line(vcpu, VIRTUAL_TIMER_INTID, virtual_line)
        {
            counters.virtual_timer_interrupts.bump();
        }
        let physical_line = is_timer_high(exit.cntp_ctl);
        if self
            .gic
            .set_private_line(vcpu, PHYSICAL_TIMER_INTID, physical_line)
        {
            counters.physical_timer_interrupts.bump();
        }
        if self
            .gic
            .set_private_line(vcpu, PMU_INTID, exit.has_pmu_overflow())
        {
            counters.pmu_interrupts.bump();
        }
    }

    /// Interrupts the PEs of other vCPUs; this PE is not in its guest and needs no interrupt.
    pub(crate) fn kick_others(&self, vcpu: usize, vcpus: VcpuSet, host: &impl Host) {
        let others = vcpus.without(vcpu);
        if !others.is_empty() {
            host.kick(others);
        }
    }

    fn read_device(&self, vcpu: usize, register: Register, host: &impl Host) -> u64 {
        let Register {
            device,
            offset,
            size_bytes,
        } = register;
        match device {
            Device::Distributor => self.gic.read_distributor(offset, size_bytes),
            Device::Redistributor(owner) => self.gic.read_redistributor(owner, offset, size_bytes),
            Device::Uart => {
                let mut console = self.console.lock();
                let value = console.uart.read(offset);
                let line = console.uart.is_interrupting();
                self.kick_others(vcpu, self.gic.set_shared_line(UART_INTID, line), host);
                value
            }
            Device::Entropy => self.entropy.lock().read(offset),
        }
    }

    fn write_device(
        &self,
        vcpu: usize,
        register: Register,
        value: u64,
        memory: &impl SharedMemory,
        host: &impl Host,
    ) {
        let Register {
            device,
            offset,
            size_bytes,
        } = register;
        let affected = match device {
            Device::Distributor => self.gic.write_distributor(offset, size_bytes, value),
            Device::Redistributor(owner) => self
                .gic
                .write_redistributor(owner, offset, size_bytes, value),
            Device::Uart => {
                let mut console = self.console.lock();
                if let Some(byte) = console.uart.write(offset, value) {
                    console
                        .lines
                        .push(byte, host.ticks(), |line| host.console_line(line));
                }
                self.gic
                    .set_shared_line(UART_INTID, console.uart.is_interrupting())
            }
            Device::Entropy => {
                let mut entropy = self.entropy.lock();
                entropy.write(offset, value, memory, |bytes| host.fill_random(bytes));
                self.gic
                    .set_shared_line(ENTROPY_INTID, entropy.is_interrupting())
            }
        };
        self.kick_others(vcpu, affected, host);
    }
}

/// A register of a device, or a part of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Register {
    /// The device.
    pub(crate) device: Device,
    /// Bytes from the device's first address.
    pub(crate) offset: u64,
    /// Bytes of the access: 1, 2, 4 or 8.
    pub(crate) size_bytes: u64,
}

/// The status that a PSCI call of a vCPU is completed with: the host refuses nothing.
pub(crate) const PSCI_STATUS: PsciReturn = PsciReturn::Success;

/// Tells whether the output of a timer with this control register is high.
pub fn is_timer_high(control: u64) -> bool {
    control & (TIMER_ENABLE | TIMER_MASK | TIMER_STATUS) == TIMER_ENABLE | TIMER_STATUS
}
