// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Rules W1 to W6 on the walker itself, against a reference walker and a flat model.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use host_mm::addr::{BLOCK_2M, PAGE_SIZE, PAGES_PER_2M, Pfn};
use host_mm::host::Host;
use host_mm::memcache::MemCache;
use host_mm::pages::{PageUse, Wish};
use host_mm::perms::Permissions;
use host_mm::stage2::Stage2;
use host_mm::stage2::entry::{self, Entry};
use host_mm::stage2::map::level_of;
use host_mm::stage2::walk::{Next, Step, Visit, Visitor, WalkError, walk};
use host_mm::vm::{CpuFacts, Vm};
use rmi::{Ipa, RttLevel};

use crate::guest::{VMID, leaf, normal};
use crate::machine::{DRAM, FakeMachine, host_with, this_cpu};

const MIB: u64 = 1 << 20;
const BASE: u64 = 0x8000_0000;
const READ: Permissions = Permissions::READ;
const RW: Permissions = READ.union(Permissions::WRITE);

fn page(number: u64) -> Pfn {
    Pfn::containing(DRAM + 8 * MIB).offset(number)
}

struct Fixture<'h> {
    vm: Vm<'h, FakeMachine>,
    cache: MemCache<'h>,
}

impl<'h> Fixture<'h> {
    fn new(host: &'h Host<FakeMachine>) -> Self {
        let vm = normal(host, CpuFacts::default());
        let mut cache = MemCache::new(host.pages(), Wish::Any);
        assert!(cache.fill(16));
        Self { vm, cache }
    }

    fn stage2(&self) -> &Stage2<'h, FakeMachine> {
        self.vm.stage2().unwrap()
    }

    fn map(
        &mut self,
        ipa: u64,
        pfn: Pfn,
        size: u64,
        permissions: Permissions,
    ) -> Result<(), WalkError> {
        assert!(self.cache.fill(4));
        let stage2 = self.vm.stage2().unwrap();
        stage2.map(Ipa::new(ipa), pfn, size, permissions, &mut self.cache)
    }

    /// What the MMU would find: first byte behind `ipa`, and the level of the leaf.
    fn found(&self, ipa: u64) -> Option<(u64, i64)> {
        let found = leaf(&self.vm, ipa)?;
        let size = level_size(found.level);
        Some((found.output() + ipa % size, found.level))
    }

    /// Pretends that the MMU has cached what it finds at `ipa`.
    fn cached(&self, ipa: u64) {
        let found = leaf(&self.vm, ipa).unwrap();
        let machine = self.vm.host().machine();
        let mut tlb = machine.tlb.lock().unwrap();
        let key = (VMID, ipa / PAGE_SIZE, this_cpu());
        tlb.insert(key, (found.raw, found.level));
    }

    fn is_cached(&self, ipa: u64) -> bool {
        let machine = self.vm.host().machine();
        let key = (VMID, ipa / PAGE_SIZE, this_cpu());
        machine.tlb.lock().unwrap().contains_key(&key)
    }
}

fn level_size(level: i64) -> u64 {
    1 << (12 + 9 * (3 - level))
}

#[test]
fn w1_a_table_that_a_block_can_replace_is_replaced_and_freed_later() {
    let host = host_with(32 * MIB);
    let mut fixture = Fixture::new(&host);
    fixture
        .map(BASE + 3 * PAGE_SIZE, page(3), PAGE_SIZE, RW)
        .unwrap();
    fixture.cached(BASE + 3 * PAGE_SIZE);
    let tables = host.pages().usage(PageUse::Table).now();
    fixture.map(BASE, page(512), BLOCK_2M, RW).unwrap();
    assert_eq!(
        fixture.found(BASE + 3 * PAGE_SIZE),
        Some((page(515).address(), 2))
    );
    assert!(!fixture.is_cached(BASE + 3 * PAGE_SIZE));
    // Another CPU may still walk the old table: it is there until nobody can.
    assert!(fixture.stage2().has_detached());
    assert_eq!(host.pages().usage(PageUse::Table).now(), tables);
    fixture.stage2().free_detached();
    assert_eq!(host.pages().usage(PageUse::Table).now(), tables - 1);
}

#[test]
fn w1_a_table_stays_when_the_block_does_not_cover_it_or_is_crooked() {
    let host = host_with(32 * MIB);
    let mut fixture = Fixture::new(&host);
    fixture.map(BASE, page(0), PAGE_SIZE, RW).unwrap();
    // Not aligned: 2 MiB of pages, one by one.
    fixture.map(BASE, page(0), BLOCK_2M, RW).unwrap();
    assert_eq!(
        fixture.found(BASE + PAGE_SIZE),
        Some((page(1).address(), 3))
            .filter(|_| !page(0).is_aligned(BLOCK_2M))
            .or(Some((page(1).address(), 2)))
    );
    fixture.map(BASE + BLOCK_2M, page(1), BLOCK_2M, RW).unwrap();
    assert_eq!(fixture.found(BASE + BLOCK_2M), Some((page(1).address(), 3)));
    assert_eq!(
        fixture.found(BASE + 2 * BLOCK_2M - PAGE_SIZE),
        Some((page(512).address(), 3))
    );
}

#[test]
fn w2_mapping_the_same_again_changes_nothing() {
    let host = host_with(32 * MIB);
    let mut fixture = Fixture::new(&host);
    fixture.map(BASE, page(1), PAGE_SIZE, RW).unwrap();
    let before = leaf(&fixture.vm, BASE);
    fixture.cached(BASE);
    fixture.map(BASE, page(1), PAGE_SIZE, RW).unwrap();
    assert_eq!(leaf(&fixture.vm, BASE), before);
    assert!(fixture.is_cached(BASE), "nothing was invalidated");
    assert_eq!(fixture.stage2().counters().installed.get(), 1);
}

#[test]
fn w2_other_permissions_are_the_permission_paths_business() {
    let host = host_with(32 * MIB);
    let mut fixture = Fixture::new(&host);
    fixture.map(BASE, page(1), PAGE_SIZE, READ).unwrap();
    let before = leaf(&fixture.vm, BASE);
    assert_eq!(
        fixture.map(BASE, page(1), PAGE_SIZE, RW),
        Err(WalkError::Again)
    );
    assert_eq!(leaf(&fixture.vm, BASE), before);
}

#[test]
fn w2_another_page_goes_through_break_before_make() {
    let host = host_with(32 * MIB);
    let mut fixture = Fixture::new(&host);
    fixture.map(BASE, page(1), PAGE_SIZE, RW).unwrap();
    fixture.cached(BASE);
    fixture.map(BASE, page(2), PAGE_SIZE, RW).unwrap();
    assert_eq!(fixture.found(BASE), Some((page(2).address(), 3)));
    assert!(!fixture.is_cached(BASE));
    assert_eq!(fixture.stage2().counters().broken.get(), 1);
}

#[test]
fn w2_a_block_in_the_way_is_dropped_before_its_table() {
    let host = host_with(32 * MIB);
    let mut fixture = Fixture::new(&host);
    fixture.map(BASE, page(512), BLOCK_2M, RW).unwrap();
    fixture.cached(BASE + 7 * PAGE_SIZE);
    fixture
        .map(BASE + PAGE_SIZE, page(1), PAGE_SIZE, RW)
        .unwrap();
    assert_eq!(
        fixture.found(BASE + PAGE_SIZE),
        Some((page(1).address(), 3))
    );
    assert_eq!(
        fixture.found(BASE + 7 * PAGE_SIZE),
        None,
        "to be faulted in again"
    );
    assert!(!fixture.is_cached(BASE + 7 * PAGE_SIZE));
}

#[test]
fn w3_a_claimed_entry_means_trying_again() {
    let host = host_with(32 * MIB);
    let mut fixture = Fixture::new(&host);
    fixture.map(BASE, page(1), PAGE_SIZE, RW).unwrap();
    fixture.stage2().unmap(BASE..BASE + PAGE_SIZE);
    fixture
        .map(BASE + PAGE_SIZE, page(1), PAGE_SIZE, RW)
        .unwrap();
    let slot_of = |ipa: u64| {
        let mut seen = SlotFinder {
            level: RttLevel::LEVEL_3,
            address: None,
        };
        let root = fixture.stage2().root();
        walk(host.machine(), root, ipa..ipa + 1, &mut seen).unwrap();
        seen.address.unwrap()
    };
    let address = slot_of(BASE);
    host.machine().set_word(address, entry::LOCKED);
    let spare = fixture.cache.len();
    assert_eq!(
        fixture.map(BASE, page(5), PAGE_SIZE, RW),
        Err(WalkError::Again)
    );
    assert_eq!(fixture.cache.len(), spare);
    assert_eq!(
        host.machine().word(address),
        entry::LOCKED,
        "it is the other CPU's"
    );
}

/// Finds where the entry of a level is in memory.
struct SlotFinder {
    level: RttLevel,
    address: Option<u64>,
}

impl Visitor for SlotFinder {
    fn wants(&self, visit: Visit) -> bool {
        visit != Visit::TableAfter
    }

    fn visit(&mut self, step: &Step<'_>) -> Result<Next, WalkError> {
        if step.level == self.level {
            let index = step.base.raw() / step.level.block_size() % 512;
            self.address = Some(step.table.address() + index * 8);
        }
        Ok(Next::Continue)
    }
}

#[test]
fn w3_without_pages_nothing_is_half_done() {
    let host = host_with(32 * MIB);
    let fixture = Fixture::new(&host);
    let mut empty = MemCache::new(host.pages(), Wish::Any);
    let map = |cache: &mut MemCache<'_>| {
        fixture
            .stage2()
            .map(Ipa::new(BASE), page(1), PAGE_SIZE, RW, cache)
    };
    assert_eq!(map(&mut empty), Err(WalkError::OutOfMemory));
    assert_eq!(fixture.found(BASE), None);
    assert!(empty.fill(1));
    assert_eq!(
        map(&mut empty),
        Err(WalkError::OutOfMemory),
        "one of two tables"
    );
    assert_eq!(fixture.found(BASE), None);
    assert!(empty.fill(1));
    assert_eq!(map(&mut empty), Ok(()), "the first table has stayed");
}

#[test]
fn w4_a_mapping_is_accessed_and_inner_shareable() {
    let host = host_with(32 * MIB);
    let mut fixture = Fixture::new(&host);
    fixture.map(BASE, page(1), PAGE_SIZE, RW).unwrap();
    let raw = leaf(&fixture.vm, BASE).unwrap().raw;
    // Execute-never, AF, SH 0b11, S2AP 0b11, MemAttr 0b1111, page.
    assert_eq!(raw, 1 << 54 | page(1).address() | 0x7FF);
}

#[test]
fn w5_relaxing_adds_invalidates_and_needs_the_leaf() {
    let host = host_with(32 * MIB);
    let mut fixture = Fixture::new(&host);
    let ipa = Ipa::new(BASE);
    fixture.map(BASE, page(1), PAGE_SIZE, READ).unwrap();
    fixture.cached(BASE);
    let stage2 = fixture.stage2();
    stage2
        .relax(ipa, RttLevel::LEVEL_3, Permissions::WRITE)
        .unwrap();
    let found = leaf(&fixture.vm, BASE).unwrap();
    assert!(found.writable() && !found.executable());
    assert_eq!(found.output(), page(1).address());
    assert!(!fixture.is_cached(BASE));
    // Nothing is removed.
    stage2.relax(ipa, RttLevel::LEVEL_3, READ).unwrap();
    assert!(leaf(&fixture.vm, BASE).unwrap().writable());
    let wrong_level = stage2.relax(ipa, RttLevel::LEVEL_2, Permissions::WRITE);
    assert_eq!(wrong_level, Err(WalkError::Again));
    stage2.unmap(BASE..BASE + PAGE_SIZE);
    let gone = stage2.relax(ipa, RttLevel::LEVEL_3, Permissions::WRITE);
    assert_eq!(gone, Err(WalkError::Again));
    assert_eq!(fixture.found(BASE), None);
}

#[test]
fn w6_unmapping_frees_empty_tables_and_only_those() {
    let host = host_with(32 * MIB);
    let mut fixture = Fixture::new(&host);
    let tables = host.pages().usage(PageUse::Table).now();
    for n in 0..4 {
        fixture
            .map(BASE + n * PAGE_SIZE, page(n), PAGE_SIZE, RW)
            .unwrap();
        fixture.cached(BASE + n * PAGE_SIZE);
    }
    assert_eq!(host.pages().usage(PageUse::Table).now(), tables + 2);
    assert_eq!(
        fixture
            .stage2()
            .unmap(BASE + PAGE_SIZE..BASE + 3 * PAGE_SIZE),
        2
    );
    let there = |n: u64| fixture.found(BASE + n * PAGE_SIZE).is_some();
    assert_eq!(
        [there(0), there(1), there(2), there(3)],
        [true, false, false, true]
    );
    assert!(fixture.is_cached(BASE) && !fixture.is_cached(BASE + PAGE_SIZE));
    assert_eq!(host.pages().usage(PageUse::Table).now(), tables + 2);
    assert_eq!(fixture.stage2().unmap(0..1 << 40), 2);
    assert_eq!(host.pages().usage(PageUse::Table).now(), tables);
}

#[test]
fn w6_write_protection_keeps_everything_but_writes() {
    let host = host_with(32 * MIB);
    let mut fixture = Fixture::new(&host);
    let rwx = RW | Permissions::EXECUTE;
    fixture.map(BASE, page(1), PAGE_SIZE, rwx).unwrap();
    fixture
        .map(BASE + PAGE_SIZE, page(2), PAGE_SIZE, READ)
        .unwrap();
    fixture.cached(BASE);
    assert_eq!(fixture.stage2().write_protect(BASE..BASE + MIB), 1);
    let found = leaf(&fixture.vm, BASE).unwrap();
    assert!(!found.writable() && found.executable());
    assert!(!fixture.is_cached(BASE));
}

#[test]
fn w6_collapse_makes_a_block_of_complete_contiguous_pages() {
    let host = host_with(32 * MIB);
    let mut fixture = Fixture::new(&host);
    for n in 0..PAGES_PER_2M {
        let permissions = if n == 7 { READ } else { RW };
        fixture
            .map(BASE + n * PAGE_SIZE, page(512 + n), PAGE_SIZE, permissions)
            .unwrap();
        if n != 9 {
            fixture
                .map(
                    BASE + BLOCK_2M + n * PAGE_SIZE,
                    page(1024 + n),
                    PAGE_SIZE,
                    RW,
                )
                .unwrap();
        }
    }
    let tables = host.pages().usage(PageUse::Table).now();
    assert_eq!(fixture.stage2().collapse(BASE..BASE + 2 * BLOCK_2M), 1);
    let block = leaf(&fixture.vm, BASE).unwrap();
    assert_eq!((block.level, block.output()), (2, page(512).address()));
    assert!(!block.writable(), "what all pages allow");
    assert_eq!(leaf(&fixture.vm, BASE + BLOCK_2M).unwrap().level, 3);
    assert_eq!(host.pages().usage(PageUse::Table).now(), tables - 1);
}

#[test]
fn a_visitor_sees_tables_before_and_after_their_children() {
    struct Order(Vec<(Visit, i64)>);
    impl Visitor for Order {
        fn wants(&self, _visit: Visit) -> bool {
            true
        }
        fn visit(&mut self, step: &Step<'_>) -> Result<Next, WalkError> {
            self.0.push((step.visit, step.level.raw()));
            Ok(Next::Continue)
        }
    }
    let host = host_with(32 * MIB);
    let mut fixture = Fixture::new(&host);
    fixture.map(BASE, page(1), PAGE_SIZE, RW).unwrap();
    let mut order = Order(Vec::new());
    let range = BASE..BASE + 2 * PAGE_SIZE;
    walk(host.machine(), fixture.stage2().root(), range, &mut order).unwrap();
    let expected = [
        (Visit::TableBefore, 1),
        (Visit::TableBefore, 2),
        (Visit::Leaf, 3),
        (Visit::Leaf, 3),
        (Visit::TableAfter, 2),
        (Visit::TableAfter, 1),
    ];
    assert_eq!(order.0, expected);
}

#[test]
fn concatenated_starting_tables_are_walked_as_one() {
    let host = host_with(32 * MIB);
    let mut fixture = Fixture::new(&host);
    // 40 bits at level 1: two starting tables.
    let high = (1 << 39) + BASE;
    fixture.map(high, page(3), PAGE_SIZE, RW).unwrap();
    assert_eq!(fixture.found(high), Some((page(3).address(), 3)));
    assert_eq!(fixture.found(BASE), None);
    assert_eq!(fixture.stage2().unmap(0..1 << 40), 1);
}

/// Blocks and pages at random places against a map of pages.
#[test]
fn the_walker_agrees_with_a_flat_model_and_a_reference_walker() {
    let seed = 4_711_u64;
    std::println!("seed {seed}");
    let mut state = seed;
    let mut roll = move |limit: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(5);
        (state >> 33) % limit
    };
    let host = host_with(32 * MIB);
    let before = host.pages().usage(PageUse::Table).now();
    let mut fixture = Fixture::new(&host);
    let roots = host.pages().usage(PageUse::Table).now();
    let mut flat: BTreeMap<u64, u64> = BTreeMap::new();
    const SPAN: u64 = 4 * PAGES_PER_2M;
    for _ in 0..4000 {
        let at = roll(SPAN);
        match roll(8) {
            0..=3 => {
                // A page; a block in the way loses its other pages.
                let target = roll(4096);
                let block = at / PAGES_PER_2M * PAGES_PER_2M;
                let old_level = fixture.found(BASE + at * PAGE_SIZE).map(|(_, level)| level);
                fixture
                    .map(BASE + at * PAGE_SIZE, page(target), PAGE_SIZE, RW)
                    .unwrap();
                if old_level == Some(2) {
                    (block..block + PAGES_PER_2M).for_each(|p| _ = flat.remove(&p));
                }
                flat.insert(at, page(target).raw());
            }
            4 => {
                let block = at / PAGES_PER_2M * PAGES_PER_2M;
                let target = page(roll(8) * PAGES_PER_2M);
                fixture
                    .map(BASE + block * PAGE_SIZE, target, BLOCK_2M, RW)
                    .unwrap();
                for n in 0..PAGES_PER_2M {
                    flat.insert(block + n, target.raw() + n);
                }
            }
            5 | 6 => {
                // Blocks go whole.
                let end = (at + 1 + roll(600)).min(SPAN);
                for edge in [at, end - 1] {
                    if let Some((_, 2)) = fixture.found(BASE + edge * PAGE_SIZE) {
                        let block = edge / PAGES_PER_2M * PAGES_PER_2M;
                        (block..block + PAGES_PER_2M).for_each(|p| _ = flat.remove(&p));
                    }
                }
                fixture
                    .stage2()
                    .unmap(BASE + at * PAGE_SIZE..BASE + end * PAGE_SIZE);
                (at..end).for_each(|p| _ = flat.remove(&p));
            }
            _ => fixture.stage2().free_detached(),
        }
        for probe in (0..32).map(|_| roll(SPAN)).chain([at]) {
            let found = fixture.found(BASE + probe * PAGE_SIZE);
            let expected = flat.get(&probe).map(|pfn| pfn * PAGE_SIZE);
            assert_eq!(found.map(|(address, _)| address), expected, "page {probe}");
        }
    }
    fixture.stage2().unmap(0..1 << 40);
    assert_eq!(
        host.pages().usage(PageUse::Table).now(),
        roots,
        "no table is left"
    );
    let Fixture { vm, cache } = fixture;
    vm.destroy().unwrap();
    drop(cache);
    assert_eq!(host.pages().usage(PageUse::Table).now(), before);
    assert_eq!(host.pages().usage(PageUse::Spare).now(), 0);
}

#[test]
fn lookups_tell_leaf_and_level() {
    let host = host_with(32 * MIB);
    let mut fixture = Fixture::new(&host);
    fixture.map(BASE, page(512), BLOCK_2M, RW).unwrap();
    let (found, level) = fixture.stage2().lookup(Ipa::new(BASE + 0x5000));
    assert!(matches!(found, Entry::Leaf(l) if l.pfn == page(512)));
    assert_eq!(
        (level, level_of(BLOCK_2M)),
        (RttLevel::LEVEL_2, RttLevel::LEVEL_2)
    );
    assert_eq!(fixture.stage2().mapping_sizes().blocks_2m, 1);
    assert!(host.machine().invalidations.load(Ordering::SeqCst) == 0);
}
