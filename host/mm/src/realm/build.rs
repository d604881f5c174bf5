// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Making a Realm and its RECs from granules.

use alloc::vec::Vec;

use spin::Mutex;

use super::blocks::Blocks;
use super::{Geometry, Realm, RealmCounters, RealmError};
use crate::addr::{PAGE_BYTES, Pfn};
use crate::client::RmiCalls;
use crate::host::Host;
use crate::machine::Machine;
use crate::memcache::MemCache;
use crate::pages::{PageUse, Wish};

/// Pages set aside for tables that teardown may need.
const SPARE_TABLES: usize = 4;

/// The granules of one REC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rec {
    /// The REC itself.
    pub rec: Pfn,
    /// Its auxiliary granules.
    pub aux: Vec<Pfn>,
}

impl<'h, M: Machine> Realm<'h, M> {
    /// Creates a Realm. `parameters` returns the page for the RMM, given the first starting table.
    ///
    /// # Errors
    ///
    /// Why not; every granule has come back.
    pub fn create(
        host: &'h Host<M>,
        geometry: Geometry,
        parameters: impl FnOnce(Pfn) -> [u8; PAGE_BYTES],
    ) -> Result<Self, RealmError> {
        let mut spare = MemCache::new(host.pages(), Wish::Delegable);
        if !spare.fill(SPARE_TABLES) {
            return Err(RealmError::OutOfMemory);
        }
        let root = host.allocate_granules(geometry.root_order, PageUse::Rtt)?;
        let free_root = || {
            (0..1 << geometry.root_order).for_each(|i| host.free_granule(root.offset(i)));
        };
        let rd = match host.allocate_granule(PageUse::Rd) {
            Ok(rd) => rd,
            Err(error) => {
                free_root();
                return Err(error.into());
            }
        };
        let created = match host.page_with(&parameters(root)) {
            Some(page) => host
                .machine()
                .realm_create(rd, page.pfn())
                .map_err(RealmError::Refused),
            None => Err(RealmError::OutOfMemory),
        };
        if let Err(error) = created {
            host.free_granule(rd);
            free_root();
            return Err(error);
        }
        Ok(Self {
            host,
            rd,
            root,
            geometry,
            blocks: Mutex::new(Blocks::default()),
            spare: Mutex::new(spare),
            counters: RealmCounters::default(),
        })
    }

    /// Creates a REC. `parameters` returns the page for the RMM, given the auxiliary granules.
    ///
    /// # Errors
    ///
    /// Why not; every granule has come back.
    pub fn create_rec(
        &self,
        parameters: impl FnOnce(&[Pfn]) -> [u8; PAGE_BYTES],
    ) -> Result<Rec, RealmError> {
        let host = self.host;
        let count = host.machine().rec_aux_count(self.rd);
        let count = count.map_err(RealmError::Refused)?;
        let rec = host.allocate_granule(PageUse::Rec)?;
        let mut rec = Rec {
            rec,
            aux: Vec::new(),
        };
        for _ in 0..count {
            match host.allocate_granule(PageUse::RecAux) {
                Ok(aux) => rec.aux.push(aux),
                Err(error) => {
                    self.free_rec(&rec);
                    return Err(error.into());
                }
            }
        }
        let created = match host.page_with(&parameters(&rec.aux)) {
            Some(page) => host
                .machine()
                .rec_create(self.rd, rec.rec, page.pfn())
                .map_err(RealmError::Refused),
            None => Err(RealmError::OutOfMemory),
        };
        if let Err(error) = created {
            self.free_rec(&rec);
            return Err(error);
        }
        Ok(rec)
    }

    /// Destroys a REC that is not running; its granules come back.
    ///
    /// # Errors
    ///
    /// [`RealmError::Refused`] when the RMM will not.
    pub fn destroy_rec(&self, rec: &Rec) -> Result<(), RealmError> {
        let machine = self.host.machine();
        machine.rec_destroy(rec.rec).map_err(RealmError::Refused)?;
        self.free_rec(rec);
        Ok(())
    }

    /// Activates the Realm: its measurement is final and its RECs may run.
    ///
    /// # Errors
    ///
    /// [`RealmError::Refused`] when the RMM will not.
    pub fn activate(&self) -> Result<(), RealmError> {
        let machine = self.host.machine();
        machine.realm_activate(self.rd).map_err(RealmError::Refused)
    }

    fn free_rec(&self, rec: &Rec) {
        self.host.free_granule(rec.rec);
        rec.aux.iter().for_each(|aux| self.host.free_granule(*aux));
    }
}
