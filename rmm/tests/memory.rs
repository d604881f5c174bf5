// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Copies of a Realm's memory, byte for byte.

mod common;

use common::world;
use rmi::Ipa;
use rmm::realm::memory;

#[test]
fn memory_is_copied_whatever_its_alignment() {
    world(|w| {
        let (realm, _) = w.running();
        let (granules, tree) = (w.monitor.granules(), realm.tree());
        let mut model = vec![0_u8; 4096];
        for (round, offset) in (0_u8..).zip([0, 1, 7, 8, 9, 15, 16, 100, 4000, 4079]) {
            for length in [0, 1, 7, 8, 9, 16, 17] {
                let bytes: Vec<u8> = (0..length).map(|n| round * 17 + n + 1).collect();
                let end = offset + bytes.len();
                model[offset..end].copy_from_slice(&bytes);
                let ipa = Ipa::new(u64::try_from(offset).unwrap());
                memory::write(granules, &w.pe, &tree, ipa, &bytes).unwrap();
                let mut seen = vec![0; bytes.len()];
                memory::read(granules, &w.pe, &tree, ipa, &mut seen).unwrap();
                assert_eq!(seen, bytes, "{offset} {length}");
            }
            let mut seen = vec![0; 4096];
            memory::read(granules, &w.pe, &tree, Ipa::new(0), &mut seen).unwrap();
            assert_eq!(seen, model, "{offset}");
        }
    });
}
