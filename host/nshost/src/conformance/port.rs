// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The machine as the scenarios ask for it.

use alloc::string::String;

use aarch64_cpu::registers::{ICH_VTR_EL2, ID_AA64DFR0_EL1, ID_AA64MMFR1_EL1, Readable};
use host_mm::addr::{BLOCK_1G, PAGE_SIZE, Pfn};
use host_mm::host::Host;
use host_mm::machine::{PhysMemory, Rmi};
use host_mm::pages::{MAX_ORDER, PageUse, Wish};
use host_vmm::platform::Platform;
use rmi::{RecEnter, RecExit};
use scenarios::port::During;
use scenarios::realm::{RealmAction, RealmResult};
use scenarios::{Capabilities, Facts, Fault, Place, RmiPort};

use crate::guarded;
use crate::machine::Machine;

/// Registers of every reply that the monitor decides: x0 to x3. EL3 restores those from x5 on, and x4
/// is the caller's unless it is an output (SMCCC 1.2).
const REPLY_REGISTERS: usize = 4;
/// `ID_AA64DFR0_EL1.HPMN0` is the topmost field.
const HPMN0_SHIFT: u32 = 60;

/// The Host's side of this machine.
pub(super) struct TargetPort<'a> {
    host: &'a Host<Machine>,
    not_delegable: u64,
    beyond_memory: u64,
}

impl<'a> TargetPort<'a> {
    /// Returns the port of the machine that `platform` describes.
    pub(super) fn new(host: &'a Host<Machine>, platform: &Platform) -> Self {
        let end = platform.dram.iter().map(|range| range.end).max();
        Self {
            host,
            not_delegable: platform.gicd,
            beyond_memory: end.unwrap_or(0).next_multiple_of(BLOCK_1G),
        }
    }
}

impl RmiPort for TargetPort<'_> {
    fn call(&mut self, registers: [u64; 8]) -> [u64; 8] {
        self.host.machine().call(registers)
    }

    fn call_during(&mut self, _enter: [u64; 8], _call: [u64; 8]) -> Option<During> {
        None
    }

    fn obtain(&mut self, granules: usize, align: u64, place: Place) -> Option<u64> {
        if place == Place::High {
            return None;
        }
        let wanted = granules.max(usize::try_from(align / PAGE_SIZE).ok()?);
        let order = (0..=MAX_ORDER).find(|order| 1 << order >= wanted)?;
        let (pages, machine) = (self.host.pages(), self.host.machine());
        let first = pages.allocate_block(order, PageUse::Host, Wish::Delegable)?;
        for (number, pfn) in (0..1_u64 << order).map(|page| (page, first.offset(page))) {
            if number < granules as u64 {
                machine.zero_page(pfn);
            } else {
                pages.put(pfn);
            }
        }
        Some(first.address())
    }

    fn give_back(&mut self, first: u64, granules: usize) {
        let first = Pfn::containing(first);
        (0..granules as u64).for_each(|page| self.host.pages().put(first.offset(page)));
    }

    fn not_delegable(&self) -> u64 {
        self.not_delegable
    }

    fn beyond_memory(&self) -> u64 {
        self.beyond_memory
    }

    fn read(&mut self, from: u64, into: &mut [u8]) -> Result<(), Fault> {
        guarded::read(from, into).map_err(|_| Fault)
    }

    fn write(&mut self, to: u64, from: &[u8]) -> Result<(), Fault> {
        // SAFETY: scenarios write only granules that `obtain` gave them.
        unsafe { guarded::write(to, from) }.map_err(|_| Fault)
    }

    fn make_secure(&mut self, _granule: u64) {}

    fn make_non_secure(&mut self, _granule: u64) {}

    fn fault_after(&mut self, _bytes: Option<usize>) {}

    fn facts(&self) -> Facts {
        let has_wide_vmids = ID_AA64MMFR1_EL1.read(ID_AA64MMFR1_EL1::VMIDBits) != 0;
        Facts {
            vmid_bits: if has_wide_vmids { 16 } else { 8 },
            reply_registers: REPLY_REGISTERS,
            hpmn0: ID_AA64DFR0_EL1.get() >> HPMN0_SHIFT != 0,
            priority_bits: ICH_VTR_EL2.read(ICH_VTR_EL2::PRIbits) as u8 + 1,
        }
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::SAFE_READ
    }

    fn program(&self) -> &[u8] {
        &[]
    }

    fn set_action(&mut self, _enter: &mut RecEnter, _action: RealmAction) {}

    fn take_result(&mut self, _exit: &RecExit) -> Option<RealmResult> {
        None
    }

    fn audit(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn fingerprint(&mut self) -> Option<u64> {
        None
    }
}
