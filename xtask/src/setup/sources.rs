// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The machine's own apt sources, read to reach the archive the way the user has set it up.

use std::fs;
use std::path::Path;

/// One suite at one mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// The mirror.
    pub(crate) uri: String,
    /// The suite or code name.
    pub(crate) suite: String,
}

impl Source {
    /// Returns a suite of a mirror.
    pub(crate) fn new(uri: &str, suite: &str) -> Self {
        Self {
            uri: uri.trim_end_matches('/').to_string(),
            suite: suite.to_string(),
        }
    }
}

/// Returns every suite of the machine's own sources, in the order of the files.
pub(crate) fn of_this_machine() -> Vec<Source> {
    let mut found = parse_lines(&read(Path::new("/etc/apt/sources.list")));
    let Ok(folder) = fs::read_dir("/etc/apt/sources.list.d") else {
        return found;
    };
    let mut files: Vec<_> = folder.flatten().map(|entry| entry.path()).collect();
    files.sort();
    for file in files {
        let text = read(&file);
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => found.extend(parse_lines(&text)),
            Some("sources") => found.extend(parse_stanzas(&text)),
            _ => {}
        }
    }
    found
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_default()
}

/// Reads the one-line format: `deb [options] uri suite component...`.
fn parse_lines(text: &str) -> Vec<Source> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("deb"))
        .filter(|rest| rest.starts_with([' ', '\t']))
        .filter_map(|rest| {
            let rest = rest.trim_start();
            let rest = match rest.strip_prefix('[') {
                Some(options) => options.split_once(']')?.1,
                None => rest,
            };
            let mut words = rest.split_whitespace();
            Some(Source::new(words.next()?, words.next()?))
        })
        .collect()
}

/// Reads the deb822 format: stanzas of `Field: value` with `Types`, `URIs` and `Suites`.
fn parse_stanzas(text: &str) -> Vec<Source> {
    let mut found = Vec::new();
    for stanza in text.split("\n\n") {
        let field = |name: &str| {
            stanza
                .lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map_or("", |(_, value)| value.trim())
        };
        let is_disabled = field("Enabled").eq_ignore_ascii_case("no");
        if is_disabled || !field("Types").split_whitespace().any(|kind| kind == "deb") {
            continue;
        }
        for uri in field("URIs").split_whitespace() {
            for suite in field("Suites").split_whitespace() {
                found.push(Source::new(uri, suite));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_lines_with_options_and_comments() {
        let text = "# deb http://no x main\n\
                    deb http://deb.debian.org/debian/ bookworm main contrib\n\
                    deb [arch=amd64 signed-by=/k] https://m/debian bookworm-updates main\n\
                    deb-src http://deb.debian.org/debian bookworm main\n";
        assert_eq!(
            parse_lines(text),
            [
                Source::new("http://deb.debian.org/debian", "bookworm"),
                Source::new("https://m/debian", "bookworm-updates"),
            ]
        );
    }

    #[test]
    fn parse_stanzas_with_several_suites() {
        let text = "Types: deb deb-src\n# note\nURIs: http://m/debian\nSuites: a a-updates\n\
                    Components: main\n\nTypes: deb-src\nURIs: http://n\nSuites: b\n\n\
                    Enabled: no\nTypes: deb\nURIs: http://o\nSuites: c\n";
        assert_eq!(
            parse_stanzas(text),
            [
                Source::new("http://m/debian", "a"),
                Source::new("http://m/debian", "a-updates")
            ]
        );
    }
}
