// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The Realm descriptor.
//!
//! One granule per Realm, found by its address. Its lock protects its contents; its reference count is
//! the number of RECs, so that a Realm with RECs cannot go away. Any bytes are a value of it: words here
//! become types in the accessors.

use rmi::realm_params::RPV_BYTES;
use rmi::{AddressFormat, GranuleAddr, HashAlgorithm, RealmFlags, RealmRequest, RttLevel};
use rmm_granule::{Contained, State, StateCode};
use rmm_hal::{Sha2, Stage2Root};
use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::measure::rim::Rim;
use crate::measure::{Measurement, rem, rim};
use crate::realm::params::Admission;
use crate::rtt::Tree;

/// The number of measurement slots: the initial measurement and those that the Realm extends.
pub const MEASUREMENTS: usize = 5;

/// The granule is a Realm descriptor.
#[derive(Debug)]
pub enum RdState {}

impl State for RdState {
    const CODE: StateCode = StateCode::Rd;
    type Header = ();
    type Contents = Rd;
}

impl Contained for RdState {}

/// Where a Realm is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RealmState {
    /// It is being built and measured.
    New,
    /// It runs.
    Active,
    /// It turned itself off and never runs again.
    SystemOff,
}

const STATE_NEW: u64 = 0;
const STATE_ACTIVE: u64 = 1;
const STATE_SYSTEM_OFF: u64 = 2;

/// The tables of a Realm, as commands walk them and as the hardware does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RealmTables {
    /// For walks.
    pub tree: Tree,
    /// For the hardware.
    pub stage2: Stage2Root,
}

/// The contents of a Realm descriptor.
#[derive(Debug, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Rd {
    state: u64,
    flags: u64,
    rtt_base: u64,
    rtt_start: i64,
    vttbr: u64,
    vtcr: u64,
    rec_index: u64,
    vmid: u16,
    ipa_bits: u8,
    sve_vl: u8,
    num_bps: u8,
    num_wps: u8,
    pmu_num_ctrs: u8,
    hash_algo: u8,
    rpv: [u8; RPV_BYTES],
    measurements: [Measurement; MEASUREMENTS],
}

impl Rd {
    /// Returns the descriptor of a new Realm.
    #[must_use]
    pub fn new<S: Sha2>(sha: &S, request: &RealmRequest, admission: &Admission) -> Self {
        let Admission { tree, stage2 } = admission;
        let mut measurements = [Measurement::ZERO; MEASUREMENTS];
        let [initial, ..] = &mut measurements;
        *initial = rim::initial(sha, request);
        Self {
            state: STATE_NEW,
            flags: request.flags.bits(),
            rtt_base: tree.base().raw(),
            rtt_start: tree.start().raw(),
            vttbr: stage2.vttbr,
            vtcr: stage2.vtcr,
            rec_index: 0,
            vmid: request.vmid,
            ipa_bits: tree.ipa_bits(),
            sve_vl: request.sve_vl,
            num_bps: request.num_bps,
            num_wps: request.num_wps,
            pmu_num_ctrs: request.pmu_num_ctrs,
            hash_algo: request.hash_algo.code(),
            rpv: request.rpv,
            measurements,
        }
    }

    /// Returns where the Realm is in its life.
    #[must_use]
    pub fn state(&self) -> RealmState {
        match self.state {
            STATE_NEW => RealmState::New,
            STATE_ACTIVE => RealmState::Active,
            _ => RealmState::SystemOff,
        }
    }

    /// Records where the Realm is in its life.
    pub fn set_state(&mut self, state: RealmState) {
        self.state = match state {
            RealmState::New => STATE_NEW,
            RealmState::Active => STATE_ACTIVE,
            RealmState::SystemOff => STATE_SYSTEM_OFF,
        };
    }

    /// Returns the Realm's tables.
    #[must_use]
    pub fn tables(&self) -> RealmTables {
        let base = GranuleAddr::new(self.rtt_base).expect("written from an address");
        let start = RttLevel::new(self.rtt_start).expect("written from a level");
        let tree = Tree::from_parts(base, start, self.ipa_bits, self.format());
        let (vttbr, vtcr) = (self.vttbr, self.vtcr);
        let stage2 = Stage2Root { vttbr, vtcr };
        RealmTables { tree, stage2 }
    }

    fn format(&self) -> AddressFormat {
        if self.flags().contains(RealmFlags::LPA2) {
            AddressFormat::Bits52
        } else {
            AddressFormat::Bits48
        }
    }

    /// Returns what the Realm may use, with all bits the Host wrote.
    #[must_use]
    pub fn flags(&self) -> RealmFlags {
        RealmFlags::from_bits_retain(self.flags)
    }

    /// Returns the width of the Realm's address space in bits.
    #[must_use]
    pub fn ipa_bits(&self) -> u8 {
        self.ipa_bits
    }

    /// Returns the VMID.
    #[must_use]
    pub fn vmid(&self) -> u16 {
        self.vmid
    }

    /// Returns the greatest vector length in units of 128 bits minus one; `None` without SVE.
    #[must_use]
    pub fn sve_vl(&self) -> Option<u8> {
        self.flags()
            .contains(RealmFlags::SVE)
            .then_some(self.sve_vl)
    }

    /// Returns the number of event counters; `None` without a performance monitor.
    #[must_use]
    pub fn pmu_num_ctrs(&self) -> Option<u8> {
        self.flags()
            .contains(RealmFlags::PMU)
            .then_some(self.pmu_num_ctrs)
    }

    /// Returns the number of breakpoints minus one.
    #[must_use]
    pub fn num_bps(&self) -> u8 {
        self.num_bps
    }

    /// Returns the number of watchpoints minus one.
    #[must_use]
    pub fn num_wps(&self) -> u8 {
        self.num_wps
    }

    /// Returns the algorithm of the measurements.
    #[must_use]
    pub fn hash_algo(&self) -> HashAlgorithm {
        HashAlgorithm::new(self.hash_algo).expect("written from an algorithm")
    }

    /// Returns the Realm personalization value.
    #[must_use]
    pub fn rpv(&self) -> &[u8; RPV_BYTES] {
        &self.rpv
    }

    /// Returns the index that the next REC must have.
    #[must_use]
    pub fn rec_index(&self) -> u64 {
        self.rec_index
    }

    /// Records that a REC was created. The index never goes down.
    pub fn advance_rec_index(&mut self) {
        self.rec_index += 1;
    }

    /// Returns a measurement: 0 is the initial one.
    #[must_use]
    pub fn measurement(&self, index: u64) -> Option<&Measurement> {
        self.measurements.get(usize::try_from(index).ok()?)
    }

    /// Returns all measurements, the initial one first.
    #[must_use]
    pub fn measurements(&self) -> &[Measurement; MEASUREMENTS] {
        &self.measurements
    }

    /// Returns the initial measurement, to be extended while the Realm is new.
    pub fn rim(&mut self) -> Rim<'_> {
        let algorithm = self.hash_algo();
        let [value, ..] = &mut self.measurements;
        Rim { value, algorithm }
    }

    /// Extends one of the measurements that are the Realm's own.
    ///
    /// # Errors
    ///
    /// [`NoSuchRem`] when `index` is not 1 to 4.
    pub fn extend_rem<S: Sha2>(
        &mut self,
        sha: &S,
        index: u64,
        value: &[u8],
    ) -> Result<(), NoSuchRem> {
        let algorithm = self.hash_algo();
        let [_, rems @ ..] = &mut self.measurements;
        let slot = index.checked_sub(1).and_then(|n| usize::try_from(n).ok());
        let rem = slot.and_then(|n| rems.get_mut(n)).ok_or(NoSuchRem)?;
        *rem = rem::extend(sha, algorithm, rem, value);
        Ok(())
    }
}

/// The Realm cannot extend a measurement with this index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSuchRem;
