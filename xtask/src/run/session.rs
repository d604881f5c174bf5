// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! One life of QEMU: started, read, fed, and never left behind.

use super::demux::Demux;
use super::logs::Logs;
use super::observe::Observed;
use crate::interrupt;
use crate::shell;
use anyhow::{Context, Result};
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(200);
/// An unfinished line is shown when nothing follows for this long.
const PARTIAL_LINE: Duration = Duration::from_secs(2);
/// The longest silence on the terminal.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Time for the machine to switch itself off after its last word.
const LAST_WORD: Duration = Duration::from_secs(10);
/// Time for the rest of a crash dump, and for the host to clean up after a guest's.
const CRASH_DUMP: Duration = Duration::from_secs(5);

/// Why QEMU is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It ended by itself.
    Exited(ExitStatus),
    /// The time was up.
    TimedOut,
    /// The machine was silent for longer than it may be.
    Silent,
    /// The machine had said its last word, or crashed, and did not switch itself off.
    Stopped,
    /// The user asked to stop.
    Interrupted,
}

/// Kills QEMU when it goes out of scope.
#[derive(Debug)]
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // Fails only when QEMU is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `qemu` until it ends or must be ended: after `timeout`, or after so much silence, if that has a
/// limit.
///
/// # Errors
///
/// When QEMU cannot be started or a log cannot be written.
pub(crate) fn run(
    qemu: &Command,
    timeout: Duration,
    silence_limit: Option<Duration>,
    takes_input: bool,
    logs: &mut Logs,
    observed: &mut Observed,
) -> Result<End> {
    let began = Instant::now();
    let mut child = Guard(spawn(qemu)?);
    let console = read_console(&mut child.0);
    // Kept open without input too: an end of file would end QEMU's console.
    let keyboard = child.0.stdin.take();
    let _keyboard = match keyboard {
        Some(keyboard) if takes_input => {
            feed(keyboard);
            None
        }
        other => other,
    };
    let mut watch = Watch {
        began,
        heard: began,
        shown: began,
        demux: Demux::default(),
        is_closed: false,
    };
    loop {
        watch.listen(&console, logs, observed)?;
        if watch.is_closed
            && let Some(status) = child.0.try_wait()?
        {
            return Ok(End::Exited(status));
        }
        if interrupt::is_set() {
            return Ok(End::Interrupted);
        }
        if began.elapsed() > timeout {
            return Ok(End::TimedOut);
        }
        let silence = watch.heard.elapsed();
        if silence_limit.is_some_and(|limit| silence > limit) {
            return Ok(End::Silent);
        }
        if observed.has_result() && silence > LAST_WORD {
            return Ok(End::Stopped);
        }
        if observed.has_crashed() && silence > CRASH_DUMP {
            return Ok(End::Stopped);
        }
    }
}

struct Watch {
    began: Instant,
    heard: Instant,
    shown: Instant,
    demux: Demux,
    is_closed: bool,
}

impl Watch {
    fn listen(
        &mut self,
        console: &Receiver<Vec<u8>>,
        logs: &mut Logs,
        observed: &mut Observed,
    ) -> Result<()> {
        let lines = match console.recv_timeout(TICK) {
            Ok(bytes) => {
                self.heard = Instant::now();
                self.demux.push(&bytes)
            }
            Err(RecvTimeoutError::Timeout) if self.heard.elapsed() > PARTIAL_LINE => {
                self.demux.flush()
            }
            Err(RecvTimeoutError::Timeout) => Vec::new(),
            Err(RecvTimeoutError::Disconnected) => {
                self.is_closed = true;
                thread::sleep(TICK / 10);
                self.demux.flush()
            }
        };
        let at = self.began.elapsed();
        for line in &lines {
            observed.take(line, at);
            logs.write(at, line)?;
            self.shown = Instant::now();
        }
        if lines.is_empty() {
            logs.flush()?;
        }
        if self.shown.elapsed() > HEARTBEAT {
            self.shown = Instant::now();
            let text = format!("still running ({})", observed.position());
            logs.note(at, &text)?;
        }
        Ok(())
    }
}

/// Starts QEMU so that it also dies when we are killed.
fn spawn(qemu: &Command) -> Result<Child> {
    let mut command = if shell::find_program("setpriv").is_some() {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(qemu.get_program());
        command
    } else {
        Command::new(qemu.get_program())
    };
    command
        .args(qemu.get_args())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .context("cannot start QEMU")
}

fn read_console(child: &mut Child) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    let console = child.stdout.take();
    thread::spawn(move || {
        let Some(mut console) = console else {
            return;
        };
        let mut buffer = [0; 4096];
        while let Ok(count) = console.read(&mut buffer) {
            if count == 0 || sender.send(buffer[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Passes our standard input on, line by line as the terminal gives it.
fn feed(mut keyboard: ChildStdin) {
    thread::spawn(move || {
        let mut buffer = [0; 256];
        while let Ok(count) = std::io::stdin().read(&mut buffer) {
            if count == 0 {
                // Keep QEMU's end open until the process ends.
                loop {
                    thread::park();
                }
            }
            if keyboard.write_all(&buffer[..count]).is_err() || keyboard.flush().is_err() {
                return;
            }
        }
    });
}
