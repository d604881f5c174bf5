// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Runs other programs: quietly into a log file, or for their output.

use crate::interrupt;
use crate::project::Project;
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Number of log lines shown when a quiet program fails.
const TAIL_LINES: usize = 25;
/// How often a quiet program is looked at.
const TICK: Duration = Duration::from_millis(50);
/// The longest silence.
const HEARTBEAT: Duration = Duration::from_secs(20);

/// A quiet program that failed.
#[derive(Debug)]
pub(crate) struct Failed {
    what: String,
    /// Everything it wrote.
    pub(crate) output: String,
    log: PathBuf,
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lines: Vec<_> = self.output.lines().collect();
        let tail = &lines[lines.len().saturating_sub(TAIL_LINES)..];
        writeln!(f, "{} failed; its last lines are:", self.what)?;
        for line in tail {
            writeln!(f, "    {line}")?;
        }
        write!(f, "the whole log is {}", self.log.display())
    }
}

impl std::error::Error for Failed {}

/// Runs a program with its output in `target/log/<name>.log`.
///
/// # Errors
///
/// [`Failed`] when the program reports failure.
pub(crate) fn run_logged(project: &Project, name: &str, command: &mut Command) -> Result<()> {
    let folder = project.target().join("log");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let log = folder.join(format!("{name}.log"));
    let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()
        .with_context(|| format!("cannot start {}", program(command)))?;
    let status = wait(child, name)?;
    interrupt::check()?;
    if status.success() {
        return Ok(());
    }
    let output = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    Err(Failed {
        what: format!("`{}` ({name})", program(command)),
        output,
        log,
    }
    .into())
}

/// Waits for a quiet program, and says now and then that it is still at work.
fn wait(mut child: Child, name: &str) -> Result<ExitStatus> {
    let began = Instant::now();
    let mut said = began;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if said.elapsed() > HEARTBEAT {
            said = Instant::now();
            println!("    still at work: {name}, {} s", began.elapsed().as_secs());
        }
        thread::sleep(TICK);
    }
}

/// Runs a program whose output the user should see.
///
/// # Errors
///
/// When the program cannot be started or reports failure.
pub(crate) fn run_shown(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", program(command)))?;
    interrupt::check()?;
    if !status.success() {
        bail!("`{}` failed with {status}", describe(command));
    }
    Ok(())
}

/// Returns what a program writes to its standard output.
///
/// # Errors
///
/// When the program cannot be started, reports failure (its standard error is in the message) or
/// does not write text.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", program(command)))?;
    interrupt::check()?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed: {}", describe(command), text.trim());
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("`{}` does not write text", program(command)))
}

/// Returns where a program is, if it is on the search path.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(file).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

fn program(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

fn describe(command: &Command) -> String {
    let mut text = program(command);
    for argument in command.get_args().take(6) {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}
