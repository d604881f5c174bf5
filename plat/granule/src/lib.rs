// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Who owns a granule: lock, state and reference count in one word.

#![no_std]
