// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Steps that are mostly right, sometimes nearly, and now and then absurd.

use std::collections::VecDeque;

use rmi::Command;
use scenarios::realm::RealmAction;

use super::step::{EnterSpec, Page, RealmSpec, RecSpec, Step};
use super::tree::size;
use super::{Entry, GRANULE, Life, Model, Rng, Tree, Use};

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
        if self.rng.percent(6) {
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

    fn realm_create(&mut self, model: &Model) -> (Command, Option<(usize, Page)>) {
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
        match self.rng.below(9) {
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

    fn end_of_realm(&mut self, model: &Model) -> Command {
        let rd = self.rd(model);
        let has_recs = model.recs.values().filter(|rec| rec.rd == rd).count() > 1;
        if has_recs || self.rng.percent(5) {
            Command::RealmActivate { rd }
        } else {
            Command::RealmDestroy { rd }
        }
    }

    fn rec_create(&mut self, model: &Model) -> (Command, Option<(usize, Page)>) {
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

    fn rec_enter(&mut self, model: &Model) -> (Command, Option<(usize, Page)>) {
        let can_run = |rec: &super::Rec| {
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
            let is_ready = |(rd, realm): &(&u64, &super::Realm)| {
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

    fn psci_complete(&mut self, model: &Model) -> Command {
        let waiting: Vec<u64> = model
            .recs
            .iter()
            .filter(|(_, rec)| rec.psci.is_some())
            .map(|(at, _)| *at)
            .collect();
        let calling_rec = self.rng.pick(&waiting).unwrap_or_else(|| self.rec(model));
        let target = model.recs.get(&calling_rec).and_then(|rec| {
            let mpidr = rec.psci?.target;
            let is_target = |other: &&super::Rec| {
                other.rd == rec.rd && scenarios::rec_mpidr(other.index) == mpidr
            };
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

    fn rtt_create(&mut self, model: &Model) -> Command {
        let Place { rd, ipa, level } = self.place(model, |_, level, _| level < 3);
        Command::RttCreate {
            rd,
            rtt: self.granule(model, Use::Delegated),
            ipa,
            level: (level + 1).cast_unsigned(),
        }
    }

    fn unprotected(&mut self, model: &Model) -> Command {
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

    fn data_create(&mut self, model: &Model) -> (Command, Option<(usize, Page)>) {
        let Place { rd, ipa, .. } = self.page_place(model);
        let data = self.granule(model, Use::Delegated);
        let is_new = model
            .realms
            .get(&rd)
            .is_some_and(|realm| realm.life == Life::New);
        if (!is_new && !self.rng.percent(5)) || self.rng.percent(50) {
            return (Command::DataCreateUnknown { rd, data, ipa }, None);
        }
        // Few of these calls come so far that nothing else is wrong.
        let [data_skew, src_skew] = match self.rng.below(32) {
            0 => [8, 0],
            1 => [0, 8],
            _ => [0, 0],
        };
        let command = Command::DataCreate {
            rd,
            data: data.wrapping_add(data_skew),
            ipa,
            src: self.granule(model, Use::Undelegated).wrapping_add(src_skew),
            flags: self.rng.below(2),
        };
        (command, Some((4, Page::Data(self.rng.word()))))
    }

    fn init_ripas(&mut self, model: &Model) -> Command {
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

    fn set_ripas(&mut self, model: &Model) -> Command {
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

    /// Returns what a REC could do.
    fn action(&mut self, model: &Model, rec: u64) -> Option<RealmAction> {
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

    /// Arranges for the end of a Realm.
    fn take_down(&mut self, model: &Model) {
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

    /// Arranges for a whole table of pages in a row, and for folding it.
    fn fill_and_fold(&mut self, model: &Model) {
        let is_empty = |entries: &[Entry]| {
            let first = entries[0];
            !first.is_live() && entries.iter().all(|entry| *entry == first)
        };
        let rd = self.rd(model);
        let Some(realm) = model.realms.get(&rd) else {
            return;
        };
        let tables: Vec<u64> = realm
            .tree
            .tables()
            .filter(|(level, _, _, entries)| *level == 3 && is_empty(entries))
            .map(|(_, base, ..)| base)
            .collect();
        let Some(base) = self.rng.pick(&tables) else {
            return;
        };
        let is_protected = realm.tree.is_protected(base);
        if is_protected && !self.block.is_some_and(|block| is_unused(model, block)) {
            return;
        }
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

fn plain(command: Command) -> Step {
    Step::Call {
        registers: command.encode(),
        page: None,
        action: None,
    }
}
