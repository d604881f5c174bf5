// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Descriptors of memory of the Host, as `RMI_RTT_MAP_UNPROTECTED` takes them.

/// Normal memory, write-back, with `FEAT_S2FWB`.
pub const WRITE_BACK: u64 = 0b110 << 2;

/// Normal memory, non-cacheable.
pub const NON_CACHEABLE: u64 = 0b101 << 2;

/// Device memory.
pub const DEVICE: u64 = 0b001 << 2;

/// The encoding that the architecture reserves.
pub const RESERVED: u64 = 0b100 << 2;

/// The Realm may read and write.
pub const READ_WRITE: u64 = 0b11 << 6;

/// The Realm may read.
pub const READ_ONLY: u64 = 0b01 << 6;

/// Normal memory that the Realm may read and write.
pub const READ_WRITE_BACK: u64 = WRITE_BACK | READ_WRITE;
