// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RMI_RTT_CREATE`.

use rmi::{Command, CommandId};

use super::common::{
    BLOCK_1G, BLOCK_2M, PAGE, State, first_realm, misalign, not_delegated, out_of_bound,
    realm_with_tables, same_granule, wrong_granules,
};
use super::conditions::table::ipa_align;
use super::conditions::{ipa_bound, level_bound, rd_align, rd_bound, rd_state};
use crate::check;
use crate::contract::{Call, contract, refuse};
use crate::outcome::{Outcome, Reply};
use crate::world::{Realm, RealmPlan, World, level_argument};

fn create(realm: &Realm, rtt: u64, ipa: u64, level: i64) -> Command {
    Command::RttCreate {
        rd: realm.rd,
        rtt,
        ipa,
        level: level_argument(level),
    }
}

/// A level 3 table at 2 MiB.
fn base(w: &mut World<'_>) -> Outcome<Call> {
    let realm = realm_with_tables(w)?;
    let rtt = w.delegated()?;
    Ok(create(&realm, rtt, BLOCK_2M, 3).into())
}

fn rtt_align(_: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    Ok(misalign(c, "rtt"))
}

fn rtt_bound(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    Ok(out_of_bound(w, c, "rtt"))
}

fn rtt_state(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    not_delegated(w, c, "rtt")
}

fn rtt_bound2(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    let high = w.high_delegated()?;
    c.set("rtt", high);
    Ok(Reply::input())
}

fn rtt_walk(_: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    c.set("ipa", BLOCK_1G);
    Ok(Reply::rtt(1))
}

fn rtte_state(_: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    c.set("ipa", 0);
    Ok(Reply::rtt(2))
}

/// The parent's entry is a table whose entries are what the parent's was.
fn success(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    let rtt = w.delegated()?;
    let reply = w.call(create(&realm, rtt, BLOCK_2M, 3));
    w.check_reply(CommandId::RttCreate, reply, Reply::SUCCESS)?;
    w.check_entry(&realm, BLOCK_2M, 2, [2, 2, rtt, 0])?;
    w.check_entry(&realm, BLOCK_2M, 3, [3, 0, 0, 0])?;
    w.check_entry(&realm, 2 * BLOCK_2M - PAGE, 3, [3, 0, 0, 0])?;
    w.check_entry(&realm, 2 * BLOCK_2M, 3, [2, 0, 0, 0])?;
    check!(!w.is_delegated(rtt)?, "the table is still unused");
    Ok(())
}

/// RIPAS goes down into the new table.
fn inherits_ripas(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    w.init_ripas(&realm, BLOCK_2M, 2 * BLOCK_2M)?;
    w.check_entry(&realm, BLOCK_2M, 2, [2, 0, 0, 1])?;
    w.table(&realm, BLOCK_2M, 3)?;
    w.check_entry(&realm, BLOCK_2M, 3, [3, 0, 0, 1])?;
    w.check_entry(&realm, 2 * BLOCK_2M - PAGE, 3, [3, 0, 0, 1])
}

/// DESTROYED too.
fn inherits_destroyed(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    w.ok(Command::RttDestroy {
        rd: realm.rd,
        ipa: 0,
        level: 3,
    })?;
    w.check_entry(&realm, 0, 2, [2, 0, 0, 2])?;
    w.table(&realm, 0, 3)?;
    w.check_entry(&realm, 0, 3, [3, 0, 0, 2])?;
    w.check_entry(&realm, BLOCK_2M - PAGE, 3, [3, 0, 0, 2])
}

/// A block of the Host's memory becomes 512 smaller ones in a row, at each level.
fn unfolds_unprotected(w: &mut World<'_>) -> Outcome {
    let realm = w.realm()?;
    let ipa = realm.unprotected();
    let pa = 0x40_0000_0000;
    let desc = w.map(&realm, ipa, 1, pa)?;
    let attributes = desc - pa;
    w.check_entry(&realm, ipa, 1, [1, 1, desc, 0])?;
    w.table(&realm, ipa, 2)?;
    for n in [0, 1, 511] {
        let part = n * BLOCK_2M;
        w.check_entry(&realm, ipa + part, 2, [2, 1, desc + part, 0])?;
    }
    w.table(&realm, ipa + BLOCK_2M, 3)?;
    for n in [0, 1, 511] {
        let part = BLOCK_2M + n * PAGE;
        w.check_entry(&realm, ipa + part, 3, [3, 1, pa + part + attributes, 0])?;
    }
    w.check_entry(&realm, ipa, 3, [2, 1, desc, 0])
}

/// A block of the Realm's memory becomes its pages, and they can be destroyed one by one.
fn unfolds_assigned(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    let pa = w.assign_block(&realm, BLOCK_2M)?;
    w.ok(Command::RttFold {
        rd: realm.rd,
        ipa: BLOCK_2M,
        level: 3,
    })?;
    w.check_entry(&realm, BLOCK_2M, 3, [2, 1, pa, 0])?;
    w.table(&realm, BLOCK_2M, 3)?;
    for n in [0, 1, 511] {
        let part = n * PAGE;
        w.check_entry(&realm, BLOCK_2M + part, 3, [3, 1, pa + part, 0])?;
    }
    let reply = w.ok(Command::DataDestroy {
        rd: realm.rd,
        ipa: BLOCK_2M + 5 * PAGE,
    })?;
    check!(reply.output(1) == pa + 5 * PAGE, "{reply:?}");
    Ok(())
}

/// Both halves, every level, in a Realm that is active.
fn in_active_realm(w: &mut World<'_>) -> Outcome {
    let realm = w.realm()?;
    w.activate(&realm)?;
    for ipa in [
        0,
        realm.unprotected() - BLOCK_1G,
        realm.unprotected(),
        realm.end() - BLOCK_1G,
    ] {
        w.tables(&realm, ipa, 3)?;
        w.check_entry(&realm, ipa, 3, [3, 0, 0, 0])?;
    }
    Ok(())
}

/// From each starting level down to pages.
fn every_start(w: &mut World<'_>) -> Outcome {
    let features = w.features()?;
    for (lpa2, width, start, roots) in [
        (false, 34, 2, 16),
        (false, 43, 1, 16),
        (false, 48, 0, 1),
        (true, 52, 0, 16),
        (true, 52, -1, 1),
    ] {
        if width > features.s2sz() || (lpa2 && !features.has_lpa2()) {
            continue;
        }
        let plan = RealmPlan {
            lpa2,
            ..RealmPlan::default().shaped(width, start, roots)
        };
        let realm = w.realm_with(&plan)?;
        for ipa in [
            0,
            realm.unprotected() - BLOCK_1G,
            realm.unprotected(),
            realm.end() - BLOCK_1G,
        ] {
            w.tables(&realm, ipa, 3)?;
            w.check_entry(&realm, ipa, 3, [3, 0, 0, 0])?;
        }
        w.destroy_realm(&realm)?;
    }
    Ok(())
}

/// The starting level, levels above it and numbers that are no level are refused.
fn levels(w: &mut World<'_>) -> Outcome {
    let mut call = base(w)?;
    call.set("ipa", 0);
    for level in [1, 0, -1, -2, 4, i64::MAX, i64::MIN, 0x100, 0x1_0000_0003] {
        call.set("level", level_argument(level));
        refuse(w, &call, Reply::input())?;
    }
    Ok(())
}

/// Addresses past the end of the Realm are refused, however far.
fn ipas(w: &mut World<'_>) -> Outcome {
    let mut call = base(w)?;
    let end = first_realm(w)?.end();
    for ipa in [
        end,
        end + BLOCK_2M,
        1 << 52,
        1 << 63,
        0u64.wrapping_sub(BLOCK_2M),
    ] {
        call.set("ipa", ipa);
        refuse(w, &call, Reply::input())?;
    }
    Ok(())
}

/// A high table serves a Realm with 52-bit descriptors.
fn high_table_with_lpa2(w: &mut World<'_>) -> Outcome {
    if !w.features()?.has_lpa2() {
        return Err(crate::Stop::Skipped("no LPA2".into()));
    }
    let rtt = w.high_delegated()?;
    let plan = RealmPlan {
        lpa2: true,
        ..RealmPlan::default()
    };
    let realm = w.realm_with(&plan)?;
    w.ok(create(&realm, rtt, 0, 2))?;
    w.tables(&realm, 0, 3)?;
    w.data_unknown(&realm, 0)?;
    Ok(())
}

fn wrong_rd(w: &mut World<'_>) -> Outcome {
    wrong_granules(w, base, "rd", State::Rd)
}

fn wrong_rtt(w: &mut World<'_>) -> Outcome {
    wrong_granules(w, base, "rtt", State::Delegated)
}

fn rd_is_rtt(w: &mut World<'_>) -> Outcome {
    same_granule(w, base, "rd", "rtt")
}

contract! {
    RttCreate, "rtt_create", base;
    conditions {
        rd_align rd_bound rd_state level_bound ipa_align ipa_bound rtt_align rtt_bound rtt_state
        rtt_bound2 rtt_walk rtte_state
    }
    orders {
        rd_bound < rtt_walk rd_bound < rtte_state rd_state < rtt_walk rd_state < rtte_state
        level_bound < rtt_walk level_bound < rtte_state ipa_bound < rtt_walk ipa_bound < rtte_state
    }
    others {
        success inherits_ripas inherits_destroyed unfolds_unprotected unfolds_assigned in_active_realm
        every_start levels ipas high_table_with_lpa2 wrong_rd wrong_rtt rd_is_rtt
    }
}
