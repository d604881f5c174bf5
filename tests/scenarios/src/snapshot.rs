// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the Host can observe of a world.

use alloc::vec::Vec;

use rmi::Command;

use crate::outcome::{Outcome, Reply};
use crate::port::{GRANULE, Place};
use crate::world::{Realm, RealmPlan, World, entry_bytes, level_argument};

/// Replies of calls that change nothing. Two snapshots of a world are equal when nothing observable
/// changed between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    replies: Vec<Reply>,
    fingerprint: Option<u64>,
}

/// How deep a snapshot looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// What calls show.
    Calls,
    /// That, and everything the port can look into.
    Everything,
}

/// Granules of which a snapshot probes the state.
const PROBED: usize = 48;

impl Snapshot {
    /// Takes a snapshot.
    pub(crate) fn take(world: &mut World<'_>, depth: Depth) -> Outcome<Self> {
        let witness = world.witness()?;
        let mut replies = Vec::new();
        for realm in world.realms.clone() {
            replies.push(world.call(Command::RecAuxCount { rd: realm.rd }));
            read_roots(world, &realm, &mut replies);
        }
        for table in world.tables.clone() {
            for entry in [0, 1, 2, 511] {
                replies.push(world.call(Command::RttReadEntry {
                    rd: table.rd,
                    ipa: table.ipa + entry * entry_bytes(table.level),
                    level: level_argument(table.level),
                }));
            }
        }
        let granules: Vec<u64> = world
            .delegated_granules()
            .iter()
            .copied()
            .take(PROBED)
            .collect();
        for granule in granules {
            replies.push(world.call(Command::RecAuxCount { rd: granule }));
            replies.push(world.call(probe_delegated(&witness, granule)));
        }
        let fingerprint = match depth {
            Depth::Calls => None,
            Depth::Everything => world.port.fingerprint(),
        };
        Ok(Self {
            replies,
            fingerprint,
        })
    }
}

fn read_roots(world: &mut World<'_>, realm: &Realm, replies: &mut Vec<Reply>) {
    let size = entry_bytes(realm.start);
    for ipa in [0, size, realm.unprotected(), realm.end() - size] {
        replies.push(world.call(Command::RttReadEntry {
            rd: realm.rd,
            ipa,
            level: level_argument(realm.start),
        }));
    }
}

/// A call that fails at the walk if the granule is unused, and for another reason if it is not.
fn probe_delegated(witness: &Realm, granule: u64) -> Command {
    Command::RttCreate {
        rd: witness.rd,
        rtt: granule,
        ipa: 0,
        level: level_argument(witness.start + 1),
    }
}

impl World<'_> {
    /// Returns a Realm with one table, which only serves to ask questions.
    pub(crate) fn witness(&mut self) -> Outcome<Realm> {
        if let Some(witness) = self.witness {
            return Ok(witness);
        }
        let (create, witness) = self.prepare_realm(&RealmPlan::default())?;
        self.ok(create)?;
        self.witness = Some(witness);
        let rtt = self.delegated()?;
        let mut call = probe_delegated(&witness, rtt);
        self.ok(call)?;
        call = probe_delegated(&witness, rtt);
        self.expect(call, Reply::input())?;
        Ok(witness)
    }

    /// Says whether the Realm world has a granule without using it.
    pub fn is_delegated(&mut self, granule: u64) -> Outcome<bool> {
        let witness = self.witness()?;
        let reply = self.call(probe_delegated(&witness, granule));
        Ok(reply == Reply::rtt(witness.start))
    }

    /// Returns a granule of the Host, for what must not be delegated.
    pub fn high_delegated(&mut self) -> Outcome<u64> {
        self.need(crate::Capabilities::HIGH_MEMORY, "no memory above 2^48")?;
        self.delegated_run(1, GRANULE, Place::High)
    }
}
