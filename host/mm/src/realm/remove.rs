// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Rules R7 and R8: taking memory and tables away from a Realm.

use rmi::{Ipa, RttLevel};

use super::{Realm, RealmError};
use crate::addr::{BLOCK_2M, PAGE_SIZE, Pfn};
use crate::client::{Removed, RmiCalls, walk_stopped};
use crate::machine::Machine;
use crate::memcache::MemCache;

impl<M: Machine> Realm<'_, M> {
    /// Destroys the data of the protected range `base..top` and takes the pages back; returns how
    /// many there were. Holes are skipped in one step, blocks are unfolded.
    ///
    /// # Errors
    ///
    /// [`RealmError::OutOfMemory`] when a block cannot be unfolded, [`RealmError::Refused`] for
    /// an answer that makes no sense. What was destroyed stays destroyed.
    pub fn destroy_data(
        &self,
        base: Ipa,
        top: Ipa,
        cache: &mut MemCache<'_>,
    ) -> Result<u64, RealmError> {
        let mut pages = 0;
        let mut at = base;
        while at < top {
            let removed = self.host.machine().data_destroy(self.rd, at);
            if let Ok(pfn) = removed.outcome {
                self.blocks.lock().remove(at);
                self.counters.destroyed.bump();
                self.take_back(pfn);
                pages += 1;
            }
            at = self.advance(at, RttLevel::LEVEL_3, removed, cache)?;
        }
        Ok(pages)
    }

    /// Unmaps the unprotected range `base..top`; returns how many entries there were.
    ///
    /// # Errors
    ///
    /// As [`Realm::destroy_data`].
    pub fn unmap_unprotected(
        &self,
        base: Ipa,
        top: Ipa,
        cache: &mut MemCache<'_>,
    ) -> Result<u64, RealmError> {
        let mut entries = 0;
        let mut at = base;
        let mut level = RttLevel::LEVEL_3;
        while at < top {
            let machine = self.host.machine();
            let removed = machine.rtt_unmap_unprotected(self.rd, at, level);
            if removed.outcome.is_ok() {
                let mut blocks = self.blocks.lock();
                match level {
                    RttLevel::LEVEL_3 => blocks.remove(at),
                    _ => blocks.remove_block(at, level.block_size()),
                }
                self.counters.unshared.bump();
                entries += 1;
            }
            let stopped = removed.outcome.err().and_then(walk_stopped);
            // A block that lies wholly inside the range goes as a whole.
            if let Some(coarse) = stopped
                && removed.top <= at
                && coarse.raw() < level.raw()
                && coarse.is_aligned(at)
                && at.raw() + coarse.block_size() <= top.raw()
            {
                level = coarse;
                continue;
            }
            at = self.advance(at, level, removed, cache)?;
            level = RttLevel::LEVEL_3;
        }
        Ok(entries)
    }

    /// Returns where to go on after a removal at `at`, having unfolded the block there if that
    /// was in the way.
    fn advance<T>(
        &self,
        at: Ipa,
        level: RttLevel,
        removed: Removed<T>,
        cache: &mut MemCache<'_>,
    ) -> Result<Ipa, RealmError> {
        let next = Ipa::new(at.raw() + PAGE_SIZE);
        let Err(error) = removed.outcome else {
            return Ok(removed.top.max(next));
        };
        match walk_stopped(error) {
            Some(_) if removed.top > at => Ok(removed.top),
            Some(stopped) if stopped.raw() < level.raw() => {
                self.unfold(at, stopped, cache)?;
                Ok(at)
            }
            Some(_) => Ok(next),
            None => Err(RealmError::Refused(error)),
        }
    }

    /// Replaces the block entry of level `at_level` that covers `ipa` by a table.
    fn unfold(
        &self,
        ipa: Ipa,
        at_level: RttLevel,
        cache: &mut MemCache<'_>,
    ) -> Result<(), RealmError> {
        let Some(child) = at_level.child() else {
            return Ok(());
        };
        if !cache.fill(1) {
            return self.create_tables(ipa, at_level, child, &mut self.spare.lock());
        }
        self.create_tables(ipa, at_level, child, cache)
    }

    /// Destroys the tables of `base..top` that map nothing any more, bottom up. Unprotected
    /// mappings in them vanish with them. Tables still in use stay.
    pub(super) fn destroy_tables(&self, base: Ipa, top: Ipa) {
        let mut level = RttLevel::LEVEL_3;
        while level.raw() > self.geometry.start_level.raw() {
            let mut at = base.align_down(level.table_size());
            while at < top {
                at = self.destroy_table(at, level);
            }
            let Some(parent) = level.parent() else {
                return;
            };
            level = parent;
        }
    }

    /// Destroys the table of `level` at `at`, if there is one; returns where to go on.
    fn destroy_table(&self, at: Ipa, level: RttLevel) -> Ipa {
        let removed = self.host.machine().rtt_destroy(self.rd, at, level);
        let next = Ipa::new(at.raw().saturating_add(level.table_size()));
        match removed.outcome {
            Ok(rtt) => {
                self.host.free_granule(rtt);
                next.max(removed.top)
            }
            // In use, or refused altogether.
            Err(error) if walk_stopped(error).is_none_or(|stopped| stopped == level) => next,
            // No table here: go on where the next one may be.
            Err(_) => next.max(removed.top),
        }
    }

    /// Destroys the Realm: its data, its tables, the Realm itself; every granule comes back
    /// (rule R8). RECs must be gone.
    ///
    /// # Errors
    ///
    /// The first step that failed. It can be tried again.
    pub fn destroy(&self) -> Result<(), RealmError> {
        let half = Ipa::new(self.geometry.shared_bit());
        let end = Ipa::new(self.geometry.shared_bit() << 1);
        let mut cache = MemCache::new(self.host.pages(), crate::pages::Wish::Delegable);
        // Range by range, each with its table, so that unfolding blocks needs a page or two
        // however little memory is left.
        let ranges = self.blocks.lock().protected(&self.geometry);
        for base in ranges {
            let top = Ipa::new(base.raw() + BLOCK_2M);
            self.destroy_data(base, top, &mut cache)?;
            self.destroy_table(base, RttLevel::LEVEL_3);
        }
        self.destroy_data(Ipa::new(0), half, &mut cache)?;
        self.destroy_tables(Ipa::new(0), half);
        self.destroy_tables(half, end);
        self.blocks.lock().clear();
        let machine = self.host.machine();
        machine
            .realm_destroy(self.rd)
            .map_err(RealmError::Refused)?;
        self.host.free_granule(self.rd);
        let roots = 1 << self.geometry.root_order;
        (0..roots).for_each(|i| self.host.free_granule(self.root.offset(i)));
        Ok(())
    }

    /// Returns the first starting table, for the Realm's parameters.
    pub fn root(&self) -> Pfn {
        self.root
    }
}
