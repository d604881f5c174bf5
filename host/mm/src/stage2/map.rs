// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Rules W1 to W3: the walk that maps.

use core::sync::atomic::Ordering;

use rmi::{Ipa, RttLevel};

use super::Stage2;
use super::entry::{self, Entry};
use super::walk::{Next, Step, Visit, Visitor, WalkError};
use crate::addr::{PAGE_SHIFT, Pfn};
use crate::machine::Machine;
use crate::memcache::MemCache;
use crate::pages::PageUse;
use crate::perms::Permissions;

impl<M: Machine> Stage2<'_, M> {
    /// Maps `size` bytes at `ipa` to the pages from `pfn` on, with blocks where they fit. The
    /// caller holds the MMU lock for reading (or writing).
    ///
    /// # Errors
    ///
    /// [`WalkError::Again`] after a lost race, [`WalkError::OutOfMemory`] without pages for
    /// tables; tables already installed stay.
    pub fn map(
        &self,
        ipa: Ipa,
        pfn: Pfn,
        size: u64,
        permissions: Permissions,
        cache: &mut MemCache<'_>,
    ) -> Result<(), WalkError> {
        let mut mapper = Mapper {
            stage2: self,
            ipa,
            pfn,
            permissions,
            cache,
        };
        self.walk(ipa.raw()..ipa.raw() + size, &mut mapper)
    }
}

/// The visitor that maps.
struct Mapper<'a, 'h, 'c, M> {
    stage2: &'a Stage2<'h, M>,
    ipa: Ipa,
    pfn: Pfn,
    permissions: Permissions,
    cache: &'a mut MemCache<'c>,
}

impl<M: Machine> Visitor for Mapper<'_, '_, '_, M> {
    fn wants(&self, visit: Visit) -> bool {
        visit != Visit::TableAfter
    }

    fn visit(&mut self, step: &Step<'_>) -> Result<Next, WalkError> {
        match (step.visit, step.entry) {
            (Visit::TableBefore, Entry::Table(child)) => self.replace_table(step, child),
            (Visit::Leaf, Entry::Leaf(_) | Entry::Invalid) => self.map_entry(step),
            // Claimed, or a table by now.
            (Visit::Leaf, Entry::Locked | Entry::Table(_)) | (Visit::TableBefore, _) => {
                Err(WalkError::Again)
            }
            (Visit::TableAfter, _) => Err(WalkError::Unexpected),
        }
    }
}

impl<M: Machine> Mapper<'_, '_, '_, M> {
    /// The page that belongs at the start of the entry's piece.
    fn target(&self, step: &Step<'_>) -> Pfn {
        self.pfn
            .offset((step.piece.start - self.ipa.raw()) >> PAGE_SHIFT)
    }

    /// Whether the entry itself can hold the mapping: its level maps memory, the piece is all of
    /// the entry, and the page is aligned.
    fn fits(&self, step: &Step<'_>) -> bool {
        let size = step.level.block_size();
        step.level.can_map()
            && step.piece.start == step.base.raw()
            && step.piece.end - step.piece.start == size
            && self.target(step).is_aligned(size)
    }

    /// W1: a table that a block can replace is replaced; its subtree is freed later.
    fn replace_table(&self, step: &Step<'_>, child: Pfn) -> Result<Next, WalkError> {
        if !self.fits(step) {
            return Ok(Next::Continue);
        }
        let Some(below) = step.level.child() else {
            return Err(WalkError::Unexpected);
        };
        claim(step)?;
        self.forget(step);
        self.install(step);
        self.stage2.detached.lock().push((child, below));
        self.stage2.counters.collapsed.bump();
        Ok(Next::Skip)
    }

    /// W2: an entry without children.
    fn map_entry(&mut self, step: &Step<'_>) -> Result<Next, WalkError> {
        if !self.fits(step) {
            return self.deepen(step);
        }
        let wanted = self.descriptor(step);
        match step.entry {
            Entry::Leaf(leaf) if leaf.pfn == self.target(step) => {
                // The same mapping is success; other permissions are the permission path's.
                return if entry::young(step.raw) == wanted {
                    Ok(Next::Skip)
                } else {
                    Err(WalkError::Again)
                };
            }
            Entry::Leaf(_) => {
                claim(step)?;
                self.forget(step);
            }
            Entry::Invalid | Entry::Locked | Entry::Table(_) => {
                claim(step)?;
                self.stage2.host.pages().get(step.table);
            }
        }
        self.install(step);
        Ok(Next::Skip)
    }

    /// Puts a table where none was. A block that was there goes: the guest faults its parts in
    /// again.
    fn deepen(&mut self, step: &Step<'_>) -> Result<Next, WalkError> {
        let machine = self.stage2.host.machine();
        let pages = self.stage2.host.pages();
        let table = self.cache.take().ok_or(WalkError::OutOfMemory)?;
        machine.zero_page(table);
        if claim(step).is_err() {
            self.cache.give_back(table);
            return Err(WalkError::Again);
        }
        match step.entry {
            Entry::Leaf(_) => self.forget(step),
            Entry::Invalid | Entry::Locked | Entry::Table(_) => pages.get(step.table),
        }
        pages.set_use(table, PageUse::Table);
        // The zeros before the pointer to them.
        step.slot.store(entry::table(table), Ordering::Release);
        machine.publish();
        self.stage2.counters.tables.bump();
        Ok(Next::Continue)
    }

    fn descriptor(&self, step: &Step<'_>) -> u64 {
        self.stage2
            .leaf(self.target(step), self.permissions, step.level)
    }

    /// Writes the mapping into an entry that this CPU has claimed.
    fn install(&self, step: &Step<'_>) {
        let size = step.level.block_size();
        self.stage2
            .prepare(self.target(step), size, self.permissions);
        step.slot.store(self.descriptor(step), Ordering::Release);
        self.stage2.host.machine().publish();
        self.stage2.counters.installed.bump();
    }

    /// The "make others forget" of break-before-make, for an entry that this CPU has claimed and
    /// that was valid.
    fn forget(&self, step: &Step<'_>) {
        let machine = self.stage2.host.machine();
        machine.publish();
        machine.invalidate_ipa(self.stage2.vmid, step.base, step.level.block_size());
        self.stage2.counters.broken.bump();
    }
}

/// W3: makes the entry this CPU's to change; another CPU's change means trying again.
fn claim(step: &Step<'_>) -> Result<(), WalkError> {
    step.slot
        .compare_exchange(step.raw, entry::LOCKED, Ordering::AcqRel, Ordering::Acquire)
        .map(drop)
        .map_err(|_| WalkError::Again)
}

/// The level at which one entry maps `size` bytes.
pub fn level_of(size: u64) -> RttLevel {
    [RttLevel::LEVEL_1, RttLevel::LEVEL_2]
        .into_iter()
        .find(|level| level.block_size() == size)
        .unwrap_or(RttLevel::LEVEL_3)
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn w3_an_entry_that_another_cpu_changed_is_left_to_it() {
        let (before, meanwhile) = (0, entry::table(Pfn::containing(0x4000)));
        let slot = AtomicU64::new(before);
        let step = Step {
            slot: &slot,
            raw: before,
            entry: Entry::Invalid,
            level: RttLevel::LEVEL_2,
            base: Ipa::new(0),
            piece: 0..1,
            table: Pfn::containing(0x1000),
            visit: Visit::Leaf,
        };
        slot.store(meanwhile, Ordering::Relaxed);
        assert_eq!(claim(&step), Err(WalkError::Again));
        assert_eq!(slot.load(Ordering::Relaxed), meanwhile);
        slot.store(before, Ordering::Relaxed);
        assert_eq!(claim(&step), Ok(()));
        assert_eq!(slot.load(Ordering::Relaxed), entry::LOCKED);
    }
}
