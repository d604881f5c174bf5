// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Contradictions in what the monitor holds, between two calls.
//!
//! Granule states, physical address spaces, contents of descriptors and tables, and reference counts say
//! the same things in several ways. This looks whether they agree. It reads with the monitor's own
//! decoders; the model does not.

use std::collections::BTreeMap;

use rmi::{GRANULE_SIZE, GranuleAddr, RttLevel};
use rmm::realm::{Rd, RealmTables};
use rmm::rtt::Rtte;
use rmm_fake::{Pas, walk};
use rmm_granule::StateCode;
use zerocopy::{FromBytes, IntoBytes};

use crate::machine::Site;

/// What the audit found of a granule that something names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Named {
    state: StateCode,
    by: u64,
}

/// Looks at the granules of `touched`, which must be all that were ever delegated.
///
/// # Errors
///
/// A sentence about the first contradiction.
pub fn audit(site: &Site<'_>, touched: impl Iterator<Item = u64> + Clone) -> Result<(), String> {
    let mut named = BTreeMap::new();
    for granule in touched.clone() {
        if state(site, granule).0 == StateCode::Rd {
            audit_realm(site, granule, &mut named)?;
        }
    }
    for granule in touched {
        audit_granule(site, granule, &named)?;
    }
    Ok(())
}

fn state(site: &Site<'_>, granule: u64) -> (StateCode, u16) {
    let at = address(granule);
    site.table
        .peek(at.phys())
        .expect("a granule of the machine")
}

fn address(granule: u64) -> GranuleAddr {
    GranuleAddr::new(granule).expect("the address of a granule")
}

fn audit_granule(
    site: &Site<'_>,
    granule: u64,
    named: &BTreeMap<u64, Named>,
) -> Result<(), String> {
    let (state, count) = state(site, granule);
    let pas = site.machine.pas(address(granule).phys());
    let is_named = named.contains_key(&granule);
    if state != StateCode::Data && site.machine.is_fetched(address(granule)) {
        return Err(format!("{state:?} {granule:#x} is in an instruction cache"));
    }
    match state {
        StateCode::Undelegated => {
            if pas == Some(Pas::Realm) || count != 0 {
                return Err(format!(
                    "undelegated {granule:#x} is {pas:?}, count {count}"
                ));
            }
        }
        StateCode::Delegated => {
            if pas != Some(Pas::Realm) || count != 0 {
                return Err(format!("unused {granule:#x} is {pas:?}, count {count}"));
            }
            if !site.machine.is_zero(address(granule)) {
                return Err(format!("unused {granule:#x} is not empty"));
            }
        }
        StateCode::Rd | StateCode::Rec | StateCode::RecAux | StateCode::Excluded => {}
        StateCode::Data | StateCode::Rtt => {
            if !is_named {
                return Err(format!("{state:?} {granule:#x} is in no table"));
            }
        }
    }
    let is_used = !matches!(
        state,
        StateCode::Undelegated | StateCode::Delegated | StateCode::Excluded
    );
    if is_used && pas != Some(Pas::Realm) {
        return Err(format!("{state:?} {granule:#x} is {pas:?}"));
    }
    Ok(())
}

/// Reads a Realm's descriptor.
fn tables_of(site: &Site<'_>, rd: u64) -> RealmTables {
    let words = site.machine.inspect_all(address(rd));
    let (descriptor, _) =
        Rd::read_from_prefix(words.as_bytes()).expect("a granule holds a descriptor");
    descriptor.tables()
}

fn audit_realm(site: &Site<'_>, rd: u64, named: &mut BTreeMap<u64, Named>) -> Result<(), String> {
    let tables = tables_of(site, rd);
    for (root, base) in tables.tree.roots() {
        let start = tables.tree.start();
        audit_table(site, rd, &tables, root.raw(), base.raw(), start, named)?;
    }
    audit_tlb(site, rd, &tables)
}

/// Every cached translation of the Realm is still what a walk finds.
fn audit_tlb(site: &Site<'_>, rd: u64, tables: &RealmTables) -> Result<(), String> {
    for (ipa, page) in site.machine.cached(&tables.stage2) {
        match walk(site.machine, &tables.stage2, ipa) {
            rmm_fake::Translation::Valid { page: now, .. } if now == page => {}
            now => {
                return Err(format!(
                    "the TLB has {ipa} of {rd:#x} at {page:#x}, not {now:x?}"
                ));
            }
        }
    }
    Ok(())
}

fn name(
    site: &Site<'_>,
    granule: u64,
    wanted: StateCode,
    by: u64,
    named: &mut BTreeMap<u64, Named>,
) -> Result<(), String> {
    let (state, _) = state(site, granule);
    if state != wanted {
        return Err(format!(
            "{by:#x} names {granule:#x} as {wanted:?}, but it is {state:?}"
        ));
    }
    match named.insert(granule, Named { state, by }) {
        None => Ok(()),
        Some(other) => Err(format!(
            "{granule:#x} is named by {by:#x} and by {other:x?}"
        )),
    }
}

fn audit_table(
    site: &Site<'_>,
    by: u64,
    tables: &RealmTables,
    table: u64,
    base: u64,
    level: RttLevel,
    named: &mut BTreeMap<u64, Named>,
) -> Result<(), String> {
    name(site, table, StateCode::Rtt, by, named)?;
    let mut references = 0;
    let words = site.machine.inspect_all(address(table));
    // The last entry that was looked at, if nothing hangs on it.
    let mut last_dead = None;
    for (entry, raw) in words[..level.entries()].iter().copied().enumerate() {
        let ipa = base + entry as u64 * level.block_size();
        let is_protected = tables.tree.is_protected(rmi::Ipa::new(ipa));
        if last_dead == Some((raw, is_protected)) {
            continue;
        }
        let decoded = Rtte::decode(raw, level, tables.tree.format())
            .map_err(|_| format!("entry {entry} of {table:#x} is {raw:#x}"))?;
        let is_dead = matches!(decoded, Rtte::Unassigned { .. } | Rtte::UnassignedNs);
        last_dead = is_dead.then_some((raw, is_protected));
        let is_right_half = match decoded {
            Rtte::Unassigned { .. } => is_protected,
            Rtte::UnassignedNs | Rtte::AssignedNs { .. } => !is_protected,
            Rtte::Assigned { pa, .. } => {
                references += 1;
                for page in 0..level.block_size() / GRANULE_SIZE {
                    let data = pa.raw() + page * GRANULE_SIZE;
                    name(site, data, StateCode::Data, table, named)?;
                }
                is_protected
            }
            Rtte::Table { table: child } => {
                references += 1;
                let next = level.child().ok_or("a table below level 3")?;
                audit_table(site, table, tables, child.raw(), ipa, next, named)?;
                true
            }
        };
        if !is_right_half {
            return Err(format!(
                "entry {entry} of {table:#x} is {decoded:?} in the wrong half"
            ));
        }
    }
    let (_, count) = state(site, table);
    if count != references {
        return Err(format!(
            "table {table:#x} counts {count} of {references} references"
        ));
    }
    Ok(())
}
