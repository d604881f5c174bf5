// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What a REC does between an entry and the next exit.

use scenarios::realm::RealmAction;

use super::step::EnterSpec;
use super::tree::Entry;
use super::{GRANULE, Life, Model, Pending, PsciRequest, Request};

/// What the run page and the program's result have to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ExitExpected {
    /// The program waits; registers of the result, as far as the model knows them.
    Waits {
        registers: Vec<(usize, u64)>,
        /// The Realm took an exception instead.
        is_exception: bool,
        /// `RSI_IPA_STATE_GET` from this address to this one.
        state_get: Option<(u64, u64)>,
    },
    /// `RMI_EXIT_PSCI` with x0 and x1.
    Psci([u64; 2]),
    /// `RMI_EXIT_RIPAS_CHANGE`.
    Ripas { base: u64, top: u64, value: u8 },
    /// `RMI_EXIT_HOST_CALL`.
    HostCall { imm: u64, gprs: Vec<u64> },
    /// A data abort at this address; with the value of a store.
    DataAbort {
        ipa: u64,
        is_emulatable: bool,
        value: u64,
    },
    /// An instruction abort.
    InstructionAbort { ipa: u64 },
}

impl ExitExpected {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Waits { .. } => "Waits",
            Self::Psci(_) => "Psci",
            Self::Ripas { .. } => "Ripas",
            Self::HostCall { .. } => "HostCall",
            Self::DataAbort { .. } => "DataAbort",
            Self::InstructionAbort { .. } => "InstructionAbort",
        }
    }
}

/// What one try at an action comes to.
type Tried = (ExitExpected, Pending);

fn waits(registers: &[(usize, u64)]) -> ExitExpected {
    ExitExpected::Waits {
        registers: registers.to_vec(),
        is_exception: false,
        state_get: None,
    }
}

fn done(registers: &[(usize, u64)]) -> Tried {
    (waits(registers), Pending::Nothing)
}

fn exception() -> Tried {
    let exit = ExitExpected::Waits {
        registers: Vec::new(),
        is_exception: true,
        state_get: None,
    };
    (exit, Pending::Nothing)
}

/// A page of the Realm as its own calls see it.
enum Buffer {
    Page(u64),
    Empty,
    Missing,
}

impl Model {
    /// Runs a REC that may be entered.
    pub(super) fn run(&mut self, rec: u64, spec: &EnterSpec) -> ExitExpected {
        let (exit, pending) = self.resume(rec, spec);
        let state = self.recs.get_mut(&rec).expect("it was entered");
        if !matches!(exit, ExitExpected::Ripas { .. }) {
            state.request = Request::default();
        }
        state.pending = pending;
        if pending == Pending::Nothing {
            state.action = None;
        }
        exit
    }

    fn resume(&mut self, rec: u64, spec: &EnterSpec) -> Tried {
        let wants = |bit: u32| spec.flags >> bit & 1 == 1;
        let state = self.recs[&rec].clone();
        match state.pending {
            Pending::Nothing => match state.action {
                Some(action) => self.attempt(rec, action),
                None => done(&[]),
            },
            Pending::Answer { x0: Some(x0) } => done(&[(0, x0), (1, 0), (2, 0), (3, 0)]),
            Pending::Answer { x0: None } | Pending::Gone => done(&[]),
            Pending::Ripas => {
                let Request {
                    base, top, value, ..
                } = state.request;
                let is_refused = value == 1 && base != top && wants(4);
                done(&[(0, 0), (1, base), (2, u64::from(is_refused))])
            }
            Pending::HostCall { ipa } => self.finish_host_call(rec, ipa, spec),
            Pending::Access { is_unprotected, .. } if wants(1) && is_unprotected => exception(),
            Pending::Access { is_emulatable, .. } if wants(0) && is_emulatable => {
                match state.action {
                    Some(RealmAction::Load { .. }) => done(&[(0, spec.x0)]),
                    _ => done(&[]),
                }
            }
            Pending::Access { .. } | Pending::Again => {
                let action = state.action.expect("an action was not over");
                self.attempt(rec, action)
            }
        }
    }

    fn attempt(&mut self, rec: u64, action: RealmAction) -> Tried {
        match action {
            RealmAction::Smc(registers) => self.smc(rec, &registers),
            RealmAction::Load { ipa } => self.load(rec, ipa, true),
            RealmAction::LoadPair { ipa } => self.load(rec, ipa, false),
            RealmAction::Store { ipa, value } => self.store(rec, ipa, value),
            RealmAction::Fetch { ipa } => self.fetch(rec, ipa),
            RealmAction::Hvc => exception(),
            RealmAction::WaitForInterrupt | RealmAction::WaitForEvent => done(&[]),
            RealmAction::Watch { .. } => unreachable!("a walk has one PE"),
        }
    }

    /// The entry that covers an address of a REC's Realm, and the page if it has one.
    fn covering(&self, rec: u64, ipa: u64) -> Option<(Entry, u64)> {
        let tree = &self.realms[&self.recs[&rec].rd].tree;
        if ipa >= tree.end() {
            return None;
        }
        let found = tree.walk(ipa, 3);
        Some((found.entry, (ipa - found.base) / GRANULE * GRANULE))
    }

    fn load(&self, rec: u64, ipa: u64, has_syndrome: bool) -> Tried {
        match self.covering(rec, ipa) {
            None => exception(),
            Some((Entry::Assigned { pa, ripas: 1 }, offset)) => {
                let value = self.word(pa + offset, ipa % GRANULE / 8);
                done(&[(0, value)])
            }
            Some((Entry::AssignedNs { desc }, _)) if desc >> 6 & 1 == 1 => done(&[]),
            Some((entry, _)) => self.abort(rec, ipa, entry, has_syndrome, 0),
        }
    }

    fn store(&mut self, rec: u64, ipa: u64, value: u64) -> Tried {
        match self.covering(rec, ipa) {
            None => exception(),
            Some((Entry::Assigned { pa, ripas: 1 }, offset)) => {
                self.set_word(pa + offset, ipa % GRANULE / 8, value);
                done(&[])
            }
            Some((Entry::AssignedNs { desc }, _)) if desc >> 7 & 1 == 1 => done(&[]),
            Some((entry, _)) => self.abort(rec, ipa, entry, true, value),
        }
    }

    fn abort(&self, rec: u64, ipa: u64, entry: Entry, has_syndrome: bool, value: u64) -> Tried {
        let is_protected = self.realms[&self.recs[&rec].rd].tree.is_protected(ipa);
        if entry.ripas() == Some(0) {
            return exception();
        }
        let is_emulatable = !is_protected && has_syndrome;
        let exit = ExitExpected::DataAbort {
            ipa,
            is_emulatable,
            value: if is_emulatable { value } else { 0 },
        };
        let pending = Pending::Access {
            is_unprotected: !is_protected,
            is_emulatable,
        };
        (exit, pending)
    }

    fn fetch(&self, rec: u64, ipa: u64) -> Tried {
        let again = Pending::Access {
            is_unprotected: false,
            is_emulatable: false,
        };
        match self.covering(rec, ipa) {
            Some((Entry::Assigned { ripas: 1, .. }, _)) => done(&[]),
            Some((entry, _)) if matches!(entry.ripas(), Some(1 | 2)) => {
                (ExitExpected::InstructionAbort { ipa }, again)
            }
            _ => exception(),
        }
    }

    /// A buffer of a call of the Realm.
    fn buffer(&self, rec: u64, ipa: u64) -> Buffer {
        match self.covering(rec, ipa) {
            Some((Entry::Assigned { pa, ripas: 1 }, offset)) => Buffer::Page(pa + offset),
            Some((entry, _)) if entry.ripas() == Some(0) => Buffer::Empty,
            _ => Buffer::Missing,
        }
    }

    fn smc(&mut self, rec: u64, registers: &[u64; 11]) -> Tried {
        let [fid, x1, x2, x3, x4, ..] = *registers;
        match fid {
            0xC400_0190 => {
                let status = u64::from(x1 != 0x1_0000);
                done(&[(0, status), (1, 0x1_0000), (2, 0x1_0000)])
            }
            0xC400_0191 => done(&[(0, 0), (1, 0)]),
            0xC400_0192 => self.measurement_read(rec, x1),
            0xC400_0193 => self.measurement_extend(rec, registers),
            0xC400_0197 => self.ipa_state_set(rec, [x1, x2, x3, x4]),
            0xC400_0198 => self.ipa_state_get(rec, x1, x2),
            0xC400_0199 => self.host_call(rec, x1),
            0x8400_0000..=0x8400_001F | 0xC400_0000..=0xC400_001F => self.psci(rec, fid, [x1, x2]),
            _ => done(&[(0, u64::MAX)]),
        }
    }

    fn measurement_read(&self, rec: u64, index: u64) -> Tried {
        let realm = &self.realms[&self.recs[&rec].rd];
        let slot = usize::try_from(index)
            .ok()
            .and_then(|n| realm.measurements.get(n));
        let Some(slot) = slot else {
            return done(&[(0, 1)]);
        };
        let word = |n: usize| {
            let bytes = &slot[n * 8..n * 8 + 8];
            u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
        };
        let mut registers = vec![(0, 0)];
        registers.extend((0..8).map(|n| (n + 1, word(n))));
        done(&registers)
    }

    fn measurement_extend(&mut self, rec: u64, registers: &[u64; 11]) -> Tried {
        let [_, index, size, value @ ..] = *registers;
        let bytes: Vec<u8> = value.iter().flat_map(|word| word.to_le_bytes()).collect();
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if !(1..=4).contains(&index) || size > 64 {
            return done(&[(0, 1)]);
        }
        let rd = self.recs[&rec].rd;
        let realm = self.realms.get_mut(&rd).expect("a REC has a Realm");
        let slot = &mut realm.measurements[index as usize];
        *slot = realm.algorithm.rem(slot, &bytes[..size]);
        done(&[(0, 0)])
    }

    fn is_protected_range(&self, rec: u64, base: u64, top: u64) -> bool {
        let half = self.realms[&self.recs[&rec].rd].tree.half();
        base.is_multiple_of(GRANULE) && top.is_multiple_of(GRANULE) && base < top && top <= half
    }

    fn ipa_state_set(&mut self, rec: u64, [base, top, ripas, flags]: [u64; 4]) -> Tried {
        let value = ripas as u8;
        if !self.is_protected_range(rec, base, top) || value > 1 {
            return done(&[(0, 1)]);
        }
        let state = self.recs.get_mut(&rec).expect("it runs");
        state.request = Request {
            base,
            top,
            value,
            may_change_destroyed: flags & 1 == 1,
        };
        (ExitExpected::Ripas { base, top, value }, Pending::Ripas)
    }

    fn ipa_state_get(&self, rec: u64, base: u64, top: u64) -> Tried {
        if !self.is_protected_range(rec, base, top) {
            return done(&[(0, 1)]);
        }
        let (entry, _) = self.covering(rec, base).expect("protected");
        let ripas = entry.ripas().expect("protected");
        let exit = ExitExpected::Waits {
            registers: vec![(0, 0), (2, ripas.into())],
            is_exception: false,
            state_get: Some((base, top)),
        };
        (exit, Pending::Nothing)
    }

    /// Says whether all of a range has the RIPAS of its beginning.
    pub(super) fn is_uniform(&self, rec: u64, base: u64, top: u64) -> bool {
        let ripas_at = |ipa: u64| self.covering(rec, ipa).and_then(|(entry, _)| entry.ripas());
        let tree = &self.realms[&self.recs[&rec].rd].tree;
        let first = ripas_at(base);
        let mut ipa = base;
        while ipa < top {
            if ripas_at(ipa) != first {
                return false;
            }
            let found = tree.walk(ipa, 3);
            ipa = found.base + super::tree::size(found.level);
        }
        true
    }

    fn host_call(&self, rec: u64, ipa: u64) -> Tried {
        let half = self.realms[&self.recs[&rec].rd].tree.half();
        if !ipa.is_multiple_of(0x100) || ipa >= half {
            return done(&[(0, 1)]);
        }
        match self.buffer(rec, ipa) {
            Buffer::Empty => done(&[(0, 1)]),
            Buffer::Missing => (
                ExitExpected::DataAbort {
                    ipa: ipa & !(GRANULE - 1),
                    is_emulatable: false,
                    value: 0,
                },
                Pending::Again,
            ),
            Buffer::Page(page) => {
                let first = ipa % GRANULE / 8;
                let imm = self.word(page, first) & 0xFFFF;
                let gprs = (1..32).map(|n| self.word(page, first + n)).collect();
                (
                    ExitExpected::HostCall { imm, gprs },
                    Pending::HostCall { ipa },
                )
            }
        }
    }

    fn finish_host_call(&mut self, rec: u64, ipa: u64, spec: &EnterSpec) -> Tried {
        match self.buffer(rec, ipa) {
            Buffer::Page(page) => {
                let first = ipa % GRANULE / 8;
                for n in 1..32 {
                    self.set_word(page, first + n, if n == 1 { spec.x0 } else { 0 });
                }
                done(&[(0, 0)])
            }
            // What the Realm sees then is open.
            Buffer::Empty => done(&[]),
            Buffer::Missing => (
                ExitExpected::DataAbort {
                    ipa: ipa & !(GRANULE - 1),
                    is_emulatable: false,
                    value: 0,
                },
                Pending::HostCall { ipa },
            ),
        }
    }

    fn psci(&mut self, rec: u64, fid: u64, [x1, x2]: [u64; 2]) -> Tried {
        let rd = self.recs[&rec].rd;
        let own = self.recs[&rec].index;
        let realm = self.realms.get_mut(&rd).expect("a REC has a Realm");
        let known = (0..realm.rec_index).find(|index| scenarios::rec_mpidr(*index) == x1);
        let fail = |code: i64| done(&[(0, code.cast_unsigned())]);
        let exit = |pending| (ExitExpected::Psci([fid, 0]), pending);
        match (fid, known) {
            (0x8400_0000, _) => done(&[(0, 0x1_0001)]),
            (0xC400_0001, _) => exit(Pending::Answer { x0: None }),
            (0x8400_0002, _) => {
                self.recs.get_mut(&rec).expect("it runs").is_runnable = false;
                // Turned on again, it begins anew and does what it is told then.
                exit(Pending::Nothing)
            }
            (0x8400_0008 | 0x8400_0009, _) => {
                realm.life = Life::Off;
                exit(Pending::Gone)
            }
            (0xC400_0003, _) if x2 >= realm.tree.half() => fail(-9),
            (0xC400_0003, None) => fail(-2),
            (0xC400_0003, Some(index)) if index == own => fail(-4),
            (0xC400_0004, _) if x2 & 0xFFFF_FFFF != 0 => fail(-2),
            (0xC400_0004, None) => fail(-2),
            (0xC400_0004, Some(index)) if index == own => fail(0),
            (0xC400_0003 | 0xC400_0004, Some(_)) => {
                let state = self.recs.get_mut(&rec).expect("it runs");
                state.psci = Some(PsciRequest { fid, target: x1 });
                let pending = Pending::Answer { x0: None };
                (ExitExpected::Psci([fid, x1]), pending)
            }
            _ => fail(-1),
        }
    }
}
