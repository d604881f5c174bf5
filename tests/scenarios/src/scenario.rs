// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The registry.

use rmi::CommandId;

use crate::outcome::Outcome;
use crate::world::World;

/// What a scenario proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One failure condition of the specification.
    Condition {
        /// The specification's name of it.
        condition: &'static str,
    },
    /// An order between two failure conditions.
    Order {
        /// The one whose result is reported.
        first: &'static str,
        /// The other, which holds too.
        then: &'static str,
    },
    /// A success and its footprint, or something else about the command.
    Behaviour,
    /// The life of something across commands.
    Lifecycle,
}

/// One scenario.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// `<command>_<condition>`, or another name that starts with its subject.
    pub name: &'static str,
    /// The command it is about.
    pub command: CommandId,
    /// What it proves.
    pub kind: Kind,
    /// Runs it in an empty world.
    pub run: fn(&mut World<'_>) -> Outcome,
}

/// Returns every scenario that any port can try: the Host's commands one by one, then several PEs, lives
/// and a Realm's calls.
pub fn all() -> impl Iterator<Item = &'static Scenario> {
    let more = [crate::beside::SCENARIOS, crate::lifecycle::SCENARIOS];
    let commands = crate::rmi::GROUPS.iter().copied();
    let calls = crate::rsi::GROUPS.iter().copied();
    commands.chain(more).chain(calls).flatten()
}

/// Returns the scenarios that need a machine: a Realm that executes the payload of `tests/realm`.
pub fn on_machine() -> impl Iterator<Item = &'static Scenario> {
    crate::realm::GROUPS.iter().copied().flatten()
}
