// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Access to a Realm's memory on behalf of the Realm: the buffers that its calls name.
//!
//! The address is translated through stage 2 only. The table that maps it stays locked during the
//! access, so the Host cannot take the page away halfway.

use rmi::{GRANULE_BYTES, GRANULE_SIZE, Ipa, Ripas, RttLevel};
use rmm_granule::{Foreign, GranuleTable, GranuleWindow, Locked, State, StateCode};

use crate::rtt::{Rtte, Start, Tree, Walk};

/// The granule holds code or data of a Realm, which may write it at any time.
#[derive(Debug)]
pub enum DataState {}

impl State for DataState {
    const CODE: StateCode = StateCode::Data;
    type Header = ();
    type Contents = ();
}

impl Foreign for DataState {}

/// Why a Realm's memory cannot be accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RealmMemoryError {
    /// The range is not inside one granule of the protected half: the Realm is wrong.
    NotProtected,
    /// RIPAS EMPTY: the Realm is wrong.
    Empty,
    /// RIPAS RAM without memory, or RIPAS DESTROYED: the Host has to do something first, and learns
    /// of it as of a data abort.
    Missing {
        /// The level of the entry.
        level: RttLevel,
    },
}

/// Copies bytes of a Realm's memory from `ipa` on.
///
/// The Realm must not go away meanwhile: the caller uses one of its RECs or holds its descriptor's lock.
///
/// # Errors
///
/// [`RealmMemoryError`] when the Realm itself could not read there.
pub fn read<W: GranuleWindow>(
    granules: &GranuleTable<'_>,
    window: &W,
    tree: &Tree,
    ipa: Ipa,
    into: &mut [u8],
) -> Result<(), RealmMemoryError> {
    let offset = offset_in_granule(ipa, into.len())?;
    let (_walk, data) = lock_page(granules, window, tree, ipa)?;
    data.read_bytes(window, offset, into);
    Ok(())
}

/// Copies bytes into a Realm's memory from `ipa` on, under the same rules.
///
/// # Errors
///
/// [`RealmMemoryError`] when the Realm itself could not write there; nothing was written.
pub fn write<W: GranuleWindow>(
    granules: &GranuleTable<'_>,
    window: &W,
    tree: &Tree,
    ipa: Ipa,
    from: &[u8],
) -> Result<(), RealmMemoryError> {
    let offset = offset_in_granule(ipa, from.len())?;
    let (_walk, mut data) = lock_page(granules, window, tree, ipa)?;
    data.write_bytes(window, offset, from);
    Ok(())
}

/// Locks the page at `ipa` and the table that maps it. The page is given back first.
fn lock_page<'m, W: GranuleWindow>(
    granules: &GranuleTable<'m>,
    window: &W,
    tree: &Tree,
    ipa: Ipa,
) -> Result<(Walk<'m>, Locked<'m, DataState>), RealmMemoryError> {
    if !tree.is_protected(ipa) {
        return Err(RealmMemoryError::NotProtected);
    }
    let walk = Start::lock(granules, tree, ipa).descend(granules, window, RttLevel::LEVEL_3);
    match walk.entry() {
        Rtte::Assigned {
            pa,
            ripas: Ripas::Ram,
        } => {
            let page = (ipa.raw() - walk.base().raw()) / GRANULE_SIZE;
            let page = pa
                .checked_next(page)
                .expect("a block of memory does not wrap");
            let data = walk.lock_inner(granules, page);
            Ok((walk, data))
        }
        Rtte::Unassigned {
            ripas: Ripas::Empty,
        }
        | Rtte::Assigned {
            ripas: Ripas::Empty,
            ..
        } => Err(RealmMemoryError::Empty),
        Rtte::Unassigned { .. } | Rtte::Assigned { .. } => Err(RealmMemoryError::Missing {
            level: walk.level(),
        }),
        Rtte::UnassignedNs | Rtte::AssignedNs { .. } | Rtte::Table { .. } => {
            unreachable!("the walk of a protected address ends at a protected entry")
        }
    }
}

fn offset_in_granule(ipa: Ipa, bytes: usize) -> Result<usize, RealmMemoryError> {
    let offset = usize::try_from(ipa.raw() % GRANULE_SIZE).expect("less than a granule");
    if bytes <= GRANULE_BYTES - offset {
        Ok(offset)
    } else {
        Err(RealmMemoryError::NotProtected)
    }
}
