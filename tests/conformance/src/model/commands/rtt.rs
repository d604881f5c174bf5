// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What becomes of tables and of the Host's memory in them.

use scenarios::Reply;

use super::{RD, reach};
use crate::model::tree::{Entry, desc_address, size};
use crate::model::verdict::Verdict;
use crate::model::{Model, Realm, Use};

impl Model {
    /// Notes what is wrong with the level and address of an entry or, with `by_child`, of a table.
    fn placed(&self, v: &mut Verdict, realm: &Realm, ipa: u64, level: i64, by_child: i64) -> bool {
        let entry_level = level.checked_sub(by_child);
        let entry_level = entry_level.filter(|level| realm.tree.has_level(*level));
        let is_level = entry_level.is_some() && level <= 3;
        v.input_if(!is_level, "level_bound");
        if let Some(entry_level) = entry_level.filter(|_| is_level) {
            v.input_if(!ipa.is_multiple_of(size(entry_level)), "ipa_align");
        }
        v.input_if(ipa >= realm.tree.end(), "ipa_bound");
        is_level && ipa < realm.tree.end()
    }

    pub(super) fn rtt_create(
        &mut self,
        rd: u64,
        rtt: u64,
        ipa: u64,
        level: i64,
        v: &mut Verdict,
    ) -> Option<Reply> {
        self.named(v, RD, rd, Use::Rd);
        self.named(
            v,
            ["rtt_align", "rtt_bound", "rtt_state"],
            rtt,
            Use::Delegated,
        );
        let realm = self.realms.get(&rd)?;
        v.input_if(!realm.tree.is_lpa2 && rtt >= 1 << 48, "rtt_bound2");
        if self.placed(v, realm, ipa, level, 1) {
            let is_free = |entry| !matches!(entry, Entry::Table { .. });
            reach(v, realm, (ipa, level - 1), None, is_free);
        }
        if !v.is_empty() {
            return None;
        }
        self.set_use(rtt, Use::Rtt);
        self.realms.get_mut(&rd)?.tree.unfold(level, ipa, rtt);
        Some(Reply::SUCCESS)
    }

    /// Finds the table that a command takes away, or notes why there is none.
    fn child(
        &self,
        v: &mut Verdict,
        realm: &Realm,
        (ipa, level): (u64, i64),
        top: Option<usize>,
    ) -> Option<u64> {
        if !self.placed(v, realm, ipa, level, 1) {
            return None;
        }
        let is_table = |entry| matches!(entry, Entry::Table { .. });
        match reach(v, realm, (ipa, level - 1), top, is_table)? {
            Entry::Table { pa } => Some(pa),
            _ => None,
        }
    }

    pub(super) fn rtt_destroy(
        &mut self,
        rd: u64,
        ipa: u64,
        level: i64,
        v: &mut Verdict,
    ) -> Option<Reply> {
        let realm = self.realm_named(v, rd)?;
        let pa = self.child(v, realm, (ipa, level), Some(2))?;
        if v.is_empty() && realm.tree.is_table_live(level, ipa) {
            v.add("rtt_live", Reply::rtt(level).with(2, ipa));
        }
        if !v.is_empty() {
            return None;
        }
        let entry = if realm.tree.is_protected(ipa) {
            Entry::Unassigned { ripas: 2 }
        } else {
            Entry::UnassignedNs
        };
        let tree = &mut self.realms.get_mut(&rd)?.tree;
        tree.remove(level, ipa, entry);
        let top = tree.skip_non_live(level - 1, ipa);
        self.set_use(pa, Use::Delegated);
        Some(Reply::SUCCESS.with(1, pa).with(2, top))
    }

    pub(super) fn rtt_fold(
        &mut self,
        rd: u64,
        ipa: u64,
        level: i64,
        v: &mut Verdict,
    ) -> Option<Reply> {
        let realm = self.realm_named(v, rd)?;
        let pa = self.child(v, realm, (ipa, level), None)?;
        if !v.is_empty() {
            return None;
        }
        let Some(entry) = realm.tree.folded(level, ipa) else {
            v.add("rtt_homo", Reply::rtt(level));
            return None;
        };
        self.realms.get_mut(&rd)?.tree.remove(level, ipa, entry);
        self.set_use(pa, Use::Delegated);
        Some(Reply::SUCCESS.with(1, pa))
    }

    /// Notes what is wrong with the place of memory of the Host.
    fn placed_ns(&self, v: &mut Verdict, realm: &Realm, ipa: u64, level: i64) -> bool {
        let is_level = (1..=3).contains(&level) && realm.tree.has_level(level);
        v.input_if(!is_level, "level_bound");
        if is_level {
            v.input_if(!ipa.is_multiple_of(size(level)), "ipa_align");
        }
        let is_bound = ipa < realm.tree.end() && ipa >= realm.tree.half();
        v.input_if(!is_bound, "ipa_bound");
        is_level && is_bound
    }

    pub(super) fn map(
        &mut self,
        rd: u64,
        ipa: u64,
        level: i64,
        desc: u64,
        v: &mut Verdict,
    ) -> Option<Reply> {
        let realm = self.realm_named(v, rd)?;
        let address_bits = if realm.tree.is_lpa2 {
            0x0003_FFFF_FFFF_F300
        } else {
            0x0000_FFFF_FFFF_F000
        };
        let is_valid = desc & !(address_bits | 0xDC) == 0 && desc >> 2 & 7 != 0b100;
        v.input_if(!is_valid, "attr_valid");
        if (1..=3).contains(&level) {
            v.input_if(
                !desc_address(desc).is_multiple_of(size(level)),
                "addr_align",
            );
        }
        if self.placed_ns(v, realm, ipa, level) {
            let is_free = |entry| entry == Entry::UnassignedNs;
            reach(v, realm, (ipa, level), None, is_free);
        }
        if !v.is_empty() {
            return None;
        }
        let tree = &mut self.realms.get_mut(&rd)?.tree;
        tree.set(level, ipa, Entry::AssignedNs { desc });
        Some(Reply::SUCCESS)
    }

    pub(super) fn unmap(
        &mut self,
        rd: u64,
        ipa: u64,
        level: i64,
        v: &mut Verdict,
    ) -> Option<Reply> {
        let realm = self.realm_named(v, rd)?;
        if self.placed_ns(v, realm, ipa, level) {
            let is_mapped = |entry| matches!(entry, Entry::AssignedNs { .. });
            reach(v, realm, (ipa, level), Some(1), is_mapped);
        }
        if !v.is_empty() {
            return None;
        }
        let tree = &mut self.realms.get_mut(&rd)?.tree;
        tree.set(level, ipa, Entry::UnassignedNs);
        Some(Reply::SUCCESS.with(1, tree.skip_non_live(level, ipa)))
    }

    pub(super) fn read_entry(
        &self,
        rd: u64,
        ipa: u64,
        level: i64,
        v: &mut Verdict,
    ) -> Option<Reply> {
        let realm = self.realm_named(v, rd)?;
        self.placed(v, realm, ipa, level, 0);
        if !v.is_empty() {
            return None;
        }
        let found = realm.tree.walk(ipa, level);
        let split = |pa: u64| {
            if realm.tree.is_lpa2 {
                pa & 0x0003_FFFF_FFFF_F000 | (pa >> 50 & 3) << 8
            } else {
                pa
            }
        };
        let (state, desc, ripas) = match found.entry {
            Entry::Unassigned { ripas } => (0, 0, ripas),
            Entry::Assigned { pa, ripas } => (1, split(pa), ripas),
            Entry::UnassignedNs => (0, 0, 0),
            Entry::AssignedNs { desc } => (1, desc, 0),
            Entry::Table { pa } => (2, split(pa), 0),
        };
        let reply = Reply::SUCCESS.with(1, found.level.cast_unsigned());
        Some(reply.with(2, state).with(3, desc).with(4, ripas.into()))
    }
}
