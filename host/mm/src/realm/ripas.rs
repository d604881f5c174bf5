// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Rule R9: a Realm asks that a range become memory, or stop being memory.

use rmi::{Ipa, RttLevel};

use super::{Realm, RealmError};
use crate::addr::Pfn;
use crate::client::{RmiCalls, walk_stopped};
use crate::machine::Machine;
use crate::memcache::MemCache;

/// What a Realm wants a range to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Not memory: the range is about to be used through its unprotected alias.
    Empty,
    /// Memory of the Realm.
    Ram,
}

impl<M: Machine> Realm<'_, M> {
    /// Applies the change that the Realm asked for on `rec`, piece by piece; returns how far it
    /// came, which the RMM also tells the Realm. `base`, `top` and `wanted` are those of the exit.
    ///
    /// Turning memory empty gives the data's pages back to the host, so that the unprotected
    /// alias can be mapped; turning a range into memory first unmaps that alias.
    ///
    /// # Errors
    ///
    /// [`RealmError::OutOfMemory`] without a page for a table; [`RealmError::Refused`]. What was
    /// applied before stays applied.
    pub fn change_ripas(
        &self,
        rec: Pfn,
        base: Ipa,
        top: Ipa,
        wanted: Wanted,
        cache: &mut MemCache<'_>,
    ) -> Result<Ipa, RealmError> {
        if wanted == Wanted::Ram {
            let alias = |ipa| self.geometry.shared_alias(ipa);
            self.unmap_unprotected(alias(base), alias(top), cache)?;
        }
        let mut at = base;
        while at < top {
            let next = self.ripas_step(rec, at, top, cache)?;
            if next <= at {
                break;
            }
            if wanted == Wanted::Empty {
                self.destroy_data(at, next, cache)?;
            }
            at = next;
        }
        Ok(at)
    }

    /// One `RMI_RTT_SET_RIPAS`, with tables made until it can proceed; returns `at` when it cannot.
    fn ripas_step(
        &self,
        rec: Pfn,
        at: Ipa,
        top: Ipa,
        cache: &mut MemCache<'_>,
    ) -> Result<Ipa, RealmError> {
        loop {
            self.counters.ripas_steps.bump();
            let error = match self.host.machine().rtt_set_ripas(self.rd, rec, at, top) {
                Ok(next) => return Ok(next),
                Err(error) => error,
            };
            match walk_stopped(error) {
                // At a page nothing finer exists: the Realm forbids the change.
                Some(RttLevel::LEVEL_3) => return Ok(at),
                Some(level) => self.deepen(at, level, cache)?,
                None => return Err(RealmError::Refused(error)),
            }
        }
    }

    /// Declares `base..top` to be memory before the Realm is activated; part of its measurement.
    ///
    /// # Errors
    ///
    /// As [`Realm::change_ripas`].
    pub fn init_ripas(
        &self,
        base: Ipa,
        top: Ipa,
        cache: &mut MemCache<'_>,
    ) -> Result<(), RealmError> {
        let mut at = base;
        while at < top {
            let error = match self.host.machine().rtt_init_ripas(self.rd, at, top) {
                Ok(next) if next > at => {
                    at = next;
                    continue;
                }
                Ok(_) => return Err(RealmError::Busy),
                Err(error) => error,
            };
            match walk_stopped(error) {
                Some(level) if level != RttLevel::LEVEL_3 => self.deepen(at, level, cache)?,
                Some(_) | None => return Err(RealmError::Refused(error)),
            }
        }
        Ok(())
    }

    /// Makes the table below `level`, where a call at `ipa` could not proceed.
    fn deepen(
        &self,
        ipa: Ipa,
        level: RttLevel,
        cache: &mut MemCache<'_>,
    ) -> Result<(), RealmError> {
        let Some(child) = level.child() else {
            return Ok(());
        };
        if !cache.fill(1) {
            return Err(RealmError::OutOfMemory);
        }
        self.create_tables(ipa, level, child, cache)
    }
}
