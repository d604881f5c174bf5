// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A small RMM: granule states and Realm translation tables as the specification describes them,
//! without Realms that run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use host_mm::addr::PAGE_SIZE;
use rmi::{Command, RmiError, RttLevel};

use crate::machine::Dram;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Delegated,
    Rd,
    Rec,
    Rtt,
    Data,
}

pub(crate) const EMPTY: u64 = 0;
pub(crate) const RAM: u64 = 1;
pub(crate) const DESTROYED: u64 = 2;

#[derive(Clone, Debug)]
pub(crate) enum Entry {
    Unassigned(u64),
    Assigned(u64, u64),
    UnassignedNs,
    AssignedNs(u64),
    Table(Box<Node>),
}

impl Entry {
    fn is_live(&self) -> bool {
        !matches!(self, Self::Unassigned(_) | Self::UnassignedNs)
    }

    fn keeps_table_alive(&self) -> bool {
        matches!(self, Self::Assigned(..) | Self::Table(_))
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    granule: u64,
    level: i64,
    entries: Vec<Entry>,
}

impl Node {
    fn size(&self) -> u64 {
        level_size(self.level)
    }

    fn index(&self, ipa: u64) -> usize {
        usize::try_from(ipa / self.size()).unwrap() % self.entries.len()
    }
}

fn level_size(level: i64) -> u64 {
    1 << (12 + 9 * (3 - level))
}

/// Follows tables until `to` or an entry that is none.
fn walk(root: &mut Node, ipa: u64, to: i64) -> (&mut Node, usize) {
    let mut node = root;
    loop {
        let index = node.index(ipa);
        if node.level == to || !matches!(node.entries[index], Entry::Table(_)) {
            return (node, index);
        }
        node = match &mut node.entries[index] {
            Entry::Table(child) => child,
            _ => unreachable!(),
        };
    }
}

/// First live entry from `ipa` on in this 4 KiB table, or its end.
fn skip_non_live(node: &Node, ipa: u64) -> u64 {
    let index = node.index(ipa);
    let base = ipa / node.size() * node.size();
    let left = 512 - index % 512;
    let live = (0..left).find(|i| node.entries[index + i].is_live());
    base + u64::try_from(live.unwrap_or(left)).unwrap() * node.size()
}

#[derive(Debug)]
pub(crate) struct RealmState {
    pub(crate) width: u32,
    root: Node,
    root_count: u64,
    pub(crate) active: bool,
    pub(crate) recs: u64,
}

impl RealmState {
    fn is_protected(&self, ipa: u64) -> bool {
        ipa < 1 << (self.width - 1)
    }
}

#[derive(Debug, Default)]
pub(crate) struct FakeRmm {
    pub(crate) granules: BTreeMap<u64, State>,
    pub(crate) realms: BTreeMap<u64, RealmState>,
    recs: BTreeMap<u64, u64>,
    /// Granules that undelegate refuses.
    pub(crate) stuck: BTreeSet<u64>,
    /// Pages that delegate refuses.
    pub(crate) refused: BTreeSet<u64>,
    /// The RIPAS request of each REC: base, top, value.
    pub(crate) requests: BTreeMap<u64, (u64, u64, u64)>,
    /// Whether Realms permit leaving DESTROYED.
    pub(crate) keep_destroyed: bool,
    /// Do not wipe data: an RMM with a bug.
    pub(crate) leaky: bool,
}

type Reply = Result<[u64; 4], (RmiError, [u64; 4])>;

fn fail(error: RmiError) -> Reply {
    Err((error, [0; 4]))
}

fn rtt(level: i64) -> RmiError {
    RmiError::Rtt(RttLevel::new(level).unwrap())
}

fn done() -> Reply {
    Ok([0; 4])
}

impl FakeRmm {
    pub(crate) fn call(&mut self, dram: &Dram, registers: [u64; 8]) -> [u64; 8] {
        let command = Command::decode(&registers).expect("a known command");
        let (x0, outputs) = match self.run(dram, command) {
            Ok(outputs) => (0, outputs),
            Err((error, outputs)) => (error.pack(), outputs),
        };
        let [a, b, c, d] = outputs;
        [x0, a, b, c, d, 0, 0, 0]
    }

    /// The entry at `ipa`, for tests: level and copy.
    pub(crate) fn entry(&mut self, rd: u64, ipa: u64) -> (i64, Entry) {
        let realm = self.realms.get_mut(&rd).unwrap();
        let (node, index) = walk(&mut realm.root, ipa, 3);
        (node.level, node.entries[index].clone())
    }

    /// The physical address that `ipa` reaches, when the Realm may use it.
    pub(crate) fn translate(&mut self, rd: u64, ipa: u64) -> Option<u64> {
        let (level, entry) = self.entry(rd, ipa);
        let offset = ipa % level_size(level);
        match entry {
            Entry::Assigned(pa, RAM) => Some(pa + offset),
            Entry::AssignedNs(desc) => Some((desc & 0xFFFF_FFFF_F000) + offset),
            _ => None,
        }
    }

    fn is(&self, address: u64, state: State) -> bool {
        address.is_multiple_of(PAGE_SIZE) && self.granules.get(&address) == Some(&state)
    }

    fn run(&mut self, dram: &Dram, command: Command) -> Reply {
        match command {
            Command::GranuleDelegate { addr } => self.delegate(dram, addr),
            Command::GranuleUndelegate { addr } => self.undelegate(dram, addr),
            Command::RealmCreate { rd, params_ptr } => self.realm_create(dram, rd, params_ptr),
            Command::RealmActivate { rd } => self.realm_activate(rd),
            Command::RealmDestroy { rd } => self.realm_destroy(dram, rd),
            Command::RecAuxCount { .. } => Ok([2, 0, 0, 0]),
            Command::RecCreate { rd, rec, .. } => self.rec_create(rd, rec),
            Command::RecDestroy { rec } => self.rec_destroy(rec),
            Command::DataCreate {
                rd, data, ipa, src, ..
            } => self.data_create(dram, rd, data, ipa, Some(src)),
            Command::DataCreateUnknown { rd, data, ipa } => {
                self.data_create(dram, rd, data, ipa, None)
            }
            Command::DataDestroy { rd, ipa } => self.data_destroy(dram, rd, ipa),
            Command::RttCreate {
                rd,
                rtt,
                ipa,
                level,
            } => self.rtt_create(rd, rtt, ipa, level.cast_signed()),
            Command::RttDestroy { rd, ipa, level } => {
                self.rtt_destroy(rd, ipa, level.cast_signed())
            }
            Command::RttFold { rd, ipa, level } => self.rtt_fold(rd, ipa, level.cast_signed()),
            Command::RttMapUnprotected {
                rd,
                ipa,
                level,
                desc,
            } => self.map_unprotected(rd, ipa, level.cast_signed(), desc),
            Command::RttUnmapUnprotected { rd, ipa, level } => {
                self.unmap_unprotected(rd, ipa, level.cast_signed())
            }
            Command::RttReadEntry { rd, ipa, level } => {
                self.read_entry(rd, ipa, level.cast_signed())
            }
            Command::RttInitRipas { rd, base, top } => self.init_ripas(rd, base, top),
            Command::RttSetRipas { rd, rec, base, top } => self.set_ripas(rd, rec, base, top),
            other => panic!("{other:?} is beyond this RMM"),
        }
    }

    fn delegate(&mut self, dram: &Dram, addr: u64) -> Reply {
        let free = !self.granules.contains_key(&addr);
        if !free || !dram.is_delegable(addr) || self.refused.contains(&addr) {
            return fail(RmiError::Input);
        }
        dram.set_realm(addr, true);
        dram.wipe(addr);
        self.granules.insert(addr, State::Delegated);
        done()
    }

    fn undelegate(&mut self, dram: &Dram, addr: u64) -> Reply {
        if !self.is(addr, State::Delegated) || self.stuck.contains(&addr) {
            return fail(RmiError::Input);
        }
        self.granules.remove(&addr);
        dram.set_realm(addr, false);
        done()
    }

    /// The parameter page of these tests: width, starting level, log2 of the number of tables,
    /// first table, as four 64-bit words.
    fn realm_create(&mut self, dram: &Dram, rd: u64, params: u64) -> Reply {
        let word = |i: usize| dram.any_words(params)[i].load(Ordering::SeqCst);
        let (width, level, order, base) = (word(0), word(1).cast_signed(), word(2), word(3));
        let roots: Vec<_> = (0..1 << order).map(|i| base + i * PAGE_SIZE).collect();
        let aligned = base.is_multiple_of(PAGE_SIZE << order);
        let ready = roots.iter().all(|root| self.is(*root, State::Delegated));
        if !self.is(rd, State::Delegated) || !ready || !aligned {
            return fail(RmiError::Input);
        }
        roots
            .iter()
            .for_each(|root| _ = self.granules.insert(*root, State::Rtt));
        self.granules.insert(rd, State::Rd);
        let width = u32::try_from(width).unwrap();
        let count = usize::try_from((1_u64 << width) / level_size(level)).unwrap();
        let half = count / 2;
        let entries = (0..count).map(|i| match i < half {
            true => Entry::Unassigned(EMPTY),
            false => Entry::UnassignedNs,
        });
        let root = Node {
            granule: base,
            level,
            entries: entries.collect(),
        };
        let realm = RealmState {
            width,
            root,
            root_count: 1 << order,
            active: false,
            recs: 0,
        };
        self.realms.insert(rd, realm);
        done()
    }

    fn realm_activate(&mut self, rd: u64) -> Reply {
        match self.realms.get_mut(&rd) {
            Some(realm) if !realm.active => realm.active = true,
            Some(_) => return fail(RmiError::Realm(0)),
            None => return fail(RmiError::Input),
        }
        done()
    }

    fn realm_destroy(&mut self, dram: &Dram, rd: u64) -> Reply {
        let Some(realm) = self.realms.get(&rd) else {
            return fail(RmiError::Input);
        };
        if realm.recs != 0 || realm.root.entries.iter().any(Entry::keeps_table_alive) {
            return fail(RmiError::Realm(0));
        }
        for i in 0..realm.root_count {
            self.granules
                .insert(realm.root.granule + i * PAGE_SIZE, State::Delegated);
        }
        self.granules.insert(rd, State::Delegated);
        dram.wipe(rd);
        self.realms.remove(&rd);
        done()
    }

    fn rec_create(&mut self, rd: u64, rec: u64) -> Reply {
        let Some(realm) = self.realms.get_mut(&rd) else {
            return fail(RmiError::Input);
        };
        if realm.active {
            return fail(RmiError::Realm(0));
        }
        if self.granules.get(&rec) != Some(&State::Delegated) {
            return fail(RmiError::Input);
        }
        realm.recs += 1;
        self.granules.insert(rec, State::Rec);
        self.recs.insert(rec, rd);
        done()
    }

    fn rec_destroy(&mut self, rec: u64) -> Reply {
        let Some(rd) = self.recs.remove(&rec) else {
            return fail(RmiError::Input);
        };
        self.realms.get_mut(&rd).unwrap().recs -= 1;
        self.granules.insert(rec, State::Delegated);
        done()
    }

    fn data_create(
        &mut self,
        dram: &Dram,
        rd: u64,
        data: u64,
        ipa: u64,
        src: Option<u64>,
    ) -> Reply {
        let ready = self.is(data, State::Delegated);
        let Some(realm) = self.realms.get_mut(&rd) else {
            return fail(RmiError::Input);
        };
        if !ready || !ipa.is_multiple_of(PAGE_SIZE) || !realm.is_protected(ipa) {
            return fail(RmiError::Input);
        }
        if src.is_some() && realm.active {
            return fail(RmiError::Realm(0));
        }
        let (node, index) = walk(&mut realm.root, ipa, 3);
        let ripas = match node.entries[index] {
            Entry::Unassigned(ripas) if node.level == 3 => ripas,
            _ => return fail(rtt(node.level)),
        };
        let ripas = if src.is_some() { RAM } else { ripas };
        node.entries[index] = Entry::Assigned(data, ripas);
        dram.wipe(data);
        if let Some(src) = src {
            for (to, from) in dram.any_words(data).iter().zip(dram.any_words(src)) {
                to.store(from.load(Ordering::SeqCst), Ordering::SeqCst);
            }
        }
        self.granules.insert(data, State::Data);
        done()
    }

    fn data_destroy(&mut self, dram: &Dram, rd: u64, ipa: u64) -> Reply {
        let Some(realm) = self.realms.get_mut(&rd) else {
            return fail(RmiError::Input);
        };
        if !ipa.is_multiple_of(PAGE_SIZE) || !realm.is_protected(ipa) {
            return fail(RmiError::Input);
        }
        let (node, index) = walk(&mut realm.root, ipa, 3);
        let (pa, ripas) = match node.entries[index] {
            Entry::Assigned(pa, ripas) if node.level == 3 => (pa, ripas),
            _ => return Err((rtt(node.level), [0, skip_non_live(node, ipa), 0, 0])),
        };
        let ripas = if ripas == RAM { DESTROYED } else { ripas };
        node.entries[index] = Entry::Unassigned(ripas);
        let top = skip_non_live(node, ipa);
        self.granules.insert(pa, State::Delegated);
        if !self.leaky {
            dram.wipe(pa);
        }
        Ok([pa, top, 0, 0])
    }

    fn rtt_create(&mut self, rd: u64, granule: u64, ipa: u64, level: i64) -> Reply {
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

    fn rtt_destroy(&mut self, rd: u64, ipa: u64, level: i64) -> Reply {
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

    fn rtt_fold(&mut self, rd: u64, ipa: u64, level: i64) -> Reply {
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

    fn map_unprotected(&mut self, rd: u64, ipa: u64, level: i64, desc: u64) -> Reply {
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

    fn unmap_unprotected(&mut self, rd: u64, ipa: u64, level: i64) -> Reply {
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

    fn read_entry(&mut self, rd: u64, ipa: u64, level: i64) -> Reply {
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

    fn init_ripas(&mut self, rd: u64, base: u64, top: u64) -> Reply {
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

    fn set_ripas(&mut self, rd: u64, rec: u64, base: u64, top: u64) -> Reply {
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
