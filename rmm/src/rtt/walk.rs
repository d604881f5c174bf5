// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! From the root of a Realm's tables to one entry, and the changes to it.

use core::slice;
use core::sync::atomic::{AtomicU64, Ordering};

use rmi::{AddressFormat, GranuleAddr, Ipa, Ripas, RttLevel};
use rmm_granule::{GranuleTable, GranuleWindow, Locked, State};
use rmm_hal::{Hal, MustInvalidate, Stage2, Stage2Root};

use crate::rtt::entry::{Rtte, is_live_word, table_of};
use crate::rtt::table::{RttState, TableEntries};
use crate::rtt::tree::{Tree, index_at};

/// The locked starting table of a walk. The Realm descriptor can be let go: a table cannot go away
/// while it is locked.
#[derive(Debug)]
pub struct Start<'m, 't> {
    table: Locked<'m, RttState>,
    tree: &'t Tree,
    ipa: Ipa,
}

impl<'m, 't> Start<'m, 't> {
    /// Locks the starting table that translates `ipa`, an address in the space of the Realm.
    ///
    /// The Realm must not go away meanwhile: the caller holds its descriptor's lock or uses one of its
    /// RECs.
    #[must_use]
    pub fn lock(granules: &GranuleTable<'m>, tree: &'t Tree, ipa: Ipa) -> Self {
        let table = granules
            .lock(tree.root(ipa).phys())
            .expect("the starting tables of a Realm are tables as long as it lives");
        Self { table, tree, ipa }
    }

    /// Walks down to the entry of level `to`, or to an entry above it that points to no table.
    pub fn descend<W: GranuleWindow>(
        self,
        granules: &GranuleTable<'m>,
        window: &W,
        to: RttLevel,
    ) -> Walk<'m> {
        let Self {
            mut table,
            tree,
            ipa,
        } = self;
        let format = tree.format();
        let mut level = tree.start();
        loop {
            let index = index_at(level, ipa);
            let word = slot(&table.map(window), index).load(Ordering::Relaxed);
            if level < to
                && let Some(child) = table_of(word, level, format)
            {
                table = granules.lock_inner(&table, child);
                level = level.child().expect("level 3 has no tables");
            } else {
                return Walk {
                    table,
                    format,
                    level,
                    index,
                    is_protected: tree.is_protected(ipa),
                    is_start: level == tree.start(),
                    ipa,
                    base: ipa.align_down(level.block_size()),
                    entry: decode(word, level, format),
                };
            }
        }
    }
}

/// A locked table and the entry in it where a walk ended.
#[derive(Debug)]
pub struct Walk<'m> {
    table: Locked<'m, RttState>,
    format: AddressFormat,
    level: RttLevel,
    index: usize,
    is_protected: bool,
    is_start: bool,
    ipa: Ipa,
    base: Ipa,
    entry: Rtte,
}

impl<'m> Walk<'m> {
    /// Returns the level of the entry.
    #[must_use]
    pub fn level(&self) -> RttLevel {
        self.level
    }

    /// Returns what the entry says.
    #[must_use]
    pub fn entry(&self) -> Rtte {
        self.entry
    }

    /// Returns the first address that the entry translates.
    #[must_use]
    pub fn base(&self) -> Ipa {
        self.base
    }

    /// Returns the bytes that the entry translates.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.level.block_size()
    }

    /// Says whether the entry is in the protected half.
    #[must_use]
    pub fn is_protected(&self) -> bool {
        self.is_protected
    }

    /// Locks a granule that the entry names.
    pub fn lock_inner<S: State>(
        &self,
        granules: &GranuleTable<'m>,
        inner: GranuleAddr,
    ) -> Locked<'m, S> {
        granules.lock_inner(&self.table, inner)
    }

    /// Returns the specification's `skip_non_live`: where the first live entry from this one on begins, or
    /// the end of the table. If this entry is live, it is the address of the walk.
    ///
    /// That address may be inside a block. RttSkipNonLiveEntries rounds down to where the block begins, but
    /// the commands' tables of outcomes say `top == ipa`, as if a Host always asked for the beginning. A
    /// `top` below `ipa` would send a Host back that goes on from there.
    pub fn skip_non_live<W: GranuleWindow>(&self, window: &W) -> Ipa {
        let table = self.table.map(window);
        let words = self.rest(&table);
        // In the protected half every live entry is counted. A starting table can hold both halves, all
        // others hold one.
        let is_counted = self.is_protected && !self.is_start;
        let dead = if is_counted && self.table.count() == 0 {
            words.len()
        } else {
            count_dead(words)
        };
        self.address_of(dead).max(self.ipa)
    }

    /// Calls `read` with this entry and all that follow in the table.
    pub fn read_entries<W: GranuleWindow, R>(
        &self,
        window: &W,
        read: impl FnOnce(Entries<'_>) -> R,
    ) -> R {
        let table = self.table.map(window);
        read(Entries {
            words: self.rest(&table).iter(),
            level: self.level,
            format: self.format,
        })
    }

    /// Replaces the entry, which is not a table, and makes the hardware forget the old one.
    pub fn replace<H: Hal>(&mut self, hal: &H, root: &Stage2Root, new: Rtte) {
        debug_assert!(!matches!(self.entry, Rtte::Table { .. }));
        self.write(hal, root, new, self.size());
    }

    /// Replaces the entry, which is a table whose entries cover `leaf` bytes, and makes the hardware
    /// forget all that it learned from that table.
    pub fn replace_table<H: Hal>(&mut self, hal: &H, root: &Stage2Root, new: Rtte, leaf: u64) {
        debug_assert!(matches!(self.entry, Rtte::Table { .. }));
        self.write(hal, root, new, leaf);
    }

    /// Replaces this entry and those that follow it up to `end`, which is a border of entries, by what
    /// `change` makes of the first address and the meaning of each.
    ///
    /// A change may only be one of RIPAS: what the entries point to stays.
    pub fn change_until<H: Hal>(
        &mut self,
        hal: &H,
        root: &Stage2Root,
        end: Ipa,
        mut change: impl FnMut(Ipa, Rtte) -> Rtte,
    ) {
        let (level, format, size) = (self.level, self.format, self.size());
        let mut stale: Option<(Ipa, Ipa)> = None;
        {
            let table = self.table.map(hal.window());
            let mut base = self.base;
            for word in self.rest(&table) {
                if base >= end {
                    break;
                }
                let next = after(base, size);
                let old = decode(word.load(Ordering::Relaxed), level, format);
                let new = change(base, old);
                assert!(old.references() == new.references());
                if old != new {
                    write_word(hal, word, old, new, new.encode(level, format));
                    if old.is_valid() {
                        stale = Some((stale.map_or(base, |(first, _)| first), next));
                    }
                }
                base = next;
            }
        }
        if let Some((first, last)) = stale {
            let range = MustInvalidate {
                base: first,
                size: last.raw() - first.raw(),
                leaf: size,
            };
            hal.stage2().invalidate(root, range);
        }
        self.reread(hal.window());
    }

    /// Writes the entry: break, make everybody forget, make.
    fn write<H: Hal>(&mut self, hal: &H, root: &Stage2Root, new: Rtte, leaf: u64) {
        let old = self.entry;
        {
            let table = self.table.map(hal.window());
            let slot = slot(&table, self.index);
            let word = new.encode(self.level, self.format);
            if old.is_valid() {
                let interim = if new.is_valid() { BROKEN } else { word };
                hal.stage2().write_entry(slot, interim);
                let range = MustInvalidate {
                    base: self.base,
                    size: self.size(),
                    leaf,
                };
                hal.stage2().invalidate(root, range);
            }
            if !old.is_valid() || new.is_valid() {
                write_word(hal, slot, old, new, word);
            }
        }
        self.entry = new;
        // Raised first: a table that changes hands from one entry to another is never without.
        self.table.raise(new.references());
        self.table.lower(old.references());
    }

    fn reread<W: GranuleWindow>(&mut self, window: &W) {
        let word = slot(&self.table.map(window), self.index).load(Ordering::Relaxed);
        self.entry = decode(word, self.level, self.format);
    }

    /// Returns the words from this entry on.
    fn rest<'t>(&self, table: &'t TableEntries) -> &'t [AtomicU64] {
        let used = table.get(..self.level.entries());
        used.and_then(|used| used.get(self.index..))
            .expect("the index is one of the table's")
    }

    /// Returns the first address of the entry `n` entries after this one.
    fn address_of(&self, n: usize) -> Ipa {
        let n = u64::try_from(n).expect("at most 512");
        after(self.base, n * self.size())
    }
}

/// The number of words that a scan looks at together.
const SEVERAL: usize = 16;

/// What a valid entry is while the hardware forgets it and the next one is not written yet. Nobody but
/// the hardware reads it: the table is locked.
const BROKEN: u64 = 0;

/// Entries of one table, in ascending order.
#[derive(Clone, Debug)]
pub struct Entries<'t> {
    words: slice::Iter<'t, AtomicU64>,
    level: RttLevel,
    format: AddressFormat,
}

impl Iterator for Entries<'_> {
    type Item = Rtte;

    fn next(&mut self) -> Option<Rtte> {
        let word = self.words.next()?;
        Some(decode(
            word.load(Ordering::Relaxed),
            self.level,
            self.format,
        ))
    }
}

impl Entries<'_> {
    /// Returns how many of the entries, from the first on, say the same of protected addresses.
    pub fn count_while_ripas(self, ripas: Ripas) -> usize {
        self.take_while(|entry| entry.ripas() == Some(ripas))
            .count()
    }
}

/// Returns how many words, from the first on, hold no address.
fn count_dead(words: &[AtomicU64]) -> usize {
    // One look at several words: they are dead when all their bits together are.
    let (chunks, _) = words.as_chunks::<SEVERAL>();
    let dead = chunks
        .iter()
        .take_while(|chunk| !is_any_live(chunk))
        .count()
        * SEVERAL;
    let rest = words.get(dead..).unwrap_or(&[]);
    dead + rest
        .iter()
        .take_while(|word| !is_live_word(word.load(Ordering::Relaxed)))
        .count()
}

fn is_any_live(words: &[AtomicU64; SEVERAL]) -> bool {
    let bits = words
        .iter()
        .fold(0, |bits, word| bits | word.load(Ordering::Relaxed));
    is_live_word(bits)
}

fn slot(table: &TableEntries, index: usize) -> &AtomicU64 {
    table.get(index).expect("an index is below 512")
}

/// Writes a word; the hardware only cares when it follows the new one or may know the old one.
fn write_word<H: Hal>(hal: &H, slot: &AtomicU64, old: Rtte, new: Rtte, word: u64) {
    if old.is_valid() || new.is_valid() {
        hal.stage2().write_entry(slot, word);
    } else {
        slot.store(word, Ordering::Relaxed);
    }
}

fn decode(word: u64, level: RttLevel, format: AddressFormat) -> Rtte {
    Rtte::decode(word, level, format).expect("only the monitor writes into its tables")
}

fn after(base: Ipa, bytes: u64) -> Ipa {
    base.checked_add(bytes)
        .expect("no address space is wider than 52 bits")
}
