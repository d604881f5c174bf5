// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! An index of intervals that may overlap: "which of them touch `a..b`?" without a scan.
//!
//! A treap ordered by (start, identifier) in which each node knows the largest end below it.
//! Insertion, removal and each step of a query are logarithmic in the number of intervals, with
//! priorities from a small pseudo-random generator.

use alloc::vec::Vec;
use core::ops::Range;

/// Position of a node in the arena; `NONE` ends a branch.
type Link = u32;
const NONE: Link = u32::MAX;

#[derive(Debug)]
struct Node<T> {
    start: u64,
    end: u64,
    id: u64,
    value: T,
    max_end: u64,
    priority: u64,
    left: Link,
    right: Link,
}

/// Intervals of `u64` with a value and an identifier each; (start, identifier) is unique.
#[derive(Debug)]
pub struct IntervalIndex<T> {
    nodes: Vec<Option<Node<T>>>,
    free: Vec<Link>,
    root: Link,
    seed: u64,
}

impl<T> Default for IntervalIndex<T> {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            free: Vec::new(),
            root: NONE,
            seed: 0x9E37_79B9_7F4A_7C15,
        }
    }
}

impl<T> IntervalIndex<T> {
    /// Adds the interval `range`, known by its start and `id`.
    pub fn insert(&mut self, range: Range<u64>, id: u64, value: T) {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        let node = Node {
            start: range.start,
            end: range.end,
            id,
            value,
            max_end: range.end,
            priority: self.seed,
            left: NONE,
            right: NONE,
        };
        let link = self.store(node);
        let (left, right) = self.split(self.root, (range.start, id));
        let left = self.merge(left, link);
        self.root = self.merge(left, right);
    }

    /// Removes the interval that starts at `start` and is known by `id`.
    pub fn remove(&mut self, start: u64, id: u64) -> Option<T> {
        let (left, rest) = self.split(self.root, (start, id));
        let (mine, right) = self.split(rest, (start, id.wrapping_add(1)));
        self.root = self.merge(left, right);
        if mine == NONE {
            return None;
        }
        self.free.push(mine);
        self.nodes[index(mine)].take().map(|node| node.value)
    }

    /// Calls `each` with every interval that shares a point with `range`, in order of start.
    pub fn for_each_overlap(&self, range: Range<u64>, mut each: impl FnMut(Range<u64>, &T)) {
        self.visit(self.root, &range, &mut each);
    }

    /// Returns the number of intervals.
    pub fn len(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// Whether there is no interval.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn visit(&self, link: Link, range: &Range<u64>, each: &mut impl FnMut(Range<u64>, &T)) {
        let Some(node) = self.node(link) else {
            return;
        };
        if node.max_end <= range.start {
            return;
        }
        self.visit(node.left, range, each);
        if node.start < range.end {
            if node.end > range.start {
                each(node.start..node.end, &node.value);
            }
            self.visit(node.right, range, each);
        }
    }

    fn store(&mut self, node: Node<T>) -> Link {
        if let Some(link) = self.free.pop() {
            self.nodes[index(link)] = Some(node);
            return link;
        }
        self.nodes.push(Some(node));
        Link::try_from(self.nodes.len() - 1).unwrap_or(NONE)
    }

    fn node(&self, link: Link) -> Option<&Node<T>> {
        self.nodes.get(index(link))?.as_ref()
    }

    fn node_mut(&mut self, link: Link) -> Option<&mut Node<T>> {
        self.nodes.get_mut(index(link))?.as_mut()
    }

    /// Recomputes what a node knows of the nodes below it.
    fn update(&mut self, link: Link) {
        let Some(node) = self.node(link) else {
            return;
        };
        let below = |link| self.node(link).map_or(0, |node| node.max_end);
        let max_end = node.end.max(below(node.left)).max(below(node.right));
        if let Some(node) = self.node_mut(link) {
            node.max_end = max_end;
        }
    }

    /// Splits a tree into the nodes below `key` and the others.
    fn split(&mut self, link: Link, key: (u64, u64)) -> (Link, Link) {
        let Some(node) = self.node(link) else {
            return (NONE, NONE);
        };
        let (left, right) = (node.left, node.right);
        if (node.start, node.id) < key {
            let (below, above) = self.split(right, key);
            if let Some(node) = self.node_mut(link) {
                node.right = below;
            }
            self.update(link);
            (link, above)
        } else {
            let (below, above) = self.split(left, key);
            if let Some(node) = self.node_mut(link) {
                node.left = above;
            }
            self.update(link);
            (below, link)
        }
    }

    /// Joins two trees; every key of `left` is below every key of `right`.
    fn merge(&mut self, left: Link, right: Link) -> Link {
        let (Some(a), Some(b)) = (self.node(left), self.node(right)) else {
            return if left == NONE { right } else { left };
        };
        if a.priority > b.priority {
            let inner = a.right;
            let joined = self.merge(inner, right);
            if let Some(node) = self.node_mut(left) {
                node.right = joined;
            }
            self.update(left);
            left
        } else {
            let inner = b.left;
            let joined = self.merge(left, inner);
            if let Some(node) = self.node_mut(right) {
                node.left = joined;
            }
            self.update(right);
            right
        }
    }
}

fn index(link: Link) -> usize {
    usize::try_from(link).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn v3_the_interval_index_agrees_with_a_flat_list() {
        let mut index = IntervalIndex::default();
        let mut flat: Vec<(u64, u64, u64)> = Vec::new();
        let mut seed = 7_u64;
        let mut next = move |limit: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(3);
            (seed >> 33) % limit
        };
        for id in 0..3000 {
            if next(3) > 0 || flat.is_empty() {
                let start = next(500);
                let end = start + 1 + next(80);
                index.insert(start..end, id, id);
                flat.push((start, end, id));
            } else {
                let (start, _, id) =
                    flat.swap_remove(usize::try_from(next(flat.len() as u64)).unwrap());
                assert_eq!(index.remove(start, id), Some(id));
                assert_eq!(index.remove(start, id), None);
            }
            let (from, to) = (next(500), next(600));
            let mut found = Vec::new();
            index.for_each_overlap(from..to, |range, id| {
                found.push((range.start, range.end, *id))
            });
            let mut expected: Vec<_> = flat
                .iter()
                .copied()
                .filter(|(start, end, _)| *start < to && *end > from && from < to)
                .collect();
            expected.sort_by_key(|(start, _, id)| (*start, *id));
            if from < to {
                assert_eq!(found, expected);
            }
            assert_eq!(index.len(), flat.len());
        }
    }
}
