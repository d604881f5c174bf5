// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What kind of Realm.

use rmi::{FeatureRegister0, HashAlgorithm, RealmParams};

/// The personalization value of every Realm.
pub(crate) const PERSONALIZATION_VALUE: [u8; 64] = [0x5A; 64];

/// The parameters of a Realm that a scenario wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RealmPlan {
    /// Width of the address space in bits.
    pub width: u8,
    /// Starting level.
    pub start: i64,
    /// Number of starting tables.
    pub roots: u64,
    /// 52-bit tables.
    pub lpa2: bool,
    /// SVE.
    pub sve: bool,
    /// Vector length of SVE, as in `sve_vl`; `None` for the greatest.
    pub sve_vl: Option<u8>,
    /// A performance monitor.
    pub pmu: bool,
    /// Its event counters; `None` for all.
    pub pmu_counters: Option<u8>,
    /// Breakpoints minus one.
    pub breakpoints: u8,
    /// Watchpoints minus one.
    pub watchpoints: u8,
    /// Code of the hash algorithm.
    pub hash: u8,
    /// The VMID; `None` for a new one.
    pub vmid: Option<u16>,
}

impl Default for RealmPlan {
    fn default() -> Self {
        Self {
            width: 39,
            start: 1,
            roots: 1,
            lpa2: false,
            sve: false,
            sve_vl: None,
            pmu: false,
            pmu_counters: None,
            breakpoints: 1,
            watchpoints: 1,
            hash: HashAlgorithm::Sha256.code(),
            vmid: None,
        }
    }
}

impl RealmPlan {
    /// Returns a plan with another shape of tables.
    #[must_use]
    pub const fn shaped(self, width: u8, start: i64, roots: u64) -> Self {
        Self {
            width,
            start,
            roots,
            ..self
        }
    }

    /// Says whether the monitor's features have Realms of this shape. A walk can start at level 0 only
    /// with 44 address bits of the machine or more.
    #[must_use]
    pub fn is_possible(&self, features: FeatureRegister0) -> bool {
        self.width <= features.s2sz()
            && (self.start != 0 || features.s2sz() >= 44)
            && (!self.lpa2 || features.has_lpa2())
    }

    /// Returns the parameters in the Host's memory.
    #[must_use]
    pub fn params(&self, features: FeatureRegister0, vmid: u16, root: u64) -> RealmParams {
        let mut params = RealmParams::default();
        params.flags = u64::from(self.lpa2) | u64::from(self.sve) << 1 | u64::from(self.pmu) << 2;
        params.s2sz = self.width;
        params.num_bps = self.breakpoints;
        params.num_wps = self.watchpoints;
        params.hash_algo = self.hash;
        params.vmid = vmid;
        params.rtt_base = root;
        params.rtt_level_start = self.start;
        params.rtt_num_start = u32::try_from(self.roots).expect("a plan has few tables");
        if self.sve {
            params.sve_vl = self.sve_vl.unwrap_or(features.sve_vl());
        }
        if self.pmu {
            params.pmu_num_ctrs = self.pmu_counters.unwrap_or(features.pmu_num_ctrs());
        }
        params.rpv = PERSONALIZATION_VALUE;
        params
    }
}
