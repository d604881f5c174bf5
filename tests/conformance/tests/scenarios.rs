// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Runs every scenario in-process, on each kind of machine.
//!
//! `cargo test -p conformance --test scenarios [filter]`; a filter is part of `<machine>::<scenario>`.
//! `--list` lists, `--table` prints the table of commands and conditions.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;

use conformance::machine::{Profile, profiles, with_site};
use conformance::port::InProcess;
use scenarios::spec::{SPEC, missing};
use scenarios::{Kind, Scenario, Verdict, all, run_one};

/// One scenario on one machine.
#[derive(Clone, Copy)]
struct Job<'a> {
    profile: &'a Profile,
    scenario: &'static Scenario,
}

impl Job<'_> {
    fn name(&self) -> String {
        format!("{}::{}", self.profile.name, self.scenario.name)
    }

    /// Runs on a machine of its own.
    fn run(&self) -> Verdict {
        let attempt = AssertUnwindSafe(|| {
            with_site(self.profile, |site| {
                run_one(&mut InProcess::new(site), self.scenario)
            })
        });
        catch_unwind(attempt).unwrap_or_else(|panic| {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied());
            Verdict::Failed(format!("panic: {}", text.unwrap_or("without words")))
        })
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let flags = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let filters: Vec<&String> = arguments
        .iter()
        .filter(|text| !text.starts_with("--"))
        .collect();
    let profiles = profiles();
    let jobs: Vec<Job<'_>> = profiles
        .iter()
        .flat_map(|profile| all().map(move |scenario| Job { profile, scenario }))
        .filter(|job| filters.is_empty() || filters.iter().any(|part| job.name().contains(*part)))
        .collect();
    if flags("--list") {
        jobs.iter().for_each(|job| println!("{}: test", job.name()));
        return ExitCode::SUCCESS;
    }
    let verdicts = run(&jobs);
    if flags("--table") {
        print_table(&verdicts);
    }
    summarize(&verdicts, all().count() * profiles.len() - jobs.len())
}

/// Runs the jobs on two threads, the slow ones as they come.
fn run<'a>(jobs: &[Job<'a>]) -> Vec<(Job<'a>, Verdict)> {
    println!("\nrunning {} tests", jobs.len());
    let queue: Mutex<VecDeque<(usize, Job<'a>)>> =
        Mutex::new(jobs.iter().copied().enumerate().collect());
    let done = Mutex::new(BTreeMap::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("no panic while queueing").pop_front();
                    let Some((number, job)) = next else { break };
                    let verdict = job.run();
                    let word = match &verdict {
                        Verdict::Passed => "ok".to_owned(),
                        Verdict::Failed(_) => "FAILED".to_owned(),
                        Verdict::Skipped(reason) => format!("ignored, {reason}"),
                    };
                    println!("test {} ... {word}", job.name());
                    let mut done = done.lock().expect("no panic while reporting");
                    done.insert(number, (job, verdict));
                }
            });
        }
    });
    let done = done.into_inner().expect("the threads are over");
    done.into_values().collect()
}

fn summarize(verdicts: &[(Job<'_>, Verdict)], filtered: usize) -> ExitCode {
    let (mut passed, mut failed, mut ignored) = (0, 0, 0);
    for (job, verdict) in verdicts {
        match verdict {
            Verdict::Passed => passed += 1,
            Verdict::Skipped(_) => ignored += 1,
            Verdict::Failed(reason) => {
                failed += 1;
                println!("\n---- {} ----\n{reason}", job.name());
            }
        }
    }
    // Every scenario has to hold somewhere.
    let never: Vec<&str> = all()
        .map(|scenario| scenario.name)
        .filter(|name| verdicts.iter().any(|(job, _)| job.scenario.name == *name))
        .filter(|name| {
            let ran = |verdict: &Verdict| !matches!(verdict, Verdict::Skipped(_));
            !verdicts
                .iter()
                .any(|(job, verdict)| job.scenario.name == *name && ran(verdict))
        })
        .collect();
    let is_whole = filtered == 0;
    if is_whole && !never.is_empty() {
        println!("\nscenarios that no machine could try: {never:?}");
    }
    let is_ok = failed == 0 && missing().is_empty() && (!is_whole || never.is_empty());
    let result = if is_ok { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {result}. {passed} passed; {failed} failed; {ignored} ignored; 0 measured; \
         {filtered} filtered out\n"
    );
    if is_ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Prints, for each command, how much of its contract holds on some machine.
fn print_table(verdicts: &[(Job<'_>, Verdict)]) {
    println!("\n| command | conditions | orders | other |\n|---|---|---|---|");
    for spec in SPEC {
        let count = |is_kind: fn(&Kind) -> bool| {
            let of_command = all()
                .filter(|scenario| scenario.command == spec.command && is_kind(&scenario.kind));
            let names: Vec<&str> = of_command.map(|scenario| scenario.name).collect();
            let holds = |name: &&str| {
                verdicts
                    .iter()
                    .any(|(job, verdict)| job.scenario.name == *name && *verdict == Verdict::Passed)
            };
            format!(
                "{} of {}",
                names.iter().filter(|name| holds(name)).count(),
                names.len()
            )
        };
        println!(
            "| {} | {} | {} | {} |",
            spec.command.name(),
            count(|kind| matches!(kind, Kind::Condition { .. })),
            count(|kind| matches!(kind, Kind::Order { .. })),
            count(|kind| matches!(kind, Kind::Behaviour | Kind::Lifecycle)),
        );
    }
}
