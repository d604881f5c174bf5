// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RMI_REC_AUX_COUNT`.

use rmi::{Command, CommandId};

use super::common::{State, wrong_granules};
use super::conditions::{rd_align, rd_bound, rd_state};
use crate::check;
use crate::contract::{Call, contract};
use crate::outcome::{Outcome, Reply};
use crate::world::{Runnable, World};

fn base(w: &mut World<'_>) -> Outcome<Call> {
    let rd = w.realm()?.rd;
    Ok(Command::RecAuxCount { rd }.into())
}

/// The count is constant for the life of the Realm, and at most 16.
fn success(w: &mut World<'_>) -> Outcome {
    let realm = w.realm()?;
    let count = w.ok(Command::RecAuxCount { rd: realm.rd })?.output(1);
    check!(count <= 16, "{count} auxiliary granules");
    let wanted = Reply::SUCCESS.with(1, count);
    w.rec(&realm, Runnable::Yes)?;
    w.expect(Command::RecAuxCount { rd: realm.rd }, wanted)?;
    w.activate(&realm)?;
    let reply = w.call(Command::RecAuxCount { rd: realm.rd });
    w.check_reply(CommandId::RecAuxCount, reply, wanted)
}

fn wrong_rd(w: &mut World<'_>) -> Outcome {
    wrong_granules(w, base, "rd", State::Rd)
}

contract! {
    RecAuxCount, "rec_aux_count", base;
    conditions { rd_align rd_bound rd_state }
    orders {}
    others { success wrong_rd }
}
