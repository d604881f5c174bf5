// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RMI_GRANULE_DELEGATE`.

use rmi::{Command, CommandId};

use super::common::{State, misalign, out_of_bound, wrong_granules};
use crate::check;
use crate::contract::{Call, contract};
use crate::outcome::{Outcome, Reply};
use crate::port::{Capabilities, GRANULE};
use crate::world::World;

fn base(w: &mut World<'_>) -> Outcome<Call> {
    let addr = w.granule()?;
    Ok(Command::GranuleDelegate { addr }.into())
}

fn gran_align(_: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    Ok(misalign(c, "addr"))
}

fn gran_bound(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    Ok(out_of_bound(w, c, "addr"))
}

fn gran_state(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    w.delegate(c.get("addr"))?;
    Ok(Reply::input())
}

fn gran_gpt(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    w.make_secure(c.get("addr"))?;
    Ok(Reply::input())
}

/// The granule leaves the Host's world, and comes back without what was in it.
fn success(w: &mut World<'_>) -> Outcome {
    let call = base(w)?;
    let addr = call.get("addr");
    w.write_page(addr, &[0xC3_u8; 4096])?;
    let reply = w.call_raw(call.registers);
    w.check_reply(CommandId::GranuleDelegate, reply, Reply::SUCCESS)?;
    w.note_delegated(addr);
    check!(w.is_delegated(addr)?, "the granule is not delegated");
    if w.port.capabilities().contains(Capabilities::SAFE_READ) {
        let mut word = [0; 8];
        check!(
            w.port.read(addr, &mut word).is_err(),
            "the Host still reads it"
        );
    }
    w.undelegate(addr)?;
    let page = w.read_page::<[u8; 4096]>(addr)?;
    check!(page == [0; 4096], "old contents came back");
    Ok(())
}

/// Its neighbours stay where they are.
fn footprint(w: &mut World<'_>) -> Outcome {
    let first = w.granules(3, GRANULE, crate::Place::Low)?;
    w.write_page(first, &[1_u8; 4096])?;
    w.write_page(first + 2 * GRANULE, &[2_u8; 4096])?;
    w.delegate(first + GRANULE)?;
    check!(
        w.read_page::<[u8; 4096]>(first)? == [1; 4096],
        "the granule before"
    );
    let behind = w.read_page::<[u8; 4096]>(first + 2 * GRANULE)?;
    check!(behind == [2; 4096], "the granule behind");
    w.expect(Command::GranuleUndelegate { addr: first }, Reply::input())
}

/// Granules in every other state are refused.
fn wrong_states(w: &mut World<'_>) -> Outcome {
    wrong_granules(w, base, "addr", State::Undelegated)
}

/// A granule that was Secure for a while can be delegated when it is the Host's again.
fn after_secure(w: &mut World<'_>) -> Outcome {
    let call = base(w)?;
    let addr = call.get("addr");
    w.make_secure(addr)?;
    let reply = w.call_raw(call.registers);
    w.check_reply(CommandId::GranuleDelegate, reply, Reply::input())?;
    w.make_non_secure(addr);
    w.delegate(addr)
}

contract! {
    GranuleDelegate, "granule_delegate", base;
    conditions { gran_align gran_bound gran_state gran_gpt }
    orders {}
    others { success footprint wrong_states after_secure }
}
