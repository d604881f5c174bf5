// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the tests of this folder have in common.

use rmi::{AddressFormat, GranuleAddr, RttLevel};
use rmm_hal::{CpuFeatures, ID_REGISTERS, RecContext, Stage2Root};
use zerocopy::FromZeros;

use crate::rec::object::RealmTraits;
use crate::rtt::Tree;

/// A machine with four list registers, 5 priority bits, and ID registers that read zero.
pub(crate) fn cpu() -> CpuFeatures {
    CpuFeatures {
        pa_bits: 48,
        pa_range: 0b0101,
        lpa2: false,
        vmid16: true,
        sve_vq: None,
        sme: false,
        breakpoints: 5,
        watchpoints: 3,
        pmu_counters: None,
        hpmn0: false,
        list_registers: 3,
        priority_bits: 4,
        intid_bits: 24,
        extended_intids: false,
        wfxt: true,
        ras: true,
        mops: false,
        sha256: false,
        sha512: false,
        midr: 0x000F_0510,
        id_registers: [0; ID_REGISTERS],
    }
}

/// A Realm with 40 address bits and no optional features.
pub(crate) fn realm_traits() -> RealmTraits {
    let base = GranuleAddr::new(0x8000_0000).unwrap();
    RealmTraits {
        stage2: Stage2Root {
            vttbr: 0x1_0000_8000_0000,
            vtcr: 0,
        },
        tree: Tree::from_parts(base, RttLevel::LEVEL_1, 40, AddressFormat::Bits48),
        sve_vq: None,
        pmu_counters: None,
        breakpoints: 5,
        watchpoints: 3,
    }
}

/// A context of zeroes.
pub(crate) fn context() -> RecContext {
    RecContext::new_zeroed()
}
