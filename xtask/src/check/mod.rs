// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `cargo xtask check`: what the gate runs before any test.

mod arrows;
mod proof;
mod source;
mod unsafe_code;

use crate::board::Board;
use crate::project::Project;
use crate::setup;
use crate::shell;
use anyhow::{Result, bail};
use cargo_metadata::{Metadata, MetadataCommand};
use std::process::Command;

/// The crates that only build for the bare-metal target.
const IMAGE_CRATES: &[&str] = &["rmm-qemu-virt", "rmm-fvp", "test-realm", "guest-probe"];

/// A rule: its name and the function that returns what breaks it.
type Rule = (&'static str, fn(&Project, &Metadata) -> Result<Vec<String>>);

const RULES: &[Rule] = &[
    ("arrows", |_, metadata| Ok(arrows::check(metadata))),
    ("license headers", |project, _| {
        source::check_headers(project)
    }),
    ("no open marks", |project, _| source::check_marks(project)),
    ("READMEs", source::check_readmes),
    ("board addresses", |project, _| {
        source::check_addresses(project)
    }),
    ("unsafe code", unsafe_code::check),
    ("table of proofs", |project, _| proof::check(project)),
];

/// Runs every check and lists everything that is wrong.
///
/// # Errors
///
/// When something is wrong.
pub(crate) fn command(project: &Project) -> Result<()> {
    let metadata = MetadataCommand::new()
        .manifest_path(project.root().join("Cargo.toml"))
        .no_deps()
        .exec()?;
    setup::ensure_component(project, "rustfmt", "cargo-fmt")?;
    setup::ensure_component(project, "clippy", "cargo-clippy")?;
    let mut failed = Vec::new();
    for (name, rule) in RULES {
        let complaints = rule(project, &metadata)?;
        report(name, complaints.is_empty(), &mut failed);
        for complaint in complaints {
            println!("    {complaint}");
        }
    }
    let is_formatted = shell::run_shown(project.cargo().args(["fmt", "--all", "--check"])).is_ok();
    report("format", is_formatted, &mut failed);
    lint(project, &mut failed)?;
    if !failed.is_empty() {
        bail!("check failed: {}", failed.join(", "));
    }
    println!("check: all good");
    Ok(())
}

fn report(name: &str, is_good: bool, failed: &mut Vec<String>) {
    println!("check: {name} {}", if is_good { "ok" } else { "FAILED" });
    if !is_good {
        failed.push(name.to_string());
    }
}

fn lint(project: &Project, failed: &mut Vec<String>) -> Result<()> {
    let mut laptop = project.cargo();
    laptop.args(["clippy", "--quiet", "--all-targets"]);
    lint_one("clippy", laptop, failed);
    for crate_name in IMAGE_CRATES {
        let bare = bare_clippy(project, crate_name)?;
        lint_one(&format!("clippy {crate_name}"), bare, failed);
    }
    for board in [Board::QemuVirt, Board::Fvp] {
        let mut host = bare_clippy(project, "nshost")?;
        host.args(["--no-default-features", "--features", board.host_feature()]);
        lint_one(&format!("clippy nshost {}", board.name()), host, failed);
    }
    Ok(())
}

fn lint_one(name: &str, mut command: Command, failed: &mut Vec<String>) {
    command.args(["--", "-D", "warnings"]);
    let is_clean = shell::run_shown(&mut command).is_ok();
    report(name, is_clean, failed);
}

fn bare_clippy(project: &Project, crate_name: &str) -> Result<Command> {
    let core = setup::ensure_core_library(project)?;
    let mut command = project.cargo();
    command
        .args(["clippy", "--quiet", "--package", crate_name])
        .args(["--target", &project.versions.rust.target]);
    core.apply(&mut command);
    Ok(command)
}
