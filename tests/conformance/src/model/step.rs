// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! One step of a walk, as plain data: it means the same whatever happened before.

use rmi::{RealmParams, RecEnter, RecParams};
use scenarios::realm::RealmAction;
use zerocopy::IntoBytes;

/// Parameters of a Realm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RealmSpec {
    /// `RmiRealmFlags`.
    pub flags: u64,
    /// Address bits.
    pub width: u8,
    /// Vector length.
    pub sve_vl: u8,
    /// Breakpoints.
    pub num_bps: u8,
    /// Watchpoints.
    pub num_wps: u8,
    /// Event counters.
    pub pmu_num_ctrs: u8,
    /// Code of the hash algorithm.
    pub hash: u8,
    /// VMID.
    pub vmid: u16,
    /// First starting table.
    pub root: u64,
    /// Starting level.
    pub start: i64,
    /// Starting tables.
    pub roots: u32,
}

/// Parameters of a REC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecSpec {
    /// `RmiRecCreateFlags`.
    pub flags: u64,
    /// `RmiRecMpidr`.
    pub mpidr: u64,
    /// First instruction.
    pub pc: u64,
    /// First general register.
    pub x0: u64,
    /// Number of auxiliary granules.
    pub num_aux: u64,
    /// Auxiliary granules.
    pub aux: [u64; 16],
}

/// What the Host says at an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EnterSpec {
    /// `RmiRecEnterFlags`.
    pub flags: u64,
    /// First general register.
    pub x0: u64,
    /// `gicv3_hcr`.
    pub hcr: u64,
    /// `gicv3_lrs[0]`.
    pub lr: u64,
}

/// A page that the Host writes before a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// For `RMI_REALM_CREATE`.
    Realm(RealmSpec),
    /// For `RMI_REC_CREATE`.
    Rec(RecSpec),
    /// For `RMI_DATA_CREATE`: one word, over and over.
    Data(u64),
    /// For `RMI_REC_ENTER`.
    Enter(EnterSpec),
}

impl Page {
    /// Returns the bytes, from the beginning of the page.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Realm(spec) => {
                let mut params = RealmParams::default();
                params.flags = spec.flags;
                params.s2sz = spec.width;
                params.sve_vl = spec.sve_vl;
                params.num_bps = spec.num_bps;
                params.num_wps = spec.num_wps;
                params.pmu_num_ctrs = spec.pmu_num_ctrs;
                params.hash_algo = spec.hash;
                params.vmid = spec.vmid;
                params.rtt_base = spec.root;
                params.rtt_level_start = spec.start;
                params.rtt_num_start = spec.roots;
                params.as_bytes().to_vec()
            }
            Self::Rec(spec) => {
                let mut params = RecParams::default();
                params.flags = spec.flags;
                params.mpidr = spec.mpidr;
                params.pc = spec.pc;
                params.gprs[0] = spec.x0;
                params.num_aux = spec.num_aux;
                params.aux = spec.aux;
                params.as_bytes().to_vec()
            }
            Self::Data(word) => word.to_le_bytes().repeat(512),
            Self::Enter(spec) => {
                let mut enter = RecEnter::default();
                enter.flags = spec.flags;
                enter.gprs[0] = spec.x0;
                enter.gicv3_hcr = spec.hcr;
                enter.gicv3_lrs[0] = spec.lr;
                enter.as_bytes().to_vec()
            }
        }
    }
}

/// One step.
#[expect(clippy::large_enum_variant, reason = "nearly every step is a call")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The Host writes a page, if it can, tells a Realm what to do next, and makes a call.
    Call {
        /// x0 to x7.
        registers: [u64; 8],
        /// Where and what the Host writes before.
        page: Option<(u64, Page)>,
        /// What the REC does if it waits.
        action: Option<RealmAction>,
    },
    /// The Secure world gets a granule of the Host, or gives it back.
    Secure {
        /// The granule.
        granule: u64,
        /// Which way.
        is_secure: bool,
    },
}
