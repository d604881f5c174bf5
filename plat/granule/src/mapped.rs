// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The contents of a granule, visible on this PE.

use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

use rmi::GranuleAddr;

use crate::window::GranuleWindow;

/// A window slot that is given back when it is dropped.
pub(crate) struct View<'w, W: GranuleWindow> {
    window: &'w W,
    base: NonNull<u8>,
}

impl<'w, W: GranuleWindow> View<'w, W> {
    pub(crate) fn new(window: &'w W, granule: GranuleAddr) -> Self {
        Self {
            window,
            base: window.map(granule),
        }
    }

    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }
}

impl<W: GranuleWindow> Drop for View<'_, W> {
    fn drop(&mut self) {
        // SAFETY: `base` came from `map` of this window, and whoever could use it borrowed from `self`.
        unsafe { self.window.unmap(self.base) }
    }
}

/// Shared sight of a `T` inside a granule; the view ends with the value.
///
/// `'g` borrows the guard that makes the sight legal. The raw pointer keeps it on its PE: `!Send`.
pub struct Mapped<'g, T, W: GranuleWindow> {
    view: View<'g, W>,
    at: NonNull<T>,
    _guard: PhantomData<&'g T>,
}

impl<'g, T, W: GranuleWindow> Mapped<'g, T, W> {
    /// # Safety
    ///
    /// `offset..offset + size_of::<T>()` lies inside the granule, is aligned for `T`, `T` accepts any
    /// bytes, and for `'g` nobody writes there except through atomics.
    pub(crate) unsafe fn new(window: &'g W, granule: GranuleAddr, offset: usize) -> Self {
        let view = View::new(window, granule);
        // SAFETY: the caller promises that `offset` lies inside the 4 KiB behind `base`.
        let at = unsafe { view.base().byte_add(offset) }.cast();
        Self {
            view,
            at,
            _guard: PhantomData,
        }
    }
}

impl<T, W: GranuleWindow> Deref for Mapped<'_, T, W> {
    type Target = T;

    fn deref(&self) -> &T {
        debug_assert!(self.at.cast() >= self.view.base());
        // SAFETY: the promise of `new`: in bounds, aligned, any bytes valid, not written for `'g`.
        unsafe { self.at.as_ref() }
    }
}

impl<T, W: GranuleWindow> fmt::Debug for Mapped<'_, T, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mapped")
    }
}

/// Exclusive sight of a `T` inside a granule; the view ends with the value.
pub struct MappedMut<'g, T, W: GranuleWindow> {
    inner: Mapped<'g, T, W>,
    _guard: PhantomData<&'g mut T>,
}

impl<'g, T, W: GranuleWindow> MappedMut<'g, T, W> {
    /// # Safety
    ///
    /// As [`Mapped::new`], and for `'g` nobody else reads or writes there at all.
    pub(crate) unsafe fn new(window: &'g W, granule: GranuleAddr, offset: usize) -> Self {
        // SAFETY: the caller's promise is stronger than what `Mapped::new` asks.
        let inner = unsafe { Mapped::new(window, granule, offset) };
        Self {
            inner,
            _guard: PhantomData,
        }
    }
}

impl<T, W: GranuleWindow> Deref for MappedMut<'_, T, W> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T, W: GranuleWindow> DerefMut for MappedMut<'_, T, W> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the promise of `new`: in bounds, aligned, any bytes valid, and nobody else for `'g`.
        unsafe { self.inner.at.as_mut() }
    }
}

impl<T, W: GranuleWindow> fmt::Debug for MappedMut<'_, T, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MappedMut")
    }
}
