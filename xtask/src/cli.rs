// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The command line.

use crate::bench::{self, BenchArgs};
use crate::board::Board;
use crate::check;
use crate::flash::{self, Contents};
use crate::fvp;
use crate::guest::GuestKind;
use crate::image;
use crate::interrupt;
use crate::project::Project;
use crate::run;
use crate::setup;
use crate::size;
use crate::testing::{self, ConformanceArgs, TestArgs};
use anyhow::Result;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Every step a person types.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Boots QEMU with TF-A, our RMM and our host, and runs a guest as a Realm, a normal VM or both
    Run(RunArgs),
    /// Runs every test: on this machine, then on the emulated one
    Test(TestArgs),
    /// Runs the on-target scenarios, against our RMM or any other image
    Conformance(ConformanceArgs),
    /// Counts the instructions of calls, exits and phases, of our RMM or any other image
    Bench(BenchArgs),
    /// Checks format, lints, arrows between crates, license headers, unsafe code, READMEs
    Check,
    /// Brings in what the machine lacks; every other command does so by itself
    Setup,
    /// Builds the raw RMM image and prints the size of its sections
    Image {
        /// The board
        #[arg(long, value_enum, default_value = "qemu-virt")]
        plat: Board,
    },
    /// Makes a bootable flash image (QEMU) or bl1.bin and fip.bin (FVP) with any RMM and any BL33
    Flash {
        /// The board
        #[arg(long, value_enum, default_value = "qemu-virt")]
        plat: Board,
        /// RMM image to use in place of ours
        #[arg(long, value_name = "IMG")]
        rmm: Option<PathBuf>,
        /// BL33 image to use in place of our host
        #[arg(long, value_name = "IMG")]
        bl33: Option<PathBuf>,
        /// File (QEMU) or folder (FVP) to write
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Boots our RMM and host, with a Linux guest, on the FVP that FVP_BASE_REVC names
    Fvp,
}

/// Which virtual machines run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Vm {
    /// One Realm.
    Realm,
    /// One normal VM.
    Normal,
    /// A Realm and a normal VM at the same time.
    Both,
}

/// Options of `cargo xtask run`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RunArgs {
    /// The guest: `linux` (Debian's kernel), `linux-16k` (the one with pages of 16 KiB), `test` (our
    /// payload), or the path of an arm64 Image
    #[arg(long, default_value = "linux", value_parser = GuestKind::parse)]
    pub(crate) guest: GuestKind,
    /// What the guest runs as
    #[arg(long, value_enum, default_value = "realm")]
    pub(crate) vm: Vm,
    /// CPUs of the guest, 1 to 8
    #[arg(long, value_name = "N", default_value = "2")]
    pub(crate) cpus: u32,
    /// Memory of the guest, such as 256M or 1G
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = size::parse)]
    pub(crate) mem: u64,
    /// Seconds until a run that has not ended counts as hung
    #[arg(long, value_name = "S", default_value = "600")]
    pub(crate) timeout: u64,
    /// Features of QEMU's CPU to switch, such as lpa2=off,sve=off
    #[arg(long, value_name = "A=off,...", default_value = "")]
    pub(crate) cpu_opts: String,
    /// RMM image to use in place of ours
    #[arg(long, value_name = "IMG")]
    pub(crate) rmm: Option<PathBuf>,
    /// CPUs of the machine [default: the guests', one more with --dirty-log, --invalidate or --migrate, at least 2]
    #[arg(long, value_name = "N")]
    pub(crate) smp: Option<u32>,
    /// Memory of the machine
    #[arg(long, value_name = "SIZE", default_value = "3G", value_parser = size::parse)]
    pub(crate) qemu_mem: u64,
    /// Keep all CPUs of a Linux guest busy with timers, interrupts and arithmetic for so many seconds
    #[arg(long, value_name = "S")]
    pub(crate) stress: Option<u32>,
    /// The host logs which pages of a normal VM become dirty
    #[arg(long)]
    pub(crate) dirty_log: bool,
    /// The host takes guest pages away while the guest runs
    #[arg(long)]
    pub(crate) invalidate: bool,
    /// The host moves a normal VM to other memory while it runs, as a migration does
    #[arg(long)]
    pub(crate) migrate: bool,
    /// The host tells more
    #[arg(long, short)]
    pub(crate) verbose: bool,
    /// A further QEMU option; may be given several times
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    pub(crate) qemu_arg: Vec<String>,
}

impl RunArgs {
    /// Returns what `cargo xtask run` does without further options.
    pub(crate) fn of(guest: GuestKind, vm: Vm) -> Self {
        Self {
            guest,
            vm,
            cpus: 2,
            mem: 256 << 20,
            timeout: 600,
            cpu_opts: String::new(),
            rmm: None,
            smp: None,
            qemu_mem: 3 << 30,
            stress: None,
            dirty_log: false,
            invalidate: false,
            migrate: false,
            verbose: false,
            qemu_arg: Vec::new(),
        }
    }
}

/// Does what the command line asks for.
///
/// # Errors
///
/// A refusal when it cannot begin, any other error when it did not end well.
pub(crate) fn dispatch(cli: Cli) -> Result<()> {
    interrupt::install()?;
    let project = Project::find()?;
    match cli.command {
        Command::Run(args) => run::command(&project, &args),
        Command::Test(args) => testing::command(&project, &args),
        Command::Conformance(args) => testing::conformance_command(&project, &args),
        Command::Bench(args) => bench::command(&project, &args),
        Command::Check => check::command(&project),
        Command::Fvp => fvp::command(&project),
        Command::Setup => setup::everything(&project),
        Command::Image { plat } => image::report(&project, plat),
        Command::Flash {
            plat,
            rmm,
            bl33,
            out,
        } => {
            flash::make(&project, plat, &Contents { rmm, bl33 }, &out)?;
            match plat {
                Board::QemuVirt => {
                    println!("flash: {} (give it to QEMU as pflash 0)", out.display())
                }
                Board::Fvp => println!(
                    "flash: {0}/bl1.bin and {0}/fip.bin, built but not tried: the FVP model is not \
                     part of this set-up (see fvp-configs/README.md)",
                    out.display()
                ),
            }
            Ok(())
        }
    }
}
