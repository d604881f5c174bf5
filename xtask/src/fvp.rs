// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `cargo xtask fvp`: the same run on an installed FVP Base RevC.

use crate::board::Board;
use crate::cli::{RunArgs, Vm};
use crate::flash::{self, Contents};
use crate::guest::GuestKind;
use crate::project::Project;
use crate::refusal::refuse;
use crate::run;
use crate::shell;
use anyhow::{Context, Result};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The model's parameters, one per line.
const PARAMETERS: &str = "fvp-configs/base-revc.params";

/// Builds everything for the FVP and starts the model that `FVP_BASE_REVC` names.
///
/// # Errors
///
/// A refusal when there is no model.
pub(crate) fn command(project: &Project) -> Result<()> {
    let model = model()?;
    let folder = project.target().join("run/fvp");
    flash::make(project, Board::Fvp, &Contents::default(), &folder)?;
    let bundle = folder.join("guest.bundle");
    let guest = RunArgs::of(GuestKind::Linux, Vm::Realm);
    run::write_bundle_only(project, &guest, &bundle)?;
    let table = Board::Fvp.table(project)?;
    let file = project.root().join(PARAMETERS);
    let text =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut command = Command::new(&model);
    for parameter in parameters(&text) {
        command.args(["-C", parameter]);
    }
    command
        .args([
            "-C",
            &setting("bp.secureflashloader.fname", &folder, "bl1.bin"),
        ])
        .args(["-C", &setting("bp.flashloader0.fname", &folder, "fip.bin")])
        .arg("--data")
        .arg(format!(
            "cluster0.cpu0={}@{:#x}",
            bundle.display(),
            table.bundle_base
        ));
    println!("run: {}", model.display());
    shell::run_shown(&mut command)
}

fn setting(name: &str, folder: &Path, file: &str) -> String {
    format!("{name}={}", folder.join(file).display())
}

fn model() -> Result<PathBuf> {
    let Some(model) = env::var_os("FVP_BASE_REVC") else {
        return Err(refuse(
            "there is no FVP here: get the model FVP_Base_RevC-2xAEMvA from Arm and set \
             FVP_BASE_REVC to its program (fvp-configs/README.md has the details)",
        ));
    };
    let model = PathBuf::from(model);
    if !model.is_file() {
        return Err(refuse(format!(
            "FVP_BASE_REVC={} is not a file; set it to the program FVP_Base_RevC-2xAEMvA",
            model.display()
        )));
    }
    Ok(model)
}

/// Returns the settings of a parameter file: one per line, `#` begins a comment.
fn parameters(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_without_comments() {
        let text = "# model\nbp.dram_size=4\n\n  a.b=1 # why\n";
        assert_eq!(
            parameters(text).collect::<Vec<_>>(),
            ["bp.dram_size=4", "a.b=1"]
        );
    }
}
