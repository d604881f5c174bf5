// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The bare-metal Rust target: `rustup target add` where that works, else `core` and `alloc` are
//! built from Debian's `rust-src` of the compiler's own version.

use super::apt::{AptRoot, Purpose};
use super::host;
use super::sources::Source;
use super::{say, stamp};
use crate::project::Project;
use crate::refusal::refuse;
use crate::shell;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the target's `core` and `alloc` come from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CoreLibrary {
    /// Installed beside the compiler.
    Prebuilt,
    /// Built together with us, from this `library` folder.
    FromSource(PathBuf),
}

impl CoreLibrary {
    /// Adds to a cargo command what this library needs.
    pub(crate) fn apply(&self, command: &mut Command) {
        if let Self::FromSource(folder) = self {
            command
                .arg("-Zbuild-std=core,alloc,compiler_builtins")
                .arg("-Zbuild-std-features=compiler-builtins-mem")
                .env("RUSTC_BOOTSTRAP", "1")
                .env("__CARGO_TESTS_ONLY_SRC_ROOT", folder);
        }
    }
}

/// Makes the bare-metal target available.
///
/// # Errors
///
/// A refusal when neither way is open.
pub(crate) fn ensure(project: &Project) -> Result<CoreLibrary> {
    let target = &project.versions.rust.target;
    let has_rustup = shell::find_program("rustup").is_some();
    if !has_prebuilt(project, target)?
        && has_rustup
        && add_target(project, target, "the images are built for it").is_err()
    {
        say("rustup cannot fetch it, building core from Debian's rust-src instead");
    }
    if has_prebuilt(project, target)? {
        if has_rustup && find_llvm_tool(project, "llvm-objcopy").is_none() {
            say("rustup component add llvm-tools: turns programs into raw images");
            // Binutils of the cross compiler do the same, so that a failure here is harmless.
            let _ = shell::run_logged(
                project,
                "rustup-llvm-tools",
                Command::new("rustup")
                    .args(["component", "add", "llvm-tools"])
                    .current_dir(project.root()),
            );
        }
        return Ok(CoreLibrary::Prebuilt);
    }
    Ok(CoreLibrary::FromSource(library_source(project)?))
}

/// Makes a target available whose standard library is needed.
///
/// # Errors
///
/// A refusal when rustup cannot add it.
pub(crate) fn ensure_target(project: &Project, target: &str, why: &str) -> Result<()> {
    if has_prebuilt(project, target)? {
        return Ok(());
    }
    add_target(project, target, why).map_err(|_| {
        refuse(format!(
            "the Rust target {target} is missing and rustup cannot add it: {why}"
        ))
    })
}

fn add_target(project: &Project, target: &str, why: &str) -> Result<()> {
    say(format!("rustup target add {target}: {why}"));
    shell::run_logged(
        project,
        "rustup-target",
        Command::new("rustup")
            .args(["target", "add", target])
            .current_dir(project.root()),
    )
}

/// Adds a component of the toolchain whose program is missing.
///
/// # Errors
///
/// A refusal when that is not possible.
pub(crate) fn ensure_component(project: &Project, component: &str, program: &str) -> Result<()> {
    if shell::read(
        Command::new(program)
            .arg("--version")
            .current_dir(project.root()),
    )
    .is_ok()
    {
        return Ok(());
    }
    say(format!("rustup component add {component}"));
    shell::run_logged(
        project,
        &format!("rustup-{component}"),
        Command::new("rustup")
            .args(["component", "add", component])
            .current_dir(project.root()),
    )
    .map_err(|_| {
        refuse(format!(
            "{program} is missing and rustup cannot add it; install {component} for this toolchain"
        ))
    })
}

fn has_prebuilt(project: &Project, target: &str) -> Result<bool> {
    let folder = rustc(project, &["--print", "target-libdir", "--target", target])?;
    Ok(fs::read_dir(folder).is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
    }))
}

fn library_source(project: &Project) -> Result<PathBuf> {
    let sysroot = rustc(project, &["--print", "sysroot"])?;
    let installed = Path::new(&sysroot).join("lib/rustlib/src/rust/library");
    if installed.join("core").is_dir() {
        return Ok(installed);
    }
    let version = compiler_version(project)?;
    let folder = project.cache().join("rust-src").join(&version);
    let library = folder.join(format!("usr/src/rustc-{version}/library"));
    if stamp::is_intact(&folder) {
        return Ok(library);
    }
    let mirror = host::mirror(project);
    for suite in &project.versions.rust.source_suites {
        let root = AptRoot::open(
            project,
            "rust",
            Purpose::Download("amd64"),
            &[Source::new(&mirror, suite)],
            &[],
        )?;
        let offered = root.versions("rust-src")?;
        let Some(full) = offered.iter().find(|full| full.starts_with(&version)) else {
            continue;
        };
        say(format!(
            "downloading rust-src {full}: core for the images is built from it"
        ));
        stamp::fill(&folder, |fresh| {
            root.download(&[format!("rust-src={full}")], fresh)?;
            let archive = fs::read_dir(fresh)?
                .flatten()
                .map(|entry| entry.path())
                .next()
                .context("apt downloaded nothing")?;
            shell::run_logged(
                project,
                "rust-src-unpack",
                Command::new("dpkg-deb")
                    .arg("--extract")
                    .args([archive.as_path(), fresh]),
            )?;
            Ok(fs::remove_file(archive)?)
        })?;
        return Ok(library);
    }
    Err(refuse(format!(
        "the Rust target {} is missing: rustup cannot add it and Debian has no rust-src {version}; \
         run `rustup target add {}` on a machine with network",
        project.versions.rust.target, project.versions.rust.target
    )))
}

fn compiler_version(project: &Project) -> Result<String> {
    let banner = rustc(project, &["--version"])?;
    banner
        .split_whitespace()
        .nth(1)
        .map(str::to_string)
        .context("rustc does not say its version")
}

/// Returns a program of LLVM, from the compiler's own tools or from the system.
pub(crate) fn find_llvm_tool(project: &Project, name: &str) -> Option<PathBuf> {
    let sysroot = rustc(project, &["--print", "sysroot"]).ok()?;
    let verbose = rustc(project, &["-vV"]).ok()?;
    let host = verbose
        .lines()
        .find_map(|line| line.strip_prefix("host: "))?;
    let own = Path::new(&sysroot)
        .join("lib/rustlib")
        .join(host)
        .join("bin")
        .join(name);
    own.is_file()
        .then_some(own)
        .or_else(|| shell::find_program(name))
}

fn rustc(project: &Project, arguments: &[&str]) -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = shell::read(
        Command::new(rustc)
            .args(arguments)
            .current_dir(project.root()),
    )?;
    Ok(output.trim().to_string())
}
