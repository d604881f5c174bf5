// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What a Realm is.
//!
//! - [`rd`]: the Realm descriptor, the granule that names everything a Realm owns;
//! - [`params`]: whether the parameters of a new Realm can be granted;
//! - [`stage2`]: what names its tables to the hardware;
//! - [`memory`]: access to its memory on its own behalf;
//! - `vmid`: which VMIDs are taken.

pub mod memory;
pub mod params;
pub mod rd;
pub mod stage2;
mod vmid;

pub use memory::{DataState, RealmMemoryError};
pub use params::Admission;
pub use rd::{Rd, RdState, RealmState, RealmTables};
pub(crate) use vmid::Vmids;
