// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A source of random numbers: a virtio entropy device (OASIS virtio 1.2, 5.4) behind the registers
//! of virtio over MMIO (4.2).
//!
//! It is the guest's one device that reads and writes memory by itself. It says that it does so
//! like any other device (`VIRTIO_F_ACCESS_PLATFORM`), so that a Realm's kernel makes the memory it
//! uses shared, and takes it back when the driver goes. The host sees no more of a guest than that
//! memory: what it reads there is checked, and a driver that talks nonsense only breaks its device.

mod queue;
#[cfg(test)]
mod tests;

pub use queue::SharedMemory;

use queue::{Broken, Queue, QueueState};

/// Most entries of the queue.
const QUEUE_SIZE_MAX: u16 = 64;

const MAGIC: u32 = u32::from_le_bytes(*b"virt");
const VERSION: u32 = 2;
const ENTROPY_DEVICE: u32 = 4;
const VENDOR: u32 = u32::from_le_bytes(*b"BLEY");

const MAGIC_VALUE: u64 = 0x000;
const VERSION_NUMBER: u64 = 0x004;
const DEVICE_ID: u64 = 0x008;
const VENDOR_ID: u64 = 0x00C;
const DEVICE_FEATURES: u64 = 0x010;
const DEVICE_FEATURES_SELECT: u64 = 0x014;
const DRIVER_FEATURES: u64 = 0x020;
const DRIVER_FEATURES_SELECT: u64 = 0x024;
const QUEUE_SELECT: u64 = 0x030;
const QUEUE_NUM_MAX: u64 = 0x034;
const QUEUE_NUM: u64 = 0x038;
const QUEUE_READY: u64 = 0x044;
const QUEUE_NOTIFY: u64 = 0x050;
const INTERRUPT_STATUS: u64 = 0x060;
const INTERRUPT_ACKNOWLEDGE: u64 = 0x064;
const STATUS: u64 = 0x070;
const QUEUE_DESCRIPTORS_LOW: u64 = 0x080;
const QUEUE_DESCRIPTORS_HIGH: u64 = 0x084;
const QUEUE_DRIVER_LOW: u64 = 0x090;
const QUEUE_DRIVER_HIGH: u64 = 0x094;
const QUEUE_DEVICE_LOW: u64 = 0x0A0;
const QUEUE_DEVICE_HIGH: u64 = 0x0A4;

/// `VIRTIO_F_VERSION_1` and `VIRTIO_F_ACCESS_PLATFORM`.
const FEATURES: u64 = 1 << 32 | 1 << 33;

/// The driver has accepted the features.
const STATUS_FEATURES_OK: u32 = 1 << 3;
/// The driver is set up.
const STATUS_DRIVER_OK: u32 = 1 << 2;
/// The device has met an error it cannot go on from.
const STATUS_NEEDS_RESET: u32 = 1 << 6;

/// A buffer was used.
const INTERRUPT_USED: u32 = 1 << 0;
/// The device's state changed.
const INTERRUPT_CONFIGURATION: u32 = 1 << 1;

/// The device.
#[derive(Clone, Debug, Default)]
pub struct Entropy {
    status: u32,
    interrupts: u32,
    device_features_half: u32,
    driver_features_half: u32,
    driver_features: u64,
    selected_queue: u32,
    queue: QueueState,
}

impl Entropy {
    /// Tells whether the interrupt output is high.
    pub fn is_interrupting(&self) -> bool {
        self.interrupts != 0
    }

    /// Reads a register. Registers have four bytes; there is no other way to read them.
    pub fn read(&self, offset: u64) -> u64 {
        let is_queue = self.selected_queue == 0;
        u64::from(match offset {
            MAGIC_VALUE => MAGIC,
            VERSION_NUMBER => VERSION,
            DEVICE_ID => ENTROPY_DEVICE,
            VENDOR_ID => VENDOR,
            DEVICE_FEATURES => half(FEATURES, self.device_features_half),
            QUEUE_NUM_MAX if is_queue => u32::from(QUEUE_SIZE_MAX),
            QUEUE_READY if is_queue => u32::from(self.queue.is_ready),
            INTERRUPT_STATUS => self.interrupts,
            STATUS => self.status,
            _ => 0,
        })
    }

    /// Writes a register. A notification makes the device fill every buffer that waits, with bytes
    /// from `random`; without any the device stops.
    pub fn write(
        &mut self,
        offset: u64,
        value: u64,
        memory: &impl SharedMemory,
        random: impl FnMut(&mut [u8]) -> Option<()>,
    ) {
        let value = value as u32;
        match offset {
            DEVICE_FEATURES_SELECT => self.device_features_half = value,
            DRIVER_FEATURES_SELECT => self.driver_features_half = value,
            DRIVER_FEATURES => {
                set_half(&mut self.driver_features, self.driver_features_half, value);
            }
            QUEUE_SELECT => self.selected_queue = value,
            INTERRUPT_ACKNOWLEDGE => self.interrupts &= !value,
            STATUS => self.set_status(value),
            QUEUE_NOTIFY if value == 0 => self.serve(memory, random),
            _ if self.selected_queue == 0 => self.set_up_queue(offset, value),
            _ => {}
        }
    }

    fn set_status(&mut self, value: u32) {
        if value == 0 {
            *self = Self::default();
            return;
        }
        // The driver sees in the bit that is missing that its choice is not possible.
        let is_possible = self.driver_features == FEATURES;
        let accepted = value & STATUS_FEATURES_OK;
        self.status = value & !STATUS_FEATURES_OK
            | self.status & STATUS_NEEDS_RESET
            | if is_possible { accepted } else { 0 };
    }

    fn set_up_queue(&mut self, offset: u64, value: u32) {
        let queue = &mut self.queue;
        match offset {
            QUEUE_NUM => queue.size = value,
            QUEUE_READY if value & 1 != 0 => queue.is_ready = true,
            QUEUE_READY => *queue = QueueState::default(),
            QUEUE_DESCRIPTORS_LOW => set_half(&mut queue.descriptors, 0, value),
            QUEUE_DESCRIPTORS_HIGH => set_half(&mut queue.descriptors, 1, value),
            QUEUE_DRIVER_LOW => set_half(&mut queue.driver, 0, value),
            QUEUE_DRIVER_HIGH => set_half(&mut queue.driver, 1, value),
            QUEUE_DEVICE_LOW => set_half(&mut queue.device, 0, value),
            QUEUE_DEVICE_HIGH => set_half(&mut queue.device, 1, value),
            _ => {}
        }
    }

    fn serve(&mut self, memory: &impl SharedMemory, random: impl FnMut(&mut [u8]) -> Option<()>) {
        let is_running = self.status & (STATUS_DRIVER_OK | STATUS_NEEDS_RESET) == STATUS_DRIVER_OK;
        if !is_running || !self.queue.is_ready {
            return;
        }
        let served = Queue::new(&mut self.queue, QUEUE_SIZE_MAX, memory)
            .and_then(|mut queue| queue.fill_all(random));
        match served {
            Ok(0) => {}
            Ok(_) => self.interrupts |= INTERRUPT_USED,
            Err(Broken) => {
                self.status |= STATUS_NEEDS_RESET;
                self.interrupts |= INTERRUPT_CONFIGURATION;
            }
        }
    }
}

/// Returns the lower (0) or upper (1) half of a value; there are no others.
fn half(value: u64, which: u32) -> u32 {
    match which {
        0 => value as u32,
        1 => (value >> 32) as u32,
        _ => 0,
    }
}

fn set_half(value: &mut u64, which: u32, half: u32) {
    let half = u64::from(half);
    match which {
        0 => *value = *value & !0xFFFF_FFFF | half,
        1 => *value = *value & 0xFFFF_FFFF | half << 32,
        _ => {}
    }
}
