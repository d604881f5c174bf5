// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Exclusive use of a granule's contents without its lock.

use core::fmt;
use core::marker::PhantomData;

use rmi::GranuleAddr;

use crate::locked::{contents_fit, contents_offset};
use crate::mapped::{Mapped, MappedMut};
use crate::state::Pinned;
use crate::window::GranuleWindow;
use crate::word::GranuleWord;

/// The granule is in state `S`, referenced once, and its contents belong to the holder alone.
///
/// While it lives the state cannot change, because every state change asks for a count of zero.
/// Dropping it publishes the contents and drops the reference.
#[must_use = "dropping the guard ends the use"]
pub struct InUse<'t, S: Pinned> {
    word: &'t GranuleWord,
    granule: GranuleAddr,
    _state: PhantomData<*const S>,
}

impl<'t, S: Pinned> InUse<'t, S> {
    /// The caller raised the count from zero to one under the lock, which this call gives back.
    pub(crate) fn new(word: &'t GranuleWord, granule: GranuleAddr) -> Self {
        Self {
            word,
            granule,
            _state: PhantomData,
        }
    }

    /// Returns the address of the granule.
    #[must_use]
    pub fn addr(&self) -> GranuleAddr {
        self.granule
    }

    /// Shows the header.
    pub fn map_header<'g, W: GranuleWindow>(&'g self, window: &'g W) -> Mapped<'g, S::Header, W> {
        const { assert!(contents_fit::<S>()) }
        // SAFETY: the header starts the granule and accepts any bytes; what is shared in it is atomic.
        unsafe { Mapped::new(window, self.granule, 0) }
    }

    /// Shows the contents.
    pub fn map_mut<'g, W: GranuleWindow>(
        &'g mut self,
        window: &'g W,
    ) -> MappedMut<'g, S::Contents, W> {
        const { assert!(contents_fit::<S>()) }
        // SAFETY: in bounds and aligned (checked above), any bytes are valid (`FromBytes`). Only the
        // holder of the one reference reaches the contents, and this borrow is exclusive.
        unsafe { MappedMut::new(window, self.granule, contents_offset::<S>()) }
    }
}

impl<S: Pinned> Drop for InUse<'_, S> {
    fn drop(&mut self) {
        self.word.lower(1);
    }
}

impl<S: Pinned> fmt::Debug for InUse<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InUse")
            .field(&S::CODE)
            .field(&self.granule)
            .finish()
    }
}
