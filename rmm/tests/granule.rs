// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RMI_VERSION`, `RMI_FEATURES` and the granule commands.

mod common;

use common::{GRANULES, MEMORY, PAGE, with_features, world};
use rmi::{Command, FeatureRegister0, HashAlgorithm, RmiError};
use rmm_fake::{Pas, default_features};
use rmm_granule::StateCode;

#[test]
fn unknown_functions_are_not_supported() {
    world(|w| {
        for fid in [0, 0xC400_0156, 0xC400_016A, 0xC400_018F, 0x8400_0150] {
            let reply = w.monitor.handle(&w.pe, &[fid, 1, 2, 3, 4, 5, 6, 7]);
            assert_eq!(reply, [u64::MAX, 0, 0, 0, 4, 5, 6, 7]);
        }
    });
}

#[test]
fn version_ignores_the_sve_hint() {
    world(|w| {
        let reply = w
            .monitor
            .handle(&w.pe, &[0xC401_0150, 0x1_0000, 2, 3, 4, 5, 6, 7]);
        assert_eq!(reply, [0, 0x1_0000, 0x1_0000, 0, 4, 5, 6, 7]);
    });
}

#[test]
fn features_tell_what_the_machine_has() {
    world(|w| {
        let [value] = w.call(Command::Features { index: 0 }).unwrap();
        let offer = FeatureRegister0::from_register(value);
        assert_eq!(value >> 42, 0);
        assert_eq!(offer.s2sz(), 52);
        assert!(offer.has_lpa2() && offer.has_sve() && offer.has_pmu());
        assert_eq!((offer.sve_vl(), offer.pmu_num_ctrs()), (3, 6));
        assert_eq!((offer.num_bps(), offer.num_wps()), (5, 3));
        assert!(offer.has_hash(HashAlgorithm::Sha256));
        assert!(offer.has_hash(HashAlgorithm::Sha512));
        assert_eq!(offer.gicv3_num_lrs(), 3);
        assert_eq!(offer.max_recs(), 2047);
        for index in [1, 2, u64::MAX] {
            assert_eq!(w.call(Command::Features { index }), Ok([0]));
        }
    });
}

#[test]
fn features_of_a_plain_machine_offer_less() {
    let mut cpu = default_features();
    cpu.lpa2 = false;
    cpu.sve_vq = None;
    cpu.pmu_counters = None;
    with_features(cpu, |w| {
        let [value] = w.call(Command::Features { index: 0 }).unwrap();
        let offer = FeatureRegister0::from_register(value);
        assert_eq!(offer.s2sz(), 48);
        assert!(!offer.has_lpa2() && !offer.has_sve() && !offer.has_pmu());
        assert_eq!((offer.sve_vl(), offer.pmu_num_ctrs()), (0, 0));
    });
}

#[test]
fn granule_goes_to_the_realm_world_wiped_and_comes_back_wiped() {
    world(|w| {
        let granule = w.fresh();
        let addr = granule.raw();
        w.machine().host_write(granule, 8, &[0xAA; 64]).unwrap();
        assert_eq!(w.run(Command::GranuleDelegate { addr }), Ok(()));
        assert_eq!(w.machine().pas(granule.phys()), Some(Pas::Realm));
        w.assert_delegated(addr);
        let again = w.run(Command::GranuleDelegate { addr });
        assert_eq!(again, Err(RmiError::Input));
        assert_eq!(w.run(Command::GranuleUndelegate { addr }), Ok(()));
        assert_eq!(w.machine().pas(granule.phys()), Some(Pas::NonSecure));
        assert_eq!(w.state(addr), (StateCode::Undelegated, 0));
        assert!(w.machine().is_zero(granule));
        let again = w.run(Command::GranuleUndelegate { addr });
        assert_eq!(again, Err(RmiError::Input));
    });
}

#[test]
fn granule_commands_refuse_other_addresses() {
    world(|w| {
        let end = MEMORY + u64::try_from(GRANULES).unwrap() * PAGE;
        let delegated = w.delegated();
        for addr in [
            0,
            MEMORY - PAGE,
            end,
            u64::MAX,
            delegated + 1,
            delegated + 0x800,
        ] {
            let refused = Err(RmiError::Input);
            assert_eq!(w.run(Command::GranuleDelegate { addr }), refused);
            assert_eq!(w.run(Command::GranuleUndelegate { addr }), refused);
        }
        w.assert_delegated(delegated);
    });
}

#[test]
fn granule_delegate_gran_gpt() {
    world(|w| {
        let granule = w.fresh();
        let addr = granule.raw();
        w.machine().set_pas(granule, Pas::Secure);
        let refused = w.run(Command::GranuleDelegate { addr });
        assert_eq!(refused, Err(RmiError::Input));
        assert_eq!(w.state(addr), (StateCode::Undelegated, 0));
        assert_eq!(w.machine().pas(granule.phys()), Some(Pas::Secure));
    });
}

#[test]
fn granule_delegate_without_memory_behind_it() {
    world(|w| {
        let granule = w.fresh();
        let addr = granule.raw();
        w.machine().set_absent(granule);
        let refused = w.run(Command::GranuleDelegate { addr });
        assert_eq!(refused, Err(RmiError::Input));
        assert_eq!(w.state(addr), (StateCode::Undelegated, 0));
        assert_eq!(w.machine().pas(granule.phys()), Some(Pas::NonSecure));
    });
}
