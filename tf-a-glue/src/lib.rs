// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The conversation between the RMM and EL3.
//!
//! EL3 enters each PE once with a few registers ([`ColdArgs`], [`WarmArgs`]) and a page of facts about
//! the platform ([`Manifest`]). From then on the RMM speaks first: every command of the Host arrives as
//! the *return* of the SMC that reported the end of the boot, or the end of the command before
//! ([`serve`]). Meanwhile the RMM may call EL3 ([`TfA`]).
//!
//! All of it goes through [`Smc`], so a test can be EL3.

#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic
)]

mod attestation;
mod boot_args;
mod calls;
mod manifest;
mod serve;

pub use attestation::{AttestationCalls, SharedBuffer};
pub use boot_args::{BootError, ColdArgs, Version, WarmArgs};
pub use calls::{Smc, SmcRegisters, TfA};
pub use manifest::{Console, ConsoleList, DramBank, Manifest};
pub use serve::{refuse_boot, serve};
