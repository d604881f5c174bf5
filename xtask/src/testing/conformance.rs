// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The on-target scenarios, against our RMM or any other.

use super::{Case, Outcome, filter, finish, tap};
use crate::guest::BundlePlan;
use crate::image;
use crate::interrupt;
use crate::project::Project;
use crate::run::{self, Expect, Machine, Report};
use anyhow::Result;
use clap::Args;
use host_vmm::bundle::{MAX_FILTER, Mode, Options};
use regex::Regex;
use scenarios::{Filter, all, on_machine, table};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What the gate runs the scenarios on: `-cpu max` with all its features, and without some, because an
/// RMM reads what a machine has and does not assume it. There is none with SME alone: QEMU 10.0 turns
/// SME off with SVE. And none without the memory copy instructions: QEMU has no switch for them, so an
/// image that does without them stands for the RMM on such a CPU, which is one without LPA2 too.
const VARIANTS: &[Variant] = &[
    Variant::with_cpu("on-target", ""),
    Variant {
        register_copies: true,
        ..Variant::with_cpu("on-target-no-lpa2", "lpa2=off")
    },
    Variant::with_cpu("on-target-no-sve", "sve=off,sme=off"),
    Variant::with_cpu("on-target-no-pmu", "pmu=off"),
    Variant {
        register_copies: true,
        exact_scenarios: Some("realm_boundary|_pas_halfway$|rec_enter_exit_pas$"),
        ..Variant::with_cpu("on-target-icount", "")
    },
];

/// A kind of machine.
struct Variant {
    /// The suite that its results belong to.
    suite: &'static str,
    /// Features of the CPU that are switched.
    cpu_opts: &'static str,
    /// Whether the RMM copies through registers.
    register_copies: bool,
    /// What matches the names of the scenarios that want a machine with exact time; nothing where the time
    /// is ordinary and all scenarios run. There they may not be skipped.
    exact_scenarios: Option<&'static str>,
}

impl Variant {
    const fn with_cpu(suite: &'static str, cpu_opts: &'static str) -> Self {
        Self {
            suite,
            cpu_opts,
            register_copies: false,
            exact_scenarios: None,
        }
    }

    /// Tells whether a scenario that the user wants runs on this machine.
    fn has_any(&self, filter: &Regex) -> bool {
        let mut names = all().chain(on_machine()).map(|scenario| scenario.name);
        self.exact_scenarios.is_none_or(|exact| {
            let exact = Regex::new(exact).expect("it is one of the table");
            names.any(|name| exact.is_match(name) && filter.is_match(name))
        })
    }
}

const MACHINE_CPUS: u32 = 4;
/// CPUs of a machine with exact time: one is in the midst of a call, another does something meanwhile.
const EXACT_CPUS: u32 = 2;
const MACHINE_MEMORY_BYTES: u64 = 3 << 30;
/// Machines that scenarios may stop before the rest is given up.
const MAX_MACHINES: u32 = 40;
/// Memory a scenario's Realm may use, in bytes.
const REALM_MEMORY_BYTES: u64 = 64 << 20;

/// Options of `cargo xtask conformance`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConformanceArgs {
    /// RMM image to use in place of ours
    #[arg(long, value_name = "IMG")]
    rmm: Option<PathBuf>,
    /// Only scenarios whose name matches this regular expression
    #[arg(long, value_name = "RE")]
    filter: Option<String>,
    /// Print what is proven of each command, where, and run nothing
    #[arg(long)]
    table: bool,
    /// Features of QEMU's CPU to switch, such as lpa2=off,sve=off
    #[arg(long, value_name = "A=off,...", default_value = "")]
    cpu_opts: String,
    /// Two CPUs that take turns, on which each instruction takes exactly one tick: for the scenarios named
    /// realm_boundary, _pas_halfway and exit_pas. The latter two want --register-copies: QEMU makes the memory
    /// copy instructions of a page at once
    #[arg(long)]
    exact_time: bool,
    /// An RMM of ours that does not use the memory copy instructions
    #[arg(long, conflicts_with = "rmm")]
    register_copies: bool,
    /// Seconds until the scenarios must have ended
    #[arg(long, value_name = "S", default_value = "600")]
    timeout: u64,
    /// Seconds of silence after which a scenario counts as hung; the rest run on a new machine
    #[arg(long, value_name = "S", default_value = "180")]
    silence: u64,
}

/// Runs the scenarios and prints a table.
///
/// # Errors
///
/// A refusal for bad input, an error when a scenario fails.
pub(crate) fn command(project: &Project, args: &ConformanceArgs) -> Result<()> {
    if args.table {
        print!("{}", table::table());
        return Ok(());
    }
    let filter = filter(args.filter.as_deref())?;
    let cases = scenarios(project, VARIANTS[0].suite, args, &filter)?;
    print_table(&cases);
    finish(project, "conformance", &cases)
}

/// Runs the scenarios on every kind of machine.
///
/// # Errors
///
/// When a machine cannot be built or started.
pub(crate) fn on_all_machines(project: &Project, filter: &Regex) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for variant in VARIANTS.iter().filter(|variant| variant.has_any(filter)) {
        println!("test: {}", variant.suite);
        let args = ConformanceArgs {
            rmm: None,
            filter: None,
            table: false,
            cpu_opts: variant.cpu_opts.to_string(),
            exact_time: variant.exact_scenarios.is_some(),
            register_copies: variant.register_copies,
            timeout: 600,
            silence: 180,
        };
        let Some(part) = variant.exact_scenarios else {
            cases.extend(scenarios(project, variant.suite, &args, filter)?);
            continue;
        };
        let mut exact = scenarios(project, variant.suite, &args, &Regex::new(part)?)?;
        exact.retain(|case| filter.is_match(&case.name) || is_broken(case));
        exact.iter_mut().for_each(refuse_any_skip);
        cases.extend(exact);
    }
    Ok(cases)
}

/// Runs the scenarios. One that stops the machine fails, and those behind it run on a new machine.
fn scenarios(
    project: &Project,
    suite: &str,
    args: &ConformanceArgs,
    filter: &Regex,
) -> Result<Vec<Case>> {
    let payload = fs::read(image::test_realm(project)?)?;
    let began = Instant::now();
    let (mut cases, mut stopped) = (Vec::new(), None);
    for machine in 1.. {
        let picked = target_filter(stopped.as_deref(), filter.as_str());
        let plan = plan(args, &payload, picked.clone())?;
        let time = Duration::from_secs(args.timeout).saturating_sub(began.elapsed());
        let expect = Expect::result_only();
        let machine_plan = machine_of(project, args, time)?;
        let report = run::boot(project, &machine_plan, &plan, &expect, suite)?;
        interrupt::check()?;
        let names = Filter(&picked).pick(all().chain(on_machine()));
        let names: Vec<_> = names.map(|scenario| scenario.name).collect();
        let reported = tap::parse(suite, report.observed.tap(), &names);
        cases.extend(reported.cases);
        let reason = report.failure.as_deref().unwrap_or("it was not reported");
        let reason = format!("{reason}; logs in {}", report.folder.display());
        let Some(missing) = reported.missing else {
            let reason = format!("the host announced no plan: {reason}");
            cases.push(tap::case(suite, "plan", Outcome::Failed(reason)));
            break;
        };
        let Some((in_it, behind)) = missing.split_first() else {
            cases.extend(ending(suite, &report, &cases));
            break;
        };
        cases.push(tap::case(suite, in_it, Outcome::Failed(reason)));
        if machine == MAX_MACHINES || began.elapsed().as_secs() >= args.timeout {
            let reason = "not run: the time was up, or too many before it stopped the machine";
            let reason = Outcome::Failed(reason.to_string());
            let not_run = behind
                .iter()
                .map(|name| tap::case(suite, name, reason.clone()));
            cases.extend(not_run);
            break;
        }
        if behind.is_empty() {
            break;
        }
        println!("conformance: {in_it} stopped the machine, going on behind it");
        stopped = Some(in_it.clone());
    }
    cases.retain(|case| filter.is_match(&case.name) || is_broken(case));
    if args.rmm.is_none() && args.cpu_opts.is_empty() && !args.exact_time {
        cases.iter_mut().for_each(refuse_skip);
    }
    Ok(cases)
}

fn plan<'a>(
    args: &ConformanceArgs,
    payload: &'a [u8],
    scenario_filter: String,
) -> Result<BundlePlan<'a>> {
    Ok(BundlePlan {
        mode: Mode::Conformance,
        vcpus: 1,
        options: if args.exact_time {
            Options::EXACT_TIME
        } else {
            Options::default()
        },
        memory_bytes: REALM_MEMORY_BYTES,
        kernel: None,
        initramfs: None,
        test_payload: (!payload.is_empty()).then_some(payload),
        secret: run::random()?,
        command_line: String::new(),
        scenario_filter,
    })
}

fn machine_of(project: &Project, args: &ConformanceArgs, timeout: Duration) -> Result<Machine> {
    let rmm = if args.register_copies {
        Some(image::rmm_with_register_copies(project)?)
    } else {
        args.rmm.clone()
    };
    Ok(Machine {
        smp: if args.exact_time {
            EXACT_CPUS
        } else {
            MACHINE_CPUS
        },
        memory_bytes: MACHINE_MEMORY_BYTES,
        has_exact_time: args.exact_time,
        cpu_options: args.cpu_opts.clone(),
        extra: Vec::new(),
        timeout,
        silence_limit: Some(Duration::from_secs(args.silence)),
        rmm,
        takes_input: false,
    })
}

fn is_broken(case: &Case) -> bool {
    matches!(case.outcome, Outcome::Failed(_))
}

/// What the table of proofs says is proven on this machine may not be skipped there.
fn refuse_skip(case: &mut Case) {
    let may_skip = !table::is_cell(&case.name) || table::reason_not_on_target(&case.name).is_some();
    if let Outcome::Skipped(reason) = &case.outcome
        && !may_skip
    {
        case.outcome = Outcome::Failed(format!("the table of proofs has it, but: {reason}"));
    }
}

/// A machine that is there for these scenarios has all that they need.
fn refuse_any_skip(case: &mut Case) {
    if let Outcome::Skipped(reason) = &case.outcome {
        case.outcome = Outcome::Failed(format!("this machine is for it, but: {reason}"));
    }
}

/// A run may fail without any scenario failing.
fn ending(suite: &str, report: &Report, cases: &[Case]) -> Option<Case> {
    let reason = report.failure.clone()?;
    (!cases.iter().any(is_broken)).then(|| Case {
        suite: suite.to_string(),
        name: "run_to_the_end".to_string(),
        outcome: Outcome::Failed(format!("{reason}; logs in {}", report.folder.display())),
        duration: report.duration,
    })
}

/// Returns what the host can apply itself: the name behind which to begin, then a plain part of a name,
/// or alternatives of names with an anchored start or end. Only the name when only we can apply the
/// rest; then we pick from all results.
fn target_filter(behind: Option<&str>, regex: &str) -> String {
    let behind = behind.map_or_else(String::new, |name| format!("{name}>"));
    let is_simple = regex.split('|').all(|part| {
        let part = part.strip_prefix('^').unwrap_or(part);
        let part = part.strip_suffix('$').unwrap_or(part);
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    });
    if is_simple && behind.len() + regex.len() <= MAX_FILTER {
        behind + regex
    } else {
        behind
    }
}

/// Prints how many scenarios of each command passed, failed and were skipped.
fn print_table(cases: &[Case]) {
    let mut rows: BTreeMap<String, [u32; 3]> = BTreeMap::new();
    for case in cases {
        let row = rows.entry(command_of(&case.name)).or_default();
        match case.outcome {
            Outcome::Passed => row[0] += 1,
            Outcome::Failed(_) => row[1] += 1,
            Outcome::Skipped(_) => row[2] += 1,
        }
    }
    println!(
        "{:<26} {:>7} {:>7} {:>7}",
        "command", "passed", "failed", "skipped"
    );
    for (command, [passed, failed, skipped]) in rows {
        println!("{command:<26} {passed:>7} {failed:>7} {skipped:>7}");
    }
}

/// Returns the command a scenario is about: the longest command name its name begins with.
fn command_of(scenario: &str) -> String {
    rmi::CommandId::ALL
        .iter()
        .map(|id| id.name().trim_start_matches("RMI_").to_ascii_lowercase())
        .filter(|name| {
            scenario
                .strip_prefix(name.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
        })
        .max_by_key(String::len)
        .unwrap_or_else(|| "other".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_filter_simple_or_nothing() {
        for simple in ["rtt", "^rtt_create", "_state$", "^a|b$|^c$"] {
            assert_eq!(target_filter(None, simple), simple);
        }
        for ours in ["", "a.*b", "[ab]", "a||b", "(a)"] {
            assert_eq!(target_filter(None, ours), "", "{ours}");
        }
    }

    #[test]
    fn target_filter_behind_a_name() {
        assert_eq!(target_filter(Some("rtt_a"), "^b"), "rtt_a>^b");
        assert_eq!(target_filter(Some("rtt_a"), "[ab]"), "rtt_a>");
        let long = "b".repeat(MAX_FILTER);
        assert_eq!(target_filter(Some("rtt_a"), &long), "rtt_a>");
    }

    #[test]
    fn command_of_scenarios() {
        assert_eq!(command_of("rtt_create_rtt_walk"), "rtt_create");
        assert_eq!(command_of("data_create_unknown_ipa"), "data_create_unknown");
        assert_eq!(command_of("version"), "version");
        assert_eq!(command_of("versions_of_bread"), "other");
    }
}
