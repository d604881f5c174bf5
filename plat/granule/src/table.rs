// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The table of all granules the Host may delegate.

use rmi::{GRANULE_SIZE, GranuleAddr, PhysAddr};

use crate::locked::{Locked, Unavailable};
use crate::state::{State, StateCode};
use crate::word::GranuleWord;

/// A contiguous range of delegable memory and its granule words, one per granule.
#[derive(Clone, Copy, Debug)]
pub struct Bank<'m> {
    base: GranuleAddr,
    words: &'m [GranuleWord],
}

impl<'m> Bank<'m> {
    /// Returns the bank that begins at `base` and has one granule per word.
    #[must_use]
    pub const fn new(base: GranuleAddr, words: &'m [GranuleWord]) -> Self {
        Self { base, words }
    }

    fn word(&self, at: PhysAddr) -> Option<&'m GranuleWord> {
        let offset = at.raw().checked_sub(self.base.raw())?;
        let index = usize::try_from(offset / GRANULE_SIZE).ok()?;
        self.words.get(index)
    }
}

/// Finds the word of a granule by its address.
#[derive(Clone, Copy, Debug)]
pub struct GranuleTable<'m> {
    banks: &'m [Bank<'m>],
}

impl<'m> GranuleTable<'m> {
    /// Returns the table over `banks`, which do not overlap.
    #[must_use]
    pub const fn new(banks: &'m [Bank<'m>]) -> Self {
        Self { banks }
    }

    /// Takes `granules` granules from `first` on out of the Host's reach for good, where the table
    /// has them. Called at boot, before the Host runs.
    pub fn exclude(&self, first: GranuleAddr, granules: u64) {
        for n in 0..granules {
            let Some(granule) = first.checked_next(n) else {
                return;
            };
            if let Some(word) = self.word(granule.phys()) {
                let state = word.lock();
                word.change_state(state, StateCode::Excluded);
                word.unlock();
            }
        }
    }

    /// Says whether `at` lies in memory that may be delegated.
    #[must_use]
    pub fn is_delegable(&self, at: PhysAddr) -> bool {
        self.word(at)
            .is_some_and(|word| word.state() != StateCode::Excluded)
    }

    /// Locks the granule at `at`, which must be in state `S`.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] when `at` is not aligned, not delegable or in another state.
    pub fn lock<S: State>(&self, at: PhysAddr) -> Result<Locked<'m, S>, Unavailable> {
        self.lock_granule(GranuleAddr::new(at.raw()).ok_or(Unavailable)?)
    }

    fn lock_granule<S: State>(&self, granule: GranuleAddr) -> Result<Locked<'m, S>, Unavailable> {
        let word = self.word(granule.phys()).ok_or(Unavailable)?;
        Locked::acquire(word, granule)
    }

    /// Locks two granules named by the Host, in address order.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] when one cannot be locked in its state, or both are the same granule.
    pub fn lock_set2<A: State, B: State>(
        &self,
        a: PhysAddr,
        b: PhysAddr,
    ) -> Result<(Locked<'m, A>, Locked<'m, B>), Unavailable> {
        if a == b {
            return Err(Unavailable);
        }
        if a < b {
            let a = self.lock(a)?;
            Ok((a, self.lock(b)?))
        } else {
            let b = self.lock(b)?;
            Ok((self.lock(a)?, b))
        }
    }

    /// Locks a granule that the contents of `outer` name, as the lock order of [`crate::State`] allows.
    ///
    /// Panics when it is not in state `S`: the monitor itself wrote the name.
    pub fn lock_inner<O: State, S: State>(
        &self,
        outer: &Locked<'m, O>,
        inner: GranuleAddr,
    ) -> Locked<'m, S> {
        assert!(outer.addr() != inner, "a granule names itself");
        self.lock_granule(inner)
            .expect("a granule names another that is not in the named state")
    }

    /// Returns the state code of the granule at `at` at some moment, for invariant checks in tests.
    #[must_use]
    pub fn peek(&self, at: PhysAddr) -> Option<(StateCode, u16)> {
        self.word(at).map(|word| (word.state(), word.count()))
    }

    fn word(&self, at: PhysAddr) -> Option<&'m GranuleWord> {
        self.banks.iter().find_map(|bank| bank.word(at))
    }
}
