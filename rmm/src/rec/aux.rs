// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Auxiliary granules: room for the registers of a REC that its own granule has no room for.
//!
//! Only the vector registers of a Realm with SVE need it. The machine fills the granules; here they are
//! put into use and taken out of it.

use rmm_granule::{Delegated, GranuleTable, GranuleWindow, Locked};
use rmm_hal::SVE_GRANULES;

use crate::realm::Rd;
use crate::rec::object::{Rec, RecAuxState};

/// The addresses of the auxiliary granules of one REC.
pub(crate) type AuxAddresses = heapless::Vec<rmi::GranuleAddr, SVE_GRANULES>;

/// Returns how many auxiliary granules each REC of a Realm has.
pub(crate) fn count(rd: &Rd) -> usize {
    if rd.sve_vl().is_some() {
        SVE_GRANULES
    } else {
        0
    }
}

/// Puts granules into use.
pub(crate) fn create<'m>(granules: impl IntoIterator<Item = Locked<'m, Delegated>>) {
    for granule in granules {
        let _aux = granule.into_state::<RecAuxState>();
    }
}

/// Takes the granules of a REC, which does not run, out of use.
pub(crate) fn destroy<W: GranuleWindow>(
    granules: &GranuleTable<'_>,
    window: &W,
    addresses: &AuxAddresses,
) {
    for address in addresses {
        let aux: Locked<'_, RecAuxState> = granules
            .lock(address.phys())
            .expect("the auxiliary granules of a REC stay its own");
        let _delegated = aux.wipe(window);
    }
}

/// Returns the addresses of the auxiliary granules of a REC.
pub(crate) fn addresses(rec: &Rec) -> AuxAddresses {
    rec.aux().collect()
}
