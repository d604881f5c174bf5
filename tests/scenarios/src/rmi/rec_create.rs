// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RMI_REC_CREATE`.

use rmi::{Command, CommandId, RecParams};

use super::common::{State, first_realm, not_delegated, same_granule, wrong_granules};
use super::conditions::{
    params_align, params_bound, params_pas, rd_align, rd_bound, rd_state, realm_state, rec_align,
    rec_bound,
};
use crate::check;
use crate::contract::{Call, contract, refuse};
use crate::cut;
use crate::outcome::{Outcome, Reply, Stop};
use crate::world::{Realm, RealmPlan, Rec, Runnable, World, rec_mpidr};

fn call_for(w: &mut World<'_>, realm: &Realm) -> Outcome<Call> {
    let params = w.rec_params(realm, 0, Runnable::Yes)?;
    let (rec, params_ptr) = (w.delegated()?, w.page(&params)?);
    let rd = realm.rd;
    Ok(Command::RecCreate {
        rd,
        rec,
        params_ptr,
    }
    .into())
}

fn base(w: &mut World<'_>) -> Outcome<Call> {
    let realm = w.realm()?;
    call_for(w, &realm)
}

fn edit(w: &mut World<'_>, c: &Call, change: impl FnOnce(&mut RecParams)) -> Outcome<Reply> {
    w.edit(c.get("params_ptr"), change)?;
    Ok(Reply::input())
}

/// Makes the call one for a Realm whose RECs need auxiliary granules, at least `at_least`.
fn with_aux(w: &mut World<'_>, c: &mut Call, at_least: u64) -> Outcome {
    let features = w.features()?;
    let plan = RealmPlan {
        sve: features.has_sve(),
        pmu: features.has_pmu() && features.pmu_num_ctrs() > 0,
        ..RealmPlan::default()
    };
    let realm = w.realm_with(&plan)?;
    let count = w.ok(Command::RecAuxCount { rd: realm.rd })?.output(1);
    if count < at_least {
        return Err(Stop::Skipped("no REC needs auxiliary granules".into()));
    }
    *c = call_for(w, &realm)?;
    Ok(())
}

fn rec_state(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    not_delegated(w, c, "rec")
}

fn num_recs(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    let realm = first_realm(w)?;
    let greatest = w.features()?.max_recs();
    let (rd, params_ptr) = (realm.rd, w.granule()?);
    for index in 0..greatest {
        let params = w.rec_params(&realm, index, Runnable::No)?;
        w.write_page(params_ptr, &params)?;
        let rec = w.delegated()?;
        w.ok(Command::RecCreate {
            rd,
            rec,
            params_ptr,
        })?;
        w.note_rec(rd, Rec { rec, run: 0, index });
    }
    edit(w, c, |params| params.mpidr = rec_mpidr(greatest))?;
    Ok(Reply::realm(0))
}

fn mpidr_index(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    edit(w, c, |params| params.mpidr = rec_mpidr(1))
}

fn num_aux(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    let spare = w.delegated()?;
    edit(w, c, |params| {
        let count = usize::try_from(params.num_aux).expect("at most 16");
        if count < params.aux.len() {
            params.aux[count] = spare;
            params.num_aux += 1;
        } else {
            params.num_aux -= 1;
        }
    })
}

fn aux_align(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    with_aux(w, c, 1)?;
    edit(w, c, |params| params.aux[0] += 8)
}

fn aux_alias(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    with_aux(w, c, 2)?;
    edit(w, c, |params| params.aux[1] = params.aux[0])
}

fn aux_state(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    with_aux(w, c, 1)?;
    let count = w.read_page::<RecParams>(c.get("params_ptr"))?.num_aux;
    let last = usize::try_from(count - 1).expect("at most 16");
    let granule = w.granule()?;
    edit(w, c, |params| params.aux[last] = granule)
}

/// The granule is a REC now, and the next one has the next index.
fn success(w: &mut World<'_>) -> Outcome {
    let realm = w.realm()?;
    let call = call_for(w, &realm)?;
    let reply = w.call_raw(call.registers);
    w.check_reply(CommandId::RecCreate, reply, Reply::SUCCESS)?;
    let rec = call.get("rec");
    w.note_rec(
        realm.rd,
        Rec {
            rec,
            run: 0,
            index: 0,
        },
    );
    check!(!w.is_delegated(rec)?, "the granule is still unused");
    refuse(w, &call, Reply::input())?;
    w.rec(&realm, Runnable::No)?;
    Ok(())
}

/// The index of a destroyed REC is not used again.
fn index_never_goes_down(w: &mut World<'_>) -> Outcome {
    let realm = w.realm()?;
    let first = w.rec(&realm, Runnable::Yes)?;
    w.ok(Command::RecDestroy { rec: first.rec })?;
    let call = call_for(w, &realm)?;
    refuse(w, &call, Reply::input())?;
    w.rec(&realm, Runnable::Yes)?;
    Ok(())
}

/// Indices count through the affinity fields: Aff0 has four bits.
fn mpidr_fields(w: &mut World<'_>) -> Outcome {
    let realm = w.realm()?;
    for _ in 0..18 {
        w.rec(&realm, Runnable::No)?;
    }
    let call = call_for(w, &realm)?;
    for bad in [rec_mpidr(17), rec_mpidr(19), 18, 0x12_0000, 0x1200_0000] {
        edit(w, &call, |params| params.mpidr = bad)?;
        refuse(w, &call, Reply::input())?;
    }
    Ok(())
}

/// A REC that is not runnable is a REC too.
fn not_runnable(w: &mut World<'_>) -> Outcome {
    let realm = w.realm()?;
    let rec = w.rec(&realm, Runnable::No)?;
    w.activate(&realm)?;
    w.expect(
        Command::RecEnter {
            rec: rec.rec,
            run_ptr: rec.run,
        },
        Reply::rec(),
    )
}

/// An auxiliary granule must be none of the others that the call names.
fn aux_aliases_others(w: &mut World<'_>) -> Outcome {
    let mut call = base(w)?;
    with_aux(w, &mut call, 1)?;
    let good = w.read_page::<RecParams>(call.get("params_ptr"))?;
    let count = usize::try_from(good.num_aux).expect("at most 16");
    for alias in [call.get("rec"), call.get("rd"), call.get("params_ptr")] {
        for slot in [0, count - 1] {
            let mut bad = good.clone();
            bad.aux[slot] = alias;
            w.write_page(call.get("params_ptr"), &bad)?;
            refuse(w, &call, Reply::input())?;
        }
    }
    w.write_page(call.get("params_ptr"), &good)?;
    let reply = w.call_raw(call.registers);
    w.check_reply(call.id, reply, Reply::SUCCESS)?;
    w.note_rec(
        call.get("rd"),
        Rec {
            rec: call.get("rec"),
            run: 0,
            index: 0,
        },
    );
    Ok(())
}

/// Only as many auxiliary granules as the count says are looked at.
fn aux_beyond_count(w: &mut World<'_>) -> Outcome {
    let call = base(w)?;
    edit(w, &call, |params| {
        let count = usize::try_from(params.num_aux).expect("at most 16");
        for aux in params.aux.iter_mut().skip(count) {
            *aux = u64::MAX;
        }
    })?;
    let reply = w.call_raw(call.registers);
    w.check_reply(call.id, reply, Reply::SUCCESS)?;
    let rec = call.get("rec");
    w.note_rec(
        call.get("rd"),
        Rec {
            rec,
            run: 0,
            index: 0,
        },
    );
    Ok(())
}

/// An absurd count is refused before the list is looked at.
fn num_aux_absurd(w: &mut World<'_>) -> Outcome {
    let call = base(w)?;
    for count in [17, 0x100, u64::MAX] {
        edit(w, &call, |params| params.num_aux = count)?;
        refuse(w, &call, Reply::input())?;
    }
    Ok(())
}

/// The page of parameters can go away halfway through the copy.
fn params_pas_halfway(w: &mut World<'_>) -> Outcome {
    if !w.can_cut() {
        return cut::rec_create(w);
    }
    let call = base(w)?;
    for bytes in [0, 0x100, 0x308, 0x800] {
        w.port.fault_after(Some(bytes));
        let reply = w.call_raw(call.registers);
        w.port.fault_after(None);
        w.check_reply(call.id, reply, Reply::input())?;
    }
    check!(w.is_delegated(call.get("rec"))?, "the REC exists half");
    Ok(())
}

fn wrong_rd(w: &mut World<'_>) -> Outcome {
    wrong_granules(w, base, "rd", State::Rd)
}

fn wrong_rec(w: &mut World<'_>) -> Outcome {
    wrong_granules(w, base, "rec", State::Delegated)
}

fn rd_is_rec(w: &mut World<'_>) -> Outcome {
    same_granule(w, base, "rd", "rec")
}

contract! {
    RecCreate, "rec_create", base;
    conditions {
        params_align params_bound params_pas rec_align rec_bound rec_state rd_align rd_bound rd_state
        realm_state num_recs mpidr_index num_aux aux_align aux_alias aux_state
    }
    orders {
        rd_bound < realm_state rd_bound < num_recs rd_state < realm_state rd_state < num_recs
    }
    others {
        success index_never_goes_down mpidr_fields not_runnable aux_aliases_others aux_beyond_count
        num_aux_absurd params_pas_halfway wrong_rd wrong_rec rd_is_rec
    }
}
