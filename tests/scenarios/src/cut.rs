// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Pages that go away at any moment of the call that copies them, on a machine where nobody can say at
//! which byte: another PE takes the page to the Realm world, at another moment each time.
//!
//! The moments begin before the call does and end after it has returned, and a scenario goes on until it
//! has seen the call both fail and succeed, so that it has crossed the copy. What a failure may not leave
//! behind is looked at after each. Nothing promises that a page goes away halfway: QEMU makes the memory
//! copy instructions of a page at once, and of 3,000 copies through registers none was cut inside. Where
//! copies can be cut at a byte, scenarios do that instead.

use alloc::vec;

use rmi::{Command, RecEnter};

use crate::check;
use crate::outcome::{Outcome, Reply};
use crate::port::Capabilities;
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

/// What came of the rounds so far.
#[derive(Clone, Copy, Debug, Default)]
struct Rounds {
    failed: usize,
    passed: usize,
}

impl Rounds {
    fn count(self) -> usize {
        self.failed + self.passed
    }

    fn wants_more(self) -> bool {
        let has_both = self.failed > 0 && self.passed > 0;
        self.count() < LEAST || (self.count() < MOST && !has_both)
    }

    fn check(self) -> Outcome {
        let has_both = self.failed > 0 && self.passed > 0;
        check!(has_both, "no cut came into reach: {self:?}");
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
        if is_passed {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
        Ok(is_passed)
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
    fn cut_at(&mut self, page: u64, call: Command, rounds: Rounds) -> Outcome<Reply> {
        self.need(Capabilities::SECOND_PE, "no copy can be cut")?;
        let wait = Command::Version { req: 0x1_0000 }.encode();
        let [ours, theirs] = MOMENTS[rounds.count() % MOMENTS.len()];
        let (mut ours, mut theirs) = (vec![wait; ours], vec![wait; theirs]);
        ours.push(call.encode());
        theirs.push(Command::GranuleDelegate { addr: page }.encode());
        let raced = self.port.race(&ours, &theirs);
        let Some([our_replies, their_replies]) = raced else {
            check!(false, "nobody raced");
            unreachable!("checked")
        };
        let last = |replies: &[[u64; 8]], calls: &[[u64; 8]]| {
            let (reply, call) = replies.last().zip(calls.last()).expect("one at least");
            Reply(*reply).without_kept(call)
        };
        let taken = last(&their_replies, &theirs);
        check!(taken.is_success(), "{page:#x} stays the Host's: {taken:?}");
        self.note_delegated(page);
        self.undelegate(page)?;
        let reply = last(&our_replies, &ours);
        self.account(&call.encode(), reply);
        Ok(reply)
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
    let mut rounds = Rounds::default();
    while rounds.wants_more() {
        w.write_page(src, &[0xA5_u8; 4096])?;
        let reply = w.cut_at(src, create, rounds)?;
        if rounds.note(reply, Reply::SUCCESS)? {
            w.ok(Command::DataDestroy { rd, ipa })?;
            continue;
        }
        w.undelegate(data)?;
        let left = w.read_page::<[u8; 4096]>(data)?;
        let copied = left.iter().filter(|byte| **byte != 0).count();
        check!(copied == 0, "{copied} bytes of the copy stay, {rounds:?}");
        w.delegate(data)?;
    }
    rounds.check()
}

/// No Realm comes of half its parameters.
pub(crate) fn realm_create(w: &mut World<'_>) -> Outcome {
    let (create, realm) = w.prepare_realm(&RealmPlan::default())?;
    let (rd, page) = (realm.rd, create.encode()[2]);
    let contents = w.read_page::<[u8; 4096]>(page)?;
    let mut rounds = Rounds::default();
    while rounds.wants_more() {
        w.write_page(page, &contents)?;
        let reply = w.cut_at(page, create, rounds)?;
        if rounds.note(reply, Reply::SUCCESS)? {
            w.ok(Command::RealmDestroy { rd })?;
        }
        for granule in [rd, realm.root] {
            check!(w.is_delegated(granule)?, "{granule:#x} is in use");
        }
    }
    rounds.check()
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
    let mut rounds = Rounds::default();
    while rounds.wants_more() {
        params.mpidr = crate::rec_mpidr(rounds.passed as u64);
        w.write_page(params_ptr, &params)?;
        let reply = w.cut_at(params_ptr, create, rounds)?;
        if rounds.note(reply, Reply::SUCCESS)? {
            w.ok(Command::RecDestroy { rec })?;
        }
        check!(w.is_delegated(rec)?, "the REC is there");
    }
    rounds.check()
}

/// A REC that is off says so only once the whole first half of the run page was read.
pub(crate) fn rec_enter(w: &mut World<'_>) -> Outcome {
    let realm = w.realm()?;
    let Rec { rec, run, .. } = w.rec(&realm, Runnable::No)?;
    w.activate(&realm)?;
    let enter = Command::RecEnter { rec, run_ptr: run };
    let mut rounds = Rounds::default();
    while rounds.wants_more() {
        w.write_page(run, &RecEnter::default())?;
        let reply = w.cut_at(run, enter, rounds)?;
        rounds.note(reply, Reply::rec())?;
    }
    rounds.check()?;
    w.expect(enter, Reply::rec())
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
    let (mut rounds, mut ran) = (Rounds::default(), 0);
    // It takes a page that goes away while the Realm runs for an exit to get lost, and several PEs that
    // really run at once for that.
    while rounds.wants_more() || ran == 0 && rounds.count() < MOST {
        let value = rounds.count() as u64 + 2;
        let mut enter = RecEnter::default();
        w.port.set_action(&mut enter, store(value));
        w.write_page(run, &enter)?;
        let reply = w.cut_at(run, call, rounds)?;
        let is_passed = rounds.note(reply, Reply::SUCCESS)?;
        let [stored, ..] = w.read_page::<[u64; 512]>(shared)?;
        ran += usize::from(!is_passed && stored == value);
        w.act_done(&rec, store(1))?;
    }
    rounds.check()
}
