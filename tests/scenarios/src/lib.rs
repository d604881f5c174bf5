// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Command contracts as scenarios over a port.

#![no_std]
#![forbid(unsafe_code)]
