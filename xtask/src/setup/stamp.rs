// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Folders that are complete or not there: filled beside their place, listed with a checksum for
//! every file, then renamed.

use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

const LIST: &str = "SHA256SUMS";

/// Tells whether `folder` is complete and every file in it is what it was when it was filled.
pub(crate) fn is_intact(folder: &Path) -> bool {
    folder.join(LIST).is_file()
        && Command::new("sha256sum")
            .args(["--check", "--status", "--strict", LIST])
            .current_dir(folder)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
}

/// Fills `folder` with `fill`, which is given an empty folder beside it.
///
/// # Errors
///
/// Those of `fill`; then nothing is left behind under the folder's name.
pub(crate) fn fill(folder: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let fresh = folder.with_extension("new");
    remove(&fresh)?;
    fs::create_dir_all(&fresh).with_context(|| format!("cannot create {}", fresh.display()))?;
    fill(&fresh)?;
    let list = crate::shell::read(
        Command::new("sh")
            .args([
                "-c",
                "find . -type f ! -name SHA256SUMS -print0 | sort -z | xargs -0 sha256sum",
            ])
            .current_dir(&fresh),
    )?;
    fs::write(fresh.join(LIST), list)?;
    remove(folder)?;
    fs::rename(&fresh, folder).with_context(|| format!("cannot create {}", folder.display()))
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_intact_notices_a_change() {
        let folder = std::env::temp_dir().join(format!("bailey-stamp-{}", std::process::id()));
        fill(&folder, |fresh| Ok(fs::write(fresh.join("a"), "one")?)).unwrap();
        assert!(is_intact(&folder));
        fs::write(folder.join("a"), "two").unwrap();
        assert!(!is_intact(&folder));
        fill(&folder, |fresh| Ok(fs::write(fresh.join("b"), "three")?)).unwrap();
        assert!(is_intact(&folder));
        assert!(!folder.join("a").exists());
        fs::remove_dir_all(&folder).unwrap();
    }
}
