// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Taking everything down with RMI calls.

use rmi::Command;

use super::{Realm, World, entry_bytes, level_argument};
use crate::check;
use crate::outcome::Outcome;
use crate::port::{Capabilities, GRANULE};

const UNASSIGNED: u64 = 0;
const ASSIGNED: u64 = 1;

impl World<'_> {
    /// Destroys every Realm of this world, takes every granule back and checks that nothing of what the
    /// Realm world had in them can be read.
    pub fn teardown(&mut self) -> Outcome {
        let secure = core::mem::take(&mut self.secure);
        for granule in secure {
            self.port.make_non_secure(granule);
        }
        self.port.fault_after(None);
        let recs = core::mem::take(&mut self.recs);
        for (_, rec) in recs {
            self.call(Command::RecDestroy { rec: rec.rec });
        }
        let mut realms = core::mem::take(&mut self.realms);
        realms.extend(self.witness.take());
        for realm in realms {
            self.destroy_realm(&realm)?;
        }
        let delegated = core::mem::take(&mut self.delegated);
        for addr in delegated {
            self.ok(Command::GranuleUndelegate { addr })?;
            let mut page = [0; GRANULE as usize];
            let read = self.port.read(addr, &mut page);
            check!(read.is_ok(), "{addr:#x} is not the Host's again");
            check!(page == [0; 4096], "{addr:#x} came back with contents");
        }
        while let Some(&(first, granules)) = self.runs.last() {
            if self.port.capabilities().contains(Capabilities::SAFE_READ) {
                for n in 0..granules as u64 {
                    let mut word = [0; 8];
                    let read = self.port.read(first + n * GRANULE, &mut word);
                    check!(read.is_ok(), "{first:#x}+{n} was lost to the Realm world");
                }
            }
            self.port.give_back(first, granules);
            self.runs.pop();
        }
        self.port.audit().map_err(crate::Stop::Failed)
    }

    /// Destroys all that a Realm has and the Realm itself. Its RECs are gone already.
    pub fn destroy_realm(&mut self, realm: &Realm) -> Outcome {
        self.realms.retain(|other| other.rd != realm.rd);
        self.tables.retain(|table| table.rd != realm.rd);
        self.clear(realm, 0, realm.end(), realm.start)?;
        self.ok(Command::RealmDestroy { rd: realm.rd })?;
        Ok(())
    }

    /// Empties the protected half of a Realm.
    pub(crate) fn clear_protected(&mut self, realm: &Realm) -> Outcome {
        self.clear(realm, 0, realm.unprotected(), realm.start)
    }

    /// Empties the part [ipa, end) of a Realm, whose entries are in tables of `level`, or in several
    /// starting tables.
    fn clear(&mut self, realm: &Realm, mut ipa: u64, end: u64, level: i64) -> Outcome {
        let rd = realm.rd;
        while ipa < end {
            let entry = self.read_entry(realm, ipa, level)?;
            let next = match entry.output(2) {
                UNASSIGNED => self.next_live(realm, ipa, level),
                ASSIGNED if ipa >= realm.unprotected() => {
                    let level = level_argument(level);
                    self.ok(Command::RttUnmapUnprotected { rd, ipa, level })?
                        .output(1)
                }
                ASSIGNED if level == 3 => self.ok(Command::DataDestroy { rd, ipa })?.output(2),
                ASSIGNED => {
                    // A block: unfold it and come again.
                    self.table(realm, ipa, level + 1)?;
                    ipa
                }
                _ => {
                    self.clear(realm, ipa, ipa + entry_bytes(level), level + 1)?;
                    let level = level_argument(level + 1);
                    self.ok(Command::RttDestroy { rd, ipa, level })?.output(2)
                }
            };
            let may_stay = entry.output(2) == ASSIGNED && level < 3;
            check!(
                next > ipa || may_stay,
                "the table of {ipa:#x} at level {level} cannot be emptied"
            );
            ipa = next;
        }
        Ok(())
    }

    /// Returns the next live entry of the table, as failing calls tell it.
    fn next_live(&mut self, realm: &Realm, ipa: u64, level: i64) -> u64 {
        let rd = realm.rd;
        let top = if ipa < realm.unprotected() {
            self.call(Command::DataDestroy { rd, ipa }).output(2)
        } else {
            let level = level_argument(level.max(1));
            self.call(Command::RttUnmapUnprotected { rd, ipa, level })
                .output(1)
        };
        top.max(ipa + entry_bytes(level))
    }
}
