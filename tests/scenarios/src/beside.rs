// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Two PEs at once: tables that change under a Realm that runs, and granules that change their world
//! between a command's check and its use.

use alloc::vec::Vec;

use rmi::{Command, CommandId, ExitReason, RecEnter, RecExit};
use zerocopy::{FromBytes, IntoBytes};

use crate::check;
use crate::desc::READ_WRITE_BACK;
use crate::outcome::{Outcome, Reply};
use crate::port::{Capabilities, GRANULE, Place};
use crate::realm::RealmAction;
use crate::scenario::{Kind, Scenario};
use crate::world::{Realm, RealmPlan, Rec, Runnable, World, entry_bytes};

/// What these scenarios prove.
pub(crate) const SCENARIOS: &[Scenario] = &[
    row(CommandId::RttFold, "rtt_fold_while_read", fold),
    row(
        CommandId::RttFold,
        "rtt_fold_while_host_memory_read",
        fold_host,
    ),
    row(
        CommandId::RttUnmapUnprotected,
        "rtt_unmap_unprotected_while_read",
        unmap,
    ),
    row(
        CommandId::DataDestroy,
        "data_destroy_while_read",
        destroy_data,
    ),
    row(
        CommandId::RttDestroy,
        "rtt_destroy_while_read",
        destroy_table,
    ),
    row(
        CommandId::RealmDestroy,
        "realm_destroy_while_running",
        destroy_realm,
    ),
    row(
        CommandId::RecEnter,
        "rec_enter_run_delegated_meanwhile",
        run_delegated,
    ),
    row(CommandId::RecEnter, "rec_enter_race_run_page", race_run),
    row(
        CommandId::RealmCreate,
        "realm_create_race_params",
        race_realm_params,
    ),
    row(
        CommandId::RecCreate,
        "rec_create_race_params",
        race_rec_params,
    ),
    row(CommandId::DataCreate, "data_create_race_src", race_src),
    row(
        CommandId::DataCreateUnknown,
        "data_create_unknown_race",
        race_data,
    ),
    row(
        CommandId::GranuleDelegate,
        "granule_delegate_race",
        race_delegate,
    ),
];

const fn row(
    command: CommandId,
    name: &'static str,
    run: fn(&mut World<'_>) -> Outcome,
) -> Scenario {
    Scenario {
        name,
        command,
        kind: Kind::Behaviour,
        run,
    }
}

const BLOCK: u64 = entry_bytes(2);
/// Where the Realms of this file have a block of pages; the program is in the one before.
const WATCHED: u64 = BLOCK;
/// The word in it that is read.
const WORD: u64 = WATCHED + 5 * GRANULE + 0x18;
const VALUE: u64 = 0x5EED_0F0F_1234_5678;
/// How often tables change under a Realm.
const ROUNDS: usize = 40;
/// Calls of each side of a race.
const CALLS: usize = 200;

/// A Realm that runs, and the page of the Host with the word that ends a watch.
struct Watched {
    realm: Realm,
    rec: Rec,
    stop: u64,
}

impl Watched {
    /// `prepare` gives the new Realm its memory; then it runs.
    fn new(
        w: &mut World<'_>,
        prepare: impl FnOnce(&mut World<'_>, &Realm) -> Outcome,
    ) -> Outcome<Self> {
        w.need(Capabilities::SECOND_PE, "no second PE")?;
        let realm = w.realm()?;
        w.load_program(&realm)?;
        w.tables(&realm, realm.unprotected(), 3)?;
        let stop = w.granule()?;
        w.map(&realm, realm.unprotected(), 3, stop)?;
        prepare(w, &realm)?;
        let rec = w.rec(&realm, Runnable::Yes)?;
        w.activate(&realm)?;
        Ok(Self { realm, rec, stop })
    }

    /// A Realm with 2 MiB of its own memory in pages, one word of which is [`VALUE`].
    fn with_block(w: &mut World<'_>) -> Outcome<Self> {
        let made = Self::new(w, |w, realm| {
            w.tables(realm, WATCHED, 3)?;
            w.init_ripas(realm, WATCHED, WATCHED + BLOCK)?;
            w.assign_block(realm, WATCHED)?;
            Ok(())
        })?;
        made.store(w, WORD)?;
        Ok(made)
    }

    /// A Realm with one page of its own memory there.
    fn with_page(w: &mut World<'_>) -> Outcome<(Self, u64)> {
        let mut data = 0;
        let made = Self::new(w, |w, realm| {
            w.tables(realm, WATCHED, 3)?;
            w.init_ripas(realm, WATCHED, WATCHED + BLOCK)?;
            data = w.data_unknown(realm, WORD - WORD % GRANULE)?;
            Ok(())
        })?;
        made.store(w, WORD)?;
        Ok((made, data))
    }

    fn store(&self, w: &mut World<'_>, ipa: u64) -> Outcome {
        let value = VALUE;
        let result = w.act_done(&self.rec, RealmAction::Store { ipa, value })?;
        check!(result.exception.is_none(), "{result:x?}");
        Ok(())
    }

    /// Makes calls while the Realm reads the word at `ipa`; returns their replies and the last exit.
    fn watch(
        &self,
        w: &mut World<'_>,
        ipa: u64,
        calls: &[Command],
    ) -> Outcome<(Vec<Reply>, RecExit)> {
        let mut enter = RecEnter::default();
        let (value, stop) = (VALUE, self.realm.unprotected());
        w.port
            .set_action(&mut enter, RealmAction::Watch { ipa, value, stop });
        w.write_page(self.rec.run, &enter)?;
        let (rec, run_ptr) = (self.rec.rec, self.rec.run);
        let enter = Command::RecEnter { rec, run_ptr }.encode();
        let made: Vec<[u64; 8]> = calls.iter().map(Command::encode).collect();
        let beside = w.port.calls_beside(enter, &made, self.stop);
        let Some(beside) = beside else {
            check!(false, "the REC did not run");
            unreachable!("checked")
        };
        let replies = beside.calls.iter().zip(&made);
        let replies = replies.map(|(reply, call)| Reply(*reply).without_kept(call));
        let replies: Vec<Reply> = replies.collect();
        for (call, reply) in made.iter().zip(&replies) {
            w.account(call, *reply);
        }
        w.check_reply(
            CommandId::RecEnter,
            Reply(beside.enter).without_kept(&enter),
            Reply::SUCCESS,
        )?;
        let mut exit = [0; 0x800];
        let read = w.port.read(self.rec.run + 0x800, exit.as_mut_bytes());
        check!(read.is_ok(), "the run page is gone");
        let exit = RecExit::read_from_bytes(&exit).expect("half a granule");
        Ok((replies, exit))
    }

    /// The watch ended because the Host said so, and only ever saw the right value.
    fn check_watch(&self, w: &mut World<'_>, exit: &RecExit, least: u64) -> Outcome {
        let Some(result) = w.port.take_result(exit) else {
            let (reason, esr) = (exit.exit_reason, exit.esr);
            check!(false, "the watch ended in exit {reason}, esr {esr:#x}");
            unreachable!("checked")
        };
        check!(result.exception.is_none(), "{result:x?}");
        let [value, loads, ..] = result.registers;
        check!(value == VALUE, "the Realm read {value:#x}");
        check!(loads >= least, "only {loads} loads");
        Ok(())
    }

    /// The watch ended at an abort that the Host has to answer.
    fn check_abort(&self, w: &mut World<'_>, exit: &RecExit, ipa: u64) -> Outcome {
        let result = w.port.take_result(exit);
        check!(result.is_none(), "the watch ended with {result:x?}");
        let is_abort = exit.reason() == Some(ExitReason::Sync) && exit.syndrome().is_data_abort();
        check!(is_abort, "exit {}, esr {:#x}", exit.exit_reason, exit.esr);
        check!(exit.hpfar == ipa >> 12 << 4, "hpfar {:#x}", exit.hpfar);
        Ok(())
    }
}

fn check_all(w: &World<'_>, calls: &[Command], replies: &[Reply], wanted: &[Reply]) -> Outcome {
    check!(replies.len() == calls.len(), "{} replies", replies.len());
    for ((call, reply), wanted) in calls.iter().zip(replies).zip(wanted.iter().cycle()) {
        w.check_reply(call.id(), *reply, *wanted)?;
    }
    Ok(())
}

/// Pages fold into a block and a block unfolds into pages, and the Realm notices nothing.
fn fold(w: &mut World<'_>) -> Outcome {
    let watched = Watched::with_block(w)?;
    let (rd, ipa, level) = (watched.realm.rd, WATCHED, 3);
    let fold = Command::RttFold { rd, ipa, level };
    let rtt = w.ok(fold)?.output(1);
    let create = Command::RttCreate {
        rd,
        rtt,
        ipa,
        level,
    };
    let calls = [create, fold].repeat(ROUNDS);
    let (replies, exit) = watched.watch(w, WORD, &calls)?;
    let wanted = [Reply::SUCCESS, Reply::SUCCESS.with(1, rtt)];
    check_all(w, &calls, &replies, &wanted)?;
    watched.check_watch(w, &exit, 2)
}

/// The same with a block of the Host's memory.
fn fold_host(w: &mut World<'_>) -> Outcome {
    let mut block = 0;
    let watched = Watched::new(w, |w, realm| {
        block = w.granules(512, BLOCK, Place::Low)?;
        w.map(realm, realm.unprotected() + BLOCK, 2, block)?;
        Ok(())
    })?;
    let offset = WORD - WATCHED;
    w.write_page(block + offset, &VALUE)?;
    let ipa = watched.realm.unprotected() + BLOCK;
    let (rd, rtt, level) = (watched.realm.rd, w.delegated()?, 3);
    let create = Command::RttCreate {
        rd,
        rtt,
        ipa,
        level,
    };
    let fold = Command::RttFold { rd, ipa, level };
    let calls = [create, fold].repeat(ROUNDS);
    let (replies, exit) = watched.watch(w, ipa + offset, &calls)?;
    let wanted = [Reply::SUCCESS, Reply::SUCCESS.with(1, rtt)];
    check_all(w, &calls, &replies, &wanted)?;
    watched.check_watch(w, &exit, 2)
}

/// Memory of the Host that comes and goes is right or an abort.
fn unmap(w: &mut World<'_>) -> Outcome {
    let watched = Watched::new(w, |_, _| Ok(()))?;
    let page = w.page(&[VALUE; 512])?;
    let ipa = watched.realm.unprotected() + GRANULE;
    w.map(&watched.realm, ipa, 3, page)?;
    let (rd, level) = (watched.realm.rd, 3);
    let unmap = Command::RttUnmapUnprotected { rd, ipa, level };
    let desc = page | READ_WRITE_BACK;
    let map = Command::RttMapUnprotected {
        rd,
        ipa,
        level,
        desc,
    };
    let calls = [unmap, map].repeat(ROUNDS);
    let (replies, exit) = watched.watch(w, ipa + 8, &calls)?;
    let wanted = [
        Reply::SUCCESS.with(1, watched.realm.unprotected() + BLOCK),
        Reply::SUCCESS,
    ];
    check_all(w, &calls, &replies, &wanted)?;
    watched.check_watch(w, &exit, 1)
}

/// After a page is destroyed the Realm cannot read it, nor a new one in its place.
fn destroy_data(w: &mut World<'_>) -> Outcome {
    let (watched, data) = Watched::with_page(w)?;
    let (rd, ipa) = (watched.realm.rd, WORD - WORD % GRANULE);
    let calls = [
        Command::DataDestroy { rd, ipa },
        Command::DataCreateUnknown { rd, data, ipa },
    ];
    let (replies, exit) = watched.watch(w, WORD, &calls)?;
    let wanted = [
        Reply::SUCCESS.with(1, data).with(2, WATCHED + BLOCK),
        Reply::SUCCESS,
    ];
    check_all(w, &calls, &replies, &wanted)?;
    watched.check_abort(w, &exit, WORD)?;
    w.check_entry(&watched.realm, ipa, 3, [3, 1, data, 2])
}

/// The table above a page goes away with it.
fn destroy_table(w: &mut World<'_>) -> Outcome {
    let (watched, data) = Watched::with_page(w)?;
    let (rd, ipa, level) = (watched.realm.rd, WATCHED, 3);
    let table = w.read_entry(&watched.realm, WATCHED, 2)?.output(3);
    let page = WORD - WORD % GRANULE;
    let calls = [
        Command::RttDestroy { rd, ipa, level },
        Command::DataDestroy { rd, ipa: page },
        Command::RttDestroy { rd, ipa, level },
        Command::GranuleUndelegate { addr: table },
    ];
    let (replies, exit) = watched.watch(w, WORD, &calls)?;
    w.note_undelegated(table);
    let wanted = [
        Reply::rtt(3).with(2, WATCHED),
        Reply::SUCCESS.with(1, data).with(2, WATCHED + BLOCK),
        Reply::SUCCESS.with(1, table).with(2, entry_bytes(1)),
        Reply::SUCCESS,
    ];
    check_all(w, &calls, &replies, &wanted)?;
    watched.check_abort(w, &exit, WORD)?;
    w.check_entry(&watched.realm, WATCHED, 3, [2, 0, 0, 2])
}

/// Nothing that a running Realm is made of can be taken away.
fn destroy_realm(w: &mut World<'_>) -> Outcome {
    let (watched, data) = Watched::with_page(w)?;
    let Realm { rd, root, .. } = watched.realm;
    let rec = watched.rec.rec;
    let undelegate = [rd, root, rec, data].map(|addr| Command::GranuleUndelegate { addr });
    let (ipa, level) = (WATCHED, 3);
    let others = [
        Command::RealmDestroy { rd },
        Command::RealmActivate { rd },
        Command::RecDestroy { rec },
        Command::RttDestroy { rd, ipa, level },
        Command::RttFold { rd, ipa, level },
    ];
    let calls = [&undelegate[..], &others].concat();
    let (replies, exit) = watched.watch(w, WORD, &calls)?;
    let input = Reply::input();
    let wanted = [
        input,
        input,
        input,
        input,
        Reply::realm(0),
        Reply::realm(0),
        Reply::rec(),
        Reply::rtt(3).with(2, WATCHED),
        Reply::rtt(3),
    ];
    check_all(w, &calls, &replies, &wanted)?;
    watched.check_watch(w, &exit, 2)
}

/// The run page becomes the Realm world's while the REC runs: the exit cannot be written, and the REC
/// does not run any more.
fn run_delegated(w: &mut World<'_>) -> Outcome {
    w.need(Capabilities::SECOND_PE, "no second PE")?;
    let (_, rec) = w.running_realm()?;
    let enter = w.enter_call(&rec)?;
    let addr = enter[2];
    let call = Command::GranuleDelegate { addr }.encode();
    let during = w.port.call_during(enter, call);
    let Some(during) = during else {
        check!(false, "the REC did not run");
        unreachable!("checked")
    };
    w.note_delegated(addr);
    let replies = [
        (
            CommandId::GranuleDelegate,
            during.call,
            call,
            Reply::SUCCESS,
        ),
        (CommandId::RecEnter, during.enter, enter, Reply::input()),
    ];
    for (id, reply, call, wanted) in replies {
        w.check_reply(id, Reply(reply).without_kept(&call), wanted)?;
    }
    w.undelegate(addr)?;
    w.ok(Command::RecDestroy { rec: rec.rec })?;
    w.recs.clear();
    Ok(())
}

impl World<'_> {
    /// Makes `ours` again and again while another PE takes the page at `page` out of the Non-secure
    /// world and gives it back; each reply must be one of those that `wanted` has for its call.
    fn race_page(&mut self, page: u64, ours: &[Command], wanted: &[&[u64]]) -> Outcome {
        self.need(Capabilities::SECOND_PE, "no second PE")?;
        let theirs = [
            Command::GranuleDelegate { addr: page },
            Command::GranuleUndelegate { addr: page },
        ];
        self.race_calls(ours, wanted, &theirs, &[&[0], &[0]])
    }

    /// Makes two lists of calls at the same time, over and over; each reply's x0 must be one of those
    /// that are wanted for its call.
    fn race_calls(
        &mut self,
        ours: &[Command],
        our_wanted: &[&[u64]],
        theirs: &[Command],
        their_wanted: &[&[u64]],
    ) -> Outcome {
        let often = |calls: &[Command]| -> Vec<[u64; 8]> {
            let calls = calls.iter().map(Command::encode);
            let list: Vec<_> = calls.collect();
            list.repeat(CALLS / list.len())
        };
        let raced = self.port.race(&often(ours), &often(theirs));
        let Some([our_replies, their_replies]) = raced else {
            check!(false, "nobody raced");
            unreachable!("checked")
        };
        let sides = [
            (ours, our_wanted, our_replies),
            (theirs, their_wanted, their_replies),
        ];
        for (calls, wanted, replies) in sides {
            let expected = calls.iter().zip(wanted).cycle();
            for (reply, (call, _)) in replies.iter().zip(expected.clone()) {
                self.account_unordered(&call.encode(), Reply(*reply));
            }
            for (reply, (call, wanted)) in replies.iter().zip(expected) {
                check!(wanted.contains(&reply[0]), "{call:x?} gave {:#x}", reply[0]);
            }
        }
        Ok(())
    }
}

/// x0 of success and of failures.
const OK: u64 = 0;
const INPUT: u64 = 1;
const REALM: u64 = 2;
const REC: u64 = 3;

/// x0 of `RMI_ERROR_RTT` at level 3.
const RTT_3: u64 = 0x304;

/// The run page changes its world around and during the entry and the exit.
fn race_run(w: &mut World<'_>) -> Outcome {
    let realm = w.realm()?;
    let rec = w.rec(&realm, Runnable::No)?;
    w.activate(&realm)?;
    let page = w.page(&RecEnter::default())?;
    let enter = Command::RecEnter {
        rec: rec.rec,
        run_ptr: page,
    };
    // The page is read before anything is known of the REC, which is off.
    w.race_page(page, &[enter], &[&[INPUT, REC]])?;
    w.expect(enter, Reply::rec())
}

fn race_realm_params(w: &mut World<'_>) -> Outcome {
    let (create, realm) = w.prepare_realm(&RealmPlan::default())?;
    let rd = realm.rd;
    let page = create.encode()[2];
    let calls = [create, Command::RealmDestroy { rd }];
    w.race_page(page, &calls, &[&[OK, INPUT], &[OK, INPUT]])?;
    check!(w.is_delegated(rd)?, "the descriptor is in use");
    check!(w.is_delegated(realm.root)?, "the table is in use");
    Ok(())
}

fn race_rec_params(w: &mut World<'_>) -> Outcome {
    let realm = w.realm()?;
    let params = w.rec_params(&realm, 0, Runnable::Yes)?;
    let (rd, rec, params_ptr) = (realm.rd, w.delegated()?, w.page(&params)?);
    let create = Command::RecCreate {
        rd,
        rec,
        params_ptr,
    };
    let calls = [create, Command::RecDestroy { rec }];
    w.race_page(params_ptr, &calls, &[&[OK, INPUT], &[OK, INPUT]])?;
    check!(w.is_delegated(rec)?, "the granule is in use");
    Ok(())
}

/// The source of a page changes its world during the copy.
fn race_src(w: &mut World<'_>) -> Outcome {
    let realm = w.realm()?;
    w.tables(&realm, 0, 3)?;
    let (rd, data, src) = (realm.rd, w.delegated()?, w.page(&[0xA5_u8; 4096])?);
    let (ipa, flags) = (0, 0);
    let create = Command::DataCreate {
        rd,
        data,
        ipa,
        src,
        flags,
    };
    let calls = [create, Command::DataDestroy { rd, ipa }];
    w.race_page(src, &calls, &[&[OK, INPUT], &[OK, RTT_3]])?;
    check!(w.is_delegated(data)?, "the granule is in use");
    Ok(())
}

/// Two PEs give the same granule to two places; one of them gets it.
fn race_data(w: &mut World<'_>) -> Outcome {
    w.need(Capabilities::SECOND_PE, "no second PE")?;
    let realm = w.realm()?;
    w.tables(&realm, 0, 3)?;
    let (rd, data) = (realm.rd, w.delegated()?);
    let side = |ipa| {
        [
            Command::DataCreateUnknown { rd, data, ipa },
            Command::DataDestroy { rd, ipa },
        ]
    };
    let wanted: [&[u64]; 2] = [&[OK, INPUT], &[OK, RTT_3]];
    w.race_calls(&side(0), &wanted, &side(GRANULE), &wanted)?;
    check!(w.is_delegated(data)?, "the granule is in use");
    Ok(())
}

/// Two PEs delegate and take back the same granule, and use it for a Realm.
fn race_delegate(w: &mut World<'_>) -> Outcome {
    w.need(Capabilities::SECOND_PE, "no second PE")?;
    let (create, realm) = w.prepare_realm(&RealmPlan::default())?;
    let (rd, addr) = (realm.rd, realm.root);
    let change = [
        Command::GranuleUndelegate { addr },
        Command::GranuleDelegate { addr },
    ];
    let use_it = [
        create,
        Command::RealmActivate { rd },
        Command::RealmDestroy { rd },
    ];
    let once: &[u64] = &[OK, INPUT];
    w.race_calls(
        &change,
        &[once; 2],
        &use_it,
        &[once, &[OK, INPUT, REALM], once],
    )?;
    w.call(Command::RealmDestroy { rd });
    w.call(Command::GranuleDelegate { addr });
    w.race_calls(&change, &[once; 2], &change, &[once; 2])?;
    w.call(Command::GranuleDelegate { addr });
    check!(w.is_delegated(addr)?, "the granule is not there");
    Ok(())
}
