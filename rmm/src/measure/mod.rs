// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Measurements: what a Realm can prove about itself.
//!
//! A Realm has five slots of 64 bytes: the Realm initial measurement ([`rim`]), which the monitor
//! extends while the Realm is built, and four that the Realm extends itself ([`rem`]). Both chain
//! digests of the Realm's own algorithm ([`hash`]).

pub mod hash;
mod pad;
pub mod rem;
pub mod rim;

pub use hash::{Measurement, SLOT_BYTES};
