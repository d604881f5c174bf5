// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The emulated machine: flash, bundle, QEMU's command line.

use super::logs::{self, Logs};
use super::observe::{Expect, Observed};
use super::session;
use super::{Report, size};
use crate::board::Board;
use crate::flash::{self, Contents};
use crate::guest::{self, BundlePlan};
use crate::project::Project;
use crate::refusal::refuse;
use crate::setup::{self, Tool};
use anyhow::Result;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const MEBIBYTE: u64 = 1 << 20;
/// The least that TF-A and a BL33 at its place need.
const LEAST_MEMORY_BYTES: u64 = 1 << 30;

/// What varies between machines.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// Number of CPUs.
    pub(crate) smp: u32,
    /// Memory in bytes.
    pub(crate) memory_bytes: u64,
    /// One instruction takes a nanosecond, and so does one tick of the counter of `-cpu max`.
    pub(crate) has_exact_time: bool,
    /// Features of the CPU, comma separated.
    pub(crate) cpu_options: String,
    /// Further words for QEMU.
    pub(crate) extra: Vec<String>,
    /// When a run counts as hung.
    pub(crate) timeout: Duration,
    /// When a machine that says nothing counts as hung, where it has to say something.
    pub(crate) silence_limit: Option<Duration>,
    /// An RMM in place of ours.
    pub(crate) rmm: Option<PathBuf>,
    /// Whether our standard input goes to the guest.
    pub(crate) takes_input: bool,
}

/// Builds what is needed, boots the machine and watches it to its end.
///
/// # Errors
///
/// A refusal when it cannot begin, an error when something does not build.
pub(crate) fn boot(
    project: &Project,
    machine: &Machine,
    plan: &BundlePlan<'_>,
    expect: &Expect,
    name: &str,
) -> Result<Report> {
    if machine.memory_bytes < LEAST_MEMORY_BYTES || !machine.memory_bytes.is_multiple_of(MEBIBYTE) {
        return Err(refuse(format!(
            "--qemu-mem {} is not possible, give at least {}",
            size::show(machine.memory_bytes),
            size::show(LEAST_MEMORY_BYTES)
        )));
    }
    setup::ensure_tools(project, &[Tool::Emulator])?;
    let folder = logs::folder(project, name)?;
    let flash = folder.join("flash.bin");
    let contents = Contents {
        rmm: machine.rmm.clone(),
        bl33: None,
    };
    flash::make(project, Board::QemuVirt, &contents, &flash)?;
    let mut qemu = command(machine, &flash);
    let bundle = folder.join("guest.bundle");
    let bytes = guest::write_bundle(plan, &bundle)?;
    let table = Board::QemuVirt.table(project)?;
    if table.bundle_base + bytes > table.dram_base + machine.memory_bytes {
        return Err(refuse(format!(
            "the guest does not fit: its bundle of {} lies beyond --qemu-mem {}",
            size::show(bytes),
            size::show(machine.memory_bytes)
        )));
    }
    qemu.arg("-device").arg(format!(
        "loader,file={},addr={:#x},force-raw=on",
        bundle.display(),
        table.bundle_base
    ));
    fs::write(folder.join("qemu-command.txt"), format!("{qemu:?}\n"))?;
    println!(
        "run: QEMU with {} CPUs and {}, {}",
        machine.smp,
        size::show(machine.memory_bytes),
        folder.display()
    );
    let report = watch(machine, &qemu, expect, folder)?;
    if report.failure.is_none() {
        // Reproducible from the sources, and large.
        fs::remove_file(&flash)?;
        fs::remove_file(&bundle)?;
    }
    Ok(report)
}

fn watch(machine: &Machine, qemu: &Command, expect: &Expect, folder: PathBuf) -> Result<Report> {
    let mut logs = Logs::open(&folder, true)?;
    let mut observed = Observed::default();
    let began = Instant::now();
    let end = session::run(
        qemu,
        machine.timeout,
        machine.silence_limit,
        machine.takes_input,
        &mut logs,
        &mut observed,
    )?;
    logs.flush()?;
    Ok(Report {
        failure: observed.judge(end, expect),
        observed,
        duration: began.elapsed(),
        folder,
    })
}

fn command(machine: &Machine, flash: &Path) -> Command {
    let mut cpu = "max,x-rme=on,pauth-impdef=on".to_string();
    if !machine.cpu_options.is_empty() {
        cpu.push(',');
        cpu.push_str(machine.cpu_options.trim_matches(','));
    }
    let mut qemu = Command::new("qemu-system-aarch64");
    // Without memory for allocation tags QEMU takes them from the CPU.
    let board = "virt,secure=on,virtualization=on,gic-version=3,mte=on";
    qemu.args(["-M", board])
        .args(["-cpu", &cpu])
        .args(["-m", &format!("{}M", machine.memory_bytes / MEBIBYTE)])
        .args(["-smp", &machine.smp.to_string()])
        .args(["-display", "none", "-monitor", "none", "-serial", "stdio"])
        .args(["-nic", "none", "-no-reboot"])
        .arg("-drive")
        .arg(format!(
            "if=pflash,unit=0,format=raw,readonly=on,file={}",
            flash.display()
        ))
        .args(&machine.extra);
    if machine.has_exact_time {
        qemu.args(["-icount", "shift=0,sleep=off"]);
    }
    qemu
}
