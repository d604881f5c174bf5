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
        let dead = u64::try_from(dead).expect("at most 512");
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
            word: self.entry.encode(self.level, self.format),
            entry: self.entry,
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

    /// Returns how many entries there are from this one on up to `end`, which is a border of entries.
    #[must_use]
    pub fn entries_until(&self, end: Ipa) -> u64 {
        end.raw().saturating_sub(self.base.raw()) >> self.level.block_bits()
    }

    /// Replaces as many entries of the table, from this one on, by what `change` makes of each.
    ///
    /// A change may only be one of RIPAS: what the entries point to stays.
    pub fn change_entries<H: Hal>(
        &mut self,
        hal: &H,
        root: &Stage2Root,
        entries: u64,
        change: impl Fn(Rtte) -> Rtte,
    ) {
        let mut stale: Option<(u64, u64)> = None;
        {
            let table = self.table.map(hal.window());
            let mut step = self.step(self.entry, &change);
            for (n, slot) in (0..entries).zip(self.rest(&table)) {
                let word = slot.load(Ordering::Relaxed);
                // Entries alike change alike, and most of a table are.
                if word != step.from {
                    step = self.step(decode(word, self.level, self.format), &change);
                }
                if step.to != step.from {
                    if step.is_walked {
                        hal.stage2().write_entry(slot, step.to);
                    } else {
                        slot.store(step.to, Ordering::Relaxed);
                    }
                    if step.is_stale {
                        stale = Some((stale.map_or(n, |(first, _)| first), n + 1));
                    }
                }
            }
        }
        if let Some((first, last)) = stale {
            let range = MustInvalidate {
                base: self.address_of(first),
                size: (last - first) * self.size(),
                leaf: self.size(),
            };
            hal.stage2().invalidate(root, range);
        }
        self.reread(hal.window());
    }

    /// Returns what `change` makes of an entry.
    fn step(&self, old: Rtte, change: impl Fn(Rtte) -> Rtte) -> Step {
        let new = change(old);
        assert!(old.references() == new.references());
        Step {
            from: old.encode(self.level, self.format),
            to: new.encode(self.level, self.format),
            is_stale: old.is_valid(),
            is_walked: old.is_valid() || new.is_valid(),
        }
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
        if old.references() < new.references() {
            self.table.raise(new.references() - old.references());
        } else if new.references() < old.references() {
            self.table.lower(old.references() - new.references());
        }
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
    fn address_of(&self, n: u64) -> Ipa {
        self.base
            .checked_add(n * self.size())
            .expect("no address space is wider than 52 bits")
    }
}

/// What becomes of an entry.
#[derive(Clone, Copy, Debug)]
struct Step {
    from: u64,
    to: u64,
    /// The hardware may know the old entry.
    is_stale: bool,
    /// The hardware follows the old entry or the new one.
    is_walked: bool,
}

/// The number of words that a scan looks at one by one: a Host that goes from entry to entry finds the next
/// one alive.
const FEW: usize = 2;
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
    /// The last word that was read and its meaning. Entries alike mean the same, and most of a table are.
    word: u64,
    entry: Rtte,
}

impl Iterator for Entries<'_> {
    type Item = Rtte;

    #[inline]
    fn next(&mut self) -> Option<Rtte> {
        let word = self.words.next()?.load(Ordering::Relaxed);
        if word != self.word {
            self.word = word;
            self.entry = decode(word, self.level, self.format);
        }
        Some(self.entry)
    }
}

impl Entries<'_> {
    /// Returns how many of the first `most` entries, from the first on, say the same of protected addresses.
    pub fn count_while_ripas(self, ripas: Ripas, most: u64) -> u64 {
        let alike = (0..most)
            .zip(self)
            .take_while(|(_, entry)| entry.ripas() == Some(ripas));
        alike.last().map_or(0, |(last, _)| last + 1)
    }
}

/// Returns how many words, from the first on, hold no address.
fn count_dead(words: &[AtomicU64]) -> usize {
    let is_dead = |word: &&AtomicU64| !is_live_word(word.load(Ordering::Relaxed));
    let few = words.iter().take(FEW).take_while(is_dead).count();
    if few < FEW {
        return few;
    }
    // One look at several words: they are dead when all their bits together are.
    let (chunks, _) = words.as_chunks::<SEVERAL>();
    let dead = chunks
        .iter()
        .take_while(|chunk| !is_any_live(chunk))
        .count()
        * SEVERAL;
    let rest = words.get(dead..).unwrap_or(&[]);
    dead + rest.iter().take_while(is_dead).count()
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
