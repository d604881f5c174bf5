// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! How the run loop enters a REC.

use aarch64_cpu::asm;
use host_mm::addr::{PAGE_BYTES, Pfn};
use host_mm::client::{CallError, RmiCalls};
use host_mm::host::Host;
use host_mm::machine::PhysMemory;
use host_mm::pages::PageHold;
use host_mm::realm::Rec;
use host_vmm::machine::PMU_INTID;
use host_vmm::vcpu::{EnterError, VcpuPort};
use rmi::psci::PsciReturn;
use rmi::rec_run::REC_RUN_HALF_BYTES;
use rmi::{RecEnter, RecExit};
use zerocopy::IntoBytes;

use crate::guest::Events;
use crate::line::Line;
use crate::machine::Machine;

/// One REC on its PE.
pub(crate) struct RecPort<'a> {
    machine: &'a Machine,
    recs: &'a [Rec],
    vcpu: usize,
    /// The page the RMM and the host talk through.
    run: PageHold<'a>,
    events: &'a Events<'a>,
    /// The overflow of the Realm's counters. The RMM holds back the Realm's timers by itself, but not this.
    overflow: Line,
}

impl<'a> RecPort<'a> {
    /// Returns the port of REC `vcpu` of `recs`, or nothing without memory for its run page.
    pub(crate) fn new(
        host: &'a Host<Machine>,
        recs: &'a [Rec],
        vcpu: usize,
        events: &'a Events<'a>,
    ) -> Option<Self> {
        let run = host.page_with(&[0; PAGE_BYTES])?;
        Some(Self {
            machine: host.machine(),
            recs,
            vcpu,
            run,
            events,
            overflow: Line::new(PMU_INTID),
        })
    }

    /// Takes the REC out of this PE.
    pub(crate) fn leave(&mut self) {
        self.overflow.note(false);
    }

    fn rec(&self) -> Pfn {
        self.recs[self.vcpu].rec
    }
}

impl VcpuPort for RecPort<'_> {
    fn enter(&mut self, enter: &RecEnter, exit: &mut RecExit) -> Result<(), EnterError> {
        let run = self.run.pfn();
        self.machine.write(run.address(), enter.as_bytes());
        self.machine
            .rec_enter(self.rec(), run)
            .map_err(enter_error)?;
        let exit_half = run.address() + REC_RUN_HALF_BYTES as u64;
        self.machine.read(exit_half, exit.as_mut_bytes());
        self.overflow.note(exit.has_pmu_overflow());
        Ok(())
    }

    fn complete_psci(&mut self, target: usize, status: PsciReturn) -> Result<(), EnterError> {
        let target = self.recs[target].rec;
        let answer = status.to_register();
        self.machine
            .psci_complete(self.rec(), target, answer)
            .map_err(enter_error)
    }

    fn service_interrupts(&mut self) {
        self.events.service();
    }

    fn wait_for_interrupt(&mut self) {
        asm::wfi();
        self.events.service();
    }
}

fn enter_error(error: CallError) -> EnterError {
    match error {
        CallError::Rmi(error) => EnterError::Rmi(error),
        CallError::Unknown(x0) => EnterError::Unknown(x0),
    }
}
