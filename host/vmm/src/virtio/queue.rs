// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A split virtqueue (OASIS virtio 1.2, 2.7), from the device's side.
//!
//! Three tables in guest memory: descriptors of buffers, the ring of chains that the driver makes
//! available, and the ring of those that the device has used. The guest may change any of them at
//! any time, so each value is read once and checked.

use core::sync::atomic::{Ordering, fence};

use rmi::Ipa;

/// Guest memory that the host may touch. Addresses are as the guest gives them to a device, with
/// or without the alias bit of a Realm.
pub trait SharedMemory {
    /// Reads bytes; nothing when not all of them are shared memory.
    fn read(&self, ipa: Ipa, bytes: &mut [u8]) -> Option<()>;

    /// Writes bytes; nothing when not all of them are shared memory.
    fn write(&self, ipa: Ipa, bytes: &[u8]) -> Option<()>;
}

/// What the driver has said about the queue, and how far the device has come.
#[derive(Clone, Debug, Default)]
pub(super) struct QueueState {
    /// Number of entries, as written.
    pub(super) size: u32,
    pub(super) is_ready: bool,
    /// Where the descriptors are.
    pub(super) descriptors: u64,
    /// Where the driver's ring is.
    pub(super) driver: u64,
    /// Where the device's ring is.
    pub(super) device: u64,
    /// Chains taken, modulo 2^16.
    taken: u16,
    /// Chains given back, modulo 2^16.
    used: u16,
}

/// The driver has broken the rules, or there are no random numbers; the device stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// Descriptor flags: the chain goes on; the device writes this buffer.
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

const DESCRIPTOR_BYTES: u64 = 16;
const USED_ENTRY_BYTES: u64 = 8;
/// Both rings start with 16 bits of flags and a 16-bit index.
const RING_INDEX: u64 = 2;
const RING_ENTRIES: u64 = 4;
/// Most bytes of one chain that are filled. A driver that wants more asks again.
const CHAIN_BYTES_MAX: u32 = 4096;
const PIECE_BYTES: usize = 64;

/// The queue while the device serves it.
pub(super) struct Queue<'a, M> {
    state: &'a mut QueueState,
    size: u16,
    memory: &'a M,
}

impl<'a, M: SharedMemory> Queue<'a, M> {
    /// Admits what the driver has said: a power of two of at most `size_max` entries.
    pub(super) fn new(
        state: &'a mut QueueState,
        size_max: u16,
        memory: &'a M,
    ) -> Result<Self, Broken> {
        let size = u16::try_from(state.size).map_err(|_| Broken)?;
        if !size.is_power_of_two() || size > size_max {
            return Err(Broken);
        }
        Ok(Self {
            state,
            size,
            memory,
        })
    }

    /// Fills every chain that is available; returns how many.
    pub(super) fn fill_all(
        &mut self,
        mut random: impl FnMut(&mut [u8]) -> Option<()>,
    ) -> Result<u16, Broken> {
        let available = u16::from_le_bytes(self.read(self.state.driver, RING_INDEX)?);
        // The entries are read after the index that makes them valid.
        fence(Ordering::Acquire);
        let waiting = available.wrapping_sub(self.state.taken);
        if waiting > self.size {
            return Err(Broken);
        }
        for _ in 0..waiting {
            let slot = u64::from(self.state.taken % self.size);
            let head = self.read(self.state.driver, RING_ENTRIES + slot * 2)?;
            let head = u16::from_le_bytes(head);
            let filled = self.fill_chain(head, &mut random)?;
            self.state.taken = self.state.taken.wrapping_add(1);
            self.give_back(head, filled)?;
        }
        Ok(waiting)
    }

    /// Fills the buffers of a chain; returns how many bytes were written.
    fn fill_chain(
        &self,
        head: u16,
        random: &mut impl FnMut(&mut [u8]) -> Option<()>,
    ) -> Result<u32, Broken> {
        let (mut index, mut filled) = (head, 0);
        // A chain longer than the table is a loop.
        for _ in 0..self.size {
            if index >= self.size {
                return Err(Broken);
            }
            let offset = u64::from(index) * DESCRIPTOR_BYTES;
            let [
                a0,
                a1,
                a2,
                a3,
                a4,
                a5,
                a6,
                a7,
                l0,
                l1,
                l2,
                l3,
                f0,
                f1,
                n0,
                n1,
            ] = self.read(self.state.descriptors, offset)?;
            let address = u64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, a7]);
            let length = u32::from_le_bytes([l0, l1, l2, l3]);
            let flags = u16::from_le_bytes([f0, f1]);
            if flags & INDIRECT != 0 {
                return Err(Broken);
            }
            if flags & WRITE != 0 {
                filled += self.fill(address, length.min(CHAIN_BYTES_MAX - filled), random)?;
            }
            if flags & NEXT == 0 {
                return Ok(filled);
            }
            index = u16::from_le_bytes([n0, n1]);
        }
        Err(Broken)
    }

    fn fill(
        &self,
        address: u64,
        length: u32,
        random: &mut impl FnMut(&mut [u8]) -> Option<()>,
    ) -> Result<u32, Broken> {
        let mut piece = [0; PIECE_BYTES];
        let mut done = 0;
        while done < length {
            let count = (length - done).min(PIECE_BYTES as u32);
            let bytes = &mut piece[..count as usize];
            random(bytes).ok_or(Broken)?;
            let at = ipa(address, u64::from(done))?;
            self.memory.write(at, bytes).ok_or(Broken)?;
            done += count;
        }
        Ok(length)
    }

    fn give_back(&mut self, head: u16, filled: u32) -> Result<(), Broken> {
        let slot = u64::from(self.state.used % self.size);
        let mut entry = [0; USED_ENTRY_BYTES as usize];
        let (id, length) = entry.split_at_mut(4);
        id.copy_from_slice(&u32::from(head).to_le_bytes());
        length.copy_from_slice(&filled.to_le_bytes());
        let ring = self.state.device;
        self.write(ring, RING_ENTRIES + slot * USED_ENTRY_BYTES, &entry)?;
        self.state.used = self.state.used.wrapping_add(1);
        // The driver looks at an entry once the index covers it.
        fence(Ordering::Release);
        self.write(ring, RING_INDEX, &self.state.used.to_le_bytes())
    }

    fn read<const N: usize>(&self, base: u64, offset: u64) -> Result<[u8; N], Broken> {
        let mut bytes = [0; N];
        let read = self.memory.read(ipa(base, offset)?, &mut bytes);
        read.map(|()| bytes).ok_or(Broken)
    }

    fn write(&self, base: u64, offset: u64, bytes: &[u8]) -> Result<(), Broken> {
        self.memory.write(ipa(base, offset)?, bytes).ok_or(Broken)
    }
}

fn ipa(base: u64, offset: u64) -> Result<Ipa, Broken> {
    base.checked_add(offset).map(Ipa::new).ok_or(Broken)
}
