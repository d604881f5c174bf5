// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The granule that is a table.

use core::sync::atomic::{AtomicU64, Ordering};

use rmm_granule::{Contained, State, StateCode};

/// The number of words in a table. A table of level -1 uses the first 16.
pub const RTT_ENTRIES: usize = 512;

/// The words of a table. The hardware of every PE reads them at any time, so they are atomics.
pub type TableEntries = [AtomicU64; RTT_ENTRIES];

/// The granule is a table. Its count is the number of entries that point to something of the Realm's:
/// tables and DATA granules.
#[derive(Debug)]
pub enum RttState {}

impl State for RttState {
    const CODE: StateCode = StateCode::Rtt;
    type Header = ();
    type Contents = TableEntries;
}

impl Contained for RttState {}

/// Words of entries that are alike, except that output addresses follow on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// The word of the first entry.
    pub first: u64,
    /// What one word has more than the one before: the bytes an entry covers, or zero.
    pub step: u64,
}

impl Pattern {
    /// Writes entries of a table that no hardware reads yet, from the first on.
    pub fn fill(self, entries: &mut [AtomicU64]) {
        let mut word = self.first;
        let mut write = |entry: &mut AtomicU64| {
            *entry.get_mut() = word;
            word = word.wrapping_add(self.step);
        };
        // Several words are written at a time.
        let (chunks, rest) = entries.as_chunks_mut::<8>();
        for chunk in chunks {
            chunk.iter_mut().for_each(&mut write);
        }
        rest.iter_mut().for_each(write);
    }

    /// Says whether all entries of a table are as the pattern has them.
    #[must_use]
    pub fn matches(self, table: &TableEntries) -> bool {
        let mut expected = self.first;
        // Several words are compared at a time.
        let (chunks, _) = table.as_chunks::<8>();
        chunks.iter().all(|chunk| {
            let mut difference = 0;
            for entry in chunk {
                difference |= entry.load(Ordering::Relaxed) ^ expected;
                expected = expected.wrapping_add(self.step);
            }
            difference == 0
        })
    }

    /// Says whether an unused granule, which is all zeroes, has the pattern already.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.first == 0 && self.step == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pattern_fills_what_it_matches() {
        let mut table: TableEntries = [const { AtomicU64::new(0) }; RTT_ENTRIES];
        let pattern = Pattern {
            first: 0x8020_07DB,
            step: 0x1000,
        };
        assert!(!pattern.matches(&table));
        pattern.fill(&mut table);
        assert!(pattern.matches(&table));
        assert_eq!(table[511].load(Ordering::Relaxed), 0x803F_F7DB);
        table[511].store(0, Ordering::Relaxed);
        assert!(!pattern.matches(&table));
        assert!(!pattern.is_zero());
        assert!(Pattern { first: 0, step: 0 }.is_zero());
    }
}
