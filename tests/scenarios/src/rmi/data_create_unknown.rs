// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RMI_DATA_CREATE_UNKNOWN`.

use rmi::{Command, CommandId};

use super::common::{
    BLOCK_2M, PAGE, State, first_realm, realm_with_tables, same_granule, wrong_granules,
};
use super::conditions::data::{
    data_align, data_bound, data_bound2, data_state, ipa_align, ipa_bound,
};
use super::conditions::{rd_align, rd_bound, rd_state};
use crate::contract::{Call, contract, refuse};
use crate::outcome::{Outcome, Reply};
use crate::world::World;

fn base(w: &mut World<'_>) -> Outcome<Call> {
    let rd = realm_with_tables(w)?.rd;
    let data = w.delegated()?;
    Ok(Command::DataCreateUnknown {
        rd,
        data,
        ipa: PAGE,
    }
    .into())
}

fn rtt_walk(_: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    c.set("ipa", BLOCK_2M);
    Ok(Reply::rtt(2))
}

fn rtte_state(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    let realm = first_realm(w)?;
    w.data_unknown(&realm, c.get("ipa"))?;
    Ok(Reply::rtt(3))
}

/// The page is there; RIPAS is what it was.
fn success(w: &mut World<'_>) -> Outcome {
    let call = base(w)?;
    let realm = first_realm(w)?;
    let reply = w.call_raw(call.registers);
    w.check_reply(CommandId::DataCreateUnknown, reply, Reply::SUCCESS)?;
    w.check_entry(&realm, PAGE, 3, [3, 1, call.get("data"), 0])
}

/// EMPTY, RAM and DESTROYED stay.
fn keeps_ripas(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    let rd = realm.rd;
    w.data(&realm, 2 * PAGE, &[1; 4096])?;
    w.ok(Command::DataDestroy { rd, ipa: 2 * PAGE })?;
    w.init_ripas(&realm, PAGE, 2 * PAGE)?;
    for ripas in 0..3 {
        let ipa = ripas * PAGE;
        w.check_entry(&realm, ipa, 3, [3, 0, 0, ripas])?;
        let data = w.data_unknown(&realm, ipa)?;
        w.check_entry(&realm, ipa, 3, [3, 1, data, ripas])?;
    }
    Ok(())
}

/// An active Realm gets pages too.
fn in_active_realm(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    w.activate(&realm)?;
    w.data_unknown(&realm, 5 * PAGE)?;
    Ok(())
}

/// A block is in the way at its own level.
fn inside_block(w: &mut World<'_>) -> Outcome {
    let mut call = base(w)?;
    let realm = first_realm(w)?;
    w.assign_block(&realm, BLOCK_2M)?;
    w.ok(Command::RttFold {
        rd: realm.rd,
        ipa: BLOCK_2M,
        level: 3,
    })?;
    call.set("ipa", BLOCK_2M + 5 * PAGE);
    refuse(w, &call, Reply::rtt(2))
}

/// One granule cannot be two pages.
fn twice(w: &mut World<'_>) -> Outcome {
    let mut call = base(w)?;
    let reply = w.call_raw(call.registers);
    w.check_reply(call.id, reply, Reply::SUCCESS)?;
    call.set("ipa", 2 * PAGE);
    refuse(w, &call, Reply::input())
}

fn wrong_rd(w: &mut World<'_>) -> Outcome {
    wrong_granules(w, base, "rd", State::Rd)
}

fn wrong_data(w: &mut World<'_>) -> Outcome {
    wrong_granules(w, base, "data", State::Delegated)
}

fn rd_is_data(w: &mut World<'_>) -> Outcome {
    same_granule(w, base, "rd", "data")
}

contract! {
    DataCreateUnknown, "data_create_unknown", base;
    conditions {
        data_align data_bound data_state data_bound2 rd_align rd_bound rd_state ipa_align ipa_bound
        rtt_walk rtte_state
    }
    orders {
        rd_bound < rtt_walk rd_bound < rtte_state rd_state < rtt_walk rd_state < rtte_state
        ipa_bound < rtt_walk ipa_bound < rtte_state
    }
    others {
        success keeps_ripas in_active_realm inside_block twice wrong_rd wrong_data rd_is_data
    }
}
