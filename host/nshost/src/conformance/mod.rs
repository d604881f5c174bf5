// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The conformance mode: the scenarios, on this machine, against the RMM that is loaded. The report
//! is in the Test Anything Protocol, a line of it a line of the console.

mod port;
mod program;
mod registers;
mod simd;

use alloc::format;
use alloc::string::String;

use host_mm::host::Host;
use host_vmm::platform::Platform;
use log::info;
use scenarios::bench::{self, Unit};
use scenarios::{Filter, Report, Scenario, Summary, Verdict};

use crate::bundle::LoadedBundle;
use crate::machine::Machine;
use crate::{stage, timer};

use port::TargetPort;

/// Runs the scenarios that the bundle's filter admits.
///
/// # Errors
/// How many do not hold.
pub(crate) fn run(
    host: &Host<Machine>,
    platform: &Platform,
    bundle: &LoadedBundle,
) -> Result<(), String> {
    stage::enter("run");
    let payload = bundle.header.test_payload.as_ref();
    let payload = payload.map_or(&[][..], |part| bundle.contents(part));
    let mut port = TargetPort::new(host, platform, payload, bundle.header.options);
    let filter = Filter(&bundle.header.scenario_filter);
    let Summary {
        passed,
        failed,
        skipped,
    } = scenarios::run_all(&mut port, filter, &mut Tap);
    stage::enter("summary");
    info!("summary: scenarios passed {passed} failed {failed} skipped {skipped}");
    host.machine().rmi.report(|line| info!("{line}"));
    stage::report();
    match failed {
        0 => Ok(()),
        _ => Err(format!("{failed} scenarios do not hold")),
    }
}

/// Takes every measure and writes its figure, a line each: the figure, what it counts, the measure.
///
/// # Errors
/// How many measures have no figure, or that the counter does not count instructions.
pub(crate) fn bench(
    host: &Host<Machine>,
    platform: &Platform,
    bundle: &LoadedBundle,
) -> Result<(), String> {
    stage::enter("run");
    let ticks = timer::ticks_of_1000_instructions();
    if !(1000..1100).contains(&ticks) {
        return Err(format!(
            "the counter makes {ticks} ticks in 1000 instructions"
        ));
    }
    let mut port = TargetPort::new(host, platform, &[], bundle.header.options);
    let mut missing = 0;
    for measure in bench::all() {
        let name = measure.name;
        match (bench::measure(&mut port, measure), measure.unit) {
            (Ok(figure), Unit::Ticks) => info!("bench: {figure} instructions {name}"),
            (Ok(figure), Unit::Bytes) => info!("bench: {figure} bytes {name}"),
            (Err(reason), _) => {
                missing += 1;
                info!("bench: no figure for {name}: {reason}");
            }
        }
    }
    match missing {
        0 => Ok(()),
        _ => Err(format!("{missing} measures have no figure")),
    }
}

/// Writes the report.
struct Tap;

impl Report for Tap {
    fn plan(&mut self, count: usize) {
        info!("tap: 1..{count}");
    }

    fn done(&mut self, number: usize, scenario: &Scenario, verdict: &Verdict) {
        let name = scenario.name;
        match verdict {
            Verdict::Passed => info!("tap: ok {number} - {name}"),
            Verdict::Failed(reason) => info!("tap: not ok {number} - {name} # {reason}"),
            Verdict::Skipped(reason) => info!("tap: ok {number} - {name} # SKIP {reason}"),
        }
    }
}
