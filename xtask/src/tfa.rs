// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! TF-A: built once per source tree and options, then reused for every RMM and BL33.

use crate::board::Board;
use crate::project::Project;
use crate::setup::{self, Tool};
use crate::shell;
use anyhow::{Context, Result, bail};
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Options for every board: release code (what the measurements in the documents are made with),
/// boot steps in the log.
const COMMON_OPTIONS: &[&str] = &[
    "CROSS_COMPILE=aarch64-linux-gnu-",
    "ENABLE_RME=1",
    "DEBUG=0",
    "LOG_LEVEL=40",
];

/// A built TF-A.
#[derive(Debug)]
pub(crate) struct Firmware {
    folder: PathBuf,
}

impl Firmware {
    /// The boot ROM code.
    pub(crate) fn bl1(&self) -> PathBuf {
        self.folder.join("bl1.bin")
    }

    /// A FIP with everything of TF-A, its own test payload as RMM and an empty BL33.
    pub(crate) fn template(&self) -> PathBuf {
        self.folder.join("fip.bin")
    }

    /// The program that changes FIPs.
    pub(crate) fn fiptool(&self) -> PathBuf {
        self.folder.join("fiptool")
    }
}

/// Builds TF-A for a board, unless that was done before.
///
/// # Errors
///
/// When a tool is missing and cannot be installed, or the build fails.
pub(crate) fn ensure(project: &Project, board: Board) -> Result<Firmware> {
    let source = setup::firmware_source(project)?;
    let table = board.table(project)?;
    let mut options: Vec<_> = COMMON_OPTIONS.iter().map(ToString::to_string).collect();
    options.push(format!("PLAT={}", table.tfa_platform));
    options.extend(table.tfa_options);
    let mut hasher = DefaultHasher::new();
    (&source.identity, &options).hash(&mut hasher);
    let key = format!("{}-{:016x}", board.name(), hasher.finish());
    let folder = project.target().join("tf-a").join(key);
    let is_foreign = source.identity.starts_with("tree:");
    if folder.join("complete").is_file() && !is_foreign {
        return Ok(Firmware { folder });
    }
    let mut tools = vec![Tool::CrossCompiler, Tool::Build, Tool::Openssl];
    if board == Board::Fvp {
        tools.push(Tool::DeviceTree);
    }
    setup::ensure_tools(project, &tools)?;
    println!("build: TF-A for {} ({})", board.name(), source.identity);
    build(project, board, &source.folder, &options, &folder)?;
    Ok(Firmware { folder })
}

fn build(
    project: &Project,
    board: Board,
    source: &Path,
    options: &[String],
    folder: &Path,
) -> Result<()> {
    fs::create_dir_all(folder)?;
    let bl33 = folder.join("empty-bl33.bin");
    fs::write(&bl33, [0; 4])?;
    let objects = folder.join("build");
    let jobs = std::thread::available_parallelism().map_or(2, usize::from);
    // fiptool is built in the source tree; two boards at once would race for it.
    shell::run_logged(
        project,
        &format!("tf-a-{}", board.name()),
        Command::new("make")
            .current_dir(source)
            .args(options)
            .arg(format!("BL33={}", bl33.display()))
            .arg(format!("BUILD_BASE={}", objects.display()))
            .arg(format!("-j{jobs}"))
            .args(["all", "fip"])
            .env_remove("MAKEFLAGS"),
    )?;
    let output = find_output(&objects)?;
    for name in ["bl1.bin", "fip.bin"] {
        copy(&output.join(name), &folder.join(name))?;
    }
    copy(
        &source.join("tools/fiptool/fiptool"),
        &folder.join("fiptool"),
    )?;
    fs::write(folder.join("complete"), options.join("\n"))?;
    Ok(())
}

/// Returns the folder `<objects>/<platform>/release`.
fn find_output(objects: &Path) -> Result<PathBuf> {
    for platform in fs::read_dir(objects)?.flatten() {
        let output = platform.path().join("release");
        if output.join("fip.bin").is_file() {
            return Ok(output);
        }
    }
    bail!("TF-A's build left no fip.bin in {}", objects.display());
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to)
        .map(|_| ())
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}
