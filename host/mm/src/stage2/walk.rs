// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The walker: visits the entries of an IPA range depth first.

use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

use rmi::{Ipa, RttLevel};

use super::entry::Entry;
use crate::addr::Pfn;
use crate::machine::PhysMemory;
use crate::pages::to_usize;

/// When an entry is visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visit {
    /// A table entry, before its children.
    TableBefore,
    /// An entry without children.
    Leaf,
    /// A table entry, after its children.
    TableAfter,
}

/// What the walker does after a visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Go on: into the entry if it is a table (now), else to the next one.
    Continue,
    /// Leave the entry, whatever it is, for the next one.
    Skip,
}

/// Why a walk ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalkError {
    /// Another CPU is changing the entry, or has: the guest retries.
    Again,
    /// The memcache is empty.
    OutOfMemory,
    /// A visitor was called for a kind of visit it does not have: we are wrong.
    Unexpected,
}

/// One entry being visited.
#[derive(Debug)]
pub struct Step<'a> {
    /// Where the entry is.
    pub slot: &'a AtomicU64,
    /// What it said when the visit began.
    pub raw: u64,
    /// The same, decoded.
    pub entry: Entry,
    /// Its level.
    pub level: RttLevel,
    /// First IPA that the entry covers.
    pub base: Ipa,
    /// The part of the walked range that the entry covers.
    pub piece: Range<u64>,
    /// The table that the entry is in.
    pub table: Pfn,
    /// Which kind of visit this is.
    pub visit: Visit,
}

/// Somebody who is shown entries.
pub trait Visitor {
    /// Whether the visitor wants visits of this kind.
    fn wants(&self, visit: Visit) -> bool;

    /// Looks at, and perhaps changes, one entry.
    ///
    /// # Errors
    ///
    /// Ends the walk.
    fn visit(&mut self, step: &Step<'_>) -> Result<Next, WalkError>;
}

/// Where a walk begins.
#[derive(Clone, Copy, Debug)]
pub struct Root {
    /// The first of the starting tables, which are contiguous.
    pub table: Pfn,
    /// Their level.
    pub level: RttLevel,
}

/// Entries of a table.
const ENTRIES: u64 = 512;

/// Shows `visitor` the entries that cover `range`, depth first.
///
/// # Errors
///
/// The visitor's.
pub fn walk(
    memory: &dyn PhysMemory,
    root: Root,
    range: Range<u64>,
    visitor: &mut dyn Visitor,
) -> Result<(), WalkError> {
    let span = root.level.block_size() * ENTRIES;
    let mut at = range.start;
    while at < range.end {
        let number = at / span;
        let end = range.end.min((number + 1) * span);
        let table = root.table.offset(number);
        walk_table(memory, table, root.level, at..end, visitor)?;
        at = end;
    }
    Ok(())
}

fn walk_table(
    memory: &dyn PhysMemory,
    table: Pfn,
    level: RttLevel,
    range: Range<u64>,
    visitor: &mut dyn Visitor,
) -> Result<(), WalkError> {
    let size = level.block_size();
    let entries = memory.table(table);
    let mut at = range.start;
    while at < range.end {
        let base = at / size * size;
        let end = range.end.min(base + size);
        let slot = &entries[to_usize(at / size % ENTRIES)];
        let place = Place {
            slot,
            level,
            base,
            table,
        };
        walk_entry(memory, &place, at..end, visitor)?;
        at = end;
    }
    Ok(())
}

/// Where an entry is.
struct Place<'a> {
    slot: &'a AtomicU64,
    level: RttLevel,
    base: u64,
    table: Pfn,
}

fn walk_entry(
    memory: &dyn PhysMemory,
    place: &Place<'_>,
    piece: Range<u64>,
    visitor: &mut dyn Visitor,
) -> Result<(), WalkError> {
    let mut show = |visit| -> Result<Next, WalkError> {
        if !visitor.wants(visit) {
            return Ok(Next::Continue);
        }
        let raw = place.slot.load(Ordering::Acquire);
        visitor.visit(&Step {
            slot: place.slot,
            raw,
            entry: Entry::decode(raw, place.level),
            level: place.level,
            base: Ipa::new(place.base),
            piece: piece.clone(),
            table: place.table,
            visit,
        })
    };
    let read = || Entry::decode(place.slot.load(Ordering::Acquire), place.level);
    let visit = match read() {
        Entry::Table(_) => Visit::TableBefore,
        Entry::Invalid | Entry::Locked | Entry::Leaf(_) => Visit::Leaf,
    };
    if show(visit)? == Next::Skip {
        return Ok(());
    }
    let (Entry::Table(child), Some(level)) = (read(), place.level.child()) else {
        return Ok(());
    };
    walk_table(memory, child, level, piece.clone(), visitor)?;
    if visitor.wants(Visit::TableAfter) {
        let raw = place.slot.load(Ordering::Acquire);
        visitor.visit(&Step {
            slot: place.slot,
            raw,
            entry: Entry::decode(raw, place.level),
            level: place.level,
            base: Ipa::new(place.base),
            piece,
            table: place.table,
            visit: Visit::TableAfter,
        })?;
    }
    Ok(())
}
