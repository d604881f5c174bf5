// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What walks came across, so that a walk that never tried something cannot pass for one that did.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use rmi::CommandId;
use scenarios::Reply;
use scenarios::spec::SPEC;

/// The status columns of the report.
const STATUSES: [&str; 6] = ["SUCCESS", "INPUT", "REALM", "REC", "RTT", "other"];

/// What a granule, a Realm or an exit can be, each of which a long walk has to meet.
const KINDS: [&str; 19] = [
    "granule Undelegated",
    "granule Delegated",
    "granule Rd",
    "granule Rec",
    "granule RecAux",
    "granule Data",
    "granule Rtt",
    "Realm New",
    "Realm Active",
    "Realm Off",
    "exit Waits",
    "exit Psci",
    "exit Ripas",
    "exit HostCall",
    "exit DataAbort",
    "exit InstructionAbort",
    "block Assigned",
    "block AssignedNs",
    "table of level 3",
];

/// Conditions that one PE alone, or these machines, cannot bring about by themselves.
const OUT_OF_REACH: [(CommandId, &str); 7] = [
    // Another PE has to run the REC meanwhile; `tests/threads.rs` and the scenarios do that.
    (CommandId::RecDestroy, "rec_state"),
    (CommandId::RecEnter, "rec_state"),
    (CommandId::RttSetRipas, "rec_state"),
    // A Realm has room for more RECs than these machines have granules; a scenario fills one.
    (CommandId::RecCreate, "num_recs"),
    // An entry that is in use makes no progress either.
    (CommandId::RttInitRipas, "rtte_state"),
    // A REC that asks for itself is answered at once, so `target` holds too.
    (CommandId::PsciComplete, "alias"),
    // Bits of the address that a Realm without LPA2 cannot have break `attr_valid` too.
    (CommandId::RttMapUnprotected, "addr_bound"),
];

/// Counts of what happened.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    statuses: BTreeMap<(usize, usize), usize>,
    /// Failures that only this condition of the command explains.
    conditions: BTreeMap<(usize, &'static str), usize>,
    kinds: BTreeSet<String>,
}

impl Coverage {
    /// Notes a reply and the conditions that explain it: none of a success.
    pub(super) fn note(&mut self, id: CommandId, reply: &Reply, conditions: &[&'static str]) {
        let status = usize::try_from(reply.x0() & 0xFF).unwrap_or(usize::MAX);
        let column = status.min(STATUSES.len() - 1);
        *self.statuses.entry((id.index(), column)).or_default() += 1;
        if let [condition] = conditions {
            *self.conditions.entry((id.index(), condition)).or_default() += 1;
        }
    }

    /// Notes one of the kinds of things there are.
    pub(super) fn note_kind(&mut self, kind: String) {
        self.kinds.insert(kind);
    }

    /// Adds what another walk came across.
    pub fn add(&mut self, other: &Self) {
        for (key, count) in &other.statuses {
            *self.statuses.entry(*key).or_default() += count;
        }
        for (key, count) in &other.conditions {
            *self.conditions.entry(*key).or_default() += count;
        }
        self.kinds.extend(other.kinds.iter().cloned());
    }

    /// Returns what a long walk has to come across and these did not: each command's success, each
    /// failure condition as the only explanation of a failure, each kind of thing.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for spec in SPEC {
            let (id, name) = (spec.command, spec.command.name());
            if !self.statuses.contains_key(&(id.index(), 0)) {
                missing.push(format!("{name} never succeeded"));
            }
            let unseen = spec.conditions.iter().filter(|condition| {
                !OUT_OF_REACH.contains(&(id, condition))
                    && !self.conditions.contains_key(&(id.index(), *condition))
            });
            missing.extend(unseen.map(|condition| format!("{name} never failed on {condition}")));
        }
        let unseen = KINDS.iter().filter(|kind| !self.kinds.contains(**kind));
        missing.extend(unseen.map(|kind| format!("no {kind}")));
        missing
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:26}", "command")?;
        for status in STATUSES {
            write!(f, "{status:>9}")?;
        }
        writeln!(f, "  failures on one condition alone")?;
        for spec in SPEC {
            let row = spec.command.index();
            write!(f, "{:26}", spec.command.name())?;
            for column in 0..STATUSES.len() {
                let count = self.statuses.get(&(row, column)).unwrap_or(&0);
                write!(f, "{count:>9}")?;
            }
            for condition in spec.conditions {
                let count = self.conditions.get(&(row, *condition)).unwrap_or(&0);
                write!(f, "  {condition} {count}")?;
            }
            writeln!(f)?;
        }
        let kinds: Vec<&str> = self.kinds.iter().map(String::as_str).collect();
        writeln!(f, "came across: {}", kinds.join(", "))
    }
}
