// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Steps that are mostly right, sometimes nearly, and now and then absurd.

mod action;
mod memory;
mod realm;

use std::collections::VecDeque;

use rmi::Command;

use super::step::{Page, Step};
use super::tree::size;
use super::{GRANULE, Model, Rng, Tree, Use};

/// Realms at a time.
const REALMS: usize = 3;

/// Granules of the Secure world at a time.
const SECURE: usize = 16;

/// Entries of a table that a walk likes.
const SLOTS: [u64; 7] = [0, 1, 2, 3, 8, 15, 511];

/// Bytes of a block of pages.
const BLOCK: u64 = 512 * GRANULE;

/// The shapes of address spaces: width, starting level, tables, 52-bit tables.
const SHAPES: [(u8, i64, u32, bool); 8] = [
    (39, 1, 1, false),
    (40, 1, 2, false),
    (34, 2, 16, false),
    (33, 2, 8, false),
    (42, 0, 1, false),
    (48, 0, 1, false),
    (50, 0, 4, true),
    (52, -1, 1, true),
];

/// Makes steps from a seed and the state.
#[derive(Clone, Debug)]
pub struct Generator {
    rng: Rng,
    queue: VecDeque<Step>,
    /// Granules in a row, aligned to a block.
    block: Option<u64>,
    absurd: Vec<u64>,
}

/// A place in a Realm.
#[derive(Clone, Copy, Debug)]
struct Place {
    rd: u64,
    ipa: u64,
    level: i64,
}

impl Generator {
    /// Returns a generator. `absurd` are addresses that may not be delegated.
    #[must_use]
    pub fn new(seed: u64, block: Option<u64>, absurd: Vec<u64>) -> Self {
        Self {
            rng: Rng::new(seed),
            queue: VecDeque::new(),
            block,
            absurd,
        }
    }

    /// Returns the next step.
    pub fn next(&mut self, model: &Model) -> Step {
        if let Some(step) = self.queue.pop_front() {
            return step;
        }
        if self.rng.below(6000) == 0 {
            self.fill_and_fold(model);
        }
        if self.rng.below(600) == 0 {
            self.take_down(model);
        }
        if self.rng.below(200) == 0 {
            return self.secure(model);
        }
        self.call(model)
    }

    /// Gives the Secure world a granule, or takes one back: it never has many.
    fn secure(&mut self, model: &Model) -> Step {
        let secure = model.granules().filter(|(_, granule)| granule.is_secure);
        let secure: Vec<u64> = secure.map(|(at, _)| at).collect();
        match self.rng.pick(&secure) {
            Some(granule) if secure.len() > SECURE || self.rng.percent(40) => Step::Secure {
                granule,
                is_secure: false,
            },
            _ => Step::Secure {
                granule: self.granule(model, Use::Undelegated),
                is_secure: true,
            },
        }
    }

    /// Returns a call and what goes with it.
    fn call(&mut self, model: &Model) -> Step {
        let (command, page) = self.command(model);
        let mut registers = command.encode();
        if self.rng.percent(8) {
            let inputs = command.id().inputs().len() as u64;
            if inputs > 0 {
                let register = 1 + self.rng.below(inputs) as usize;
                registers[register] = self.spoil(registers[register]);
            }
        }
        if self.rng.percent(2) {
            registers[7] = self.rng.word();
        }
        // The page goes where the call looks for it.
        let page = page.map(|(input, page)| (registers[input], page));
        let action = match command {
            Command::RecEnter { rec, .. } => self.action(model, rec),
            _ => None,
        };
        let step = Step::Call {
            registers,
            page,
            action,
        };
        // What the call needs comes first.
        self.queue.push_back(step);
        self.queue.pop_front().unwrap_or(step)
    }

    fn spoil(&mut self, value: u64) -> u64 {
        match self.rng.below(8) {
            0 => value.wrapping_add(8),
            1 => value.wrapping_add(GRANULE),
            2 => value.wrapping_sub(GRANULE),
            3 => u64::MAX,
            4 => 1 << self.rng.below(64),
            5 => value ^ 1 << self.rng.below(64),
            6 => 0,
            _ => self.rng.pick(&self.absurd.clone()).unwrap_or(0),
        }
    }

    /// Returns a granule of this use, mostly.
    fn granule(&mut self, model: &Model, used: Use) -> u64 {
        let is_right = !self.rng.percent(3);
        let count = model.granules.len() as u64;
        let skip = self.rng.below(count.max(1)) as usize;
        // What becomes a block of pages one day is left alone.
        let kept = self.block.map_or(0..0, |block| block..block + BLOCK);
        let is_free = matches!(used, Use::Delegated | Use::Undelegated);
        let fits = |granule: &(u64, super::Granule)| {
            !is_right || (granule.1.used == used && !(is_free && kept.contains(&granule.0)))
        };
        let behind = model.granules().skip(skip);
        let found = behind.chain(model.granules().take(skip)).find(fits);
        found.map_or(0, |granule| granule.0)
    }

    /// Returns a granule of this use that is not in a range.
    fn outside(&mut self, model: &Model, used: Use, range: &core::ops::Range<u64>) -> u64 {
        let mut granule = self.granule(model, used);
        for _ in 0..8 {
            if !range.contains(&granule) {
                break;
            }
            granule = self.granule(model, used);
        }
        granule
    }

    fn rd(&mut self, model: &Model) -> u64 {
        let rds: Vec<u64> = model.realms.keys().copied().collect();
        self.rng.pick(&rds).unwrap_or(0)
    }

    fn rec(&mut self, model: &Model) -> u64 {
        let recs: Vec<u64> = model.recs.keys().copied().collect();
        self.rng.pick(&recs).unwrap_or(0)
    }

    /// Returns an entry of some table for which `fits` holds for level, first address and Realm.
    fn place(&mut self, model: &Model, fits: impl Fn(&Tree, i64, u64) -> bool) -> Place {
        let rd = self.rd(model);
        let Some(realm) = model.realms.get(&rd) else {
            return Place {
                rd,
                ipa: 0,
                level: 2,
            };
        };
        let tables: Vec<(i64, u64)> = realm
            .tree
            .tables()
            .map(|(level, base, ..)| (level, base))
            .filter(|(level, base)| fits(&realm.tree, *level, *base))
            .collect();
        let (level, base) = self.rng.pick(&tables).unwrap_or((realm.tree.start, 0));
        let mut slot = self.rng.pick(&SLOTS).unwrap_or(0);
        if level == -1 {
            slot %= 16;
        }
        // The first entries of the unprotected half, when a starting table holds both.
        let ipa = base + slot * size(level);
        let is_wide = level == realm.tree.start && self.rng.percent(40);
        let ipa = if is_wide {
            realm.tree.half() + slot % 4 * size(level)
        } else {
            ipa
        };
        Place { rd, ipa, level }
    }

    /// Returns a table that is no starting table.
    fn table(&mut self, model: &Model) -> Place {
        let rd = self.rd(model);
        let tables: Vec<(i64, u64)> = model.realms.get(&rd).map_or(Vec::new(), |realm| {
            let start = realm.tree.start;
            let inner = realm.tree.tables().filter(|(level, ..)| *level > start);
            inner.map(|(level, base, ..)| (level, base)).collect()
        });
        let (level, ipa) = self.rng.pick(&tables).unwrap_or((3, 0));
        Place { rd, ipa, level }
    }

    fn page_place(&mut self, model: &Model) -> Place {
        self.place(model, |tree, level, base| {
            level == 3 && tree.is_protected(base)
        })
    }

    fn command(&mut self, model: &Model) -> (Command, Option<(usize, Page)>) {
        if model.realms.len() < 2 && self.rng.percent(10) {
            return self.realm_create(model);
        }
        // What a REC waits for ends with its next exit.
        let is_asking = model.recs.values().any(|rec| rec.request.top != 0);
        if is_asking && self.rng.percent(15) {
            return (self.set_ripas(model), None);
        }
        let is_waiting = model.recs.values().any(|rec| rec.psci.is_some());
        if is_waiting && self.rng.percent(5) {
            return (self.psci_complete(model), None);
        }
        let command = match self.rng.below(100) {
            0..14 => Command::GranuleDelegate {
                addr: self.granule(model, Use::Undelegated),
            },
            14..18 => Command::GranuleUndelegate {
                addr: self.granule(model, Use::Delegated),
            },
            18..21 if model.realms.len() < REALMS => return self.realm_create(model),
            21 => self.end_of_realm(model),
            22..25 => return self.rec_create(model),
            25 if self.rng.percent(40) => Command::RecDestroy {
                rec: self.rec(model),
            },
            25..42 => return self.rec_enter(model),
            42..45 => self.psci_complete(model),
            45..57 => self.rtt_create(model),
            57..60 => {
                let Place { rd, ipa, level } = self.table(model);
                let level = level.cast_unsigned();
                Command::RttDestroy { rd, ipa, level }
            }
            60..65 => {
                let Place { rd, ipa, level } = self.table(model);
                let level = level.cast_unsigned();
                Command::RttFold { rd, ipa, level }
            }
            65..74 => self.unprotected(model),
            74..76 => {
                let Place { rd, ipa, level } = self.place(model, |_, _, _| true);
                let level = level.cast_unsigned();
                Command::RttReadEntry { rd, ipa, level }
            }
            76..84 => return self.data_create(model),
            84..88 => {
                let Place { rd, ipa, .. } = self.page_place(model);
                Command::DataDestroy { rd, ipa }
            }
            88..92 => self.init_ripas(model),
            92..97 => self.set_ripas(model),
            97 => Command::RecAuxCount { rd: self.rd(model) },
            98 => Command::Version {
                req: 0x1_0000 + self.rng.below(2),
            },
            _ => Command::Features {
                index: self.rng.below(3),
            },
        };
        (command, None)
    }
}

fn plain(command: Command) -> Step {
    Step::Call {
        registers: command.encode(),
        page: None,
        action: None,
    }
}
