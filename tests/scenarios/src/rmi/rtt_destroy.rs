// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RMI_RTT_DESTROY`.

use rmi::{Command, CommandId};

use super::common::{
    BLOCK_1G, BLOCK_2M, PAGE, State, first_realm, realm_with_tables, wrong_granules,
};
use super::conditions::table::ipa_align;
use super::conditions::{ipa_bound, level_bound, rd_align, rd_bound, rd_state};
use crate::check;
use crate::contract::{Call, contract, refuse};
use crate::outcome::{Outcome, Reply};
use crate::world::{Realm, World, level_argument};

fn destroy(realm: &Realm, ipa: u64, level: i64) -> Command {
    Command::RttDestroy {
        rd: realm.rd,
        ipa,
        level: level_argument(level),
    }
}

/// The empty level 3 table at 2 MiB.
fn base(w: &mut World<'_>) -> Outcome<Call> {
    let realm = realm_with_tables(w)?;
    w.table(&realm, BLOCK_2M, 3)?;
    Ok(destroy(&realm, BLOCK_2M, 3).into())
}

/// There is no level 2 table; the next live entry of the root is the unprotected half's first.
fn rtt_walk(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    c.set("ipa", BLOCK_1G);
    Ok(Reply::rtt(1).with(2, first_realm(w)?.unprotected()))
}

/// There is no level 3 table; no live entry follows in the level 2 table.
fn rtte_state(_: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    c.set("ipa", 2 * BLOCK_2M);
    Ok(Reply::rtt(2).with(2, BLOCK_1G))
}

fn rtt_live(w: &mut World<'_>, _: &mut Call) -> Outcome<Reply> {
    let realm = first_realm(w)?;
    w.data_unknown(&realm, BLOCK_2M + 7 * PAGE)?;
    Ok(Reply::rtt(3).with(2, BLOCK_2M))
}

/// The entry is DESTROYED, the table is an unused granule, and `top` skips to the next live entry.
fn success(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    let rtt = w.table(&realm, BLOCK_2M, 3)?;
    w.table(&realm, 5 * BLOCK_2M, 3)?;
    w.init_ripas(&realm, BLOCK_2M, BLOCK_2M + PAGE)?;
    let reply = w.call(destroy(&realm, BLOCK_2M, 3));
    let wanted = Reply::SUCCESS.with(1, rtt).with(2, 5 * BLOCK_2M);
    w.check_reply(CommandId::RttDestroy, reply, wanted)?;
    check!(w.is_delegated(rtt)?, "the table is still in use");
    w.check_entry(&realm, BLOCK_2M, 2, [2, 0, 0, 2])?;
    w.check_entry(&realm, 2 * BLOCK_2M, 2, [2, 0, 0, 0])
}

/// Without another live entry, `top` is the end of the table.
fn top_at_end(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    let last = BLOCK_1G - BLOCK_2M;
    let rtt = w.table(&realm, last, 3)?;
    let wanted = Reply::SUCCESS.with(1, rtt).with(2, BLOCK_1G);
    w.expect(destroy(&realm, last, 3), wanted)
}

/// With starting tables in a row, `top` ends at the end of the one table that was reached.
fn top_in_concatenated(w: &mut World<'_>) -> Outcome {
    let plan = crate::RealmPlan::default().shaped(42, 1, 8);
    let realm = w.realm_with(&plan)?;
    let table = 512 * BLOCK_1G;
    let rtt = w.table(&realm, BLOCK_1G, 2)?;
    w.table(&realm, table, 2)?;
    let wanted = Reply::SUCCESS.with(1, rtt).with(2, table);
    w.expect(destroy(&realm, BLOCK_1G, 2), wanted)?;
    let walk = Reply::rtt(1).with(2, 2 * table);
    w.expect(destroy(&realm, table + BLOCK_1G, 2), walk)?;
    w.expect(
        destroy(&realm, table + BLOCK_1G, 3),
        Reply::rtt(1).with(2, 2 * table),
    )
}

/// A block at a coarser level is live itself: `top` is the address, wherever it is in the block.
fn block_instead(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    let block = realm.unprotected() + BLOCK_1G;
    w.map(&realm, block, 1, 0x8000_0000)?;
    for ipa in [block, block + 7 * BLOCK_2M] {
        let call = Call::from(destroy(&realm, ipa, 3));
        refuse(w, &call, Reply::rtt(1).with(2, ipa))?;
    }
    let ipa = realm.unprotected() + BLOCK_2M;
    w.map(&realm, ipa, 2, 0x8000_0000)?;
    let call = Call::from(destroy(&realm, ipa, 3));
    refuse(w, &call, Reply::rtt(2).with(2, ipa))
}

/// A table with tables is live.
fn live_by_table(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    let call = Call::from(destroy(&realm, 0, 2));
    refuse(w, &call, Reply::rtt(2).with(2, 0))
}

/// Memory of the Host does not make a table live, and goes away with it.
fn with_unprotected_mappings(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    let ipa = realm.unprotected();
    for n in [0, 1, 511] {
        w.map(&realm, ipa + n * PAGE, 3, 0x8000_0000 + n * PAGE)?;
    }
    let reply = w.call(destroy(&realm, ipa, 3));
    check!(reply.is_success(), "{reply:?}");
    check!(reply.output(2) == ipa + BLOCK_1G, "{reply:?}");
    w.check_entry(&realm, ipa, 2, [2, 0, 0, 0])
}

/// Nothing of the unprotected half is DESTROYED.
fn unprotected(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    let ipa = realm.unprotected();
    w.ok(destroy(&realm, ipa, 3))?;
    w.ok(destroy(&realm, ipa, 2))?;
    w.check_entry(&realm, ipa, 1, [1, 0, 0, 0])?;
    w.map(&realm, ipa, 1, 0)?;
    Ok(())
}

/// A level 2 table leaves a DESTROYED gigabyte.
fn level_2(w: &mut World<'_>) -> Outcome {
    let realm = w.realm()?;
    let rtt = w.table(&realm, BLOCK_1G, 2)?;
    let reply = w.call(destroy(&realm, BLOCK_1G, 2));
    let wanted = Reply::SUCCESS.with(1, rtt).with(2, realm.end());
    w.check_reply(CommandId::RttDestroy, reply, wanted)?;
    w.check_entry(&realm, BLOCK_1G, 1, [1, 0, 0, 2])?;
    w.check_entry(&realm, BLOCK_1G + PAGE, 3, [1, 0, 0, 2])
}

/// The starting level and numbers that are no level are refused.
fn levels(w: &mut World<'_>) -> Outcome {
    let mut call = base(w)?;
    call.set("ipa", 0);
    for level in [1, 0, -1, -2, 4, i64::MAX, i64::MIN] {
        call.set("level", level_argument(level));
        refuse(w, &call, Reply::input())?;
    }
    Ok(())
}

fn wrong_rd(w: &mut World<'_>) -> Outcome {
    wrong_granules(w, base, "rd", State::Rd)
}

contract! {
    RttDestroy, "rtt_destroy", base;
    conditions {
        rd_align rd_bound rd_state level_bound ipa_align ipa_bound rtt_walk rtte_state rtt_live
    }
    orders {
        rd_bound < rtt_walk rd_bound < rtte_state rd_bound < rtt_live
        rd_state < rtt_walk rd_state < rtte_state rd_state < rtt_live
        level_bound < rtt_walk level_bound < rtte_state ipa_bound < rtt_walk ipa_bound < rtte_state
    }
    others {
        success top_at_end top_in_concatenated block_instead live_by_table with_unprotected_mappings
        unprotected level_2 levels wrong_rd
    }
}
