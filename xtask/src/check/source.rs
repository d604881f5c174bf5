// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Rules about files: license headers, open marks, READMEs, board addresses.

use crate::board::Board;
use crate::project::Project;
use crate::shell;
use anyhow::Result;
use cargo_metadata::Metadata;
use regex::Regex;
use std::fs;
use std::path::Path;
use std::process::Command;

const COPYRIGHT: &str = "SPDX-FileCopyrightText: Copyright The Bailey contributors.";
const LICENSE: &str = "SPDX-License-Identifier: Apache-2.0 OR MIT";
/// Lines within which the header must stand (a script's first line comes before it).
const HEADER_LINES: usize = 4;
/// A README fits one screen.
const README_LINES: usize = 60;
/// Files that carry no header: text for people, licenses, what tools write.
const WITHOUT_HEADER: &[&str] = &["md", "lock", ""];
/// Folders, besides the crates', that need a README.
const FOLDERS: &[&str] = &["host", "plat", "tests", "fvp-configs", "tf-a-glue/tf-a"];
/// Where a board's addresses may stand.
const ADDRESS_FOLDERS: &[&str] = &[
    "plat/qemu-virt/",
    "plat/fvp/",
    "host/nshost/src/board/",
    "fvp-configs/",
];

/// A file under version control, or about to be.
struct SourceFile {
    name: String,
    text: String,
}

fn files(project: &Project) -> Result<Vec<SourceFile>> {
    let list = shell::read(
        Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard"])
            .current_dir(project.root()),
    )?;
    Ok(list
        .lines()
        .filter_map(|name| {
            let text = fs::read_to_string(project.root().join(name)).ok()?;
            Some(SourceFile {
                name: name.to_string(),
                text,
            })
        })
        .collect())
}

/// Returns the files without the two lines that name copyright and license.
///
/// # Errors
///
/// When the files cannot be listed.
pub(crate) fn check_headers(project: &Project) -> Result<Vec<String>> {
    Ok(files(project)?
        .iter()
        .filter(|file| needs_header(&file.name) && !has_header(&file.text))
        .map(|file| format!("{} has no SPDX header", file.name))
        .collect())
}

fn needs_header(name: &str) -> bool {
    let path = Path::new(name);
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    let is_script = name == ".ci/run" || name == "xtask/guest/init";
    is_script || !WITHOUT_HEADER.contains(&extension.as_ref())
}

fn has_header(text: &str) -> bool {
    let head: Vec<_> = text.lines().take(HEADER_LINES).collect();
    let has = |wanted: &str| head.iter().any(|line| line.contains(wanted));
    has(COPYRIGHT) && has(LICENSE)
}

/// Returns the places that say that something is still to be done.
///
/// # Errors
///
/// When the files cannot be listed.
pub(crate) fn check_marks(project: &Project) -> Result<Vec<String>> {
    // Written apart, so that this file passes its own check.
    let marks = Regex::new(concat!(r"\b(TO", "DO|FIX", "ME|X", r"XX)\b"))?;
    Ok(find(&files(project)?, &marks, |name| {
        !name.ends_with(".lock")
    }))
}

/// Returns the places where a board's address stands that must not know it.
///
/// # Errors
///
/// When the files or the boards' tables cannot be read.
pub(crate) fn check_addresses(project: &Project) -> Result<Vec<String>> {
    let mut addresses = Vec::new();
    for board in [Board::QemuVirt, Board::Fvp] {
        let table = board.table(project)?;
        addresses.extend([
            table.rmm_base,
            table.rmm_end,
            table.bl33_base,
            table.bundle_base,
        ]);
    }
    let sources = files(project)?;
    let number = Regex::new(r"0[xX][0-9a-fA-F_]+")?;
    let mut wrong = Vec::new();
    for file in &sources {
        if !may_be_address_free(&file.name) {
            continue;
        }
        for (index, line) in without_tests(&file.text).lines().enumerate() {
            let is_known = number.find_iter(line).any(|hit| {
                let digits = hit.as_str()[2..].replace('_', "");
                u64::from_str_radix(&digits, 16).is_ok_and(|value| addresses.contains(&value))
            });
            if is_known {
                wrong.push(format!("{}:{}: {}", file.name, index + 1, line.trim()));
            }
        }
    }
    Ok(wrong)
}

/// Tells whether the file is code that must hold no board's address; tests may use any number.
fn may_be_address_free(name: &str) -> bool {
    let is_code = [".rs", ".S", ".ld", ".toml"]
        .iter()
        .any(|extension| name.ends_with(extension));
    let is_test = name.ends_with("tests.rs") || format!("/{name}").contains("/tests/");
    let is_boards = ADDRESS_FOLDERS
        .iter()
        .any(|folder| name.starts_with(folder));
    is_code && !is_test && !is_boards
}

fn without_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or(text)
}

fn find(files: &[SourceFile], what: &Regex, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| wanted(&file.name)) {
        for (index, line) in file.text.lines().enumerate() {
            if what.is_match(line) {
                found.push(format!("{}:{}: {}", file.name, index + 1, line.trim()));
            }
        }
    }
    found
}

/// Returns the folders without a README that fits a screen.
///
/// # Errors
///
/// Never; the signature is that of all rules.
pub(crate) fn check_readmes(project: &Project, metadata: &Metadata) -> Result<Vec<String>> {
    let crates = metadata
        .workspace_packages()
        .into_iter()
        .filter_map(|package| package.manifest_path.parent())
        .map(|folder| folder.as_std_path().to_path_buf());
    let others = FOLDERS.iter().map(|folder| project.root().join(folder));
    let mut wrong = Vec::new();
    for folder in crates.chain(others) {
        let name = folder.strip_prefix(project.root()).unwrap_or(&folder);
        match fs::read_to_string(folder.join("README.md")) {
            Ok(text) if text.lines().count() <= README_LINES => {}
            Ok(_) => wrong.push(format!(
                "{}/README.md has more than {README_LINES} lines",
                name.display()
            )),
            Err(_) => wrong.push(format!("{} has no README.md", name.display())),
        }
    }
    Ok(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_header_in_any_comment_style() {
        assert!(has_header(&format!("// {COPYRIGHT}\n// {LICENSE}\n")));
        assert!(has_header(&format!(
            "#!/bin/sh\n# {COPYRIGHT}\n# {LICENSE}\n"
        )));
        assert!(!has_header(&format!("// {COPYRIGHT}\n")));
        assert!(!has_header(&format!(
            "\n\n\n\n// {COPYRIGHT}\n// {LICENSE}\n"
        )));
    }

    #[test]
    fn needs_header_by_name() {
        for name in [
            "rmi/src/lib.rs",
            "a.toml",
            "x.S",
            ".ci/run",
            "xtask/guest/init",
            "a.ld",
        ] {
            assert!(needs_header(name), "{name}");
        }
        for name in ["README.md", "Cargo.lock", "LICENSE-MIT", ".gitignore"] {
            assert!(!needs_header(name), "{name}");
        }
    }

    #[test]
    fn may_be_address_free_by_place() {
        assert!(may_be_address_free("rmm/src/lib.rs"));
        assert!(!may_be_address_free("plat/fvp/rmm.ld"));
        assert!(!may_be_address_free("host/nshost/src/board/fvp.rs"));
        assert!(!may_be_address_free("host/mm/tests/a.rs"));
        assert!(!may_be_address_free("tests/scenarios/src/a.rs"));
    }
}
