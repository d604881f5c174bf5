// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Rules R1 to R6: pages, tables and folds.

use rmi::{Ipa, RttLevel};

use super::{Realm, RealmError};
use crate::addr::{BLOCK_1G, BLOCK_2M, PAGE_SIZE, Pfn};
use crate::client::{CallError, ENTRY_ASSIGNED, Measure, RIPAS_RAM, RmiCalls, walk_stopped};
use crate::host::DelegateError;
use crate::machine::Machine;
use crate::memcache::MemCache;
use crate::pages::PageUse;
use crate::perms::Permissions;

/// How often a step is repeated that raced with other CPUs before the guest is asked to retry.
const RACES: usize = 16;

/// What a mapping call did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapped {
    /// The page was mapped by this call.
    New,
    /// It was there already (rule R6).
    Already,
}

/// What a new protected page contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Whatever the RMM wipes pages with.
    Unknown,
    /// A copy of a page of the host; possible until the Realm is activated.
    Page(Pfn, Measure),
}

/// Descriptor bits of an unprotected mapping: memory type (FEAT_S2FWB encodings) in 4:2, S2AP in
/// 7:6.
const MEMORY_NORMAL: u64 = 0b110 << 2;
const MEMORY_DEVICE: u64 = 0b001 << 2;
const ACCESS_READ: u64 = 0b01 << 6;
const ACCESS_WRITE: u64 = 0b10 << 6;

impl<M: Machine> Realm<'_, M> {
    /// Maps `pfn` (one page, or for an unprotected address a block of `size` bytes) at `ipa`.
    ///
    /// `contiguous` says that the whole 2 MiB behind the page is contiguous memory, which is what
    /// makes a fold worth trying.
    ///
    /// # Errors
    ///
    /// [`RealmError::ReadOnly`] for a mapping without write permission (rule R1); whatever else
    /// went wrong.
    pub fn map(
        &self,
        ipa: Ipa,
        pfn: Pfn,
        size: u64,
        permissions: Permissions,
        contiguous: bool,
        cache: &mut MemCache<'_>,
    ) -> Result<Mapped, RealmError> {
        if !permissions.contains(Permissions::WRITE) {
            return Err(RealmError::ReadOnly);
        }
        if !self.geometry.is_protected(ipa) {
            return self.map_unprotected(ipa, pfn, size, permissions, contiguous, cache);
        }
        let mut mapped = Mapped::Already;
        for page in 0..size / PAGE_SIZE {
            let at = Ipa::new(ipa.raw() + page * PAGE_SIZE);
            let done =
                self.create_page(at, pfn.offset(page), Source::Unknown, contiguous, cache)?;
            if done == Mapped::New {
                mapped = done;
            }
        }
        Ok(mapped)
    }

    /// Gives page `pfn` to the Realm at protected address `ipa` (rule R2).
    ///
    /// # Errors
    ///
    /// Why not; the page is the host's again, or leaked.
    pub fn create_page(
        &self,
        ipa: Ipa,
        pfn: Pfn,
        source: Source,
        contiguous: bool,
        cache: &mut MemCache<'_>,
    ) -> Result<Mapped, RealmError> {
        match self.host.delegate(pfn, PageUse::Data) {
            Ok(()) => (),
            Err(DelegateError::Claimed) => return self.explain_claim(ipa),
            Err(error) => return Err(error.into()),
        }
        match self.create_data(ipa, pfn, source, cache) {
            Ok(Mapped::New) => {
                match source {
                    Source::Unknown => self.counters.created.bump(),
                    Source::Page(..) => self.counters.populated.bump(),
                }
                self.count_mapped(ipa, contiguous);
                Ok(Mapped::New)
            }
            other => {
                self.take_back(pfn);
                other
            }
        }
    }

    /// The call itself, with tables made where the walk stops.
    fn create_data(
        &self,
        ipa: Ipa,
        pfn: Pfn,
        source: Source,
        cache: &mut MemCache<'_>,
    ) -> Result<Mapped, RealmError> {
        for _ in 0..RACES {
            let machine = self.host.machine();
            let created = match source {
                Source::Unknown => machine.data_create_unknown(self.rd, pfn, ipa),
                Source::Page(from, measure) => {
                    machine.data_create(self.rd, pfn, ipa, from, measure)
                }
            };
            let Err(error) = created else {
                return Ok(Mapped::New);
            };
            match walk_stopped(error) {
                Some(RttLevel::LEVEL_3) => {
                    self.counters.page_races.bump();
                    return Ok(Mapped::Already);
                }
                Some(level) => self.create_tables(ipa, level, RttLevel::LEVEL_3, cache)?,
                None => return Err(RealmError::Refused(error)),
            }
        }
        Err(RealmError::Busy)
    }

    /// The page behind `ipa` is in the Realm world already: mapped there, or about to be by
    /// another CPU, or mapped where the Realm cannot use it.
    fn explain_claim(&self, ipa: Ipa) -> Result<Mapped, RealmError> {
        let machine = self.host.machine();
        let entry = machine
            .rtt_read_entry(self.rd, ipa, RttLevel::LEVEL_3)
            .map_err(RealmError::Refused)?;
        if entry.state != ENTRY_ASSIGNED {
            return Err(RealmError::Busy);
        }
        if entry.ripas != RIPAS_RAM {
            return Err(RealmError::NotRam);
        }
        self.counters.page_races.bump();
        Ok(Mapped::Already)
    }

    /// Takes a data page back that the Realm does not have; detaches it when that fails.
    pub(super) fn take_back(&self, pfn: Pfn) {
        if !self.host.undelegate(pfn, PageUse::Guest)
            && let Some((object, index)) = self.host.owner_of(pfn)
        {
            object.discard(index, self.host.pages());
        }
    }

    /// Maps pages of the host at unprotected address `ipa` (rule R3).
    fn map_unprotected(
        &self,
        ipa: Ipa,
        pfn: Pfn,
        size: u64,
        permissions: Permissions,
        contiguous: bool,
        cache: &mut MemCache<'_>,
    ) -> Result<Mapped, RealmError> {
        if self.blocks.lock().is_folded(ipa) {
            return Ok(Mapped::Already);
        }
        let level = match size {
            BLOCK_1G => RttLevel::LEVEL_1,
            BLOCK_2M => RttLevel::LEVEL_2,
            _ => RttLevel::LEVEL_3,
        };
        let memory = if permissions.contains(Permissions::DEVICE) {
            MEMORY_DEVICE
        } else {
            MEMORY_NORMAL
        };
        let descriptor = pfn.address() | memory | ACCESS_READ | ACCESS_WRITE;
        for _ in 0..RACES {
            let machine = self.host.machine();
            let Err(error) = machine.rtt_map_unprotected(self.rd, ipa, level, descriptor) else {
                self.counters.shared.bump();
                if level == RttLevel::LEVEL_3 {
                    self.count_mapped(ipa, contiguous);
                }
                return Ok(Mapped::New);
            };
            match walk_stopped(error) {
                Some(stopped) if stopped == level => {
                    self.counters.page_races.bump();
                    return Ok(Mapped::Already);
                }
                Some(stopped) => self.create_tables(ipa, stopped, level, cache)?,
                None => return Err(RealmError::Refused(error)),
            }
        }
        Err(RealmError::Busy)
    }

    /// Creates the tables below `stopped`, where a walk ended, down to level `wanted` (rule R4).
    ///
    /// # Errors
    ///
    /// [`RealmError::OutOfMemory`] when the cache is empty; tables already made stay.
    pub(super) fn create_tables(
        &self,
        ipa: Ipa,
        stopped: RttLevel,
        wanted: RttLevel,
        cache: &mut MemCache<'_>,
    ) -> Result<(), RealmError> {
        let mut parent = stopped;
        while parent.raw() < wanted.raw() {
            let Some(level) = parent.child() else {
                return Ok(());
            };
            self.create_table(ipa, level, cache)?;
            parent = level;
        }
        Ok(())
    }

    /// Creates the table of `level` around `ipa`. That it is there already is success.
    fn create_table(
        &self,
        ipa: Ipa,
        level: RttLevel,
        cache: &mut MemCache<'_>,
    ) -> Result<(), RealmError> {
        let pfn = cache.take().ok_or(RealmError::OutOfMemory)?;
        if let Err(error) = self.host.delegate(pfn, PageUse::Rtt) {
            self.host.pages().put(pfn);
            return match error {
                // Marked; the next page of the cache may do.
                DelegateError::Refused(_) => Err(RealmError::Busy),
                other => Err(other.into()),
            };
        }
        let base = ipa.align_down(level.table_size());
        let Err(error) = self.host.machine().rtt_create(self.rd, pfn, base, level) else {
            self.counters.tables.bump();
            self.count_unfolded(ipa, level);
            return Ok(());
        };
        if self.host.undelegate(pfn, PageUse::Spare) {
            cache.give_back(pfn);
        }
        match walk_stopped(error) {
            Some(stopped) => {
                // The parent entry is a table already, or a fold removed the parent: the caller's
                // next attempt sees which.
                if Some(stopped) == level.parent() {
                    self.counters.table_races.bump();
                }
                Ok(())
            }
            None => Err(RealmError::Refused(error)),
        }
    }

    /// A new table of `level` replaced what was there: perhaps a block.
    fn count_unfolded(&self, ipa: Ipa, level: RttLevel) {
        let mut blocks = self.blocks.lock();
        let unfolded = match level {
            RttLevel::LEVEL_3 => blocks.unfold(ipa),
            RttLevel::LEVEL_2 => blocks.unfold_giant(ipa),
            _ => false,
        };
        if unfolded {
            self.counters.unfolds.bump();
        }
    }

    /// Counts a page and folds its range when that makes it complete (rule R5).
    fn count_mapped(&self, ipa: Ipa, contiguous: bool) {
        let complete = self.blocks.lock().add(ipa);
        if complete && contiguous {
            self.fold(ipa);
        }
    }

    /// Folds the complete 2 MiB around `ipa`, and the 1 GiB around that when all of it is folded.
    fn fold(&self, ipa: Ipa) {
        if self.fold_table(ipa, RttLevel::LEVEL_3).is_err() {
            return;
        }
        let whole = self.blocks.lock().fold(ipa);
        let possible = self.geometry.start_level.raw() < RttLevel::LEVEL_2.raw();
        if whole && possible && self.fold_table(ipa, RttLevel::LEVEL_2).is_ok() {
            self.blocks.lock().fold_giant(ipa);
        }
    }

    /// Folds the table of `level` around `ipa`; its granule comes back.
    fn fold_table(&self, ipa: Ipa, level: RttLevel) -> Result<(), CallError> {
        let base = ipa.align_down(level.table_size());
        match self.host.machine().rtt_fold(self.rd, base, level) {
            Ok(rtt) => {
                self.counters.folds.bump();
                self.host.free_granule(rtt);
                Ok(())
            }
            Err(error) => {
                self.counters.folds_refused.bump();
                Err(error)
            }
        }
    }
}
