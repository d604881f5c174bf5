// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Programs that must be installed on this machine.

use super::apt::{AptRoot, Purpose};
use super::say;
use super::sources::{self, Source};
use crate::project::Project;
use crate::refusal::refuse;
use crate::shell;
use crate::versions::{self, Versions};
use anyhow::Result;
use std::fs;
use std::io::IsTerminal;
use std::path::Path;
use std::process::Command;

/// A program, or headers, that some command needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    /// QEMU with RME.
    Emulator,
    /// The cross compiler of TF-A.
    CrossCompiler,
    /// make, the host's C compiler and `dpkg-source`.
    Build,
    /// OpenSSL's headers, for TF-A's fiptool.
    Openssl,
    /// The device tree compiler, for TF-A's FVP port.
    DeviceTree,
    /// xz, for kernel modules.
    Xz,
}

impl Tool {
    /// Every tool.
    pub(crate) const ALL: &'static [Self] = &[
        Self::Emulator,
        Self::CrossCompiler,
        Self::Build,
        Self::Openssl,
        Self::DeviceTree,
        Self::Xz,
    ];

    fn package(self, versions: &Versions) -> &str {
        match self {
            Self::Emulator => &versions.qemu.package,
            Self::CrossCompiler => "gcc-aarch64-linux-gnu",
            Self::Build => "build-essential",
            Self::Openssl => "libssl-dev",
            Self::DeviceTree => "device-tree-compiler",
            Self::Xz => "xz-utils",
        }
    }

    fn purpose(self) -> &'static str {
        match self {
            Self::Emulator => "emulates an Arm machine with Realms",
            Self::CrossCompiler => "compiles TF-A, the firmware at EL3",
            Self::Build => "make and the C compiler for TF-A's own tools",
            Self::Openssl => "TF-A's fiptool needs its headers",
            Self::DeviceTree => "TF-A's FVP port needs it",
            Self::Xz => "unpacks the guest's kernel modules",
        }
    }

    fn is_present(self, versions: &Versions) -> bool {
        let has = |name| shell::find_program(name).is_some();
        match self {
            Self::Emulator => emulator_version()
                .is_some_and(|found| versions::is_at_least(&found, &versions.qemu.minimum)),
            Self::CrossCompiler => has("aarch64-linux-gnu-gcc"),
            Self::Build => has("make") && has("gcc") && has("dpkg-source"),
            Self::Openssl => Path::new("/usr/include/openssl/ssl.h").is_file(),
            Self::DeviceTree => has("dtc"),
            Self::Xz => has("xz"),
        }
    }
}

/// Returns QEMU's version, if it is installed.
pub(crate) fn emulator_version() -> Option<String> {
    let banner = shell::read(Command::new("qemu-system-aarch64").arg("--version")).ok()?;
    let version = banner.split("version ").nth(1)?;
    Some(version.split([' ', '\n']).next()?.to_string())
}

/// Tells whether we may install packages without asking anyone.
pub(crate) fn is_root() -> bool {
    shell::read(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

/// Installs those of `tools` that are missing.
///
/// # Errors
///
/// A refusal when that needs a privilege, a network or a disk we do not have.
pub(crate) fn ensure(project: &Project, tools: &[Tool]) -> Result<()> {
    let versions = &project.versions;
    let missing: Vec<_> = tools
        .iter()
        .copied()
        .filter(|tool| !tool.is_present(versions))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = missing.iter().map(|tool| tool.package(versions)).collect();
    let codename = debian_codename().ok_or_else(|| {
        refuse(format!(
            "this machine lacks {} and is not a Debian system, so that nothing can be installed \
             for you; install them by hand (QEMU at least {})",
            names.join(", "),
            versions.qemu.minimum
        ))
    })?;
    require_privilege(&names)?;
    for tool in &missing {
        say(format!(
            "installing {} with apt: {}",
            tool.package(versions),
            tool.purpose()
        ));
    }
    let root = AptRoot::open(
        project,
        "host",
        Purpose::Install,
        &own_suites(project, &codename),
        &[],
    )?;
    install(&root, project, &missing, &codename)?;
    for tool in missing {
        if !tool.is_present(versions) {
            return Err(refuse(format!(
                "{} was installed, but what it should bring is still not there; look at its \
                 installation on this machine",
                tool.package(versions)
            )));
        }
    }
    Ok(())
}

fn install(root: &AptRoot, project: &Project, missing: &[Tool], codename: &str) -> Result<()> {
    let versions = &project.versions;
    let others: Vec<_> = missing
        .iter()
        .filter(|tool| **tool != Tool::Emulator)
        .collect();
    if !others.is_empty() {
        let names: Vec<_> = others.iter().map(|tool| tool.package(versions)).collect();
        root.install(&names, None)?;
    }
    if !missing.contains(&Tool::Emulator) {
        return Ok(());
    }
    let package = &versions.qemu.package;
    let is_new_enough = root.candidate(package)?.is_some_and(|version| {
        versions::is_at_least(strip_epoch(&version), &versions.qemu.minimum)
    });
    let backports = format!("{codename}-backports");
    let suite = (!is_new_enough).then_some(backports.as_str());
    if let Some(suite) = suite {
        say(format!(
            "taking {package} from {suite}: {codename}'s own is older than {}",
            versions.qemu.minimum
        ));
    }
    root.install(&[package], suite)
}

fn strip_epoch(version: &str) -> &str {
    version.split_once(':').map_or(version, |(_, rest)| rest)
}

fn require_privilege(names: &[&str]) -> Result<()> {
    if is_root() {
        return Ok(());
    }
    let has_sudo = shell::find_program("sudo").is_some();
    let may_ask = std::io::stdin().is_terminal();
    if has_sudo && (may_ask || shell::read(Command::new("sudo").args(["-n", "true"])).is_ok()) {
        return if may_ask {
            shell::run_shown(Command::new("sudo").arg("-v"))
        } else {
            Ok(())
        };
    }
    Err(refuse(format!(
        "privilege is missing: {} must be installed and neither are you root nor does sudo work; \
         run `cargo xtask setup` once as root",
        names.join(", ")
    )))
}

fn debian_codename() -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").ok()?;
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .map(|value| value.trim_matches('"').to_string())
    };
    (field("ID=")? == "debian").then(|| field("VERSION_CODENAME="))?
}

/// The machine's own suites of this release, and its backports.
fn own_suites(project: &Project, codename: &str) -> Vec<Source> {
    let mirror = &project.versions.debian.mirror;
    let mut suites: Vec<_> = sources::of_this_machine()
        .into_iter()
        .filter(|source| source.suite.starts_with(codename) && source.uri.contains("debian"))
        .collect();
    let own_mirror = suites
        .iter()
        .find(|source| source.suite == codename)
        .map_or(mirror.clone(), |source| source.uri.clone());
    for suite in [codename.to_string(), format!("{codename}-backports")] {
        let wanted = Source::new(&own_mirror, &suite);
        if !suites.iter().any(|source| source.suite == suite) {
            suites.push(wanted);
        }
    }
    suites
}

/// Returns the mirror of the Debian archive that this machine uses.
pub(crate) fn mirror(project: &Project) -> String {
    let codename = debian_codename().unwrap_or_default();
    own_suites(project, &codename)
        .iter()
        .find(|source| source.suite == codename)
        .map_or(project.versions.debian.mirror.clone(), |source| {
            source.uri.clone()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strip_epoch_of_versions() {
        assert_eq!(strip_epoch("1:10.0.2+ds-2"), "10.0.2+ds-2");
        assert_eq!(strip_epoch("2.12.1"), "2.12.1");
    }
}
