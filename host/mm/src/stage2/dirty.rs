// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Rule W6: write-protection for dirty logging, collapse when it stops, and the age of pages.

use core::ops::Range;
use core::sync::atomic::Ordering;

use rmi::RttLevel;

use super::Stage2;
use super::entry::{self, Entry, Leaf};
use super::walk::{Next, Step, Visit, Visitor, WalkError};
use crate::addr::{PAGE_SIZE, Pfn};
use crate::machine::{Machine, PhysMemory};
use crate::pages::to_u64;
use crate::perms::Permissions;

impl<M: Machine> Stage2<'_, M> {
    /// Takes write permission from every mapping in `range`, so that the next write faults and
    /// can be logged. Returns the number of entries changed. The caller holds the MMU lock for
    /// writing.
    pub fn write_protect(&self, range: Range<u64>) -> u64 {
        self.write_protect_all([range])
    }

    /// Does the same for several ranges in ascending order, at the cost of one invalidation.
    pub fn write_protect_all(&self, ranges: impl IntoIterator<Item = Range<u64>>) -> u64 {
        let mut protector = Changer {
            change: |raw, leaf: &Leaf| {
                let writable = leaf.permissions.contains(Permissions::WRITE);
                writable.then(|| entry::write_protected(raw))
            },
            changed: 0,
        };
        let mut whole: Option<Range<u64>> = None;
        for range in ranges {
            whole.get_or_insert(range.clone()).end = range.end;
            self.sweep(range, &mut protector);
        }
        let changed = protector.changed;
        if let Some(whole) = whole {
            self.forget_range(whole, changed);
        }
        self.counters.protected.add(changed);
        changed
    }

    /// Returns how many mappings of `range` have been used since the last call, and starts over.
    /// The caller holds the MMU lock for writing.
    pub fn test_and_clear_young(&self, range: Range<u64>) -> u64 {
        let mut ager = Changer {
            change: |raw, leaf: &Leaf| leaf.accessed.then(|| entry::old(raw)),
            changed: 0,
        };
        self.sweep(range.clone(), &mut ager);
        let young = ager.changed;
        self.forget_range(range, young);
        young
    }

    /// Replaces tables of `range` whose pages are complete, contiguous and aligned by a block,
    /// with the permissions that all pages share. Returns the number of blocks made. The caller
    /// holds the MMU lock for writing.
    pub fn collapse(&self, range: Range<u64>) -> u64 {
        self.free_detached();
        let mut collapser = Collapser {
            stage2: self,
            blocks: 0,
        };
        self.sweep(range, &mut collapser);
        let blocks = collapser.blocks;
        self.counters.collapsed.add(blocks);
        blocks
    }

    fn forget_range(&self, range: Range<u64>, changed: u64) {
        if changed > 0 {
            let machine = self.host.machine();
            machine.publish();
            let size = range.end - range.start;
            machine.invalidate_ipa(self.vmid, rmi::Ipa::new(range.start), size);
        }
    }
}

/// Changes leaves; `change` returns the new descriptor, or nothing to leave it.
struct Changer<F> {
    change: F,
    changed: u64,
}

impl<F: Fn(u64, &Leaf) -> Option<u64>> Visitor for Changer<F> {
    fn wants(&self, visit: Visit) -> bool {
        visit == Visit::Leaf
    }

    fn visit(&mut self, step: &Step<'_>) -> Result<Next, WalkError> {
        if let Entry::Leaf(leaf) = step.entry
            && let Some(raw) = (self.change)(step.raw, &leaf)
        {
            step.slot.store(raw, Ordering::Release);
            self.changed += 1;
        }
        Ok(Next::Continue)
    }
}

/// The visitor that makes blocks of tables.
struct Collapser<'a, 'h, M> {
    stage2: &'a Stage2<'h, M>,
    blocks: u64,
}

impl<M: Machine> Visitor for Collapser<'_, '_, M> {
    fn wants(&self, visit: Visit) -> bool {
        visit == Visit::TableBefore
    }

    fn visit(&mut self, step: &Step<'_>) -> Result<Next, WalkError> {
        let Entry::Table(child) = step.entry else {
            return Err(WalkError::Unexpected);
        };
        if step.level != RttLevel::LEVEL_2 {
            return Ok(Next::Continue);
        }
        let machine = self.stage2.host.machine();
        let Some(leaf) = whole(machine, child) else {
            return Ok(Next::Skip);
        };
        step.slot.store(entry::INVALID, Ordering::Release);
        machine.publish();
        machine.invalidate_ipa(self.stage2.vmid, step.base, step.level.block_size());
        let block = leaf.encode(step.level, self.stage2.encoding());
        step.slot.store(block, Ordering::Release);
        machine.publish();
        self.stage2.free_subtree(child, RttLevel::LEVEL_3);
        self.blocks += 1;
        Ok(Next::Skip)
    }
}

/// The block that says the same as the level 3 table, if there is one.
fn whole(memory: &dyn PhysMemory, table: Pfn) -> Option<Leaf> {
    let mut block: Option<Leaf> = None;
    for (index, slot) in memory.table(table).iter().enumerate() {
        let raw = slot.load(Ordering::Acquire);
        let Entry::Leaf(leaf) = Entry::decode(raw, RttLevel::LEVEL_3) else {
            return None;
        };
        let first = block.get_or_insert(leaf);
        let device = Permissions::DEVICE;
        if leaf.pfn != first.pfn.offset(to_u64(index))
            || leaf.permissions.contains(device) != first.permissions.contains(device)
        {
            return None;
        }
        first.permissions &= leaf.permissions;
        first.accessed |= leaf.accessed;
    }
    block.filter(|leaf| leaf.pfn.is_aligned(PAGE_SIZE << 9))
}
