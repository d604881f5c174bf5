// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Puts TF-A, an RMM and a BL33 together.

use crate::board::Board;
use crate::image;
use crate::project::Project;
use crate::refusal::refuse;
use crate::shell;
use crate::size;
use crate::tfa;
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Offset of the FIP in QEMU's flash, from TF-A's QEMU port.
const QEMU_FIP_OFFSET: u64 = 256 << 10;
/// Size of QEMU's first flash.
const QEMU_FLASH_BYTES: u64 = 64 << 20;

/// What goes into a flash image beside TF-A.
#[derive(Clone, Debug, Default)]
pub(crate) struct Contents {
    /// An RMM image; ours when there is none.
    pub(crate) rmm: Option<PathBuf>,
    /// A BL33 image; our host when there is none.
    pub(crate) bl33: Option<PathBuf>,
}

/// Builds what is needed and writes a flash image (QEMU: one file; FVP: `bl1.bin` and `fip.bin` in
/// a folder).
///
/// # Errors
///
/// A refusal for images that cannot be used; else when something does not build.
pub(crate) fn make(project: &Project, board: Board, contents: &Contents, out: &Path) -> Result<()> {
    let rmm = match &contents.rmm {
        Some(file) => image::foreign(project, "rmm", file)?,
        None => image::rmm(project, board)?,
    };
    let bl33 = match &contents.bl33 {
        Some(file) => image::foreign(project, "bl33", file)?,
        None => image::host(project, board)?,
    };
    let table = board.table(project)?;
    check_size("RMM", board, &rmm, table.rmm_end - table.rmm_base)?;
    check_size("BL33", board, &bl33, table.bundle_base - table.bl33_base)?;
    let firmware = tfa::ensure(project, board)?;
    match board {
        Board::QemuVirt => {
            let fip = project.target().join("images/qemu-virt/fip.bin");
            fs::create_dir_all(project.target().join("images/qemu-virt"))?;
            make_fip(&firmware, &rmm, &bl33, &fip)?;
            write_flash(&firmware.bl1(), &fip, out)
        }
        Board::Fvp => {
            fs::create_dir_all(out)
                .with_context(|| format!("cannot create the folder {}", out.display()))?;
            make_fip(&firmware, &rmm, &bl33, &out.join("fip.bin"))?;
            fs::copy(firmware.bl1(), out.join("bl1.bin"))?;
            Ok(())
        }
    }
}

fn check_size(what: &str, board: Board, image: &Path, room: u64) -> Result<()> {
    let bytes = fs::metadata(image)?.len();
    if bytes > room {
        return Err(refuse(format!(
            "the {what} image {} has {}, {} has room for {}",
            image.display(),
            size::show(bytes),
            board.name(),
            size::show(room)
        )));
    }
    Ok(())
}

fn make_fip(firmware: &tfa::Firmware, rmm: &Path, bl33: &Path, out: &Path) -> Result<()> {
    shell::read(
        Command::new(firmware.fiptool())
            .arg("update")
            .arg("--rmm-fw")
            .arg(rmm)
            .arg("--nt-fw")
            .arg(bl33)
            .arg("--out")
            .args([out, &firmware.template()]),
    )?;
    Ok(())
}

fn write_flash(bl1: &Path, fip: &Path, out: &Path) -> Result<()> {
    let fip = fs::read(fip)?;
    let bytes = u64::try_from(fip.len())?;
    if QEMU_FIP_OFFSET + bytes > QEMU_FLASH_BYTES {
        return Err(refuse(format!(
            "RMM and BL33 do not fit QEMU's flash: together with TF-A they take {}, there is room \
             for {}",
            size::show(bytes),
            size::show(QEMU_FLASH_BYTES - QEMU_FIP_OFFSET)
        )));
    }
    let name = || format!("cannot write {}", out.display());
    let mut flash = File::create(out).with_context(name)?;
    flash.write_all(&fs::read(bl1)?).with_context(name)?;
    flash.seek(SeekFrom::Start(QEMU_FIP_OFFSET))?;
    flash.write_all(&fip).with_context(name)?;
    flash.set_len(QEMU_FLASH_BYTES).with_context(name)?;
    Ok(())
}
