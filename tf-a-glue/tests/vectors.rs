// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Boot manifests written down by hand, word by word from the RMM-EL3 communication specification.

use rmi::GranuleAddr;
use tf_a_glue::{BootError, Console, ConsoleList, DramBank, Manifest, Version};

/// Where QEMU's port of TF-A keeps the shared page.
const BASE: u64 = 0x418F_F000;

/// `pl011` and three zero bytes, as a little-endian word.
const PL011: u64 = 0x31_3130_6C70;

struct Page([u8; 4096]);

impl Page {
    fn new(words: &[u64]) -> Self {
        let mut page = Self([0; 4096]);
        for (at, word) in page.0.chunks_exact_mut(8).zip(words) {
            at.copy_from_slice(&word.to_le_bytes());
        }
        page
    }

    fn set(&mut self, offset: usize, word: u64) {
        self.0[offset..offset + 8].copy_from_slice(&word.to_le_bytes());
    }

    fn check(&self) -> Result<Manifest<'_>, BootError> {
        Manifest::check(&self.0, GranuleAddr::new(BASE).unwrap(), 48)
    }
}

/// The manifest of TF-A 2.12.1, PLAT=qemu: version 0.3, one bank, one console. Its console checksum
/// leaves out the name.
fn qemu_2_12_1() -> Page {
    Page::new(&[
        0x0000_0000_0000_0003, // 0x00 version 0.3
        0,                     // 0x08 platform data
        1,                     // 0x10 banks
        0x418F_F040,           // 0x18 bank array
        0xFFFF_FFFE_BE70_0FBF, // 0x20 bank checksum: minus 1 + 0x418F_F040 + 0x1_0000_0000
        1,                     // 0x28 consoles
        0x418F_F050,           // 0x30 console array
        0xFFFF_FFFF_B56E_4DAD, // 0x38 console checksum, see below
        0x4000_0000,           // 0x40 bank base
        0xC000_0000,           // 0x48 bank bytes
        0x0900_0000,           // 0x50 console base
        1,                     // 0x58 pages
        PL011,                 // 0x60 name
        1,                     // 0x68 clock
        115_200,               // 0x70 baud: 0x1_C200
        0,                     // 0x78 flags
    ])
}

const CONSOLE_CHECKSUM: usize = 0x38;
const BANK_CHECKSUM: usize = 0x20;

#[test]
fn qemu_banks() {
    let page = qemu_2_12_1();
    let manifest = page.check().unwrap();
    assert_eq!(manifest.version, Version { major: 0, minor: 3 });
    let banks: Vec<_> = manifest.banks().collect();
    let base = GranuleAddr::new(0x4000_0000).unwrap();
    assert_eq!(
        banks,
        [DramBank {
            base,
            granules: 0xC_0000
        }]
    );
}

#[test]
fn qemu_2_12_1_console_sum_is_the_name() {
    let page = qemu_2_12_1();
    let manifest = page.check().unwrap();
    assert!(matches!(
        manifest.consoles,
        ConsoleList::Broken { sum: Some(PL011) }
    ));
    assert_eq!(manifest.consoles.first_pl011(), None);
}

#[test]
fn console_with_a_right_sum_is_used() {
    let mut page = qemu_2_12_1();
    page.set(
        CONSOLE_CHECKSUM,
        0xFFFF_FFFF_B56E_4DAD_u64.wrapping_sub(PL011),
    );
    let manifest = page.check().unwrap();
    let expected = Console {
        base: GranuleAddr::new(0x0900_0000).unwrap(),
        pages: 1,
        name: *b"pl011\0\0\0",
        clock_hz: 1,
        baud: 115_200,
    };
    assert_eq!(manifest.consoles.first_pl011(), Some(expected));
}

#[test]
fn console_outside_the_page_is_not_used() {
    for pointer in [0x418F_EFF8, 0x418F_F000 + 4096 - 40, u64::MAX] {
        let mut page = qemu_2_12_1();
        page.set(0x30, pointer);
        let manifest = page.check().unwrap();
        assert!(
            matches!(manifest.consoles, ConsoleList::Broken { sum: None }),
            "{pointer:#x}"
        );
    }
}

#[test]
fn no_console_is_an_empty_list() {
    let mut page = qemu_2_12_1();
    for offset in [0x28, 0x30, 0x38] {
        page.set(offset, 0);
    }
    let manifest = page.check().unwrap();
    assert!(matches!(manifest.consoles, ConsoleList::Usable(list) if list.iter().count() == 0));
}

/// The lists of TF-A 2.12.1, PLAT=fvp: two banks, the second above 4 GiB; a console of its own.
#[test]
fn fvp_banks_and_console() {
    let page = Page::new(&[
        0x3,
        0,
        2,
        0x418F_F040,
        0xFFFF_FFF5_C270_0FBE, // minus 2 + 0x418F_F040 + the four words of the banks
        1,
        0x418F_F060,
        0_u64.wrapping_sub(1 + 0x418F_F060 + 0x1C0C_0000 + 1 + PL011 + 14_745_600 + 115_200),
        0x8000_0000,
        0x7C00_0000,
        0x8_8000_0000,
        0x8000_0000,
        0x1C0C_0000,
        1,
        PL011,
        14_745_600,
        115_200,
        0,
    ]);
    let manifest = page.check().unwrap();
    let banks: Vec<_> = manifest
        .banks()
        .map(|bank| (bank.base.raw(), bank.granules))
        .collect();
    assert_eq!(banks, [(0x8000_0000, 0x7_C000), (0x8_8000_0000, 0x8_0000)]);
    let console = manifest.consoles.first_pl011().unwrap();
    assert_eq!(
        (console.base.raw(), console.clock_hz),
        (0x1C0C_0000, 14_745_600)
    );
}

/// A later minor version only appends.
#[test]
fn later_minor_versions_are_read() {
    for (word, error) in [
        (0x0000_0002, Some(BootError::ManifestVersion)),
        (0x0000_0005, None),
        (0x0000_00FF, None),
        (0x0001_0003, Some(BootError::ManifestVersion)),
        (0x8000_0003, Some(BootError::ManifestVersion)),
    ] {
        let mut page = qemu_2_12_1();
        page.set(0, word);
        assert_eq!(page.check().err(), error, "{word:#x}");
    }
}

#[test]
fn bank_checksum_is_fatal() {
    let mut page = qemu_2_12_1();
    page.set(BANK_CHECKSUM, 0xFFFF_FFFE_BE70_0FC0);
    assert_eq!(page.check().err(), Some(BootError::ManifestData));
}

/// Writes banks at 0x100 with a right checksum.
fn with_banks(banks: &[(u64, u64)]) -> Page {
    let mut page = qemu_2_12_1();
    let count = u64::try_from(banks.len()).unwrap();
    let pointer = BASE + 0x100;
    let mut sum = count + pointer;
    for (n, (base, bytes)) in banks.iter().enumerate() {
        page.set(0x100 + n * 16, *base);
        page.set(0x108 + n * 16, *bytes);
        sum = sum.wrapping_add(*base).wrapping_add(*bytes);
    }
    page.set(0x10, count);
    page.set(0x18, pointer);
    page.set(BANK_CHECKSUM, 0_u64.wrapping_sub(sum));
    page
}

#[test]
fn bank_lists_that_make_sense() {
    for banks in [
        &[(0x4000_0000, 0x1000)][..],
        &[(0x4000_0000, 0x1000), (0x4000_1000, 0x1000)],
        &[(0x4000_0000, 0x1000), (0x8_0000_0000, 0xFFF8_0000_0000)],
    ] {
        assert_eq!(with_banks(banks).check().err(), None, "{banks:x?}");
    }
}

#[test]
fn bank_lists_that_do_not() {
    for banks in [
        &[][..],
        &[(0x4000_0800, 0x1000)],
        &[(0x4000_0000, 0x1800)],
        &[(0x4000_0000, 0)],
        &[(0x8000_0000, 0x1000), (0x4000_0000, 0x1000)],
        &[(0x4000_0000, 0x2000), (0x4000_1000, 0x1000)],
        &[(0x4000_0000, 0x1000), (0x4000_0000, 0x1000)],
        &[(0xFFFF_FFFF_F000, 0x2000)],
        &[(0xFFFF_FFFF_FFFF_F000, 0x1000)],
    ] {
        assert_eq!(
            with_banks(banks).check().err(),
            Some(BootError::ManifestData),
            "{banks:x?}"
        );
    }
}

#[test]
fn bank_array_outside_the_page() {
    let mut page = with_banks(&[(0x4000_0000, 0x1000)]);
    for (count, pointer) in [
        (1, BASE - 16),
        (1, BASE + 4096 - 8),
        (257, BASE),
        (u64::MAX, BASE + 0x100),
        (1 << 60, BASE + 0x100),
    ] {
        page.set(0x10, count);
        page.set(0x18, pointer);
        assert_eq!(
            page.check().err(),
            Some(BootError::ManifestData),
            "{count:#x} {pointer:#x}"
        );
    }
}
