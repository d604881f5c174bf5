// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The Realm initial measurement: how the Realm was built.
//!
//! It starts as the digest of the parameters. Each step that adds something to the Realm replaces it by
//! the digest of a descriptor of 256 bytes that contains the old value:
//!
//! | offset | field |
//! |---|---|
//! | 0x0 | type: 0 DATA, 1 REC, 2 RIPAS |
//! | 0x8 | length of the descriptor |
//! | 0x10 | the measurement so far, 64 bytes |
//! | 0x50 | DATA: IPA; REC: digest of the parameters, 64 bytes; RIPAS: base |
//! | 0x58 | DATA: flags; RIPAS: top |
//! | 0x60 | DATA: digest of the contents, 64 bytes |
//!
//! All other bytes are zero.

use core::mem::offset_of;

use rmi::{
    DataFlags, GRANULE_BYTES, HashAlgorithm, Ipa, RealmParams, RealmRequest, RecParams, RecRequest,
};
use rmm_hal::Sha2;
use static_assertions::const_assert_eq;
use zerocopy::{Immutable, IntoBytes};

use crate::measure::hash::{Measurement, SLOT_BYTES, digest};

const TYPE_DATA: u64 = 0;
const TYPE_REC: u64 = 1;
const TYPE_RIPAS: u64 = 2;
const DESCRIPTOR_BYTES: u64 = 0x100;
/// The parameters up to the last one that is measured.
const MEASURED_PARAMS: usize = offset_of!(RealmParams, hash_algo) + 8;
const BODY_BYTES: usize = 0x100 - size_of::<Header>();

const_assert_eq!(size_of::<DataBody>(), BODY_BYTES);
const_assert_eq!(size_of::<RecBody>(), BODY_BYTES);
const_assert_eq!(size_of::<RipasBody>(), BODY_BYTES);

/// Zeroes up to the end of a page of parameters.
static ZEROES: [u8; GRANULE_BYTES] = [0; GRANULE_BYTES];

/// A measurement that is being extended.
#[derive(Debug)]
pub struct Rim<'a> {
    /// The measurement so far.
    pub value: &'a mut Measurement,
    /// The Realm's algorithm.
    pub algorithm: HashAlgorithm,
}

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct Header {
    kind: u64,
    length: u64,
    rim: Measurement,
}

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct DataBody {
    ipa: u64,
    flags: u64,
    content: Measurement,
    reserved: [u8; 0x60],
}

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct RecBody {
    content: Measurement,
    reserved: [u8; 0x70],
}

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct RipasBody {
    base: u64,
    top: u64,
    reserved: [u8; 0xA0],
}

/// Returns the measurement of a new Realm with these parameters.
///
/// Single bytes are measured as bytes, the flags with all bits the Host wrote.
#[must_use]
pub fn initial<S: Sha2>(sha: &S, request: &RealmRequest) -> Measurement {
    let mut measured = [0; MEASURED_PARAMS];
    let flags = request.flags.bits().to_le_bytes();
    put(&mut measured, offset_of!(RealmParams, flags), &flags);
    for (offset, value) in [
        (offset_of!(RealmParams, s2sz), request.s2sz),
        (offset_of!(RealmParams, sve_vl), request.sve_vl),
        (offset_of!(RealmParams, num_bps), request.num_bps),
        (offset_of!(RealmParams, num_wps), request.num_wps),
        (offset_of!(RealmParams, pmu_num_ctrs), request.pmu_num_ctrs),
        (offset_of!(RealmParams, hash_algo), request.hash_algo.code()),
    ] {
        put(&mut measured, offset, &[value]);
    }
    let rest = zeroes(GRANULE_BYTES - measured.len());
    digest(sha, request.hash_algo, &[&measured, rest])
}

impl Rim<'_> {
    /// Measures a page of memory, with its contents if the flags say so.
    pub fn extend_data<S: Sha2>(&mut self, sha: &S, ipa: Ipa, flags: DataFlags, contents: &[u8]) {
        let content = if flags.contains(DataFlags::MEASURE) {
            digest(sha, self.algorithm, &[contents])
        } else {
            [0; SLOT_BYTES]
        };
        let body = DataBody {
            ipa: ipa.raw(),
            flags: flags.bits(),
            content,
            reserved: [0; 0x60],
        };
        self.extend(sha, TYPE_DATA, &body);
    }

    /// Measures a REC that starts as runnable.
    pub fn extend_rec<S: Sha2>(&mut self, sha: &S, request: &RecRequest) {
        let flags = request.flags.bits().to_le_bytes();
        let pc = request.pc.to_le_bytes();
        let gprs = request.gprs.as_bytes();
        let pc_at = offset_of!(RecParams, pc);
        let gprs_at = offset_of!(RecParams, gprs);
        let parts = [
            &flags,
            zeroes(pc_at - flags.len()),
            &pc,
            zeroes(gprs_at - pc_at - pc.len()),
            gprs,
            zeroes(GRANULE_BYTES - gprs_at - gprs.len()),
        ];
        let body = RecBody {
            content: digest(sha, self.algorithm, &parts),
            reserved: [0; 0x70],
        };
        self.extend(sha, TYPE_REC, &body);
    }

    /// Measures that addresses became memory, entry by entry of the tables.
    pub fn extend_ripas<S: Sha2>(&mut self, sha: &S, base: Ipa, top: Ipa) {
        let body = RipasBody {
            base: base.raw(),
            top: top.raw(),
            reserved: [0; 0xA0],
        };
        self.extend(sha, TYPE_RIPAS, &body);
    }

    fn extend<S: Sha2, T: IntoBytes + Immutable>(&mut self, sha: &S, kind: u64, body: &T) {
        let header = Header {
            kind,
            length: DESCRIPTOR_BYTES,
            rim: *self.value,
        };
        *self.value = digest(sha, self.algorithm, &[header.as_bytes(), body.as_bytes()]);
    }
}

fn zeroes(bytes: usize) -> &'static [u8] {
    ZEROES.get(..bytes).expect("parameters fill one page")
}

fn put(into: &mut [u8], offset: usize, bytes: &[u8]) {
    into.get_mut(offset..offset + bytes.len())
        .expect("the offset of a measured field")
        .copy_from_slice(bytes);
}

#[cfg(test)]
mod tests;
