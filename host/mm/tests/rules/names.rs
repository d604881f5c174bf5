// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Every rule has a test that begins with its name, and no test names a rule that does not exist.
//!
//! The table of rules and tests is `RULES.md`; `UPDATE_RULES=1 cargo test -p host-mm --test rules
//! names` writes it anew.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// The kinds of rules and the number of the last of each.
const RULES: [(char, u32); 6] = [('v', 4), ('m', 3), ('f', 28), ('r', 9), ('w', 7), ('i', 3)];

/// Rules that a guest on the emulated machine looks at: the rule, where its test is, and the name of
/// the test there.
const ON_TARGET: [(&str, &str, &str); 8] = [
    ("F18", "tests/realm/src/checks/mod.rs", "device-fetch"),
    ("F21", "tests/realm/src/checks/mod.rs", "tags"),
    ("F21", "tests/realm/src/checks/mod.rs", "kept"),
    ("F26", "xtask/src/testing/target.rs", MOVED),
    ("I3", "xtask/src/testing/target.rs", MOVED),
    ("M3", "tests/realm/src/checks/mod.rs", "device-fetch"),
    ("R8", "xtask/src/testing/target.rs", "linux_realm_4_cpus"),
    ("W6", "xtask/src/testing/target.rs", MOVED),
];
const MOVED: &str = "linux_normal_2_cpus_disturbed_and_moved";

const HEAD: &str = "<!-- SPDX-FileCopyrightText: Copyright The Bailey contributors. -->
<!-- SPDX-License-Identifier: Apache-2.0 OR MIT -->

# Rules and their tests

Written by the test `names` (`tests/rules/names.rs`), which fails when it is out of date. Tests in
bold run on the emulated machine.

| rule | tests |
|---|---|
";

#[test]
fn every_rule_has_a_test_of_its_name() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names = Vec::new();
    collect(&root.join("src"), &mut names);
    collect(&root.join("tests"), &mut names);
    names.sort();
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
    let mut table = HEAD.to_string();
    for rule @ (kind, number) in &all {
        let named = tests.get(rule).map_or(&[][..], Vec::as_slice);
        assert!(!named.is_empty(), "no test begins with {kind}{number}_");
        let rule = format!("{}{number}", kind.to_ascii_uppercase());
        let here = named.iter().map(|name| format!("`{name}`"));
        let there = on_target(root, &rule).map(|name| format!("**`{name}`**"));
        let tests: Vec<_> = here.chain(there).collect();
        writeln!(table, "| {rule} | {} |", tests.join(", ")).unwrap();
    }
    let unknown: Vec<_> = tests.keys().filter(|rule| !all.contains(rule)).collect();
    assert!(
        unknown.is_empty(),
        "tests name rules that are none: {unknown:?}"
    );
    check_file(&root.join("RULES.md"), &table);
}

/// The tests of a rule on the emulated machine, each of which is there.
fn on_target<'a>(root: &Path, rule: &'a str) -> impl Iterator<Item = &'static str> + 'a {
    let project = root.join("../..");
    ON_TARGET
        .iter()
        .filter(move |(known, ..)| *known == rule)
        .map(move |(_, file, name)| {
            let text = fs::read_to_string(project.join(file)).unwrap();
            assert!(
                text.contains(&format!("\"{name}\"")),
                "{file} has no {name}"
            );
            *name
        })
}

fn check_file(file: &Path, table: &str) {
    if env::var_os("UPDATE_RULES").is_some() {
        fs::write(file, table).unwrap();
    }
    let written = fs::read_to_string(file).unwrap_or_default();
    assert!(written == table, "RULES.md is out of date (see names.rs)");
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
