// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Every step a person types: `cargo xtask <command>`.
//!
//! A command ends with exit status 0 (it did what it says), 1 (it did not; the reason is the last
//! line) or 2 (it cannot even begin: one sentence says what is wrong or missing).

#![forbid(unsafe_code)]

mod bench;
mod board;
mod check;
mod cli;
mod flash;
mod fvp;
mod guest;
mod image;
mod interrupt;
mod project;
mod refusal;
mod run;
mod setup;
mod shell;
mod size;
mod testing;
mod tfa;
mod versions;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let command = cli::Cli::parse();
    match cli::dispatch(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

fn report(error: &anyhow::Error) -> ExitCode {
    if let Some(refusal) = error.downcast_ref::<refusal::Refusal>() {
        eprintln!("xtask: {refusal}");
        ExitCode::from(2)
    } else if error.is::<refusal::Reported>() {
        ExitCode::FAILURE
    } else {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    }
}
