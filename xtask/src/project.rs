// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Where things are: the repository, its target folder, the user's cache.

use crate::refusal::refuse;
use crate::versions::{self, Versions};
use anyhow::{Context, Result};
use std::env;
use std::path::{Path, PathBuf};

/// Folders and versions that every command needs.
#[derive(Debug)]
pub(crate) struct Project {
    root: PathBuf,
    target: PathBuf,
    cache: PathBuf,
    /// The contents of `versions.toml`.
    pub(crate) versions: Versions,
}

impl Project {
    /// Finds the folders.
    ///
    /// # Errors
    ///
    /// When the home folder is unknown or the cache folder cannot be created.
    pub(crate) fn find() -> Result<Self> {
        // Cargo says where we are now; two clones that share a target folder share this program.
        let manifest = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest
            .parent()
            .context("xtask/ lies in the repository")?
            .to_path_buf();
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(folder) => env::current_dir()?.join(folder),
            None => root.join("target"),
        };
        let cache = cache_folder()?;
        std::fs::create_dir_all(&cache).map_err(|error| {
            refuse(format!(
                "the cache folder {} cannot be created ({error}); set XDG_CACHE_HOME to a folder \
                 you can write to",
                cache.display()
            ))
        })?;
        Ok(Self {
            root,
            target,
            cache,
            versions: versions::load(),
        })
    }

    /// The repository.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Everything built.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Everything downloaded; shared by all clones.
    pub(crate) fn cache(&self) -> &Path {
        &self.cache
    }

    /// The cargo that runs us.
    pub(crate) fn cargo(&self) -> std::process::Command {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = std::process::Command::new(cargo);
        command.current_dir(&self.root);
        command
    }
}

fn cache_folder() -> Result<PathBuf> {
    let base = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))
        .ok_or_else(|| refuse("neither XDG_CACHE_HOME nor HOME is set; set one of them"))?;
    Ok(base.join("bailey"))
}
