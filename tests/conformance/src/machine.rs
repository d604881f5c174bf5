// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Machines of several kinds, each with a monitor.

use std::sync::LazyLock;
use std::sync::atomic::AtomicU64;

use rmi::GranuleAddr;
use rmm::Monitor;
use rmm::attest::Attestation;
use rmm::attest::sign::Comb;
use rmm::limits::PLATFORM_TOKEN_BYTES;
use rmm_fake::{FakeMachine, FakePlatform, default_features};
use rmm_granule::GranuleTable;
use rmm_hal::CpuFeatures;

/// A kind of machine.
#[derive(Clone, Debug)]
pub struct Profile {
    /// What it is called in reports.
    pub name: &'static str,
    /// What its PEs can do.
    pub features: CpuFeatures,
    /// Address of the first granule.
    pub base: u64,
    /// Granules.
    pub granules: usize,
}

/// Granules of the machines: enough for as many RECs as a Realm can have.
const GRANULES: usize = 12 * 1024;

/// Returns the machines that scenarios run on.
#[must_use]
pub fn profiles() -> Vec<Profile> {
    let full = default_features();
    let plain = CpuFeatures {
        pa_bits: 48,
        pa_range: 0b0101,
        lpa2: false,
        vmid16: false,
        sve_vq: None,
        sme: false,
        pmu_counters: None,
        priority_bits: 4,
        list_registers: 15,
        ..default_features()
    };
    let small = CpuFeatures {
        pa_bits: 40,
        pa_range: 0b0010,
        pmu_counters: Some(0),
        ..plain.clone()
    };
    vec![
        // The memory lies across 2^48, so that some of it is out of reach of 48-bit tables.
        Profile {
            name: "full",
            features: full,
            base: (1 << 48) - (GRANULES as u64 - 64) * rmi::GRANULE_SIZE,
            granules: GRANULES,
        },
        Profile {
            name: "plain",
            features: plain,
            base: 0x8000_0000,
            granules: GRANULES,
        },
        Profile {
            name: "small",
            features: small,
            base: 0x4000_0000,
            granules: GRANULES,
        },
    ]
}

/// A machine and the monitor on it.
#[derive(Clone, Copy, Debug)]
pub struct Site<'m> {
    /// The machine.
    pub machine: &'m FakeMachine,
    /// The monitor.
    pub monitor: &'m Monitor<'m>,
    /// The monitor's granules.
    pub table: GranuleTable<'m>,
    /// The monitor's reservations of VMIDs.
    pub vmids: &'m [AtomicU64],
}

/// Returns what a platform gave to all monitors.
fn attestation() -> &'static Attestation<'static> {
    static COMB: LazyLock<Comb> = LazyLock::new(Comb::new);
    static ATTESTATION: LazyLock<Attestation<'static>> = LazyLock::new(|| {
        let room = vec![0; PLATFORM_TOKEN_BYTES].leak();
        let mut platform = FakePlatform { config_bytes: 1300 };
        Attestation::obtain(&mut platform, &COMB, room).expect("the fake platform vouches")
    });
    &ATTESTATION
}

/// Builds a machine, puts a monitor on it and calls `visit`. The first granule is the monitor's own and
/// may not be delegated.
pub fn with_site<R>(profile: &Profile, visit: impl FnOnce(Site<'_>) -> R) -> R {
    let base = GranuleAddr::new(profile.base).expect("machines begin at a granule");
    let machine = FakeMachine::new(base, profile.granules, profile.features.clone());
    let banks = [machine.bank()];
    let table = GranuleTable::new(&banks);
    table.exclude(base, 1);
    let vmids: Vec<AtomicU64> = (0..1024).map(|_| AtomicU64::new(0)).collect();
    let monitor =
        Monitor::new(profile.features.clone(), table, &vmids).with_attestation(attestation());
    visit(Site {
        machine: &machine,
        monitor: &monitor,
        table,
        vmids: &vmids,
    })
}
