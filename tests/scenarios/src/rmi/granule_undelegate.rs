// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RMI_GRANULE_UNDELEGATE`.

use rmi::{Command, CommandId};

use super::common::{State, misalign, not_delegated, out_of_bound, wrong_granules};
use crate::check;
use crate::contract::{Call, contract};
use crate::outcome::{Outcome, Reply};
use crate::world::World;

fn base(w: &mut World<'_>) -> Outcome<Call> {
    let addr = w.delegated()?;
    Ok(Command::GranuleUndelegate { addr }.into())
}

fn gran_align(_: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    Ok(misalign(c, "addr"))
}

fn gran_bound(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    Ok(out_of_bound(w, c, "addr"))
}

fn gran_state(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    not_delegated(w, c, "addr")
}

/// The Host can use the granule again, and it is empty.
fn success(w: &mut World<'_>) -> Outcome {
    let call = base(w)?;
    let addr = call.get("addr");
    let reply = w.call_raw(call.registers);
    w.check_reply(CommandId::GranuleUndelegate, reply, Reply::SUCCESS)?;
    w.note_undelegated(addr);
    check!(!w.is_delegated(addr)?, "the granule is still delegated");
    check!(w.read_page::<[u8; 4096]>(addr)? == [0; 4096], "not empty");
    w.write_page(addr, &[7_u8; 4096])?;
    check!(
        w.read_page::<[u8; 4096]>(addr)? == [7; 4096],
        "not writable"
    );
    Ok(())
}

/// Granules in use and granules of the Host are refused.
fn wrong_states(w: &mut World<'_>) -> Outcome {
    wrong_granules(w, base, "addr", State::Delegated)
}

/// What a Realm had in a page cannot be read by the Host, whatever the page was after that.
fn wipes_data(w: &mut World<'_>) -> Outcome {
    let realm = w.realm()?;
    w.tables(&realm, 0, 3)?;
    let data = w.data(&realm, 0, &[0xD7; 4096])?;
    w.ok(Command::DataDestroy {
        rd: realm.rd,
        ipa: 0,
    })?;
    w.undelegate(data)?;
    check!(
        w.read_page::<[u8; 4096]>(data)? == [0; 4096],
        "the Realm's page leaks"
    );
    Ok(())
}

contract! {
    GranuleUndelegate, "granule_undelegate", base;
    conditions { gran_align gran_bound gran_state }
    orders {}
    others { success wrong_states wipes_data }
}
