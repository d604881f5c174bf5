// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The Test Anything Protocol, as the host writes it on its console.

use super::{Case, Outcome};
use std::time::Duration;

/// What the host reported.
#[derive(Debug)]
pub(crate) struct Reported {
    /// What it reported of each scenario.
    pub(crate) cases: Vec<Case>,
    /// Names of the scenarios that it announced and said nothing of, in their order; none without an
    /// announcement.
    pub(crate) missing: Option<Vec<String>>,
}

/// Turns TAP lines into cases. `names` are those of the scenarios that the plan counts.
pub(crate) fn parse(suite: &str, lines: &[String], names: &[&str]) -> Reported {
    let mut planned = None;
    let mut known = Vec::new();
    let mut cases: Vec<Case> = Vec::new();
    for line in lines {
        if let Some(count) = line.strip_prefix("1..") {
            planned = count.trim().parse::<usize>().ok();
        } else if let Some((number, name, outcome)) = parse_line(line) {
            let outcome = if known.contains(&number) {
                Outcome::Failed(format!("number {number} is reported twice"))
            } else {
                outcome
            };
            known.push(number);
            cases.push(case(suite, &name, outcome));
        }
    }
    let name = |number: usize| match names.get(number - 1) {
        Some(name) => (*name).to_string(),
        None => format!("scenario_{number}"),
    };
    let missing = planned.map(|planned| {
        let numbers = (1..=planned).filter(|number| !known.contains(number));
        numbers.map(name).collect()
    });
    Reported { cases, missing }
}

/// Returns a case of a suite of scenarios.
pub(crate) fn case(suite: &str, name: &str, outcome: Outcome) -> Case {
    Case {
        suite: suite.to_string(),
        name: name.to_string(),
        outcome,
        duration: Duration::ZERO,
    }
}

/// Reads `ok 3 - name`, `not ok 4 - name # reason` or `ok 5 - name # SKIP reason`.
fn parse_line(line: &str) -> Option<(usize, String, Outcome)> {
    let (is_ok, rest) = match line.strip_prefix("not ok ") {
        Some(rest) => (false, rest),
        None => (true, line.strip_prefix("ok ")?),
    };
    let (number, rest) = rest.split_once(" - ")?;
    let number = number.trim().parse().ok()?;
    let (name, note) = match rest.split_once(" # ") {
        Some((name, note)) => (name, Some(note.trim())),
        None => (rest, None),
    };
    let outcome = match (is_ok, note) {
        (true, Some(note)) if note.starts_with("SKIP") => {
            Outcome::Skipped(note.trim_start_matches("SKIP").trim().to_string())
        }
        (true, _) => Outcome::Passed,
        (false, note) => Outcome::Failed(note.unwrap_or("no reason given").to_string()),
    };
    Some((number, name.trim().to_string(), outcome))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(lines: &[&str]) -> Reported {
        let lines: Vec<_> = lines.iter().map(|line| (*line).to_string()).collect();
        parse("s", &lines, &["a_b", "c_d", "e_f"])
    }

    fn outcomes(lines: &[&str]) -> Vec<(String, Outcome)> {
        let cases = report(lines).cases.into_iter();
        cases.map(|case| (case.name, case.outcome)).collect()
    }

    #[test]
    fn parse_every_form() {
        assert_eq!(
            outcomes(&[
                "1..3",
                "ok 1 - a_b",
                "not ok 2 - c_d # status 1, expected 0",
                "ok 3 - e_f # SKIP no SVE",
                "noise",
            ]),
            [
                ("a_b".to_string(), Outcome::Passed),
                (
                    "c_d".to_string(),
                    Outcome::Failed("status 1, expected 0".to_string())
                ),
                ("e_f".to_string(), Outcome::Skipped("no SVE".to_string())),
            ]
        );
    }

    #[test]
    fn parse_missing_and_repeated() {
        assert_eq!(report(&["ok 1 - a_b"]).missing, None);
        assert_eq!(report(&["1..1", "ok 1 - a_b"]).missing, Some(Vec::new()));
        let missing = report(&["1..4", "ok 1 - a_b", "ok 3 - e_f"]).missing;
        let names = ["c_d", "scenario_4"].map(str::to_string);
        assert_eq!(missing, Some(names.to_vec()));
        let repeated = outcomes(&["1..1", "ok 1 - a_b", "ok 1 - a_b"]);
        assert!(matches!(repeated[1].1, Outcome::Failed(_)));
    }
}
