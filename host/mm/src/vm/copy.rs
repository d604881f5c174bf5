// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A copy of a running guest's memory: round by round what the guest has written meanwhile, and the
//! rest when it has stopped.

use alloc::sync::Arc;
use alloc::vec::Vec;

use rmi::Ipa;

use super::{MemoryError, Vm};
use crate::addr::{Gfn, PAGE_BYTES, PAGE_SHIFT, Pfn};
use crate::area::Area;
use crate::backing::Kind;
use crate::machine::Machine;
use crate::memslot::MemSlot;
use crate::pages::to_u64;

/// The memory of one VM on its way into another, which nobody runs.
///
/// Both have the same slots. Devices are not copied. A page that nobody has filled is the same on
/// both sides.
#[derive(Debug)]
pub struct Copying<'a, 'h, M> {
    from: &'a Vm<'h, M>,
    to: &'a Vm<'h, M>,
    slots: Vec<Arc<MemSlot>>,
    rounds: Vec<u64>,
}

/// A copy that is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Pages copied in each round while the guest ran; the first round is all of its memory.
    pub rounds: Vec<u64>,
    /// Pages copied when it had stopped.
    pub left: u64,
    /// Pages compared after that.
    pub compared: u64,
    /// Those of them that are not the same on both sides.
    pub different: Vec<Gfn>,
}

impl<'a, 'h, M: Machine> Copying<'a, 'h, M> {
    /// Starts to log what the guest of `from` writes, and copies all that is there: the first
    /// round.
    ///
    /// # Errors
    ///
    /// Why a page cannot be copied. A Realm's own pages cannot.
    pub fn begin(from: &'a Vm<'h, M>, to: &'a Vm<'h, M>) -> Result<Self, MemoryError> {
        let slots: Vec<_> = from
            .slots()
            .into_iter()
            .filter(|slot| from.is_memory(slot))
            .collect();
        slots.iter().for_each(|slot| from.start_logging(slot));
        let mut copying = Self {
            from,
            to,
            slots,
            rounds: Vec::new(),
        };
        let all: Vec<_> = copying.filled().collect();
        copying.copy(&all)?;
        copying.rounds.push(to_u64(all.len()));
        Ok(copying)
    }

    /// Copies what the guest has written since the last round; returns how many pages that were.
    ///
    /// # Errors
    ///
    /// As [`Copying::begin`].
    pub fn round(&mut self) -> Result<u64, MemoryError> {
        let count = self.copy_dirty()?;
        self.rounds.push(count);
        Ok(count)
    }

    /// Returns how many pages each round so far has copied.
    pub fn rounds(&self) -> &[u64] {
        &self.rounds
    }

    /// Copies the rest, ends logging and compares all of both memories. The guest has stopped, and
    /// nobody else writes its memory.
    ///
    /// # Errors
    ///
    /// As [`Copying::begin`].
    pub fn finish(self) -> Result<Copied, MemoryError> {
        let left = self.copy_dirty()?;
        for slot in &self.slots {
            self.from.stop_logging(slot);
        }
        let mut different = Vec::new();
        let mut compared = 0;
        for gfn in self.filled() {
            compared += 1;
            if !self.is_same(gfn)? {
                different.push(gfn);
            }
        }
        Ok(Copied {
            rounds: self.rounds,
            left,
            compared,
            different,
        })
    }

    fn copy_dirty(&self) -> Result<u64, MemoryError> {
        let mut count = 0;
        for slot in &self.slots {
            let dirty = self.from.take_dirty(slot);
            self.copy(&dirty)?;
            count += to_u64(dirty.len());
        }
        Ok(count)
    }

    fn copy(&self, pages: &[Gfn]) -> Result<(), MemoryError> {
        pages
            .iter()
            .try_for_each(|gfn| self.from.copy_page(*gfn, self.to))
    }

    fn is_same(&self, gfn: Gfn) -> Result<bool, MemoryError> {
        let (mut one, mut other) = ([0; PAGE_BYTES], [0; PAGE_BYTES]);
        self.from.read(ipa_of(gfn), &mut one)?;
        self.to.read(ipa_of(gfn), &mut other)?;
        Ok(one == other)
    }

    /// The pages that somebody has filled, on one side or the other.
    fn filled(&self) -> impl Iterator<Item = Gfn> {
        self.slots
            .iter()
            .flat_map(|slot| slot.gfns())
            .filter(|gfn| self.from.backed(*gfn).is_some() || self.to.backed(*gfn).is_some())
    }
}

impl<M: Machine> Vm<'_, M> {
    /// Returns how many pages there are behind the guest's memory so far.
    pub fn filled_pages(&self) -> u64 {
        let areas = self.space.areas();
        areas.iter().map(|area| area.object.filled_pages()).sum()
    }

    /// Whether a slot has pages of the host behind it, and no device.
    fn is_memory(&self, slot: &MemSlot) -> bool {
        let area = self.space.find(slot.hva());
        area.is_some_and(|area| !matches!(area.object.kind(), Kind::Raw(_)))
    }

    /// Returns what is behind a guest page that has been filled: the area, the index of the page in
    /// its object, and the host page.
    pub(super) fn backed(&self, gfn: Gfn) -> Option<(Arc<Area>, u64, Pfn)> {
        let hva = self.slot(gfn)?.hva_of(gfn);
        let area = self.space.find(hva)?;
        let index = area.index_of(hva);
        let pfn = area.object.peek(index)?;
        Some((area, index, pfn))
    }
}

fn ipa_of(gfn: Gfn) -> Ipa {
    Ipa::new(gfn.raw() << PAGE_SHIFT)
}
