// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Builds the program that keeps a guest busy: one static binary that needs nothing of the guest.

use crate::project::Project;
use crate::setup;
use crate::shell;
use anyhow::{Context, Result};
use std::fs;
use std::process::Command;

const TARGET: &str = "aarch64-unknown-linux-musl";

/// Builds `guest/stress.rs` and returns the program.
///
/// # Errors
///
/// A refusal when the compiler has no library for static arm64 Linux programs.
pub(crate) fn build(project: &Project) -> Result<Vec<u8>> {
    setup::ensure_target(
        project,
        TARGET,
        "the stress program of the guest is built for it",
    )?;
    let folder = project.target().join("guest");
    fs::create_dir_all(&folder)?;
    let program = folder.join("stress");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    shell::run_logged(
        project,
        "guest-stress",
        Command::new(rustc)
            .args(["--edition", "2024", "--target", TARGET, "-C", "opt-level=2"])
            .args([
                "-C",
                "linker=rust-lld",
                "-C",
                "panic=abort",
                "-C",
                "strip=symbols",
            ])
            .arg("-o")
            .arg(&program)
            .arg(project.root().join("xtask/guest/stress.rs"))
            .current_dir(project.root()),
    )?;
    fs::read(&program).with_context(|| format!("cannot read {}", program.display()))
}
