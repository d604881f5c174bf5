// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A set of small integers that finds its first member quickly.
//!
//! Level 0 holds one bit a member. A bit of each higher level says whether one word of the level
//! below is non-zero, so a search touches one word a level: four for a million members.

use alloc::vec;
use alloc::vec::Vec;

const WORD: usize = 64;

/// A set of integers below a fixed limit.
#[derive(Debug)]
pub(crate) struct BitTree {
    levels: Vec<Vec<u64>>,
}

impl BitTree {
    /// Returns the empty set that can hold integers below `limit`.
    pub(crate) fn new(limit: usize) -> Self {
        let mut levels = Vec::new();
        let mut bits = limit.max(1);
        loop {
            let words = bits.div_ceil(WORD);
            levels.push(vec![0; words]);
            if words == 1 {
                return Self { levels };
            }
            bits = words;
        }
    }

    /// Whether `member` is in the set.
    pub(crate) fn contains(&self, member: usize) -> bool {
        self.levels[0]
            .get(member / WORD)
            .is_some_and(|word| word >> (member % WORD) & 1 == 1)
    }

    /// Adds `member`.
    pub(crate) fn insert(&mut self, member: usize) {
        let mut at = member;
        for level in &mut self.levels {
            level[at / WORD] |= 1 << (at % WORD);
            at /= WORD;
        }
    }

    /// Takes `member` out; says whether it was there.
    pub(crate) fn remove(&mut self, member: usize) -> bool {
        let had = self.contains(member);
        let mut at = member;
        for level in &mut self.levels {
            level[at / WORD] &= !(1 << (at % WORD));
            if level[at / WORD] != 0 {
                break;
            }
            at /= WORD;
        }
        had
    }

    /// Returns the smallest member.
    pub(crate) fn first(&self) -> Option<usize> {
        let mut at = 0;
        for level in self.levels.iter().rev() {
            let word = level[at];
            if word == 0 {
                return None;
            }
            at = at * WORD + usize::try_from(word.trailing_zeros()).unwrap_or(0);
        }
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn bit_tree_agrees_with_an_ordered_set() {
        let mut tree = BitTree::new(70_000);
        let mut model = BTreeSet::new();
        let mut seed = 0x1234_5678_u64;
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let member = usize::try_from(seed >> 33).unwrap() % 70_000;
            if seed & (1 << 20) == 0 {
                tree.insert(member);
                model.insert(member);
            } else {
                assert_eq!(tree.remove(member), model.remove(&member));
            }
            assert_eq!(tree.first(), model.first().copied());
            assert_eq!(tree.contains(member), model.contains(&member));
        }
    }
}
