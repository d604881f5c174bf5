// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What calls cost, in ticks of the counter.
//!
//! Each measure builds what it needs in an empty world and counts one call, or some that belong together.
//! The port says how long a call took; calls of a Realm are counted in the Realm. Where the counter moves
//! with each instruction, the figures are exactly repeatable.

mod host;
mod realm;

use alloc::string::String;

use rmi::Command;

use crate::outcome::{Outcome, Stop};
use crate::port::RmiPort;
use crate::run::in_world;
use crate::world::World;

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Ticks of the counter.
    Ticks,
    /// Bytes of memory.
    Bytes,
}

/// One figure and the way to it.
#[derive(Clone, Copy, Debug)]
pub struct Measure {
    /// The call, and which case of it.
    pub name: &'static str,
    /// What the figure counts.
    pub unit: Unit,
    run: fn(&mut World<'_>) -> Outcome<u64>,
}

const fn ticks(name: &'static str, run: fn(&mut World<'_>) -> Outcome<u64>) -> Measure {
    let unit = Unit::Ticks;
    Measure { name, unit, run }
}

const fn bytes(name: &'static str, run: fn(&mut World<'_>) -> Outcome<u64>) -> Measure {
    let unit = Unit::Bytes;
    Measure { name, unit, run }
}

/// Returns every measure.
pub fn all() -> impl Iterator<Item = &'static Measure> {
    host::MEASURES.iter().chain(realm::MEASURES)
}

/// Takes one measure and takes down what it made.
///
/// # Errors
///
/// Why there is no figure.
pub fn measure(port: &mut dyn RmiPort, measure: &Measure) -> Result<u64, String> {
    in_world(port, measure.run).map_err(|stop| match stop {
        Stop::Failed(reason) | Stop::Skipped(reason) => reason,
    })
}

/// Makes a call that has to succeed and returns how long it took.
fn count(w: &mut World<'_>, command: Command) -> Outcome<u64> {
    w.ok(command)?;
    last_call(w)
}

/// Returns how long the last call took.
fn last_call(w: &World<'_>) -> Outcome<u64> {
    let none = || Stop::Skipped("the port has no counter".into());
    w.port.ticks().ok_or_else(none)
}
