// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The rings that need the emulated machine: Linux as a Realm, and the scenarios on target.

use super::{Case, Outcome, conformance};
use crate::cli::{RunArgs, Vm};
use crate::guest::GuestKind;
use crate::project::Project;
use crate::run;
use anyhow::Result;
use regex::Regex;
use std::time::{Duration, Instant};

const SUITE: &str = "system";
const TIMEOUT_SECONDS: u64 = 600;
/// Name that stands for all scenarios where only some tests are wanted.
const SCENARIOS: &str = "on_target_scenarios";

/// Linux as a Realm: the test's name and the number of CPUs.
const LINUX: &[(&str, u32)] = &[("linux_realm_1_cpu", 1), ("linux_realm_4_cpus", 4)];

/// Runs the tests whose name matches.
///
/// # Errors
///
/// When the machine cannot be built or started.
pub(crate) fn run(project: &Project, filter: &Regex) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for (name, cpus) in LINUX {
        if filter.is_match(name) {
            cases.push(linux(project, name, *cpus)?);
        }
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

fn linux(project: &Project, name: &str, cpus: u32) -> Result<Case> {
    println!("test: {name}");
    let began = Instant::now();
    let report = run::execute(project, &arguments(cpus))?;
    report.observed.print();
    crate::interrupt::check()?;
    let outcome = match report.failure {
        None => Outcome::Passed,
        Some(reason) => Outcome::Failed(format!("{reason}; logs in {}", report.folder.display())),
    };
    Ok(case(name, outcome, began.elapsed()))
}

fn case(name: &str, outcome: Outcome, duration: Duration) -> Case {
    Case {
        suite: SUITE.to_string(),
        name: name.to_string(),
        outcome,
        duration,
    }
}

fn arguments(cpus: u32) -> RunArgs {
    RunArgs {
        cpus,
        timeout: TIMEOUT_SECONDS,
        ..RunArgs::of(GuestKind::Linux, Vm::Realm)
    }
}
