// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The MMU lock and the invalidation sequence (rules F12, F19, I1).
//!
//! Faults look a page up without a lock and map it under the lock taken for reading. Whoever takes
//! pages away does so between `begin` and `end`, both under the lock taken for writing. A fault
//! remembers the sequence before it looks the page up; when the sequence has moved, or an
//! invalidation is under way, what it found may be stale and it starts over.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use spin::rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The lock and the sequence of one VM.
#[derive(Debug, Default)]
pub struct MmuLock {
    lock: RwLock<()>,
    sequence: AtomicU64,
    in_progress: AtomicU32,
    /// CPUs that wait for the lock, or have it, for writing. New readers let them pass: faults on
    /// many CPUs would keep them out forever.
    writers: AtomicU32,
}

/// The MMU lock, held alone.
#[derive(Debug)]
pub struct Alone<'a> {
    mmu: &'a MmuLock,
    /// Released before the count of writers goes down.
    held: Option<RwLockWriteGuard<'a, ()>>,
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.held = None;
        self.mmu.writers.fetch_sub(1, Ordering::Release);
    }
}

impl MmuLock {
    /// Reads the sequence; whatever is looked up later is looked up after it (rule F12).
    pub fn read_sequence(&self) -> u64 {
        let sequence = self.sequence.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        sequence
    }

    /// Takes the lock for mapping; many faults hold it together.
    pub fn read(&self) -> RwLockReadGuard<'_, ()> {
        while self.writers.load(Ordering::Acquire) != 0 {
            core::hint::spin_loop();
        }
        self.lock.read()
    }

    /// Takes the lock for reading when no invalidation is in progress: what is looked up while it
    /// is held stays. Whoever holds an [`Invalidation`] would wait for itself.
    pub fn read_settled(&self) -> RwLockReadGuard<'_, ()> {
        loop {
            let lock = self.read();
            if self.in_progress.load(Ordering::Relaxed) == 0 {
                return lock;
            }
            drop(lock);
            core::hint::spin_loop();
        }
    }

    /// Takes the lock for changes that must be alone.
    pub fn write(&self) -> Alone<'_> {
        self.writers.fetch_add(1, Ordering::AcqRel);
        Alone {
            mmu: self,
            held: Some(self.lock.write()),
        }
    }

    /// Takes the lock for changes that must be alone, if nobody holds it.
    pub fn try_write(&self) -> Option<Alone<'_>> {
        let held = Some(self.lock.try_write()?);
        self.writers.fetch_add(1, Ordering::AcqRel);
        Some(Alone { mmu: self, held })
    }

    /// Whether what was looked up after `sequence` was read may be stale (rule F19). The caller
    /// holds the lock.
    pub fn must_retry(&self, sequence: u64) -> bool {
        self.in_progress.load(Ordering::Relaxed) != 0
            || self.sequence.load(Ordering::Relaxed) != sequence
    }

    /// Starts taking pages away: runs `unmap` alone, with the invalidation marked as in progress
    /// until the returned guard is dropped (rule I1).
    pub fn begin<R>(&self, unmap: impl FnOnce() -> R) -> (Invalidation<'_>, R) {
        let alone = self.write();
        self.in_progress.fetch_add(1, Ordering::Relaxed);
        let result = unmap();
        drop(alone);
        (Invalidation { mmu: self }, result)
    }
}

/// An invalidation in progress: the pages of its range are going away. Dropping it ends it; faults
/// that looked pages up meanwhile start over.
#[derive(Debug)]
pub struct Invalidation<'a> {
    mmu: &'a MmuLock,
}

impl Drop for Invalidation<'_> {
    fn drop(&mut self) {
        let _alone = self.mmu.write();
        self.mmu.sequence.fetch_add(1, Ordering::Release);
        self.mmu.in_progress.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f19_a_sequence_read_before_or_during_an_invalidation_is_stale() {
        let mmu = MmuLock::default();
        let before = mmu.read_sequence();
        assert!(!mmu.must_retry(before));
        let (invalidation, ()) = mmu.begin(|| ());
        let during = mmu.read_sequence();
        assert!(mmu.must_retry(before));
        assert!(mmu.must_retry(during));
        drop(invalidation);
        assert!(mmu.must_retry(before));
        assert!(mmu.must_retry(during));
        assert!(!mmu.must_retry(mmu.read_sequence()));
    }

    #[test]
    fn i1_overlapping_invalidations_all_have_to_end() {
        let mmu = MmuLock::default();
        let (first, ()) = mmu.begin(|| ());
        let (second, ()) = mmu.begin(|| ());
        drop(first);
        assert!(mmu.must_retry(mmu.read_sequence()));
        drop(second);
        assert!(!mmu.must_retry(mmu.read_sequence()));
    }
}
