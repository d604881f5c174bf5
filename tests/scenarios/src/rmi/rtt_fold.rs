// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RMI_RTT_FOLD`.

use rmi::{Command, CommandId};

use super::common::{
    BLOCK_1G, BLOCK_2M, PAGE, State, first_realm, realm_with_tables, wrong_granules,
};
use super::conditions::table::ipa_align;
use super::conditions::{ipa_bound, level_bound, rd_align, rd_bound, rd_state};
use crate::check;
use crate::contract::{Call, contract, refuse};
use crate::desc;
use crate::outcome::{Outcome, Reply};
use crate::world::{Realm, RealmPlan, World, level_argument};

fn fold(realm: &Realm, ipa: u64, level: i64) -> Command {
    Command::RttFold {
        rd: realm.rd,
        ipa,
        level: level_argument(level),
    }
}

/// The empty level 3 table at 2 MiB.
fn base(w: &mut World<'_>) -> Outcome<Call> {
    let realm = realm_with_tables(w)?;
    w.table(&realm, BLOCK_2M, 3)?;
    Ok(fold(&realm, BLOCK_2M, 3).into())
}

fn rtt_walk(_: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    c.set("ipa", BLOCK_1G);
    Ok(Reply::rtt(1))
}

fn rtte_state(_: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    c.set("ipa", 2 * BLOCK_2M);
    Ok(Reply::rtt(2))
}

fn rtt_homo(w: &mut World<'_>, _: &mut Call) -> Outcome<Reply> {
    let realm = first_realm(w)?;
    w.data_unknown(&realm, BLOCK_2M + 7 * PAGE)?;
    Ok(Reply::rtt(3))
}

/// The parent's entry is what all entries were; the table is an unused granule.
fn success(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    let rtt = w.table(&realm, BLOCK_2M, 3)?;
    let reply = w.call(fold(&realm, BLOCK_2M, 3));
    w.check_reply(CommandId::RttFold, reply, Reply::SUCCESS.with(1, rtt))?;
    check!(w.is_delegated(rtt)?, "the table is still in use");
    w.check_entry(&realm, BLOCK_2M, 3, [2, 0, 0, 0])?;
    w.check_entry(&realm, 0, 3, [3, 0, 0, 0])
}

/// RIPAS is kept, unlike by `RMI_RTT_DESTROY`.
fn keeps_ripas(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    w.init_ripas(&realm, 0, BLOCK_2M)?;
    w.ok(fold(&realm, 0, 3))?;
    w.check_entry(&realm, 0, 3, [2, 0, 0, 1])?;
    w.ok(Command::RttDestroy {
        rd: realm.rd,
        ipa: 0,
        level: 2,
    })?;
    w.check_entry(&realm, 0, 3, [1, 0, 0, 2])?;
    w.tables(&realm, 0, 3)?;
    w.ok(fold(&realm, 0, 3))?;
    w.check_entry(&realm, 0, 3, [2, 0, 0, 2])
}

/// Different RIPAS values do not fold, wherever the difference is.
fn mixed_ripas(w: &mut World<'_>) -> Outcome {
    for page in [0, 1, 510, 511] {
        let realm = realm_with_tables(w)?;
        w.init_ripas(&realm, page * PAGE, (page + 1) * PAGE)?;
        let call = Call::from(fold(&realm, 0, 3));
        refuse(w, &call, Reply::rtt(3))?;
        w.destroy_realm(&realm)?;
    }
    Ok(())
}

/// 512 pages of the Realm in a row become a block, with RIPAS RAM or not.
fn assigned(w: &mut World<'_>) -> Outcome {
    for ripas in [0, 1] {
        let realm = realm_with_tables(w)?;
        if ripas == 1 {
            w.init_ripas(&realm, BLOCK_2M, 2 * BLOCK_2M)?;
        }
        let pa = w.assign_block(&realm, BLOCK_2M)?;
        w.check_entry(&realm, BLOCK_2M, 3, [3, 1, pa, ripas])?;
        w.ok(fold(&realm, BLOCK_2M, 3))?;
        w.check_entry(&realm, BLOCK_2M, 3, [2, 1, pa, ripas])?;
        w.check_entry(&realm, 2 * BLOCK_2M - PAGE, 3, [2, 1, pa, ripas])?;
        let call = Call::from(fold(&realm, 0, 2));
        refuse(w, &call, Reply::rtt(2))?;
        w.destroy_realm(&realm)?;
    }
    Ok(())
}

/// Pages that are not in a row, or not aligned as a block has to be, do not fold.
fn assigned_not_contiguous(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    let pa = w.delegated_run(513, BLOCK_2M, crate::Place::Low)?;
    w.table(&realm, BLOCK_2M, 3)?;
    let rd = realm.rd;
    // One granule behind the alignment.
    for n in 0..512 {
        let (data, ipa) = (pa + (n + 1) * PAGE, BLOCK_2M + n * PAGE);
        w.ok(Command::DataCreateUnknown { rd, data, ipa })?;
    }
    let call = Call::from(fold(&realm, BLOCK_2M, 3));
    refuse(w, &call, Reply::rtt(3))?;
    // Aligned, and two pages changed places.
    for n in 0..512 {
        w.ok(Command::DataDestroy {
            rd,
            ipa: BLOCK_2M + n * PAGE,
        })?;
    }
    for n in 0..512 {
        let place = match n {
            100 => 101,
            101 => 100,
            _ => n,
        };
        let (data, ipa) = (pa + place * PAGE, BLOCK_2M + n * PAGE);
        w.ok(Command::DataCreateUnknown { rd, data, ipa })?;
    }
    refuse(w, &call, Reply::rtt(3))
}

/// 511 pages and a hole do not fold, wherever the hole is.
fn assigned_with_hole(w: &mut World<'_>) -> Outcome {
    for hole in [0, 255, 511] {
        let realm = realm_with_tables(w)?;
        w.assign_block(&realm, BLOCK_2M)?;
        w.ok(Command::DataDestroy {
            rd: realm.rd,
            ipa: BLOCK_2M + hole * PAGE,
        })?;
        let call = Call::from(fold(&realm, BLOCK_2M, 3));
        refuse(w, &call, Reply::rtt(3))?;
        w.destroy_realm(&realm)?;
    }
    Ok(())
}

/// Memory of the Host in a row with equal attributes folds at levels 3 and 2.
fn unprotected(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    let ipa = realm.unprotected();
    let pa = 0x40_0000_0000;
    for n in 0..512 {
        w.map(&realm, ipa + n * PAGE, 3, pa + n * PAGE)?;
    }
    w.ok(fold(&realm, ipa, 3))?;
    let desc = pa | desc::READ_WRITE_BACK;
    w.check_entry(&realm, ipa, 3, [2, 1, desc, 0])?;
    for n in 1..512 {
        w.map(&realm, ipa + n * BLOCK_2M, 2, pa + n * BLOCK_2M)?;
    }
    w.ok(fold(&realm, ipa, 2))?;
    w.check_entry(&realm, ipa, 3, [1, 1, desc, 0])?;
    w.check_entry(&realm, ipa + BLOCK_1G - PAGE, 3, [1, 1, desc, 0])
}

/// Other attributes in one entry, or an address out of the row, do not fold.
fn unprotected_mixed(w: &mut World<'_>) -> Outcome {
    let good = 0x8000_0000 | desc::READ_WRITE_BACK;
    for odd in [
        (0x8000_0000 + 511 * PAGE) | desc::NON_CACHEABLE | desc::READ_WRITE,
        (0x8000_0000 + 511 * PAGE) | desc::WRITE_BACK | desc::READ_ONLY,
        0x9000_0000 | desc::READ_WRITE_BACK,
    ] {
        let realm = realm_with_tables(w)?;
        let ipa = realm.unprotected();
        for n in 0..512 {
            let desc = if n == 511 { odd } else { good + n * PAGE };
            w.ok(Command::RttMapUnprotected {
                rd: realm.rd,
                ipa: ipa + n * PAGE,
                level: 3,
                desc,
            })?;
        }
        let call = Call::from(fold(&realm, ipa, 3));
        refuse(w, &call, Reply::rtt(3))?;
        w.destroy_realm(&realm)?;
    }
    Ok(())
}

/// An address that a block of the parent's size could not have does not fold.
fn unprotected_misaligned(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    let ipa = realm.unprotected();
    for n in 0..512 {
        w.map(&realm, ipa + n * PAGE, 3, 0x8000_1000 + n * PAGE)?;
    }
    let call = Call::from(fold(&realm, ipa, 3));
    refuse(w, &call, Reply::rtt(3))
}

/// Entries with an address cannot fold into level 0: no block is that large.
fn level_1_with_addresses(w: &mut World<'_>) -> Outcome {
    let realm = w.realm_with(&RealmPlan::default().shaped(48, 0, 1))?;
    let ipa = realm.unprotected();
    w.table(&realm, ipa, 1)?;
    for n in 0..512 {
        w.map(&realm, ipa + n * BLOCK_1G, 1, n * BLOCK_1G)?;
    }
    let call = Call::from(fold(&realm, ipa, 1));
    refuse(w, &call, Reply::rtt(1))
}

/// Empty tables fold at every level, in both halves.
fn every_level(w: &mut World<'_>) -> Outcome {
    let features = w.features()?;
    let plan = if features.has_lpa2() && features.s2sz() >= 50 {
        RealmPlan {
            lpa2: true,
            ..RealmPlan::default().shaped(50, -1, 1)
        }
    } else {
        RealmPlan::default().shaped(48, 0, 1)
    };
    let realm = w.realm_with(&plan)?;
    for ipa in [0, realm.unprotected()] {
        w.tables(&realm, ipa, 3)?;
        for level in (realm.start + 1..=3).rev() {
            w.ok(fold(&realm, ipa, level))?;
            let found = [level_argument(level - 1), 0, 0, 0];
            w.check_entry(&realm, ipa, 3, found)?;
        }
    }
    Ok(())
}

/// A table that holds a table does not fold.
fn with_table(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    for ipa in [0, realm.unprotected()] {
        let call = Call::from(fold(&realm, ipa, 2));
        refuse(w, &call, Reply::rtt(2))?;
    }
    Ok(())
}

fn wrong_rd(w: &mut World<'_>) -> Outcome {
    wrong_granules(w, base, "rd", State::Rd)
}

contract! {
    RttFold, "rtt_fold", base;
    conditions {
        rd_align rd_bound rd_state level_bound ipa_align ipa_bound rtt_walk rtte_state rtt_homo
    }
    orders {
        rd_bound < rtt_walk rd_bound < rtte_state rd_bound < rtt_homo
        rd_state < rtt_walk rd_state < rtte_state rd_state < rtt_homo
        level_bound < rtt_walk level_bound < rtte_state ipa_bound < rtt_walk ipa_bound < rtte_state
    }
    others {
        success keeps_ripas mixed_ripas assigned assigned_not_contiguous assigned_with_hole unprotected
        unprotected_mixed unprotected_misaligned level_1_with_addresses every_level with_table wrong_rd
    }
}
