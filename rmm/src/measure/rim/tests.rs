// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

use rmi::{RealmFlags, RecFlags};

use super::*;
use crate::measure::hash::tests::{Instructions, Portable, digest_bytes};

fn realm(algorithm: HashAlgorithm) -> RealmRequest {
    RealmRequest {
        flags: RealmFlags::from_bits_retain(0x8000_0000_0000_0003),
        s2sz: 40,
        sve_vl: 1,
        num_bps: 2,
        num_wps: 3,
        pmu_num_ctrs: 4,
        hash_algo: algorithm,
        rpv: [0x55; 64],
        vmid: 7,
        rtt_base: 0x8000_0000,
        rtt_level_start: 1,
        rtt_num_start: 2,
    }
}

const ALGORITHMS: [HashAlgorithm; 2] = [HashAlgorithm::Sha256, HashAlgorithm::Sha512];

#[test]
fn rim_starts_as_the_digest_of_what_section_2_lists() {
    for algorithm in ALGORITHMS {
        let mut image = [0; 0x1000];
        image[0x0] = 3;
        image[0x7] = 0x80;
        image[0x8] = 40;
        image[0x10] = 1;
        image[0x18] = 2;
        image[0x20] = 3;
        image[0x28] = 4;
        image[0x30] = algorithm.code();
        assert_eq!(
            initial(&Portable, &realm(algorithm)),
            digest_bytes(algorithm, &image)
        );
    }
}

/// Returns the descriptor of section 3 with the common header filled in.
fn descriptor(kind: u8, rim: &Measurement) -> [u8; 0x100] {
    let mut bytes = [0; 0x100];
    bytes[0] = kind;
    bytes[0x9] = 1;
    bytes[0x10..0x50].copy_from_slice(&rim.0);
    bytes
}

#[test]
fn rim_data_descriptor_is_as_section_3_says() {
    let page = [0xA5; 0x1000];
    for algorithm in ALGORITHMS {
        for flags in [DataFlags::empty(), DataFlags::MEASURE] {
            let mut value = digest_bytes(algorithm, b"before");
            let mut expected = descriptor(0, &value);
            expected[0x50..0x58].copy_from_slice(&0x8_1234_5000_u64.to_le_bytes());
            if flags == DataFlags::MEASURE {
                expected[0x58] = 1;
                expected[0x60..0xA0].copy_from_slice(&digest_bytes(algorithm, &page).0);
            }
            let expected = digest_bytes(algorithm, &expected);
            let mut rim = Rim {
                value: &mut value,
                algorithm,
            };
            rim.extend_data(&Portable, Ipa::new(0x8_1234_5000), flags, &page);
            assert_eq!(value, expected);
        }
    }
}

#[test]
fn rim_rec_descriptor_is_as_section_3_says() {
    let request = RecRequest {
        flags: RecFlags::RUNNABLE,
        pc: 0x8020_0000,
        gprs: [0x8800_0000, 1, 2, 3, 4, 5, 6, 0x77],
        num_aux: 3,
        aux: [9; 16],
        ..RecRequest::default()
    };
    let mut image = [0_u8; 0x1000];
    image[0] = 1;
    image[0x200..0x208].copy_from_slice(&0x8020_0000_u64.to_le_bytes());
    for (n, gpr) in request.gprs.iter().enumerate() {
        image[0x300 + 8 * n..][..8].copy_from_slice(&gpr.to_le_bytes());
    }
    for algorithm in ALGORITHMS {
        let mut value = digest_bytes(algorithm, b"before");
        let mut expected = descriptor(1, &value);
        expected[0x50..0x90].copy_from_slice(&digest_bytes(algorithm, &image).0);
        let expected = digest_bytes(algorithm, &expected);
        let mut rim = Rim {
            value: &mut value,
            algorithm,
        };
        rim.extend_rec(&Portable, &request);
        assert_eq!(value, expected);
    }
}

#[test]
fn rim_ripas_descriptors_are_as_section_3_says() {
    for algorithm in ALGORITHMS {
        let mut value = digest_bytes(algorithm, b"before");
        let mut expected = value;
        for base in [0x4000_0000_u64, 0x4020_0000, 0x4040_0000] {
            let mut bytes = descriptor(2, &expected);
            bytes[0x50..0x58].copy_from_slice(&base.to_le_bytes());
            bytes[0x58..0x60].copy_from_slice(&(base + 0x20_0000).to_le_bytes());
            expected = digest_bytes(algorithm, &bytes);
        }
        let mut rim = Rim {
            value: &mut value,
            algorithm,
        };
        rim.extend_ripas(&Portable, Ipa::new(0x4000_0000), 0x20_0000, 3);
        assert_eq!(value, expected);
    }
}

/// What a PE does before and after each use of its instructions costs more than a block.
#[test]
fn rim_gets_ready_for_the_instructions_once_per_command() {
    let pe = Instructions::default();
    let algorithm = HashAlgorithm::Sha256;
    let mut value = initial(&pe, &realm(algorithm));
    let mut rim = Rim {
        value: &mut value,
        algorithm,
    };
    rim.extend_data(&pe, Ipa::new(0), DataFlags::MEASURE, &[1; 0x1000]);
    rim.extend_rec(&pe, &RecRequest::default());
    rim.extend_ripas(&pe, Ipa::new(0), 0x1000, 512);
    assert_eq!(pe.times.get(), 4);
}
