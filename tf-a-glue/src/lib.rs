// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The conversation between the RMM and EL3.

#![no_std]
#![forbid(unsafe_code)]
