// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A run of one guest or two: created, filled, run, perhaps moved, taken apart, summed up.
//!
//! Each vCPU has a PE of its own: those of the first guest come first.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use host_mm::host::Host;
use host_vmm::bundle::Options;
use log::info;
use rmi::FeatureRegister0;

use crate::bundle::LoadedBundle;
use crate::guest::Name;
use crate::guests::{self, Prepared};
use crate::machine::Machine;
use crate::relocate::Relocation;
use crate::summary::{self, Before, Mapped};
use crate::{disturb, pe, running, stage};

/// Runs the bundle's guest as each of `names`, all at the same time, from creation to summary.
///
/// # Errors
/// A sentence that says why the run is not what it should be.
pub(crate) fn run(
    host: &Host<Machine>,
    features: FeatureRegister0,
    bundle: &LoadedBundle,
    names: &[Name],
) -> Result<(), String> {
    let before = Before::take(host);
    host.set_secret(bundle.header.secret);
    let options = bundle.header.options;
    let vcpus = bundle.header.vcpus as usize;
    let wanted = vcpus * names.len() + usize::from(disturb::is_wanted(options));
    if wanted > pe::count() {
        return Err(format!(
            "the run needs {wanted} CPUs, there are {}",
            pe::count()
        ));
    }
    stage::enter("create");
    let mut guests = Vec::new();
    for (place, name) in names.iter().enumerate() {
        let pes = place * vcpus..(place + 1) * vcpus;
        guests.push(guests::prepare(host, features, bundle, *name, pes)?);
    }
    stage::enter("run");
    if options.contains(Options::MIGRATE) {
        guests = run_and_move(guests, options)?;
    }
    running::run(&guests, options, None)?;
    for guest in &guests {
        let ended = guest.vm.stopped();
        let ended = ended.ok_or("the vCPUs came back without a reason")?;
        info!("the {} stopped: {ended}", guest.name.noun());
    }
    stage::enter("teardown");
    let mut reports = Vec::new();
    for guest in &guests {
        reports.push(guest.take_apart()?);
    }
    stage::enter("summary");
    report(host, &guests, &reports, options);
    let ends: Vec<_> = guests
        .iter()
        .filter_map(|guest| guest.vm.stopped())
        .collect();
    drop(guests);
    summary::report_pages(host);
    summary::check(host, &before)?;
    ends.iter()
        .find(|end| !end.is_orderly())
        .map_or(Ok(()), |end| Err(end.to_string()))
}

/// Runs the guests until the normal VM has been copied, and returns them all with the copy in its
/// place.
fn run_and_move(
    mut guests: Vec<Prepared<'_>>,
    options: Options,
) -> Result<Vec<Prepared<'_>>, String> {
    let is_normal = |guest: &Prepared<'_>| guest.name == Name::Normal;
    let place = guests.iter().position(is_normal);
    let place = place.ok_or("there is no normal VM to be moved")?;
    let source = &guests[place];
    let twin = source.twin()?;
    let relocation = Relocation::new(&source.vm, &source.memory, &twin);
    running::run(&guests, options, Some(&relocation))?;
    stage::enter("stopped");
    relocation.finish()?;
    let moved = guests.remove(place).move_to(twin)?;
    guests.insert(place, moved);
    guests.iter().for_each(|guest| guest.vm.resume());
    stage::enter("resumed");
    Ok(guests)
}

/// Reports what was counted about each guest, and about what it was before it was moved.
fn report(host: &Host<Machine>, guests: &[Prepared<'_>], mapped: &[Mapped], options: Options) {
    host.machine().rmi.report(|line| info!("summary: {line}"));
    for (guest, mapped) in guests.iter().zip(mapped) {
        let prefix = if guests.len() > 1 {
            guest.name.prefix()
        } else {
            ""
        };
        if let Some(origin) = &guest.origin {
            let prefix = format!("{prefix}origin ");
            summary::report(&prefix, &origin.vm, &origin.memory, &origin.mapped);
            origin.disturbances.report(&prefix, options);
            let exits = guest.vm.counters().total_exits();
            let faults = guest.memory.counters().faults.get();
            info!("summary: migrate resumed exits {exits} faults {faults}");
        }
        summary::report(prefix, &guest.vm, &guest.memory, mapped);
        guest.disturbances.report(prefix, options);
    }
    stage::report();
}
