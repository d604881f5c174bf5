// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RMI_REC_DESTROY`.

use rmi::{Command, CommandId};

use super::common::{State, wrong_granules};
use super::conditions::{rec_align, rec_bound, rec_gran_state, rec_state};
use crate::check;
use crate::contract::{Call, contract, refuse};
use crate::outcome::{Outcome, Reply};
use crate::world::{Runnable, World};

fn base(w: &mut World<'_>) -> Outcome<Call> {
    let realm = w.realm()?;
    let rec = w.rec(&realm, Runnable::Yes)?.rec;
    Ok(Command::RecDestroy { rec }.into())
}

/// The granule is unused again and the Realm has no REC.
fn success(w: &mut World<'_>) -> Outcome {
    let realm = w.realm()?;
    let rec = w.rec(&realm, Runnable::Yes)?;
    let reply = w.call(Command::RecDestroy { rec: rec.rec });
    w.check_reply(CommandId::RecDestroy, reply, Reply::SUCCESS)?;
    check!(w.is_delegated(rec.rec)?, "the granule is still in use");
    w.destroy_realm(&realm)
}

/// Auxiliary granules are unused again too.
fn frees_aux(w: &mut World<'_>) -> Outcome {
    let Some(aux) = w.aux_granule()? else {
        return Err(crate::Stop::Skipped(
            "no REC needs auxiliary granules".into(),
        ));
    };
    check!(!w.is_delegated(aux)?, "the auxiliary granule is unused");
    let call = Call::from(Command::GranuleUndelegate { addr: aux });
    refuse(w, &call, Reply::input())?;
    let (_, rec) = w.recs[w.recs.len() - 1];
    w.ok(Command::RecDestroy { rec: rec.rec })?;
    check!(
        w.is_delegated(aux)?,
        "the auxiliary granule is still in use"
    );
    Ok(())
}

/// A pending PSCI request does not keep a REC.
fn with_psci_pending(w: &mut World<'_>) -> Outcome {
    let (realm, rec) = w.two_rec_realm()?.0;
    w.cpu_on(&rec, 1, 0, 0)?;
    w.ok(Command::RecDestroy { rec: rec.rec })?;
    check!(w.is_delegated(rec.rec)?, "the granule is still in use");
    w.expect(
        Command::RecEnter {
            rec: rec.rec,
            run_ptr: rec.run,
        },
        Reply::input(),
    )?;
    check!(realm.rd != 0, "the Realm stays");
    Ok(())
}

fn wrong_rec(w: &mut World<'_>) -> Outcome {
    wrong_granules(w, base, "rec", State::Rec)
}

contract! {
    RecDestroy, "rec_destroy", base;
    conditions { rec_align rec_bound rec_gran_state rec_state }
    orders { rec_bound < rec_state rec_gran_state < rec_state }
    others { success frees_aux with_psci_pending wrong_rec }
}
