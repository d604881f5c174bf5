// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The page shared with EL3.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

use rmi::GRANULE_BYTES;

/// Bytes of the page's words.
const WORD: usize = size_of::<u64>();

/// The page shared with EL3: first the boot manifest, later the buffer of calls.
///
/// EL3 writes it only during an SMC of the RMM, so whoever owns this value may fill it, call and read it
/// as one step.
#[derive(Debug)]
pub struct SharedPage {
    words: NonNull<[AtomicU64; GRANULE_BYTES / WORD]>,
}

// SAFETY: the page is mapped the same way on every PE and is only reached through atomics.
unsafe impl Send for SharedPage {}

impl SharedPage {
    /// `page` is the address of the mapped page, which stays mapped.
    pub(crate) fn new(page: NonNull<u8>) -> Self {
        Self { words: page.cast() }
    }

    /// Copies the beginning of the page.
    ///
    /// # Panics
    ///
    /// When `into` is longer than the page.
    pub fn read(&self, into: &mut [u8]) {
        assert!(into.len() <= GRANULE_BYTES, "more than the page");
        for (to, word) in into.chunks_mut(WORD).zip(self.words()) {
            let bytes = word.load(Ordering::Relaxed).to_le_bytes();
            to.copy_from_slice(&bytes[..to.len()]);
        }
    }

    /// Replaces the contents of the page: `start`, then zeroes.
    ///
    /// # Panics
    ///
    /// When `start` is longer than the page.
    pub fn fill(&mut self, start: &[u8]) {
        assert!(start.len() <= GRANULE_BYTES, "more than the page");
        let mut parts = start.chunks(WORD);
        for word in self.words() {
            let mut bytes = [0; WORD];
            if let Some(part) = parts.next() {
                bytes[..part.len()].copy_from_slice(part);
            }
            word.store(u64::from_le_bytes(bytes), Ordering::Relaxed);
        }
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: the page is mapped for ever; atomics accept any bytes and any other writer.
        unsafe { self.words.as_ref() }
    }
}
