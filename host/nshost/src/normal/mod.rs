// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A normal VM at NS-EL1: the host's own tables, and a switch of contexts where a Realm has the RMM.
//!
//! It is given one device of the board: the clock, a page that is mapped and not emulated.

mod context;
mod controls;
mod debug;
mod lists;
mod port;
mod switch;
mod timers;

use alloc::format;
use alloc::string::{String, ToString};

use host_mm::addr::Pfn;
use host_mm::host::Host;
use host_mm::realm::Geometry;
use host_mm::stage2::Stage2;
use host_mm::vm::{Guest, Vm as MemoryVm};
use host_vmm::image::Layout;
use host_vmm::machine::{CLOCK_BASE, CLOCK_BYTES, GuestMap, RAM_BASE};
use host_vmm::normal::{Cpus, Start};
use rmi::Ipa;

use crate::bundle::LoadedBundle;
use crate::guest::device_tree;
use crate::machine::Machine;
use crate::{board, cpu};

pub(crate) use lists::count as list_registers;
pub(crate) use port::{NormalPort, NormalVcpu};

/// IPA width in bits.
const IPA_BITS: u32 = 40;

/// Returns the machine of a normal VM.
pub(crate) fn map(vcpus: usize, memory_bytes: u64) -> Option<GuestMap> {
    GuestMap::normal(IPA_BITS, vcpus, memory_bytes).map(GuestMap::with_clock)
}

/// Makes an empty VM of the machine `map`, known to the TLB as `vmid`.
///
/// # Errors
/// A sentence that says why there is none.
pub(crate) fn create<'h>(
    host: &'h Host<Machine>,
    map: &GuestMap,
    vmid: u16,
) -> Result<MemoryVm<'h, Machine>, String> {
    let geometry = Geometry::new(IPA_BITS).expect("the width is one of an address space");
    let stage2 = Stage2::new(host, geometry, vmid, cpu::facts())
        .ok_or("no memory for the tables of the normal VM")?;
    let memory = MemoryVm::new(host, Guest::Normal(stage2), cpu::facts());
    memory
        .add_memory(Ipa::new(RAM_BASE), map.memory_bytes())
        .map_err(|e| format!("the normal VM's memory cannot be described: {e:?}"))?;
    let clock = Pfn::containing(board::CLOCK_BASE);
    memory
        .add_device(Ipa::new(CLOCK_BASE), CLOCK_BYTES, clock)
        .map_err(|e| format!("the board's clock cannot be given away: {e:?}"))?;
    Ok(memory)
}

/// Gives the guest its kernel, initramfs and device tree; returns its vCPUs.
///
/// # Errors
/// A sentence that says what could not be placed.
pub(crate) fn populate(
    memory: &MemoryVm<'_, Machine>,
    map: &GuestMap,
    layout: &Layout,
    bundle: &LoadedBundle,
) -> Result<Cpus, String> {
    let tree = device_tree(map, layout, bundle).map_err(|e| e.to_string())?;
    let write = |at: Ipa, bytes: &[u8]| {
        memory
            .write(at, bytes)
            .map_err(|e| format!("{:#x} cannot be filled: {e:?}", at.raw()))
    };
    let parts = [
        (bundle.header.kernel, Some(layout.kernel)),
        (bundle.header.initrd, layout.initrd),
    ];
    for (part, place) in parts {
        if let (Some(part), Some(place)) = (part, place) {
            write(place.base, bundle.contents(&part))?;
        }
    }
    write(layout.device_tree, &tree)?;
    let first = Start {
        pc: layout.entry.raw(),
        argument: layout.device_tree.raw(),
    };
    Ok(Cpus::new(*map, first))
}
