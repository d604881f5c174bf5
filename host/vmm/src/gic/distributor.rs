// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The distributor's registers (Arm GIC architecture, chapter 12).
//!
//! An access of any size is made of one or two aligned words with a mask of the bytes that count.
//! What is not implemented reads as zero and ignores writes, as the architecture asks of reserved
//! registers and of those that affinity routing retires.

use super::bank::Register;
use super::{FIRST_SPI, Gic, INTIDS, SPI_BANKS, bits};
use crate::machine::{VcpuSet, vcpu_of};
use core::sync::atomic::Ordering;
use rmi::RecMpidr;

const CTLR: u64 = 0x0000;
const TYPER: u64 = 0x0004;
const IIDR: u64 = 0x0008;
const IROUTER: u64 = 0x6000;
const IROUTER_END: u64 = 0x8000;
/// Offset of the register that tells the architecture version, in both frames.
pub(super) const PIDR2: u64 = 0xFFE8;

/// The affinity fields of a route; 1-of-N delivery is not there.
const ROUTE_AFFINITY: u64 = 0xFF_00FF_FFFF;

/// `EnableGrp0` and `EnableGrp1`.
pub(super) const CTLR_GROUPS: u32 = 0b11;
/// Affinity routing is on and there is one Security state; neither can be changed.
const CTLR_FIXED: u32 = 1 << 4 | 1 << 6;
/// INTIDs have ten bits, there is no 1-of-N delivery.
const TYPER_FIXED: u32 = 9 << 19 | 1 << 25;
/// Arm's JEP106 code as implementer, product and revision zero.
pub(super) const IIDR_VALUE: u32 = 0x43B;
/// GICv3.
pub(super) const PIDR2_VALUE: u32 = 0x3B;

impl Gic {
    /// Reads `size_bytes` of the distributor.
    pub fn read_distributor(&self, offset: u64, size_bytes: u64) -> u64 {
        read_words(offset, size_bytes, |offset| {
            self.read_distributor_word(offset)
        })
    }

    /// Writes `size_bytes` of the distributor; returns the vCPUs to interrupt.
    pub fn write_distributor(&self, offset: u64, size_bytes: u64, value: u64) -> VcpuSet {
        write_words(offset, size_bytes, value, |offset, value, mask| {
            self.write_distributor_word(offset, value, mask)
        })
    }

    fn read_distributor_word(&self, offset: u64) -> u32 {
        match offset {
            CTLR => self.groups() | CTLR_FIXED,
            TYPER => TYPER_FIXED | SPI_BANKS as u32,
            IIDR => IIDR_VALUE,
            PIDR2 => PIDR2_VALUE,
            IROUTER..IROUTER_END => route_half(offset).map_or(0, |(spi, is_high)| {
                let value = self.shared.lock().routes[spi].affinity;
                if is_high {
                    (value >> 32) as u32
                } else {
                    value as u32
                }
            }),
            _ => match Register::at(offset) {
                Some((bank @ 1..=SPI_BANKS, register)) => {
                    self.shared.lock().banks[bank - 1].read(register)
                }
                _ => 0,
            },
        }
    }

    fn write_distributor_word(&self, offset: u64, value: u32, mask: u32) -> VcpuSet {
        match offset {
            CTLR => {
                let change = |old| Some((old & !mask | value & mask) & CTLR_GROUPS);
                // The closure always returns a value, so the update cannot fail.
                let _ = self
                    .control
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
                VcpuSet::first(self.vcpus.len())
            }
            IROUTER..IROUTER_END => match route_half(offset) {
                Some((spi, is_high)) => self.write_route(spi, is_high, value, mask),
                None => VcpuSet::EMPTY,
            },
            _ => match Register::at(offset) {
                Some((bank @ 1..=SPI_BANKS, register)) => {
                    self.write_bank(bank - 1, register, value, mask)
                }
                _ => VcpuSet::EMPTY,
            },
        }
    }

    fn write_bank(&self, bank: usize, register: Register, value: u32, mask: u32) -> VcpuSet {
        let mut shared = self.shared.lock();
        let affected = shared.banks[bank].write(register, value, mask);
        let mut readers = VcpuSet::EMPTY;
        for index in bits(affected) {
            let bit = 1 << index;
            readers = readers.with(shared.reader_of(bank, bit));
            shared.release_if_idle(bank, bit);
        }
        readers
    }

    fn write_route(&self, spi: usize, is_high: bool, value: u32, mask: u32) -> VcpuSet {
        let mut shared = self.shared.lock();
        let route = &mut shared.routes[spi];
        let before = route.reader();

        let shift = if is_high { 32 } else { 0 };
        let mask = u64::from(mask) << shift;
        let value = u64::from(value) << shift;
        let affinity = (route.affinity & !mask | value & mask) & ROUTE_AFFINITY;
        route.affinity = affinity;
        route.target =
            RecMpidr::from_affinity(affinity).and_then(|mpidr| vcpu_of(mpidr, self.vcpus.len()));
        [before, route.reader()]
            .into_iter()
            .flatten()
            .fold(VcpuSet::EMPTY, |set, vcpu| set.with(VcpuSet::only(vcpu)))
    }
}

/// Returns the SPI whose route a word belongs to, and whether it is the high half.
fn route_half(offset: u64) -> Option<(usize, bool)> {
    let intid = u32::try_from((offset - IROUTER) / 8).ok()?;
    let is_spi = (FIRST_SPI..INTIDS).contains(&intid);
    is_spi.then(|| ((intid - FIRST_SPI) as usize, offset & 4 != 0))
}

/// Reads an access of 1, 2, 4 or 8 bytes from registers of four bytes.
///
/// An access that is not aligned to its size reads as zero.
pub(super) fn read_words(offset: u64, size_bytes: u64, read: impl Fn(u64) -> u32) -> u64 {
    if !is_access(offset, size_bytes) {
        return 0;
    }
    if size_bytes == 8 {
        return u64::from(read(offset)) | u64::from(read(offset + 4)) << 32;
    }
    let shift = 8 * (offset & 3);
    let mask = (1_u64 << (8 * size_bytes)) - 1;
    u64::from(read(offset & !3)) >> shift & mask
}

/// Writes an access of 1, 2, 4 or 8 bytes to registers of four bytes, with masks.
///
/// An access that is not aligned to its size is ignored.
pub(super) fn write_words(
    offset: u64,
    size_bytes: u64,
    value: u64,
    write: impl Fn(u64, u32, u32) -> VcpuSet,
) -> VcpuSet {
    if !is_access(offset, size_bytes) {
        return VcpuSet::EMPTY;
    }
    if size_bytes == 8 {
        let low = write(offset, value as u32, u32::MAX);
        return low.with(write(offset + 4, (value >> 32) as u32, u32::MAX));
    }
    let shift = 8 * (offset & 3);
    let mask = ((1_u64 << (8 * size_bytes)) - 1) << shift;
    write(offset & !3, (value << shift) as u32, mask as u32)
}

fn is_access(offset: u64, size_bytes: u64) -> bool {
    matches!(size_bytes, 1 | 2 | 4 | 8) && offset.is_multiple_of(size_bytes)
}
