// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! JUnit files, the form in which test results are exchanged.

use super::{Case, Outcome};
use crate::project::Project;
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

/// Writes `target/test-results/<name>.xml`; returns the file.
///
/// # Errors
///
/// When it cannot be written.
pub(crate) fn write(project: &Project, name: &str, cases: &[Case]) -> Result<PathBuf> {
    let folder = project.target().join("test-results");
    fs::create_dir_all(&folder)?;
    let file = folder.join(format!("{name}.xml"));
    fs::write(&file, render(cases)).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

fn render(cases: &[Case]) -> String {
    let mut suites: Vec<&str> = cases.iter().map(|case| case.suite.as_str()).collect();
    suites.dedup();
    let mut seen = Vec::new();
    suites.retain(|suite| {
        let is_new = !seen.contains(suite);
        seen.push(*suite);
        is_new
    });
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for suite in suites {
        let own: Vec<_> = cases.iter().filter(|case| case.suite == suite).collect();
        let count =
            |wanted: fn(&Outcome) -> bool| own.iter().filter(|case| wanted(&case.outcome)).count();
        // Writing to a string cannot fail.
        let _ = writeln!(
            xml,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" skipped=\"{}\">",
            escape(suite),
            own.len(),
            count(|outcome| matches!(outcome, Outcome::Failed(_))),
            count(|outcome| matches!(outcome, Outcome::Skipped(_))),
        );
        own.iter().for_each(|case| render_case(&mut xml, case));
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

fn render_case(xml: &mut String, case: &Case) {
    let body = match &case.outcome {
        Outcome::Passed => String::new(),
        Outcome::Failed(reason) => format!("<failure>{}</failure>", escape(reason)),
        Outcome::Skipped(reason) => format!("<skipped message=\"{}\"/>", escape(reason)),
    };
    // Writing to a string cannot fail.
    let _ = writeln!(
        xml,
        "    <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\">{body}</testcase>",
        escape(&case.suite),
        escape(&case.name),
        case.duration.as_secs_f64()
    );
}

/// Escapes what XML gives a meaning to and leaves out what it forbids.
fn escape(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'))
        .fold(String::new(), |mut out, c| {
            match c {
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                '&' => out.push_str("&amp;"),
                '"' => out.push_str("&quot;"),
                _ => out.push(c),
            }
            out
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn render_suites_and_outcomes() {
        let case = |suite: &str, name: &str, outcome| Case {
            suite: suite.to_string(),
            name: name.to_string(),
            outcome,
            duration: Duration::from_millis(1500),
        };
        let xml = render(&[
            case("a", "one", Outcome::Passed),
            case("b", "two", Outcome::Failed("x < \"y\"\u{1b}".to_string())),
            case("a", "three", Outcome::Skipped("no & way".to_string())),
        ]);
        let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  \
            <testsuite name=\"a\" tests=\"2\" failures=\"0\" skipped=\"1\">\n    \
            <testcase classname=\"a\" name=\"one\" time=\"1.500\"></testcase>\n    \
            <testcase classname=\"a\" name=\"three\" time=\"1.500\">\
            <skipped message=\"no &amp; way\"/></testcase>\n  </testsuite>\n  \
            <testsuite name=\"b\" tests=\"1\" failures=\"1\" skipped=\"0\">\n    \
            <testcase classname=\"b\" name=\"two\" time=\"1.500\">\
            <failure>x &lt; &quot;y&quot;</failure></testcase>\n  </testsuite>\n</testsuites>\n";
        assert_eq!(xml, expected);
    }
}
