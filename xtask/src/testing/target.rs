// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The rings that need the emulated machine: guests as a Realm and as a normal VM, and the scenarios
//! on target.

use super::{Case, Outcome, conformance};
use crate::bench::{self, BenchArgs};
use crate::cli::{RunArgs, Vm};
use crate::guest::GuestKind;
use crate::project::Project;
use crate::run::{self, Report};
use anyhow::Result;
use regex::Regex;

const SUITE: &str = "system";
const TIMEOUT_SECONDS: u64 = 600;
/// Name that stands for all scenarios where only some tests are wanted.
const SCENARIOS: &str = "on_target_scenarios";

/// A run of a guest: the test's name, the guest and what it runs as, the number of CPUs, and whether
/// the host meanwhile logs dirty pages, takes pages away and moves it to other memory.
type Guest = (&'static str, GuestKind, Vm, u32, bool);

const GUESTS: &[Guest] = &[
    (
        "payload_normal_2_cpus",
        GuestKind::Test,
        Vm::Normal,
        2,
        false,
    ),
    (
        "payload_normal_2_cpus_disturbed_and_moved",
        GuestKind::Test,
        Vm::Normal,
        2,
        true,
    ),
    ("linux_realm_1_cpu", GuestKind::Linux, Vm::Realm, 1, false),
    ("linux_realm_4_cpus", GuestKind::Linux, Vm::Realm, 4, false),
    (
        "linux_normal_2_cpus_disturbed_and_moved",
        GuestKind::Linux,
        Vm::Normal,
        2,
        true,
    ),
];

/// Every measure has a figure.
const BENCH: &str = "every_measure_has_a_figure";

/// Runs the tests whose name matches.
///
/// # Errors
///
/// When the machine cannot be built or started.
pub(crate) fn run(project: &Project, filter: &Regex) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for (name, guest, vm, cpus, is_disturbed) in GUESTS {
        if filter.is_match(name) {
            let args = RunArgs {
                cpus: *cpus,
                timeout: TIMEOUT_SECONDS,
                dirty_log: *is_disturbed,
                invalidate: *is_disturbed,
                migrate: *is_disturbed,
                ..RunArgs::of(guest.clone(), *vm)
            };
            cases.push(run_guest(project, name, &args)?);
        }
    }
    if filter.is_match(BENCH) {
        println!("test: {BENCH}");
        let report = bench::measure(project, &BenchArgs::default())?;
        cases.push(case(BENCH, &report));
    }
    let scenarios = if filter.is_match(SCENARIOS) {
        conformance::on_all_machines(project, &Regex::new("")?)?
    } else if cases.is_empty() {
        conformance::on_all_machines(project, filter)?
    } else {
        Vec::new()
    };
    cases.extend(scenarios);
    Ok(cases)
}

fn run_guest(project: &Project, name: &str, args: &RunArgs) -> Result<Case> {
    println!("test: {name}");
    let report = run::execute(project, args)?;
    report.observed.print();
    crate::interrupt::check()?;
    Ok(case(name, &report))
}

fn case(name: &str, report: &Report) -> Case {
    let outcome = match &report.failure {
        None => Outcome::Passed,
        Some(reason) => Outcome::Failed(format!("{reason}; logs in {}", report.folder.display())),
    };
    Case {
        suite: SUITE.to_string(),
        name: name.to_string(),
        outcome,
        duration: report.duration,
    }
}
