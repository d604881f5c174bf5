// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Publishing and invalidating stage 2 translations.

use core::sync::atomic::AtomicU64;

use rmi::Ipa;

/// What names one Realm's translation tables to the hardware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage2Root {
    /// `VTTBR_EL2`: VMID and address of the first starting-level table.
    pub vttbr: u64,
    /// `VTCR_EL2`.
    pub vtcr: u64,
}

/// A live translation of this range was taken out of a table; other PEs may still use it.
///
/// Consumed by [`Stage2::invalidate`]. Losing one would leave a Realm access to memory it no longer
/// owns, so it can be neither copied nor ignored.
#[must_use = "stale translations stay usable until they are invalidated"]
#[derive(Debug, PartialEq, Eq)]
pub struct MustInvalidate {
    /// First address of the range.
    pub base: Ipa,
    /// Bytes in the range: what the entry that was removed covered.
    pub size: u64,
    /// Bytes one leaf entry of the range covers, the smallest if they differ.
    pub leaf: u64,
}

/// Stage 2 table entries and the TLBs that cache them.
pub trait Stage2 {
    /// Writes one entry with a single 64-bit store and makes it visible to every table walker.
    fn write_entry(&self, entry: &AtomicU64, value: u64);

    /// Makes the plain stores to a whole new table visible to every walker, before the entry that
    /// points to it is written.
    fn publish_table(&self);

    /// Makes every PE forget the translations of the range, leaf entries and walk caches, combined
    /// stage 1 and 2 entries included, and waits until none is in use.
    fn invalidate(&self, root: &Stage2Root, range: MustInvalidate);

    /// Makes every PE forget all translations of the VMID.
    fn invalidate_all(&self, root: &Stage2Root);

    /// Makes every PE forget the instructions that it fetched from memory which no translation leads to
    /// any more. Called after the translations were invalidated.
    ///
    /// A copy of an instruction outlives the translation it was fetched through. Whoever gets the memory
    /// next would execute its former owner's code, whatever the measurement says of the contents.
    fn invalidate_instructions(&self);
}
