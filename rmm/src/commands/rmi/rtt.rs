// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The `RMI_RTT_*` commands.

use rmi::status::REALM_INDEX_DEFAULT;
use rmi::{GRANULE_SIZE, Ipa, Ripas, RmiError, RttEntry, RttEntryState, RttLevel, UnprotectedDesc};
use rmm_granule::{Delegated, Locked};
use rmm_hal::{Hal, Stage2};

use crate::boot::Monitor;
use crate::commands::reply::Failure;
use crate::commands::rmi::tables_of;
use crate::realm::{RdState, RealmState, RealmTables};
use crate::rec::RecState;
use crate::rtt::ripas::{Destroyed, Span, init_top, set_top};
use crate::rtt::{RttState, Rtte, Start, Tree, Walk, plan};

/// `RMI_RTT_CREATE`. Fails with
///
/// - INPUT on `rtt_align`, `rtt_bound`, `rtt_state`, `rd_align`, `rd_bound`, `rd_state`, `level_bound`,
///   `ipa_align`, `ipa_bound`, `rtt_bound2`;
/// - RTT on `rtt_walk` and `rtte_state`.
#[inline(never)]
pub(crate) fn create<H: Hal>(
    monitor: &Monitor<'_>,
    hal: &H,
    rd: u64,
    rtt: u64,
    ipa: u64,
    level: u64,
) -> Result<(), RmiError> {
    let (rd, rtt) = monitor.lock_with_rd::<Delegated>(rd, rtt)?;
    let tables = tables_of(&rd, hal);
    let target = admit_table(&tables.tree, ipa, level)?;
    if !tables.tree.reaches(rtt.addr()) {
        return Err(RmiError::Input);
    }
    let mut walk = walk_from(monitor, hal, rd, &tables, target.ipa, target.parent);
    if walk.level() != target.parent {
        return Err(RmiError::Rtt(walk.level()));
    }
    let unfolded = plan::unfold(walk.entry(), target.level, tables.tree.format())
        .ok_or(RmiError::Rtt(walk.level()))?;

    let mut rtt = rtt.into_state::<RttState>();
    if !unfolded.pattern.is_zero() {
        unfolded.pattern.fill(&mut *rtt.map_mut(hal.window()));
    }
    rtt.raise(unfolded.references);
    hal.stage2().publish_table();
    let table = rtt.addr();
    walk.replace(hal, &tables.stage2, Rtte::Table { table });
    Ok(())
}

/// `RMI_RTT_DESTROY`: the table that was there, and the next live entry. Fails with INPUT on `rd_align`,
/// `rd_bound`, `rd_state`, `level_bound`, `ipa_align` and `ipa_bound`, then with RTT on `rtt_walk`,
/// `rtte_state` and `rtt_live`, which name the next live entry too.
#[inline(never)]
pub(crate) fn destroy<H: Hal>(
    monitor: &Monitor<'_>,
    hal: &H,
    rd: u64,
    ipa: u64,
    level: u64,
) -> Result<[u64; 2], Failure<2>> {
    let rd = monitor.lock::<RdState>(rd)?;
    let tables = tables_of(&rd, hal);
    let target = admit_table(&tables.tree, ipa, level)?;
    let mut walk = walk_from(monitor, hal, rd, &tables, target.ipa, target.parent);
    let Some(table) = child_of(&walk, target) else {
        return Err(Failure {
            error: RmiError::Rtt(walk.level()),
            outputs: [0, walk.skip_non_live(hal.window()).raw()],
        });
    };
    let child = walk.lock_inner::<RttState>(monitor.granules(), table);
    if child.count() != 0 {
        return Err(Failure {
            error: RmiError::Rtt(target.level),
            outputs: [0, target.ipa.raw()],
        });
    }

    // A table without references maps nothing of the Realm's. In the unprotected half it may map
    // memory of the Host; there the specification's "UNASSIGNED, DESTROYED" has no meaning.
    let (entry, leaf) = if walk.is_protected() {
        let ripas = Ripas::Destroyed;
        (Rtte::Unassigned { ripas }, walk.size())
    } else {
        (Rtte::UnassignedNs, target.level.block_size())
    };
    walk.replace_table(hal, &tables.stage2, entry, leaf);
    let _delegated = child.wipe(hal.window());
    Ok([table.raw(), walk.skip_non_live(hal.window()).raw()])
}

/// `RMI_RTT_FOLD`: the table that was there. Fails with INPUT on `rd_align`, `rd_bound`, `rd_state`,
/// `level_bound`, `ipa_align` and `ipa_bound`, then with RTT on `rtt_walk`, `rtte_state` and `rtt_homo`.
///
/// A table whose entries have addresses but whose parent cannot map is not homogeneous by definition,
/// so that is `rtt_homo` at the table's own level.
#[inline(never)]
pub(crate) fn fold<H: Hal>(
    monitor: &Monitor<'_>,
    hal: &H,
    rd: u64,
    ipa: u64,
    level: u64,
) -> Result<[u64; 1], RmiError> {
    let rd = monitor.lock::<RdState>(rd)?;
    let tables = tables_of(&rd, hal);
    let target = admit_table(&tables.tree, ipa, level)?;
    let mut walk = walk_from(monitor, hal, rd, &tables, target.ipa, target.parent);
    let table = child_of(&walk, target).ok_or(RmiError::Rtt(walk.level()))?;
    let mut child = walk.lock_inner::<RttState>(monitor.granules(), table);
    let entry = plan::fold(&child.map(hal.window()), target.level, tables.tree.format())
        .ok_or(RmiError::Rtt(target.level))?;

    let leaf = if entry.is_valid() {
        target.level.block_size()
    } else {
        walk.size()
    };
    walk.replace_table(hal, &tables.stage2, entry, leaf);
    child.lower(child.count());
    let _delegated = child.wipe(hal.window());
    Ok([table.raw()])
}

/// `RMI_RTT_MAP_UNPROTECTED`. Fails with INPUT on `rd_align`, `rd_bound`, `rd_state`, `attr_valid`,
/// `addr_bound`, `level_bound`, `addr_align`, `ipa_align` and `ipa_bound`, then with RTT on `rtt_walk` and
/// `rtte_state`.
#[inline(never)]
pub(crate) fn map_unprotected<H: Hal>(
    monitor: &Monitor<'_>,
    hal: &H,
    rd: u64,
    ipa: u64,
    level: u64,
    desc: u64,
) -> Result<(), RmiError> {
    let rd = monitor.lock::<RdState>(rd)?;
    let tables = tables_of(&rd, hal);
    let desc = UnprotectedDesc::decode(desc, tables.tree.format()).map_err(|_| RmiError::Input)?;
    let (ipa, level) = admit_unprotected(&tables.tree, ipa, level)?;
    if !desc.is_aligned(level) {
        return Err(RmiError::Input);
    }
    let mut walk = walk_from(monitor, hal, rd, &tables, ipa, level);
    if walk.level() != level || walk.entry() != Rtte::UnassignedNs {
        return Err(RmiError::Rtt(walk.level()));
    }

    walk.replace(hal, &tables.stage2, Rtte::AssignedNs { desc });
    Ok(())
}

/// `RMI_RTT_UNMAP_UNPROTECTED`: the next live entry. Fails with INPUT on `rd_align`, `rd_bound`,
/// `rd_state`, `level_bound`, `ipa_align` and `ipa_bound`, then with RTT on `rtt_walk` and `rtte_state`,
/// which name the next live entry too.
#[inline(never)]
pub(crate) fn unmap_unprotected<H: Hal>(
    monitor: &Monitor<'_>,
    hal: &H,
    rd: u64,
    ipa: u64,
    level: u64,
) -> Result<[u64; 1], Failure<1>> {
    let rd = monitor.lock::<RdState>(rd)?;
    let tables = tables_of(&rd, hal);
    let (ipa, level) = admit_unprotected(&tables.tree, ipa, level)?;
    let mut walk = walk_from(monitor, hal, rd, &tables, ipa, level);
    let is_mapped = matches!(walk.entry(), Rtte::AssignedNs { .. });
    if walk.level() != level || !is_mapped {
        return Err(Failure {
            error: RmiError::Rtt(walk.level()),
            outputs: [walk.skip_non_live(hal.window()).raw()],
        });
    }

    walk.replace(hal, &tables.stage2, Rtte::UnassignedNs);
    Ok([walk.skip_non_live(hal.window()).raw()])
}

/// `RMI_RTT_READ_ENTRY`. Fails with INPUT on `rd_align`, `rd_bound`, `rd_state`, `level_bound`, `ipa_align`
/// and `ipa_bound`. A walk that ends early is no failure.
///
/// Level -1 is sign-extended, as in the commands' inputs. Addresses stand where a descriptor has them
/// for every kind of entry, so that the Host reads one format.
#[inline(never)]
pub(crate) fn read_entry<H: Hal>(
    monitor: &Monitor<'_>,
    hal: &H,
    rd: u64,
    ipa: u64,
    level: u64,
) -> Result<[u64; 4], RmiError> {
    let rd = monitor.lock::<RdState>(rd)?;
    let tables = tables_of(&rd, hal);
    let (ipa, level) = admit_entry(&tables.tree, ipa, level)?;
    let walk = walk_from(monitor, hal, rd, &tables, ipa, level);

    let format = tables.tree.format();
    let (state, desc) = match walk.entry() {
        Rtte::Unassigned { .. } | Rtte::UnassignedNs => (RttEntryState::Unassigned, 0),
        Rtte::Assigned { pa, .. } => (RttEntryState::Assigned, format.desc_of(pa.phys())),
        Rtte::AssignedNs { desc } => (RttEntryState::Assigned, desc.encode(format)),
        Rtte::Table { table } => (RttEntryState::Table, format.desc_of(table.phys())),
    };
    let entry = RttEntry {
        walk_level: walk.level(),
        state,
        desc,
        ripas: walk.entry().ripas().unwrap_or(Ripas::Empty),
    };
    Ok(entry.to_outputs())
}

/// `RMI_RTT_INIT_RIPAS`: the address up to which the Realm now has memory. Fails with
///
/// - INPUT on `size_valid`, `top_gran_align`, `rd_align`, `rd_bound`, `rd_state`, `top_bound`;
/// - REALM on `realm_state`;
/// - RTT on `base_align`, `rtte_state` and `no_progress`.
#[inline(never)]
pub(crate) fn init_ripas<H: Hal>(
    monitor: &Monitor<'_>,
    hal: &H,
    rd: u64,
    base: u64,
    top: u64,
) -> Result<[u64; 1], RmiError> {
    let (base, top) = admit_range(base, top)?;
    let mut rd = monitor.lock::<RdState>(rd)?;
    let mut realm = rd.map_mut(hal.window());
    let tables = realm.tables();
    if top > tables.tree.protected_end() {
        return Err(RmiError::Input);
    }
    if realm.state() != RealmState::New {
        return Err(RmiError::Realm(REALM_INDEX_DEFAULT));
    }
    // The descriptor stays locked: the order of measurements is the order of the commands.
    let start = Start::lock(monitor.granules(), &tables.tree, base);
    let mut walk = start.descend(monitor.granules(), hal.window(), RttLevel::LEVEL_3);
    let span = span_of(&walk, base, top);
    let walk_top = walk
        .read_entries(hal.window(), |entries| init_top(span, entries))
        .map_err(|_| RmiError::Rtt(walk.level()))?;

    let entries = walk.entries_until(walk_top);
    realm
        .rim()
        .extend_ripas(hal.sha2(), base, span.size, entries);
    walk.change_entries(hal, &tables.stage2, entries, |entry| {
        entry.with_ripas(Ripas::Ram)
    });
    Ok([walk_top.raw()])
}

/// `RMI_RTT_SET_RIPAS`: the address up to which the Realm's request is served. Fails with
///
/// - INPUT on `size_valid`, `top_gran_align`, `rd_align`, `rd_bound`, `rd_state`, `rec_align`, `rec_bound`,
///   `rec_gran_state`;
/// - REC on `rec_state` and `rec_owner`;
/// - INPUT on `base_bound` and `top_bound`;
/// - RTT on `base_align` and `no_progress`.
#[inline(never)]
pub(crate) fn set_ripas<H: Hal>(
    monitor: &Monitor<'_>,
    hal: &H,
    rd: u64,
    rec: u64,
    base: u64,
    top: u64,
) -> Result<[u64; 1], RmiError> {
    let (base, top) = admit_range(base, top)?;
    let (rd, mut rec) = monitor.lock_with_rd::<RecState>(rd, rec)?;
    let tables = tables_of(&rd, hal);
    let owner = rec.map_header(hal.window()).owner();
    let mut rec = rec.map_idle(hal.window()).map_err(|_| RmiError::Rec)?;
    if owner != rd.addr() {
        return Err(RmiError::Rec);
    }
    let request = rec.ripas_request();
    if base.raw() != request.base || top.raw() > request.top {
        return Err(RmiError::Input);
    }
    let destroyed = if request.may_change_destroyed {
        Destroyed::Change
    } else {
        Destroyed::Keep
    };
    let mut walk = walk_from(monitor, hal, rd, &tables, base, RttLevel::LEVEL_3);
    let span = span_of(&walk, base, top);
    let reach = walk
        .read_entries(hal.window(), |entries| {
            set_top(span, entries, request.value, destroyed)
        })
        .map_err(|_| RmiError::Rtt(walk.level()))?;

    let entries = walk.entries_until(reach.changed);
    walk.change_entries(hal, &tables.stage2, entries, |entry| {
        entry.with_ripas(request.value)
    });
    rec.advance_ripas_request(reach.served.raw());
    Ok([reach.served.raw()])
}

/// A table that a command builds or removes, by where it hangs.
#[derive(Clone, Copy)]
struct TableAt {
    ipa: Ipa,
    level: RttLevel,
    parent: RttLevel,
}

/// `level_bound`, `ipa_align` and `ipa_bound` where `level` is that of a table.
fn admit_table(tree: &Tree, ipa: u64, level: u64) -> Result<TableAt, RmiError> {
    let ipa = Ipa::new(ipa);
    let level = RttLevel::from_register(level).ok_or(RmiError::Input)?;
    let parent = level.parent().ok_or(RmiError::Input)?;
    if tree.has_level(parent) && parent.is_aligned(ipa) && tree.contains(ipa) {
        Ok(TableAt { ipa, level, parent })
    } else {
        Err(RmiError::Input)
    }
}

/// `level_bound`, `ipa_align` and `ipa_bound` where `level` is that of an entry.
fn admit_entry(tree: &Tree, ipa: u64, level: u64) -> Result<(Ipa, RttLevel), RmiError> {
    let ipa = Ipa::new(ipa);
    let level = RttLevel::from_register(level).ok_or(RmiError::Input)?;
    if tree.has_level(level) && level.is_aligned(ipa) && tree.contains(ipa) {
        Ok((ipa, level))
    } else {
        Err(RmiError::Input)
    }
}

/// The same where the entry maps memory of the Host.
fn admit_unprotected(tree: &Tree, ipa: u64, level: u64) -> Result<(Ipa, RttLevel), RmiError> {
    let (ipa, level) = admit_entry(tree, ipa, level)?;
    if level.can_map() && !tree.is_protected(ipa) {
        Ok((ipa, level))
    } else {
        Err(RmiError::Input)
    }
}

/// `size_valid` and `top_gran_align` of the RIPAS commands. The range is not empty.
fn admit_range(base: u64, top: u64) -> Result<(Ipa, Ipa), RmiError> {
    let (base, top) = (Ipa::new(base), Ipa::new(top));
    if top > base && top.is_aligned(GRANULE_SIZE) {
        Ok((base, top))
    } else {
        Err(RmiError::Input)
    }
}

/// Walks to an entry and lets go of the descriptor on the way.
fn walk_from<'m, H: Hal>(
    monitor: &Monitor<'m>,
    hal: &H,
    rd: Locked<'m, RdState>,
    tables: &RealmTables,
    ipa: Ipa,
    to: RttLevel,
) -> Walk<'m> {
    let start = Start::lock(monitor.granules(), &tables.tree, ipa);
    drop(rd);
    start.descend(monitor.granules(), hal.window(), to)
}

/// Returns the table that the walk found, unless it ended early or at another kind of entry:
/// `rtt_walk` and `rtte_state`.
fn child_of(walk: &Walk<'_>, target: TableAt) -> Option<rmi::GranuleAddr> {
    match walk.entry() {
        Rtte::Table { table } if walk.level() == target.parent => Some(table),
        Rtte::Table { .. }
        | Rtte::Unassigned { .. }
        | Rtte::Assigned { .. }
        | Rtte::UnassignedNs
        | Rtte::AssignedNs { .. } => None,
    }
}

fn span_of(walk: &Walk<'_>, base: Ipa, top: Ipa) -> Span {
    Span {
        base,
        top,
        first: walk.base(),
        size: walk.size(),
    }
}

#[cfg(test)]
mod tests;
