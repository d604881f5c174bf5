// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `cargo xtask test` and `cargo xtask conformance`.

mod conformance;
mod junit;
mod laptop;
mod tap;
mod target;

pub(crate) use conformance::{ConformanceArgs, command as conformance_command};

use crate::project::Project;
use crate::refusal::{Reported, refuse};
use anyhow::Result;
use clap::Args;
use regex::Regex;
use std::time::Duration;

/// Options of `cargo xtask test`.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// Only tests whose name matches this regular expression
    #[arg(long, value_name = "RE")]
    filter: Option<String>,
    /// Only what runs on this machine itself, without QEMU
    #[arg(long)]
    host_only: bool,
}

/// How one test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// As it should.
    Passed,
    /// Not as it should; the text says how.
    Failed(String),
    /// It was not run; the text says why.
    Skipped(String),
}

/// One test of any ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    /// The ring or program it belongs to.
    pub(crate) suite: String,
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
    pub(crate) duration: Duration,
}

/// Runs every test.
///
/// # Errors
///
/// When a test fails or none matches.
pub(crate) fn command(project: &Project, args: &TestArgs) -> Result<()> {
    let filter = filter(args.filter.as_deref())?;
    let mut cases = laptop::run(project, &filter)?;
    if !args.host_only {
        cases.extend(target::run(project, &filter)?);
    }
    finish(project, "test", &cases)
}

/// Returns the regular expression a user gives; everything matches without one.
///
/// # Errors
///
/// A refusal when it is none.
fn filter(text: Option<&str>) -> Result<Regex> {
    let text = text.unwrap_or_default();
    Regex::new(text).map_err(|_| refuse(format!("--filter `{text}` is not a regular expression")))
}

/// Writes the JUnit file, lists what failed and prints the closing line.
fn finish(project: &Project, name: &str, cases: &[Case]) -> Result<()> {
    let file = junit::write(project, name, cases)?;
    let count =
        |wanted: fn(&Outcome) -> bool| cases.iter().filter(|case| wanted(&case.outcome)).count();
    let passed = count(|outcome| matches!(outcome, Outcome::Passed));
    let failed = count(|outcome| matches!(outcome, Outcome::Failed(_)));
    let skipped = count(|outcome| matches!(outcome, Outcome::Skipped(_)));
    for case in cases {
        if let Outcome::Failed(reason) = &case.outcome {
            println!(
                "FAILED {}::{}: {}",
                case.suite,
                case.name,
                first_lines(reason)
            );
        }
    }
    println!("results: {}", file.display());
    if skipped > 0 {
        println!("{skipped} skipped");
    }
    if cases.is_empty() {
        println!("no test matches");
    }
    println!("{passed} passed, {failed} failed");
    if failed > 0 || passed == 0 {
        return Err(Reported.into());
    }
    Ok(())
}

fn first_lines(reason: &str) -> String {
    reason.lines().take(6).collect::<Vec<_>>().join("\n    ")
}
