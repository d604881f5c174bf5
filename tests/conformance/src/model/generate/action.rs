// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What a Realm does when it runs.

use scenarios::realm::RealmAction;

use super::{Generator, Place};
use crate::model::tree::size;
use crate::model::{GRANULE, Model};

impl Generator {
    /// Returns what a REC could do.
    pub(super) fn action(&mut self, model: &Model, rec: u64) -> Option<RealmAction> {
        let rd = model.recs.get(&rec)?.rd;
        let realm = model.realms.get(&rd)?;
        let Place { ipa, level, .. } = self.place_in(model, rd);
        let word = ipa + 8 * self.rng.below(512);
        Some(match self.rng.below(28) {
            0..3 => RealmAction::Load { ipa: word },
            3..6 => RealmAction::Store {
                ipa: word,
                value: self.rng.word(),
            },
            6 => RealmAction::LoadPair { ipa: word },
            7 => RealmAction::Fetch { ipa: word & !3 },
            8 => RealmAction::Hvc,
            9 => RealmAction::Load {
                ipa: realm.tree.end() + word % 0x1000,
            },
            10..14 => {
                let bytes = self.rng.pick(&[1, 2, 5]).unwrap_or(1) * size(level);
                let few = self.rng.pick(&[bytes, bytes, bytes, 3 * GRANULE]);
                let bytes = few.unwrap_or(bytes);
                let flags = self.rng.below(2);
                let ripas = self.rng.pick(&[0, 1, 1, 2]).unwrap_or(1);
                let base = ipa + u64::from(self.rng.percent(15)) * GRANULE;
                RealmAction::smc(&[0xC400_0197, base, ipa + bytes, ripas, flags])
            }
            14 | 15 => RealmAction::smc(&[0xC400_0198, ipa, ipa + 8 * GRANULE]),
            16 | 17 => RealmAction::smc(&[0xC400_0192, self.rng.below(6)]),
            18 => {
                let (index, bytes) = (self.rng.below(6), self.rng.below(70));
                let words = [self.rng.word(), self.rng.word()];
                RealmAction::smc(&[0xC400_0193, index, bytes, words[0], words[1]])
            }
            19 | 20 => {
                let offset = self.rng.pick(&[0, 0, 0x100, 0x80]).unwrap_or(0);
                RealmAction::smc(&[0xC400_0199, ipa + offset])
            }
            21..26 => {
                let others = model
                    .recs
                    .iter()
                    .filter(|(at, other)| other.rd == rd && **at != rec);
                let others: Vec<u64> = others.map(|(_, other)| other.index).collect();
                let any = self.rng.below(realm.rec_index + 1);
                let is_there = self.rng.percent(90);
                let other = self.rng.pick(&others).filter(|_| is_there);
                self.psci(other.unwrap_or(any))
            }
            26 => RealmAction::smc(&[0xC400_0196 + 0x100, ipa]),
            _ => RealmAction::WaitForInterrupt,
        })
    }

    fn psci(&mut self, target: u64) -> RealmAction {
        let target = scenarios::rec_mpidr(target);
        let entry = self.rng.pick(&[0x2000, 0x2000, u64::MAX - 3]).unwrap_or(0);
        match self.rng.below(21) {
            0..8 => RealmAction::smc(&[0xC400_0003, target, entry, 7]),
            8..15 => RealmAction::smc(&[0xC400_0004, target, u64::from(self.rng.percent(10))]),
            15 | 16 => RealmAction::smc(&[0x8400_0002]),
            17 => RealmAction::smc(&[0xC400_0001]),
            18 => RealmAction::smc(&[0x8400_0008 + self.rng.below(2)]),
            19 => RealmAction::smc(&[0x8400_0000]),
            _ => RealmAction::smc(&[0x8400_001F]),
        }
    }

    fn place_in(&mut self, model: &Model, rd: u64) -> Place {
        for _ in 0..4 {
            let place = self.place(model, |tree, _, base| tree.is_protected(base));
            if place.rd == rd {
                return place;
            }
        }
        Place {
            rd,
            ipa: 0,
            level: 2,
        }
    }
}
