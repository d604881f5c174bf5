// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RMI_DATA_CREATE`, `RMI_DATA_CREATE_UNKNOWN` and `RMI_DATA_DESTROY`.

use rmi::status::REALM_INDEX_DEFAULT;
use rmi::{DataFlags, GranuleAddr, Ipa, Ripas, RmiError, RttLevel};
use rmm_granule::{Delegated, Locked, Page};
use rmm_hal::{Hal, NsMemory, Stage2};

use crate::boot::Monitor;
use crate::commands::reply::Failure;
use crate::commands::rmi::{protected_page, tables_of};
use crate::realm::{DataState, RdState, RealmState, RealmTables};
use crate::rtt::{Rtte, Start, Walk};

/// The page level: DATA granules come and go one at a time.
const PAGE: RttLevel = RttLevel::LEVEL_3;

/// `RMI_DATA_CREATE`. Fails with
///
/// - INPUT on `src_align`, `src_bound`, `data_align`, `data_bound`, `data_state`, `rd_align`, `rd_bound`,
///   `rd_state`, `data_bound2`, `ipa_align`, `ipa_bound`;
/// - REALM on `realm_state`;
/// - INPUT on `src_pas`;
/// - RTT on `rtt_walk` and `rtte_state`.
///
/// Flags that should be zero are no encodings: they are measured like all of the word.
#[inline(never)]
pub(crate) fn create<H: Hal>(
    monitor: &Monitor<'_>,
    hal: &H,
    [rd, data, ipa, src, flags]: [u64; 5],
) -> Result<(), RmiError> {
    let src = monitor.host_granule(src)?;
    let flags = DataFlags::from_bits_retain(flags);
    let (mut rd, mut data) = monitor.lock_with_rd::<Delegated>(rd, data)?;
    let mut realm = rd.map_mut(hal.window());
    let tables = realm.tables();
    let ipa = admit_page(&tables, data.addr(), ipa)?;
    if realm.state() != RealmState::New {
        return Err(RmiError::Realm(REALM_INDEX_DEFAULT));
    }

    let mut page = data.map_mut(hal.window());
    let copied = copy_from_host(hal, src, &mut page);
    let start = Start::lock(monitor.granules(), &tables.tree, ipa);
    let mut walk = start.descend(monitor.granules(), hal.window(), PAGE);
    if let Err(error) = copied.and_then(|()| unassigned_page(&walk)) {
        // The granule has to be as zero as it was.
        drop(page);
        let _delegated = data.wipe(hal.window());
        return Err(error);
    }

    realm.rim().extend_data(hal.sha2(), ipa, flags, &page.0);
    drop(page);
    assign(hal, &tables, &mut walk, data, Ripas::Ram);
    Ok(())
}

/// `RMI_DATA_CREATE_UNKNOWN`. Fails with INPUT on `data_align`, `data_bound`, `data_state`, `rd_align`,
/// `rd_bound`, `rd_state`, `data_bound2`, `ipa_align` and `ipa_bound`, then with RTT on `rtt_walk` and
/// `rtte_state`.
///
/// The page is all zeroes, like every granule that is not in use. RIPAS stays what it is.
#[inline(never)]
pub(crate) fn create_unknown<H: Hal>(
    monitor: &Monitor<'_>,
    hal: &H,
    rd: u64,
    data: u64,
    ipa: u64,
) -> Result<(), RmiError> {
    let (rd, data) = monitor.lock_with_rd::<Delegated>(rd, data)?;
    let tables = tables_of(&rd, hal);
    let ipa = admit_page(&tables, data.addr(), ipa)?;
    let mut walk = walk_to_page(monitor, hal, rd, &tables, ipa);
    let ripas = unassigned_page(&walk)?;

    assign(hal, &tables, &mut walk, data, ripas);
    Ok(())
}

/// `RMI_DATA_DESTROY`: the granule that was there, and the next live entry. Fails with INPUT on
/// `rd_align`, `rd_bound`, `rd_state`, `ipa_align` and `ipa_bound`, then with RTT on `rtt_walk` and
/// `rtte_state`, which name the next live entry too: the address itself where a block covers it.
#[inline(never)]
pub(crate) fn destroy<H: Hal>(
    monitor: &Monitor<'_>,
    hal: &H,
    rd: u64,
    ipa: u64,
) -> Result<[u64; 2], Failure<2>> {
    let rd = monitor.lock::<RdState>(rd)?;
    let tables = tables_of(&rd, hal);
    let ipa = protected_page(&tables.tree, ipa)?;
    let mut walk = walk_to_page(monitor, hal, rd, &tables, ipa);
    let (PAGE, Rtte::Assigned { pa, ripas }) = (walk.level(), walk.entry()) else {
        return Err(Failure {
            error: RmiError::Rtt(walk.level()),
            outputs: [0, walk.skip_non_live(hal.window()).raw()],
        });
    };

    let ripas = match ripas {
        Ripas::Ram | Ripas::Destroyed => Ripas::Destroyed,
        Ripas::Empty => Ripas::Empty,
    };
    walk.replace(hal, &tables.stage2, Rtte::Unassigned { ripas });
    // Also when the entry was not valid: it may have been before the Realm gave the page up.
    hal.stage2().invalidate_instructions();
    let data = walk.lock_inner::<DataState>(monitor.granules(), pa);
    let _delegated = data.wipe(hal.window());
    Ok([pa.raw(), walk.skip_non_live(hal.window()).raw()])
}

/// `data_bound2`, `ipa_align` and `ipa_bound`.
fn admit_page(tables: &RealmTables, data: GranuleAddr, ipa: u64) -> Result<Ipa, RmiError> {
    if tables.tree.reaches(data) {
        protected_page(&tables.tree, ipa)
    } else {
        Err(RmiError::Input)
    }
}

/// Walks to the entry of a page and lets go of the descriptor on the way.
fn walk_to_page<'m, H: Hal>(
    monitor: &Monitor<'m>,
    hal: &H,
    rd: Locked<'m, RdState>,
    tables: &RealmTables,
    ipa: Ipa,
) -> Walk<'m> {
    let start = Start::lock(monitor.granules(), &tables.tree, ipa);
    drop(rd);
    start.descend(monitor.granules(), hal.window(), PAGE)
}

/// `rtt_walk` and `rtte_state`: returns the RIPAS of the page that can be assigned.
fn unassigned_page(walk: &Walk<'_>) -> Result<Ripas, RmiError> {
    match (walk.level(), walk.entry()) {
        (PAGE, Rtte::Unassigned { ripas }) => Ok(ripas),
        (level, _) => Err(RmiError::Rtt(level)),
    }
}

/// `src_pas`, also when the granule goes away halfway through the copy.
fn copy_from_host<H: Hal>(hal: &H, src: GranuleAddr, page: &mut Page) -> Result<(), RmiError> {
    hal.ns()
        .read(src, 0, &mut page.0)
        .map_err(|_| RmiError::Input)
}

/// Gives a granule to the Realm at the entry where the walk ended.
fn assign<H: Hal>(
    hal: &H,
    tables: &RealmTables,
    walk: &mut Walk<'_>,
    data: Locked<'_, Delegated>,
    ripas: Ripas,
) {
    let data = data.into_state::<DataState>();
    let pa = data.addr();
    walk.replace(hal, &tables.stage2, Rtte::Assigned { pa, ripas });
}
