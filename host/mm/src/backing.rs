// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Backing objects: where the pages behind VM areas come from.
//!
//! An [`Object`] is a sequence of pages, filled when they are first needed. Pages are kept in
//! *chunks* of 2 MiB. A chunk reserves a 2 MiB block of memory for itself when there is one, so
//! that its pages end up contiguous although they are filled one by one; a Realm's memory can then
//! be folded into blocks. Areas that map an object are in its interval index, and each page of an
//! object knows the object (the reverse link), so everybody who maps a page can be found.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use spin::{Mutex, RwLock};

use crate::addr::{Granularity, Hva, PAGE_SHIFT, PAGES_PER_2M, Pfn};
use crate::interval::IntervalIndex;
use crate::machine::PhysMemory;
use crate::pages::{
    MAX_ORDER, PageAllocator, PageFlags, PageHold, PageUse, Wish, to_u64, to_usize,
};

/// Why a backing has no page for an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPage {
    /// The object has no such page, or refuses it.
    Hole,
    /// Memory ran out.
    OutOfMemory,
    /// The page has an uncorrectable error.
    Poisoned,
}

/// What a backing with contents or rules of its own does.
pub trait Operations: Send + Sync {
    /// Fills `page`, which is new and zero, with page `index` of the object.
    ///
    /// # Errors
    ///
    /// [`NoPage::Hole`] when the object has no such page.
    fn populate(&self, index: u64, page: Pfn, memory: &dyn PhysMemory) -> Result<(), NoPage>;

    /// Is told that an area over pages `first..first + pages` is about to go away.
    fn prepare_removal(&self, first: u64, pages: u64);

    /// Whether an area may be split so that its second part starts with page `index`.
    fn may_split(&self, index: u64) -> bool;
}

/// What kind of thing an object is.
pub enum Kind {
    /// Zero pages made on demand, with an optional name.
    Anonymous(Option<String>),
    /// A file: pages made on demand and filled by its operations.
    File(Box<dyn Operations>),
    /// Pages made on demand in units of the given size.
    Huge(Granularity),
    /// A range of physical memory with no page structures, starting at the page.
    Raw(Pfn),
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous(name) => f.debug_tuple("Anonymous").field(name).finish(),
            Self::File(_) => f.write_str("File"),
            Self::Huge(size) => f.debug_tuple("Huge").field(size).finish(),
            Self::Raw(first) => f.debug_tuple("Raw").field(first).finish(),
        }
    }
}

/// An area that maps part of an object: the address space and where the part starts in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapper {
    /// Number of the address space.
    pub space: u32,
    /// Host address of the area's first page.
    pub start: Hva,
}

/// What a page must contain when it is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Zeros, or what the object's operations put there.
    Contents,
    /// Anything: the page goes to the Realm world, which wipes it.
    Unneeded,
}

/// A page found in an object.
#[derive(Debug)]
pub struct Found<'h> {
    /// The page, with a reference.
    pub page: PageHold<'h>,
    /// First page of the 2 MiB of physically contiguous memory that the page's chunk occupies,
    /// if it is whole.
    pub contiguous: Option<Pfn>,
}

/// Pages of 2 MiB of an object.
#[derive(Debug)]
struct Chunk {
    /// First page of the block reserved for this chunk.
    block: Option<Pfn>,
    /// One bit a page: still in the reserved block, not filled and not given away.
    reserved: [u64; 8],
    /// Whether a page of the block has been replaced by one from elsewhere or lost.
    broken: bool,
    pages: Vec<Option<Pfn>>,
}

impl Chunk {
    fn new(block: Option<Pfn>) -> Self {
        Self {
            block,
            reserved: [if block.is_some() { u64::MAX } else { 0 }; 8],
            broken: false,
            pages: alloc::vec![None; to_usize(PAGES_PER_2M)],
        }
    }

    /// Takes page `slot` out of the reserved block.
    fn take_reserved(&mut self, slot: usize) -> Option<Pfn> {
        let block = self.block?;
        let bit = 1 << (slot % 64);
        if self.reserved[slot / 64] & bit == 0 {
            return None;
        }
        self.reserved[slot / 64] &= !bit;
        Some(block.offset(to_u64(slot)))
    }

    fn contiguous(&self) -> Option<Pfn> {
        self.block.filter(|_| !self.broken)
    }
}

/// A backing object.
#[derive(Debug)]
pub struct Object {
    id: u32,
    kind: Kind,
    wish: Wish,
    chunks: RwLock<BTreeMap<u64, Arc<Mutex<Chunk>>>>,
    mappers: Mutex<IntervalIndex<Mapper>>,
}

/// Bits of a reverse link that hold the page index; the object's number is above them.
const OWNER_INDEX_BITS: u32 = 40;

/// Takes a reverse link apart: object number and page index. Nothing for 0.
pub fn owner_parts(owner: u64) -> Option<(u32, u64)> {
    let id = u32::try_from(owner >> OWNER_INDEX_BITS).ok()?;
    (id != 0).then_some((id, owner & ((1 << OWNER_INDEX_BITS) - 1)))
}

impl Object {
    /// Returns an empty object with number `id`, not 0; its pages are allocated as `wish` says.
    pub fn new(id: u32, kind: Kind, wish: Wish) -> Self {
        Self {
            id,
            kind,
            wish,
            chunks: RwLock::default(),
            mappers: Mutex::default(),
        }
    }

    /// Returns the object's number.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Returns what kind of object it is.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Whether an area may be split so that its second part starts with page `index`.
    pub fn may_split(&self, index: u64) -> bool {
        match &self.kind {
            Kind::Anonymous(_) | Kind::Raw(_) => true,
            Kind::File(operations) => operations.may_split(index),
            Kind::Huge(size) => index.is_multiple_of(size.size_bytes() >> PAGE_SHIFT),
        }
    }

    /// Tells the object's operations that an area over some of its pages goes away.
    pub fn prepare_removal(&self, first: u64, pages: u64) {
        if let Kind::File(operations) = &self.kind {
            operations.prepare_removal(first, pages);
        }
    }

    /// The index of the areas that map the object, by page index.
    pub fn mappers(&self) -> &Mutex<IntervalIndex<Mapper>> {
        &self.mappers
    }

    /// Returns page `index`, filled if it was not there yet, with a reference.
    ///
    /// # Errors
    ///
    /// Why there is no page.
    pub fn page<'h>(
        &self,
        index: u64,
        fill: Fill,
        pages: &'h PageAllocator,
        memory: &dyn PhysMemory,
    ) -> Result<Found<'h>, NoPage> {
        if let Kind::Raw(first) = self.kind {
            let page = pages.hold(first.offset(index));
            return Ok(Found {
                page,
                contiguous: None,
            });
        }
        let chunk = self.chunk(index / PAGES_PER_2M, pages);
        let mut chunk = chunk.lock();
        let slot = to_usize(index % PAGES_PER_2M);
        let pfn = match chunk.pages[slot] {
            Some(pfn) => pfn,
            None => self.fill(&mut chunk, index, fill, pages, memory)?,
        };
        if pages.flags(pfn).contains(PageFlags::POISONED) {
            return Err(NoPage::Poisoned);
        }
        if fill == Fill::Contents {
            wipe_stale(pfn, pages, memory);
        }
        Ok(Found {
            page: pages.hold(pfn),
            contiguous: chunk.contiguous(),
        })
    }

    /// Fills every page of the naturally aligned block of `size` bytes (2 MiB or 1 GiB) around
    /// page `index`; returns its first page, with a reference, if the block is contiguous and
    /// aligned physical memory.
    pub fn block<'h>(
        &self,
        index: u64,
        size: u64,
        pages: &'h PageAllocator,
        memory: &dyn PhysMemory,
    ) -> Option<PageHold<'h>> {
        let count = size >> PAGE_SHIFT;
        let start = index - index % count;
        if let Kind::Raw(first) = self.kind {
            let first = first.offset(start);
            return first.is_aligned(size).then(|| pages.hold(first));
        }
        let first = self.whole_chunk(start, pages, memory)?;
        if !first.pfn().is_aligned(size) {
            return None;
        }
        for ahead in (PAGES_PER_2M..count).step_by(to_usize(PAGES_PER_2M)) {
            let next = self.whole_chunk(start + ahead, pages, memory)?;
            if next.pfn() != first.pfn().offset(ahead) {
                return None;
            }
        }
        Some(first)
    }

    /// Fills every page of the 2 MiB around page `index`; returns the first if they are
    /// contiguous.
    fn whole_chunk<'h>(
        &self,
        index: u64,
        pages: &'h PageAllocator,
        memory: &dyn PhysMemory,
    ) -> Option<PageHold<'h>> {
        let chunk = self.chunk(index / PAGES_PER_2M, pages);
        let mut chunk = chunk.lock();
        let first = index - index % PAGES_PER_2M;
        for index in first..first + PAGES_PER_2M {
            chunk.contiguous()?;
            match chunk.pages[to_usize(index % PAGES_PER_2M)] {
                Some(pfn) if pages.flags(pfn).contains(PageFlags::POISONED) => return None,
                Some(pfn) => wipe_stale(pfn, pages, memory),
                None => {
                    let contents = Fill::Contents;
                    self.fill(&mut chunk, index, contents, pages, memory).ok()?;
                }
            }
        }
        chunk.contiguous().map(|first| pages.hold(first))
    }

    /// Takes page `index` out of the object and drops the object's reference on it; returns the
    /// page that was there.
    pub fn discard(&self, index: u64, pages: &PageAllocator) -> Option<Pfn> {
        let chunk = self.chunks.read().get(&(index / PAGES_PER_2M))?.clone();
        let mut chunk = chunk.lock();
        let pfn = chunk.pages[to_usize(index % PAGES_PER_2M)].take()?;
        chunk.broken = true;
        pages.put(pfn);
        Some(pfn)
    }

    /// Moves page `index` to another physical page with the same contents; the object's reference
    /// moves along. Nobody maps the page meanwhile. False when there is nothing to move, the
    /// host may not read it, or memory is short.
    pub fn migrate(&self, index: u64, pages: &PageAllocator, memory: &dyn PhysMemory) -> bool {
        let Some(chunk) = self.chunks.read().get(&(index / PAGES_PER_2M)).cloned() else {
            return false;
        };
        let mut chunk = chunk.lock();
        let slot = to_usize(index % PAGES_PER_2M);
        let Some(old) = chunk.pages[slot] else {
            return false;
        };
        let Some(pin) = pages.pin(old) else {
            return false;
        };
        let Some(new) = pages.allocate(PageUse::Guest, self.wish) else {
            return false;
        };
        memory.copy_page(old, new);
        drop(pin);
        let kept =
            PageFlags::STALE | PageFlags::ACCESSED | PageFlags::DIRTY | PageFlags::TAGS_CLEARED;
        pages.mark(new, pages.flags(old) & kept);
        pages.set_owner(new, pages.owner(old));
        chunk.pages[slot] = Some(new);
        chunk.broken = true;
        pages.put(old);
        true
    }

    /// Returns page `index` if it has been filled, without a reference.
    pub fn peek(&self, index: u64) -> Option<Pfn> {
        let chunk = self.chunks.read().get(&(index / PAGES_PER_2M))?.clone();
        chunk.lock().pages[to_usize(index % PAGES_PER_2M)]
    }

    /// Returns how many pages have been filled.
    pub fn filled_pages(&self) -> u64 {
        let chunks = self.chunks.read();
        let filled = |chunk: &Arc<Mutex<Chunk>>| chunk.lock().pages.iter().flatten().count();
        chunks.values().map(filled).map(to_u64).sum()
    }

    /// Gives all pages back to the allocator. Pages still delegated are lost and counted.
    pub fn release(&self, pages: &PageAllocator) {
        let chunks = core::mem::take(&mut *self.chunks.write());
        for chunk in chunks.into_values() {
            let mut chunk = chunk.lock();
            for slot in 0..chunk.pages.len() {
                let held = chunk.pages[slot]
                    .take()
                    .or_else(|| chunk.take_reserved(slot));
                if let Some(pfn) = held {
                    pages.put(pfn);
                }
            }
        }
    }

    fn chunk(&self, number: u64, pages: &PageAllocator) -> Arc<Mutex<Chunk>> {
        if let Some(chunk) = self.chunks.read().get(&number) {
            return chunk.clone();
        }
        let mut chunks = self.chunks.write();
        if let Some(chunk) = chunks.get(&number) {
            return chunk.clone();
        }
        // After the chunk before, so that larger blocks can form.
        let wished = number
            .checked_sub(1)
            .and_then(|before| chunks.get(&before)?.lock().block)
            .map(|block| block.offset(PAGES_PER_2M))
            .filter(|at| pages.allocate_at(*at, MAX_ORDER, PageUse::Guest, self.wish));
        let block = wished.or_else(|| pages.allocate_block(MAX_ORDER, PageUse::Guest, self.wish));
        let chunk = Arc::new(Mutex::new(Chunk::new(block)));
        chunks.insert(number, chunk.clone());
        chunk
    }

    fn fill(
        &self,
        chunk: &mut Chunk,
        index: u64,
        fill: Fill,
        pages: &PageAllocator,
        memory: &dyn PhysMemory,
    ) -> Result<Pfn, NoPage> {
        let slot = to_usize(index % PAGES_PER_2M);
        let pfn = match chunk.take_reserved(slot) {
            Some(pfn) => pfn,
            None => {
                chunk.broken = true;
                pages
                    .allocate(PageUse::Guest, self.wish)
                    .ok_or(NoPage::OutOfMemory)?
            }
        };
        match fill {
            Fill::Contents => memory.zero_page(pfn),
            Fill::Unneeded => drop(pages.mark(pfn, PageFlags::STALE)),
        }
        if let Kind::File(operations) = &self.kind
            && let Err(error) = operations.populate(index, pfn, memory)
        {
            chunk.broken = true;
            pages.put(pfn);
            return Err(error);
        }
        pages.set_owner(pfn, u64::from(self.id) << OWNER_INDEX_BITS | index);
        chunk.pages[slot] = Some(pfn);
        Ok(pfn)
    }
}

/// Zeroes a page that was filled for the Realm world but never got there.
fn wipe_stale(pfn: Pfn, pages: &PageAllocator, memory: &dyn PhysMemory) {
    if pages.flags(pfn).contains(PageFlags::STALE)
        && let Some(_pin) = pages.pin(pfn)
        && pages.unmark(pfn, PageFlags::STALE)
    {
        memory.zero_page(pfn);
    }
}
