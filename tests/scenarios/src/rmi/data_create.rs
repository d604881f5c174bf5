// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RMI_DATA_CREATE`.

use rmi::{Command, CommandId};

use super::common::{
    BLOCK_1G, BLOCK_2M, PAGE, State, first_realm, misalign, not_host, out_of_bound,
    realm_with_tables, same_granule, wrong_granules,
};
use super::conditions::data::{
    data_align, data_bound, data_bound2, data_state, ipa_align, ipa_bound,
};
use super::conditions::{rd_align, rd_bound, rd_state, realm_state};
use crate::check;
use crate::contract::{Call, contract, refuse};
use crate::cut;
use crate::outcome::{Outcome, Reply};
use crate::world::World;

fn base(w: &mut World<'_>) -> Outcome<Call> {
    let rd = realm_with_tables(w)?.rd;
    let data = w.delegated()?;
    let src = w.page(&[0x3C_u8; 4096])?;
    Ok(Command::DataCreate {
        rd,
        data,
        ipa: PAGE,
        src,
        flags: 1,
    }
    .into())
}

fn src_align(_: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    Ok(misalign(c, "src"))
}

fn src_bound(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    Ok(out_of_bound(w, c, "src"))
}

fn src_pas(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    not_host(w, c, "src")
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

/// The page is RAM at that address, and its neighbours are as they were.
fn success(w: &mut World<'_>) -> Outcome {
    let call = base(w)?;
    let realm = first_realm(w)?;
    let reply = w.call_raw(call.registers);
    w.check_reply(CommandId::DataCreate, reply, Reply::SUCCESS)?;
    let data = call.get("data");
    w.check_entry(&realm, PAGE, 3, [3, 1, data, 1])?;
    w.check_entry(&realm, 0, 3, [3, 0, 0, 0])?;
    w.check_entry(&realm, 2 * PAGE, 3, [3, 0, 0, 0])?;
    check!(!w.is_delegated(data)?, "the granule is still unused");
    let src = w.read_page::<[u8; 4096]>(call.get("src"))?;
    check!(src == [0x3C; 4096], "the source changed");
    Ok(())
}

/// The Realm finds the contents.
fn contents(w: &mut World<'_>) -> Outcome {
    let realm = w.realm()?;
    w.load_program(&realm)?;
    let mut page = [0; 4096];
    page[0xA8..0xB0].copy_from_slice(&0x0123_4567_89AB_CDEF_u64.to_le_bytes());
    w.data(&realm, 0x3000, &page)?;
    let rec = w.rec(&realm, crate::Runnable::Yes)?;
    w.activate(&realm)?;
    let load = crate::realm::RealmAction::Load { ipa: 0x30A8 };
    let result = w.act_done(&rec, load)?;
    check!(result.registers[0] == 0x0123_4567_89AB_CDEF, "{result:x?}");
    Ok(())
}

/// RIPAS becomes RAM whatever it was.
fn any_ripas(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    let rd = realm.rd;
    w.data(&realm, 0, &[1; 4096])?;
    w.ok(Command::DataDestroy { rd, ipa: 0 })?;
    w.check_entry(&realm, 0, 3, [3, 0, 0, 2])?;
    w.init_ripas(&realm, PAGE, 2 * PAGE)?;
    for ipa in [0, PAGE, 2 * PAGE] {
        let data = w.data(&realm, ipa, &[2; 4096])?;
        w.check_entry(&realm, ipa, 3, [3, 1, data, 1])?;
    }
    Ok(())
}

/// A page that is not measured is created all the same.
fn unmeasured(w: &mut World<'_>) -> Outcome {
    let mut call = base(w)?;
    call.set("flags", 0);
    let reply = w.call_raw(call.registers);
    w.check_reply(CommandId::DataCreate, reply, Reply::SUCCESS)
}

/// The source can go away halfway through the copy; the granule stays unused and empty.
fn src_pas_halfway(w: &mut World<'_>) -> Outcome {
    if !w.can_cut() {
        return cut::data_create(w);
    }
    let call = base(w)?;
    let data = call.get("data");
    for bytes in [0, 8, 2048, 4088] {
        w.port.fault_after(Some(bytes));
        let reply = w.call_raw(call.registers);
        w.port.fault_after(None);
        w.check_reply(call.id, reply, Reply::input())?;
        check!(w.is_delegated(data)?, "the granule is in use");
        if let Err(what) = w.port.audit() {
            check!(false, "{what}");
        }
    }
    w.undelegate(data)?;
    check!(
        w.read_page::<[u8; 4096]>(data)? == [0; 4096],
        "part of the copy stays"
    );
    Ok(())
}

/// A block is in the way at its own level.
fn inside_block(w: &mut World<'_>) -> Outcome {
    let call = base(w)?;
    let realm = first_realm(w)?;
    w.assign_block(&realm, BLOCK_2M)?;
    w.ok(Command::RttFold {
        rd: realm.rd,
        ipa: BLOCK_2M,
        level: 3,
    })?;
    let mut call = call;
    for ipa in [BLOCK_2M, BLOCK_2M + 5 * PAGE] {
        call.set("ipa", ipa);
        refuse(w, &call, Reply::rtt(2))?;
    }
    Ok(())
}

/// A walk that ends at each level says so.
fn walk_levels(w: &mut World<'_>) -> Outcome {
    let mut call = base(w)?;
    let wide = w.realm_with(&crate::RealmPlan::default().shaped(48, 0, 1))?;
    call.set("rd", wide.rd);
    for level in 0..3 {
        w.tables(&wide, 0, level)?;
        call.set("ipa", 0);
        refuse(w, &call, Reply::rtt(level))?;
    }
    w.tables(&wide, 0, 3)?;
    call.set("ipa", BLOCK_1G);
    refuse(w, &call, Reply::rtt(1))
}

/// Addresses past the protected half are refused.
fn ipas(w: &mut World<'_>) -> Outcome {
    let mut call = base(w)?;
    let realm = first_realm(w)?;
    for ipa in [
        realm.unprotected(),
        realm.end() - PAGE,
        realm.end(),
        1 << 63,
        0u64.wrapping_sub(PAGE),
    ] {
        call.set("ipa", ipa);
        refuse(w, &call, Reply::input())?;
    }
    Ok(())
}

fn wrong_rd(w: &mut World<'_>) -> Outcome {
    wrong_granules(w, base, "rd", State::Rd)
}

fn wrong_data(w: &mut World<'_>) -> Outcome {
    wrong_granules(w, base, "data", State::Delegated)
}

/// The source must be the Host's.
fn wrong_src(w: &mut World<'_>) -> Outcome {
    wrong_granules(w, base, "src", State::Undelegated)
}

fn rd_is_data(w: &mut World<'_>) -> Outcome {
    same_granule(w, base, "rd", "data")
}

fn src_is_data(w: &mut World<'_>) -> Outcome {
    same_granule(w, base, "src", "data")
}

contract! {
    DataCreate, "data_create", base;
    conditions {
        src_align src_bound src_pas data_align data_bound data_state data_bound2 rd_align rd_bound
        rd_state ipa_align ipa_bound realm_state rtt_walk rtte_state
    }
    orders {
        rd_bound < realm_state rd_state < realm_state
        rd_bound < rtt_walk rd_bound < rtte_state rd_state < rtt_walk rd_state < rtte_state
        ipa_bound < rtt_walk ipa_bound < rtte_state
    }
    others {
        success contents any_ripas unmeasured src_pas_halfway inside_block walk_levels ipas wrong_rd
        wrong_data wrong_src rd_is_data src_is_data
    }
}
