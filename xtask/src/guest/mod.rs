// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the machine runs as its guest, packed into one bundle.

mod bundle;
mod cpio;
mod image_file;
mod initramfs;
mod stress;

pub(crate) use bundle::{BundlePlan, write as write_bundle};
pub(crate) use image_file::KernelImage;

use self::initramfs::Modules;
use crate::cli::RunArgs;
use crate::image;
use crate::project::Project;
use crate::setup::{self, Flavor, GuestFiles};
use anyhow::Result;
use std::fs;
use std::path::PathBuf;

/// The guest a user asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GuestKind {
    /// Debian's cloud kernel with our init.
    Linux,
    /// Debian's kernel with pages of 16 KiB, with our init.
    Linux16k,
    /// The payload of the on-target tests.
    Test,
    /// Another arm64 Image, with our init.
    Path(PathBuf),
}

impl GuestKind {
    /// Reads the value of `--guest`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "linux" => Ok(Self::Linux),
            "linux-16k" => Ok(Self::Linux16k),
            "test" => Ok(Self::Test),
            "" => Err("give linux, linux-16k, test or the path of an arm64 Image".to_string()),
            path => Ok(Self::Path(path.into())),
        }
    }
}

/// A guest ready to be packed.
#[derive(Debug)]
pub(crate) struct Guest {
    /// The kernel, or what takes its place.
    pub(crate) kernel: KernelImage,
    /// The initramfs.
    pub(crate) initramfs: Option<Vec<u8>>,
}

/// Brings in or builds a guest.
///
/// # Errors
///
/// A refusal when the user's file is not an arm64 Image or Debian's cannot be fetched.
pub(crate) fn prepare(project: &Project, args: &RunArgs) -> Result<Guest> {
    let initramfs = |files: &GuestFiles, modules| {
        let mut programs = vec![("probe", fs::read(image::guest_probe(project)?)?)];
        if args.stress.is_some() {
            programs.push(("stress", stress::build(project)?));
        }
        initramfs::build(project, files, modules, &programs)
    };
    let linux = |flavor| {
        let files = setup::guest_files(project, flavor)?;
        Ok(Guest {
            kernel: KernelImage::read(&files.kernel)?,
            initramfs: Some(initramfs(&files, Modules::Ours)?),
        })
    };
    match &args.guest {
        GuestKind::Linux => linux(Flavor::Cloud),
        GuestKind::Linux16k => linux(Flavor::Pages16k),
        GuestKind::Test => Ok(Guest {
            kernel: KernelImage::read(&image::test_realm(project)?)?,
            initramfs: None,
        }),
        GuestKind::Path(path) => {
            let kernel = KernelImage::read(path)?;
            let files = setup::guest_files(project, Flavor::Cloud)?;
            Ok(Guest {
                kernel,
                initramfs: Some(initramfs(&files, Modules::None)?),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_kind_parse_names_and_paths() {
        assert_eq!(GuestKind::parse("linux"), Ok(GuestKind::Linux));
        assert_eq!(GuestKind::parse("linux-16k"), Ok(GuestKind::Linux16k));
        assert_eq!(GuestKind::parse("test"), Ok(GuestKind::Test));
        assert_eq!(
            GuestKind::parse("./linux"),
            Ok(GuestKind::Path("./linux".into()))
        );
        assert!(GuestKind::parse("").is_err());
    }
}
