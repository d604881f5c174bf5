// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Where `unsafe` is: nowhere but in the rooms that may have it, and how much there.

use crate::project::Project;
use anyhow::{Context, Result};
use cargo_metadata::{Metadata, Package};
use regex::Regex;
use std::fs;
use std::path::Path;

/// Crates that touch hardware, or stand for it. All others forbid unsafe code.
const ALLOWED: &[&str] = &[
    "rmm-granule",
    "rmm-aarch64",
    "rmm-fake",
    "rmm-qemu-virt",
    "rmm-fvp",
    "nshost",
    "test-realm",
    "guest-probe",
];
/// Crates that face other worlds directly, and the lints they deny on top of the workspace's.
const STRICT: &[&str] = &["rmi", "rmm", "tf-a-glue"];
const STRICT_LINTS: &[&str] = &[
    "clippy::as_conversions",
    "clippy::indexing_slicing",
    "clippy::unwrap_used",
    "clippy::panic",
];

/// Prints the inventory; returns what breaks the rules.
///
/// # Errors
///
/// When a source file cannot be read.
pub(crate) fn check(_: &Project, metadata: &Metadata) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for package in metadata.workspace_packages() {
        let counts = count_package(package)?;
        if counts.total() > 0 {
            println!(
                "    unsafe in {:<14} {:>4} blocks, {:>3} functions, {:>3} implementations",
                package.name, counts.blocks, counts.functions, counts.implementations
            );
        }
        let root = root_text(package)?;
        if !ALLOWED.contains(&package.name.as_str()) {
            if !root.contains("#![forbid(unsafe_code)]") {
                wrong.push(format!("{} does not forbid unsafe code", package.name));
            }
            if counts.total() > 0 {
                wrong.push(format!("{} has unsafe code", package.name));
            }
        }
        if STRICT.contains(&package.name.as_str()) {
            for lint in STRICT_LINTS.iter().filter(|lint| !root.contains(**lint)) {
                wrong.push(format!("{} does not deny {lint}", package.name));
            }
        }
    }
    Ok(wrong)
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    blocks: usize,
    functions: usize,
    implementations: usize,
}

impl Counts {
    fn total(self) -> usize {
        self.blocks + self.functions + self.implementations
    }

    fn add(&mut self, other: Self) {
        self.blocks += other.blocks;
        self.functions += other.functions;
        self.implementations += other.implementations;
    }
}

fn root_text(package: &Package) -> Result<String> {
    let target = package.targets.first().context("a package has a target")?;
    fs::read_to_string(&target.src_path).with_context(|| format!("cannot read {}", target.src_path))
}

fn count_package(package: &Package) -> Result<Counts> {
    let folder = package
        .manifest_path
        .parent()
        .context("a manifest lies in a folder")?;
    let mut counts = Counts::default();
    count_folder(&folder.as_std_path().join("src"), &mut counts)?;
    Ok(counts)
}

fn count_folder(folder: &Path, counts: &mut Counts) -> Result<()> {
    for entry in fs::read_dir(folder)?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            count_folder(&path, counts)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            counts.add(count(&fs::read_to_string(&path)?)?);
        }
    }
    Ok(())
}

/// Counts in the code of a file; comments and texts do not count.
fn count(text: &str) -> Result<Counts> {
    let words = Regex::new(r#"\bunsafe\s+(impl|fn|extern|trait|\{)"#)?;
    let mut counts = Counts::default();
    for line in text.lines() {
        let code = line.split("//").next().unwrap_or_default();
        let code = code.split('"').step_by(2).collect::<String>();
        for hit in words.captures_iter(&code) {
            match hit.get(1).map(|word| word.as_str()) {
                Some("{") => counts.blocks += 1,
                Some("impl" | "trait") => counts.implementations += 1,
                _ => counts.functions += 1,
            }
        }
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn count_code_only() {
        let text = concat!(
            "// unsafe { no }\nlet x = \"unsafe { no }\";\nunsafe",
            " { f() };\nunsafe",
            " impl Send for X {}\npub unsafe",
            " fn g() {}\n#![forbid(unsafe_code)]\nunsafe",
            " extern \"C\" fn h() {}\n"
        );
        assert_eq!(
            count(text).unwrap(),
            Counts {
                blocks: 1,
                functions: 2,
                implementations: 1
            }
        );
    }
}
