// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The measurements of a Realm as the document defines them (RMM specification A7.1), apart from what the
//! monitor does: byte by byte of the structures that are hashed.

use rmi::{HashAlgorithm, RealmParams, RecParams};
use sha2::{Digest, Sha256, Sha512};
use zerocopy::IntoBytes;

/// Bytes of a descriptor, and of the structures of the Host of which a part is measured.
const DESCRIPTOR_BYTES: usize = 0x100;
const PAGE_BYTES: usize = 4096;
/// Where a descriptor has its length, the measurement so far, and what it is about.
const LENGTH: usize = 0x8;
const SO_FAR: usize = 0x10;
const SUBJECT: usize = 0x50;

/// Kinds of descriptors.
const DATA: u8 = 0;
const REC: u8 = 1;
const RIPAS: u8 = 2;

/// A measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Measured {
    hash: HashAlgorithm,
    value: [u8; 64],
}

impl Measured {
    /// Returns one that a Realm extends and has not extended yet.
    pub(crate) fn extensible(hash: HashAlgorithm) -> Self {
        Self {
            hash,
            value: [0; 64],
        }
    }

    /// Returns the initial one of a Realm that was created with these parameters.
    pub(crate) fn initial(hash: HashAlgorithm, params: &RealmParams) -> Self {
        // flags, s2sz, sve_vl, num_bps, num_wps, pmu_num_ctrs, hash_algo.
        let fields = [
            0x0..0x8,
            0x8..0x9,
            0x10..0x11,
            0x18..0x19,
            0x20..0x21,
            0x28..0x29,
            0x30..0x31,
        ];
        let image = part_of(params.as_bytes(), &fields);
        let value = hash_of(hash, &[&image]);
        Self { hash, value }
    }

    /// Adds `RMI_DATA_CREATE`.
    pub(crate) fn data(&mut self, ipa: u64, flags: u64, contents: &[u8; PAGE_BYTES]) {
        let content = if flags & 1 == 1 {
            hash_of(self.hash, &[contents])
        } else {
            [0; 64]
        };
        let mut subject = [0; 0x50];
        subject[..0x8].copy_from_slice(&ipa.to_le_bytes());
        subject[0x8..0x10].copy_from_slice(&flags.to_le_bytes());
        subject[0x10..].copy_from_slice(&content);
        self.describe(DATA, &subject);
    }

    /// Adds `RMI_REC_CREATE`. A REC that is off at the start leaves no trace.
    pub(crate) fn rec(&mut self, params: &RecParams) {
        if params.flags & 1 == 0 {
            return;
        }
        // flags, pc, gprs.
        let fields = [0x0..0x8, 0x200..0x208, 0x300..0x340];
        let image = part_of(params.as_bytes(), &fields);
        self.describe(REC, &hash_of(self.hash, &[&image]));
    }

    /// Adds `RMI_RTT_INIT_RIPAS` of every entry of `bytes` from `base` to `top`.
    pub(crate) fn ripas(&mut self, base: u64, top: u64, bytes: u64) {
        let step = usize::try_from(bytes).expect("an entry of a test");
        for entry in (base..top).step_by(step) {
            let mut subject = [0; 0x10];
            subject[..0x8].copy_from_slice(&entry.to_le_bytes());
            subject[0x8..].copy_from_slice(&(entry + bytes).to_le_bytes());
            self.describe(RIPAS, &subject);
        }
    }

    /// Adds `RSI_MEASUREMENT_EXTEND`.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        let old = self.value;
        self.value = hash_of(self.hash, &[&old[..self.hash_bytes()], bytes]);
    }

    /// Returns it as `RSI_MEASUREMENT_READ` gives it.
    pub(crate) fn registers(&self) -> [u64; 8] {
        rmi::rsi::registers_of_bytes(&self.value)
    }

    fn describe(&mut self, kind: u8, subject: &[u8]) {
        let mut descriptor = [0; DESCRIPTOR_BYTES];
        descriptor[0] = kind;
        descriptor[LENGTH..LENGTH + 8].copy_from_slice(&(DESCRIPTOR_BYTES as u64).to_le_bytes());
        descriptor[SO_FAR..SUBJECT].copy_from_slice(&self.value);
        descriptor[SUBJECT..SUBJECT + subject.len()].copy_from_slice(subject);
        self.value = hash_of(self.hash, &[&descriptor]);
    }

    fn hash_bytes(&self) -> usize {
        match self.hash {
            HashAlgorithm::Sha256 => 32,
            HashAlgorithm::Sha512 => 64,
        }
    }
}

/// Returns a page of zeroes with these parts of a structure.
fn part_of(structure: &[u8], fields: &[core::ops::Range<usize>]) -> [u8; PAGE_BYTES] {
    let mut image = [0; PAGE_BYTES];
    for field in fields {
        image[field.clone()].copy_from_slice(&structure[field.clone()]);
    }
    image
}

fn hash_of(hash: HashAlgorithm, parts: &[&[u8]]) -> [u8; 64] {
    let mut value = [0; 64];
    match hash {
        HashAlgorithm::Sha256 => {
            let mut hasher = Sha256::new();
            parts.iter().for_each(|part| hasher.update(part));
            value[..32].copy_from_slice(&hasher.finalize());
        }
        HashAlgorithm::Sha512 => {
            let mut hasher = Sha512::new();
            parts.iter().for_each(|part| hasher.update(part));
            value.copy_from_slice(&hasher.finalize());
        }
    }
    value
}
