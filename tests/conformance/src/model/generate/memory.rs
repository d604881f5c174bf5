// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Tables, pages and RIPAS.

use rmi::Command;

use super::{BLOCK, Generator, Place, plain};
use crate::model::step::Page;
use crate::model::tree::size;
use crate::model::{Entry, GRANULE, Life, Model, Tree, Use};

impl Generator {
    pub(super) fn rtt_create(&mut self, model: &Model) -> Command {
        let Place { rd, ipa, level } = self.place(model, |_, level, _| level < 3);
        Command::RttCreate {
            rd,
            rtt: self.granule(model, Use::Delegated),
            ipa,
            level: (level + 1).cast_unsigned(),
        }
    }

    pub(super) fn unprotected(&mut self, model: &Model) -> Command {
        let is_right = |tree: &Tree, level: i64, base: u64| {
            level >= 1 && base + size(level) * 511 >= tree.half()
        };
        let Place { rd, ipa, level } = self.place(model, is_right);
        let level_register = level.cast_unsigned();
        if self.rng.percent(35) {
            let level = level_register;
            return Command::RttUnmapUnprotected { rd, ipa, level };
        }
        let pa = (self.rng.below(64) * size(level.clamp(1, 3))) | self.rng.below(2) << 40;
        let memory = self.rng.below(8);
        let access = self.rng.below(4);
        Command::RttMapUnprotected {
            rd,
            ipa,
            level: level_register,
            desc: pa | memory << 2 | access << 6,
        }
    }

    pub(super) fn data_create(&mut self, model: &Model) -> (Command, Option<(usize, Page)>) {
        let Place { rd, ipa, .. } = self.page_place(model);
        // Granules that a Realm without LPA2 cannot have are few.
        let mut high = model.granules.range(1 << 48..);
        let high = high.find(|(_, granule)| granule.used == Use::Delegated);
        let data = match high {
            Some((high, _)) if self.rng.percent(2) => *high,
            _ => self.granule(model, Use::Delegated),
        };
        let is_new = model
            .realms
            .get(&rd)
            .is_some_and(|realm| realm.life == Life::New);
        if (!is_new && !self.rng.percent(5)) || self.rng.percent(50) {
            return (Command::DataCreateUnknown { rd, data, ipa }, None);
        }
        // Few of these calls come so far that nothing else is wrong.
        let [data_skew, src_skew, ipa_skew] = match self.rng.below(32) {
            0 => [8, 0, 0],
            1 => [0, 8, 0],
            2 => [0, 0, 8],
            _ => [0, 0, 0],
        };
        let command = Command::DataCreate {
            rd,
            data: data.wrapping_add(data_skew),
            ipa: ipa.wrapping_add(ipa_skew),
            src: self.granule(model, Use::Undelegated).wrapping_add(src_skew),
            flags: self.rng.below(2),
        };
        (command, Some((4, Page::Data(self.rng.word()))))
    }

    pub(super) fn init_ripas(&mut self, model: &Model) -> Command {
        let mut place = self.place(model, |_, _, _| true);
        for _ in 0..4 {
            let realm = model.realms.get(&place.rd);
            if realm.is_none_or(|realm| realm.life == Life::New) {
                break;
            }
            place = self.place(model, |tree, _, base| tree.is_protected(base));
        }
        let Place { rd, ipa, level } = place;
        let entries = self.rng.pick(&[1, 1, 2, 3, 16, 600]).unwrap_or(1);
        let top = ipa.saturating_add(entries * size(level.max(0)));
        let top = if self.rng.percent(10) {
            top + GRANULE
        } else {
            top
        };
        Command::RttInitRipas { rd, base: ipa, top }
    }

    pub(super) fn set_ripas(&mut self, model: &Model) -> Command {
        let asking: Vec<u64> = model
            .recs
            .iter()
            .filter(|(_, rec)| rec.request.top != 0)
            .map(|(at, _)| *at)
            .collect();
        let rec = self.rng.pick(&asking).unwrap_or_else(|| self.rec(model));
        let Some(state) = model.recs.get(&rec) else {
            return Command::RttSetRipas {
                rd: 0,
                rec,
                base: 0,
                top: 0,
            };
        };
        let base = state.request.base;
        let top = match self.rng.below(32) {
            0 => state.request.top.wrapping_sub(8),
            1..8 => base + GRANULE * (1 + self.rng.below(4)),
            _ => state.request.top,
        };
        let rd = if self.rng.percent(95) {
            state.rd
        } else {
            self.rd(model)
        };
        Command::RttSetRipas { rd, rec, base, top }
    }

    /// Arranges for a whole table of pages in a row, and for folding it.
    pub(super) fn fill_and_fold(&mut self, model: &Model) {
        let is_empty = |entries: &[Entry]| {
            let first = entries[0];
            !first.is_live() && entries.iter().all(|entry| *entry == first)
        };
        let rd = self.rd(model);
        let Some(realm) = model.realms.get(&rd) else {
            return;
        };
        let is_block_unused = self.block.is_some_and(|block| is_unused(model, block));
        // Protected ones while the block is there for them.
        let (protected, unprotected): (Vec<u64>, Vec<u64>) = realm
            .tree
            .tables()
            .filter(|(level, _, _, entries)| *level == 3 && is_empty(entries))
            .map(|(_, base, ..)| base)
            .partition(|base| realm.tree.is_protected(*base));
        let base = is_block_unused.then(|| self.rng.pick(&protected)).flatten();
        let Some(base) = base.or_else(|| self.rng.pick(&unprotected)) else {
            return;
        };
        let is_protected = realm.tree.is_protected(base);
        for n in 0..512 {
            let ipa = base + n * GRANULE;
            if !is_protected {
                let desc = (n * GRANULE) | 0x6 << 2 | 3 << 6;
                let level = 3;
                let map = Command::RttMapUnprotected {
                    rd,
                    ipa,
                    level,
                    desc,
                };
                self.queue.push_back(plain(map));
            } else if let Some(block) = self.block {
                let data = block + n * GRANULE;
                let is_unused = model
                    .granules
                    .get(&data)
                    .is_some_and(|granule| granule.used == Use::Delegated);
                if !is_unused {
                    let addr = data;
                    self.queue
                        .push_back(plain(Command::GranuleDelegate { addr }));
                }
                let create = Command::DataCreateUnknown { rd, data, ipa };
                self.queue.push_back(plain(create));
            }
        }
        let fold = Command::RttFold {
            rd,
            ipa: base,
            level: 3,
        };
        self.queue.push_back(plain(fold));
    }
}

/// Says whether no granule of a block is used for anything.
fn is_unused(model: &Model, block: u64) -> bool {
    let granules = model.granules.range(block..block + BLOCK);
    granules.map(|(_, granule)| granule).all(|granule| {
        !granule.is_secure && matches!(granule.used, Use::Undelegated | Use::Delegated)
    })
}
