// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The words two worlds agree on: RMI, RSI and Realm PSCI.

#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic
)]

pub mod addr;
pub mod level;
pub mod status;
pub mod table;

pub use addr::{GRANULE_BYTES, GRANULE_SIZE, GranuleAddr, Ipa, PhysAddr};
pub use level::RttLevel;
pub use status::{RmiError, RmiReturn, RmiStatus, SMCCC_NOT_SUPPORTED};
pub use table::{Command, CommandId, LogPolicy};
