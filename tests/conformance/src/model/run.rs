// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Walks: steps on a monitor and on the model, side by side.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rmi::{Command, ExitReason, RecExit};
use rmm_granule::StateCode;
use scenarios::realm::RealmResult;
use scenarios::{Reply, RmiPort};
use zerocopy::FromBytes;

use super::enter::ExitExpected;
use super::{Coverage, Entry, GRANULE, Generator, Model, Page, Step, Use};
use crate::machine::{Profile, Site, with_site};
use crate::port::InProcess;

/// A walk that went wrong, and why.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The steps up to the wrong one.
    pub steps: Vec<Step>,
    /// What is wrong.
    pub reason: String,
}

/// What a walk did.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What it came across.
    pub coverage: Coverage,
    /// The first thing that went wrong.
    pub failure: Option<Failure>,
}

/// A monitor and the model of it.
struct Session<'m> {
    site: Site<'m>,
    port: InProcess<'m>,
    model: Model,
    coverage: Coverage,
}

impl<'m> Session<'m> {
    fn new(site: Site<'m>) -> Self {
        let features = site.monitor.offer();
        let machine = site.machine;
        let granules = (1..machine.granules()).map(|n| machine.granule(n).raw());
        let model = Model::new(features, machine.features(), granules);
        let mut port = InProcess::new(site);
        port.touch_all();
        Self {
            site,
            port,
            model,
            coverage: Coverage::default(),
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match *step {
            Step::Secure { granule, is_secure } => {
                if self.model.set_secure(granule, is_secure) {
                    if is_secure {
                        self.port.make_secure(granule);
                    } else {
                        self.port.make_non_secure(granule);
                    }
                }
                Ok(())
            }
            Step::Call {
                registers,
                page,
                action,
            } => {
                if let Some((at, page)) = page {
                    self.write(at, &page);
                }
                self.port.forget_action();
                if let Some(Command::RecEnter { rec, .. }) = Command::decode(&registers) {
                    if let Some(action) = action {
                        self.port.set_action(&mut rmi::RecEnter::default(), action);
                    }
                    self.model.offer(rec, action);
                }
                self.call(&registers, page)
            }
        }
    }

    fn write(&mut self, at: u64, page: &Page) {
        if at.is_multiple_of(GRANULE) && self.model.is_host_memory(at) {
            // Nothing else owns the page, so it can be written.
            self.port
                .write(at, &page.bytes())
                .expect("the Host's own page");
        }
    }

    fn call(&mut self, registers: &[u64; 8], page: Option<(u64, Page)>) -> Result<(), String> {
        let reply = Reply(self.port.call(*registers)).without_kept(registers);
        let expected = self.model.call(registers, page);
        if !expected.replies.contains(&reply) {
            return Err(format!("{reply:?} instead of {:?}", expected.replies));
        }
        let Some(command) = Command::decode(registers) else {
            return Ok(());
        };
        self.coverage
            .note(command.id(), &reply, &expected.conditions);
        match (command, expected.exit) {
            (Command::RealmCreate { rd, .. }, _) if reply.is_success() => {
                let count = Command::RecAuxCount { rd }.encode();
                let count = self.port.call(count)[1];
                self.model.learn_aux_count(rd, count);
                Ok(())
            }
            (Command::RecEnter { rec, run_ptr }, Some(exit)) => {
                self.coverage.note_kind(format!("exit {}", exit.name()));
                self.check_exit(rec, run_ptr, &exit)
            }
            _ => Ok(()),
        }
    }

    fn check_exit(&mut self, rec: u64, run: u64, wanted: &ExitExpected) -> Result<(), String> {
        let mut page = vec![0; 4096];
        self.port
            .read(run, &mut page)
            .map_err(|_| "the run page is gone")?;
        let exit = RecExit::read_from_bytes(&page[2048..]).expect("half a granule");
        let result = self.port.take_result(&exit);
        let reason = exit.reason().ok_or("an unknown exit")?;
        let is_right = match wanted {
            ExitExpected::Waits {
                registers,
                is_exception,
                state_get,
            } => {
                let result = result.unwrap_or_default();
                reason == ExitReason::Irq
                    && self.is_result(rec, &result, registers, *is_exception, *state_get)
            }
            ExitExpected::Psci([x0, x1]) => {
                reason == ExitReason::Psci
                    && exit.gprs[..2] == [*x0, *x1]
                    && exit.gprs[2..] == [0; 29]
            }
            ExitExpected::Ripas { base, top, value } => {
                reason == ExitReason::RipasChange
                    && (exit.ripas_base, exit.ripas_top, exit.ripas_value) == (*base, *top, *value)
            }
            ExitExpected::HostCall { imm, gprs } => {
                reason == ExitReason::HostCall
                    && u64::from(exit.imm) == *imm
                    && exit.gprs[..] == gprs[..]
            }
            ExitExpected::DataAbort {
                ipa,
                is_emulatable,
                value,
            } => {
                let far = if *is_emulatable { ipa % GRANULE } else { 0 };
                reason == ExitReason::Sync
                    && exit.syndrome().is_data_abort()
                    && exit.hpfar == ipa >> 12 << 4
                    && exit.far == far
                    && exit.syndrome().has_instruction() == *is_emulatable
                    && exit.gprs[0] == *value
                    && exit.gprs[1..] == [0; 30]
            }
            ExitExpected::InstructionAbort { ipa } => {
                reason == ExitReason::Sync
                    && exit.syndrome().is_instruction_abort()
                    && exit.hpfar == ipa >> 12 << 4
                    && (exit.far, exit.gprs[0]) == (0, 0)
            }
        };
        if is_right {
            return Ok(());
        }
        Err(format!(
            "exit {reason:?} esr {:#x} hpfar {:#x} far {:#x} gprs {:x?}, result {result:x?} instead \
             of {wanted:x?}",
            exit.esr,
            exit.hpfar,
            exit.far,
            &exit.gprs[..4],
        ))
    }

    fn is_result(
        &self,
        rec: u64,
        result: &RealmResult,
        registers: &[(usize, u64)],
        is_exception: bool,
        state_get: Option<(u64, u64)>,
    ) -> bool {
        let is_known = registers
            .iter()
            .all(|(n, value)| result.registers[*n] == *value);
        let is_taken = !is_exception || result.exception.is_some();
        let is_progress = state_get.is_none_or(|(base, top)| {
            let reached = result.registers[1];
            reached > base && reached <= top && self.model.is_uniform(rec, base, reached)
        });
        is_known && is_taken && is_progress
    }

    /// Compares everything that can be compared.
    fn check(&mut self) -> Result<(), String> {
        for (at, granule) in self.model.granules() {
            self.coverage
                .note_kind(format!("granule {:?}", granule.used));
            let address = rmi::PhysAddr::new(at);
            let (state, _) = self.site.table.peek(address).ok_or("a granule is gone")?;
            if state != code_of(granule.used) {
                return Err(format!(
                    "{at:#x} is {state:?} instead of {:?}",
                    granule.used
                ));
            }
        }
        self.port.audit()?;
        self.check_tables()
    }

    fn check_tables(&mut self) -> Result<(), String> {
        let mut places = Vec::new();
        for (rd, life, tree) in self.model.trees() {
            self.coverage.note_kind(format!("Realm {life:?}"));
            for (level, base, _, entries) in tree.tables() {
                note_entries(&mut self.coverage, level, entries);
                // Of entries that follow from the one before, a few stand for all.
                let follows =
                    |n: usize| entries[n] == entries[n - 1].part(super::tree::size(level));
                let is_new = |n: usize| n < 17 || n == 511 || !follows(n);
                for n in (0..entries.len()).filter(|n| is_new(*n)) {
                    places.push((rd, base + n as u64 * super::tree::size(level), level));
                }
            }
        }
        for (rd, ipa, level) in places {
            let level = level.cast_unsigned();
            let call = Command::RttReadEntry { rd, ipa, level }.encode();
            let reply = Reply(self.port.call(call)).without_kept(&call);
            let expected = self.model.call(&call, None);
            if !expected.replies.contains(&reply) {
                let wanted = expected.replies;
                return Err(format!(
                    "{rd:#x}: entry {ipa:#x} is {reply:?}, not {wanted:?}"
                ));
            }
        }
        Ok(())
    }
}

fn note_entries(coverage: &mut Coverage, level: i64, entries: &[Entry]) {
    match level {
        3 => coverage.note_kind("table of level 3".into()),
        _ if entries.iter().any(|e| matches!(e, Entry::Assigned { .. })) => {
            coverage.note_kind("block Assigned".into());
        }
        _ if entries
            .iter()
            .any(|e| matches!(e, Entry::AssignedNs { .. })) =>
        {
            coverage.note_kind("block AssignedNs".into());
        }
        _ => {}
    }
}

fn code_of(used: Use) -> StateCode {
    match used {
        Use::Undelegated => StateCode::Undelegated,
        Use::Delegated => StateCode::Delegated,
        Use::Rd => StateCode::Rd,
        Use::Rec => StateCode::Rec,
        Use::RecAux => StateCode::RecAux,
        Use::Data => StateCode::Data,
        Use::Rtt => StateCode::Rtt,
    }
}

/// Runs `body`; a panic of the monitor is a reason too.
fn guarded<R>(body: impl FnOnce() -> Result<R, String>) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("panic: {}", text.unwrap_or("without words")))
    })
}

/// Walks `steps` steps of a seed, comparing everything every `every` steps.
#[must_use]
pub fn run_seed(profile: &Profile, seed: u64, steps: usize, every: usize) -> Outcome {
    with_site(profile, |site| {
        let mut session = Session::new(site);
        let mut generator = generator(&site, seed);
        let mut taken = Vec::new();
        let mut result = Ok(());
        for n in 0..steps {
            let step = generator.next(&session.model);
            taken.push(step);
            let is_checked = (n + 1).is_multiple_of(every) || n + 1 == steps;
            result = guarded(|| {
                session.step(&step)?;
                if is_checked { session.check() } else { Ok(()) }
            });
            if result.is_err() {
                break;
            }
        }
        Outcome {
            coverage: session.coverage,
            failure: result.err().map(|reason| Failure {
                steps: taken,
                reason,
            }),
        }
    })
}

fn generator(site: &Site<'_>, seed: u64) -> Generator {
    let machine = site.machine;
    let all = (1..machine.granules()).map(|n| machine.granule(n).raw());
    let is_block = |at: &u64| {
        let last = at + 511 * GRANULE;
        at.is_multiple_of(512 * GRANULE) && machine.pas(rmi::PhysAddr::new(last)).is_some()
    };
    let end = machine.granule(machine.granules() - 1).raw() + GRANULE;
    let absurd = vec![machine.granule(0).raw(), end, 0, 1 << 40, 1 << 52];
    Generator::new(seed, all.into_iter().find(is_block), absurd)
}

/// Walks given steps, comparing everything every `every` steps; returns the failure, if any.
#[must_use]
pub fn walk_steps(profile: &Profile, steps: &[Step], every: usize) -> Option<Failure> {
    with_site(profile, |site| {
        let mut session = Session::new(site);
        let mut taken = 0;
        let result = guarded(|| {
            for step in steps {
                taken += 1;
                session.step(step)?;
                if taken % every == 0 {
                    session.check()?;
                }
            }
            session.check()
        });
        result.err().map(|reason| Failure {
            steps: steps[..taken].to_vec(),
            reason,
        })
    })
}

/// Leaves out steps as long as what remains still fails.
#[must_use]
pub fn shrink(profile: &Profile, failure: Failure) -> Failure {
    let mut best = failure;
    let mut chunk = best.steps.len() / 2;
    while chunk > 0 {
        let mut at = 0;
        while at < best.steps.len() {
            let mut fewer = best.steps.clone();
            let end = (at + chunk).min(fewer.len());
            fewer.drain(at..end);
            let every = (fewer.len() / 50).max(1);
            match walk_steps(profile, &fewer, every) {
                Some(smaller) => best = smaller,
                None => at += chunk,
            }
        }
        chunk /= 2;
    }
    best
}
