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
use rmm_hal::{Sha2, Sha2Unit};
use zerocopy::{Immutable, IntoBytes};

use crate::measure::hash::{Measurement, Part, digest};

const TYPE_DATA: u64 = 0;
const TYPE_REC: u64 = 1;
const TYPE_RIPAS: u64 = 2;
const DESCRIPTOR_BYTES: u16 = 0x100;
/// The parameters up to the last one that is measured.
const MEASURED_PARAMS: usize = offset_of!(RealmParams, hash_algo) + 8;

/// A measurement that is being extended.
#[derive(Debug)]
pub struct Rim<'a> {
    /// The measurement so far.
    pub value: &'a mut Measurement,
    /// The Realm's algorithm.
    pub algorithm: HashAlgorithm,
}

/// How a descriptor starts. Each is written up to the end of a block of SHA-256; zeroes follow.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct Header {
    kind: u64,
    length: u64,
    rim: Measurement,
}

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct DataDescriptor {
    header: Header,
    ipa: u64,
    flags: u64,
    content: Measurement,
    reserved: [u8; 0x20],
}

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct RecDescriptor {
    header: Header,
    content: Measurement,
    reserved: [u8; 0x30],
}

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct RipasDescriptor {
    header: Header,
    base: u64,
    top: u64,
    reserved: [u8; 0x20],
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
    let parts = [Part::padded(&measured, GRANULE_BYTES)];
    sha.with_unit(|unit| digest(unit, request.hash_algo, parts))
}

impl Rim<'_> {
    /// Measures a page of memory, with its contents if the flags say so.
    pub fn extend_data<S: Sha2>(
        &mut self,
        sha: &S,
        ipa: Ipa,
        flags: DataFlags,
        contents: &[u8; GRANULE_BYTES],
    ) {
        sha.with_unit(|unit| {
            let content = if flags.contains(DataFlags::MEASURE) {
                digest(unit, self.algorithm, [Part::new(contents)])
            } else {
                Measurement::ZERO
            };
            let descriptor = DataDescriptor {
                header: self.header(TYPE_DATA),
                ipa: ipa.raw(),
                flags: flags.bits(),
                content,
                reserved: [0; 0x20],
            };
            *self.value = self.digest(unit, &descriptor);
        });
    }

    /// Measures a REC that starts as runnable.
    pub fn extend_rec<S: Sha2>(&mut self, sha: &S, request: &RecRequest) {
        let flags = request.flags.bits().to_le_bytes();
        let pc = request.pc.to_le_bytes();
        let gprs = request.gprs.as_bytes();
        let pc_at = offset_of!(RecParams, pc);
        let gprs_at = offset_of!(RecParams, gprs);
        let parts = [
            Part::padded(&flags, pc_at),
            Part::padded(&pc, gprs_at - pc_at),
            Part::padded(gprs, GRANULE_BYTES - gprs_at),
        ];
        sha.with_unit(|unit| {
            let descriptor = RecDescriptor {
                header: self.header(TYPE_REC),
                content: digest(unit, self.algorithm, parts),
                reserved: [0; 0x30],
            };
            *self.value = self.digest(unit, &descriptor);
        });
    }

    /// Measures that addresses became memory: `entries` entries of the tables, each of `size` bytes, from
    /// `base` on.
    pub fn extend_ripas<S: Sha2>(&mut self, sha: &S, base: Ipa, size: u64, entries: u64) {
        let mut descriptor = RipasDescriptor {
            header: self.header(TYPE_RIPAS),
            base: base.raw(),
            top: base.raw(),
            reserved: [0; 0x20],
        };
        sha.with_unit(|unit| {
            for _ in 0..entries {
                descriptor.base = descriptor.top;
                descriptor.top += size;
                descriptor.header.rim = self.digest(unit, &descriptor);
            }
        });
        *self.value = descriptor.header.rim;
    }

    fn header(&self, kind: u64) -> Header {
        Header {
            kind,
            length: DESCRIPTOR_BYTES.into(),
            rim: *self.value,
        }
    }

    /// Returns the digest of a descriptor, with the zeroes behind it.
    fn digest<U: Sha2Unit, T: IntoBytes + Immutable>(
        &self,
        unit: &U,
        descriptor: &T,
    ) -> Measurement {
        let parts = [Part::padded(descriptor.as_bytes(), DESCRIPTOR_BYTES.into())];
        digest(unit, self.algorithm, parts)
    }
}

fn put(into: &mut [u8], offset: usize, bytes: &[u8]) {
    into.get_mut(offset..offset + bytes.len())
        .expect("the offset of a measured field")
        .copy_from_slice(bytes);
}

#[cfg(test)]
mod tests;
