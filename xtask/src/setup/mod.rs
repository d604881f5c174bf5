// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Brings in what the machine lacks, says what and why, and does nothing the second time.
//!
//! Programs are installed with the system's package manager; everything else (the guest's kernel
//! and user space, EL3 firmware sources) is only downloaded and unpacked in the user's cache
//! folder. Every download is checked against the archive's signature by apt itself; unpacked files
//! carry a checksum list that is verified before each use.

mod apt;
mod firmware;
mod guest;
mod host;
mod rust;
mod sources;
mod stamp;

pub(crate) use firmware::source_tree as firmware_source;
pub(crate) use guest::{Flavor, GuestFiles, fetch as guest_files};
pub(crate) use host::{Tool, ensure as ensure_tools};
pub(crate) use rust::{
    ensure as ensure_core_library, ensure_component, ensure_target, find_llvm_tool,
};

use crate::board::Board;
use crate::project::Project;
use crate::tfa;
use anyhow::Result;

/// Says what is being done, on one line.
pub(crate) fn say(text: impl AsRef<str>) {
    println!("setup: {}", text.as_ref());
}

/// Brings in everything that any command needs and builds the firmware.
///
/// # Errors
///
/// A refusal when something is missing that the user has to provide (network, privilege, disk).
pub(crate) fn everything(project: &Project) -> Result<()> {
    ensure_tools(project, Tool::ALL)?;
    ensure_core_library(project)?;
    let guest = guest_files(project, Flavor::Cloud)?;
    say(format!("guest kernel {}", guest.release));
    for board in [Board::QemuVirt, Board::Fvp] {
        tfa::ensure(project, board)?;
    }
    say("everything is in place");
    Ok(())
}
