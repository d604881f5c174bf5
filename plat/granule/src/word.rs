// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The bits of a granule word.
//!
//! ```text
//!  15    14..11   10..0
//! lock   state    count
//! ```
//!
//! The lock is taken with acquire and released with release semantics, so whoever sees the lock free
//! sees the contents as the previous owner left them. The count may be lowered without the lock (a
//! REC that stops running), hence every update is a read-modify-write.

use crate::state::StateCode;
use crate::sync::{AtomicU16, Ordering, spin_loop};

const LOCK: u16 = 1 << 15;
const STATE_SHIFT: u32 = 11;
const STATE_MASK: u16 = 0xF << STATE_SHIFT;
const COUNT_MASK: u16 = (1 << STATE_SHIFT) - 1;

/// The largest number of references a granule can hold.
pub const MAX_COUNT: u16 = COUNT_MASK;

/// The lock, state and reference count of one granule.
///
/// A word of zero is an unlocked granule in state [`StateCode::Undelegated`].
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct GranuleWord(AtomicU16);

impl GranuleWord {
    /// Returns the word of an unlocked, undelegated granule.
    #[must_use]
    pub fn new() -> Self {
        Self(AtomicU16::new(0))
    }

    /// Spins until this PE holds the lock. Returns the state code.
    pub(crate) fn lock(&self) -> StateCode {
        loop {
            let seen = self.0.fetch_or(LOCK, Ordering::Acquire);
            if seen & LOCK == 0 {
                return state_of(seen);
            }
            while self.0.load(Ordering::Relaxed) & LOCK != 0 {
                spin_loop();
            }
        }
    }

    /// Gives the lock back. The caller holds it.
    pub(crate) fn unlock(&self) {
        self.0.fetch_and(!LOCK, Ordering::Release);
    }

    /// Returns the state code. Stable only while the caller holds the lock.
    pub(crate) fn state(&self) -> StateCode {
        state_of(self.0.load(Ordering::Relaxed))
    }

    /// Replaces the state code `old`. The caller holds the lock.
    pub(crate) fn change_state(&self, old: StateCode, new: StateCode) {
        let difference = old.bits() ^ new.bits();
        self.0
            .fetch_xor(difference << STATE_SHIFT, Ordering::Relaxed);
    }

    /// Returns the reference count, with what was written before it was last lowered.
    pub(crate) fn count(&self) -> u16 {
        self.0.load(Ordering::Acquire) & COUNT_MASK
    }

    /// Adds `references` to the count.
    pub(crate) fn raise(&self, references: u16) {
        let count = self.0.load(Ordering::Relaxed) & COUNT_MASK;
        assert!(
            references <= MAX_COUNT - count,
            "a granule's reference count overflows"
        );
        self.0.fetch_add(references, Ordering::Relaxed);
    }

    /// Takes `references` from the count, publishing every earlier write.
    pub(crate) fn lower(&self, references: u16) {
        let count = self.0.load(Ordering::Relaxed) & COUNT_MASK;
        assert!(
            references <= count,
            "a granule's reference count goes below zero"
        );
        self.0.fetch_sub(references, Ordering::Release);
    }
}

fn state_of(word: u16) -> StateCode {
    StateCode::from_bits((word & STATE_MASK) >> STATE_SHIFT)
}
