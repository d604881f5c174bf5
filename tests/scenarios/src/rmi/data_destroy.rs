// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RMI_DATA_DESTROY`.

use rmi::{Command, CommandId};

use super::common::{
    BLOCK_1G, BLOCK_2M, PAGE, State, first_realm, realm_with_tables, wrong_granules,
};
use super::conditions::data::{ipa_align, ipa_bound};
use super::conditions::{rd_align, rd_bound, rd_state};
use crate::check;
use crate::contract::{Call, contract, refuse};
use crate::outcome::{Outcome, Reply};
use crate::world::World;

/// The only page of the Realm.
fn base(w: &mut World<'_>) -> Outcome<Call> {
    let realm = realm_with_tables(w)?;
    w.data_unknown(&realm, PAGE)?;
    Ok(Command::DataDestroy {
        rd: realm.rd,
        ipa: PAGE,
    }
    .into())
}

/// There is no table; nothing live follows in the level 2 table.
fn rtt_walk(_: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    c.set("ipa", BLOCK_2M);
    Ok(Reply::rtt(2).with(2, BLOCK_1G))
}

/// There is no page; the next one is one further.
fn rtte_state(_: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    c.set("ipa", 0);
    Ok(Reply::rtt(3).with(2, PAGE))
}

/// The granule comes back unused; `top` is the next live entry.
fn success(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    let rd = realm.rd;
    let data = w.data_unknown(&realm, PAGE)?;
    w.data_unknown(&realm, 300 * PAGE)?;
    let reply = w.call(Command::DataDestroy { rd, ipa: PAGE });
    let wanted = Reply::SUCCESS.with(1, data).with(2, 300 * PAGE);
    w.check_reply(CommandId::DataDestroy, reply, wanted)?;
    check!(w.is_delegated(data)?, "the granule is still in use");
    w.check_entry(&realm, PAGE, 3, [3, 0, 0, 0])
}

/// Without another live entry, `top` is the end of the table.
fn top_at_end(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    let rd = realm.rd;
    w.table(&realm, BLOCK_2M, 3)?;
    let data = w.data_unknown(&realm, BLOCK_2M - PAGE)?;
    w.data_unknown(&realm, BLOCK_2M)?;
    let wanted = Reply::SUCCESS.with(1, data).with(2, BLOCK_2M);
    w.expect(
        Command::DataDestroy {
            rd,
            ipa: BLOCK_2M - PAGE,
        },
        wanted,
    )
}

/// RAM becomes DESTROYED; EMPTY and DESTROYED stay.
fn ripas(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    let rd = realm.rd;
    w.data_unknown(&realm, 0)?;
    w.data(&realm, PAGE, &[1; 4096])?;
    for (ipa, ripas) in [(0, 0), (PAGE, 2)] {
        w.ok(Command::DataDestroy { rd, ipa })?;
        w.check_entry(&realm, ipa, 3, [3, 0, 0, ripas])?;
    }
    w.data_unknown(&realm, PAGE)?;
    w.ok(Command::DataDestroy { rd, ipa: PAGE })?;
    w.check_entry(&realm, PAGE, 3, [3, 0, 0, 2])
}

/// A page of a block cannot be destroyed alone; `top` is the page, wherever it is in the block.
fn inside_block(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    let rd = realm.rd;
    w.assign_block(&realm, BLOCK_2M)?;
    w.ok(Command::RttFold {
        rd,
        ipa: BLOCK_2M,
        level: 3,
    })?;
    for ipa in [BLOCK_2M, BLOCK_2M + PAGE, 2 * BLOCK_2M - PAGE] {
        let call = Call::from(Command::DataDestroy { rd, ipa });
        refuse(w, &call, Reply::rtt(2).with(2, ipa))?;
    }
    Ok(())
}

/// A table entry further on in the table is live.
fn top_is_table(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    w.table(&realm, 7 * BLOCK_2M, 3)?;
    let call = Call::from(Command::DataDestroy {
        rd: realm.rd,
        ipa: 3 * BLOCK_2M + PAGE,
    });
    refuse(w, &call, Reply::rtt(2).with(2, 7 * BLOCK_2M))
}

/// So is memory of the Host in a starting table that holds both halves.
fn top_is_unprotected(w: &mut World<'_>) -> Outcome {
    let realm = w.realm()?;
    let ipa = realm.unprotected() + 3 * BLOCK_1G;
    w.map(&realm, ipa, 1, 0)?;
    let call = Call::from(Command::DataDestroy {
        rd: realm.rd,
        ipa: BLOCK_1G,
    });
    refuse(w, &call, Reply::rtt(1).with(2, ipa))
}

/// An active Realm loses pages too.
fn in_active_realm(w: &mut World<'_>) -> Outcome {
    let call = base(w)?;
    let realm = first_realm(w)?;
    w.activate(&realm)?;
    let reply = w.call_raw(call.registers);
    check!(reply.is_success(), "{reply:?}");
    Ok(())
}

/// The walk ends where a page of the Realm is gone: the Realm cannot reach it any more.
fn unreachable_for_realm(w: &mut World<'_>) -> Outcome {
    let realm = w.realm()?;
    w.load_program(&realm)?;
    w.data(&realm, 0, &[0x77; 4096])?;
    let rec = w.rec(&realm, crate::Runnable::Yes)?;
    w.activate(&realm)?;
    let load = crate::realm::RealmAction::Load { ipa: 0 };
    let result = w.act_done(&rec, load)?;
    check!(result.registers[0] == 0x7777_7777_7777_7777, "{result:x?}");
    w.ok(Command::DataDestroy {
        rd: realm.rd,
        ipa: 0,
    })?;
    let exit = w.act_exit(&rec, load)?;
    check!(exit.syndrome().is_data_abort(), "esr {:#x}", exit.esr);
    Ok(())
}

fn wrong_rd(w: &mut World<'_>) -> Outcome {
    wrong_granules(w, base, "rd", State::Rd)
}

contract! {
    DataDestroy, "data_destroy", base;
    conditions { rd_align rd_bound rd_state ipa_align ipa_bound rtt_walk rtte_state }
    orders {
        rd_bound < rtt_walk rd_bound < rtte_state rd_state < rtt_walk rd_state < rtte_state
        ipa_bound < rtt_walk ipa_bound < rtte_state
    }
    others {
        success top_at_end ripas inside_block top_is_table top_is_unprotected in_active_realm unreachable_for_realm wrong_rd
    }
}
