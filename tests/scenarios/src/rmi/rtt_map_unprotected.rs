// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RMI_RTT_MAP_UNPROTECTED`.

use rmi::{Command, CommandId};

use super::common::{
    BLOCK_1G, BLOCK_2M, PAGE, State, first_realm, realm_with_tables, wrong_granules,
};
use super::conditions::{ipa_bound, level_bound, rd_align, rd_bound, rd_state};
use crate::check;
use crate::contract::{Call, contract, refuse};
use crate::desc;
use crate::outcome::{Outcome, Reply};
use crate::world::{Realm, RealmPlan, World, level_argument};

const PA: u64 = 0x8000_0000;

fn map(realm: &Realm, ipa: u64, level: i64, desc: u64) -> Command {
    Command::RttMapUnprotected {
        rd: realm.rd,
        ipa,
        level: level_argument(level),
        desc,
    }
}

/// A page behind the first unprotected one.
fn base(w: &mut World<'_>) -> Outcome<Call> {
    let realm = realm_with_tables(w)?;
    let ipa = realm.unprotected() + PAGE;
    Ok(map(&realm, ipa, 3, PA | desc::READ_WRITE_BACK).into())
}

fn attr_valid(_: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    c.set("desc", PA | desc::RESERVED | desc::READ_WRITE);
    Ok(Reply::input())
}

fn addr_align(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    c.set("ipa", first_realm(w)?.unprotected() + BLOCK_2M);
    c.set("level", 2);
    c.set("desc", (PA + PAGE) | desc::READ_WRITE_BACK);
    Ok(Reply::input())
}

fn addr_bound(_: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    c.set("desc", 1 << 48 | PA | desc::READ_WRITE_BACK);
    Ok(Reply::input())
}

fn ipa_align(_: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    c.set("ipa", c.get("ipa") + 8);
    Ok(Reply::input())
}

fn rtt_walk(_: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    c.set("ipa", c.get("ipa") + BLOCK_1G);
    Ok(Reply::rtt(1))
}

fn rtte_state(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    let reply = w.call_raw(c.registers);
    check!(reply.is_success(), "{reply:?}");
    Ok(Reply::rtt(3))
}

/// The entry reads as it was written, and nothing else changed.
fn success(w: &mut World<'_>) -> Outcome {
    let call = base(w)?;
    let realm = first_realm(w)?;
    let reply = w.call_raw(call.registers);
    w.check_reply(CommandId::RttMapUnprotected, reply, Reply::SUCCESS)?;
    let ipa = realm.unprotected() + PAGE;
    w.check_entry(&realm, ipa, 3, [3, 1, PA | desc::READ_WRITE_BACK, 0])?;
    w.check_entry(&realm, ipa - PAGE, 3, [3, 0, 0, 0])?;
    w.check_entry(&realm, ipa + PAGE, 3, [3, 0, 0, 0])
}

/// Blocks at levels 1 and 2.
fn blocks(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    let half = realm.unprotected();
    for (ipa, level) in [(half + BLOCK_1G, 1), (half + BLOCK_2M, 2)] {
        let desc = 0x80_0000_0000 | desc::DEVICE | desc::READ_WRITE;
        w.ok(map(&realm, ipa, level, desc))?;
        w.check_entry(&realm, ipa, level, [level_argument(level), 1, desc, 0])?;
    }
    Ok(())
}

/// Every memory type but the reserved one, and every permission, comes back as it was given.
fn attributes(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    let rd = realm.rd;
    for attributes in 0..32_u64 {
        let (memory, access) = (attributes & 7, attributes >> 3);
        let desc = PA | memory << 2 | access << 6;
        let ipa = realm.unprotected() + attributes * PAGE;
        if memory << 2 == desc::RESERVED {
            w.expect(map(&realm, ipa, 3, desc), Reply::input())?;
        } else {
            w.ok(map(&realm, ipa, 3, desc))?;
            w.check_entry(&realm, ipa, 3, [3, 1, desc, 0])?;
            w.ok(Command::RttUnmapUnprotected { rd, ipa, level: 3 })?;
        }
    }
    Ok(())
}

/// Every bit that is not the Host's has to be zero.
fn reserved_bits(w: &mut World<'_>) -> Outcome {
    let call = base(w)?;
    let host: u64 = 0x0000_FFFF_FFFF_F000 | 0b111 << 2 | 0b11 << 6;
    for bit in (0..64).filter(|bit| host >> bit & 1 == 0) {
        let mut call = call;
        call.set("desc", PA | desc::READ_WRITE_BACK | 1 << bit);
        refuse(w, &call, Reply::input())?;
    }
    Ok(())
}

/// With 52-bit descriptors the address has four bits more, two of them at 9:8.
fn lpa2(w: &mut World<'_>) -> Outcome {
    if !w.features()?.has_lpa2() {
        return Err(crate::Stop::Skipped("no LPA2".into()));
    }
    let plan = RealmPlan {
        lpa2: true,
        ..RealmPlan::default()
    };
    let realm = w.realm_with(&plan)?;
    let ipa = realm.unprotected();
    w.tables(&realm, ipa, 3)?;
    for (n, high) in [0, 1 << 48, 1 << 49, 1 << 8, 1 << 9, 3 << 8 | 3 << 48]
        .iter()
        .enumerate()
    {
        let desc = PA | high | desc::READ_WRITE_BACK;
        let ipa = ipa + n as u64 * PAGE;
        w.ok(map(&realm, ipa, 3, desc))?;
        w.check_entry(&realm, ipa, 3, [3, 1, desc, 0])?;
    }
    let bad = PA | 1 << 50 | desc::READ_WRITE_BACK;
    w.expect(map(&realm, ipa + 8 * PAGE, 3, bad), Reply::input())
}

/// Addresses of the Realm's own half and past the end are refused.
fn ipas(w: &mut World<'_>) -> Outcome {
    let mut call = base(w)?;
    let realm = first_realm(w)?;
    for ipa in [
        0,
        PAGE,
        realm.unprotected() - PAGE,
        realm.end(),
        realm.end() + PAGE,
        1 << 63,
        0u64.wrapping_sub(PAGE),
    ] {
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
            let call = Call::from(map(
                &realm,
                realm.unprotected(),
                level,
                desc::READ_WRITE_BACK,
            ));
            refuse(w, &call, Reply::input())?;
        }
    }
    Ok(())
}

/// Memory that is no memory, or not the Host's, can be mapped: the Realm finds out.
fn any_address(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    let delegated = w.delegated()?;
    for (n, pa) in [w.port.not_delegable(), delegated, realm.rd, realm.root]
        .into_iter()
        .enumerate()
    {
        let ipa = realm.unprotected() + n as u64 * PAGE;
        w.map(&realm, ipa, 3, pa)?;
    }
    check!(!w.is_delegated(realm.rd)?, "the descriptor changed");
    check!(w.is_delegated(delegated)?, "the granule changed");
    Ok(())
}

/// A table, and a block, are in the way.
fn occupied(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    let half = realm.unprotected();
    let table = Call::from(map(&realm, half, 2, desc::READ_WRITE_BACK));
    refuse(w, &table, Reply::rtt(2))?;
    w.map(&realm, half + BLOCK_2M, 2, PA)?;
    let inside = Call::from(map(
        &realm,
        half + BLOCK_2M + PAGE,
        3,
        desc::READ_WRITE_BACK,
    ));
    refuse(w, &inside, Reply::rtt(2))
}

fn wrong_rd(w: &mut World<'_>) -> Outcome {
    wrong_granules(w, base, "rd", State::Rd)
}

contract! {
    RttMapUnprotected, "rtt_map_unprotected", base;
    conditions {
        attr_valid rd_align rd_bound rd_state level_bound addr_align addr_bound ipa_align ipa_bound
        rtt_walk rtte_state
    }
    orders {
        rd_bound < rtt_walk rd_bound < rtte_state rd_state < rtt_walk rd_state < rtte_state
        level_bound < rtt_walk level_bound < rtte_state ipa_bound < rtt_walk ipa_bound < rtte_state
    }
    others {
        success blocks attributes reserved_bits lpa2 ipas levels any_address occupied wrong_rd
    }
}
