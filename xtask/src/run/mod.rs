// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `cargo xtask run`: builds everything, boots the machine, watches it, and judges how it ended.

mod demux;
mod logs;
mod machine;
mod observe;
mod session;
mod token;

pub(crate) use machine::{Machine, boot};
pub(crate) use observe::{Expect, Observed};
use token::{Challenge, hex};

use crate::board::{Board, BoardTable};
use crate::cli::{RunArgs, Vm};
use crate::guest::{self, BundlePlan, Guest, GuestKind};
use crate::project::Project;
use crate::refusal::refuse;
use crate::size;
use anyhow::{Result, bail};
use host_vmm::bundle::{MAX_VCPUS, Mode, Options};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Memory of the machine that neither guests nor the bundle can have: the RMM, the host, its
/// allocator's reserve.
const MACHINE_RESERVE_BYTES: u64 = 192 << 20;
/// Memory a kernel needs beside itself and its initramfs to reach init.
const GUEST_RESERVE_BYTES: u64 = 16 << 20;
/// Guest memory is given in blocks of a level 2 table entry.
const MEMORY_UNIT: u64 = 2 << 20;
/// QEMU's limit for one `virt` machine under TF-A's port.
const MAX_SMP: u32 = 32;
/// CPUs the host uses.
const MAX_PES: u32 = 8;
const DAY: u64 = 86_400;
/// How long the payload keeps its tags while it is disturbed, in seconds.
const HOLD_SECONDS: u64 = 15;

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Report {
    /// What the machine wrote.
    pub(crate) observed: Observed,
    /// Why the run counts as failed.
    pub(crate) failure: Option<String>,
    /// Time from QEMU's start to its end.
    pub(crate) duration: Duration,
    /// The folder with the logs.
    pub(crate) folder: PathBuf,
}

/// Runs a guest as the command line asks and prints the outcome.
///
/// # Errors
///
/// A refusal for bad input; an error with the reason when the guest did not end as it should.
pub(crate) fn command(project: &Project, args: &RunArgs) -> Result<()> {
    let report = execute(project, args)?;
    report.observed.print();
    let seconds = report.duration.as_secs_f64();
    if let Some(reason) = report.failure {
        bail!(
            "the run failed after {seconds:.1} s: {reason}; the logs are in {}",
            report.folder.display()
        );
    }
    println!(
        "run: ok after {seconds:.1} s; the logs are in {}",
        report.folder.display()
    );
    Ok(())
}

/// Runs a guest as the command line asks.
///
/// # Errors
///
/// A refusal for bad input, or when something cannot be built; a guest that fails is no error here.
pub(crate) fn execute(project: &Project, args: &RunArgs) -> Result<Report> {
    let smp = check_numbers(args)?;
    let guest = guest::prepare(project, args)?;
    check_fit(args, &guest, &Board::QemuVirt.table(project)?)?;
    let challenge = random()?;
    let plan = plan(args, &guest, &challenge)?;
    let machine = Machine {
        smp,
        memory_bytes: args.qemu_mem,
        has_exact_time: false,
        cpu_options: args.cpu_opts.clone(),
        extra: args.qemu_arg.clone(),
        timeout: Duration::from_secs(args.timeout),
        silence_limit: None,
        rmm: args.rmm.clone(),
        takes_input: true,
    };
    let expect = match args.guest {
        GuestKind::Linux | GuestKind::Linux16k if args.stress.is_some() => {
            Expect::linux(args.vm, challenge).under_stress()
        }
        GuestKind::Linux | GuestKind::Linux16k => Expect::linux(args.vm, challenge),
        GuestKind::Test => Expect::payload(args.vm),
        GuestKind::Path(_) => Expect::result_only(),
    };
    let expect = if args.migrate {
        expect.after_move(args.vm)
    } else {
        expect
    };
    boot(project, &machine, &plan, &expect, &name(args))
}

/// Writes the bundle of a run without running it.
///
/// # Errors
///
/// Those of [`execute`] before it starts the machine.
pub(crate) fn write_bundle_only(project: &Project, args: &RunArgs, file: &Path) -> Result<()> {
    check_numbers(args)?;
    let guest = guest::prepare(project, args)?;
    guest::write_bundle(&plan(args, &guest, &random()?)?, file)?;
    Ok(())
}

fn plan<'a>(args: &RunArgs, guest: &'a Guest, challenge: &Challenge) -> Result<BundlePlan<'a>> {
    let secret = random()?;
    Ok(BundlePlan {
        mode: match args.vm {
            Vm::Realm => Mode::Realm,
            Vm::Normal => Mode::NormalVm,
            Vm::Both => Mode::Both,
        },
        vcpus: args.cpus,
        options: options(args),
        memory_bytes: args.mem,
        kernel: Some(&guest.kernel.bytes),
        initramfs: guest.initramfs.as_deref(),
        test_payload: None,
        secret,
        command_line: command_line(args, &secret, challenge),
        scenario_filter: String::new(),
    })
}

fn name(args: &RunArgs) -> String {
    let guest = match args.guest {
        GuestKind::Linux => "linux",
        GuestKind::Linux16k => "linux-16k",
        GuestKind::Test => "test",
        GuestKind::Path(_) => "other",
    };
    let vm = match args.vm {
        Vm::Realm => "realm",
        Vm::Normal => "normal",
        Vm::Both => "both",
    };
    format!("{vm}-{guest}-{}cpu", args.cpus)
}

fn options(args: &RunArgs) -> Options {
    [
        (args.dirty_log, Options::DIRTY_LOG),
        (args.invalidate, Options::INVALIDATE),
        (args.migrate, Options::MIGRATE),
        (args.verbose, Options::VERBOSE),
        (has_payload_with_tags(args), Options::OLD_TAGS),
    ]
    .into_iter()
    .filter(|(is_set, _)| *is_set)
    .fold(Options::default(), |all, (_, option)| all.with(option))
}

/// Only the payload looks for tags that somebody left, and only as a normal VM.
fn has_payload_with_tags(args: &RunArgs) -> bool {
    args.guest == GuestKind::Test && args.vm != Vm::Realm
}

/// Checks the numbers that do not depend on the guest; returns the machine's CPUs.
fn check_numbers(args: &RunArgs) -> Result<u32> {
    if !(1..=MAX_VCPUS).contains(&args.cpus) {
        return Err(refuse(format!(
            "--cpus {} is not possible, a guest has 1 to {MAX_VCPUS} CPUs",
            args.cpus
        )));
    }
    if !(1..=DAY).contains(&args.timeout) {
        return Err(refuse(format!(
            "--timeout {} is not possible, give 1 to {DAY} seconds",
            args.timeout
        )));
    }
    if args
        .stress
        .is_some_and(|seconds| seconds == 0 || u64::from(seconds) >= args.timeout)
    {
        return Err(refuse(
            "--stress takes a number of seconds that is less than the --timeout",
        ));
    }
    if args.stress.is_some() && args.guest == GuestKind::Test {
        return Err(refuse("--stress is for Linux guests"));
    }
    if args.mem == 0 || !args.mem.is_multiple_of(MEMORY_UNIT) {
        return Err(refuse(format!(
            "--mem {} is not possible, give a multiple of {} such as 256M",
            size::show(args.mem),
            size::show(MEMORY_UNIT)
        )));
    }
    if args.dirty_log && args.vm == Vm::Realm {
        return Err(refuse(
            "--dirty-log is for a normal VM, add --vm normal or --vm both",
        ));
    }
    if args.migrate && args.vm == Vm::Realm {
        return Err(refuse(
            "--migrate is for a normal VM, add --vm normal or --vm both",
        ));
    }
    let wanted = machine_cpus(args);
    if wanted > MAX_PES {
        return Err(refuse(format!(
            "--cpus {} is not possible, the run needs {wanted} CPUs and the host uses {MAX_PES}",
            args.cpus
        )));
    }
    let smp = args.smp.unwrap_or(wanted.max(2));
    if smp < wanted || smp > MAX_SMP {
        return Err(refuse(format!(
            "--smp {smp} is not possible, the run needs {wanted} CPUs and the machine has at most \
             {MAX_SMP}"
        )));
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_=.,".contains(c);
    if !args.cpu_opts.chars().all(is_plain) {
        return Err(refuse(format!(
            "--cpu-opts `{}` is not a list such as lpa2=off,sve=off",
            args.cpu_opts
        )));
    }
    Ok(smp)
}

/// Returns how many CPUs the host needs: one for each of its guests', and one to disturb them.
fn machine_cpus(args: &RunArgs) -> u32 {
    args.cpus * guests(args) + u32::from(args.dirty_log || args.invalidate || args.migrate)
}

fn guests(args: &RunArgs) -> u32 {
    match args.vm {
        Vm::Realm | Vm::Normal => 1,
        Vm::Both => 2,
    }
}

fn check_fit(args: &RunArgs, guest: &Guest, table: &BoardTable) -> Result<()> {
    let initramfs = guest.initramfs.as_ref().map_or(0, Vec::len);
    let kernel_end = guest
        .kernel
        .memory_bytes
        .saturating_add(u64::try_from(initramfs)?);
    if kernel_end.saturating_add(GUEST_RESERVE_BYTES) > args.mem {
        return Err(refuse(format!(
            "the guest does not fit: kernel and initramfs take {} and need {} to run, --mem is {}",
            size::show(kernel_end),
            size::show(GUEST_RESERVE_BYTES),
            size::show(args.mem)
        )));
    }
    let dram = args.qemu_mem.min(table.dram_end - table.dram_base);
    let file = u64::try_from(guest.kernel.bytes.len() + initramfs)?;
    let wanted = args
        .mem
        .saturating_mul((guests(args) + u32::from(args.migrate)).into())
        .saturating_add(file)
        .saturating_add(MACHINE_RESERVE_BYTES);
    if wanted > dram {
        return Err(refuse(format!(
            "--mem {} does not fit: the run needs {}, the machine has {} that Realms may use \
             (--qemu-mem {})",
            size::show(args.mem),
            size::show(wanted),
            size::show(dram),
            size::show(args.qemu_mem)
        )));
    }
    Ok(())
}

/// The guest kernel's command line, without what depends on the kind of VM, which the host adds.
fn command_line(args: &RunArgs, secret: &[u8; 32], challenge: &Challenge) -> String {
    if args.guest == GuestKind::Test {
        let is_disturbed = args.dirty_log || args.invalidate || args.migrate;
        let seconds = if is_disturbed { HOLD_SECONDS } else { 0 };
        return format!("bailey.hold={seconds}");
    }
    let (secret, challenge) = (hex(secret), hex(challenge));
    let stress = args
        .stress
        .map_or_else(String::new, |seconds| format!(" bailey.stress={seconds}"));
    format!(
        "console=ttyAMA0 printk.devkmsg=on panic=-1 rdinit=/init bailey.cpus={} bailey.mem={} \
         bailey.secret={secret} bailey.challenge={challenge}{stress}",
        args.cpus,
        args.mem >> 20
    )
}

/// Returns bytes that are nowhere else.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
