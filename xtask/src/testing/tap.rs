// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The Test Anything Protocol, as the host writes it on its console.

use super::{Case, Outcome};
use std::time::Duration;

/// Turns TAP lines into cases; what the plan announces and no line reports becomes a failure.
pub(crate) fn parse(suite: &str, lines: &[String]) -> Vec<Case> {
    let mut planned = None;
    let mut cases: Vec<(u32, Case)> = Vec::new();
    for line in lines {
        if let Some(count) = line.strip_prefix("1..") {
            planned = count.trim().parse::<u32>().ok();
        } else if let Some((number, name, outcome)) = parse_line(line) {
            let is_repeated = cases.iter().any(|(known, _)| *known == number);
            let outcome = if is_repeated {
                Outcome::Failed(format!("number {number} is reported twice"))
            } else {
                outcome
            };
            cases.push((number, case(suite, name, outcome)));
        }
    }
    let Some(planned) = planned else {
        let reason = Outcome::Failed("the host announced no plan".to_string());
        cases.push((0, case(suite, "plan".to_string(), reason)));
        return cases.into_iter().map(|(_, case)| case).collect();
    };
    for number in 1..=planned {
        if !cases.iter().any(|(known, _)| *known == number) {
            let reason = Outcome::Failed("it was not reported".to_string());
            cases.push((number, case(suite, format!("scenario_{number}"), reason)));
        }
    }
    cases.into_iter().map(|(_, case)| case).collect()
}

fn case(suite: &str, name: String, outcome: Outcome) -> Case {
    Case {
        suite: suite.to_string(),
        name,
        outcome,
        duration: Duration::ZERO,
    }
}

/// Reads `ok 3 - name`, `not ok 4 - name # reason` or `ok 5 - name # SKIP reason`.
fn parse_line(line: &str) -> Option<(u32, String, Outcome)> {
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

    fn outcomes(lines: &[&str]) -> Vec<(String, Outcome)> {
        let lines: Vec<_> = lines.iter().map(|line| (*line).to_string()).collect();
        parse("s", &lines)
            .into_iter()
            .map(|case| (case.name, case.outcome))
            .collect()
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
        let missing = outcomes(&["1..2", "ok 1 - a"]);
        assert_eq!(missing.len(), 2);
        assert!(matches!(missing[1].1, Outcome::Failed(_)));
        let repeated = outcomes(&["1..1", "ok 1 - a", "ok 1 - a"]);
        assert!(matches!(repeated[1].1, Outcome::Failed(_)));
        let unplanned = outcomes(&["ok 1 - a"]);
        assert!(matches!(unplanned[1].1, Outcome::Failed(_)));
    }
}
