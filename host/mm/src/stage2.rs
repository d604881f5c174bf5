// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The host's own stage 2, for normal VMs (rules W1 to W7).
//!
//! Tables hold atomic entries. *Shared* walks (faults, under the MMU lock taken for reading) claim
//! an entry by compare-exchange to a locked, invalid marker before they change it; *exclusive*
//! walks (under the lock taken for writing) are alone. Each table page has one reference for the
//! entry that points to it and one for each of its valid entries. A table that a shared walk
//! detaches may still be walked by another CPU: it is freed by the next exclusive walk.

pub mod dirty;
pub mod entry;
pub mod map;
pub mod relax;
pub mod unmap;
pub mod walk;

use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::Ordering;

use rmi::{Ipa, RttLevel};
use spin::Mutex;

use crate::addr::Pfn;
use crate::host::{Counter, Host};
use crate::machine::Machine;
use crate::pages::{PageUse, Wish};
use crate::perms::Permissions;
use crate::realm::{Geometry, MappingSizes};
use crate::vm::CpuFacts;

use entry::{Encoding, Entry, Leaf};
use walk::{Root, Visit, Visitor, WalkError, walk};

/// What happened to a stage 2.
#[derive(Debug, Default)]
pub struct Stage2Counters {
    /// Leaf entries installed.
    pub installed: Counter,
    /// Entries changed by break-before-make.
    pub broken: Counter,
    /// Table pages installed.
    pub tables: Counter,
    /// Tables replaced by a block.
    pub collapsed: Counter,
    /// Permissions added to an entry.
    pub relaxed: Counter,
    /// Entries write-protected.
    pub protected: Counter,
    /// Leaf entries removed.
    pub removed: Counter,
}

/// The stage 2 of one normal VM.
#[derive(Debug)]
pub struct Stage2<'h, M> {
    host: &'h Host<M>,
    root: Root,
    geometry: Geometry,
    vmid: u16,
    cpu: CpuFacts,
    /// Tables that were replaced under a shared walk, with their level.
    detached: Mutex<Vec<(Pfn, RttLevel)>>,
    counters: Stage2Counters,
}

impl<'h, M: Machine> Stage2<'h, M> {
    /// Returns an empty stage 2, or nothing when memory for its starting tables is short.
    ///
    /// `vmid` is nobody else's; the TLB knows nothing of it.
    pub fn new(host: &'h Host<M>, geometry: Geometry, vmid: u16, cpu: CpuFacts) -> Option<Self> {
        let order = geometry.root_order;
        let table = host
            .pages()
            .allocate_block(order, PageUse::Table, Wish::Any)?;
        (0..1 << order).for_each(|i| host.machine().zero_page(table.offset(i)));
        host.machine().publish();
        Some(Self {
            host,
            root: Root {
                table,
                level: geometry.start_level,
            },
            geometry,
            vmid,
            cpu,
            detached: Mutex::default(),
            counters: Stage2Counters::default(),
        })
    }

    /// Returns the starting tables and their level.
    pub fn root(&self) -> Root {
        self.root
    }

    /// Returns the shape of the tables.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Returns the VMID.
    pub fn vmid(&self) -> u16 {
        self.vmid
    }

    /// Returns the counters.
    pub fn counters(&self) -> &Stage2Counters {
        &self.counters
    }

    /// Returns how the VM's memory is mapped now, by size of entry. Takes the time of a walk.
    pub fn mapping_sizes(&self) -> MappingSizes {
        let mut census = Census::default();
        let all = 0..1 << self.geometry.ipa_bits;
        self.sweep(all, &mut census);
        census.sizes
    }

    /// Returns the entry and its level at `ipa`: the leaf, or where the walk ended.
    pub fn lookup(&self, ipa: Ipa) -> (Entry, RttLevel) {
        let mut finder = Finder {
            found: (Entry::Invalid, self.root.level),
        };
        let page = ipa.raw()..ipa.raw() + 1;
        self.sweep(page, &mut finder);
        finder.found
    }

    /// Frees the tables that shared walks have detached. The caller holds the MMU lock for
    /// writing, so nobody walks them any more.
    pub fn free_detached(&self) {
        for (table, level) in core::mem::take(&mut *self.detached.lock()) {
            self.free_subtree(table, level);
        }
    }

    /// Whether tables wait to be freed.
    pub fn has_detached(&self) -> bool {
        !self.detached.lock().is_empty()
    }

    /// Frees everything. No vCPU runs and none will.
    pub fn destroy(&self) {
        self.free_detached();
        let machine = self.host.machine();
        machine.invalidate_vm(self.vmid);
        for table in (0..1 << self.geometry.root_order).map(|i| self.root.table.offset(i)) {
            self.free_subtree(table, self.root.level);
        }
    }

    /// Frees a table and those below it; no walk can reach them.
    fn free_subtree(&self, table: Pfn, level: RttLevel) {
        for slot in self.host.machine().table(table) {
            let entry = Entry::decode(slot.load(Ordering::Acquire), level);
            match (entry, level.child()) {
                (Entry::Table(child), Some(below)) => {
                    self.free_subtree(child, below);
                    self.host.pages().put(table);
                }
                (Entry::Leaf(_), _) => self.host.pages().put(table),
                (Entry::Table(_) | Entry::Invalid | Entry::Locked, _) => (),
            }
        }
        self.host.pages().put(table);
    }

    fn encoding(&self) -> Encoding {
        if self.cpu.fwb {
            Encoding::ForcedWriteBack
        } else {
            Encoding::Combined
        }
    }

    /// The descriptor of a new mapping; the access flag is set (rule W4).
    fn leaf(&self, pfn: Pfn, permissions: Permissions, level: RttLevel) -> u64 {
        let leaf = Leaf {
            pfn,
            permissions,
            accessed: true,
        };
        leaf.encode(level, self.encoding())
    }

    fn walk(&self, range: Range<u64>, visitor: &mut dyn Visitor) -> Result<(), WalkError> {
        walk(self.host.machine(), self.root, range, visitor)
    }

    /// A walk whose visitor has no way to fail.
    fn sweep(&self, range: Range<u64>, visitor: &mut dyn Visitor) {
        let walked = self.walk(range, visitor);
        debug_assert!(walked.is_ok(), "{walked:?}");
    }

    /// Cache maintenance before `size` bytes at `pfn` become visible to the guest (rule W7).
    fn prepare(&self, pfn: Pfn, size: u64, permissions: Permissions) {
        if permissions.contains(Permissions::DEVICE) {
            return;
        }
        if !self.cpu.fwb {
            self.host.machine().clean_data(pfn, size);
        }
        if permissions.contains(Permissions::EXECUTE) && !self.cpu.dic {
            self.host.machine().sync_instructions(pfn, size);
        }
    }
}

/// Counts leaves by size.
#[derive(Default)]
struct Census {
    sizes: MappingSizes,
}

impl Visitor for Census {
    fn wants(&self, visit: Visit) -> bool {
        visit == Visit::Leaf
    }

    fn visit(&mut self, step: &walk::Step<'_>) -> Result<walk::Next, WalkError> {
        if let Entry::Leaf(_) = step.entry {
            match step.level {
                RttLevel::LEVEL_1 => self.sizes.blocks_1g += 1,
                RttLevel::LEVEL_2 => self.sizes.blocks_2m += 1,
                _ => self.sizes.pages += 1,
            }
        }
        Ok(walk::Next::Continue)
    }
}

/// Remembers the last entry.
struct Finder {
    found: (Entry, RttLevel),
}

impl Visitor for Finder {
    fn wants(&self, visit: Visit) -> bool {
        visit == Visit::Leaf
    }

    fn visit(&mut self, step: &walk::Step<'_>) -> Result<walk::Next, WalkError> {
        self.found = (step.entry, step.level);
        Ok(walk::Next::Continue)
    }
}
