// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Rule W6: the walk that takes mappings away.

use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::Ordering;

use rmi::Ipa;

use super::Stage2;
use super::entry::{self, Entry};
use super::walk::{Next, Step, Visit, Visitor, WalkError};
use crate::addr::Pfn;
use crate::machine::Machine;
use crate::pages::to_u64;
use crate::perms::Permissions;

impl<M: Machine> Stage2<'_, M> {
    /// Removes every mapping that touches the IPA `range`; blocks go whole. Tables that become
    /// empty are freed. Returns the number of entries removed. The caller holds the MMU lock for
    /// writing.
    ///
    /// The entries are emptied first, then every CPU forgets all of them at once, and only then
    /// are pages cleaned and tables freed.
    pub fn unmap(&self, range: Range<u64>) -> u64 {
        self.free_detached();
        let mut unmapper = Unmapper {
            stage2: self,
            emptied: None,
            leaves: Vec::new(),
            tables: Vec::new(),
        };
        self.sweep(range, &mut unmapper);
        let Unmapper {
            emptied,
            leaves,
            tables,
            ..
        } = unmapper;
        let Some(emptied) = emptied else {
            return 0;
        };
        let machine = self.host.machine();
        machine.publish();
        let size = emptied.end - emptied.start;
        machine.invalidate_ipa(self.vmid, Ipa::new(emptied.start), size);
        for (pfn, size, permissions) in &leaves {
            if !self.cpu.fwb && !permissions.contains(Permissions::DEVICE) {
                machine.clean_data(*pfn, *size);
            }
        }
        tables
            .iter()
            .for_each(|table| self.host.pages().put(*table));
        let removed = to_u64(leaves.len());
        self.counters.removed.add(removed);
        removed
    }
}

/// The visitor that removes.
struct Unmapper<'a, 'h, M> {
    stage2: &'a Stage2<'h, M>,
    /// From the first to the last entry that was emptied.
    emptied: Option<Range<u64>>,
    /// What was mapped: first page, size, how.
    leaves: Vec<(Pfn, u64, Permissions)>,
    /// Tables that nothing points to any more.
    tables: Vec<Pfn>,
}

impl<M: Machine> Visitor for Unmapper<'_, '_, M> {
    fn wants(&self, visit: Visit) -> bool {
        visit != Visit::TableBefore
    }

    fn visit(&mut self, step: &Step<'_>) -> Result<Next, WalkError> {
        let pages = self.stage2.host.pages();
        match (step.visit, step.entry) {
            (Visit::Leaf, Entry::Leaf(leaf)) => {
                self.empty(step);
                let size = step.level.block_size();
                self.leaves.push((leaf.pfn, size, leaf.permissions));
            }
            // One reference is left: the one for the entry that points to the table.
            (Visit::TableAfter, Entry::Table(child)) if pages.references(child) == 1 => {
                self.empty(step);
                self.tables.push(child);
            }
            (Visit::TableAfter | Visit::Leaf, _) => (),
            (Visit::TableBefore, _) => return Err(WalkError::Unexpected),
        }
        Ok(Next::Continue)
    }
}

impl<M: Machine> Unmapper<'_, '_, M> {
    /// Empties an entry; its table has one valid entry less.
    fn empty(&mut self, step: &Step<'_>) {
        step.slot.store(entry::INVALID, Ordering::Release);
        self.stage2.host.pages().put(step.table);
        let start = step.base.raw();
        let end = start + step.level.block_size();
        let emptied = self.emptied.get_or_insert(start..end);
        *emptied = emptied.start.min(start)..emptied.end.max(end);
    }
}
