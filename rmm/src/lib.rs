// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The rules of the Realm Management Monitor.
//!
//! The words, in the order one meets them:
//!
//! - a [`Monitor`] is the whole state of the monitor as one value; a test may have ten;
//! - [`commands`] serves what the Host calls (RMI): one function per command, each reading like the
//!   specification's list of failure conditions, every check before the first change;
//! - [`realm`] is what a Realm is: its descriptor, the admission of its parameters, its VMID;
//! - [`rec`] is one of its virtual processors: what it holds, how it runs, what ends a run;
//! - [`rtt`] is its translation tables: entries, walks, and the changes that walks lead to;
//! - [`measure`] is what a Realm can say about itself, and [`attest`] how it proves that to others.
//!
//! Commands name function ids and registers. Nothing below them does: it works on addresses, ranges
//! and entries, so that another version of the interface is another set of commands.
//!
//! Everything that depends on a machine is behind `H: Hal`, and nothing here is unsafe.

#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic
)]

pub mod attest;
mod boot;
pub mod commands;
pub mod limits;
pub mod measure;
pub mod realm;
pub mod rec;
pub mod rtt;

pub use boot::Monitor;
