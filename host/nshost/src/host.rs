// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The course of a run, from the device tree to the result.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};
use core::ops::Range;

use host_mm::client::RmiCalls;
use host_mm::host::Host;
use host_vmm::bundle::{Mode, Options};
use host_vmm::platform::Platform;
use log::info;
use rmi::FeatureRegister0;
use rmi::features::FEATURE_REGISTER_0_INDEX;

use crate::bundle::LoadedBundle;
use crate::guest::Name;
use crate::machine::Machine;
use crate::tags::{self, Tags};
use crate::{board, conformance, console, gic, heap, image, memory, mmu, pe, run, stage};

/// The RMI version the host speaks: 1.0.
const RMI_VERSION: u64 = 1 << 16;

/// Sets the machine up and does what the bundle asks. `device_tree` is the board's.
///
/// # Errors
/// A sentence that says why the run is not what it should be.
pub(crate) fn run(device_tree: u64) -> Result<(), String> {
    stage::enter("boot");
    let Owned {
        platform,
        dram,
        heap,
    } = take_over(device_tree)?;
    // SAFETY: DRAM is mapped, and nobody writes what the loader has put there: the page allocator
    // is told to leave it alone.
    let bundle = unsafe { LoadedBundle::find(&dram) }?;
    if bundle.header.options.contains(Options::VERBOSE) {
        console::set_verbose();
    }
    let machine = Machine::default();
    let features = greet(&machine)?;
    let mut in_use = vec![image::whole().start..heap.end, bundle.range()];
    in_use.extend(platform.reserved.iter().cloned());
    let pages = memory::allocator(&dram, &in_use);
    let host = Host::new(machine, pages, memory::map(&dram));
    let refused = memory::probe(&host, &dram);
    info!(
        "{} MiB can be delegated",
        (host.pages().total_pages() >> 8) - (refused >> 20)
    );
    match tags::check(&host)? {
        Tags::None => (),
        Tags::Kept => info!("memory has allocation tags, which EL3 keeps from everybody"),
        Tags::Usable => info!("memory has allocation tags, and normal VMs can use them"),
    }
    if bundle.header.options.contains(Options::OLD_TAGS) && tags::are_usable() {
        let pages = tags::leave_on_free_memory(host.pages());
        info!("{pages} free pages have old tags");
    }
    match bundle.header.mode {
        Mode::Realm => run::run(&host, features, &bundle, &[Name::Realm]),
        Mode::NormalVm => run::run(&host, features, &bundle, &[Name::Normal]),
        Mode::Both => run::run(&host, features, &bundle, &[Name::Realm, Name::Normal]),
        Mode::Conformance => conformance::run(&host, &platform, &bundle),
        Mode::Bench => conformance::bench(&host, &platform, &bundle),
    }
}

/// A machine that the host has taken over.
struct Owned {
    /// What the device tree says.
    platform: Platform,
    /// Memory that is mapped.
    dram: Vec<Range<u64>>,
    /// The part of it that is heap.
    heap: Range<u64>,
}

/// Makes the machine the host's: memory, interrupts, processors.
fn take_over(device_tree: u64) -> Result<Owned, String> {
    // SAFETY: the board says that its device tree is there; the first map covers it.
    let found = unsafe { memory::read_platform(device_tree) };
    let (mut platform, tree) = found.map_err(|e| e.to_string())?;
    platform.reserved.push(tree);
    info!("{}: {}", board::NAME, platform.model);
    let dram = platform.mappable();
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
    Ok(Owned {
        platform,
        dram,
        heap,
    })
}

/// Gives the heap all it needs and returns where all of the heap is.
fn add_heap(platform: &Platform, dram: &[Range<u64>]) -> Result<Range<u64>, String> {
    let part = heap::second(platform.dram_bytes());
    let whole = image::whole().end..part.end;
    let fits = |range: &Range<u64>| range.start <= whole.start && whole.end <= range.end;
    let taken = |range: &Range<u64>| range.start < whole.end && whole.start < range.end;
    let is_free = !platform.reserved.iter().any(taken) && whole.end <= board::BUNDLE_BASE;
    if !dram.iter().any(fits) || !is_free {
        return Err("there is no room for the heap behind the image".into());
    }
    // SAFETY: the part is what `second` says, in mapped memory, and neither firmware nor the bundle
    // uses it; the page allocator will be told to leave it alone.
    unsafe { heap::add(part) };
    Ok(whole)
}

/// Checks that there is an RMM of the right version; returns what it offers.
fn greet(rmm: &impl RmiCalls) -> Result<FeatureRegister0, String> {
    let (answer, lower, higher) = rmm.version(RMI_VERSION);
    info!("RMI {} to {}", version(lower), version(higher));
    answer.map_err(|e| format!("the RMM does not speak RMI {}: {e}", version(RMI_VERSION)))?;
    let features = rmm.features(FEATURE_REGISTER_0_INDEX);
    let features = features.map_err(|e| format!("RMI_FEATURES failed: {e}"))?;
    info!("RMM features {features:#x}");
    Ok(FeatureRegister0::from_register(features))
}

fn version(word: u64) -> String {
    format!("{}.{}", word >> 16 & 0x7FFF, word & 0xFFFF)
}
