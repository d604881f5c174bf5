// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the granule word is made of.
//!
//! `tests/interleavings.rs` compiles the files of this crate over other atomics, which try every order
//! of two PEs' accesses; this file is what it replaces.

pub(crate) use core::hint::spin_loop;
pub(crate) use core::sync::atomic::{AtomicU16, Ordering};
