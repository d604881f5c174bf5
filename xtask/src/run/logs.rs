// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! One log file per speaker, and a merged, time-stamped view in a file and on the terminal.

use super::demux::{Line, Speaker};
use crate::project::Project;
use crate::shell;
use anyhow::{Context, Result};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Speakers whose log is there even when they say nothing.
const ALWAYS: [Speaker; 3] = [Speaker::Firmware, Speaker::Host, Speaker::Guest];

/// Open logs of one run.
#[derive(Debug)]
pub(crate) struct Logs {
    folder: PathBuf,
    own: HashMap<Speaker, BufWriter<File>>,
    merged: BufWriter<File>,
    shows: bool,
}

/// Makes the folder of a run: `target/run/<time>-<name>`, also reachable as `target/run/latest`.
///
/// # Errors
///
/// When the folder cannot be created.
pub(crate) fn folder(project: &Project, name: &str) -> Result<PathBuf> {
    let time = shell::read(Command::new("date").args(["-u", "+%Y%m%d-%H%M%S"]))?;
    let runs = project.target().join("run");
    let folder = runs.join(format!("{}-{}-{name}", time.trim(), std::process::id()));
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let latest = runs.join("latest");
    // Somebody else's run may be first; the link is a convenience only.
    let _ = fs::remove_file(&latest);
    let _ = std::os::unix::fs::symlink(&folder, &latest);
    Ok(folder)
}

impl Logs {
    /// Opens the logs in `folder`; `shows` also puts every line on the terminal.
    ///
    /// # Errors
    ///
    /// When a file cannot be created.
    pub(crate) fn open(folder: &Path, shows: bool) -> Result<Self> {
        let mut own = HashMap::new();
        for speaker in ALWAYS {
            own.insert(speaker, create(folder, file_name(speaker))?);
        }
        Ok(Self {
            folder: folder.to_path_buf(),
            own,
            merged: create(folder, "merged.log")?,
            shows,
        })
    }

    /// Writes a line that was read `at` this time after the start.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub(crate) fn write(&mut self, at: Duration, line: &Line) -> Result<()> {
        let own = match self.own.entry(line.speaker) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(place) => place.insert(create(&self.folder, file_name(line.speaker))?),
        };
        writeln!(own, "{}", line.text)?;
        // EL3's boot steps are for the log; on the terminal they would hide everything else.
        let is_detail = line.speaker == Speaker::Firmware && line.text.starts_with("INFO:");
        let shows = self.shows && !is_detail;
        self.merge(at, line.speaker.name(), &line.text, shows)
    }

    /// Writes a line of our own into the merged view.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub(crate) fn note(&mut self, at: Duration, text: &str) -> Result<()> {
        self.merge(at, "xtask", text, self.shows)
    }

    /// Writes what is buffered.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub(crate) fn flush(&mut self) -> Result<()> {
        for file in self.own.values_mut() {
            file.flush()?;
        }
        self.merged.flush()?;
        Ok(())
    }

    fn merge(&mut self, at: Duration, speaker: &str, text: &str, shows: bool) -> Result<()> {
        let line = format!("{:9.3} {speaker:<7} | {text}", at.as_secs_f64());
        writeln!(self.merged, "{line}")?;
        if shows {
            // A closed terminal must not end the run.
            let _ = writeln!(std::io::stdout(), "{line}");
        }
        Ok(())
    }
}

fn file_name(speaker: Speaker) -> &'static str {
    match speaker {
        Speaker::Firmware => "el3-rmm.log",
        Speaker::Host => "host.log",
        Speaker::Guest => "guest.log",
        Speaker::RealmGuest => "guest-realm.log",
        Speaker::NormalGuest => "guest-normal.log",
    }
}

fn create(folder: &Path, name: &str) -> Result<BufWriter<File>> {
    let file = folder.join(name);
    let file = File::create(&file).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(BufWriter::new(file))
}
