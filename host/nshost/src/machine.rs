// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The machine as `host-mm` asks for it: one value made of the parts.

use host_mm::addr::{Granularity, Hva, Pfn};
use host_mm::machine::{PhysMemory, Rmi, Table, Tlb, Vmm};
use log::warn;
use rmi::Ipa;
use rmi::table::REGISTERS;

use crate::memory::Memory;
use crate::rmi_port::RmiPort;
use crate::tlb::Maintenance;

/// The machine.
pub(crate) struct Machine {
    /// The way to the RMM.
    pub(crate) rmm: RmiPort,
}

impl Machine {
    /// Returns the machine.
    pub(crate) const fn new() -> Self {
        Self {
            rmm: RmiPort::new(),
        }
    }
}

impl Rmi for Machine {
    fn call(&self, registers: [u64; REGISTERS]) -> [u64; REGISTERS] {
        self.rmm.call(registers)
    }
}

impl PhysMemory for Machine {
    fn zero_page(&self, pfn: Pfn) {
        Memory.zero_page(pfn);
    }

    fn copy_page(&self, from: Pfn, to: Pfn) {
        Memory.copy_page(from, to);
    }

    fn read(&self, address: u64, bytes: &mut [u8]) {
        Memory.read(address, bytes);
    }

    fn write(&self, address: u64, bytes: &[u8]) {
        Memory.write(address, bytes);
    }

    fn table(&self, pfn: Pfn) -> &Table {
        // The table outlives the borrow of a unit value as it does this one.
        const MEMORY: &Memory = &Memory;
        MEMORY.table(pfn)
    }

    fn clear_tags(&self, pfn: Pfn) {
        Memory.clear_tags(pfn);
    }

    fn contains(&self, pfn: Pfn, pattern: &[u8]) -> bool {
        Memory.contains(pfn, pattern)
    }

    fn is_uniform(&self, pfn: Pfn) -> bool {
        Memory.is_uniform(pfn)
    }
}

impl Tlb for Machine {
    fn publish(&self) {
        Maintenance.publish();
    }

    fn invalidate_ipa(&self, vmid: u16, ipa: Ipa, size: u64) {
        Maintenance.invalidate_ipa(vmid, ipa, size);
    }

    fn invalidate_vm(&self, vmid: u16) {
        Maintenance.invalidate_vm(vmid);
    }

    fn clean_data(&self, pfn: Pfn, size: u64) {
        Maintenance.clean_data(pfn, size);
    }

    fn sync_instructions(&self, pfn: Pfn, size: u64) {
        Maintenance.sync_instructions(pfn, size);
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
