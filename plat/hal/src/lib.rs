// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the monitor asks of a machine.

#![no_std]
#![forbid(unsafe_code)]
