// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The rules of the Realm Management Monitor.

#![no_std]
#![forbid(unsafe_code)]
