// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RMI_RTT_SET_RIPAS`.

use rmi::{Command, CommandId, EnterFlags};

use super::common::{BLOCK_2M, PAGE, State, first_realm, wrong_granules};
use super::conditions::{rd_align, rd_bound, rd_state, rec_align, rec_bound, rec_gran_state};
use crate::check;
use crate::contract::{Call, contract, refuse};
use crate::outcome::{Outcome, Reply};
use crate::port::Capabilities;
use crate::world::{Realm, Rec, Runnable, World};

const RAM: u64 = 1;
const EMPTY: u64 = 0;

fn set(realm: &Realm, rec: &Rec, base: u64, top: u64) -> Command {
    Command::RttSetRipas {
        rd: realm.rd,
        rec: rec.rec,
        base,
        top,
    }
}

/// A Realm that runs, with a request for RAM in [base, top).
fn request(w: &mut World<'_>, base: u64, top: u64) -> Outcome<(Realm, Rec)> {
    let (realm, rec) = w.running_realm()?;
    w.ripas_request(&rec, base, top, RAM, 0)?;
    Ok((realm, rec))
}

/// Two pages of eight.
fn base(w: &mut World<'_>) -> Outcome<Call> {
    let (realm, rec) = request(w, 0, 8 * PAGE)?;
    Ok(set(&realm, &rec, 0, 2 * PAGE).into())
}

fn rec_state(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    w.need(Capabilities::SECOND_PE, "no call during a run")?;
    let (realm, rec) = w.running_realm()?;
    c.set("rd", realm.rd);
    c.set("rec", rec.rec);
    c.during = Some(w.enter_call(&rec)?);
    Ok(Reply::rec())
}

fn rec_owner(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    let other = w.realm()?;
    c.set("rd", other.rd);
    Ok(Reply::rec())
}

fn size_valid(_: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    c.set("top", c.get("base"));
    Ok(Reply::input())
}

fn base_bound(_: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    c.set("base", c.get("base") + PAGE);
    Ok(Reply::input())
}

fn top_bound(_: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    c.set("top", 9 * PAGE);
    Ok(Reply::input())
}

/// The request begins in the middle of a 2 MiB entry.
fn base_align(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    let base = 2 * BLOCK_2M + PAGE;
    let (realm, rec) = request(w, base, 4 * BLOCK_2M)?;
    *c = set(&realm, &rec, base, 3 * BLOCK_2M).into();
    Ok(Reply::rtt(2))
}

fn top_gran_align(_: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    c.set("top", c.get("top") - 8);
    Ok(Reply::input())
}

/// The end of the call cuts a 2 MiB entry.
fn no_progress(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    let base = 2 * BLOCK_2M;
    let (realm, rec) = request(w, base, 4 * BLOCK_2M)?;
    *c = set(&realm, &rec, base, base + PAGE).into();
    Ok(Reply::rtt(2))
}

/// The range is RAM, the request begins behind it, and the Realm hears of it.
fn success(w: &mut World<'_>) -> Outcome {
    let (realm, rec) = request(w, 0, 8 * PAGE)?;
    let reply = w.call(set(&realm, &rec, 0, 2 * PAGE));
    w.check_reply(
        CommandId::RttSetRipas,
        reply,
        Reply::SUCCESS.with(1, 2 * PAGE),
    )?;
    for (page, ripas) in [(0, 1), (1, 1), (2, 0)] {
        w.check_entry(&realm, page * PAGE, 3, [3, 0, 0, ripas])?;
    }
    let again = Call::from(set(&realm, &rec, 0, 2 * PAGE));
    refuse(w, &again, Reply::input())?;
    w.ok(set(&realm, &rec, 2 * PAGE, 8 * PAGE))?;
    let answer = w.ripas_answer(&rec, EnterFlags::empty())?;
    check!(answer == (0, 8 * PAGE, 0), "the Realm sees {answer:x?}");
    Ok(())
}

/// The Host may stop halfway; the Realm sees how far it came.
fn partial(w: &mut World<'_>) -> Outcome {
    let (realm, rec) = request(w, 0, 8 * PAGE)?;
    w.ok(set(&realm, &rec, 0, 2 * PAGE))?;
    let answer = w.ripas_answer(&rec, EnterFlags::empty())?;
    check!(answer == (0, 2 * PAGE, 0), "the Realm sees {answer:x?}");
    Ok(())
}

/// The Host may refuse RAM; it cannot refuse EMPTY.
fn rejected(w: &mut World<'_>) -> Outcome {
    let (_, rec) = request(w, 0, 8 * PAGE)?;
    let answer = w.ripas_answer(&rec, EnterFlags::RIPAS_REJECT)?;
    check!(answer == (0, 0, 1), "the Realm sees {answer:x?}");
    w.ripas_request(&rec, 0, 8 * PAGE, EMPTY, 0)?;
    let answer = w.ripas_answer(&rec, EnterFlags::RIPAS_REJECT)?;
    check!(answer == (0, 0, 0), "the Realm sees {answer:x?}");
    Ok(())
}

/// The Host may refuse the rest of a change to RAM, not of one to EMPTY.
fn rejected_halfway(w: &mut World<'_>) -> Outcome {
    let (realm, rec) = request(w, 0, 8 * PAGE)?;
    w.ok(set(&realm, &rec, 0, 2 * PAGE))?;
    let answer = w.ripas_answer(&rec, EnterFlags::RIPAS_REJECT)?;
    check!(answer == (0, 2 * PAGE, 1), "the Realm sees {answer:x?}");
    w.ripas_request(&rec, 0, 8 * PAGE, EMPTY, 0)?;
    w.ok(set(&realm, &rec, 0, PAGE))?;
    let answer = w.ripas_answer(&rec, EnterFlags::RIPAS_REJECT)?;
    check!(answer == (0, PAGE, 0), "the Realm sees {answer:x?}");
    for (page, ripas) in [(0, EMPTY), (1, RAM), (2, EMPTY)] {
        w.check_entry(&realm, page * PAGE, 3, [3, 0, 0, ripas])?;
    }
    Ok(())
}

/// A request that is served completely is not refused.
fn rejected_too_late(w: &mut World<'_>) -> Outcome {
    let (realm, rec) = request(w, 0, 8 * PAGE)?;
    w.ok(set(&realm, &rec, 0, 8 * PAGE))?;
    let answer = w.ripas_answer(&rec, EnterFlags::RIPAS_REJECT)?;
    check!(answer == (0, 8 * PAGE, 0), "the Realm sees {answer:x?}");
    Ok(())
}

/// Without a request nothing can be changed.
fn without_request(w: &mut World<'_>) -> Outcome {
    let (realm, rec) = w.running_realm()?;
    for (base, top) in [(0, PAGE), (PAGE, 2 * PAGE)] {
        let call = Call::from(set(&realm, &rec, base, top));
        refuse(w, &call, Reply::input())?;
    }
    Ok(())
}

/// The next exit ends a request.
fn after_next_exit(w: &mut World<'_>) -> Outcome {
    let (realm, rec) = request(w, 0, 8 * PAGE)?;
    w.ripas_answer(&rec, EnterFlags::empty())?;
    let call = Call::from(set(&realm, &rec, 0, 2 * PAGE));
    refuse(w, &call, Reply::input())
}

/// EMPTY takes memory from the Realm's sight; its contents are still there when it is RAM again.
fn empty_and_back(w: &mut World<'_>) -> Outcome {
    let realm = w.realm()?;
    w.load_program(&realm)?;
    let data = w.data(&realm, 0, &[0x99; 4096])?;
    let rec = w.rec(&realm, Runnable::Yes)?;
    w.activate(&realm)?;
    let load = crate::realm::RealmAction::Load { ipa: 0 };
    w.act_done(&rec, load)?;
    w.change_ripas(&realm, &rec, 0, PAGE, EMPTY)?;
    w.check_entry(&realm, 0, 3, [3, 1, data, 0])?;
    let result = w.act_done(&rec, load)?;
    check!(
        result.exception.is_some(),
        "the Realm still reads it: {result:x?}"
    );
    w.change_ripas(&realm, &rec, 0, PAGE, RAM)?;
    w.check_entry(&realm, 0, 3, [3, 1, data, 1])?;
    let result = w.act_done(&rec, load)?;
    check!(result.exception.is_none(), "{result:x?}");
    Ok(())
}

/// A page that the Host destroyed changes only if the Realm said so.
fn destroyed(w: &mut World<'_>) -> Outcome {
    let realm = w.realm()?;
    w.load_program(&realm)?;
    let rd = realm.rd;
    w.data(&realm, 2 * PAGE, &[1; 4096])?;
    let rec = w.rec(&realm, Runnable::Yes)?;
    w.activate(&realm)?;
    w.ok(Command::DataDestroy { rd, ipa: 2 * PAGE })?;
    w.ripas_request(&rec, 0, 4 * PAGE, RAM, 0)?;
    w.expect(
        set(&realm, &rec, 0, 4 * PAGE),
        Reply::SUCCESS.with(1, 2 * PAGE),
    )?;
    let call = Call::from(set(&realm, &rec, 2 * PAGE, 4 * PAGE));
    refuse(w, &call, Reply::rtt(3))?;
    w.ripas_answer(&rec, EnterFlags::empty())?;
    w.ripas_request(&rec, 2 * PAGE, 4 * PAGE, RAM, 1)?;
    w.expect(
        set(&realm, &rec, 2 * PAGE, 4 * PAGE),
        Reply::SUCCESS.with(1, 4 * PAGE),
    )?;
    w.check_entry(&realm, 2 * PAGE, 3, [3, 0, 0, 1])
}

/// A call goes no further than the table that it begins in, and stops in front of a table.
fn stops(w: &mut World<'_>) -> Outcome {
    let (realm, rec) = request(w, 0, 16 * BLOCK_2M)?;
    w.table(&realm, 4 * BLOCK_2M, 3)?;
    for (base, reached) in [
        (0, BLOCK_2M),
        (BLOCK_2M, 4 * BLOCK_2M),
        (4 * BLOCK_2M, 5 * BLOCK_2M),
    ] {
        // The program's own page is RAM already and in use; RIPAS does not mind.
        let wanted = Reply::SUCCESS.with(1, reached);
        w.expect(set(&realm, &rec, base, 16 * BLOCK_2M), wanted)?;
    }
    Ok(())
}

/// A block whose entry already has the wanted RIPAS does not have to be split.
fn already_equal(w: &mut World<'_>) -> Outcome {
    let base = 2 * BLOCK_2M + PAGE;
    let (realm, rec) = w.running_realm()?;
    w.ripas_request(&rec, base, base + 2 * PAGE, EMPTY, 0)?;
    let reply = w.call(set(&realm, &rec, base, base + 2 * PAGE));
    let wanted = Reply::SUCCESS.with(1, base + 2 * PAGE);
    w.check_reply(CommandId::RttSetRipas, reply, wanted)
}

fn wrong_rd(w: &mut World<'_>) -> Outcome {
    wrong_granules(w, base, "rd", State::Rd)
}

fn wrong_rec(w: &mut World<'_>) -> Outcome {
    wrong_granules(w, base, "rec", State::Rec)
}

/// Addresses past the request are refused, however far.
fn tops(w: &mut World<'_>) -> Outcome {
    let mut call = base(w)?;
    let half = first_realm(w)?.unprotected();
    for top in [
        9 * PAGE,
        half,
        half + PAGE,
        1 << 52,
        0u64.wrapping_sub(PAGE),
    ] {
        call.set("top", top);
        refuse(w, &call, Reply::input())?;
    }
    Ok(())
}

contract! {
    RttSetRipas, "rtt_set_ripas", base;
    conditions {
        rd_align rd_bound rd_state rec_align rec_bound rec_gran_state rec_state rec_owner size_valid
        base_bound top_bound base_align top_gran_align no_progress
    }
    orders {
        rd_bound < base_align rd_state < base_align rd_bound < no_progress rd_state < no_progress
        rec_bound < rec_state rec_gran_state < rec_state
        rec_bound < rec_owner rec_gran_state < rec_owner
        base_bound < base_align top_gran_align < no_progress
    }
    others {
        success partial rejected rejected_halfway rejected_too_late without_request after_next_exit empty_and_back
        destroyed stops already_equal wrong_rd wrong_rec tops
    }
}
