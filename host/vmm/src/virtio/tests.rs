// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The device against a driver that keeps its rings in a vector.

use super::*;
use rmi::Ipa;
use std::cell::RefCell;
use std::vec::Vec;

const DESCRIPTORS: u64 = 0x1000;
const DRIVER: u64 = 0x2000;
const DEVICE: u64 = 0x3000;
const BUFFER: u64 = 0x4000;
const SIZE: u64 = 8;
const MEMORY_BYTES: usize = 0x6000;

struct Ram(RefCell<Vec<u8>>);

impl Ram {
    fn range(ipa: Ipa, length: usize) -> Option<core::ops::Range<usize>> {
        let start = usize::try_from(ipa.raw()).ok()?;
        let end = start.checked_add(length)?;
        (end <= MEMORY_BYTES).then_some(start..end)
    }

    fn put(&self, at: u64, bytes: &[u8]) {
        self.write(Ipa::new(at), bytes).unwrap();
    }

    fn get<const N: usize>(&self, at: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.read(Ipa::new(at), &mut bytes).unwrap();
        bytes
    }

    fn describe(&self, index: u64, address: u64, length: u32, flags: u16, next: u16) {
        let at = DESCRIPTORS + index * 16;
        self.put(at, &address.to_le_bytes());
        self.put(at + 8, &length.to_le_bytes());
        self.put(at + 12, &flags.to_le_bytes());
        self.put(at + 14, &next.to_le_bytes());
    }

    fn offer(&self, slot: u64, head: u16, index: u16) {
        self.put(DRIVER + 4 + slot * 2, &head.to_le_bytes());
        self.put(DRIVER + 2, &index.to_le_bytes());
    }

    fn used(&self, slot: u64) -> (u32, u32) {
        let at = DEVICE + 4 + slot * 8;
        (
            u32::from_le_bytes(self.get(at)),
            u32::from_le_bytes(self.get(at + 4)),
        )
    }
}

impl SharedMemory for Ram {
    fn read(&self, ipa: Ipa, bytes: &mut [u8]) -> Option<()> {
        let range = Self::range(ipa, bytes.len())?;
        bytes.copy_from_slice(&self.0.borrow()[range]);
        Some(())
    }

    fn write(&self, ipa: Ipa, bytes: &[u8]) -> Option<()> {
        let range = Self::range(ipa, bytes.len())?;
        self.0.borrow_mut()[range].copy_from_slice(bytes);
        Some(())
    }
}

fn ram() -> Ram {
    Ram(RefCell::new(std::vec![0; MEMORY_BYTES]))
}

fn set(device: &mut Entropy, ram: &Ram, offset: u64, value: u64) {
    device.write(offset, value, ram, |bytes| {
        bytes.fill(0xA5);
        Some(())
    });
}

/// A device whose driver is set up with a queue of `size` entries.
fn started(ram: &Ram, size: u64) -> Entropy {
    let mut device = Entropy::default();
    for (offset, value) in [
        (STATUS, 3),
        (DRIVER_FEATURES_SELECT, 1),
        (DRIVER_FEATURES, 3),
        (STATUS, 0xB),
        (QUEUE_SELECT, 0),
        (QUEUE_NUM, size),
        (QUEUE_DESCRIPTORS_LOW, DESCRIPTORS),
        (QUEUE_DRIVER_LOW, DRIVER),
        (QUEUE_DEVICE_LOW, DEVICE),
        (QUEUE_READY, 1),
        (STATUS, 0xF),
    ] {
        set(&mut device, ram, offset, value);
    }
    device
}

fn notify(device: &mut Entropy, ram: &Ram) {
    set(device, ram, QUEUE_NOTIFY, 0);
}

fn is_broken(device: &Entropy) -> bool {
    device.read(STATUS) & 0x40 != 0 && device.read(INTERRUPT_STATUS) == 2
}

#[test]
fn identity_is_that_of_an_entropy_device() {
    let (mut device, ram) = (Entropy::default(), ram());
    let identity = [MAGIC_VALUE, VERSION_NUMBER, DEVICE_ID].map(|offset| device.read(offset));
    assert_eq!(identity, [0x7472_6976, 2, 4]);
    assert_eq!(device.read(DEVICE_FEATURES), 0);
    set(&mut device, &ram, DEVICE_FEATURES_SELECT, 1);
    assert_eq!(device.read(DEVICE_FEATURES), 3);
    set(&mut device, &ram, DEVICE_FEATURES_SELECT, 2);
    assert_eq!(device.read(DEVICE_FEATURES), 0);
}

#[test]
fn there_is_one_queue() {
    let (mut device, ram) = (Entropy::default(), ram());
    assert_eq!(device.read(QUEUE_NUM_MAX), 64);
    set(&mut device, &ram, QUEUE_SELECT, 1);
    set(&mut device, &ram, QUEUE_READY, 1);
    assert_eq!(
        (device.read(QUEUE_NUM_MAX), device.read(QUEUE_READY)),
        (0, 0)
    );
    set(&mut device, &ram, QUEUE_SELECT, 0);
    assert_eq!(device.read(QUEUE_READY), 0);
}

#[test]
fn features_must_be_the_offered_ones() {
    for accepted in [0, 1, 2, 7] {
        let (mut device, ram) = (Entropy::default(), ram());
        set(&mut device, &ram, DRIVER_FEATURES_SELECT, 1);
        set(&mut device, &ram, DRIVER_FEATURES, accepted);
        set(&mut device, &ram, STATUS, 0xB);
        assert_eq!(device.read(STATUS), 3, "{accepted}");
    }
    assert_eq!(started(&ram(), SIZE).read(STATUS), 0xF);
}

#[test]
fn buffers_are_filled_and_given_back() {
    let ram = ram();
    let mut device = started(&ram, SIZE);
    ram.describe(3, BUFFER, 100, 2 | 1, 5);
    ram.describe(5, BUFFER + 0x100, 7, 2, 0);
    ram.offer(0, 3, 1);
    notify(&mut device, &ram);
    assert_eq!(ram.get::<101>(BUFFER)[99..], [0xA5, 0]);
    assert_eq!(ram.get::<8>(BUFFER + 0x100)[6..], [0xA5, 0]);
    assert_eq!(ram.used(0), (3, 107));
    assert_eq!(ram.get(DEVICE + 2), 1_u16.to_le_bytes());
    assert!(device.is_interrupting());
    set(&mut device, &ram, INTERRUPT_ACKNOWLEDGE, 1);
    assert!(!device.is_interrupting());
    // Nothing new: nothing happens.
    notify(&mut device, &ram);
    assert!(!device.is_interrupting());
}

#[test]
fn rings_wrap_around() {
    let ram = ram();
    let mut device = started(&ram, SIZE);
    for turn in 0..20_u16 {
        ram.describe(1, BUFFER, u32::from(turn), 2, 0);
        ram.offer(u64::from(turn) % SIZE, 1, turn + 1);
        notify(&mut device, &ram);
        assert_eq!(ram.used(u64::from(turn) % SIZE), (1, u32::from(turn)));
    }
}

#[test]
fn buffers_for_reading_are_left_alone_and_long_ones_are_cut() {
    let ram = ram();
    let mut device = started(&ram, SIZE);
    ram.describe(0, BUFFER, 16, 1, 1);
    ram.describe(1, BUFFER + 0x100, u32::MAX, 2, 0);
    ram.offer(0, 0, 1);
    notify(&mut device, &ram);
    assert_eq!(ram.get(BUFFER), [0; 16]);
    assert_eq!(ram.used(0), (0, 4096));
    assert_eq!(ram.get(BUFFER + 0x100 + 4095), [0xA5, 0]);
}

#[test]
fn nonsense_breaks_the_device_only() {
    type Case = (&'static str, u64, fn(&Ram));
    let cases: [Case; 8] = [
        ("size 0", 0, |_| ()),
        ("size 6", 6, |_| ()),
        ("size 128", 128, |_| ()),
        ("too many chains", SIZE, |ram| ram.offer(0, 0, 9)),
        ("no such descriptor", SIZE, |ram| ram.offer(0, 8, 1)),
        ("loop", SIZE, |ram| {
            ram.describe(0, BUFFER, 1, 2 | 1, 0);
            ram.offer(0, 0, 1);
        }),
        ("indirect", SIZE, |ram| {
            ram.describe(0, BUFFER, 1, 4, 0);
            ram.offer(0, 0, 1);
        }),
        ("buffer that wraps", SIZE, |ram| {
            ram.describe(0, u64::MAX - 70, 200, 2, 0);
            ram.offer(0, 0, 1);
        }),
    ];
    for (name, size, prepare) in cases {
        let ram = ram();
        let mut device = started(&ram, size);
        prepare(&ram);
        notify(&mut device, &ram);
        assert!(is_broken(&device), "{name}");
        // Only a reset helps.
        set(&mut device, &ram, STATUS, 0xF);
        assert_ne!(device.read(STATUS) & 0x40, 0, "{name}");
        set(&mut device, &ram, STATUS, 0);
        assert_eq!(device.read(STATUS), 0, "{name}");
        assert!(!device.is_interrupting(), "{name}");
    }
}

#[test]
fn rings_outside_shared_memory_break_the_device() {
    for register in [QUEUE_DESCRIPTORS_HIGH, QUEUE_DRIVER_HIGH, QUEUE_DEVICE_HIGH] {
        let ram = ram();
        let mut device = started(&ram, SIZE);
        ram.describe(0, BUFFER, 4, 2, 0);
        ram.offer(0, 0, 1);
        set(&mut device, &ram, register, 0xFFFF_FFFF);
        notify(&mut device, &ram);
        assert!(is_broken(&device), "{register:#x}");
    }
}

#[test]
fn no_random_numbers_break_the_device() {
    let ram = ram();
    let mut device = started(&ram, SIZE);
    ram.describe(0, BUFFER, 4, 2, 0);
    ram.offer(0, 0, 1);
    device.write(QUEUE_NOTIFY, 0, &ram, |_| None);
    assert!(is_broken(&device));
}

#[test]
fn nothing_happens_before_the_driver_is_ready() {
    let ram = ram();
    let mut device = started(&ram, SIZE);
    ram.describe(0, BUFFER, 4, 2, 0);
    ram.offer(0, 0, 1);
    set(&mut device, &ram, STATUS, 0xB);
    notify(&mut device, &ram);
    set(&mut device, &ram, STATUS, 0xF);
    set(&mut device, &ram, QUEUE_NOTIFY, 1);
    set(&mut device, &ram, QUEUE_READY, 0);
    notify(&mut device, &ram);
    assert_eq!(ram.used(0), (0, 0));
    assert!(!device.is_interrupting());
}
