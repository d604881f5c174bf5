// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The boards an image can be built for. Addresses live with the boards, not here: each board's
//! folder has a `board.toml`.

use crate::project::Project;
use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Deserialize;
use std::fs;

/// A board by the name a user types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Board {
    /// QEMU's `virt` machine.
    QemuVirt,
    /// Arm's FVP Base RevC-2xAEMvA.
    Fvp,
}

/// A board's `board.toml`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct BoardTable {
    /// TF-A's `PLAT=`.
    pub(crate) tfa_platform: String,
    /// Further TF-A options.
    pub(crate) tfa_options: Vec<String>,
    /// First byte of the RMM's memory; the image starts here.
    pub(crate) rmm_base: u64,
    /// First byte after the memory that the image may take.
    pub(crate) rmm_end: u64,
    /// Where BL33 is put and entered.
    pub(crate) bl33_base: u64,
    /// Where the loader puts the guest bundle.
    pub(crate) bundle_base: u64,
    /// First byte of DRAM.
    pub(crate) dram_base: u64,
    /// First byte after the DRAM that EL3 lets anyone delegate.
    pub(crate) dram_end: u64,
}

impl Board {
    /// The name of the board's folders under `target/`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::QemuVirt => "qemu-virt",
            Self::Fvp => "fvp",
        }
    }

    /// The crate with the RMM image of this board.
    pub(crate) fn rmm_crate(self) -> &'static str {
        match self {
            Self::QemuVirt => "rmm-qemu-virt",
            Self::Fvp => "rmm-fvp",
        }
    }

    /// The feature of `nshost` that selects this board.
    pub(crate) fn host_feature(self) -> &'static str {
        match self {
            Self::QemuVirt => "board-qemu-virt",
            Self::Fvp => "board-fvp",
        }
    }

    /// Reads the board's table.
    ///
    /// # Errors
    ///
    /// When the file is missing or malformed.
    pub(crate) fn table(self, project: &Project) -> Result<BoardTable> {
        let folder = match self {
            Self::QemuVirt => "plat/qemu-virt",
            Self::Fvp => "fvp-configs",
        };
        let file = project.root().join(folder).join("board.toml");
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is malformed", file.display()))
    }
}
