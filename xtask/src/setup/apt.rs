// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A private apt root: its own sources, package lists and downloads in the user's cache folder.
//!
//! The user's apt configuration is read (proxies and the like stay in force) and never written.
//! Packages of a foreign suite or architecture are downloaded and unpacked from here; the few
//! programs that are installed system-wide go through here too, so that backports need not be
//! enabled on the machine.

use super::sources::Source;
use crate::project::Project;
use crate::refusal::refuse;
use crate::shell::{self, Failed};
use anyhow::{Context, Error, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a root is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Installing on this machine: the machine's own architecture and package state.
    Install,
    /// Downloading packages of this architecture, as if nothing were installed.
    Download(&'static str),
}

/// A private apt root.
#[derive(Debug)]
pub(crate) struct AptRoot<'a> {
    project: &'a Project,
    name: &'static str,
    config: PathBuf,
    mirrors: String,
}

impl<'a> AptRoot<'a> {
    /// Writes the root's configuration and fetches its package lists.
    ///
    /// # Errors
    ///
    /// A refusal when the mirrors cannot be reached.
    pub(crate) fn open(
        project: &'a Project,
        name: &'static str,
        purpose: Purpose,
        binaries: &[Source],
        with_sources: &[Source],
    ) -> Result<Self> {
        let folder = project.cache().join("apt").join(name);
        for child in ["lists/partial", "cache/archives/partial", "empty", "log"] {
            let child = folder.join(child);
            fs::create_dir_all(&child)
                .with_context(|| format!("cannot create {}", child.display()))?;
        }
        let keyring = &project.versions.debian.keyring;
        if !Path::new(keyring).is_file() {
            return Err(refuse(format!(
                "{keyring} is missing, so that no Debian package can be verified; install the \
                 package debian-archive-keyring"
            )));
        }
        let config = folder.join("apt.conf");
        fs::write(
            folder.join("sources.list"),
            list(keyring, binaries, with_sources),
        )?;
        fs::write(folder.join("status"), "")?;
        fs::write(&config, configuration(&folder, purpose))?;
        let mut mirrors: Vec<_> = binaries
            .iter()
            .chain(with_sources)
            .map(|s| s.uri.clone())
            .collect();
        mirrors.sort();
        mirrors.dedup();
        let root = Self {
            project,
            name,
            config,
            mirrors: mirrors.join(", "),
        };
        root.run("update", root.apt_get().args(["--error-on=any", "update"]))?;
        Ok(root)
    }

    /// Returns the versions of a binary package, newest first.
    ///
    /// # Errors
    ///
    /// When apt fails.
    pub(crate) fn versions(&self, package: &str) -> Result<Vec<String>> {
        let table = shell::read(self.apt_cache().args(["madison", package]))?;
        let mut versions: Vec<_> = table
            .lines()
            .filter(|line| !line.ends_with("Sources"))
            .filter_map(|line| line.split('|').nth(1))
            .map(|version| version.trim().to_string())
            .collect();
        versions.dedup();
        Ok(versions)
    }

    /// Returns the versions of a source package.
    ///
    /// # Errors
    ///
    /// When apt fails.
    pub(crate) fn source_versions(&self, package: &str) -> Result<Vec<String>> {
        let table = shell::read(self.apt_cache().args(["madison", package]))?;
        Ok(table
            .lines()
            .filter(|line| line.ends_with("Sources"))
            .filter_map(|line| line.split('|').nth(1))
            .map(|version| version.trim().to_string())
            .collect())
    }

    /// Returns the version that an installation would take, if any.
    ///
    /// # Errors
    ///
    /// When apt fails.
    pub(crate) fn candidate(&self, package: &str) -> Result<Option<String>> {
        let policy = shell::read(self.apt_cache().args(["policy", package]))?;
        Ok(policy
            .lines()
            .find_map(|line| line.trim().strip_prefix("Candidate: "))
            .filter(|version| *version != "(none)")
            .map(str::to_string))
    }

    /// Returns the names of packages that match a regular expression.
    ///
    /// # Errors
    ///
    /// When apt fails.
    pub(crate) fn search(&self, regex: &str) -> Result<Vec<String>> {
        let table = shell::read(self.apt_cache().args(["search", "--names-only", regex]))?;
        Ok(table
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .map(str::to_string)
            .collect())
    }

    /// Downloads packages (`name` or `name=version`) into `folder`; a partial download is resumed.
    ///
    /// # Errors
    ///
    /// A refusal when the mirrors cannot be reached or the disk is full.
    pub(crate) fn download(&self, packages: &[String], folder: &Path) -> Result<()> {
        self.run(
            "download",
            self.apt_get()
                .current_dir(folder)
                .arg("download")
                .args(packages),
        )
    }

    /// Downloads a source package (`name=version`) into `folder`.
    ///
    /// # Errors
    ///
    /// A refusal when the mirrors cannot be reached or the disk is full.
    pub(crate) fn download_source(&self, package: &str, folder: &Path) -> Result<()> {
        self.run(
            "source",
            self.apt_get()
                .current_dir(folder)
                .args(["--download-only", "source", package]),
        )
    }

    /// Installs packages on this machine, with `sudo` where we are not root.
    ///
    /// # Errors
    ///
    /// A refusal when the mirrors cannot be reached or the disk is full.
    pub(crate) fn install(&self, packages: &[&str], suite: Option<&str>) -> Result<()> {
        let mut words = vec!["apt-get".to_string(), "-c".to_string()];
        words.push(self.config.display().to_string());
        words.extend(["-y", "--no-install-recommends", "install"].map(str::to_string));
        words.extend(
            suite
                .iter()
                .flat_map(|suite| ["-t".to_string(), (*suite).to_string()]),
        );
        words.extend(packages.iter().map(|package| (*package).to_string()));
        let mut command = if super::host::is_root() {
            Command::new("env")
        } else {
            let mut sudo = Command::new("sudo");
            sudo.arg("env");
            sudo
        };
        self.run(
            "install",
            command.arg("DEBIAN_FRONTEND=noninteractive").args(words),
        )
    }

    fn apt_get(&self) -> Command {
        self.tool("apt-get")
    }

    fn apt_cache(&self) -> Command {
        self.tool("apt-cache")
    }

    fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command.arg("-c").arg(&self.config).env("LC_ALL", "C");
        command
    }

    fn run(&self, step: &str, command: &mut Command) -> Result<()> {
        shell::run_logged(self.project, &format!("apt-{}-{step}", self.name), command)
            .map_err(|error| self.explain(error))
    }

    /// Turns a failure of apt whose cause is known into a sentence for the user.
    fn explain(&self, error: Error) -> Error {
        let Some(failed) = error.downcast_ref::<Failed>() else {
            return error;
        };
        match cause(&failed.output) {
            Some(Cause::Network) => refuse(format!(
                "the network is missing: {} cannot be reached; connect this machine (or set apt's \
                 proxy) and run the command again, it goes on where it stopped",
                self.mirrors
            )),
            Some(Cause::Disk) => refuse(format!(
                "the disk is full: free about 3 GB for {} and the system, then run the command \
                 again",
                self.project.cache().display()
            )),
            Some(Cause::Lock) => refuse(
                "another package manager is running on this machine; wait for it and run the \
                 command again",
            ),
            None => error,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Network,
    Disk,
    Lock,
}

fn cause(output: &str) -> Option<Cause> {
    let has = |words: &[&str]| words.iter().any(|word| output.contains(word));
    if has(&["No space left on device", "enough free space"]) {
        Some(Cause::Disk)
    } else if has(&[
        "Could not get lock",
        "Unable to acquire the dpkg frontend lock",
    ]) {
        Some(Cause::Lock)
    } else if has(&[
        "Could not resolve",
        "Temporary failure resolving",
        "Could not connect",
        "Unable to connect",
        "Cannot initiate the connection",
        "Connection timed out",
        "Connection failed",
        "Network is unreachable",
        "Invalid response from proxy",
    ]) {
        Some(Cause::Network)
    } else {
        None
    }
}

fn list(keyring: &str, binaries: &[Source], with_sources: &[Source]) -> String {
    let line = |kind: &str, source: &Source| {
        format!(
            "{kind} [signed-by={keyring}] {} {} main\n",
            source.uri, source.suite
        )
    };
    binaries
        .iter()
        .map(|source| line("deb", source))
        .chain(with_sources.iter().map(|source| line("deb-src", source)))
        .collect()
}

fn configuration(folder: &Path, purpose: Purpose) -> String {
    let folder = folder.display();
    let mut text = format!(
        "Dir::Etc::sourcelist \"{folder}/sources.list\";\n\
         Dir::Etc::sourceparts \"{folder}/empty\";\n\
         Dir::Etc::preferences \"{folder}/preferences\";\n\
         Dir::Etc::preferencesparts \"{folder}/empty\";\n\
         Dir::State::lists \"{folder}/lists/\";\n\
         Dir::Cache \"{folder}/cache/\";\n\
         Dir::Cache::archives \"archives/\";\n\
         Dir::Log \"{folder}/log/\";\n\
         Acquire::Languages \"none\";\n\
         Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n\
         Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled \"false\";\n\
         Acquire::Retries \"3\";\n\
         APT::Sandbox::User \"\";\n\
         #clear APT::Update::Pre-Invoke;\n\
         #clear APT::Update::Post-Invoke;\n\
         #clear APT::Update::Post-Invoke-Success;\n"
    );
    if let Purpose::Download(architecture) = purpose {
        text.push_str(&format!(
            "Dir::State::status \"{folder}/status\";\n\
             APT::Architecture \"{architecture}\";\n\
             #clear APT::Architectures;\n\
             APT::Architectures {{ \"{architecture}\"; }};\n"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cause_of_known_messages() {
        let network = "Err:1 http://deb.debian.org/debian bookworm InRelease\n  \
                       Temporary failure resolving 'deb.debian.org'";
        assert_eq!(cause(network), Some(Cause::Network));
        let disk = "E: You don't have enough free space in /var/cache/apt/archives/.";
        assert_eq!(cause(disk), Some(Cause::Disk));
        assert_eq!(cause("E: Unable to locate package x"), None);
    }

    #[test]
    fn list_names_the_keyring() {
        let suite = [Source::new("http://m/debian/", "trixie")];
        assert_eq!(
            list("/k.gpg", &suite, &suite),
            "deb [signed-by=/k.gpg] http://m/debian trixie main\n\
             deb-src [signed-by=/k.gpg] http://m/debian trixie main\n"
        );
    }
}
