// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! VM areas: what backs the host addresses of a VMM (rules V1 to V4).

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use bitflags::bitflags;
use spin::RwLock;

use crate::addr::{BLOCK_1G, BLOCK_2M, Granularity, Hva, PAGE_SHIFT, PAGE_SIZE};
use crate::backing::{Kind, Mapper, Object};

bitflags! {
    /// What stage 1 of the VMM would allow.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Protection: u8 {
        /// Reads.
        const READ = 1 << 0;
        /// Writes.
        const WRITE = 1 << 1;
        /// Instruction fetches.
        const EXECUTE = 1 << 2;
    }
}

bitflags! {
    /// Facts about an area.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct AreaFlags: u8 {
        /// Other address spaces may map the same object.
        const SHARED = 1 << 0;
        /// A raw device or carve-out range without page structures.
        const PFNMAP = 1 << 1;
        /// Memory tagging is on for the VMM's own accesses.
        const MTE = 1 << 2;
        /// A guest with memory tagging may use the memory.
        const MTE_ALLOWED = 1 << 3;
        /// Pages are never taken away to make room.
        const LOCKED = 1 << 4;
    }
}

/// One contiguous range of host addresses with one backing.
#[derive(Clone, Debug)]
pub struct Area {
    /// First address.
    pub start: Hva,
    /// First address after the area.
    pub end: Hva,
    /// Number of the address space it belongs to.
    pub owner: u32,
    /// What stage 1 would allow.
    pub protection: Protection,
    /// Facts.
    pub flags: AreaFlags,
    /// Page of the object at `start`.
    pub page_offset: u64,
    /// What backs the area.
    pub object: Arc<Object>,
    /// When set, the VMM is told of missing pages, with this value, instead of having them filled.
    pub user_faults: Option<u64>,
}

impl Area {
    /// Whether `hva` lies inside.
    pub fn contains(&self, hva: Hva) -> bool {
        hva >= self.start && hva < self.end
    }

    /// Returns the index in the object of the page at `hva`, which lies inside.
    pub fn index_of(&self, hva: Hva) -> u64 {
        self.page_offset + ((hva.raw() - self.start.raw()) >> PAGE_SHIFT)
    }

    /// Returns the range of the object's pages that the area maps.
    pub fn object_pages(&self) -> Range<u64> {
        let pages = (self.end.raw() - self.start.raw()) >> PAGE_SHIFT;
        self.page_offset..self.page_offset + pages
    }

    /// Whether the naturally aligned block of `size` bytes around `hva` lies wholly inside.
    pub fn holds_block(&self, hva: Hva, size: u64) -> bool {
        let first = hva.align_down(size);
        first >= self.start && first.checked_add(size).is_some_and(|end| end <= self.end)
    }

    /// Returns the largest mapping granularity the area can back at `hva` (rule V4).
    pub fn granularity(&self, hva: Hva) -> Granularity {
        match self.object.kind() {
            Kind::Huge(size) if self.holds_block(hva, size.size_bytes()) => *size,
            Kind::Raw(first) if self.flags.contains(AreaFlags::PFNMAP) => {
                let address = first.offset(self.index_of(hva)).address();
                let congruent = |size| (address ^ hva.raw()) & (size - 1) == 0;
                [
                    (BLOCK_1G, Granularity::Block1G),
                    (BLOCK_2M, Granularity::Block2M),
                ]
                .into_iter()
                .find(|(size, _)| congruent(*size) && self.holds_block(hva, *size))
                .map_or(Granularity::Page, |(_, granularity)| granularity)
            }
            Kind::Huge(_) | Kind::Raw(_) | Kind::Anonymous(_) | Kind::File(_) => Granularity::Page,
        }
    }

    /// Whether one guest's host may take pages of the area away on its own: not when others may
    /// map them, when they are locked, or when they are no pages.
    pub fn may_lose_pages(&self) -> bool {
        let kept = AreaFlags::LOCKED | AreaFlags::PFNMAP | AreaFlags::SHARED;
        !self.flags.intersects(kept)
    }

    /// Whether a guest with memory tagging may map the area: it is allowed to, or the VMM already
    /// uses tags there itself.
    pub fn allows_tags(&self) -> bool {
        self.flags
            .intersects(AreaFlags::MTE | AreaFlags::MTE_ALLOWED)
    }

    /// Whether the area after this one continues it in every respect.
    fn continues_with(&self, next: &Self) -> bool {
        self.end == next.start
            && self.protection == next.protection
            && self.flags == next.flags
            && self.user_faults == next.user_faults
            && Arc::ptr_eq(&self.object, &next.object)
            && self.object_pages().end == next.page_offset
    }

    /// Returns the part of the area from `start` to `end`, which lie inside.
    fn part(&self, start: Hva, end: Hva) -> Self {
        Self {
            start,
            end,
            page_offset: self.index_of(start),
            ..self.clone()
        }
    }
}

/// Why an area cannot be added or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AreaError {
    /// An end is not page aligned, or the range is empty.
    Unaligned,
    /// The range overlaps an area that is there.
    Overlap,
    /// The backing does not let an area be split there.
    MayNotSplit,
}

/// The areas of one VMM.
#[derive(Debug)]
pub struct AddressSpace {
    id: u32,
    areas: RwLock<BTreeMap<u64, Arc<Area>>>,
}

impl AddressSpace {
    /// Returns an empty address space with number `id`.
    pub fn new(id: u32) -> Self {
        Self {
            id,
            areas: RwLock::default(),
        }
    }

    /// Returns the number of the address space.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Returns the area that contains `hva` (rule V1). The lock is released on return.
    pub fn find(&self, hva: Hva) -> Option<Arc<Area>> {
        let areas = self.areas.read();
        let (_, area) = areas.range(..=hva.raw()).next_back()?;
        area.contains(hva).then(|| area.clone())
    }

    /// Adds an area; it merges with neighbors that it continues.
    ///
    /// # Errors
    ///
    /// [`AreaError::Unaligned`] and [`AreaError::Overlap`].
    pub fn insert(&self, area: Area) -> Result<(), AreaError> {
        check_range(area.start, area.end)?;
        let mut areas = self.areas.write();
        if overlapping(&areas, area.start, area.end).next().is_some() {
            return Err(AreaError::Overlap);
        }
        let area = Area {
            owner: self.id,
            ..area
        };
        self.link(&mut areas, area.clone());
        self.merge_around(&mut areas, area.start);
        self.merge_around(&mut areas, area.end);
        Ok(())
    }

    /// Removes `start..end` from every area it touches; returns the parts that were removed.
    ///
    /// The caller has already taken the pages out of every guest that maps them.
    ///
    /// # Errors
    ///
    /// [`AreaError::Unaligned`], or [`AreaError::MayNotSplit`] when a backing forbids it; nothing
    /// has changed then.
    pub fn remove(&self, start: Hva, end: Hva) -> Result<Vec<Area>, AreaError> {
        let mut areas = self.areas.write();
        self.isolate(&mut areas, start, end)?;
        let parts: Vec<_> = overlapping(&areas, start, end).cloned().collect();
        for part in &parts {
            let pages = part.object_pages();
            part.object
                .prepare_removal(pages.start, pages.end - pages.start);
            self.unlink(&mut areas, part);
        }
        Ok(parts.iter().map(|part| Area::clone(part)).collect())
    }

    /// Changes the protection of `start..end`, splitting and merging areas as needed.
    ///
    /// # Errors
    ///
    /// As [`AddressSpace::remove`].
    pub fn protect(&self, start: Hva, end: Hva, protection: Protection) -> Result<(), AreaError> {
        let mut areas = self.areas.write();
        self.isolate(&mut areas, start, end)?;
        let parts: Vec<_> = overlapping(&areas, start, end).cloned().collect();
        for part in parts {
            self.unlink(&mut areas, &part);
            let changed = Area {
                protection,
                ..Area::clone(&part)
            };
            self.link(&mut areas, changed);
            self.merge_around(&mut areas, part.start);
        }
        self.merge_around(&mut areas, end);
        Ok(())
    }

    /// Returns copies of all areas in order.
    pub fn areas(&self) -> Vec<Area> {
        let areas = self.areas.read();
        areas.values().map(|area| Area::clone(area)).collect()
    }

    /// Splits the areas that `start` and `end` cut, after both cuts are known to be allowed.
    fn isolate(
        &self,
        areas: &mut BTreeMap<u64, Arc<Area>>,
        start: Hva,
        end: Hva,
    ) -> Result<(), AreaError> {
        check_range(start, end)?;
        for at in [start, end] {
            if let Some(area) = cut_by(areas, at)
                && !area.object.may_split(area.index_of(at))
            {
                return Err(AreaError::MayNotSplit);
            }
        }
        for at in [start, end] {
            if let Some(area) = cut_by(areas, at) {
                self.unlink(areas, &area);
                self.link(areas, area.part(area.start, at));
                self.link(areas, area.part(at, area.end));
            }
        }
        Ok(())
    }

    /// Merges the areas before and after `at` when the second continues the first.
    fn merge_around(&self, areas: &mut BTreeMap<u64, Arc<Area>>, at: Hva) {
        let before = areas.range(..at.raw()).next_back().map(|(_, a)| a.clone());
        let (Some(before), Some(after)) = (before, areas.get(&at.raw()).cloned()) else {
            return;
        };
        if before.continues_with(&after) {
            self.unlink(areas, &before);
            self.unlink(areas, &after);
            let merged = Area {
                end: after.end,
                ..Area::clone(&before)
            };
            self.link(areas, merged);
        }
    }

    /// Puts an area into the map and into its object's interval index.
    fn link(&self, areas: &mut BTreeMap<u64, Arc<Area>>, area: Area) {
        let mapper = Mapper {
            space: self.id,
            start: area.start,
        };
        let mut mappers = area.object.mappers().lock();
        mappers.insert(area.object_pages(), self.key(&area), mapper);
        drop(mappers);
        areas.insert(area.start.raw(), Arc::new(area));
    }

    /// Takes an area out of the map and out of its object's interval index.
    fn unlink(&self, areas: &mut BTreeMap<u64, Arc<Area>>, area: &Area) {
        let mut mappers = area.object.mappers().lock();
        mappers.remove(area.page_offset, self.key(area));
        drop(mappers);
        areas.remove(&area.start.raw());
    }

    /// What tells apart areas that start with the same page of an object: page of the host
    /// address below, number of the address space above.
    fn key(&self, area: &Area) -> u64 {
        u64::from(self.id) << 52 | area.start.raw() >> PAGE_SHIFT
    }
}

fn check_range(start: Hva, end: Hva) -> Result<(), AreaError> {
    if start.is_aligned(PAGE_SIZE) && end.is_aligned(PAGE_SIZE) && start < end {
        Ok(())
    } else {
        Err(AreaError::Unaligned)
    }
}

/// The areas that share an address with `start..end`, in order.
fn overlapping(
    areas: &BTreeMap<u64, Arc<Area>>,
    start: Hva,
    end: Hva,
) -> impl Iterator<Item = &Arc<Area>> {
    let before = areas.range(..start.raw()).next_back().map(|(_, area)| area);
    before
        .filter(move |area| area.end > start)
        .into_iter()
        .chain(areas.range(start.raw()..end.raw()).map(|(_, area)| area))
}

/// The area that `at` would cut in two.
fn cut_by(areas: &BTreeMap<u64, Arc<Area>>, at: Hva) -> Option<Arc<Area>> {
    let (_, area) = areas.range(..at.raw()).next_back()?;
    (area.end > at).then(|| area.clone())
}
