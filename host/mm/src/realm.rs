// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Mapping into a Realm: the RMM owns the tables and the host asks (rules R1 to R9).
//!
//! A Realm's IPA space has two halves. *Protected* pages are granules given to the Realm world;
//! *unprotected* ones, with the top IPA bit set, are the host's own pages, shared with the Realm.
//! The same guest page is backed by the same host page in both halves, in one of them at a time.

mod blocks;
mod build;
mod map;
mod remove;
mod ripas;

use alloc::vec::Vec;

use spin::Mutex;

use rmi::{Ipa, RttLevel};

use crate::addr::{Gfn, PAGE_SHIFT, Pfn};
use crate::client::CallError;
use crate::host::{Counter, DelegateError, Host};
use crate::machine::Machine;
use crate::memcache::MemCache;

pub use blocks::MappingSizes;
pub use build::Rec;
pub use map::{Mapped, Source};
pub use ripas::Wanted;

use blocks::Blocks;

/// Why something could not be done to a Realm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RealmError {
    /// A mapping without write permission was asked for (rule R1).
    ReadOnly,
    /// No memory for a table or a granule.
    OutOfMemory,
    /// Another CPU is changing the same thing: try again.
    Busy,
    /// The RMM does not take this page; the caller finds another one.
    NotDelegable,
    /// The page is mapped, but the Realm may not use it: its RIPAS is not RAM.
    NotRam,
    /// The RMM answered with a status that this request cannot explain.
    Refused(CallError),
}

impl From<DelegateError> for RealmError {
    fn from(error: DelegateError) -> Self {
        match error {
            DelegateError::Claimed => Self::Busy,
            DelegateError::Refused(_) => Self::NotDelegable,
            DelegateError::OutOfMemory => Self::OutOfMemory,
        }
    }
}

/// The shape of a Realm's tables, which follows from its IPA width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// IPA width in bits.
    pub ipa_bits: u32,
    /// Level of the starting tables.
    pub start_level: RttLevel,
    /// log2 of the number of starting tables.
    pub root_order: usize,
}

/// IPA bits resolved inside a page.
const PAGE_BITS: u32 = PAGE_SHIFT;
/// IPA bits resolved by one table.
const TABLE_BITS: u32 = 9;
/// log2 of the largest number of starting tables.
const MAX_ROOT_BITS: u32 = 4;

impl Geometry {
    /// Returns the geometry with the fewest levels for `ipa_bits` (32 to 48 bits), using up to 16
    /// concatenated starting tables.
    pub fn new(ipa_bits: u32) -> Option<Self> {
        if !(32..=48).contains(&ipa_bits) {
            return None;
        }
        let above_page = ipa_bits - PAGE_BITS - MAX_ROOT_BITS.min(ipa_bits - PAGE_BITS);
        let levels = above_page.div_ceil(TABLE_BITS).max(1);
        let resolved = PAGE_BITS + levels * TABLE_BITS;
        Some(Self {
            ipa_bits,
            start_level: RttLevel::new(i64::from(4 - levels))?,
            root_order: usize::try_from(ipa_bits.saturating_sub(resolved)).ok()?,
        })
    }

    /// Returns the IPA bit that selects the unprotected half.
    pub fn shared_bit(&self) -> u64 {
        1 << (self.ipa_bits - 1)
    }

    /// Whether `ipa` lies in the protected half.
    pub fn is_protected(&self, ipa: Ipa) -> bool {
        ipa.raw() & self.shared_bit() == 0
    }

    /// Returns the guest page that `ipa` names, whichever half it is in.
    pub fn gfn(&self, ipa: Ipa) -> Gfn {
        Gfn::new((ipa.raw() & !self.shared_bit()) >> PAGE_SHIFT)
    }

    /// Returns the alias of a protected address in the unprotected half.
    pub fn shared_alias(&self, ipa: Ipa) -> Ipa {
        Ipa::new(ipa.raw() | self.shared_bit())
    }

    /// The most tables that one mapping of a page can need.
    pub fn tables_per_mapping(&self) -> usize {
        usize::try_from(RttLevel::LEVEL_3.raw() - self.start_level.raw()).unwrap_or(0)
    }
}

/// What happened to a Realm's memory.
#[derive(Debug, Default)]
pub struct RealmCounters {
    /// Protected pages created on demand.
    pub created: Counter,
    /// Protected pages created with contents before activation.
    pub populated: Counter,
    /// Unprotected pages mapped.
    pub shared: Counter,
    /// Unprotected entries unmapped.
    pub unshared: Counter,
    /// Protected pages destroyed.
    pub destroyed: Counter,
    /// Tables created.
    pub tables: Counter,
    /// Tables that another CPU had created meanwhile (rule R4).
    pub table_races: Counter,
    /// Pages that another CPU had mapped meanwhile (rule R6).
    pub page_races: Counter,
    /// Ranges folded, 2 MiB and 1 GiB together (rule R5).
    pub folds: Counter,
    /// Folds the RMM refused.
    pub folds_refused: Counter,
    /// Blocks unfolded again.
    pub unfolds: Counter,
    /// RIPAS changes applied, in calls.
    pub ripas_steps: Counter,
}

/// A Realm as the host sees it.
#[derive(Debug)]
pub struct Realm<'h, M> {
    host: &'h Host<M>,
    rd: Pfn,
    root: Pfn,
    geometry: Geometry,
    blocks: Mutex<Blocks>,
    /// Pages for tables where no vCPU's cache is at hand, obtained while memory was plenty.
    spare: Mutex<MemCache<'h>>,
    counters: RealmCounters,
}

impl<'h, M: Machine> Realm<'h, M> {
    /// Returns the Realm descriptor.
    pub fn rd(&self) -> Pfn {
        self.rd
    }

    /// Returns the shape of the Realm's tables.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Returns the counters.
    pub fn counters(&self) -> &RealmCounters {
        &self.counters
    }

    /// Returns the host the Realm belongs to.
    pub fn host(&self) -> &'h Host<M> {
        self.host
    }

    /// Returns the 2 MiB ranges of guest pages of which the Realm has something mapped as shared,
    /// each by its first page.
    pub fn shared_ranges(&self) -> Vec<Gfn> {
        self.blocks.lock().shared(&self.geometry)
    }

    /// Returns how the Realm's protected memory is mapped now: pages and folded blocks.
    pub fn mapping_sizes(&self) -> MappingSizes {
        self.blocks.lock().sizes(&self.geometry)
    }
}

#[cfg(test)]
mod tests;
