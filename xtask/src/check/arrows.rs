// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Which crate may use which: the picture of the house, as a table.

use cargo_metadata::{DependencyKind, Metadata, Package};

/// A crate and the crates of this workspace it may use, directly.
const ARROWS: &[(&str, &[&str])] = &[
    ("rmi", &[]),
    ("rmm-granule", &["rmi"]),
    ("rmm-hal", &["rmm-granule", "rmi"]),
    ("rmm", &["rmm-hal", "rmm-granule", "rmi"]),
    ("tf-a-glue", &["rmm-hal", "rmi"]),
    ("rmm-aarch64", &["rmm-hal", "rmm-granule", "rmi"]),
    ("rmm-fake", &["rmm-hal", "rmm-granule", "rmi"]),
    ("rmm-qemu-virt", IMAGE),
    ("rmm-fvp", IMAGE),
    ("host-mm", &["rmi"]),
    ("host-vmm", &["host-mm", "rmi"]),
    ("nshost", &["host-vmm", "host-mm", "scenarios", "rmi"]),
    ("token-verifier", &[]),
    ("scenarios", &["test-realm", "token-verifier", "rmi"]),
    (
        "conformance",
        &[
            "scenarios",
            "rmm",
            "rmm-fake",
            "rmm-hal",
            "rmm-granule",
            "rmi",
        ],
    ),
    ("test-realm", &["rmi"]),
    ("guest-probe", &[]),
    ("xtask", &["host-vmm", "scenarios", "token-verifier", "rmi"]),
];

/// What the image of a board may use.
const IMAGE: &[&str] = &[
    "rmm",
    "rmm-aarch64",
    "tf-a-glue",
    "rmm-hal",
    "rmm-granule",
    "rmi",
];

/// A crate and what its tests may use beside that.
const TEST_ARROWS: &[(&str, &[&str])] = &[
    ("rmm", &["rmm-fake", "token-verifier"]),
    ("tf-a-glue", &["rmm-fake"]),
];

/// Returns every arrow that is not in the table.
pub(crate) fn check(metadata: &Metadata) -> Vec<String> {
    let members: Vec<_> = metadata.workspace_packages();
    let mut wrong = Vec::new();
    for package in &members {
        for dependency in &package.dependencies {
            let is_ours = members.iter().any(|member| member.name == dependency.name);
            let is_test = dependency.kind == DependencyKind::Development;
            if is_ours && !may_use(&package.name, &dependency.name, is_test) {
                wrong.push(format!("{} must not use {}", package.name, dependency.name));
            }
        }
    }
    wrong.extend(check_defaults(metadata, &members));
    wrong
}

fn may_use(from: &str, to: &str, is_test: bool) -> bool {
    let has = |table: &[(&str, &[&str])]| {
        table
            .iter()
            .any(|(name, allowed)| *name == from && allowed.contains(&to))
    };
    has(ARROWS) || (is_test && has(TEST_ARROWS))
}

/// What needs the bare-metal target must not be built by a plain `cargo build`, all else must.
fn check_defaults(metadata: &Metadata, members: &[&Package]) -> Vec<String> {
    let bare = [
        "rmm-aarch64",
        "rmm-qemu-virt",
        "rmm-fvp",
        "nshost",
        "test-realm",
        "guest-probe",
    ];
    let defaults = metadata.workspace_default_packages();
    let mut wrong = Vec::new();
    for package in members {
        let is_default = defaults.iter().any(|member| member.id == package.id);
        let is_bare = bare.contains(&package.name.as_str());
        if is_default == is_bare {
            wrong.push(format!("{} is misplaced in default-members", package.name));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use cargo_metadata::MetadataCommand;

    #[test]
    fn check_this_workspace() {
        let metadata = MetadataCommand::new()
            .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
            .no_deps()
            .exec()
            .unwrap();
        assert_eq!(check(&metadata), Vec::<String>::new());
    }

    #[test]
    fn may_use_only_downwards() {
        assert!(may_use("rmm", "rmm-hal", false));
        assert!(!may_use("rmm-hal", "rmm", false));
        assert!(!may_use("rmm", "rmm-aarch64", false));
        assert!(!may_use("rmm", "rmm-fake", false));
        assert!(may_use("rmm", "rmm-fake", true));
        assert!(!may_use("stranger", "rmi", false));
    }

    #[test]
    fn arrows_have_no_circle() {
        fn reaches(from: &str, to: &str) -> bool {
            ARROWS
                .iter()
                .find(|(name, _)| *name == from)
                .is_some_and(|(_, next)| next.iter().any(|step| *step == to || reaches(step, to)))
        }
        for (name, _) in ARROWS {
            assert!(!reaches(name, name), "{name}");
        }
    }
}
