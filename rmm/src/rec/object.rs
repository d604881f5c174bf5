// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the granule of a REC holds.
//!
//! The header is readable under the granule's lock while the REC runs on another PE. Everything else
//! belongs to whoever has the REC in use, or locks it while it is idle.

use core::sync::atomic::{AtomicU64, Ordering};

use rmi::{AddressFormat, EnterFlags, GranuleAddr, RecMpidr, Ripas, RttLevel};
use rmm_granule::{Pinned, State, StateCode};
use rmm_hal::{HostSve, RecContext, RunControls, SVE_GRANULES, Stage2Root, SveControls};
use zerocopy::{FromBytes, KnownLayout};

use crate::attest::progress::TokenProgress;
use crate::realm::Rd;
use crate::rtt::Tree;

/// A granule that holds a REC.
#[derive(Debug)]
pub(crate) enum RecState {}

impl State for RecState {
    const CODE: StateCode = StateCode::Rec;
    type Header = RecHeader;
    type Contents = Rec;
}

impl Pinned for RecState {}

/// A granule that holds registers of a REC for which its own granule has no room.
#[derive(Debug)]
pub(crate) enum RecAuxState {}

impl State for RecAuxState {
    const CODE: StateCode = StateCode::RecAux;
    type Header = ();
    type Contents = ();
}

/// What others may know of a REC while it runs.
#[derive(Debug, FromBytes, KnownLayout)]
#[repr(C)]
pub(crate) struct RecHeader {
    owner: AtomicU64,
    mpidr_index: AtomicU64,
    runnable: AtomicU64,
}

impl RecHeader {
    /// Writes the header of a new REC.
    pub(crate) fn init(&self, owner: GranuleAddr, mpidr: RecMpidr, runnable: Runnable) {
        self.owner.store(owner.raw(), Ordering::Relaxed);
        self.mpidr_index.store(mpidr.index(), Ordering::Relaxed);
        self.set_runnable(runnable);
    }

    /// Returns the address of the Realm descriptor.
    pub(crate) fn owner(&self) -> GranuleAddr {
        GranuleAddr::new(self.owner.load(Ordering::Relaxed)).expect("written from an address")
    }

    /// Returns the number of the REC among those created for its Realm.
    pub(crate) fn index(&self) -> u64 {
        self.mpidr_index.load(Ordering::Relaxed)
    }

    /// Returns the identity of the REC in its Realm.
    pub(crate) fn mpidr(&self) -> RecMpidr {
        RecMpidr::from_index(self.index()).expect("written from an identity")
    }

    /// Says whether the REC may be entered.
    pub(crate) fn is_runnable(&self) -> bool {
        self.runnable.load(Ordering::Acquire) != 0
    }

    /// Turns the REC on or off.
    pub(crate) fn set_runnable(&self, runnable: Runnable) {
        self.runnable
            .store(u64::from(runnable == Runnable::Yes), Ordering::Release);
    }
}

/// Whether a REC may be entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runnable {
    Yes,
    No,
}

/// What a REC has to know of its Realm; none of it changes while the Realm has RECs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RealmTraits {
    /// The translation tables.
    pub(crate) stage2: Stage2Root,
    /// The same tables for walks.
    pub(crate) tree: Tree,
    /// The greatest vector length in units of 128 bits minus one.
    pub(crate) sve_vq: Option<u8>,
    /// The number of PMU event counters.
    pub(crate) pmu_counters: Option<u8>,
    /// Breakpoints minus one.
    pub(crate) breakpoints: u8,
    /// Watchpoints minus one.
    pub(crate) watchpoints: u8,
}

impl RealmTraits {
    /// Returns what a REC of the Realm with this descriptor has to know.
    pub(crate) fn of(rd: &Rd) -> Self {
        let tables = rd.tables();
        Self {
            stage2: tables.stage2,
            tree: tables.tree,
            sve_vq: rd.sve_vl(),
            pmu_counters: rd.pmu_num_ctrs(),
            breakpoints: rd.num_bps(),
            watchpoints: rd.num_wps(),
        }
    }
}

/// A change of address state that the Realm asked for and the Host works on.
///
/// `base == top` says that none is pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RipasRequest {
    /// First address not yet changed (`ripas_addr`).
    pub(crate) base: u64,
    /// End of the range (`ripas_top`).
    pub(crate) top: u64,
    /// The state asked for: EMPTY or RAM (`ripas_value`).
    pub(crate) value: Ripas,
    /// Whether entries whose RIPAS is DESTROYED may change (`ripas_destroyed`).
    pub(crate) may_change_destroyed: bool,
}

/// The data abort that ended the last run of a REC, at an address the Host answers for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HostAbort {
    /// `ESR_EL2` as the hardware gave it.
    pub(crate) esr: u64,
    /// `FAR_EL2` as the hardware gave it.
    pub(crate) far: u64,
    /// Whether the Host may emulate the access.
    pub(crate) is_emulatable: bool,
}

/// The contents of a REC.
///
/// Any bytes are a value of it, so facts with few values are words here and types in the accessors.
#[derive(Debug, FromBytes, KnownLayout)]
#[repr(C)]
pub(crate) struct Rec {
    /// The registers.
    pub(crate) context: RecContext,

    vttbr: u64,
    vtcr: u64,
    vmpidr: u64,
    rtt_base: u64,
    rtt_start: i64,
    ipa_bits: u64,
    has_lpa2: u64,
    sve_lengths: u64,
    has_pmu: u64,
    pmu_counters: u64,
    breakpoints: u64,
    watchpoints: u64,
    aux_count: u64,
    aux: [u64; SVE_GRANULES],

    ripas_base: u64,
    ripas_top: u64,
    ripas_is_ram: u64,
    ripas_may_change_destroyed: u64,

    psci_pending: u64,
    host_call_pending: u64,

    abort_kind: u64,
    abort_esr: u64,
    abort_far: u64,

    serror_pending: u64,
    serror_syndrome: u64,

    /// The attestation token that it is making.
    pub(crate) token: TokenProgress,
}

const ABORT_NONE: u64 = 0;
const ABORT_EMULATABLE: u64 = 1;
const ABORT_NOT_EMULATABLE: u64 = 2;

impl Rec {
    /// Writes what a new REC, still all zeroes, knows of its Realm and of its auxiliary granules.
    pub(crate) fn init(&mut self, mpidr: RecMpidr, realm: &RealmTraits, aux: &[GranuleAddr]) {
        self.vttbr = realm.stage2.vttbr;
        self.vtcr = realm.stage2.vtcr;
        self.vmpidr = mpidr.mpidr_el1();
        self.rtt_base = realm.tree.base().raw();
        self.rtt_start = realm.tree.start().raw();
        self.ipa_bits = u64::from(realm.tree.ipa_bits());
        self.has_lpa2 = u64::from(realm.tree.format() == AddressFormat::Bits52);
        self.sve_lengths = realm.sve_vq.map_or(0, |vq| u64::from(vq) + 1);
        self.has_pmu = u64::from(realm.pmu_counters.is_some());
        self.pmu_counters = u64::from(realm.pmu_counters.unwrap_or(0));
        self.breakpoints = u64::from(realm.breakpoints);
        self.watchpoints = u64::from(realm.watchpoints);
        self.aux_count = 0;
        for (slot, granule) in self.aux.iter_mut().zip(aux) {
            *slot = granule.raw();
            self.aux_count += 1;
        }
    }

    /// Returns what the REC knows of its Realm.
    pub(crate) fn realm(&self) -> RealmTraits {
        RealmTraits {
            stage2: Stage2Root {
                vttbr: self.vttbr,
                vtcr: self.vtcr,
            },
            tree: self.tree(),
            sve_vq: self.sve_lengths.checked_sub(1).map(byte),
            pmu_counters: (self.has_pmu != 0).then(|| byte(self.pmu_counters)),
            breakpoints: byte(self.breakpoints),
            watchpoints: byte(self.watchpoints),
        }
    }

    fn tree(&self) -> Tree {
        let base = GranuleAddr::new(self.rtt_base).expect("written from an address");
        let start = RttLevel::new(self.rtt_start).expect("written from a level");
        let format = if self.has_lpa2 != 0 {
            AddressFormat::Bits52
        } else {
            AddressFormat::Bits48
        };
        Tree::from_parts(base, start, byte(self.ipa_bits), format)
    }

    /// Returns the auxiliary granules.
    pub(crate) fn aux(&self) -> impl Iterator<Item = GranuleAddr> + '_ {
        let count = usize::try_from(self.aux_count).unwrap_or(0);
        self.aux
            .iter()
            .take(count)
            .filter_map(|raw| GranuleAddr::new(*raw))
    }

    /// Returns what the hardware is told when the REC runs.
    pub(crate) fn run_controls(&self, flags: EnterFlags, host_sve: HostSve) -> RunControls {
        let realm = self.realm();
        RunControls {
            stage2: realm.stage2,
            vmpidr: self.vmpidr,
            trap_wfi: flags.contains(EnterFlags::TRAP_WFI),
            trap_wfe: flags.contains(EnterFlags::TRAP_WFE),
            sve: realm.sve_vq.and_then(|vq| self.sve_controls(vq)),
            host_sve,
            pmu_counters: realm.pmu_counters,
            breakpoints: realm.breakpoints,
        }
    }

    fn sve_controls(&self, vq: u8) -> Option<SveControls> {
        let storage: heapless::Vec<_, SVE_GRANULES> = self.aux().collect();
        Some(SveControls {
            vq,
            storage: storage.into_array().ok()?,
        })
    }

    /// Returns the pending change of address state; `base` and `top` are zero when there is none.
    pub(crate) fn ripas_request(&self) -> RipasRequest {
        RipasRequest {
            base: self.ripas_base,
            top: self.ripas_top,
            value: if self.ripas_is_ram != 0 {
                Ripas::Ram
            } else {
                Ripas::Empty
            },
            may_change_destroyed: self.ripas_may_change_destroyed != 0,
        }
    }

    /// Records that the Realm waits for a change of address state.
    pub(crate) fn set_ripas_request(&mut self, change: RipasRequest) {
        self.ripas_base = change.base;
        self.ripas_top = change.top;
        self.ripas_is_ram = u64::from(change.value == Ripas::Ram);
        self.ripas_may_change_destroyed = u64::from(change.may_change_destroyed);
    }

    /// Records that the change was made for all addresses below `base`.
    pub(crate) fn advance_ripas_request(&mut self, base: u64) {
        self.ripas_base = base;
    }

    /// Forgets the change, so that the Host can make no more of it.
    pub(crate) fn clear_ripas_request(&mut self) {
        self.ripas_base = 0;
        self.ripas_top = 0;
    }

    /// Says whether a PSCI call waits for the Host to name the REC it is about.
    pub(crate) fn is_psci_pending(&self) -> bool {
        self.psci_pending != 0
    }

    /// Records that a PSCI call waits, or no longer does.
    pub(crate) fn set_psci_pending(&mut self, pending: bool) {
        self.psci_pending = u64::from(pending);
    }

    /// Says whether a Host call waits for its results.
    pub(crate) fn is_host_call_pending(&self) -> bool {
        self.host_call_pending != 0
    }

    /// Records that a Host call waits, or no longer does.
    pub(crate) fn set_host_call_pending(&mut self, pending: bool) {
        self.host_call_pending = u64::from(pending);
    }

    /// Returns the data abort at an unprotected address that ended the last run, if one did.
    pub(crate) fn host_abort(&self) -> Option<HostAbort> {
        let is_emulatable = match self.abort_kind {
            ABORT_EMULATABLE => true,
            ABORT_NOT_EMULATABLE => false,
            _ => return None,
        };
        Some(HostAbort {
            esr: self.abort_esr,
            far: self.abort_far,
            is_emulatable,
        })
    }

    /// Records how the run ended as far as data aborts at unprotected addresses are concerned.
    pub(crate) fn set_host_abort(&mut self, abort: Option<HostAbort>) {
        let Some(abort) = abort else {
            self.abort_kind = ABORT_NONE;
            return;
        };
        self.abort_kind = if abort.is_emulatable {
            ABORT_EMULATABLE
        } else {
            ABORT_NOT_EMULATABLE
        };
        self.abort_esr = abort.esr;
        self.abort_far = abort.far;
    }

    /// Returns the syndrome of a virtual SError that the Realm has not taken.
    pub(crate) fn pending_serror(&self) -> Option<u64> {
        (self.serror_pending != 0).then_some(self.serror_syndrome)
    }

    /// Records which virtual SError the Realm has not taken.
    pub(crate) fn set_pending_serror(&mut self, syndrome: Option<u64>) {
        self.serror_pending = u64::from(syndrome.is_some());
        self.serror_syndrome = syndrome.unwrap_or(0);
    }
}

/// Narrows a word that was widened from a byte.
fn byte(word: u64) -> u8 {
    let [low, ..] = word.to_le_bytes();
    low
}
