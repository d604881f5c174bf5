// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Rule W6: the walk that takes mappings away.

use core::ops::Range;
use core::sync::atomic::Ordering;

use super::Stage2;
use super::entry::{self, Entry};
use super::walk::{Next, Step, Visit, Visitor, WalkError};
use crate::machine::Machine;
use crate::perms::Permissions;

impl<M: Machine> Stage2<'_, M> {
    /// Removes every mapping that touches the IPA `range`; blocks go whole. Tables that become
    /// empty are freed. Returns the number of entries removed. The caller holds the MMU lock for
    /// writing.
    pub fn unmap(&self, range: Range<u64>) -> u64 {
        self.free_detached();
        let mut unmapper = Unmapper {
            stage2: self,
            removed: 0,
        };
        self.sweep(range, &mut unmapper);
        let removed = unmapper.removed;
        self.counters.removed.add(removed);
        removed
    }
}

/// The visitor that removes.
struct Unmapper<'a, 'h, M> {
    stage2: &'a Stage2<'h, M>,
    removed: u64,
}

impl<M: Machine> Visitor for Unmapper<'_, '_, M> {
    fn wants(&self, visit: Visit) -> bool {
        visit != Visit::TableBefore
    }

    fn visit(&mut self, step: &Step<'_>) -> Result<Next, WalkError> {
        let stage2 = self.stage2;
        let pages = stage2.host.pages();
        match (step.visit, step.entry) {
            (Visit::Leaf, Entry::Leaf(leaf)) => {
                self.clear(step);
                let size = step.level.block_size();
                if !stage2.cpu.fwb && !leaf.permissions.contains(Permissions::DEVICE) {
                    stage2.host.machine().clean_data(leaf.pfn, size);
                }
                pages.put(step.table);
                self.removed += 1;
            }
            // One reference is left: the one for the entry that points to the table.
            (Visit::TableAfter, Entry::Table(child)) if pages.references(child) == 1 => {
                self.clear(step);
                pages.put(step.table);
                pages.put(child);
            }
            (Visit::TableAfter | Visit::Leaf, _) => (),
            (Visit::TableBefore, _) => return Err(WalkError::Unexpected),
        }
        Ok(Next::Continue)
    }
}

impl<M: Machine> Unmapper<'_, '_, M> {
    /// Empties an entry and makes every CPU forget it.
    fn clear(&self, step: &Step<'_>) {
        let machine = self.stage2.host.machine();
        step.slot.store(entry::INVALID, Ordering::Release);
        machine.publish();
        machine.invalidate_ipa(self.stage2.vmid, step.base, step.level.block_size());
    }
}
