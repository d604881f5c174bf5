// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The Non-secure host image at NS-EL2.

#![no_std]
#![no_main]
