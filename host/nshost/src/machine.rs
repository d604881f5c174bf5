// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The machine as `host-mm` asks for it. Physical memory is in `memory.rs`, translation and caches
//! in `tlb.rs`.

use host_mm::addr::{Granularity, Hva};
use host_mm::machine::{Rmi, Vmm};
use host_vmm::summary::RmiCounters;
use log::warn;
use rmi::table::REGISTERS;

use crate::smc;

/// The machine.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    /// RMI calls that were made.
    pub(crate) rmi: RmiCounters,
}

impl Machine {
    /// Makes an RMI call and tells how many ticks of the counter it took.
    pub(crate) fn call_timed(&self, registers: [u64; REGISTERS]) -> ([u64; REGISTERS], u64) {
        let (reply, ticks) = smc::call_timed(registers);
        self.rmi.count(registers[0], reply[0]);
        (reply, ticks)
    }
}

impl Rmi for Machine {
    fn call(&self, registers: [u64; REGISTERS]) -> [u64; REGISTERS] {
        let reply = smc::call(registers);
        self.rmi.count(registers[0], reply[0]);
        reply
    }
}

impl Vmm for Machine {
    fn memory_failure(&self, hva: Hva, granularity: Granularity) {
        warn!("memory failure at {:#x}, {granularity:?}", hva.raw());
    }

    fn missing_page(&self, context: u64, hva: Hva) {
        warn!("nothing backs {:#x} (context {context})", hva.raw());
    }
}
