// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The RMM image for QEMU virt.

#![no_std]
#![no_main]

mod board;
#[path = "../../image.rs"]
mod image;
