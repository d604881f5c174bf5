// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Builds the image crates for the bare-metal target and turns them into raw binaries.

use crate::board::Board;
use crate::project::Project;
use crate::refusal::refuse;
use crate::setup::{self, Tool};
use crate::shell;
use crate::size;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const HOST_CRATE: &str = "nshost";
const TEST_REALM_CRATE: &str = "test-realm";
const GUEST_PROBE_CRATE: &str = "guest-probe";
const ELF_MAGIC: &[u8] = b"\x7fELF";

/// Builds the RMM of a board; returns the raw image, which starts at the board's RMM base.
///
/// # Errors
///
/// When it does not compile or does not fit the board's memory for it.
pub(crate) fn rmm(project: &Project, board: Board) -> Result<PathBuf> {
    let name = board.rmm_crate();
    let elf = build(project, board, name, &[])?;
    let image = raw(project, board, &elf, "rmm.img")?;
    check_room(project, board, &image)?;
    Ok(image)
}

/// Builds the RMM for QEMU that copies through registers, as on a PE without `FEAT_MOPS`; returns the raw
/// image. QEMU's CPU with RME has the instructions and no switch for them.
///
/// # Errors
///
/// Those of [`rmm`].
pub(crate) fn rmm_with_register_copies(project: &Project) -> Result<PathBuf> {
    let board = Board::QemuVirt;
    let features = ["--features", "register-copies"];
    let elf = build_as(
        "rmm-register-copies",
        project,
        board,
        board.rmm_crate(),
        &features,
    )?;
    let image = raw(project, board, &elf, "rmm-register-copies.img")?;
    check_room(project, board, &image)?;
    Ok(image)
}

fn check_room(project: &Project, board: Board, image: &Path) -> Result<()> {
    let table = board.table(project)?;
    let room = table.rmm_end - table.rmm_base;
    let bytes = fs::metadata(image)?.len();
    if bytes > room {
        bail!(
            "the RMM image has {bytes} bytes, {} has room for {room}",
            board.name()
        );
    }
    Ok(())
}

/// Builds the Non-secure host of a board; returns the raw image.
///
/// # Errors
///
/// When it does not compile.
pub(crate) fn host(project: &Project, board: Board) -> Result<PathBuf> {
    let features = ["--no-default-features", "--features", board.host_feature()];
    let elf = build(project, board, HOST_CRATE, &features)?;
    raw(project, board, &elf, "host.img")
}

/// Builds the payload that tests run inside a Realm; returns the raw image.
///
/// # Errors
///
/// When it does not compile.
pub(crate) fn test_realm(project: &Project) -> Result<PathBuf> {
    let elf = build(project, Board::QemuVirt, TEST_REALM_CRATE, &[])?;
    raw(project, Board::QemuVirt, &elf, "test-realm.img")
}

/// Builds the program that looks at a Linux guest's CPUs from its user space; returns the ELF file.
///
/// # Errors
///
/// When it does not compile.
pub(crate) fn guest_probe(project: &Project) -> Result<PathBuf> {
    let elf = build(project, Board::QemuVirt, GUEST_PROBE_CRATE, &[])?;
    let program = folder(project, Board::QemuVirt).join(GUEST_PROBE_CRATE);
    objcopy(project, &["--strip-all"], &elf, &program)?;
    Ok(program)
}

/// Returns a file a user gave as an image, turned into a raw binary when it is an ELF file.
///
/// # Errors
///
/// A refusal when there is no such file or it is empty.
pub(crate) fn foreign(project: &Project, what: &str, file: &Path) -> Result<PathBuf> {
    let contents = fs::read(file).map_err(|error| {
        refuse(format!(
            "the {what} image {} cannot be read: {error}",
            file.display()
        ))
    })?;
    if contents.is_empty() {
        return Err(refuse(format!(
            "the {what} image {} is empty",
            file.display()
        )));
    }
    if !contents.starts_with(ELF_MAGIC) {
        return Ok(file.to_path_buf());
    }
    let folder = project.target().join("images/foreign");
    fs::create_dir_all(&folder)?;
    let image = folder.join(format!("{what}.img"));
    objcopy(project, RAW, file, &image)?;
    Ok(image)
}

/// Builds the RMM and prints the size of its sections.
///
/// # Errors
///
/// Those of [`rmm`].
pub(crate) fn report(project: &Project, board: Board) -> Result<()> {
    let image = rmm(project, board)?;
    let elf = elf_path(project, board, board.rmm_crate());
    let sections = sections(project, &elf)?;
    println!("{:<24} {:>10}  address", "section", "bytes");
    for section in &sections {
        println!(
            "{:<24} {:>10}  {:#x}",
            section.name, section.bytes, section.address
        );
    }
    let base = board.table(project)?.rmm_base;
    let end = sections.iter().map(|s| s.address + s.bytes).max();
    let image_bytes = fs::metadata(&image)?.len();
    println!(
        "image {} ({}), {}",
        image_bytes,
        size::show(image_bytes),
        image.display()
    );
    if let Some(memory) = end.and_then(|end| end.checked_sub(base)) {
        println!(
            "memory with data and stacks {memory} ({})",
            size::show(memory)
        );
    }
    Ok(())
}

/// A section that takes memory on the board.
#[derive(Debug, PartialEq, Eq)]
struct Section {
    name: String,
    bytes: u64,
    address: u64,
}

fn sections(project: &Project, elf: &Path) -> Result<Vec<Section>> {
    let program = setup::find_llvm_tool(project, "llvm-size")
        .unwrap_or_else(|| PathBuf::from("aarch64-linux-gnu-size"));
    let table = shell::read(Command::new(program).arg("-A").arg(elf))?;
    Ok(parse_sections(&table))
}

/// Reads the table of `size -A`: name, bytes and address; sections without an address (debug
/// information) are left out.
fn parse_sections(table: &str) -> Vec<Section> {
    table
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let section = Section {
                name: words.next()?.to_string(),
                bytes: words.next()?.parse().ok()?,
                address: words.next()?.parse().ok()?,
            };
            (section.bytes != 0 && section.address != 0).then_some(section)
        })
        .collect()
}

/// Builds a crate with `features`; returns the ELF file.
fn build(project: &Project, board: Board, name: &str, features: &[&str]) -> Result<PathBuf> {
    build_as(name, project, board, name, features)
}

/// The same, with `file` for the name of the ELF file.
fn build_as(
    file: &str,
    project: &Project,
    board: Board,
    name: &str,
    features: &[&str],
) -> Result<PathBuf> {
    let core = setup::ensure_core_library(project)?;
    println!("build: {name} for {}", board.name());
    let mut command = project.cargo();
    command
        .args(["build", "--release", "--package", name])
        .args(["--target", &project.versions.rust.target])
        .args(features);
    core.apply(&mut command);
    shell::run_shown(&mut command).with_context(|| format!("{name} does not build"))?;
    let elf = elf_path(project, board, file);
    // A crate built in two ways has one name in cargo's folder.
    let built = project
        .target()
        .join(&project.versions.rust.target)
        .join("release")
        .join(name);
    fs::create_dir_all(folder(project, board))?;
    fs::copy(&built, &elf).with_context(|| format!("cargo left no {}", built.display()))?;
    Ok(elf)
}

fn folder(project: &Project, board: Board) -> PathBuf {
    project.target().join("images").join(board.name())
}

fn elf_path(project: &Project, board: Board, name: &str) -> PathBuf {
    folder(project, board).join(format!("{name}.elf"))
}

fn raw(project: &Project, board: Board, elf: &Path, name: &str) -> Result<PathBuf> {
    let image = folder(project, board).join(name);
    objcopy(project, RAW, elf, &image)?;
    Ok(image)
}

/// What makes a raw image of an ELF file.
const RAW: &[&str] = &["-O", "binary"];

fn objcopy(project: &Project, options: &[&str], elf: &Path, image: &Path) -> Result<()> {
    let program = match setup::find_llvm_tool(project, "llvm-objcopy") {
        Some(program) => program,
        None => {
            setup::ensure_tools(project, &[Tool::CrossCompiler])?;
            PathBuf::from("aarch64-linux-gnu-objcopy")
        }
    };
    shell::read(Command::new(program).args(options).args([elf, image]))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_sections_leaves_out_debug() {
        let table = "rmm  :\nsection            size         addr\n\
                     .text             66136   1074790400\n\
                     .bss                  0   1074890400\n\
                     .debug_info      109843            0\n\
                     Total            175979\n";
        assert_eq!(
            parse_sections(table),
            [Section {
                name: ".text".to_string(),
                bytes: 66136,
                address: 0x4010_0000,
            }]
        );
    }
}
