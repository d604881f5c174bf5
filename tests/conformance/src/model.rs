// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A second, deliberately simple account of what the specification says.
//!
//! The state is maps. A command collects every failure condition that holds, drops those that the
//! specification hides behind others, and accepts the reply of any that is left; when none holds it
//! changes the maps. Nothing here is shared with the monitor, except the words of `rmi`.

mod commands;
mod coverage;
mod enter;
mod generate;
mod measure;
mod rng;
mod run;
mod step;
mod tree;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};

use rmi::FeatureRegister0;

pub use coverage::Coverage;
pub use generate::Generator;
pub use rng::Rng;
pub use run::{Failure, Outcome, run_seed, shrink, walk_steps};
pub use step::{EnterSpec, Page, RealmSpec, RecSpec, Step};
pub use tree::{Entry, Tree};

use measure::Algorithm;

/// Bytes of a granule.
const GRANULE: u64 = 4096;

/// What a granule is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// The Host's.
    Undelegated,
    /// The Realm world's, for nothing yet.
    Delegated,
    /// A Realm descriptor.
    Rd,
    /// A REC.
    Rec,
    /// Auxiliary storage.
    RecAux,
    /// A Realm's page.
    Data,
    /// A table.
    Rtt,
}

/// A delegable granule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granule {
    /// What it is used for.
    pub used: Use,
    /// The Secure world has it; only while undelegated.
    pub is_secure: bool,
}

/// Where a Realm is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Being built.
    New,
    /// Running.
    Active,
    /// Over.
    Off,
}

/// A Realm.
#[derive(Clone, Debug)]
pub struct Realm {
    life: Life,
    tree: Tree,
    root: u64,
    roots: u64,
    vmid: u16,
    algorithm: Algorithm,
    measurements: [[u8; 64]; 5],
    rec_index: u64,
    /// Learned from the monitor.
    aux_count: u64,
}

/// What a REC was doing when it stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    /// Nothing: it waits for an action.
    Nothing,
    /// A call that is answered at the next entry.
    Answer {
        /// What the Realm sees in x0, if the model knows.
        x0: Option<u64>,
    },
    /// A change of RIPAS.
    Ripas,
    /// A host call whose structure is at this address.
    HostCall { ipa: u64 },
    /// An access that is tried again.
    Access {
        is_unprotected: bool,
        is_emulatable: bool,
    },
    /// A call that is made again.
    Again,
    /// It turned itself off.
    Gone,
}

/// A change of RIPAS that a Realm asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Request {
    base: u64,
    top: u64,
    value: u8,
    may_change_destroyed: bool,
}

/// A PSCI request that waits for the Host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PsciRequest {
    fid: u64,
    target: u64,
}

/// A REC.
#[derive(Clone, Debug)]
pub struct Rec {
    rd: u64,
    index: u64,
    aux: Vec<u64>,
    is_runnable: bool,
    request: Request,
    psci: Option<PsciRequest>,
    pending: Pending,
    action: Option<scenarios::realm::RealmAction>,
}

/// The whole state.
#[derive(Clone, Debug)]
pub struct Model {
    features: FeatureRegister0,
    pa_bits: u8,
    hpmn0: bool,
    vmid16: bool,
    /// Every delegable granule.
    granules: BTreeMap<u64, Granule>,
    realms: BTreeMap<u64, Realm>,
    recs: BTreeMap<u64, Rec>,
    vmids: BTreeSet<u16>,
    /// The word that fills a page of a Realm, and words that differ from it.
    fills: BTreeMap<u64, u64>,
    words: BTreeMap<(u64, u64), u64>,
}

impl Model {
    /// Returns the state after boot, with these delegable granules.
    #[must_use]
    pub fn new(
        features: FeatureRegister0,
        cpu: &rmm_hal::CpuFeatures,
        granules: impl Iterator<Item = u64>,
    ) -> Self {
        let fresh = Granule {
            used: Use::Undelegated,
            is_secure: false,
        };
        Self {
            features,
            pa_bits: cpu.pa_bits,
            hpmn0: cpu.hpmn0,
            vmid16: cpu.vmid16,
            granules: granules.map(|granule| (granule, fresh)).collect(),
            realms: BTreeMap::new(),
            recs: BTreeMap::new(),
            vmids: BTreeSet::new(),
            fills: BTreeMap::new(),
            words: BTreeMap::new(),
        }
    }

    /// Returns the granules and what they are.
    pub fn granules(&self) -> impl Iterator<Item = (u64, Granule)> + '_ {
        self.granules.iter().map(|(at, granule)| (*at, *granule))
    }

    /// Returns the Realms' descriptors, lives and tables.
    pub fn trees(&self) -> impl Iterator<Item = (u64, Life, &Tree)> + '_ {
        let realms = self.realms.iter();
        realms.map(|(rd, realm)| (*rd, realm.life, &realm.tree))
    }

    /// Gives a granule to the Secure world or takes it back. Only the Host's granules move.
    pub fn set_secure(&mut self, granule: u64, is_secure: bool) -> bool {
        match self.granules.get_mut(&granule) {
            Some(granule) if granule.used == Use::Undelegated => {
                granule.is_secure = is_secure;
                true
            }
            _ => false,
        }
    }

    fn granule(&self, at: u64) -> Option<Granule> {
        self.granules.get(&(at & !(GRANULE - 1))).copied()
    }

    /// Says whether the Host can read and write there.
    fn is_host_memory(&self, at: u64) -> bool {
        self.granule(at)
            .is_some_and(|granule| granule.used == Use::Undelegated && !granule.is_secure)
    }

    fn set_use(&mut self, at: u64, used: Use) {
        let granule = self.granules.get_mut(&at);
        granule.expect("only granules that are there are used").used = used;
        if used != Use::Data {
            self.fills.remove(&at);
            let words: Vec<_> = self
                .words
                .range((at, 0)..(at + 1, 0))
                .map(|(key, _)| *key)
                .collect();
            for key in words {
                self.words.remove(&key);
            }
        }
    }

    fn word(&self, page: u64, offset: u64) -> u64 {
        let fill = self.fills.get(&page).copied().unwrap_or(0);
        self.words.get(&(page, offset)).copied().unwrap_or(fill)
    }

    fn set_word(&mut self, page: u64, offset: u64, value: u64) {
        self.words.insert((page, offset), value);
    }
}

impl Model {
    /// Gives a REC that waits its next action.
    pub(crate) fn offer(&mut self, rec: u64, action: Option<scenarios::realm::RealmAction>) {
        if let Some(rec) = self.recs.get_mut(&rec)
            && rec.pending == Pending::Nothing
        {
            rec.action = action;
        }
    }
}
