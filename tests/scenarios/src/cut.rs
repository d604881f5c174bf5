// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Pages that go away at any moment of the call that copies them: another PE takes the page to the Realm
//! world, at another moment each time.
//!
//! The moments begin before the call does and end after it has returned, and a scenario goes on until it
//! has seen the call both fail and succeed, so that it has crossed the copy. What a failure may not leave
//! behind is looked at after each.
//!
//! Where PEs run in turns ([`Capabilities::TURNS`]) the call is stopped at every [`STEP`]th instruction of
//! it: before the monitor has looked at the page, between that and the copy, at many places within the
//! copy, and behind it. Where they run at the same time nobody can say at which byte a page goes away, and
//! hardly ever is it inside the copy. Where copies can be cut at a byte, scenarios do that instead.

use alloc::vec;
use core::mem::offset_of;

use rmi::{Command, EnterFlags, RecEnter, RecExit};

use crate::check;
use crate::outcome::{Outcome, Reply};
use crate::port::{Capabilities, GRANULE};
use crate::realm::RealmAction;
use crate::world::{RealmPlan, Rec, Runnable, World};

/// Rounds of a scenario, if it has seen both ends by then.
const LEAST: usize = 120;
/// Rounds after which it gives up.
const MOST: usize = 4000;
/// Short calls by which either side begins later: ours, theirs.
const MOMENTS: [[usize; 2]; 8] = [
    [4, 0],
    [0, 0],
    [1, 0],
    [0, 1],
    [1, 1],
    [0, 2],
    [2, 1],
    [0, 12],
];

/// Instructions from one moment to the next, where PEs run in turns.
const STEP: u64 = 8;
/// Successes in a row behind which a call has nothing more to do with the page.
const BEHIND: usize = 32;
/// Bytes of a page of parameters or of a source.
const PAGE: usize = 4096;
/// Bytes of a copy that may go by between two moments. Pairs of registers take 8 instructions for 64.
const COARSE: usize = 128;

/// What came of the rounds so far.
#[derive(Clone, Copy, Debug)]
struct Rounds {
    in_turns: bool,
    failed: usize,
    passed: usize,
    /// Where PEs run in turns: the ticks of the last call that was made, and before the page was taken.
    ticks: u64,
    before: u64,
    /// The ticks of the last failure.
    failure_ticks: u64,
    /// The latest moment of a failure, and the earliest of a success.
    last_failure: u64,
    first_success: u64,
    /// Failures that took longer than the one a moment before: the copy had come further.
    depths: usize,
}

impl Rounds {
    fn new(w: &World<'_>) -> Self {
        Self {
            in_turns: w.port.capabilities().contains(Capabilities::TURNS),
            failed: 0,
            passed: 0,
            ticks: 0,
            before: 0,
            failure_ticks: 0,
            last_failure: 0,
            first_success: u64::MAX,
            depths: 0,
        }
    }

    fn count(self) -> usize {
        self.failed + self.passed
    }

    fn wants_more(self) -> bool {
        let has_both = self.failed > 0 && self.passed > 0;
        let has_enough = if self.in_turns {
            self.passed >= BEHIND
        } else {
            self.count() >= LEAST
        };
        self.count() < MOST && !(has_both && has_enough)
    }

    /// Insists on having seen both ends, and on having cut the copy of so many bytes all along, where that
    /// can be known.
    fn check(self, copied_bytes: usize) -> Outcome {
        let has_both = self.failed > 0 && self.passed > 0;
        check!(has_both, "no cut came into reach: {self:?}");
        let is_cut = !self.in_turns || self.depths >= copied_bytes / COARSE;
        check!(is_cut, "hardly a cut is inside the copy: {self:?}");
        Ok(())
    }

    /// Takes account of a reply, which is `passed` or that of a page that went away; says whether it is
    /// the former.
    fn note(&mut self, reply: Reply, passed: Reply) -> Outcome<bool> {
        let is_passed = reply.x0() == passed.x0();
        check!(
            is_passed || reply.x0() == Reply::input().x0(),
            "{reply:?} instead of {passed:?} or a failure"
        );
        self.note_whether(is_passed)?;
        Ok(is_passed)
    }

    /// Takes account of a round. A call that had its copy at one moment has it at all later ones.
    fn note_whether(&mut self, is_passed: bool) -> Outcome {
        if is_passed {
            self.passed += 1;
            self.first_success = self.first_success.min(self.before);
        } else {
            self.depths += usize::from(self.failed > 0 && self.ticks > self.failure_ticks);
            self.failed += 1;
            self.failure_ticks = self.ticks;
            self.last_failure = self.last_failure.max(self.before);
        }
        check!(
            !self.in_turns || self.last_failure <= self.first_success,
            "the page was missed later than it was not: {self:?}"
        );
        Ok(())
    }
}

impl World<'_> {
    /// Says whether this machine can cut copies where a scenario wants it.
    pub(crate) fn can_cut(&self) -> bool {
        self.port
            .capabilities()
            .contains(Capabilities::FAULT_HALFWAY)
    }

    /// Makes a call while another PE takes the page at `page` to the Realm world; it is the Host's again
    /// afterwards, without its contents.
    fn cut_at(&mut self, page: u64, call: Command, rounds: &mut Rounds) -> Outcome<Reply> {
        self.need(Capabilities::SECOND_PE, "no copy can be cut")?;
        let take = Command::GranuleDelegate { addr: page };
        let [reply, taken] = if rounds.in_turns {
            let ticks = rounds.count() as u64 * STEP;
            let made = self.port.interleave(call.encode(), ticks, take.encode());
            let made = made.expect("the port has turns");
            (rounds.ticks, rounds.before) = (made.ticks, made.before);
            [made.ours, made.theirs]
        } else {
            self.race_at(MOMENTS[rounds.count() % MOMENTS.len()], call, take)
        };
        let taken = Reply(taken).without_kept(&take.encode());
        check!(taken.is_success(), "{page:#x} stays the Host's: {taken:?}");
        self.note_delegated(page);
        self.undelegate(page)?;
        let reply = Reply(reply).without_kept(&call.encode());
        self.account(&call.encode(), reply);
        Ok(reply)
    }

    /// Races two calls, each behind so many short ones.
    fn race_at(
        &mut self,
        [ours, theirs]: [usize; 2],
        call: Command,
        take: Command,
    ) -> [[u64; 8]; 2] {
        let wait = Command::Version { req: 0x1_0000 }.encode();
        let (mut ours, mut theirs) = (vec![wait; ours], vec![wait; theirs]);
        ours.push(call.encode());
        theirs.push(take.encode());
        let raced = self
            .port
            .race(&ours, &theirs)
            .expect("the port has two PEs");
        raced.map(|replies| *replies.last().expect("one call at least"))
    }

    /// Checks that the Realm world has a granule, does not use it and left nothing in it.
    fn check_empty(&mut self, granule: u64, rounds: Rounds) -> Outcome {
        self.undelegate(granule)?;
        let left = self.read_page::<[u8; 4096]>(granule)?;
        let copied = left.iter().filter(|byte| **byte != 0).count();
        check!(copied == 0, "{copied} bytes of the copy stay, {rounds:?}");
        self.delegate(granule)?;
        Ok(())
    }
}

/// The page behind a `RMI_DATA_CREATE` that fails stays unused and empty.
pub(crate) fn data_create(w: &mut World<'_>) -> Outcome {
    let realm = w.realm()?;
    w.tables(&realm, 0, 3)?;
    let (rd, data, src) = (realm.rd, w.delegated()?, w.granule()?);
    let (ipa, flags) = (0, 0);
    let create = Command::DataCreate {
        rd,
        data,
        ipa,
        src,
        flags,
    };
    let mut rounds = Rounds::new(w);
    while rounds.wants_more() {
        w.write_page(src, &[0xA5_u8; 4096])?;
        let reply = w.cut_at(src, create, &mut rounds)?;
        if rounds.note(reply, Reply::SUCCESS)? {
            w.ok(Command::DataDestroy { rd, ipa })?;
            continue;
        }
        w.check_empty(data, rounds)?;
    }
    rounds.check(PAGE)
}

/// No Realm comes of half its parameters.
pub(crate) fn realm_create(w: &mut World<'_>) -> Outcome {
    let (create, realm) = w.prepare_realm(&RealmPlan::default())?;
    let (rd, page) = (realm.rd, create.encode()[2]);
    let contents = w.read_page::<[u8; 4096]>(page)?;
    let mut rounds = Rounds::new(w);
    while rounds.wants_more() {
        w.write_page(page, &contents)?;
        let reply = w.cut_at(page, create, &mut rounds)?;
        if rounds.note(reply, Reply::SUCCESS)? {
            w.ok(Command::RealmDestroy { rd })?;
        }
        for granule in [rd, realm.root] {
            w.check_empty(granule, rounds)?;
        }
    }
    rounds.check(PAGE)
}

/// No REC comes of half its parameters, and the Realm waits for the same one.
pub(crate) fn rec_create(w: &mut World<'_>) -> Outcome {
    let realm = w.realm()?;
    let mut params = w.rec_params(&realm, 0, Runnable::Yes)?;
    let (rd, rec, params_ptr) = (realm.rd, w.delegated()?, w.granule()?);
    let create = Command::RecCreate {
        rd,
        rec,
        params_ptr,
    };
    let mut rounds = Rounds::new(w);
    while rounds.wants_more() {
        params.mpidr = crate::rec_mpidr(rounds.passed as u64);
        w.write_page(params_ptr, &params)?;
        let reply = w.cut_at(params_ptr, create, &mut rounds)?;
        if rounds.note(reply, Reply::SUCCESS)? {
            w.ok(Command::RecDestroy { rec })?;
        }
        w.check_empty(rec, rounds)?;
    }
    rounds.check(PAGE)
}

/// A REC that is off says so only once the whole first half of the run page was read.
pub(crate) fn rec_enter(w: &mut World<'_>) -> Outcome {
    let realm = w.realm()?;
    let Rec { rec, run, .. } = w.rec(&realm, Runnable::No)?;
    w.activate(&realm)?;
    let enter = Command::RecEnter { rec, run_ptr: run };
    let mut rounds = Rounds::new(w);
    while rounds.wants_more() {
        w.write_page(run, &RecEnter::default())?;
        let reply = w.cut_at(run, enter, &mut rounds)?;
        rounds.note(reply, Reply::rec())?;
    }
    rounds.check(offset_of!(RecEnter, gicv3_lrs))?;
    w.expect(enter, Reply::rec())
}

/// A REC that waits for an answer goes on waiting: nothing of a page that was not read whole is one.
///
/// The page that goes away accepts the request, and so would one of zeroes. The next one rejects it.
pub(crate) fn rec_answer(w: &mut World<'_>) -> Outcome {
    const RAM: u64 = 1;
    const REJECTED: (u64, u64, u64) = (0, 0, 1);
    let (_, rec) = w.running_realm()?;
    let enter = Command::RecEnter {
        rec: rec.rec,
        run_ptr: rec.run,
    };
    let mut rounds = Rounds::new(w);
    while rounds.wants_more() {
        w.ripas_request(&rec, 0, GRANULE, RAM, 0)?;
        w.write_page(rec.run, &RecEnter::default())?;
        let reply = w.cut_at(rec.run, enter, &mut rounds)?;
        let is_missed = reply.x0() == Reply::input().x0();
        check!(is_missed || reply.is_success(), "{reply:?}");
        // One that has run and cannot say so has its answer.
        let waits = is_missed && w.ripas_answer(&rec, EnterFlags::RIPAS_REJECT)? == REJECTED;
        rounds.note_whether(!waits)?;
    }
    rounds.check(offset_of!(RecEnter, gicv3_lrs))
}

/// A Realm whose exit cannot be written, or not wholly, has run or has not, and goes on as it should.
pub(crate) fn rec_exit(w: &mut World<'_>) -> Outcome {
    let realm = w.realm()?;
    w.load_program(&realm)?;
    w.tables(&realm, realm.unprotected(), 3)?;
    let shared = w.granule()?;
    let ipa = realm.unprotected();
    w.map(&realm, ipa, 3, shared)?;
    let rec = w.rec(&realm, Runnable::Yes)?;
    w.activate(&realm)?;
    let run = rec.run;
    let call = Command::RecEnter {
        rec: rec.rec,
        run_ptr: run,
    };
    let store = |value| RealmAction::Store { ipa, value };
    w.act_done(&rec, store(1))?;
    let (mut rounds, mut ran) = (Rounds::new(w), 0);
    // It takes a page that goes away while the Realm runs for an exit to get lost, and several PEs that
    // run at once or in turns for that.
    while rounds.wants_more() || ran == 0 && rounds.count() < MOST {
        let value = rounds.count() as u64 + 2;
        let mut enter = RecEnter::default();
        w.port.set_action(&mut enter, store(value));
        w.write_page(run, &enter)?;
        let reply = w.cut_at(run, call, &mut rounds)?;
        let is_passed = rounds.note(reply, Reply::SUCCESS)?;
        let [stored, ..] = w.read_page::<[u64; 512]>(shared)?;
        let has_run = stored == value;
        check!(has_run || stored == 1 && !is_passed, "{stored} was stored");
        check!(
            has_run || !rounds.in_turns || ran == 0,
            "no run: {rounds:?}"
        );
        if has_run && ran == 0 {
            // The copy of the first half is behind.
            rounds.depths = 0;
        }
        ran += usize::from(has_run && !is_passed);
        w.act_done(&rec, store(1))?;
    }
    check!(ran > 0 || !rounds.in_turns, "no exit was lost: {rounds:?}");
    rounds.check(size_of::<RecExit>())
}
