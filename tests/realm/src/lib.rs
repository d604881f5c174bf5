// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the payload and its Host say to each other, and the instructions and registers they talk about.
//!
//! The payload itself is the binary of this package.

#![no_std]
#![forbid(unsafe_code)]

pub mod instructions;
pub mod protocol;
pub mod registers;
