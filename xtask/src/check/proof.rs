// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The table of what is proven: nothing is missing in it, and it is written down as it is.

use crate::project::Project;
use anyhow::Result;
use scenarios::spec::missing;
use scenarios::table::table;
use std::fs;

/// Where the table stands.
const TABLE: &str = "tests/scenarios/TABLE.md";

/// Returns the conditions and orders without a scenario, and whether the file is another table.
///
/// # Errors
///
/// When the file cannot be read.
pub(super) fn check(project: &Project) -> Result<Vec<String>> {
    let mut wrong: Vec<_> = missing()
        .iter()
        .map(|cell| format!("{} has no scenario of {:?}", cell.command.name(), cell.kind))
        .collect();
    let written = fs::read_to_string(project.root().join(TABLE))?;
    if written != table() {
        wrong.push(format!(
            "{TABLE} is not what `cargo xtask conformance --table` prints"
        ));
    }
    Ok(wrong)
}
