// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RMI_REALM_CREATE`, `RMI_REALM_ACTIVATE`, `RMI_REALM_DESTROY`.

mod common;

use common::{PAGE, Shape, World, with_features, world};
use rmi::{Command, GranuleAddr, RealmParams, RmiError};
use rmm_fake::{Pas, default_features};
use rmm_granule::StateCode;
use zerocopy::IntoBytes;

const REFUSED: Result<(), RmiError> = Err(RmiError::Input);

#[test]
fn realm_lives_and_dies() {
    world(|w| {
        let realm = w.realm(Shape::DEFAULT);
        assert_eq!(w.state(realm.rd), (StateCode::Rd, 0));
        assert_eq!(w.state(realm.roots[0]), (StateCode::Rtt, 0));
        assert_eq!(realm.entry(0, 0), [0, 0, 0, 0]);
        assert_eq!(realm.entry(Shape::DEFAULT.shared(), 0), [0, 0, 0, 0]);
        let rd = realm.rd;
        assert_eq!(w.run(Command::RealmActivate { rd }), Ok(()));
        let again = w.run(Command::RealmActivate { rd });
        assert_eq!(again, Err(RmiError::Realm(0)));
        assert_eq!(realm.destroy(), Ok(()));
        w.assert_delegated(rd);
        w.assert_delegated(realm.roots[0]);
        assert_eq!(realm.destroy(), REFUSED);
        assert_eq!(w.run(Command::RealmActivate { rd }), REFUSED);
    });
}

#[test]
fn realm_create_takes_every_shape() {
    let shapes = [
        (0, 32, 1, 1),
        (0, 32, 2, 4),
        (0, 34, 2, 16),
        (0, 40, 1, 2),
        (0, 42, 1, 8),
        (0, 48, 0, 1),
        (1, 52, 0, 16),
        (1, 52, -1, 1),
    ];
    for (flags, s2sz, start, tables) in shapes {
        world(|w| {
            let shape = Shape {
                flags,
                s2sz,
                start,
                tables,
                ..Shape::DEFAULT
            };
            let realm = w.realm(shape);
            let last_shared = (1 << s2sz) - PAGE;
            for ipa in [0, shape.shared() - PAGE, shape.shared(), last_shared] {
                let [level, state, desc, ripas] = realm.entry(ipa, 3);
                assert_eq!(level, start.cast_unsigned());
                assert_eq!([state, desc, ripas], [0, 0, 0]);
            }
            realm.tables_to(0, 3);
            realm.tables_to(last_shared, 3);
            let live = realm.destroy();
            assert_eq!(live, Err(RmiError::Realm(0)));
        });
    }
}

type Change = fn(&mut RealmParams);

/// Creates a Realm from changed parameters; on failure nothing may have changed.
fn create_with(w: &World<'_>, change: impl FnOnce(&mut RealmParams)) -> Result<(), RmiError> {
    let rd = w.delegated();
    let root = w.delegated();
    let mut params = Shape::DEFAULT.params(root);
    change(&mut params);
    let params_ptr = w.write_page(params.as_bytes());
    let result = w.run(Command::RealmCreate { rd, params_ptr });
    if result.is_err() {
        w.assert_delegated(rd);
        w.assert_delegated(root);
    }
    result
}

#[test]
fn realm_create_params_valid_and_supp() {
    world(|w| {
        let changes: [(&str, Change); 19] = [
            ("hash_algo", |p| p.hash_algo = 2),
            ("num_bps", |p| p.num_bps = 0),
            ("num_wps", |p| p.num_wps = 0),
            ("num_bps", |p| p.num_bps = 6),
            ("num_wps", |p| p.num_wps = 4),
            ("s2sz", |p| p.s2sz = 53),
            ("s2sz", |p| p.s2sz = 49),
            ("s2sz", |p| p.s2sz = 31),
            ("s2sz", |p| p.s2sz = 0),
            ("s2sz", |p| p.s2sz = 255),
            ("sve_vl", |p| (p.flags, p.sve_vl) = (2, 4)),
            ("pmu", |p| (p.flags, p.pmu_num_ctrs) = (4, 7)),
            ("pmu", |p| (p.flags, p.pmu_num_ctrs) = (4, 0)),
            ("rtt_num_start", |p| p.rtt_num_start = 2),
            ("rtt_num_start", |p| p.rtt_num_start = 0),
            ("rtt_level_start", |p| p.rtt_level_start = 2),
            ("rtt_level_start", |p| p.rtt_level_start = 3),
            ("rtt_level_start", |p| p.rtt_level_start = i64::MIN),
            ("rtt_base", |p| p.rtt_base += 0x800),
        ];
        for (name, change) in changes {
            assert_eq!(create_with(w, change), REFUSED, "{name}");
        }
        let fine: [Change; 4] = [
            |p| (p.vmid, p.flags, p.sve_vl) = (10, 2, 3),
            |p| (p.vmid, p.flags, p.pmu_num_ctrs) = (11, 4, 6),
            |p| (p.vmid, p.hash_algo) = (12, 1),
            |p| (p.vmid, p.flags, p.sve_vl, p.pmu_num_ctrs) = (13, 1 << 63, 255, 255),
        ];
        for change in fine {
            assert_eq!(create_with(w, change), Ok(()));
        }
    });
}

#[test]
fn realm_create_on_a_plain_machine() {
    let mut cpu = default_features();
    cpu.lpa2 = false;
    cpu.sve_vq = None;
    cpu.pmu_counters = None;
    cpu.vmid16 = false;
    with_features(cpu, |w| {
        for flags in [1, 2, 4] {
            let change = |p: &mut RealmParams| (p.flags, p.pmu_num_ctrs) = (flags, 1);
            assert_eq!(create_with(w, change), REFUSED);
        }
        assert_eq!(create_with(w, |p| p.vmid = 256), REFUSED);
        assert_eq!(create_with(w, |p| p.vmid = 255), Ok(()));
    });
}

#[test]
fn realm_create_vmid_valid() {
    world(|w| {
        let realm = w.realm(Shape::DEFAULT);
        assert_eq!(create_with(w, |_| ()), REFUSED);
        assert_eq!(create_with(w, |p| p.vmid = u16::MAX), Ok(()));
        realm.destroy().unwrap();
        assert_eq!(create_with(w, |_| ()), Ok(()));
    });
}

#[test]
fn realm_create_vmid_is_free_after_a_failure() {
    world(|w| {
        assert_eq!(create_with(w, |p| p.rtt_base = 0), REFUSED);
        assert_eq!(create_with(w, |_| ()), Ok(()));
    });
}

#[test]
fn realm_create_params_align_bound_and_pas() {
    world(|w| {
        let rd = w.delegated();
        let params = Shape::DEFAULT.params(w.delegated());
        let page = w.write_page(params.as_bytes());
        let secure = w.fresh();
        w.machine().set_pas(secure, Pas::Secure);
        let delegated = w.delegated();
        for params_ptr in [page + 8, 0, u64::MAX, secure.raw(), delegated] {
            assert_eq!(w.run(Command::RealmCreate { rd, params_ptr }), REFUSED);
        }
        w.pe.fault_ns_after(Some(0x818));
        let params_ptr = page;
        assert_eq!(w.run(Command::RealmCreate { rd, params_ptr }), REFUSED);
        w.pe.fault_ns_after(None);
        assert_eq!(w.run(Command::RealmCreate { rd, params_ptr }), Ok(()));
    });
}

#[test]
fn realm_create_alias_and_states() {
    world(|w| {
        let shape = Shape {
            tables: 2,
            start: 1,
            ..Shape::DEFAULT
        };
        let first = w.machine().granule(100);
        let second = w.machine().granule(101);
        let (first, second) = (w.delegate(first), w.delegate(second));
        let params_ptr = w.write_page(shape.params(first).as_bytes());
        let create = |rd| w.run(Command::RealmCreate { rd, params_ptr });
        assert_eq!(create(first), REFUSED);
        assert_eq!(create(second), REFUSED);
        assert_eq!(create(w.fresh().raw()), REFUSED);
        assert_eq!(create(first + 8), REFUSED);
        assert_eq!(create(0), REFUSED);
        w.run(Command::GranuleUndelegate { addr: second }).unwrap();
        let below = w.delegate(w.machine().granule(99));
        let above = w.delegate(w.machine().granule(102));
        assert_eq!(create(below), REFUSED);
        assert_eq!(create(above), REFUSED);
        w.delegate(GranuleAddr::new(second).unwrap());
        assert_eq!(create(above), Ok(()));
        w.assert_delegated(below);
    });
}

#[test]
fn realm_create_rtt_align_is_that_of_all_tables() {
    world(|w| {
        let tables: Vec<_> = (101..103)
            .map(|n| w.delegate(w.machine().granule(n)))
            .collect();
        let shape = Shape {
            tables: 2,
            start: 1,
            ..Shape::DEFAULT
        };
        let params_ptr = w.write_page(shape.params(tables[0]).as_bytes());
        let rd = w.delegated();
        assert_eq!(w.run(Command::RealmCreate { rd, params_ptr }), REFUSED);
    });
}

#[test]
fn realm_destroy_realm_live() {
    world(|w| {
        let realm = w.realm(Shape::DEFAULT);
        realm.table(0, 1);
        assert_eq!(realm.destroy(), Err(RmiError::Realm(0)));
        let rd = realm.rd;
        let [rtt, top] = w
            .call(Command::RttDestroy {
                rd,
                ipa: 0,
                level: 1,
            })
            .unwrap();
        w.assert_delegated(rtt);
        assert_eq!(top, 1 << 48);
        assert_eq!(realm.destroy(), Ok(()));
    });
}

#[test]
fn realm_destroy_forgets_host_memory_in_starting_tables() {
    world(|w| {
        let shape = Shape {
            s2sz: 34,
            start: 2,
            tables: 16,
            ..Shape::DEFAULT
        };
        let realm = w.realm(shape);
        let rd = realm.rd;
        let map = Command::RttMapUnprotected {
            rd,
            ipa: shape.shared(),
            level: 2,
            desc: 0x8000_0000 | 0b110 << 2 | 0b11 << 6,
        };
        assert_eq!(w.run(map), Ok(()));
        assert_eq!(realm.translate(shape.shared()), Some(0x8000_0000));
        assert_eq!(realm.destroy(), Ok(()));
        for root in &realm.roots {
            w.assert_delegated(*root);
        }
        // The next Realm with this VMID gets nothing out of the TLB.
        assert_eq!(w.realm(shape).translate(shape.shared()), None);
    });
}
