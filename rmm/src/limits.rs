// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Every capacity of the monitor, each with its reason.

use rmi::GRANULE_BYTES;
use rmm_granule::MAX_COUNT;
use static_assertions::const_assert;

/// A Realm has at most 2^order - 1 RECs: the RD's reference count counts them.
pub const MAX_RECS_ORDER: u8 = 11;

/// The greatest number of RECs of one Realm.
pub const MAX_RECS: u16 = (1 << MAX_RECS_ORDER) - 1;

const_assert!(MAX_RECS <= MAX_COUNT);

/// Stage 2 concatenates at most 16 tables at the starting level (Arm ARM D8.2, concatenated
/// translation tables).
pub const MAX_STARTING_TABLES: usize = 16;

/// The narrowest address space of a Realm, in bits: the limit is the implementation's to choose, and
/// below it a walk could start at level 3.
pub const MIN_IPA_BITS: u8 = 32;

/// The widest address space of a Realm without 52-bit tables, in bits.
pub const MAX_IPA_BITS_48: u8 = 48;

/// The widest address space of a Realm with 52-bit tables, in bits.
pub const MAX_IPA_BITS_52: u8 = 52;

/// Machines with fewer physical address bits may not start a walk at level 0 (Arm ARM, the rules on
/// `VTCR_EL2.SL0`).
pub const MIN_PA_BITS_FOR_LEVEL_0: u8 = 44;

/// VMIDs without `FEAT_VMID16`.
pub const VMIDS_8_BITS: u64 = 1 << 8;

/// Room for the platform token, in bytes. EL3 gives it a page at a time and names no bound; four pages
/// hold several times the claims of any platform known so far, and there is one token for all Realms.
pub const PLATFORM_TOKEN_BYTES: usize = 4 * GRANULE_BYTES;
