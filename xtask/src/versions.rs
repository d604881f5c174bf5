// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `versions.toml`: which of other people's work is used.

use serde::Deserialize;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Versions {
    pub(crate) debian: Debian,
    pub(crate) qemu: Qemu,
    pub(crate) tf_a: TfA,
    pub(crate) kernel: Kernel,
    pub(crate) busybox: Busybox,
    pub(crate) rust: Rust,
}

/// The archive.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Debian {
    /// Mirror for suites that the machine's own sources do not name.
    pub(crate) mirror: String,
    /// Keyring that signs every suite.
    pub(crate) keyring: String,
}

/// The emulator.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Qemu {
    pub(crate) package: String,
    pub(crate) minimum: String,
}

/// The EL3 firmware.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct TfA {
    pub(crate) package: String,
    pub(crate) suite: String,
    pub(crate) preferred: String,
    pub(crate) prefix: String,
}

/// The guest kernel.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Kernel {
    /// Suites to look in, best first.
    pub(crate) suites: Vec<String>,
    /// Kernel release without its flavor.
    pub(crate) preferred: String,
    /// Oldest release that will do.
    pub(crate) minimum: String,
}

/// The guest's user space.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Busybox {
    pub(crate) package: String,
    pub(crate) suite: String,
    pub(crate) preferred: String,
}

/// The Rust target.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Rust {
    pub(crate) target: String,
    pub(crate) source_suites: Vec<String>,
}

/// Returns the contents of `versions.toml`.
pub(crate) fn load() -> Versions {
    toml::from_str(include_str!("../versions.toml"))
        .expect("versions.toml is part of this program and a test reads it")
}

/// Compares two dotted versions number by number; text behind the numbers is ignored.
pub(crate) fn is_at_least(version: &str, minimum: &str) -> bool {
    numbers(version) >= numbers(minimum)
}

/// Returns the leading dotted numbers of a version, for sorting.
pub(crate) fn numbers(version: &str) -> Vec<u64> {
    let end = version
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(version.len());
    version[..end]
        .split('.')
        .map_while(|part| part.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_reads_the_file() {
        let versions = load();
        assert!(versions.tf_a.preferred.starts_with(&versions.tf_a.prefix));
        assert!(is_at_least(
            &versions.kernel.preferred,
            &versions.kernel.minimum
        ));
    }

    #[test]
    fn is_at_least_compares_numbers() {
        assert!(is_at_least("10.0.2", "10.0"));
        assert!(is_at_least("7.10.1+deb13", "7.2"));
        assert!(!is_at_least("7.2.0", "10.0"));
        assert!(!is_at_least("6.19.14+deb13", "7.2"));
    }
}
