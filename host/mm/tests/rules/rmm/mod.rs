// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A small RMM: granule states and Realm translation tables as the specification describes them,
//! without Realms that run.

mod tables;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use host_mm::addr::PAGE_SIZE;
use rmi::{Command, RmiError, RttLevel};

pub(crate) use self::tree::{DESTROYED, EMPTY, Entry, Node, RAM};
use self::tree::{level_size, skip_non_live, walk};
use crate::machine::Dram;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Delegated,
    Rd,
    Rec,
    Rtt,
    Data,
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
}
