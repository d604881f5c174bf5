// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The page shared with EL3.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

use rmi::GRANULE_BYTES;

/// The page shared with EL3: first the boot manifest, later the buffer of calls.
///
/// EL3 writes it only during an SMC of the RMM, so whoever owns this value may fill it, call and read it
/// as one step.
#[derive(Debug)]
pub struct SharedPage {
    words: NonNull<[AtomicU64; GRANULE_BYTES / 8]>,
}

// SAFETY: the page is mapped the same way on every PE and is only reached through atomics.
unsafe impl Send for SharedPage {}

impl SharedPage {
    /// `page` is the address of the mapped page, which stays mapped.
    pub(crate) fn new(page: NonNull<u8>) -> Self {
        Self { words: page.cast() }
    }

    /// Returns a copy of the page.
    #[must_use]
    pub fn read(&self) -> [u8; GRANULE_BYTES] {
        // SAFETY: the page is mapped for ever; atomics accept any bytes and any other writer.
        let words = unsafe { self.words.as_ref() };
        let mut bytes = [0; GRANULE_BYTES];
        for (to, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *to = word.load(Ordering::Relaxed).to_le_bytes();
        }
        bytes
    }
}
