// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The lock of a granule, as a value.

use core::fmt;
use core::marker::PhantomData;
use core::mem::{align_of, forget, size_of};
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use rmi::{GRANULE_BYTES, GranuleAddr};
use zerocopy::FromBytes;

use crate::in_use::InUse;
use crate::mapped::{Mapped, MappedMut, View};
use crate::state::{Contained, Delegated, Foreign, Pinned, State, Undelegated};
use crate::window::{AccessFault, GranuleWindow};
use crate::word::GranuleWord;

/// A granule could not be locked: its address is not aligned or not delegable, or it is in another
/// state than the caller needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable;

/// This PE holds the granule's lock and the granule is in state `S`. Dropping it gives the lock back.
#[must_use = "dropping the guard unlocks the granule"]
pub struct Locked<'t, S: State> {
    word: &'t GranuleWord,
    granule: GranuleAddr,
    _state: PhantomData<*const S>,
}

impl<'t, S: State> Locked<'t, S> {
    pub(crate) fn acquire(
        word: &'t GranuleWord,
        granule: GranuleAddr,
    ) -> Result<Self, Unavailable> {
        let state = word.lock();
        let locked = Self {
            word,
            granule,
            _state: PhantomData,
        };
        if state == S::CODE {
            Ok(locked)
        } else {
            Err(Unavailable)
        }
    }

    /// Returns the address of the granule.
    #[must_use]
    pub fn addr(&self) -> GranuleAddr {
        self.granule
    }

    /// Returns the number of references held on the granule.
    #[must_use]
    pub fn count(&self) -> u16 {
        self.word.count()
    }

    /// Adds `references` to the granule's count. Panics past [`crate::MAX_COUNT`].
    pub fn raise(&mut self, references: u16) {
        self.word.raise(references);
    }

    /// Takes `references` from the granule's count. Panics below zero.
    pub fn lower(&mut self, references: u16) {
        self.word.lower(references);
    }

    /// Shows the header, which others may use at the same time through its atomics.
    pub fn map_header<'g, W: GranuleWindow>(&'g self, window: &'g W) -> Mapped<'g, S::Header, W> {
        const { assert!(header_fits::<S>()) }
        // SAFETY: the header starts the granule (checked above), accepts any bytes (`FromBytes`), and
        // the `State` contract makes everything in it that is shared atomic (`Sync`).
        unsafe { Mapped::new(window, self.granule, 0) }
    }

    fn retag<N: State>(self) -> Locked<'t, N> {
        assert!(
            self.word.count() == 0,
            "a granule changes state while references are held on it"
        );
        self.word.change_state(S::CODE, N::CODE);
        let next = Locked {
            word: self.word,
            granule: self.granule,
            _state: PhantomData,
        };
        forget(self);
        next
    }
}

impl<S: Contained> Locked<'_, S> {
    /// Shows the contents for reading.
    pub fn map<'g, W: GranuleWindow>(&'g self, window: &'g W) -> Mapped<'g, S::Contents, W> {
        const { assert!(contents_fit::<S>()) }
        // SAFETY: in bounds and aligned (checked above), any bytes are valid (`FromBytes`). The lock
        // is held for `'g`, and states other than pinned ones are only touched under it; a pinned
        // state is not `Contained`.
        unsafe { Mapped::new(window, self.granule, contents_offset::<S>()) }
    }

    /// Shows the contents for reading and writing.
    pub fn map_mut<'g, W: GranuleWindow>(
        &'g mut self,
        window: &'g W,
    ) -> MappedMut<'g, S::Contents, W> {
        const { assert!(contents_fit::<S>()) }
        // SAFETY: as in `map`; the exclusive borrow of the guard keeps other views away for `'g`.
        unsafe { MappedMut::new(window, self.granule, contents_offset::<S>()) }
    }
}

impl<'t, S: Pinned> Locked<'t, S> {
    /// Says whether the contents are in use elsewhere.
    fn is_in_use(&self) -> bool {
        self.word.count() != 0
    }

    /// Takes the contents into use and gives the lock back.
    ///
    /// # Errors
    ///
    /// The guard itself, when they are in use already.
    pub fn pin(self) -> Result<InUse<'t, S>, Self> {
        if self.is_in_use() {
            return Err(self);
        }
        self.word.raise(1);
        Ok(InUse::new(self.word, self.granule))
    }

    /// Shows the contents while nobody else has them in use.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] when they are in use.
    pub fn map_idle<'g, W: GranuleWindow>(
        &'g mut self,
        window: &'g W,
    ) -> Result<MappedMut<'g, S::Contents, W>, Unavailable> {
        const { assert!(contents_fit::<S>()) }
        if self.is_in_use() {
            return Err(Unavailable);
        }
        // SAFETY: in bounds and aligned (checked above), any bytes are valid (`FromBytes`). The count
        // is zero and can only be raised under the lock, which is held and borrowed for `'g`.
        Ok(unsafe { MappedMut::new(window, self.granule, contents_offset::<S>()) })
    }
}

impl<S: Foreign> Locked<'_, S> {
    /// Copies bytes out of the granule, from `offset` on. Panics when they do not lie inside it.
    ///
    /// Somebody else may write meanwhile: each byte is some value that was there. Words are copied
    /// where both sides are aligned to them.
    pub fn read_bytes<W: GranuleWindow>(&self, window: &W, offset: usize, into: &mut [u8]) {
        let view = View::new(window, self.granule);
        if offset.is_multiple_of(WORD_BYTES)
            && let Ok(into) = <[u64]>::mut_from_bytes(into)
        {
            for (word, to) in foreign_words(&view, offset, into.len()).iter().zip(into) {
                *to = word.load(Ordering::Relaxed);
            }
            return;
        }
        for (byte, to) in foreign_bytes(&view, offset, into.len()).iter().zip(into) {
            *to = byte.load(Ordering::Relaxed);
        }
    }

    /// Copies bytes into the granule, from `offset` on, under the same rules.
    pub fn write_bytes<W: GranuleWindow>(&mut self, window: &W, offset: usize, from: &[u8]) {
        let view = View::new(window, self.granule);
        if offset.is_multiple_of(WORD_BYTES)
            && let Ok(from) = <[u64]>::ref_from_bytes(from)
        {
            for (word, value) in foreign_words(&view, offset, from.len()).iter().zip(from) {
                word.store(*value, Ordering::Relaxed);
            }
            return;
        }
        for (byte, value) in foreign_bytes(&view, offset, from.len()).iter().zip(from) {
            byte.store(*value, Ordering::Relaxed);
        }
    }
}

impl<'t> Locked<'t, Undelegated> {
    /// Takes the granule in, once it belongs to the Realm physical address space, and wipes it.
    ///
    /// # Errors
    ///
    /// The guard, when no memory answers at the address.
    pub fn admit<W: GranuleWindow>(self, window: &W) -> Result<Locked<'t, Delegated>, Self> {
        // SAFETY: the lock is held, and no guard shows the contents of an undelegated granule.
        match unsafe { window.zero(self.granule) } {
            Ok(()) => Ok(self.retag()),
            Err(AccessFault) => Err(self),
        }
    }
}

impl<'t> Locked<'t, Delegated> {
    /// Puts the granule into use. Its contents are what the caller wrote, else zeroes.
    pub fn into_state<S: State>(self) -> Locked<'t, S> {
        self.retag()
    }

    /// Records that the granule was given back to the Non-secure world.
    pub fn release(self) -> Locked<'t, Undelegated> {
        self.retag()
    }
}

impl<'t, S: State> Locked<'t, S> {
    /// Ends the granule's use: wipes it and makes it [`Delegated`]. Panics while references are held.
    pub fn wipe<W: GranuleWindow>(self, window: &W) -> Locked<'t, Delegated> {
        assert!(
            !matches!(
                S::CODE,
                crate::StateCode::Undelegated | crate::StateCode::Excluded
            ),
            "only the monitor's granules can be wiped"
        );
        assert!(
            self.word.count() == 0,
            "a granule is wiped while references are held on it"
        );
        // SAFETY: the lock is held, its owner borrows no view (`self` is taken whole), nobody pinned it
        // (the count is zero), and translations to it were invalidated by the command that drops it.
        unsafe { window.zero(self.granule) }.expect("memory that was in use answers no more");
        self.retag()
    }
}

impl<S: State> Drop for Locked<'_, S> {
    fn drop(&mut self) {
        self.word.unlock();
    }
}

impl<S: State> fmt::Debug for Locked<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Locked")
            .field(&S::CODE)
            .field(&self.granule)
            .finish()
    }
}

/// Bytes of the words in which a granule is copied.
const WORD_BYTES: usize = size_of::<u64>();

fn foreign_words<'v, W: GranuleWindow>(
    view: &'v View<'_, W>,
    offset: usize,
    words: usize,
) -> &'v [AtomicU64] {
    assert!(offset.is_multiple_of(WORD_BYTES));
    assert!(offset <= GRANULE_BYTES && words <= (GRANULE_BYTES - offset) / WORD_BYTES);
    // SAFETY: `offset` is at most the granule's size (checked above).
    let start = unsafe { view.base().byte_add(offset) }.cast::<AtomicU64>();
    // SAFETY: the range lies inside the mapped granule and is aligned (checked above; a view is aligned
    // to a granule) for as long as the view lives; atomics may be written by others at any time and
    // accept any bytes.
    unsafe { core::slice::from_raw_parts(start.as_ptr(), words) }
}

fn foreign_bytes<'v, W: GranuleWindow>(
    view: &'v View<'_, W>,
    offset: usize,
    length: usize,
) -> &'v [AtomicU8] {
    assert!(offset <= GRANULE_BYTES && length <= GRANULE_BYTES - offset);
    // SAFETY: `offset` is at most the granule's size (checked above).
    let start = unsafe { view.base().byte_add(offset) }.cast::<AtomicU8>();
    // SAFETY: the range lies inside the mapped granule (checked above) for as long as the view lives;
    // atomics may be written by others at any time and accept any byte.
    unsafe { core::slice::from_raw_parts(start.as_ptr(), length) }
}

/// Returns where the contents of a state begin: behind the header, aligned.
pub(crate) const fn contents_offset<S: State>() -> usize {
    size_of::<S::Header>().next_multiple_of(align_of::<S::Contents>())
}

pub(crate) const fn contents_fit<S: State>() -> bool {
    contents_offset::<S>() + size_of::<S::Contents>() <= GRANULE_BYTES
        && align_of::<S::Contents>() <= GRANULE_BYTES
}

const fn header_fits<S: State>() -> bool {
    size_of::<S::Header>() <= GRANULE_BYTES && align_of::<S::Header>() <= GRANULE_BYTES
}
