// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The R-EL1 payload of the on-target tests.

#![no_std]
#![no_main]
