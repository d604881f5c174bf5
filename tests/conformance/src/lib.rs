// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! In-process conformance: the monitor over the fake machine, behind the port of the scenarios.
//!
//! - [`machine`] describes the machines that the tests run on and puts a monitor on one;
//! - [`port`] is the Host's side of it, and [`guest`] plays the program of its Realms;
//! - [`bench`] is a REC whose steps are closures;
//! - [`audit`] looks for contradictions in what the monitor holds.

#![forbid(unsafe_code)]

pub mod audit;
pub mod bench;
pub mod guest;
pub mod machine;
pub mod model;
pub mod port;
