// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Measurements, from the document.

use sha2::{Digest, Sha256, Sha512};

/// A hash algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Sha256,
    Sha512,
}

impl Algorithm {
    fn hash(self, bytes: &[u8]) -> [u8; 64] {
        let mut slot = [0; 64];
        match self {
            Self::Sha256 => slot[..32].copy_from_slice(&Sha256::digest(bytes)),
            Self::Sha512 => slot.copy_from_slice(&Sha512::digest(bytes)),
        }
        slot
    }

    fn bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// The first measurement of a Realm whose parameters were these.
    pub(super) fn initial(self, params: &super::step::RealmSpec) -> [u8; 64] {
        let mut image = vec![0; 4096];
        image[..8].copy_from_slice(&params.flags.to_le_bytes());
        for (offset, value) in [
            (0x8, params.width),
            (0x10, params.sve_vl),
            (0x18, params.num_bps),
            (0x20, params.num_wps),
            (0x28, params.pmu_num_ctrs),
            (0x30, params.hash),
        ] {
            image[offset] = value;
        }
        self.hash(&image)
    }

    fn extend(self, kind: u8, rim: &[u8; 64], fields: &[(usize, &[u8])]) -> [u8; 64] {
        let mut descriptor = [0; 0x100];
        descriptor[0] = kind;
        descriptor[8..16].copy_from_slice(&0x100_u64.to_le_bytes());
        descriptor[0x10..0x50].copy_from_slice(rim);
        for (offset, bytes) in fields {
            descriptor[*offset..*offset + bytes.len()].copy_from_slice(bytes);
        }
        self.hash(&descriptor)
    }

    /// After `RMI_DATA_CREATE` of a page full of one word.
    pub(super) fn data(self, rim: &[u8; 64], ipa: u64, flags: u64, word: u64) -> [u8; 64] {
        let content = if flags & 1 == 1 {
            self.hash(&word.to_le_bytes().repeat(512))
        } else {
            [0; 64]
        };
        let fields: [(usize, &[u8]); 3] = [
            (0x50, &ipa.to_le_bytes()),
            (0x58, &flags.to_le_bytes()),
            (0x60, &content),
        ];
        self.extend(0, rim, &fields)
    }

    /// After `RMI_REC_CREATE` of a runnable REC.
    pub(super) fn rec(self, rim: &[u8; 64], params: &super::step::RecSpec) -> [u8; 64] {
        let mut image = vec![0; 4096];
        image[..8].copy_from_slice(&params.flags.to_le_bytes());
        image[0x200..0x208].copy_from_slice(&params.pc.to_le_bytes());
        image[0x300..0x308].copy_from_slice(&params.x0.to_le_bytes());
        let content = self.hash(&image);
        self.extend(1, rim, &[(0x50, &content)])
    }

    /// After `RMI_RTT_INIT_RIPAS` of one entry.
    pub(super) fn ripas(self, rim: &[u8; 64], base: u64, top: u64) -> [u8; 64] {
        let fields: [(usize, &[u8]); 2] = [(0x50, &base.to_le_bytes()), (0x58, &top.to_le_bytes())];
        self.extend(2, rim, &fields)
    }

    /// After `RSI_MEASUREMENT_EXTEND`.
    pub(super) fn rem(self, rem: &[u8; 64], value: &[u8]) -> [u8; 64] {
        let mut image = rem[..self.bytes()].to_vec();
        image.extend_from_slice(value);
        self.hash(&image)
    }
}
