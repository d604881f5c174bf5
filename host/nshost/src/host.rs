// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The course of a run, from the device tree to the result.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};
use core::ops::Range;

use host_mm::client::RmiCalls;
use host_mm::pages::PageAllocator;
use log::{info, warn};

use crate::machine::Machine;
use crate::platform::Platform;
use crate::{board, console, gic, heap, image, memory, mmu, pe};

/// The RMI version the host speaks: 1.0.
const RMI_VERSION: u64 = 1 << 16;

/// The machine, once it is set up.
pub(crate) struct Host {
    /// What the portable crates ask of the machine.
    pub(crate) machine: Machine,
    /// Who uses which page.
    pub(crate) pages: PageAllocator,
    /// Number of PEs.
    pub(crate) pes: usize,
    /// Feature register 0 of the RMM.
    pub(crate) features: u64,
}

/// Sets the machine up and does what the bundle asks. `device_tree` is the board's.
///
/// # Errors
/// A sentence that says why the run is not what it should be.
pub(crate) fn run(device_tree: usize) -> Result<(), String> {
    info!("stage: boot");
    let host = set_up(device_tree)?;
    drop(host);
    Ok(())
}

fn set_up(device_tree: usize) -> Result<Host, String> {
    // SAFETY: the board says that its device tree is there; the first map covers it.
    let platform = unsafe { Platform::read(device_tree) }.map_err(|e| e.to_string())?;
    info!("{}: {}", board::NAME, platform.model);
    let dram = memory::subtract(&platform.dram, &platform.no_map);
    mmu::set_up(&dram).map_err(|e| format!("cannot map memory: {e}"))?;
    let heap = add_heap(&platform, &dram)?;
    // SAFETY: this is the only call; only `gic` touches the GIC.
    unsafe { gic::init(&platform) }.map_err(|e| format!("cannot use the GIC: {e}"))?;
    let pes = pe::start_all(&platform);
    gic::enable_console(platform.cpus[0]).map_err(|e| format!("no console interrupt: {e}"))?;
    console::enable_receive_interrupt();
    info!(
        "{pes} of {} CPUs, {} MiB of memory",
        platform.cpus.len(),
        platform.dram_bytes() >> 20
    );
    let machine = Machine::new();
    let features = greet(&machine)?;
    let mut in_use = vec![image::whole().start..heap.end];
    in_use.extend(platform.reserved.iter().cloned());
    let pages = memory::allocator(&dram, &in_use);
    let refused = memory::probe(&pages, &machine, &dram);
    info!(
        "{} MiB can be delegated",
        (pages.total_pages() >> 8) - (refused >> 20)
    );
    Ok(Host {
        machine,
        pages,
        pes,
        features,
    })
}

/// Gives the heap all it needs and returns where that is.
fn add_heap(platform: &Platform, dram: &[Range<usize>]) -> Result<Range<usize>, String> {
    let part = heap::second(platform.dram_bytes());
    let fits = |range: &Range<usize>| range.start <= part.start && part.end <= range.end;
    let taken = |range: &Range<usize>| range.start < part.end && part.start < range.end;
    let is_free = !platform.reserved.iter().any(taken) && part.end <= board::BUNDLE_BASE;
    if !dram.iter().any(fits) || !is_free {
        return Err("there is no room for the heap behind the image".into());
    }
    // SAFETY: the part is what `second` says, in mapped memory, and neither firmware nor the bundle
    // uses it; the page allocator will be told to leave it alone.
    unsafe { heap::add(part.clone()) };
    Ok(part)
}

/// Checks that there is an RMM of the right version; returns its feature register 0.
fn greet(rmm: &impl RmiCalls) -> Result<u64, String> {
    let (answer, lower, higher) = rmm.version(RMI_VERSION);
    info!("RMI {} to {}", version(lower), version(higher));
    answer.map_err(|e| format!("the RMM does not speak RMI {}: {e}", version(RMI_VERSION)))?;
    let features = rmm.features(0).map_err(|e| format!("RMI_FEATURES: {e}"))?;
    info!("RMM features {features:#x}");
    Ok(features)
}

fn version(word: u64) -> String {
    format!("{}.{}", word >> 16 & 0x7FFF, word & 0xFFFF)
}
