// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Every rule has a test that begins with its name, and no test names a rule that does not exist.
//!
//! `cargo test -p host-mm --test rules names -- --nocapture` prints which tests a rule has.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The kinds of rules and the number of the last of each.
const RULES: [(char, u32); 6] = [('v', 4), ('m', 3), ('f', 28), ('r', 9), ('w', 7), ('i', 3)];

#[test]
fn every_rule_has_a_test_of_its_name() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names = Vec::new();
    collect(&root.join("src"), &mut names);
    collect(&root.join("tests"), &mut names);
    let mut tests: BTreeMap<(char, u32), Vec<&str>> = BTreeMap::new();
    for name in &names {
        for rule in name.split('_').map_while(rule_of) {
            tests.entry(rule).or_default().push(name);
        }
    }
    let all: Vec<_> = RULES
        .iter()
        .flat_map(|(kind, last)| (1..=*last).map(move |number| (*kind, number)))
        .collect();
    for rule @ (kind, number) in &all {
        let named = tests.get(rule).map_or(&[][..], Vec::as_slice);
        println!("{}{number}: {}", kind.to_ascii_uppercase(), named.join(" "));
        assert!(!named.is_empty(), "no test begins with {kind}{number}_");
    }
    let unknown: Vec<_> = tests.keys().filter(|rule| !all.contains(rule)).collect();
    assert!(
        unknown.is_empty(),
        "tests name rules that are none: {unknown:?}"
    );
}

/// Reads a word such as `f17`.
fn rule_of(word: &str) -> Option<(char, u32)> {
    let kind = word.chars().next().filter(char::is_ascii_lowercase)?;
    let number = word.get(1..)?.parse().ok()?;
    RULES
        .iter()
        .any(|(known, _)| *known == kind)
        .then_some((kind, number))
}

/// Finds the names of all tests below `folder`.
fn collect(folder: &Path, names: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let after = text.split("#[test]").skip(1);
            let functions = after.filter_map(|rest| rest.split_once("fn ")?.1.split_once('('));
            names.extend(functions.map(|(name, _)| name.to_string()));
        }
    }
}
