// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Translation tables of a Realm, entry by entry.

pub(crate) const EMPTY: u64 = 0;
pub(crate) const RAM: u64 = 1;
pub(crate) const DESTROYED: u64 = 2;

#[derive(Clone, Debug)]
pub(crate) enum Entry {
    Unassigned(u64),
    Assigned(u64, u64),
    UnassignedNs,
    AssignedNs(u64),
    Table(Box<Node>),
}

impl Entry {
    pub(super) fn is_live(&self) -> bool {
        !matches!(self, Self::Unassigned(_) | Self::UnassignedNs)
    }

    pub(super) fn keeps_table_alive(&self) -> bool {
        matches!(self, Self::Assigned(..) | Self::Table(_))
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(super) granule: u64,
    pub(super) level: i64,
    pub(super) entries: Vec<Entry>,
}

impl Node {
    pub(super) fn size(&self) -> u64 {
        level_size(self.level)
    }

    pub(super) fn index(&self, ipa: u64) -> usize {
        usize::try_from(ipa / self.size()).unwrap() % self.entries.len()
    }
}

pub(super) fn level_size(level: i64) -> u64 {
    1 << (12 + 9 * (3 - level))
}

/// Follows tables until `to` or an entry that is none.
pub(super) fn walk(root: &mut Node, ipa: u64, to: i64) -> (&mut Node, usize) {
    let mut node = root;
    loop {
        let index = node.index(ipa);
        if node.level == to || !matches!(node.entries[index], Entry::Table(_)) {
            return (node, index);
        }
        node = match &mut node.entries[index] {
            Entry::Table(child) => child,
            _ => unreachable!(),
        };
    }
}

/// First live entry from `ipa` on in this 4 KiB table, or its end.
pub(super) fn skip_non_live(node: &Node, ipa: u64) -> u64 {
    let index = node.index(ipa);
    let base = ipa / node.size() * node.size();
    let left = 512 - index % 512;
    let live = (0..left).find(|i| node.entries[index + i].is_live());
    base + u64::try_from(live.unwrap_or(left)).unwrap() * node.size()
}
