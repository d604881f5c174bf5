// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RMI_RTT_READ_ENTRY`.

use rmi::{Command, CommandId};

use super::common::{
    BLOCK_1G, BLOCK_2M, PAGE, State, first_realm, realm_with_tables, wrong_granules,
};
use super::conditions::{ipa_bound, level_bound, rd_align, rd_bound, rd_state};
use crate::contract::{Call, contract, refuse};
use crate::outcome::{Outcome, Reply};
use crate::world::{RealmPlan, World, level_argument};

fn base(w: &mut World<'_>) -> Outcome<Call> {
    let rd = realm_with_tables(w)?.rd;
    Ok(Command::RttReadEntry {
        rd,
        ipa: PAGE,
        level: 3,
    }
    .into())
}

fn ipa_align(_: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    c.set("ipa", PAGE + 8);
    Ok(Reply::input())
}

/// Each kind of entry reads as what it is; a walk that ends early says where.
fn success(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    let half = realm.unprotected();
    let data = w.data_unknown(&realm, PAGE)?;
    w.init_ripas(&realm, 2 * PAGE, 4 * PAGE)?;
    let desc = w.map(&realm, half, 3, 0x8000_0000)?;
    let table = w.table(&realm, BLOCK_2M, 3)?;
    w.check_entry(&realm, 0, 3, [3, 0, 0, 0])?;
    w.check_entry(&realm, PAGE, 3, [3, 1, data, 0])?;
    w.check_entry(&realm, 2 * PAGE, 3, [3, 0, 0, 1])?;
    w.check_entry(&realm, BLOCK_2M, 2, [2, 2, table, 0])?;
    w.check_entry(&realm, 2 * BLOCK_2M + PAGE, 3, [2, 0, 0, 0])?;
    w.check_entry(&realm, BLOCK_1G + PAGE, 3, [1, 0, 0, 0])?;
    w.check_entry(&realm, half, 3, [3, 1, desc, 0])?;
    w.check_entry(&realm, half + PAGE, 3, [3, 0, 0, 0])?;
    w.check_entry(&realm, realm.end() - PAGE, 3, [1, 0, 0, 0])
}

/// A page with RIPAS RAM shows its address and nothing else of the descriptor.
fn no_descriptor_bits(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    let data = w.data(&realm, 0, &[1; 4096])?;
    w.check_entry(&realm, 0, 3, [3, 1, data, 1])?;
    w.ok(Command::DataDestroy {
        rd: realm.rd,
        ipa: 0,
    })?;
    w.check_entry(&realm, 0, 3, [3, 0, 0, 2])
}

/// The starting level can be read, other levels above it cannot.
fn levels(w: &mut World<'_>) -> Outcome {
    let mut call = base(w)?;
    let realm = first_realm(w)?;
    w.check_entry(&realm, BLOCK_1G, 1, [1, 0, 0, 0])?;
    call.set("ipa", 0);
    for level in [0, -1, 4, i64::MIN, i64::MAX] {
        call.set("level", level_argument(level));
        refuse(w, &call, Reply::input())?;
    }
    Ok(())
}

/// Level -1 comes back as the signed number that it is.
fn level_minus_1(w: &mut World<'_>) -> Outcome {
    let features = w.features()?;
    if !features.has_lpa2() || features.s2sz() < 50 {
        return Err(crate::Stop::Skipped("no walk starts at level -1".into()));
    }
    let plan = RealmPlan {
        lpa2: true,
        ..RealmPlan::default().shaped(50, -1, 1)
    };
    let realm = w.realm_with(&plan)?;
    w.check_entry(&realm, 0, -1, [u64::MAX, 0, 0, 0])?;
    w.check_entry(&realm, 0, 3, [u64::MAX, 0, 0, 0])
}

/// The address must be aligned to the level's entries.
fn alignments(w: &mut World<'_>) -> Outcome {
    let mut call = base(w)?;
    for (level, ipa) in [
        (2, PAGE),
        (2, BLOCK_2M / 2),
        (1, BLOCK_2M),
        (1, PAGE),
        (3, 1),
    ] {
        call.set("level", level);
        call.set("ipa", ipa);
        refuse(w, &call, Reply::input())?;
    }
    Ok(())
}

/// An active Realm can be read, and reading changes nothing.
fn in_active_realm(w: &mut World<'_>) -> Outcome {
    let call = base(w)?;
    let realm = first_realm(w)?;
    w.activate(&realm)?;
    for _ in 0..2 {
        let reply = w.call_raw(call.registers);
        w.check_reply(CommandId::RttReadEntry, reply, Reply::SUCCESS.with(1, 3))?;
    }
    Ok(())
}

fn wrong_rd(w: &mut World<'_>) -> Outcome {
    wrong_granules(w, base, "rd", State::Rd)
}

contract! {
    RttReadEntry, "rtt_read_entry", base;
    conditions { rd_align rd_bound rd_state level_bound ipa_align ipa_bound }
    orders {}
    others {
        success no_descriptor_bits levels level_minus_1 alignments in_active_realm wrong_rd
    }
}
