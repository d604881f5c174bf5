// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The sources of TF-A: Debian's source package, or a tree the user names with `TFA_SRC`.

use super::apt::{AptRoot, Purpose};
use super::host::{self, Tool};
use super::sources::Source;
use super::{say, stamp};
use crate::project::Project;
use crate::refusal::refuse;
use crate::shell;
use anyhow::{Context, Result};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A TF-A source tree.
#[derive(Debug)]
pub(crate) struct SourceTree {
    /// The tree; must not be written to.
    pub(crate) folder: PathBuf,
    /// What tells this tree from others.
    pub(crate) identity: String,
}

/// Returns the tree to build from, downloading it when it is not in the cache.
///
/// # Errors
///
/// A refusal when `TFA_SRC` is not such a tree, or when the download is not possible.
pub(crate) fn source_tree(project: &Project) -> Result<SourceTree> {
    if let Some(folder) = env::var_os("TFA_SRC") {
        return foreign_tree(Path::new(&folder));
    }
    let wanted = &project.versions.tf_a;
    let home = project.cache().join("tf-a");
    if let Some(version) = cached(&home, &wanted.preferred) {
        return unpacked(project, &home, &version);
    }
    host::ensure(project, &[Tool::Build])?;
    let mirror = host::mirror(project);
    let root = AptRoot::open(
        project,
        "firmware",
        Purpose::Download("arm64"),
        &[],
        &[Source::new(&mirror, &wanted.suite)],
    )?;
    let offered = root.source_versions(&wanted.package)?;
    let version = offered
        .iter()
        .find(|version| **version == wanted.preferred)
        .or_else(|| {
            offered
                .iter()
                .find(|version| version.starts_with(&wanted.prefix))
        })
        .ok_or_else(|| {
            refuse(format!(
                "the archive {mirror} has no {} {}* in {} any more; name a source tree with \
                 TFA_SRC=<folder>",
                wanted.package, wanted.prefix, wanted.suite
            ))
        })?;
    if *version != wanted.preferred {
        say(format!(
            "{} {} is gone from the archive, taking {version}",
            wanted.package, wanted.preferred
        ));
    }
    say(format!(
        "downloading {} {version} (source, 8 MB): the firmware at EL3",
        wanted.package
    ));
    stamp::fill(&home.join(version), |folder| {
        root.download_source(&format!("{}={version}", wanted.package), folder)
    })?;
    unpacked(project, &home, version)
}

fn foreign_tree(folder: &Path) -> Result<SourceTree> {
    let folder = fs::canonicalize(folder).unwrap_or(folder.to_path_buf());
    if !folder.join("make_helpers").is_dir() {
        return Err(refuse(format!(
            "TFA_SRC={} is not a TF-A source tree; name the folder with TF-A's Makefile",
            folder.display()
        )));
    }
    let identity = format!("tree:{}", folder.display());
    Ok(SourceTree { folder, identity })
}

/// The preferred version when it is there, else any intact one.
fn cached(home: &Path, preferred: &str) -> Option<String> {
    let mut names: Vec<_> = fs::read_dir(home)
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| stamp::is_intact(&home.join(name)))
        .collect();
    names.sort();
    names
        .iter()
        .find(|name| *name == preferred)
        .or(names.last())
        .cloned()
}

/// Unpacks the source package under `target/`, once.
fn unpacked(project: &Project, home: &Path, version: &str) -> Result<SourceTree> {
    let folder = project
        .target()
        .join("tf-a")
        .join(format!("source-{version}"));
    let identity = format!("debian:{version}");
    if folder.join("Makefile").is_file() {
        return Ok(SourceTree { folder, identity });
    }
    let package = home.join(version);
    let description = fs::read_dir(&package)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "dsc"))
        .with_context(|| format!("no source description in {}", package.display()))?;
    let fresh = folder.with_extension("new");
    if fresh.exists() {
        fs::remove_dir_all(&fresh)?;
    }
    fs::create_dir_all(project.target().join("tf-a"))?;
    shell::run_logged(
        project,
        "tf-a-unpack",
        Command::new("dpkg-source")
            .args(["--no-check", "--extract"])
            .args([&description, &fresh]),
    )?;
    fs::rename(&fresh, &folder)?;
    Ok(SourceTree { folder, identity })
}
