// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What commands do to translation tables.

use host_mm::addr::PAGE_SIZE;
use rmi::RmiError;

use super::tree::{level_size, skip_non_live, walk};
use super::{DESTROYED, Entry, FakeRmm, Node, RAM, Reply, State, done, fail, rtt};

impl FakeRmm {
    pub(super) fn rtt_create(&mut self, rd: u64, granule: u64, ipa: u64, level: i64) -> Reply {
        let ready = self.is(granule, State::Delegated);
        let Some(realm) = self.realms.get_mut(&rd) else {
            return fail(RmiError::Input);
        };
        let below_root = level > realm.root.level && level <= 3;
        if !ready || !below_root || !ipa.is_multiple_of(level_size(level - 1)) {
            return fail(RmiError::Input);
        }
        let (node, index) = walk(&mut realm.root, ipa, level - 1);
        let entry = &mut node.entries[index];
        if node.level != level - 1 || matches!(entry, Entry::Table(_)) {
            return fail(rtt(node.level));
        }
        let child = |i: u64| match &*entry {
            Entry::Assigned(pa, ripas) => Entry::Assigned(*pa + i * level_size(level), *ripas),
            Entry::AssignedNs(desc) => Entry::AssignedNs(*desc + i * level_size(level)),
            other => other.clone(),
        };
        let table = Node {
            granule,
            level,
            entries: (0..512).map(child).collect(),
        };
        *entry = Entry::Table(Box::new(table));
        self.granules.insert(granule, State::Rtt);
        done()
    }

    pub(super) fn rtt_destroy(&mut self, rd: u64, ipa: u64, level: i64) -> Reply {
        let Some(realm) = self.realms.get_mut(&rd) else {
            return fail(RmiError::Input);
        };
        let below_root = level > realm.root.level && level <= 3;
        if !below_root || !ipa.is_multiple_of(level_size(level - 1)) {
            return fail(RmiError::Input);
        }
        let protected = realm.is_protected(ipa);
        let (node, index) = walk(&mut realm.root, ipa, level - 1);
        let granule = match &node.entries[index] {
            Entry::Table(child) if node.level == level - 1 => {
                if child.entries.iter().any(Entry::keeps_table_alive) {
                    return Err((rtt(level), [0, ipa, 0, 0]));
                }
                child.granule
            }
            _ => return Err((rtt(node.level), [0, skip_non_live(node, ipa), 0, 0])),
        };
        node.entries[index] = match protected {
            true => Entry::Unassigned(DESTROYED),
            false => Entry::UnassignedNs,
        };
        let top = skip_non_live(node, ipa);
        self.granules.insert(granule, State::Delegated);
        Ok([granule, top, 0, 0])
    }

    pub(super) fn rtt_fold(&mut self, rd: u64, ipa: u64, level: i64) -> Reply {
        let Some(realm) = self.realms.get_mut(&rd) else {
            return fail(RmiError::Input);
        };
        let (node, index) = walk(&mut realm.root, ipa, level - 1);
        let stopped = node.level;
        let Entry::Table(child) = &node.entries[index] else {
            return fail(rtt(stopped));
        };
        let step = level_size(level);
        let folded = |address: u64, get: &dyn Fn(&Entry) -> Option<(u64, u64)>| {
            let aligned = address.is_multiple_of(level_size(level - 1));
            let rest = (0_u64..).zip(&child.entries);
            let kind = get(&child.entries[0]).map(|(_, kind)| kind);
            aligned
                && level >= 2
                && rest
                    .map(|(i, e)| (i, get(e)))
                    .all(|(i, e)| e == kind.map(|kind| (address + i * step, kind)))
        };
        let data = |e: &Entry| match e {
            Entry::Assigned(pa, ripas) => Some((*pa, *ripas)),
            _ => None,
        };
        let shared = |e: &Entry| match e {
            Entry::AssignedNs(desc) => Some((desc & !0xFFF, desc & 0xFFF)),
            _ => None,
        };
        let same_ripas = |ripas: u64| {
            let same = |e: &Entry| matches!(e, Entry::Unassigned(r) if *r == ripas);
            child.entries.iter().all(same)
        };
        let first = child.entries[0].clone();
        let homogeneous = match &first {
            Entry::Assigned(pa, _) => folded(*pa, &data),
            Entry::AssignedNs(desc) => folded(desc & !0xFFF, &shared),
            Entry::Unassigned(ripas) => same_ripas(*ripas),
            Entry::UnassignedNs => {
                let same = |e: &Entry| matches!(e, Entry::UnassignedNs);
                child.entries.iter().all(same)
            }
            Entry::Table(_) => false,
        };
        if stopped != level - 1 || !homogeneous {
            return fail(rtt(if stopped == level - 1 { level } else { stopped }));
        }
        let granule = child.granule;
        node.entries[index] = first;
        self.granules.insert(granule, State::Delegated);
        Ok([granule, 0, 0, 0])
    }

    pub(super) fn map_unprotected(&mut self, rd: u64, ipa: u64, level: i64, desc: u64) -> Reply {
        let Some(realm) = self.realms.get_mut(&rd) else {
            return fail(RmiError::Input);
        };
        let aligned = ipa.is_multiple_of(level_size(level));
        let attributes = desc & !0xFFFF_FFFF_F000;
        if !aligned
            || realm.is_protected(ipa)
            || attributes & !0xDC != 0
            || attributes & 0x1C == 0x10
        {
            return fail(RmiError::Input);
        }
        let (node, index) = walk(&mut realm.root, ipa, level);
        if node.level != level || !matches!(node.entries[index], Entry::UnassignedNs) {
            return fail(rtt(node.level));
        }
        node.entries[index] = Entry::AssignedNs(desc);
        done()
    }

    pub(super) fn unmap_unprotected(&mut self, rd: u64, ipa: u64, level: i64) -> Reply {
        let Some(realm) = self.realms.get_mut(&rd) else {
            return fail(RmiError::Input);
        };
        let bound = ipa < 1 << realm.width && !realm.is_protected(ipa);
        if !bound || !ipa.is_multiple_of(level_size(level)) {
            return fail(RmiError::Input);
        }
        let (node, index) = walk(&mut realm.root, ipa, level);
        if node.level != level || !matches!(node.entries[index], Entry::AssignedNs(_)) {
            return Err((rtt(node.level), [skip_non_live(node, ipa), 0, 0, 0]));
        }
        node.entries[index] = Entry::UnassignedNs;
        Ok([skip_non_live(node, ipa), 0, 0, 0])
    }

    pub(super) fn read_entry(&mut self, rd: u64, ipa: u64, level: i64) -> Reply {
        let Some(realm) = self.realms.get_mut(&rd) else {
            return fail(RmiError::Input);
        };
        let (node, index) = walk(&mut realm.root, ipa, level);
        let (state, desc, ripas) = match &node.entries[index] {
            Entry::Unassigned(ripas) => (0, 0, *ripas),
            Entry::Assigned(pa, ripas) => (1, *pa, *ripas),
            Entry::UnassignedNs => (0, 0, 0),
            Entry::AssignedNs(desc) => (1, *desc, 0),
            Entry::Table(child) => (2, child.granule, 0),
        };
        Ok([node.level.cast_unsigned(), state, desc, ripas])
    }

    pub(super) fn init_ripas(&mut self, rd: u64, base: u64, top: u64) -> Reply {
        let Some(realm) = self.realms.get_mut(&rd) else {
            return fail(RmiError::Input);
        };
        if top <= base || !realm.is_protected(top - PAGE_SIZE) {
            return fail(RmiError::Input);
        }
        if realm.active {
            return fail(RmiError::Realm(0));
        }
        let (node, index) = walk(&mut realm.root, base, 3);
        let (level, size) = (node.level, node.size());
        if !base.is_multiple_of(size) || !matches!(node.entries[index], Entry::Unassigned(_)) {
            return fail(rtt(level));
        }
        let mut at = base;
        for entry in &mut node.entries[index..index / 512 * 512 + 512] {
            if !matches!(entry, Entry::Unassigned(_)) || at + size > top {
                break;
            }
            *entry = Entry::Unassigned(RAM);
            at += size;
        }
        if at == base {
            return fail(rtt(level));
        }
        Ok([at, 0, 0, 0])
    }

    pub(super) fn set_ripas(&mut self, rd: u64, rec: u64, base: u64, top: u64) -> Reply {
        let keep_destroyed = self.keep_destroyed;
        let Some((from, to, ripas)) = self.requests.get(&rec).copied() else {
            return fail(RmiError::Input);
        };
        let Some(realm) = self.realms.get_mut(&rd) else {
            return fail(RmiError::Input);
        };
        if top <= base || base != from || top > to {
            return fail(RmiError::Input);
        }
        let (node, index) = walk(&mut realm.root, base, 3);
        let (level, size) = (node.level, node.size());
        if !base.is_multiple_of(size) {
            return fail(rtt(level));
        }
        let mut at = base;
        for entry in &mut node.entries[index..index / 512 * 512 + 512] {
            let old = match entry {
                Entry::Unassigned(ripas) | Entry::Assigned(_, ripas) => ripas,
                _ => break,
            };
            if at + size > top || (*old == DESTROYED && keep_destroyed) {
                break;
            }
            *old = ripas;
            at += size;
        }
        if at == base {
            return fail(rtt(level));
        }
        self.requests.insert(rec, (at, to, ripas));
        Ok([at, 0, 0, 0])
    }
}
