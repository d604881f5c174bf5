// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Creating and destroying RECs.

mod common;

use common::rec::params;
use common::{Shape, World, world};
use rmi::{Command, RecParams, RmiError};
use rmm::limits::MAX_RECS;
use rmm::measure::Measurement;
use rmm::realm::RdState;
use rmm_fake::Pas;
use rmm_granule::StateCode;
use zerocopy::IntoBytes;

const REFUSED: Result<(), RmiError> = Err(RmiError::Input);
const WRONG_REALM: Result<(), RmiError> = Err(RmiError::Realm(0));

/// A shape with SVE.
const SVE: Shape = Shape {
    flags: 0b10,
    ..Shape::DEFAULT
};

fn rim_of(w: &World<'_>, rd: u64) -> Measurement {
    let rd = w.monitor.granules().lock::<RdState>(rmi::PhysAddr::new(rd));
    *rd.unwrap().map(&w.pe).measurement(0).unwrap()
}

fn with_aux(mut params: RecParams, aux: &[u64]) -> RecParams {
    params.num_aux = u64::try_from(aux.len()).unwrap();
    params.aux[..aux.len()].copy_from_slice(aux);
    params
}

#[test]
fn rec_create_counts_and_measures_runnable_recs() {
    world(|w| {
        let realm = w.realm(Shape::DEFAULT);
        let rim = rim_of(w, realm.rd);
        let off = realm.rec(0, false);
        assert_eq!(rim_of(w, realm.rd), rim);
        let on = realm.rec(1, true);
        assert_ne!(rim_of(w, realm.rd), rim);
        assert_eq!(w.state(realm.rd), (StateCode::Rd, 2));
        for rec in [off.rec, on.rec] {
            assert_eq!(w.state(rec), (StateCode::Rec, 0));
        }
        assert_eq!(realm.destroy(), WRONG_REALM);
        for rec in [on.rec, off.rec] {
            w.run(Command::RecDestroy { rec }).unwrap();
            w.assert_delegated(rec);
        }
        assert_eq!(w.state(realm.rd), (StateCode::Rd, 0));
        assert_eq!(realm.destroy(), Ok(()));
    });
}

#[test]
fn rec_create_wants_the_next_index_for_ever() {
    world(|w| {
        let realm = w.realm(Shape::DEFAULT);
        let rec = w.delegated();
        for index in [1, 2, 16] {
            assert_eq!(realm.try_rec(rec, &params(index, true)), REFUSED);
        }
        assert_eq!(realm.try_rec(rec, &params(0, true)), Ok(()));
        w.run(Command::RecDestroy { rec }).unwrap();
        assert_eq!(realm.try_rec(rec, &params(0, true)), REFUSED);
        assert_eq!(realm.try_rec(rec, &params(1, true)), Ok(()));
        let mut impossible = params(2, true);
        impossible.mpidr |= 0x10;
        assert_eq!(realm.try_rec(w.delegated(), &impossible), REFUSED);
    });
}

#[test]
fn rec_create_refuses_and_leaves_nothing() {
    world(|w| {
        let realm = w.realm(Shape::DEFAULT);
        let (rd, rec) = (realm.rd, w.delegated());
        let page = w.write_page(params(0, true).as_bytes());
        let rim = rim_of(w, rd);
        let create = |rd, rec, params_ptr| {
            w.run(Command::RecCreate {
                rd,
                rec,
                params_ptr,
            })
        };
        let secure = w.fresh();
        w.machine().set_pas(secure, Pas::Secure);
        for bad in [page + 8, 0, secure.raw(), rec, rd] {
            assert_eq!(create(rd, rec, bad), REFUSED, "{bad:#x}");
        }
        for bad in [rec + 8, 0, rd, realm.roots[0], w.fresh().raw()] {
            assert_eq!(create(rd, bad, page), REFUSED, "{bad:#x}");
        }
        for bad in [rd + 8, 0, rec, realm.roots[0], w.fresh().raw()] {
            assert_eq!(create(bad, rec, page), REFUSED, "{bad:#x}");
        }
        w.pe.fault_ns_after(Some(4088));
        assert_eq!(create(rd, rec, page), REFUSED);
        w.pe.fault_ns_after(None);
        realm.activate();
        assert_eq!(create(rd, rec, page), WRONG_REALM);
        let unused = w.delegated();
        let many = with_aux(params(0, true), &[unused]);
        assert_eq!(create(rd, rec, w.write_page(many.as_bytes())), WRONG_REALM);
        w.assert_delegated(rec);
        w.assert_delegated(unused);
        assert_eq!(w.state(rd), (StateCode::Rd, 0));
        assert_eq!(rim_of(w, rd), rim);
    });
}

#[test]
fn rec_create_takes_exactly_the_auxiliary_granules_of_the_realm() {
    world(|w| {
        let plain = w.realm(Shape::DEFAULT);
        let rec_aux_count = |rd| w.call::<1>(Command::RecAuxCount { rd });
        assert_eq!(rec_aux_count(plain.rd), Ok([0]));
        assert_eq!(rec_aux_count(plain.roots[0]), Err(RmiError::Input));
        let realm = w.realm(Shape { vmid: 2, ..SVE });
        assert_eq!(rec_aux_count(realm.rd), Ok([3]));

        let rec = w.delegated();
        // Not in address order, on both sides of the REC.
        let mut aux: Vec<u64> = (0..4).map(|_| w.delegated()).collect();
        aux.swap(0, 2);
        let create = |aux: &[u64]| realm.try_rec(rec, &with_aux(params(0, true), aux));
        for bad in [
            &aux[..0],
            &aux[..2],
            &aux[..4],
            &[aux[0], aux[1], aux[0]],
            &[aux[0], aux[1], rec],
            &[aux[0], aux[1], realm.rd],
            &[aux[0], aux[1], aux[2] + 8],
            &[aux[0], aux[1], 0],
            &[aux[0], aux[1], w.fresh().raw()],
        ] {
            assert_eq!(create(bad), REFUSED, "{bad:x?}");
            for granule in aux.iter().chain([&rec]) {
                w.assert_delegated(*granule);
            }
        }
        let mut params = with_aux(params(0, true), &aux[..3]);
        params.num_aux = 17;
        assert_eq!(realm.try_rec(rec, &params), REFUSED);

        assert_eq!(create(&aux[..3]), Ok(()));
        for granule in &aux[..3] {
            assert_eq!(w.state(*granule), (StateCode::RecAux, 0));
            let undelegate = Command::GranuleUndelegate { addr: *granule };
            assert_eq!(w.run(undelegate), REFUSED);
        }
        w.run(Command::RecDestroy { rec }).unwrap();
        for granule in aux.iter().chain([&rec]) {
            w.assert_delegated(*granule);
        }
    });
}

#[test]
fn rec_create_stops_at_the_greatest_number() {
    world(|w| {
        assert_eq!(w.monitor.offer().max_recs_order(), 11);
        assert_eq!(MAX_RECS, 2047);
        let realm = w.realm(Shape::DEFAULT);
        {
            let granules = w.monitor.granules();
            let mut rd = granules
                .lock::<RdState>(rmi::PhysAddr::new(realm.rd))
                .unwrap();
            rd.raise(MAX_RECS);
        }
        let rec = w.delegated();
        assert_eq!(realm.try_rec(rec, &params(0, true)), WRONG_REALM);
        w.assert_delegated(rec);
    });
}

#[test]
fn rec_destroy_refuses_what_is_no_rec() {
    world(|w| {
        let (realm, vcpu) = w.running();
        for rec in [vcpu.rec + 8, 0, realm.rd, w.delegated(), w.fresh().raw()] {
            assert_eq!(w.run(Command::RecDestroy { rec }), REFUSED);
        }
        assert_eq!(w.run(Command::RecDestroy { rec: vcpu.rec }), Ok(()));
        assert_eq!(w.run(Command::RecDestroy { rec: vcpu.rec }), REFUSED);
    });
}
