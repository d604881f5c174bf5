// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The commands of the Host.
//!
//! One function per command, with the failure conditions of the specification in its order. Where two
//! conditions hold and the specification orders them not, the order is: what the registers alone say;
//! copies of parameters from Non-secure memory; locks and granule states; what the Realm's size says;
//! the state of the Realm or the REC; the copy of a page of data; the walk; the entry at its end. The
//! first change comes after the last check.
//!
//! Those that need a PE are out of line, so that each has a frame of its own size.

pub(crate) mod data;
pub(crate) mod features;
pub(crate) mod granule;
pub(crate) mod psci_complete;
pub(crate) mod realm;
pub(crate) mod rec;
pub(crate) mod rec_enter;
pub(crate) mod rtt;
pub(crate) mod version;

use rmi::{GRANULE_SIZE, GranuleAddr, Ipa, PhysAddr, RmiError};
use rmm_granule::{Locked, State, Unavailable};
use rmm_hal::Hal;

use crate::boot::Monitor;
use crate::realm::{RdState, RealmTables};
use crate::rtt::Tree;

/// A granule that the command names is not what it must be: `*_align`, `*_bound`, `*_state`.
pub(crate) fn unavailable(_: Unavailable) -> RmiError {
    RmiError::Input
}

impl<'m> Monitor<'m> {
    /// Locks the one granule that a command names.
    pub(crate) fn lock<S: State>(&self, at: u64) -> Result<Locked<'m, S>, RmiError> {
        self.granules().lock(PhysAddr::new(at)).map_err(unavailable)
    }

    /// Locks the Realm descriptor and the other granule that a command names.
    pub(crate) fn lock_with_rd<S: State>(
        &self,
        rd: u64,
        other: u64,
    ) -> Result<(Locked<'m, RdState>, Locked<'m, S>), RmiError> {
        self.granules()
            .lock_set2(PhysAddr::new(rd), PhysAddr::new(other))
            .map_err(unavailable)
    }

    /// Admits the address of a Host granule to copy from or to: `*_align` and `*_bound`.
    pub(crate) fn host_granule(&self, at: u64) -> Result<GranuleAddr, RmiError> {
        let granule = GranuleAddr::new(at).ok_or(RmiError::Input)?;
        if self.granules().is_delegable(granule.phys()) {
            Ok(granule)
        } else {
            Err(RmiError::Input)
        }
    }
}

/// Returns the tables of the Realm.
pub(crate) fn tables_of<H: Hal>(rd: &Locked<'_, RdState>, hal: &H) -> RealmTables {
    rd.map(hal.window()).tables()
}

/// Admits the address of a protected page: `ipa_align` and `ipa_bound` of the DATA commands.
pub(crate) fn protected_page(tree: &Tree, ipa: u64) -> Result<Ipa, RmiError> {
    let ipa = Ipa::new(ipa);
    if ipa.is_aligned(GRANULE_SIZE) && tree.is_protected(ipa) {
        Ok(ipa)
    } else {
        Err(RmiError::Input)
    }
}
