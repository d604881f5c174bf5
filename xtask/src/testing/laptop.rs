// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The rings that run on this machine: `cargo test` of the default members.

use super::{Case, Outcome};
use crate::project::Project;
use crate::shell;
use anyhow::{Context, Result};
use regex::Regex;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// Runs the tests whose name matches.
///
/// # Errors
///
/// When cargo cannot be started.
pub(crate) fn run(project: &Project, filter: &Regex) -> Result<Vec<Case>> {
    println!("test: laptop rings");
    let mut arguments = vec!["test".to_string(), "--no-fail-fast".to_string()];
    if !filter.as_str().is_empty() {
        let names = matching(project, filter)?;
        if names.is_empty() {
            return Ok(Vec::new());
        }
        arguments.extend(["--".to_string(), "--exact".to_string()]);
        arguments.extend(names);
    }
    let (reader, writer) = std::io::pipe()?;
    let mut command = project.cargo();
    command
        .args(&arguments)
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let mut child = command.spawn().context("cannot start cargo")?;
    // Our copies of the pipe's writing end must go, or the reader never sees its end.
    drop(command);
    let mut parser = Parser::default();
    for line in BufReader::new(reader).lines() {
        let line = line?;
        if parser.take(&line) == Shown::Yes {
            println!("{line}");
        }
    }
    let status = child.wait()?;
    crate::interrupt::check()?;
    let mut cases = parser.finish();
    let has_failure = cases
        .iter()
        .any(|case| matches!(case.outcome, Outcome::Failed(_)));
    if !status.success() && !has_failure {
        cases.push(Case {
            suite: "laptop".to_string(),
            name: "cargo_test".to_string(),
            outcome: Outcome::Failed(format!("cargo test failed with {status}")),
            duration: Duration::ZERO,
        });
    }
    Ok(cases)
}

/// Lists the names of all tests that match.
fn matching(project: &Project, filter: &Regex) -> Result<Vec<String>> {
    let list = shell::read(
        project
            .cargo()
            .args(["test", "--quiet", "--", "--list", "--format", "terse"]),
    )?;
    let mut names: Vec<_> = list
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .filter(|name| filter.is_match(name))
        .map(str::to_string)
        .collect();
    names.sort();
    names.dedup();
    Ok(names)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Yes,
    No,
}

/// Reads what `cargo test` writes.
#[derive(Debug, Default)]
struct Parser {
    suite: String,
    cases: Vec<Case>,
    /// The test whose output is being listed, and the output.
    failure: Option<(String, String)>,
    is_listing: bool,
}

impl Parser {
    /// Takes a line; tells whether a person wants to see it.
    fn take(&mut self, line: &str) -> Shown {
        let trimmed = line.trim_start();
        if let Some(rest) = trimmed.strip_prefix("Running ") {
            self.suite = suite_name(rest);
            return Shown::No;
        }
        if let Some(rest) = trimmed.strip_prefix("Doc-tests ") {
            self.suite = format!("{}-doc", rest.trim());
            return Shown::No;
        }
        if let Some(rest) = line.strip_prefix("test result: ") {
            self.end_failure();
            self.is_listing = false;
            println!("test: {:<24} {rest}", self.suite);
            return Shown::No;
        }
        if !self.is_listing
            && let Some(case) = parse_case(&self.suite, line)
        {
            self.cases.push(case);
            return Shown::No;
        }
        self.take_failure(line);
        let is_noise = line.is_empty() || line.starts_with("running ");
        if is_noise { Shown::No } else { Shown::Yes }
    }

    /// Collects the outputs that libtest lists as `---- name stdout ----` after the tests.
    fn take_failure(&mut self, line: &str) {
        if let Some(name) = line
            .strip_prefix("---- ")
            .and_then(|rest| rest.strip_suffix(" stdout ----"))
        {
            self.end_failure();
            self.is_listing = true;
            self.failure = Some((name.to_string(), String::new()));
        } else if line == "failures:" {
            self.end_failure();
            self.is_listing = true;
        } else if let Some((_, output)) = &mut self.failure
            && !line.is_empty()
        {
            output.push_str(line);
            output.push('\n');
        }
    }

    fn end_failure(&mut self) {
        let Some((name, output)) = self.failure.take() else {
            return;
        };
        let suite = &self.suite;
        if let Some(case) = self
            .cases
            .iter_mut()
            .find(|case| case.suite == *suite && case.name == name)
        {
            case.outcome = Outcome::Failed(output);
        }
    }

    fn finish(mut self) -> Vec<Case> {
        self.end_failure();
        self.cases
    }
}

/// Returns the crate's name of `unittests src/lib.rs (target/debug/deps/rmi-0123456789abcdef)`.
fn suite_name(running: &str) -> String {
    let program = running
        .split_once('(')
        .map_or(running, |(_, rest)| rest.trim_end_matches(')'));
    let file = Path::new(program)
        .file_name()
        .map_or(program.into(), |name| name.to_string_lossy());
    file.rsplit_once('-')
        .map_or(file.as_ref(), |(name, _)| name)
        .to_string()
}

fn parse_case(suite: &str, line: &str) -> Option<Case> {
    let (name, verdict) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let outcome = match verdict.split(',').next()? {
        "ok" => Outcome::Passed,
        "FAILED" => Outcome::Failed("no output".to_string()),
        "ignored" => Outcome::Skipped("ignored".to_string()),
        _ => return None,
    };
    Some(Case {
        suite: suite.to_string(),
        name: name.trim_end_matches(" - should panic").to_string(),
        outcome,
        duration: Duration::ZERO,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parser_reads_results_and_output() {
        let mut parser = Parser::default();
        let text = "   Compiling rmi v0.1.0\n     \
            Running unittests src/lib.rs (/t/debug/deps/rmi-0a1b2c)\n\n\
            running 3 tests\ntest a::one ... ok\ntest a::two ... FAILED\n\
            test a::three ... ignored, slow\n\nfailures:\n\n---- a::two stdout ----\n\
            left: 1\ntest x ... ok\n\n\nfailures:\n    a::two\n\n\
            test result: FAILED. 1 passed; 1 failed\n   Doc-tests rmi\n\
            test src/lib.rs - f (line 3) ... ok\n";
        for line in text.lines() {
            parser.take(line);
        }
        let cases = parser.finish();
        let seen: Vec<_> = cases
            .iter()
            .map(|case| (case.suite.as_str(), case.name.as_str(), &case.outcome))
            .collect();
        assert_eq!(
            seen,
            [
                ("rmi", "a::one", &Outcome::Passed),
                (
                    "rmi",
                    "a::two",
                    &Outcome::Failed("left: 1\ntest x ... ok\n".to_string())
                ),
                ("rmi", "a::three", &Outcome::Skipped("ignored".to_string())),
                ("rmi-doc", "src/lib.rs - f (line 3)", &Outcome::Passed),
            ]
        );
    }
}
