// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Realms and RECs, from their making to their end.

use rmi::Command;

use super::{Generator, SHAPES, plain};
use crate::model::step::{EnterSpec, Page, RealmSpec, RecSpec};
use crate::model::tree::size;
use crate::model::{Entry, GRANULE, Life, Model, Realm, Rec, Use};

impl Generator {
    pub(super) fn realm_create(&mut self, model: &Model) -> (Command, Option<(usize, Page)>) {
        let features = model.features;
        let is_offered = |shape: &(u8, i64, u32, bool)| {
            shape.0 <= features.s2sz()
                && (!shape.3 || features.has_lpa2())
                && (shape.1 != 0 || model.pa_bits >= 44)
        };
        let mut shapes = SHAPES.to_vec();
        if self.rng.percent(95) {
            shapes.retain(is_offered);
        }
        let (width, start, roots, is_lpa2) = self.rng.pick(&shapes).unwrap_or(SHAPES[0]);
        let root = self.run(model, roots.into());
        let tables = root..root + u64::from(roots) * GRANULE;
        let mut rd = self.outside(model, Use::Delegated, &tables);
        if self.rng.percent(2) {
            rd = root + self.rng.below(roots.into()) * GRANULE;
        }
        let params_ptr = self.outside(model, Use::Undelegated, &tables);
        let has = |percent| u64::from(percent);
        let may_lpa2 = features.has_lpa2() && self.rng.percent(20);
        let sve = has(self.rng.percent(20) && features.has_sve());
        let pmu = has(self.rng.percent(20) && features.has_pmu());
        let mut spec = RealmSpec {
            flags: u64::from(is_lpa2 || may_lpa2) | sve << 1 | pmu << 2,
            width,
            sve_vl: features.sve_vl(),
            num_bps: 1,
            num_wps: 1,
            pmu_num_ctrs: features.pmu_num_ctrs(),
            hash: self.rng.below(2) as u8,
            vmid: self.rng.below(6) as u16,
            root,
            start,
            roots,
        };
        if self.rng.percent(10) {
            self.spoil_realm(&mut spec);
        }
        let command = Command::RealmCreate { rd, params_ptr };
        (command, Some((2, Page::Realm(spec))))
    }

    fn spoil_realm(&mut self, spec: &mut RealmSpec) {
        let byte = self.rng.below(256) as u8;
        match self.rng.below(12) {
            0 => spec.width = byte,
            1 => spec.sve_vl = byte,
            2 => spec.num_bps = byte,
            3 => spec.num_wps = byte,
            4 => spec.pmu_num_ctrs = byte,
            5 => spec.hash = byte % 4,
            6 => spec.start = self.rng.below(6) as i64 - 2,
            7 => spec.roots = self.rng.below(20) as u32,
            _ => spec.root = spec.root.wrapping_add(GRANULE),
        }
    }

    /// Returns unused granules in a row, aligned; if there are none, arranges for them.
    fn run(&mut self, model: &Model, count: u64) -> u64 {
        let is = |at: u64, used: Use| {
            model
                .granules
                .get(&at)
                .is_some_and(|granule| granule.used == used && !granule.is_secure)
        };
        let runs: Vec<u64> = model
            .granules
            .keys()
            .copied()
            .filter(|at| at.is_multiple_of(count * GRANULE))
            .filter(|at| {
                (0..count).all(|n| {
                    let at = at + n * GRANULE;
                    is(at, Use::Delegated) || is(at, Use::Undelegated)
                })
            })
            .collect();
        let root = self.rng.pick(&runs).unwrap_or(0);
        for n in 0..count {
            let addr = root + n * GRANULE;
            if is(addr, Use::Undelegated) {
                self.queue
                    .push_back(plain(Command::GranuleDelegate { addr }));
            }
        }
        root
    }

    pub(super) fn end_of_realm(&mut self, model: &Model) -> Command {
        let rd = self.rd(model);
        let has_recs = model.recs.values().filter(|rec| rec.rd == rd).count() > 1;
        if has_recs || self.rng.percent(5) {
            Command::RealmActivate { rd }
        } else {
            Command::RealmDestroy { rd }
        }
    }

    pub(super) fn rec_create(&mut self, model: &Model) -> (Command, Option<(usize, Page)>) {
        let rd = self.rd(model);
        let rec = self.granule(model, Use::Delegated);
        let params_ptr = self.granule(model, Use::Undelegated);
        let (index, count) = model
            .realms
            .get(&rd)
            .map_or((0, 0), |realm| (realm.rec_index, realm.aux_count));
        let mut aux = [0; 16];
        for slot in aux.iter_mut().take(count as usize + 1) {
            *slot = self.granule(model, Use::Delegated);
        }
        if self.rng.percent(4) {
            aux[0] += 8;
        }
        let spec = RecSpec {
            flags: u64::from(self.rng.percent(70)),
            mpidr: scenarios::rec_mpidr(index + u64::from(self.rng.percent(5))),
            pc: 0x10_0000,
            x0: self.rng.word(),
            num_aux: count + u64::from(self.rng.percent(4)),
            aux,
        };
        let command = Command::RecCreate {
            rd,
            rec,
            params_ptr,
        };
        (command, Some((3, Page::Rec(spec))))
    }

    pub(super) fn rec_enter(&mut self, model: &Model) -> (Command, Option<(usize, Page)>) {
        let can_run = |rec: &Rec| {
            let life = model.realms.get(&rec.rd).map(|realm| realm.life);
            rec.is_runnable && rec.psci.is_none() && life == Some(Life::Active)
        };
        let able: Vec<u64> = model
            .recs
            .iter()
            .filter(|(_, rec)| can_run(rec))
            .map(|(at, _)| *at)
            .collect();
        if able.is_empty() && self.rng.percent(70) {
            let is_ready = |(rd, realm): &(&u64, &Realm)| {
                let has_rec = model
                    .recs
                    .values()
                    .any(|rec| rec.rd == **rd && rec.is_runnable);
                realm.life == Life::New && has_rec
            };
            if let Some((rd, _)) = model.realms.iter().find(is_ready) {
                return (Command::RealmActivate { rd: *rd }, None);
            }
            return self.rec_create(model);
        }
        let is_right = self.rng.percent(85);
        let able = self.rng.pick(&able).filter(|_| is_right);
        let rec = able.unwrap_or_else(|| self.rec(model));
        let run_ptr = self.granule(model, Use::Undelegated);
        let mut spec = EnterSpec {
            flags: self.rng.pick(&[0, 0, 0, 1, 2, 16, 1 | 16]).unwrap_or(0),
            x0: self.rng.word(),
            hcr: 0,
            lr: 0,
        };
        if self.rng.percent(4) {
            spec.hcr = 1 << self.rng.below(32);
        }
        if self.rng.percent(4) {
            spec.lr = self.rng.below(8) << 61 | 27;
        }
        (
            Command::RecEnter { rec, run_ptr },
            Some((2, Page::Enter(spec))),
        )
    }

    pub(super) fn psci_complete(&mut self, model: &Model) -> Command {
        let waiting: Vec<u64> = model
            .recs
            .iter()
            .filter(|(_, rec)| rec.psci.is_some())
            .map(|(at, _)| *at)
            .collect();
        let calling_rec = self.rng.pick(&waiting).unwrap_or_else(|| self.rec(model));
        let target = model.recs.get(&calling_rec).and_then(|rec| {
            let mpidr = rec.psci?.target;
            let is_target =
                |other: &&Rec| other.rd == rec.rd && scenarios::rec_mpidr(other.index) == mpidr;
            let found = model.recs.iter().find(|(_, other)| is_target(other));
            found.map(|(at, _)| *at)
        });
        let is_right = self.rng.percent(85);
        let target_rec = match target.filter(|_| is_right) {
            Some(target) => target,
            None => self.rec(model),
        };
        let status: i64 = self.rng.pick(&[0, 0, 0, -3, -2, 1]).unwrap_or(0);
        Command::PsciComplete {
            calling_rec,
            target_rec,
            status: status.cast_unsigned(),
        }
    }

    /// Arranges for the end of a Realm.
    pub(super) fn take_down(&mut self, model: &Model) {
        let rd = self.rd(model);
        let Some(realm) = model.realms.get(&rd) else {
            return;
        };
        for (rec, _) in model.recs.iter().filter(|(_, state)| state.rd == rd) {
            self.queue
                .push_back(plain(Command::RecDestroy { rec: *rec }));
        }
        let mut tables: Vec<_> = realm.tree.tables().collect();
        tables.sort_by_key(|(level, base, ..)| (-level, *base));
        for (level, base, _, entries) in tables {
            for (n, entry) in entries.iter().enumerate() {
                let ipa = base + n as u64 * size(level);
                let is_page = matches!(entry, Entry::Assigned { .. }) && level == 3;
                if is_page {
                    self.queue
                        .push_back(plain(Command::DataDestroy { rd, ipa }));
                }
            }
            if level > realm.tree.start {
                let level = level.cast_unsigned();
                let ipa = base;
                self.queue
                    .push_back(plain(Command::RttDestroy { rd, ipa, level }));
            }
        }
        self.queue.push_back(plain(Command::RealmDestroy { rd }));
    }
}
