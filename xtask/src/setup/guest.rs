// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The guest: one of Debian's arm64 kernels, its modules and a static busybox, downloaded from a
//! foreign suite and architecture and unpacked, never installed.

use super::apt::{AptRoot, Purpose};
use super::host;
use super::sources::Source;
use super::{say, stamp};
use crate::project::Project;
use crate::refusal::refuse;
use crate::shell;
use crate::versions;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One of the kernels that Debian builds for arm64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavor {
    /// For virtual machines, with pages of 4 KiB.
    Cloud,
    /// For every machine, with pages of 16 KiB.
    Pages16k,
}

impl Flavor {
    /// How the names of its packages and its release end.
    fn suffix(self) -> &'static str {
        match self {
            Self::Cloud => "-cloud-arm64",
            Self::Pages16k => "-arm64-16k",
        }
    }

    /// Its folder in the cache.
    fn folder(self) -> &'static str {
        match self {
            Self::Cloud => "guest",
            Self::Pages16k => "guest-16k",
        }
    }

    /// What there is to download, in MB.
    fn download_mb(self) -> u32 {
        match self {
            Self::Cloud => 30,
            Self::Pages16k => 100,
        }
    }
}

/// Unpacked files for the guest.
#[derive(Debug)]
pub(crate) struct GuestFiles {
    /// Kernel release, such as `7.3.4+deb13-cloud-arm64`.
    pub(crate) release: String,
    /// The uncompressed arm64 `Image`.
    pub(crate) kernel: PathBuf,
    /// The folder with `kernel/` and all modules below.
    pub(crate) modules: PathBuf,
    /// The static busybox.
    pub(crate) busybox: PathBuf,
}

/// Returns the guest's files, downloading what is not in the cache.
///
/// # Errors
///
/// A refusal when the download is not possible.
pub(crate) fn fetch(project: &Project, flavor: Flavor) -> Result<GuestFiles> {
    let home = project.cache().join(flavor.folder());
    let folder = match cached(project, &home) {
        Some(folder) => folder,
        None => download(project, flavor, &home)?,
    };
    let modules = folder.join("usr/lib/modules");
    let release = fs::read_dir(&modules)
        .with_context(|| format!("no modules in {}", folder.display()))?
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .find(|name| name.ends_with(flavor.suffix()))
        .with_context(|| format!("no kernel in {}", folder.display()))?;
    let modules = modules.join(&release);
    let kernel = [
        modules.join("vmlinuz"),
        folder.join(format!("boot/vmlinuz-{release}")),
    ]
    .into_iter()
    .find(|file| file.is_file())
    .with_context(|| format!("the kernel package of {release} holds no kernel"))?;
    let busybox = ["usr/bin/busybox", "bin/busybox"]
        .map(|name| folder.join(name))
        .into_iter()
        .find(|file| file.is_file())
        .context("the busybox package holds no busybox")?;
    Ok(GuestFiles {
        release,
        kernel,
        modules,
        busybox,
    })
}

/// The folder of the preferred kernel when it is there, else of any intact one.
fn cached(project: &Project, home: &Path) -> Option<PathBuf> {
    let preferred = &project.versions.kernel.preferred;
    let mut folders: Vec<_> = fs::read_dir(home)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .filter(|folder| {
            folder
                .extension()
                .is_none_or(|extension| extension != "new")
        })
        .collect();
    folders.sort_by_key(|folder| {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        (
            name != preferred.as_str(),
            std::cmp::Reverse(versions::numbers(&name)),
        )
    });
    folders.into_iter().find(|folder| stamp::is_intact(folder))
}

fn download(project: &Project, flavor: Flavor, home: &Path) -> Result<PathBuf> {
    let mirror = host::mirror(project);
    let busybox = &project.versions.busybox;
    for suite in &project.versions.kernel.suites {
        let suites = [
            Source::new(&mirror, suite),
            Source::new(&mirror, &busybox.suite),
        ];
        let root = AptRoot::open(project, "guest", Purpose::Download("arm64"), &suites, &[])?;
        let Some(release) = choose_kernel(project, flavor, &root)? else {
            continue;
        };
        let suffix = flavor.suffix();
        let packages = [
            format!("linux-binary-{release}{suffix}"),
            format!("linux-modules-{release}{suffix}"),
            choose_busybox(project, &root)?,
        ];
        say(format!(
            "downloading {} ({} MB): the Linux that runs as the guest",
            packages.join(", "),
            flavor.download_mb()
        ));
        let archives = project.cache().join("apt/guest/packages");
        let folder = home.join(&release);
        stamp::fill(&folder, |fresh| {
            unpack(project, &root, &packages, &archives, fresh)
        })?;
        return Ok(folder);
    }
    let kernel = &project.versions.kernel;
    Err(refuse(format!(
        "the archive {mirror} has no kernel linux-binary-*{} of at least {} in {}; give one with \
         `cargo xtask run --guest <Image>`",
        flavor.suffix(),
        kernel.minimum,
        kernel.suites.join(" or ")
    )))
}

fn unpack(
    project: &Project,
    root: &AptRoot,
    packages: &[String],
    archives: &Path,
    folder: &Path,
) -> Result<()> {
    if archives.exists() {
        fs::remove_dir_all(archives)?;
    }
    fs::create_dir_all(archives)?;
    root.download(packages, archives)?;
    for archive in fs::read_dir(archives)? {
        shell::run_logged(
            project,
            "guest-unpack",
            Command::new("dpkg-deb")
                .arg("--extract")
                .args([&archive?.path(), folder]),
        )?;
    }
    fs::remove_dir_all(archives)?;
    Ok(())
}

/// Returns the release to take from a root: the preferred one, else the newest that will do.
fn choose_kernel(project: &Project, flavor: Flavor, root: &AptRoot) -> Result<Option<String>> {
    let kernel = &project.versions.kernel;
    let suffix = flavor.suffix();
    let names = root.search(&format!("^linux-binary-[0-9].*{suffix}$"))?;
    let releases: Vec<_> = names
        .iter()
        .filter_map(|name| name.strip_prefix("linux-binary-")?.strip_suffix(suffix))
        .collect();
    let chosen = newest(&releases, &kernel.preferred, &kernel.minimum);
    if let Some(release) = chosen.filter(|release| *release != kernel.preferred) {
        say(format!(
            "kernel {} is gone from the archive, taking {release}",
            kernel.preferred
        ));
    }
    Ok(chosen.map(str::to_string))
}

fn newest<'a>(releases: &[&'a str], preferred: &str, minimum: &str) -> Option<&'a str> {
    releases
        .iter()
        .find(|release| **release == preferred)
        .or_else(|| {
            releases
                .iter()
                .filter(|release| versions::is_at_least(release, minimum))
                .max_by_key(|release| versions::numbers(release))
        })
        .copied()
}

fn choose_busybox(project: &Project, root: &AptRoot) -> Result<String> {
    let busybox = &project.versions.busybox;
    let offered = root.versions(&busybox.package)?;
    if offered.contains(&busybox.preferred) {
        return Ok(format!("{}={}", busybox.package, busybox.preferred));
    }
    let version = offered.first().ok_or_else(|| {
        refuse(format!(
            "the archive has no {} for arm64 in {}; check versions.toml",
            busybox.package, busybox.suite
        ))
    })?;
    say(format!(
        "{} {} is gone from the archive, taking {version}",
        busybox.package, busybox.preferred
    ));
    Ok(format!("{}={version}", busybox.package))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_prefers_what_was_tried() {
        let releases = ["7.2.6+deb13", "7.3.4+deb13", "7.10.1+deb13", "6.19.1+deb13"];
        assert_eq!(newest(&releases, "7.3.4+deb13", "7.2"), Some("7.3.4+deb13"));
        assert_eq!(
            newest(&releases, "7.3.9+deb13", "7.2"),
            Some("7.10.1+deb13")
        );
        assert_eq!(newest(&["6.19.1+deb13"], "7.3.9+deb13", "7.2"), None);
    }
}
