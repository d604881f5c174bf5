// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The parameters of `RMI_REALM_CREATE`: a page on the wire, and the request it makes.
//!
//! A `RealmRequest` has no reserved encodings. Whether the monitor can grant it is another
//! question, which only the monitor can answer.

use bitflags::bitflags;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::features::HashAlgorithm;
use crate::wire::{BadEncoding, assert_layout};

/// Bytes of a Realm personalization value.
pub const RPV_BYTES: usize = 64;

bitflags! {
    /// What a Realm may use (`RmiRealmFlags`).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct RealmFlags: u64 {
        /// 52-bit translation tables.
        const LPA2 = 1 << 0;
        /// The scalable vector extension.
        const SVE = 1 << 1;
        /// The performance monitor.
        const PMU = 1 << 2;
    }
}

/// `RmiRealmParams` as the Host writes it: one granule.
#[derive(Clone, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RealmParams {
    /// [`RealmFlags`], and bits that should be zero.
    pub flags: u64,
    /// Width of the address space, in bits.
    pub s2sz: u8,
    _reserved_s2sz: [u8; 7],
    /// Vector length in units of 128 bits, minus one.
    pub sve_vl: u8,
    _reserved_sve_vl: [u8; 7],
    /// Breakpoints, minus one. Zero is reserved.
    pub num_bps: u8,
    _reserved_num_bps: [u8; 7],
    /// Watchpoints, minus one. Zero is reserved.
    pub num_wps: u8,
    _reserved_num_wps: [u8; 7],
    /// Event counters.
    pub pmu_num_ctrs: u8,
    _reserved_pmu_num_ctrs: [u8; 7],
    /// Code of a [`HashAlgorithm`].
    pub hash_algo: u8,
    _reserved_hash_algo: [u8; 0x3cf],
    /// The Realm personalization value.
    pub rpv: [u8; RPV_BYTES],
    _reserved_rpv: [u8; 0x3c0],
    /// Virtual machine identifier, chosen by the Host.
    pub vmid: u16,
    _reserved_vmid: [u8; 6],
    /// Physical address of the first root table.
    pub rtt_base: u64,
    /// Level of the root tables.
    pub rtt_level_start: i64,
    /// Number of root tables.
    pub rtt_num_start: u32,
    _reserved_end: [u8; 0x7e4],
}

assert_layout!(RealmParams, 0x1000, {
    flags: 0x0,
    s2sz: 0x8,
    sve_vl: 0x10,
    num_bps: 0x18,
    num_wps: 0x20,
    pmu_num_ctrs: 0x28,
    hash_algo: 0x30,
    rpv: 0x400,
    vmid: 0x800,
    rtt_base: 0x808,
    rtt_level_start: 0x810,
    rtt_num_start: 0x818,
});

impl Default for RealmParams {
    fn default() -> Self {
        Self::new_zeroed()
    }
}

/// What a Host asks of `RMI_REALM_CREATE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealmRequest {
    /// What the Realm may use.
    pub flags: RealmFlags,
    /// Width of the address space, in bits.
    pub s2sz: u8,
    /// Vector length in units of 128 bits, minus one. It counts only with [`RealmFlags::SVE`].
    pub sve_vl: u8,
    /// Breakpoints, minus one, and not zero.
    pub num_bps: u8,
    /// Watchpoints, minus one, and not zero.
    pub num_wps: u8,
    /// Event counters. They count only with [`RealmFlags::PMU`].
    pub pmu_num_ctrs: u8,
    /// Algorithm of the measurements.
    pub hash_algo: HashAlgorithm,
    /// The Realm personalization value.
    pub rpv: [u8; RPV_BYTES],
    /// Virtual machine identifier.
    pub vmid: u16,
    /// Physical address of the first root table.
    pub rtt_base: u64,
    /// Level of the root tables.
    pub rtt_level_start: i64,
    /// Number of root tables.
    pub rtt_num_start: u32,
}

/// Reads a request: the condition `params_valid` of `RMI_REALM_CREATE`.
///
/// Bits that should be zero are no encodings. Those in the flags are kept, as they are measured.
impl TryFrom<&RealmParams> for RealmRequest {
    type Error = BadEncoding;

    fn try_from(params: &RealmParams) -> Result<Self, BadEncoding> {
        if params.num_bps == 0 {
            return Err(BadEncoding { field: "num_bps" });
        }
        if params.num_wps == 0 {
            return Err(BadEncoding { field: "num_wps" });
        }
        let Some(hash_algo) = HashAlgorithm::new(params.hash_algo) else {
            return Err(BadEncoding { field: "hash_algo" });
        };
        Ok(Self {
            flags: RealmFlags::from_bits_retain(params.flags),
            s2sz: params.s2sz,
            sve_vl: params.sve_vl,
            num_bps: params.num_bps,
            num_wps: params.num_wps,
            pmu_num_ctrs: params.pmu_num_ctrs,
            hash_algo,
            rpv: params.rpv,
            vmid: params.vmid,
            rtt_base: params.rtt_base,
            rtt_level_start: params.rtt_level_start,
            rtt_num_start: params.rtt_num_start,
        })
    }
}

/// Writes a request, with zeros in all other bytes.
impl From<&RealmRequest> for RealmParams {
    fn from(request: &RealmRequest) -> Self {
        Self {
            flags: request.flags.bits(),
            s2sz: request.s2sz,
            sve_vl: request.sve_vl,
            num_bps: request.num_bps,
            num_wps: request.num_wps,
            pmu_num_ctrs: request.pmu_num_ctrs,
            hash_algo: request.hash_algo.code(),
            rpv: request.rpv,
            vmid: request.vmid,
            rtt_base: request.rtt_base,
            rtt_level_start: request.rtt_level_start,
            rtt_num_start: request.rtt_num_start,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> RealmRequest {
        RealmRequest {
            flags: RealmFlags::LPA2 | RealmFlags::PMU,
            s2sz: 40,
            sve_vl: 1,
            num_bps: 5,
            num_wps: 3,
            pmu_num_ctrs: 6,
            hash_algo: HashAlgorithm::Sha512,
            rpv: [0x5A; RPV_BYTES],
            vmid: 0x1234,
            rtt_base: 0x8800_0000,
            rtt_level_start: -1,
            rtt_num_start: 1,
        }
    }

    #[test]
    fn request_survives_the_wire() {
        let params = RealmParams::from(&request());
        assert_eq!(RealmRequest::try_from(&params), Ok(request()));
    }

    #[test]
    fn params_with_reserved_encodings_are_refused() {
        let refusal = |corrupt: fn(&mut RealmParams)| {
            let mut params = RealmParams::from(&request());
            corrupt(&mut params);
            RealmRequest::try_from(&params).unwrap_err().field
        };
        assert_eq!(refusal(|params| params.num_bps = 0), "num_bps");
        assert_eq!(refusal(|params| params.num_wps = 0), "num_wps");
        assert_eq!(refusal(|params| params.hash_algo = 2), "hash_algo");
        assert_eq!(refusal(|params| params.hash_algo = 0xFF), "hash_algo");
    }

    #[test]
    fn params_bits_that_should_be_zero_are_no_encodings() {
        let mut params = RealmParams::from(&request());
        params.as_mut_bytes()[0x9] = 0xFF;
        params.as_mut_bytes()[0xFFF] = 0xFF;
        assert_eq!(RealmRequest::try_from(&params), Ok(request()));
        params.flags = u64::MAX;
        let read = RealmRequest::try_from(&params).unwrap();
        assert!(read.flags.contains(RealmFlags::all()));
        assert_eq!(read.flags.bits(), u64::MAX);
    }
}
