// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `cargo xtask bench`: instructions per call, counted on a machine whose time is its instructions.

use crate::guest::BundlePlan;
use crate::project::Project;
use crate::run::{self, Expect, Machine, Report};
use anyhow::{Context, Result, bail};
use clap::Args;
use host_vmm::bundle::{Mode, Options};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const MACHINE_MEMORY_BYTES: u64 = 3 << 30;
/// Memory a measure's Realm may use, in bytes.
const REALM_MEMORY_BYTES: u64 = 64 << 20;

/// The figure of the reference, and what ours is to be at the most, per measure.
///
/// The reference is TF-RMM v0.6.0 (release build, logging off) under QEMU 10.0.2 and TF-A 2.12.1.
const GOALS: &[(&str, Option<u64>, u64)] = &[
    ("RMI_VERSION", Some(1_203), 1_150),
    ("RMI_GRANULE_DELEGATE", Some(2_785), 2_200),
    ("RMI_GRANULE_UNDELEGATE", Some(2_231), 2_000),
    ("RMI_REALM_CREATE, SHA-256", Some(192_619), 12_000),
    ("RMI_REC_CREATE", Some(203_276), 12_000),
    ("RMI_REC_DESTROY", Some(11_348), 3_500),
    ("memory of a REC", Some(68 << 10), 4 << 10),
    ("memory of a REC with SVE", Some(68 << 10), 16 << 10),
    ("RMI_RTT_CREATE, level 3", Some(3_379), 2_400),
    ("RMI_RTT_CREATE, unfolding a block", Some(5_301), 3_500),
    ("RMI_RTT_DESTROY, level 3", Some(2_973), 2_200),
    ("RMI_RTT_FOLD, 512 pages", Some(12_754), 5_000),
    ("RMI_RTT_READ_ENTRY", Some(2_602), 1_700),
    ("RMI_RTT_INIT_RIPAS, per entry of 512", Some(14_669), 600),
    ("RMI_RTT_MAP_UNPROTECTED", Some(2_612), 1_800),
    ("RMI_RTT_UNMAP_UNPROTECTED", Some(2_607), 1_900),
    ("RMI_DATA_CREATE, measured", Some(198_551), 9_000),
    ("RMI_DATA_CREATE, not measured", Some(20_409), 2_800),
    ("RMI_DATA_CREATE_UNKNOWN", Some(2_640), 2_000),
    ("RMI_DATA_DESTROY", Some(3_250), 2_200),
    ("RMI_REC_ENTER to host call", Some(13_001), 7_000),
    (
        "fault: enter, DATA_CREATE_UNKNOWN, enter",
        Some(26_631),
        15_000,
    ),
    ("RSI_VERSION", Some(281), 250),
    ("RSI_IPA_STATE_GET", Some(1_356), 800),
    ("RSI_MEASUREMENT_EXTEND", Some(7_302), 1_200),
    (
        "attestation token, INIT to the end",
        Some(20_646_903),
        6_000_000,
    ),
    (
        "attestation token, longest wait of an interrupt",
        Some(20_632_428),
        2_000_000,
    ),
];

/// Options of `cargo xtask bench`.
#[derive(Clone, Debug, Args)]
pub(crate) struct BenchArgs {
    /// RMM image to use in place of ours
    #[arg(long, value_name = "IMG")]
    rmm: Option<PathBuf>,
    /// File to write the figures to
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Features of QEMU's CPU to switch, such as lpa2=off,sve=off
    #[arg(long, value_name = "A=off,...", default_value = "")]
    cpu_opts: String,
    /// Seconds until a run that has not ended counts as hung
    #[arg(long, value_name = "S", default_value = "600")]
    timeout: u64,
}

/// One line of the host's report.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Figure {
    value: u64,
    unit: String,
    name: String,
}

impl Default for BenchArgs {
    fn default() -> Self {
        Self {
            rmm: None,
            json: None,
            cpu_opts: String::new(),
            timeout: 600,
        }
    }
}

/// Takes every measure, prints a table and, if asked, writes the figures to a file.
///
/// # Errors
///
/// A refusal for bad input, an error when a measure has no figure.
pub(crate) fn command(project: &Project, args: &BenchArgs) -> Result<()> {
    let report = measure(project, args)?;
    let lines = report.observed.bench();
    let figures: Vec<Figure> = lines.iter().filter_map(|line| parse(line)).collect();
    print_table(&figures);
    if let Some(file) = &args.json {
        write_json(file, &figures)?;
    }
    match report.failure {
        None => Ok(()),
        Some(reason) => bail!("{reason}; logs in {}", report.folder.display()),
    }
}

/// Takes every measure.
///
/// # Errors
///
/// A refusal for bad input, or when the machine cannot be built or started.
pub(crate) fn measure(project: &Project, args: &BenchArgs) -> Result<Report> {
    let plan = BundlePlan {
        mode: Mode::Bench,
        vcpus: 1,
        options: Options::default(),
        memory_bytes: REALM_MEMORY_BYTES,
        kernel: None,
        initramfs: None,
        test_payload: None,
        secret: run::random()?,
        command_line: String::new(),
        scenario_filter: String::new(),
    };
    let machine = Machine {
        smp: 1,
        memory_bytes: MACHINE_MEMORY_BYTES,
        has_exact_time: true,
        cpu_options: args.cpu_opts.clone(),
        extra: Vec::new(),
        timeout: Duration::from_secs(args.timeout),
        silence_limit: None,
        rmm: args.rmm.clone(),
        takes_input: false,
    };
    run::boot(project, &machine, &plan, &Expect::result_only(), "bench")
}

/// Reads `123 instructions RMI_VERSION`.
fn parse(line: &str) -> Option<Figure> {
    let mut words = line.splitn(3, ' ');
    let value = words.next()?.parse().ok()?;
    let (unit, name) = (words.next()?.to_string(), words.next()?.to_string());
    Some(Figure { value, unit, name })
}

fn print_table(figures: &[Figure]) {
    println!("instructions, not time; the goal is what ours is to be at the most");
    println!(
        "{:<50} {:>12} {:>12} {:>12}",
        "measure", "figure", "reference", "goal"
    );
    for Figure { value, unit, name } in figures {
        let goal = GOALS.iter().find(|(of, ..)| of == name);
        let show = |figure: Option<u64>| figure.map_or_else(|| "-".to_string(), |n| n.to_string());
        let reference = show(goal.and_then(|(_, reference, _)| *reference));
        let most = show(goal.map(|(.., most)| *most));
        let is_over = goal.is_some_and(|(.., most)| value > most);
        let name = if unit == "bytes" {
            format!("{name}, bytes")
        } else {
            name.clone()
        };
        let mark = if is_over { "  over" } else { "" };
        println!("{name:<50} {value:>12} {reference:>12} {most:>12}{mark}");
    }
}

/// Writes `[{"measure": ..., "unit": ..., "figure": ...}, ...]`.
fn write_json(file: &Path, figures: &[Figure]) -> Result<()> {
    let rows: Vec<String> = figures
        .iter()
        .map(|Figure { value, unit, name }| {
            format!("  {{\"measure\": {name:?}, \"unit\": {unit:?}, \"figure\": {value}}}")
        })
        .collect();
    fs::write(file, format!("[\n{}\n]\n", rows.join(",\n")))
        .with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_figures_and_nothing_else() {
        let figure = parse("1203 instructions RMI_RTT_CREATE, level 3").unwrap();
        assert_eq!(
            (figure.value, figure.name.as_str()),
            (1203, "RMI_RTT_CREATE, level 3")
        );
        assert_eq!(parse("no figure for RMI_VERSION: status 1"), None);
    }

    #[test]
    fn goals_name_measures() {
        for (name, ..) in GOALS {
            assert!(
                scenarios::bench::all().any(|measure| measure.name == *name),
                "{name}"
            );
        }
    }
}
