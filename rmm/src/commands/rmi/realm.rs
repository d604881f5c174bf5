// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RMI_REALM_CREATE`, `RMI_REALM_ACTIVATE` and `RMI_REALM_DESTROY`.

use core::ops::Range;

use rmi::status::REALM_INDEX_DEFAULT;
use rmi::{GranuleAddr, Ipa, PhysAddr, RealmParams, RealmRequest, Ripas, RmiError};
use rmm_granule::{Delegated, GranuleWindow, Locked};
use rmm_hal::{Hal, NsMemory, Stage2};
use zerocopy::{FromZeros, IntoBytes};

use crate::boot::Monitor;
use crate::commands::rmi::tables_of;
use crate::limits::MAX_STARTING_TABLES;
use crate::realm::{Rd, RdState, RealmState, params};
use crate::rtt::table::{Pattern, RTT_ENTRIES};
use crate::rtt::{RttState, Rtte, Tree};

/// The starting tables of a Realm, not in use yet.
type StartingTables<'m> = heapless::Vec<Locked<'m, Delegated>, MAX_STARTING_TABLES>;

/// `RMI_REALM_CREATE`. All failures are INPUT: `params_align`, `params_bound`, `params_pas`,
/// `params_valid`, `params_supp`, `rtt_num_level`, `rtt_align`, `alias`, `rd_align`, `rd_bound`,
/// `rd_state`, `rtt_state`, `vmid_valid`.
#[inline(never)]
pub(crate) fn create<H: Hal>(
    monitor: &Monitor<'_>,
    hal: &H,
    rd: u64,
    params_ptr: u64,
) -> Result<(), RmiError> {
    let params = monitor.host_granule(params_ptr)?;
    let request = read_request(hal, params)?;
    let admission =
        params::admit(&request, monitor.offer(), monitor.cpu()).map_err(|_| RmiError::Input)?;
    let tree = admission.tree;
    let (rd, tables) = lock_new(monitor, PhysAddr::new(rd), &tree)?;
    monitor
        .vmids()
        .reserve(request.vmid)
        .map_err(|_| RmiError::Input)?;

    for (table, (_, base)) in tables.into_iter().zip(tree.roots()) {
        let mut table = table.into_state::<RttState>();
        fill_root(&mut table, base, &tree, hal.window());
    }
    hal.stage2().publish_table();
    let mut rd = rd.into_state::<RdState>();
    *rd.map_mut(hal.window()) = Rd::new(hal.sha2(), &request, &admission);
    Ok(())
}

/// `RMI_REALM_ACTIVATE`. Fails with INPUT on `rd_align`, `rd_bound` and `rd_state`, then with REALM on
/// `realm_state`.
#[inline(never)]
pub(crate) fn activate<H: Hal>(monitor: &Monitor<'_>, hal: &H, rd: u64) -> Result<(), RmiError> {
    let mut rd = monitor.lock::<RdState>(rd)?;
    let mut rd = rd.map_mut(hal.window());
    if rd.state() != RealmState::New {
        return Err(RmiError::Realm(REALM_INDEX_DEFAULT));
    }
    rd.set_state(RealmState::Active);
    Ok(())
}

/// `RMI_REALM_DESTROY`. Fails with INPUT on `rd_align`, `rd_bound` and `rd_state`, then with REALM on
/// `realm_live`.
#[inline(never)]
pub(crate) fn destroy<H: Hal>(monitor: &Monitor<'_>, hal: &H, rd: u64) -> Result<(), RmiError> {
    let rd = monitor.lock::<RdState>(rd)?;
    let tables = tables_of(&rd, hal);
    let vmid = rd.map(hal.window()).vmid();
    // Nobody can begin a walk while the descriptor is locked and there are no RECs, so a table that is
    // found empty stays so.
    let lock_root = |root| monitor.granules().lock_inner::<_, RttState>(&rd, root);
    let is_live = rd.count() != 0
        || tables
            .tree
            .roots()
            .any(|(root, _)| lock_root(root).count() != 0);
    if is_live {
        return Err(RmiError::Realm(REALM_INDEX_DEFAULT));
    }

    // Memory of the Host that the starting tables still map is not what keeps a Realm alive, but it is
    // in the TLBs under a VMID that is about to be free.
    hal.stage2().invalidate_all(&tables.stage2);
    for (root, _) in tables.tree.roots() {
        let _delegated = lock_root(root).wipe(hal.window());
    }
    let _delegated = rd.wipe(hal.window());
    monitor.vmids().release(vmid);
    Ok(())
}

/// Copies the parameters once and reads them: `params_pas` and `params_valid`.
#[inline(never)]
fn read_request<H: Hal>(hal: &H, from: GranuleAddr) -> Result<RealmRequest, RmiError> {
    let mut params = RealmParams::new_zeroed();
    hal.ns()
        .read(from, 0, params.as_mut_bytes())
        .map_err(|_| RmiError::Input)?;
    RealmRequest::try_from(&params).map_err(|_| RmiError::Input)
}

/// Locks the descriptor and the starting tables of a new Realm in address order: `rd_*`, `rtt_state`
/// and `alias`.
fn lock_new<'m>(
    monitor: &Monitor<'m>,
    rd: PhysAddr,
    tree: &Tree,
) -> Result<(Locked<'m, Delegated>, StartingTables<'m>), RmiError> {
    let Range { start, end } = tree.span();
    if (start..end).contains(&rd) {
        return Err(RmiError::Input);
    }
    if rd < start {
        let rd = monitor.lock(rd.raw())?;
        Ok((rd, lock_tables(monitor, tree)?))
    } else {
        let tables = lock_tables(monitor, tree)?;
        Ok((monitor.lock(rd.raw())?, tables))
    }
}

fn lock_tables<'m>(monitor: &Monitor<'m>, tree: &Tree) -> Result<StartingTables<'m>, RmiError> {
    tree.roots()
        .map(|(root, _)| monitor.lock(root.raw()))
        .collect()
}

/// Writes the entries of a starting table whose first address is `base`: the protected half is EMPTY,
/// the other half unassigned.
fn fill_root<W: GranuleWindow>(
    table: &mut Locked<'_, RttState>,
    base: Ipa,
    tree: &Tree,
    window: &W,
) {
    let empty = Rtte::Unassigned {
        ripas: Ripas::Empty,
    };
    let word = |entry: Rtte| entry.encode(tree.start(), tree.format());
    let (protected, unprotected) = (word(empty), word(Rtte::UnassignedNs));
    let protected_bytes = tree.protected_end().raw().saturating_sub(base.raw());
    let split = protected_bytes / tree.start().block_size();
    let split = usize::try_from(split).unwrap_or(usize::MAX);
    let mut entries = table.map_mut(window);
    let (lower, upper) = entries.split_at_mut(split.min(RTT_ENTRIES));
    for (part, first) in [(lower, protected), (upper, unprotected)] {
        let pattern = Pattern { first, step: 0 };
        // What an unused granule holds already needs no writing.
        if !pattern.is_zero() {
            pattern.fill(part);
        }
    }
}
