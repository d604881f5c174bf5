// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RMI_REALM_ACTIVATE`.

use rmi::{Command, CommandId};

use super::common::{State, wrong_granules};
use super::conditions::{rd_align, rd_bound, rd_state};
use crate::contract::{Call, contract};
use crate::outcome::{Outcome, Reply};
use crate::world::{Runnable, World};

fn base(w: &mut World<'_>) -> Outcome<Call> {
    let rd = w.realm()?.rd;
    Ok(Command::RealmActivate { rd }.into())
}

fn realm_state(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    w.ok(Command::RealmActivate { rd: c.get("rd") })?;
    Ok(Reply::realm(0))
}

/// The Realm is built no further.
fn success(w: &mut World<'_>) -> Outcome {
    let realm = w.realm()?;
    w.tables(&realm, 0, 3)?;
    let reply = w.call(Command::RealmActivate { rd: realm.rd });
    w.check_reply(CommandId::RealmActivate, reply, Reply::SUCCESS)?;
    let rd = realm.rd;
    w.expect(
        Command::RttInitRipas {
            rd,
            base: 0,
            top: 0x1000,
        },
        Reply::realm(0),
    )?;
    let (data, src) = (w.delegated()?, w.granule()?);
    w.expect(
        Command::DataCreate {
            rd,
            data,
            ipa: 0,
            src,
            flags: 0,
        },
        Reply::realm(0),
    )
}

/// A Realm that turned itself off cannot be activated again.
fn after_system_off(w: &mut World<'_>) -> Outcome {
    let (realm, rec) = w.running_realm()?;
    w.system_off(&rec)?;
    w.expect(Command::RealmActivate { rd: realm.rd }, Reply::realm(0))
}

/// Another Realm is not concerned.
fn footprint(w: &mut World<'_>) -> Outcome {
    let (one, other) = (w.realm()?, w.realm()?);
    w.activate(&one)?;
    w.rec(&other, Runnable::Yes)?;
    w.activate(&other)
}

fn wrong_rd(w: &mut World<'_>) -> Outcome {
    wrong_granules(w, base, "rd", State::Rd)
}

contract! {
    RealmActivate, "realm_activate", base;
    conditions { rd_align rd_bound rd_state realm_state }
    orders { rd_bound < realm_state rd_state < realm_state }
    others { success after_system_off footprint wrong_rd }
}
