// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

use std::collections::BTreeMap;
use std::vec::Vec;

use super::*;
use crate::addr::BLOCK_2M;

const MIB: u64 = 1 << 20;

fn allocator() -> PageAllocator {
    PageAllocator::new(&[
        PhysRange::new(0x4000_0000, 16 * MIB),
        PhysRange::new(0x1_0000_3000, 4 * MIB),
    ])
}

#[test]
fn blocks_are_aligned_and_disjoint() {
    let pages = allocator();
    let mut seen = Vec::new();
    while let Some(block) = pages.allocate_block(MAX_ORDER, PageUse::Guest, Wish::Any) {
        assert!(block.is_aligned(BLOCK_2M));
        assert!(!seen.contains(&block));
        seen.push(block);
    }
    // 16 MiB hold eight blocks; 4 MiB that start at an odd page hold one.
    assert_eq!(seen.len(), 9);
    let single = pages.allocate(PageUse::Guest, Wish::Any).unwrap();
    assert!(
        seen.iter()
            .all(|b| !(b.raw()..b.raw() + 512).contains(&single.raw()))
    );
}

#[test]
fn random_use_agrees_with_a_flat_model() {
    let pages = allocator();
    let total = pages.stats().free_delegable;
    let mut held: BTreeMap<u64, ()> = BTreeMap::new();
    let mut seed = 42_u64;
    for _ in 0..20_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(7);
        let order = to_usize(seed >> 40) % 4;
        if seed >> 62 < 2 {
            if let Some(first) = pages.allocate_block(order, PageUse::Guest, Wish::Any) {
                for pfn in first.raw()..first.raw() + (1 << order) {
                    assert!(held.insert(pfn, ()).is_none(), "page handed out twice");
                }
            }
        } else if let Some(pfn) = held.range(seed >> 45..).next().map(|(p, ())| *p) {
            held.remove(&pfn);
            pages.put(Pfn::new(pfn));
        }
        assert_eq!(pages.stats().free_delegable, total - to_u64(held.len()));
    }
    for pfn in held.keys() {
        pages.put(Pfn::new(*pfn));
    }
    assert_eq!(pages.usage(PageUse::Guest).now(), 0);
    // Everything has merged again.
    let blocks = core::iter::from_fn(|| pages.allocate_block(MAX_ORDER, PageUse::Host, Wish::Any));
    assert_eq!(blocks.count(), 9);
}

#[test]
fn undelegable_ranges_serve_only_requests_that_do_not_care() {
    let pages = allocator();
    pages.set_delegable(PhysRange::new(0x4000_0000, 16 * MIB), Delegable::No);
    assert_eq!(pages.stats().free_other, 16 * MIB / PAGE_SIZE);
    let any = pages.allocate(PageUse::Host, Wish::Any).unwrap();
    assert!(any.address() < 0x1_0000_0000);
    let mut count = 0;
    while let Some(pfn) = pages.allocate(PageUse::Data, Wish::Delegable) {
        assert!(pfn.address() >= 0x1_0000_0000);
        count += 1;
    }
    assert_eq!(count, 4 * MIB / PAGE_SIZE);
    pages.put(any);
    assert_eq!(pages.stats().free_other, 16 * MIB / PAGE_SIZE);
}

#[test]
fn reserved_pages_are_never_handed_out() {
    let pages = allocator();
    pages.reserve(PhysRange::new(0x4010_0000, 0x1_0001));
    assert_eq!(pages.usage(PageUse::Reserved).now(), 17);
    while let Some(pfn) = pages.allocate(PageUse::Host, Wish::Any) {
        assert!(!(0x4010_0000..0x4011_1000).contains(&pfn.address()));
    }
}

#[test]
fn the_last_reference_frees() {
    let pages = allocator();
    let free = pages.stats().free_delegable;
    let pfn = pages.allocate(PageUse::Guest, Wish::Any).unwrap();
    let hold = pages.hold(pfn);
    assert_eq!(pages.references(pfn), 2);
    pages.put(pfn);
    assert_eq!(pages.stats().free_delegable, free - 1);
    drop(hold);
    assert_eq!(pages.stats().free_delegable, free);
}

#[test]
fn poisoned_and_leaked_pages_never_come_back() {
    let pages = allocator();
    let free = pages.stats().free_delegable;
    let poisoned = pages.allocate(PageUse::Guest, Wish::Any).unwrap();
    pages.poison(poisoned);
    pages.put(poisoned);
    let leaked = pages.allocate(PageUse::Data, Wish::Delegable).unwrap();
    assert!(pages.begin_delegate(leaked));
    assert!(!pages.begin_delegate(leaked), "a page is claimed once");
    pages.put(leaked);
    // Poison found on a page nobody uses.
    pages.poison(Pfn::containing(0x4050_0000));
    let stats = pages.stats();
    assert_eq!((stats.leaked, stats.poisoned, stats.delegated), (1, 2, 1));
    assert_eq!(stats.free_delegable, free - 3);
}

#[test]
fn a_backing_grows_at_a_wished_place() {
    let pages = allocator();
    let first = pages
        .allocate_block(MAX_ORDER, PageUse::Guest, Wish::Any)
        .unwrap();
    assert!(pages.allocate_at(first.offset(512), MAX_ORDER, PageUse::Guest, Wish::Any));
    assert!(!pages.allocate_at(first.offset(512), MAX_ORDER, PageUse::Guest, Wish::Any));
    assert!(!pages.allocate_at(first.offset(1025), MAX_ORDER, PageUse::Guest, Wish::Any));
}

#[test]
fn threads_never_share_a_page() {
    let pages = allocator();
    let taken: Vec<Vec<Pfn>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut mine = Vec::new();
                    for round in 0..500 {
                        mine.extend(pages.allocate(PageUse::Guest, Wish::Any));
                        if round % 3 == 0 {
                            pages.put(mine.pop().unwrap());
                        }
                    }
                    mine
                })
            })
            .collect();
        workers.into_iter().map(|w| w.join().unwrap()).collect()
    });
    let mut all: Vec<_> = taken.into_iter().flatten().collect();
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count);
}
