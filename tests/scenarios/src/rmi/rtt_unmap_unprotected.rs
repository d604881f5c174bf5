// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RMI_RTT_UNMAP_UNPROTECTED`.

use rmi::{Command, CommandId};

use super::common::{
    BLOCK_1G, BLOCK_2M, PAGE, State, first_realm, realm_with_tables, wrong_granules,
};
use super::conditions::{ipa_bound, level_bound, rd_align, rd_bound, rd_state};
use crate::contract::{Call, contract, refuse};
use crate::outcome::{Outcome, Reply};
use crate::world::{Realm, RealmPlan, World, level_argument};

const PA: u64 = 0x8000_0000;

fn unmap(realm: &Realm, ipa: u64, level: i64) -> Command {
    Command::RttUnmapUnprotected {
        rd: realm.rd,
        ipa,
        level: level_argument(level),
    }
}

/// A page behind the first unprotected one.
fn base(w: &mut World<'_>) -> Outcome<Call> {
    let realm = realm_with_tables(w)?;
    let ipa = realm.unprotected() + PAGE;
    w.map(&realm, ipa, 3, PA)?;
    Ok(unmap(&realm, ipa, 3).into())
}

fn ipa_align(_: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    c.set("ipa", c.get("ipa") + 8);
    Ok(Reply::input())
}

/// No table and no mapping: nothing live up to the end of the root.
fn rtt_walk(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    let realm = first_realm(w)?;
    c.set("ipa", realm.unprotected() + BLOCK_1G);
    Ok(Reply::rtt(1).with(1, realm.end()))
}

/// Nothing is mapped there; the next live entry is one page further.
fn rtte_state(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    let half = first_realm(w)?.unprotected();
    c.set("ipa", half);
    Ok(Reply::rtt(3).with(1, half + PAGE))
}

/// The entry is empty, and `top` is the next live one.
fn success(w: &mut World<'_>) -> Outcome {
    let call = base(w)?;
    let realm = first_realm(w)?;
    let half = realm.unprotected();
    w.map(&realm, half + 9 * PAGE, 3, PA)?;
    let reply = w.call_raw(call.registers);
    let wanted = Reply::SUCCESS.with(1, half + 9 * PAGE);
    w.check_reply(CommandId::RttUnmapUnprotected, reply, wanted)?;
    w.check_entry(&realm, half + PAGE, 3, [3, 0, 0, 0])?;
    let last = Reply::SUCCESS.with(1, half + BLOCK_2M);
    w.expect(unmap(&realm, half + 9 * PAGE, 3), last)
}

/// Blocks at levels 1 and 2.
fn blocks(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    let half = realm.unprotected();
    w.map(&realm, half + BLOCK_1G, 1, 0)?;
    w.map(&realm, half + BLOCK_2M, 2, 0)?;
    let wanted = Reply::SUCCESS.with(1, half + BLOCK_1G);
    w.expect(unmap(&realm, half + BLOCK_2M, 2), wanted)?;
    let wanted = Reply::SUCCESS.with(1, realm.end());
    w.expect(unmap(&realm, half + BLOCK_1G, 1), wanted)
}

/// A page of a block cannot be unmapped alone; `top` is the page, wherever it is in the block.
fn inside_block(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    let block = realm.unprotected() + BLOCK_2M;
    w.map(&realm, block, 2, 0)?;
    for ipa in [block, block + 5 * PAGE] {
        let call = Call::from(unmap(&realm, ipa, 3));
        refuse(w, &call, Reply::rtt(2).with(1, ipa))?;
    }
    Ok(())
}

/// A table is live: `top` is the address.
fn table_instead(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    let half = realm.unprotected();
    let call = Call::from(unmap(&realm, half, 2));
    refuse(w, &call, Reply::rtt(2).with(1, half))
}

/// Addresses of the Realm's own half are refused.
fn protected(w: &mut World<'_>) -> Outcome {
    let mut call = base(w)?;
    let realm = first_realm(w)?;
    w.data_unknown(&realm, 0)?;
    for ipa in [0, PAGE, realm.unprotected() - PAGE] {
        call.set("ipa", ipa);
        refuse(w, &call, Reply::input())?;
    }
    Ok(())
}

/// Levels that have no blocks and levels above the start are refused.
fn levels(w: &mut World<'_>) -> Outcome {
    let wide = w.realm_with(&RealmPlan::default().shaped(48, 0, 1))?;
    let narrow = w.realm_with(&RealmPlan::default().shaped(34, 2, 16))?;
    for (realm, levels) in [(wide, [0, -1, 4, i64::MIN]), (narrow, [1, 0, -1, i64::MAX])] {
        for level in levels {
            let call = Call::from(unmap(&realm, realm.unprotected(), level));
            refuse(w, &call, Reply::input())?;
        }
    }
    Ok(())
}

fn wrong_rd(w: &mut World<'_>) -> Outcome {
    wrong_granules(w, base, "rd", State::Rd)
}

contract! {
    RttUnmapUnprotected, "rtt_unmap_unprotected", base;
    conditions { rd_align rd_bound rd_state level_bound ipa_align ipa_bound rtt_walk rtte_state }
    orders {
        rd_bound < rtt_walk rd_bound < rtte_state rd_state < rtt_walk rd_state < rtte_state
        level_bound < rtt_walk level_bound < rtte_state ipa_bound < rtt_walk ipa_bound < rtte_state
    }
    others { success blocks inside_block table_instead protected levels wrong_rd }
}
