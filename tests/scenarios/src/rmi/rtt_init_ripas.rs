// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RMI_RTT_INIT_RIPAS`.

use rmi::{Command, CommandId, RsiCommand};

use super::common::{
    BLOCK_1G, BLOCK_2M, PAGE, State, first_realm, realm_with_tables, wrong_granules,
};
use super::conditions::{rd_align, rd_bound, rd_state, realm_state};
use crate::check;
use crate::contract::{Call, contract, refuse};
use crate::outcome::{Outcome, Reply};
use crate::realm::RealmAction;
use crate::vectors::{HostVectors, VectorMode};
use crate::world::{Realm, Runnable, World};

fn init(realm: &Realm, base: u64, top: u64) -> Command {
    Command::RttInitRipas {
        rd: realm.rd,
        base,
        top,
    }
}

/// Two pages of the first 2 MiB.
fn base(w: &mut World<'_>) -> Outcome<Call> {
    let realm = realm_with_tables(w)?;
    Ok(init(&realm, PAGE, 3 * PAGE).into())
}

fn size_valid(_: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    c.set("top", c.get("base"));
    Ok(Reply::input())
}

fn top_bound(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    c.set("top", first_realm(w)?.unprotected() + PAGE);
    Ok(Reply::input())
}

/// In the middle of a 2 MiB entry.
fn base_align(_: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    c.set("base", BLOCK_2M + PAGE);
    c.set("top", 2 * BLOCK_2M);
    Ok(Reply::rtt(2))
}

fn rtte_state(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    let realm = first_realm(w)?;
    w.data_unknown(&realm, c.get("base"))?;
    Ok(Reply::rtt(3))
}

fn top_gran_align(_: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    c.set("top", c.get("top") + 8);
    Ok(Reply::input())
}

/// The end cuts a 2 MiB entry.
fn no_progress(_: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    c.set("base", BLOCK_2M);
    c.set("top", BLOCK_2M + PAGE);
    Ok(Reply::rtt(2))
}

/// The range is RAM now and nothing else is.
fn success(w: &mut World<'_>) -> Outcome {
    let call = base(w)?;
    let realm = first_realm(w)?;
    let reply = w.call_raw(call.registers);
    w.check_reply(
        CommandId::RttInitRipas,
        reply,
        Reply::SUCCESS.with(1, 3 * PAGE),
    )?;
    for (page, ripas) in [(0, 0), (1, 1), (2, 1), (3, 0)] {
        w.check_entry(&realm, page * PAGE, 3, [3, 0, 0, ripas])?;
    }
    Ok(())
}

/// A call goes no further than the table that it begins in.
fn to_end_of_table(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    w.table(&realm, BLOCK_2M, 3)?;
    let wanted = Reply::SUCCESS.with(1, BLOCK_2M);
    w.expect(init(&realm, 510 * PAGE, BLOCK_2M + 2 * PAGE), wanted)?;
    w.check_entry(&realm, 511 * PAGE, 3, [3, 0, 0, 1])?;
    w.check_entry(&realm, BLOCK_2M, 3, [3, 0, 0, 0])
}

/// It stops in front of a table.
fn stops_at_table(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    w.table(&realm, 4 * BLOCK_2M, 3)?;
    let wanted = Reply::SUCCESS.with(1, 4 * BLOCK_2M);
    w.expect(init(&realm, BLOCK_2M, 8 * BLOCK_2M), wanted)?;
    w.check_entry(&realm, 3 * BLOCK_2M, 2, [2, 0, 0, 1])?;
    w.check_entry(&realm, 5 * BLOCK_2M, 2, [2, 0, 0, 0])
}

/// It stops in front of a page that is there already.
fn stops_at_page(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    w.data_unknown(&realm, 4 * PAGE)?;
    let wanted = Reply::SUCCESS.with(1, 4 * PAGE);
    w.expect(init(&realm, 0, 8 * PAGE), wanted)?;
    w.check_entry(&realm, 3 * PAGE, 3, [3, 0, 0, 1])?;
    w.check_entry(&realm, 5 * PAGE, 3, [3, 0, 0, 0])
}

/// The end is rounded down to a whole entry.
fn rounds_down(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    let wanted = Reply::SUCCESS.with(1, 3 * BLOCK_2M);
    w.expect(init(&realm, BLOCK_2M, 3 * BLOCK_2M + 5 * PAGE), wanted)?;
    w.check_entry(&realm, 3 * BLOCK_2M, 2, [2, 0, 0, 0])
}

/// The greatest protected address can be RAM.
fn to_end_of_half(w: &mut World<'_>) -> Outcome {
    let realm = w.realm()?;
    let half = realm.unprotected();
    let wanted = Reply::SUCCESS.with(1, half);
    w.expect(init(&realm, half - BLOCK_1G, half), wanted)?;
    w.check_entry(&realm, half - BLOCK_1G, 1, [1, 0, 0, 1])?;
    w.check_entry(&realm, half, 1, [1, 0, 0, 0])
}

/// Entries that are RAM already may be declared again.
fn again(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    for _ in 0..2 {
        w.expect(init(&realm, 0, 4 * PAGE), Reply::SUCCESS.with(1, 4 * PAGE))?;
    }
    Ok(())
}

/// Each entry is measured by itself, however many one call declares, and in its place.
fn measured_per_entry(w: &mut World<'_>) -> Outcome {
    let together = rim_after(w, &[(0, 4)])?;
    let one_by_one = rim_after(w, &[(0, 1), (1, 2), (2, 3), (3, 4)])?;
    check!(
        together == one_by_one,
        "{together:x?} of one call, {one_by_one:x?} of one for each entry"
    );
    for other in [&[(0, 3)][..], &[(1, 5)], &[(2, 4), (0, 2)], &[]] {
        let rim = rim_after(w, other)?;
        check!(rim != together, "{other:?} is measured like (0, 4)");
    }
    Ok(())
}

/// In streaming mode the monitor cannot use the instructions for digests; the measurements are the same.
fn measured_in_streaming(w: &mut World<'_>) -> Outcome {
    let with_instructions = rim_after(w, &[(0, 4)])?;
    let state = HostVectors {
        mode: VectorMode::Streaming,
        length: 0,
        array: false,
    };
    if w.port.fill_vectors(state, 1) {
        let without = rim_after(w, &[(0, 4)])?;
        check!(
            with_instructions == without,
            "{with_instructions:x?} with instructions, {without:x?} without"
        );
        let wrong = w.port.check_vectors(2);
        check!(wrong.is_none(), "{}", wrong.unwrap_or_default());
    }
    Ok(())
}

/// Returns the initial measurement of a Realm after the declaration of these pages.
fn rim_after(w: &mut World<'_>, pages: &[(u64, u64)]) -> Outcome<[u64; 8]> {
    let realm = w.realm()?;
    w.load_program(&realm)?;
    w.tables(&realm, 0, 3)?;
    for (base, top) in pages {
        w.init_ripas(&realm, base * PAGE, top * PAGE)?;
    }
    let rec = w.rec(&realm, Runnable::Yes)?;
    w.activate(&realm)?;
    let read = RealmAction::smc(&[RsiCommand::MeasurementRead.fid(), 0]);
    let [status, rim @ .., _, _] = w.act_done(&rec, read)?.registers;
    check!(status == 0, "RSI_MEASUREMENT_READ {status:#x}");
    w.ok(Command::RecDestroy { rec: rec.rec })?;
    w.recs.retain(|(_, known)| known.rec != rec.rec);
    w.destroy_realm(&realm)?;
    Ok(rim)
}

/// A table in the way is found at its own level only: the walk goes on into it.
fn into_table(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    let wanted = Reply::SUCCESS.with(1, BLOCK_2M);
    w.expect(init(&realm, 0, BLOCK_1G), wanted)
}

/// A base that is not aligned to a granule is no address of an entry.
fn base_not_a_granule(w: &mut World<'_>) -> Outcome {
    let mut call = base(w)?;
    call.set("base", PAGE + 8);
    refuse(w, &call, Reply::rtt(3))
}

/// Ends before the beginning are refused.
fn sizes(w: &mut World<'_>) -> Outcome {
    let realm = realm_with_tables(w)?;
    for (base, top) in [
        (PAGE, 0),
        (BLOCK_1G, PAGE),
        (u64::MAX, PAGE),
        (PAGE, PAGE),
        (0, 0),
    ] {
        let call = Call::from(init(&realm, base, top));
        refuse(w, &call, Reply::input())?;
    }
    Ok(())
}

fn wrong_rd(w: &mut World<'_>) -> Outcome {
    wrong_granules(w, base, "rd", State::Rd)
}

contract! {
    RttInitRipas, "rtt_init_ripas", base;
    conditions {
        rd_align rd_bound rd_state size_valid top_bound realm_state base_align rtte_state top_gran_align
        no_progress
    }
    orders {
        rd_bound < realm_state rd_state < realm_state
        rd_bound < base_align rd_state < base_align rd_bound < rtte_state rd_state < rtte_state
        rd_bound < no_progress rd_state < no_progress
        top_gran_align < no_progress
    }
    others {
        success to_end_of_table stops_at_table stops_at_page rounds_down to_end_of_half again measured_per_entry
        measured_in_streaming into_table base_not_a_granule sizes wrong_rd
    }
}
