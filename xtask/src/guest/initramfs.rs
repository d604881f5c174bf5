// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The guest's initramfs: a static busybox, our init, its programs, and the kernel modules a Realm needs.

use super::cpio::Archive;
use crate::project::Project;
use crate::setup::{self, GuestFiles, Tool};
use anyhow::{Context, Result, bail};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const INIT: &[u8] = include_bytes!("../../guest/init");

/// Busybox's commands that init uses.
const APPLETS: &[&str] = &[
    "cat", "cut", "dd", "diff", "dmesg", "fold", "grep", "insmod", "ls", "md5sum", "mkdir",
    "mount", "mv", "od", "poweroff", "rmdir", "rmmod", "sed", "sh", "sort", "tr", "wc",
];

/// The modules that init needs: the one a Realm's user space asks for attestation tokens through,
/// and the drivers of the host's source of random numbers.
const MODULES: &[&str] = &["arm_cca_guest", "virtio_mmio", "virtio_rng"];

/// Which kernel modules go in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Modules {
    /// Those of Debian's kernel.
    Ours,
    /// None: they would not fit another kernel.
    None,
}

/// Builds the archive; `programs` are names and static ELF files.
///
/// # Errors
///
/// When a module is missing or cannot be unpacked.
pub(crate) fn build(
    project: &Project,
    files: &GuestFiles,
    wanted: Modules,
    programs: &[(&str, Vec<u8>)],
) -> Result<Vec<u8>> {
    let mut archive = Archive::new();
    for folder in ["bin", "dev", "proc", "sys", "work"] {
        archive.folder(folder);
    }
    archive.character_device("dev/console", (5, 1));
    archive.character_device("dev/null", (1, 3));
    archive.file("init", 0o755, INIT);
    let busybox = fs::read(&files.busybox)
        .with_context(|| format!("cannot read {}", files.busybox.display()))?;
    archive.file("bin/busybox", 0o755, &busybox);
    for applet in APPLETS {
        archive.link(&format!("bin/{applet}"), "busybox");
    }
    if wanted == Modules::Ours {
        archive.folder("modules");
        for (number, (name, module)) in modules(project, &files.modules)?.iter().enumerate() {
            archive.file(&format!("modules/{number:02}-{name}.ko"), 0o644, module);
        }
    }
    for (name, program) in programs {
        archive.file(&format!("bin/{name}"), 0o755, program);
    }
    Ok(archive.finish())
}

/// Returns the modules and what they depend on, in the order of loading.
fn modules(project: &Project, folder: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    setup::ensure_tools(project, &[Tool::Xz])?;
    let mut files = HashMap::new();
    find_modules(&folder.join("kernel"), &mut files)?;
    let mut ordered = Vec::new();
    for name in MODULES {
        load(name, &files, &mut ordered)?;
    }
    Ok(ordered)
}

fn load(
    name: &str,
    files: &HashMap<String, PathBuf>,
    ordered: &mut Vec<(String, Vec<u8>)>,
) -> Result<()> {
    if ordered.iter().any(|(known, _)| known == name) {
        return Ok(());
    }
    let Some(file) = files.get(name) else {
        // What is not a file is part of the kernel itself; if not, loading says so in the guest.
        return Ok(());
    };
    let module = unpack(file)?;
    for dependency in dependencies(&module) {
        load(&dependency, files, ordered)?;
    }
    ordered.push((name.to_string(), module));
    Ok(())
}

fn find_modules(folder: &Path, files: &mut HashMap<String, PathBuf>) -> Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("no modules in {}", folder.display()))?;
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            find_modules(&path, files)?;
        } else if let Some(name) = module_name(&entry.file_name().to_string_lossy()) {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// Returns the module's name for the kernel: underscores, no suffix.
fn module_name(file: &str) -> Option<String> {
    let stem = file
        .strip_suffix(".ko.xz")
        .or_else(|| file.strip_suffix(".ko"))?;
    Some(stem.replace('-', "_"))
}

fn unpack(file: &Path) -> Result<Vec<u8>> {
    if file.extension().is_none_or(|extension| extension != "xz") {
        return Ok(fs::read(file)?);
    }
    let output = Command::new("xz")
        .args(["--decompress", "--stdout"])
        .arg(file)
        .stdin(Stdio::null())
        .output()
        .context("cannot start xz")?;
    if !output.status.success() {
        bail!("xz cannot unpack {}", file.display());
    }
    Ok(output.stdout)
}

/// Reads `depends=` in the module's information section: names with commas, ended by a zero byte.
fn dependencies(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(start) = module.windows(KEY.len()).position(|bytes| bytes == KEY) else {
        return Vec::new();
    };
    let value = &module[start + KEY.len()..];
    let value = value.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(value)
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn module_name_of_files() {
        assert_eq!(
            module_name("arm-cca-guest.ko.xz").as_deref(),
            Some("arm_cca_guest")
        );
        assert_eq!(module_name("a.ko").as_deref(), Some("a"));
        assert_eq!(module_name("modules.order"), None);
    }

    #[test]
    fn dependencies_of_modules() {
        let module = b"x\0license=GPL\0depends=tsm-report,configfs\0name=a\0";
        assert_eq!(dependencies(module), ["tsm_report", "configfs"]);
        assert!(dependencies(b"\0depends=\0name=a\0").is_empty());
        assert!(dependencies(b"nothing").is_empty());
    }
}
