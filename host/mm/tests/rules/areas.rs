// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Rules V1 to V3: areas against a flat model, page by page.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::vec::Vec;

use host_mm::addr::{Granularity, Hva, PAGE_SIZE};
use host_mm::area::{AddressSpace, Area, AreaError, AreaFlags, Protection};
use host_mm::backing::{Kind, Object};
use host_mm::pages::Wish;

const BASE: u64 = 0x7000_0000;
const PAGES: u64 = 200;

fn at(page: u64) -> Hva {
    Hva::new(BASE + page * PAGE_SIZE)
}

fn area(object: &Arc<Object>, from: u64, to: u64, offset: u64) -> Area {
    Area {
        start: at(from),
        end: at(to),
        owner: 0,
        protection: Protection::READ,
        flags: AreaFlags::empty(),
        page_offset: offset,
        object: object.clone(),
        user_faults: None,
    }
}

fn object(id: u32) -> Arc<Object> {
    Arc::new(Object::new(id, Kind::Anonymous(None), Wish::Any))
}

#[test]
fn v1_an_address_in_a_hole_finds_nothing() {
    let space = AddressSpace::new(1);
    let object = object(1);
    space.insert(area(&object, 10, 12, 0)).unwrap();
    space.insert(area(&object, 20, 30, 40)).unwrap();
    for (page, found) in [
        (9, false),
        (10, true),
        (11, true),
        (12, false),
        (19, false),
        (29, true),
        (30, false),
    ] {
        assert_eq!(space.find(at(page)).is_some(), found, "page {page}");
    }
    assert!(space.find(Hva::new(at(12).raw() - 1)).is_some());
    assert!(space.find(Hva::new(0)).is_none());
    let found = space.find(at(25)).unwrap();
    assert_eq!((found.owner, found.index_of(at(25))), (1, 45));
}

#[test]
fn v2_lookup_is_logarithmic() {
    // Ten thousand areas; a linear search would make this test take minutes.
    let space = AddressSpace::new(1);
    let object = object(1);
    for n in 0..10_000 {
        space
            .insert(area(&object, 2 * n, 2 * n + 1, 3 * n))
            .unwrap();
    }
    for n in 0..1_000_000_u64 {
        let page = n * 7919 % 20_000;
        assert_eq!(space.find(at(page)).is_some(), page.is_multiple_of(2));
    }
}

#[test]
fn v3_overlapping_and_crooked_areas_are_refused() {
    let space = AddressSpace::new(1);
    let object = object(1);
    space.insert(area(&object, 10, 20, 0)).unwrap();
    for (from, to) in [(9, 11), (10, 20), (12, 13), (19, 25), (5, 30)] {
        let result = space.insert(area(&object, from, to, 0));
        assert_eq!(result, Err(AreaError::Overlap));
    }
    let crooked = Area {
        start: Hva::new(BASE + 1),
        ..area(&object, 0, 1, 0)
    };
    assert_eq!(space.insert(crooked), Err(AreaError::Unaligned));
    assert_eq!(
        space.insert(area(&object, 3, 3, 0)),
        Err(AreaError::Unaligned)
    );
}

#[test]
fn v3_neighbors_that_continue_each_other_merge() {
    let space = AddressSpace::new(1);
    let object = object(1);
    space.insert(area(&object, 0, 4, 0)).unwrap();
    space.insert(area(&object, 8, 12, 8)).unwrap();
    space.insert(area(&object, 4, 8, 4)).unwrap();
    assert_eq!(space.areas().len(), 1);
    assert_eq!(object.mappers().lock().len(), 1);
    // A different offset does not continue.
    space.insert(area(&object, 12, 13, 99)).unwrap();
    assert_eq!(space.areas().len(), 2);
}

#[test]
fn v3_a_huge_backing_is_not_split_inside_a_page() {
    let space = AddressSpace::new(1);
    let huge = Arc::new(Object::new(1, Kind::Huge(Granularity::Block2M), Wish::Any));
    space.insert(area(&huge, 0, 2048, 0)).unwrap();
    assert_eq!(
        space.remove(at(512), at(700)).unwrap_err(),
        AreaError::MayNotSplit
    );
    assert_eq!(space.areas().len(), 1, "nothing has changed");
    space.remove(at(512), at(1024)).unwrap();
    assert_eq!(space.areas().len(), 2);
}

/// What the flat model knows of a page: object, page of the object, protection.
type Flat = BTreeMap<u64, (u32, u64, Protection)>;

struct Dice(u64);

impl Dice {
    fn roll(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(99);
        (self.0 >> 33) % limit
    }
}

/// Every page of every area, every area in its object's index, nothing else.
fn check(space: &AddressSpace, objects: &[Arc<Object>], flat: &Flat) {
    let mut pages = Flat::new();
    let areas = space.areas();
    for area in &areas {
        for (page, index) in (area.start.raw()..area.end.raw())
            .step_by(usize::try_from(PAGE_SIZE).unwrap())
            .map(|hva| (hva - BASE) / PAGE_SIZE)
            .zip(area.object_pages())
        {
            let value = (area.object.id(), index, area.protection);
            assert!(pages.insert(page, value).is_none(), "areas overlap");
        }
    }
    assert_eq!(&pages, flat);
    for pair in areas.windows(2) {
        assert!(pair[0].end <= pair[1].start, "areas are sorted");
    }
    for object in objects {
        let mine: Vec<_> = areas
            .iter()
            .filter(|a| a.object.id() == object.id())
            .collect();
        let mappers = object.mappers().lock();
        assert_eq!(mappers.len(), mine.len());
        for area in mine {
            let mut found = 0;
            mappers.for_each_overlap(area.object_pages(), |range, mapper| {
                if mapper.start == area.start {
                    assert_eq!(range, area.object_pages());
                    found += 1;
                }
            });
            assert_eq!(found, 1);
        }
    }
}

#[test]
fn v3_areas_and_index_agree_with_a_flat_model() {
    let seed = 20_261_123;
    std::println!("seed {seed}");
    let mut dice = Dice(seed);
    let space = AddressSpace::new(3);
    let objects = [object(1), object(2)];
    let mut flat = Flat::new();
    for _ in 0..3000 {
        let from = dice.roll(PAGES);
        let to = (from + 1 + dice.roll(20)).min(PAGES);
        let range = from..to;
        match dice.roll(4) {
            0 | 1 => {
                let object = &objects[usize::try_from(dice.roll(2)).unwrap()];
                // Often congruent, so that neighbors merge.
                let offset = if dice.roll(3) == 0 {
                    dice.roll(500)
                } else {
                    from
                };
                let free = flat.range(range.clone()).next().is_none();
                let result = space.insert(area(object, from, to, offset));
                assert_eq!(result.is_ok(), free);
                if free {
                    for (page, index) in range.zip(offset..) {
                        flat.insert(page, (object.id(), index, Protection::READ));
                    }
                }
            }
            2 => {
                let removed = space.remove(at(from), at(to)).unwrap();
                let pages: u64 = removed
                    .iter()
                    .map(|a| a.object_pages().count() as u64)
                    .sum();
                let expected = flat.range(range.clone()).count();
                assert_eq!(usize::try_from(pages).unwrap(), expected);
                range.for_each(|page| _ = flat.remove(&page));
            }
            _ => {
                let write = dice.roll(2) == 0;
                let mut protection = Protection::READ;
                protection.set(Protection::WRITE, write);
                space.protect(at(from), at(to), protection).unwrap();
                for (_, (_, _, old)) in flat.range_mut(range) {
                    *old = protection;
                }
            }
        }
        check(&space, &objects, &flat);
    }
}
