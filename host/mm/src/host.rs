// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The host as one value: the machine, its pages, its memory map, and the way of a page to the
//! Realm world and back.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use spin::{Once, RwLock};

use crate::addr::{Hva, PAGE_SHIFT, Pfn};
use crate::backing::{Kind, Object, owner_parts};
use crate::client::{CallError, RmiCalls};
use crate::machine::Machine;
use crate::memmap::MemoryMap;
use crate::pages::{PageAllocator, PageFlags, PageHold, PageUse, Wish};

/// How many pages are tried for one granule before memory counts as exhausted.
const DELEGATE_ATTEMPTS: usize = 64;

/// Why a page did not become a granule of the Realm world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DelegateError {
    /// Somebody else has delegated it, or is about to.
    Claimed,
    /// The RMM refuses the page; it has been marked so.
    Refused(CallError),
    /// No page that can be delegated is left.
    OutOfMemory,
}

/// A counter that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn bump(&self) {
        self.add(1);
    }

    /// Adds `count`.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Returns the count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What came back from the Realm world (rule R8).
#[derive(Debug, Default)]
pub struct ReturnCounters {
    /// Pages undelegated.
    pub returned: Counter,
    /// Of these, pages that were not one word repeated: neither zero nor a scrub pattern.
    pub uneven: Counter,
    /// Of these, pages that contained the secret the guest had written.
    pub tainted: Counter,
    /// Pages the RMM would not give back.
    pub leaked: Counter,
}

/// The host.
#[derive(Debug)]
pub struct Host<M> {
    machine: M,
    pages: PageAllocator,
    memory_map: MemoryMap,
    objects: RwLock<BTreeMap<u32, Weak<Object>>>,
    next_object: AtomicU32,
    next_space: AtomicU32,
    secret: Once<[u8; 32]>,
    returns: ReturnCounters,
}

impl<M: Machine> Host<M> {
    /// Returns a host on `machine` with the given pages and memory map.
    pub fn new(machine: M, pages: PageAllocator, memory_map: MemoryMap) -> Self {
        Self {
            machine,
            pages,
            memory_map,
            objects: RwLock::default(),
            next_object: AtomicU32::new(1),
            next_space: AtomicU32::new(1),
            secret: Once::new(),
            returns: ReturnCounters::default(),
        }
    }

    /// Returns the machine.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// Returns the page allocator.
    pub fn pages(&self) -> &PageAllocator {
        &self.pages
    }

    /// Returns the memory map.
    pub fn memory_map(&self) -> &MemoryMap {
        &self.memory_map
    }

    /// Returns the counters of pages that came back from the Realm world.
    pub fn returns(&self) -> &ReturnCounters {
        &self.returns
    }

    /// Sets the pattern that no returned page may contain. Only the first call counts.
    pub fn set_secret(&self, secret: [u8; 32]) {
        self.secret.call_once(|| secret);
    }

    /// Creates a backing object; its pages are allocated as `wish` says.
    pub fn new_object(&self, kind: Kind, wish: Wish) -> Arc<Object> {
        let id = self.next_object.fetch_add(1, Ordering::Relaxed);
        let object = Arc::new(Object::new(id, kind, wish));
        self.objects.write().insert(id, Arc::downgrade(&object));
        object
    }

    /// Returns a number for a new address space.
    pub fn new_space_id(&self) -> u32 {
        self.next_space.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns the object a page belongs to and its index there: the reverse link.
    pub fn owner_of(&self, pfn: Pfn) -> Option<(Arc<Object>, u64)> {
        let (id, index) = owner_parts(self.pages.owner(pfn))?;
        let object = self.objects.read().get(&id)?.upgrade()?;
        Some((object, index))
    }

    /// Returns everybody who maps a page: address space and host address of each (the areas that
    /// cover it in its object's interval index).
    pub fn users_of(&self, pfn: Pfn) -> Vec<(u32, Hva)> {
        let Some((object, index)) = self.owner_of(pfn) else {
            return Vec::new();
        };
        let mut users = Vec::new();
        let mappers = object.mappers().lock();
        mappers.for_each_overlap(index..index + 1, |pages, mapper| {
            let hva = mapper.start.offset((index - pages.start) << PAGE_SHIFT);
            users.push((mapper.space, hva));
        });
        users
    }

    /// Gives a page that the caller holds to the Realm world, to be used as `used_for`.
    ///
    /// # Errors
    ///
    /// [`DelegateError::Claimed`] and [`DelegateError::Refused`]; the page is still the host's
    /// (or whoever's claimed it).
    pub fn delegate(&self, pfn: Pfn, used_for: PageUse) -> Result<(), DelegateError> {
        if !self.pages.begin_delegate(pfn) {
            return Err(DelegateError::Claimed);
        }
        if let Err(error) = self.machine.granule_delegate(pfn) {
            self.pages.end_delegate(pfn);
            self.pages.mark(pfn, PageFlags::NOT_DELEGABLE);
            return Err(DelegateError::Refused(error));
        }
        self.pages.set_use(pfn, used_for);
        Ok(())
    }

    /// Takes a page back from the Realm world, to be used as `used_for`; false when the RMM
    /// refuses. Such a page is leaked on purpose: counted, reported, never used again (rule R2).
    #[must_use]
    pub fn undelegate(&self, pfn: Pfn, used_for: PageUse) -> bool {
        if let Err(error) = self.machine.granule_undelegate(pfn) {
            log::error!("page {:#x} is lost: undelegate: {error}", pfn.address());
            self.returns.leaked.bump();
            self.pages.leak(pfn);
            return false;
        }
        self.check_returned(pfn);
        self.pages.set_use(pfn, used_for);
        self.pages.unmark(pfn, PageFlags::STALE);
        self.pages.end_delegate(pfn);
        true
    }

    /// Rule R8: a returned page reads as zero or as a scrub pattern, never as Realm data.
    fn check_returned(&self, pfn: Pfn) {
        self.returns.returned.bump();
        if self.machine.is_uniform(pfn) {
            return;
        }
        self.returns.uneven.bump();
        let secret = self.secret.get();
        if secret.is_some_and(|secret| self.machine.contains(pfn, secret)) {
            self.returns.tainted.bump();
            log::error!("page {:#x} came back with Realm data", pfn.address());
        }
    }

    /// Allocates and delegates one page. Pages the RMM refuses are put aside.
    ///
    /// # Errors
    ///
    /// [`DelegateError::OutOfMemory`], or the last refusal.
    pub fn allocate_granule(&self, used_for: PageUse) -> Result<Pfn, DelegateError> {
        let mut last = DelegateError::OutOfMemory;
        for _ in 0..DELEGATE_ATTEMPTS {
            let Some(pfn) = self.pages.allocate(PageUse::Spare, Wish::Delegable) else {
                return Err(DelegateError::OutOfMemory);
            };
            match self.delegate(pfn, used_for) {
                Ok(()) => return Ok(pfn),
                Err(error) => last = error,
            }
            self.pages.put(pfn);
        }
        Err(last)
    }

    /// Undelegates and frees a page; a page the RMM keeps is leaked.
    pub fn free_granule(&self, pfn: Pfn) {
        if self.undelegate(pfn, PageUse::Spare) {
            self.pages.put(pfn);
        }
    }

    /// Allocates and delegates 2^`order` contiguous, naturally aligned pages.
    ///
    /// # Errors
    ///
    /// As [`Host::allocate_granule`]; everything has been given back.
    pub fn allocate_granules(&self, order: usize, used_for: PageUse) -> Result<Pfn, DelegateError> {
        let first = self
            .pages
            .allocate_block(order, PageUse::Spare, Wish::Delegable)
            .ok_or(DelegateError::OutOfMemory)?;
        let count = 1 << order;
        for done in 0..count {
            if let Err(error) = self.delegate(first.offset(done), used_for) {
                (0..done).for_each(|i| self.free_granule(first.offset(i)));
                (done..count).for_each(|i| self.pages.put(first.offset(i)));
                return Err(error);
            }
        }
        Ok(first)
    }

    /// Allocates a page of the host and writes `bytes` to its start, zeros after them: how
    /// parameters reach the RMM. Dropping the guard frees the page.
    pub fn page_with(&self, bytes: &[u8]) -> Option<PageHold<'_>> {
        let pfn = self.pages.allocate(PageUse::Host, Wish::Delegable)?;
        self.machine.zero_page(pfn);
        self.machine.write(pfn.address(), bytes);
        Some(self.pages.adopt(pfn))
    }
}
