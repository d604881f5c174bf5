// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Pages for tables, allocated before locks are taken.
//!
//! Mapping under the MMU lock must not fail for lack of memory, so each vCPU fills its cache first
//! (rule F11). Pages of the cache hold one reference and are used as [`PageUse::Spare`].

use alloc::vec::Vec;

use crate::addr::Pfn;
use crate::pages::{PageAllocator, PageUse, Wish};

/// Spare pages of one vCPU. Dropping the cache frees them.
#[derive(Debug)]
pub struct MemCache<'h> {
    pages: &'h PageAllocator,
    wish: Wish,
    spare: Vec<Pfn>,
}

impl<'h> MemCache<'h> {
    /// Returns an empty cache of pages of the kind `wish`.
    pub fn new(pages: &'h PageAllocator, wish: Wish) -> Self {
        Self {
            pages,
            wish,
            spare: Vec::new(),
        }
    }

    /// Allocates until the cache holds `count` pages; false when memory ran out. Pages that were
    /// obtained stay in the cache.
    #[must_use]
    pub fn fill(&mut self, count: usize) -> bool {
        while self.spare.len() < count {
            let Some(pfn) = self.pages.allocate(PageUse::Spare, self.wish) else {
                return false;
            };
            self.spare.push(pfn);
        }
        true
    }

    /// Takes a page, with its reference.
    pub fn take(&mut self) -> Option<Pfn> {
        self.spare.pop()
    }

    /// Puts back a page that was not needed after all.
    pub fn give_back(&mut self, pfn: Pfn) {
        self.pages.set_use(pfn, PageUse::Spare);
        self.spare.push(pfn);
    }

    /// Returns the number of pages in the cache.
    pub fn len(&self) -> usize {
        self.spare.len()
    }

    /// Whether the cache holds no page.
    pub fn is_empty(&self) -> bool {
        self.spare.is_empty()
    }
}

impl Drop for MemCache<'_> {
    fn drop(&mut self) {
        for pfn in self.spare.drain(..) {
            self.pages.put(pfn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::PhysRange;

    #[test]
    fn f11_the_cache_fills_to_the_wished_number_and_returns_everything() {
        let pages = PageAllocator::new(&[PhysRange::new(0x4000_0000, 4 * 0x1000)]);
        let mut cache = MemCache::new(&pages, Wish::Delegable);
        assert!(cache.fill(3));
        let pfn = cache.take().unwrap();
        assert!(cache.fill(3));
        assert!(!cache.fill(4), "memory has run out");
        cache.give_back(pfn);
        assert_eq!(cache.len(), 4);
        drop(cache);
        assert_eq!(pages.stats().free_delegable, 4);
        assert_eq!(pages.usage(PageUse::Spare).peak(), 4);
    }
}
