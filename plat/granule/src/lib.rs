// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Who owns a granule.
//!
//! Every granule of delegable memory has one 16-bit word in the [`GranuleTable`]: a lock, a state and
//! a reference count. The only way to look at or change a granule is through a guard:
//!
//! - [`Locked<S>`] holds the lock and proves that the granule is in state `S`;
//! - [`InUse<S>`] keeps exclusive use of the contents after the lock is gone (a running REC);
//! - [`Mapped<T>`] and [`MappedMut<T>`] show the contents on this PE while they live.
//!
//! States form a star around [`Delegated`]: a granule is admitted from [`Undelegated`], put into use
//! by [`Locked::into_state`], and comes back only through [`Locked::wipe`]. A granule that is
//! delegated and unlocked is therefore all zeroes.
//!
//! The machine enters through one unsafe trait, [`GranuleWindow`].

#![no_std]

mod in_use;
mod locked;
mod mapped;
mod state;
mod sync;
mod table;
mod window;
mod word;

pub use in_use::InUse;
pub use locked::{Locked, Unavailable};
pub use mapped::{Mapped, MappedMut};
pub use state::{Contained, Delegated, Foreign, Page, Pinned, State, StateCode, Undelegated};
pub use table::{Bank, GranuleTable};
pub use window::{AccessFault, GranuleWindow};
pub use word::{GranuleWord, MAX_COUNT};
