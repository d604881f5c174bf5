// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The console: an Arm PL011 (DDI 0183) whose wire is infinitely fast.
//!
//! A byte written to the data register leaves at once, so the transmit FIFO is always empty and
//! the transmit interrupt is raised by each byte that leaves. Received bytes wait in a queue
//! outside the device until the receive FIFO has room. The interrupt output is a level: the masked
//! interrupt status is not zero.

mod lines;
#[cfg(test)]
mod tests;

pub use lines::{LINE_BYTES, LineAssembler};

use heapless::Deque;

const FIFO_BYTES: usize = 32;
/// Bytes that wait for room in the receive FIFO.
const QUEUE_BYTES: usize = 256;

const DR: u64 = 0x000;
const RSR: u64 = 0x004;
const FR: u64 = 0x018;
const ILPR: u64 = 0x020;
const IBRD: u64 = 0x024;
const FBRD: u64 = 0x028;
const LCR_H: u64 = 0x02C;
const CR: u64 = 0x030;
const IFLS: u64 = 0x034;
const IMSC: u64 = 0x038;
const RIS: u64 = 0x03C;
const MIS: u64 = 0x040;
const ICR: u64 = 0x044;
const DMACR: u64 = 0x048;
const ID_FIRST: u64 = 0xFE0;

const FR_RX_EMPTY: u32 = 1 << 4;
const FR_RX_FULL: u32 = 1 << 6;
const FR_TX_EMPTY: u32 = 1 << 7;
/// Clear to send, data set ready and carrier: somebody is always there.
const FR_MODEM: u32 = 0b111;

const LCR_FIFO_ENABLE: u32 = 1 << 4;
const CR_ENABLE: u32 = 1 << 0;
const CR_RX_ENABLE: u32 = 1 << 9;
const CR_RESET: u32 = 0x300;
const IFLS_RESET: u32 = 0x12;

const INT_RX: u32 = 1 << 4;
const INT_TX: u32 = 1 << 5;
const INT_RX_TIMEOUT: u32 = 1 << 6;
const INT_ALL: u32 = 0x7FF;

/// PeriphID0..3 of a PL011 revision r1p5, then PCellID0..3.
const IDS: [u32; 8] = [0x11, 0x10, 0x34, 0x00, 0x0D, 0xF0, 0x05, 0xB1];

/// The device.
#[derive(Clone, Debug)]
pub struct Uart {
    fifo: Deque<u8, FIFO_BYTES>,
    queue: Deque<u8, QUEUE_BYTES>,
    low_power_divisor: u32,
    baud_integer: u32,
    baud_fraction: u32,
    line_control: u32,
    control: u32,
    fifo_levels: u32,
    mask: u32,
    raw: u32,
    dma_control: u32,
}

impl Default for Uart {
    fn default() -> Self {
        Self::new()
    }
}

impl Uart {
    /// Returns the device out of reset.
    pub fn new() -> Self {
        Self {
            fifo: Deque::new(),
            queue: Deque::new(),
            low_power_divisor: 0,
            baud_integer: 0,
            baud_fraction: 0,
            line_control: 0,
            control: CR_RESET,
            fifo_levels: IFLS_RESET,
            mask: 0,
            raw: 0,
            dma_control: 0,
        }
    }

    /// Tells whether the interrupt output is high.
    pub fn is_interrupting(&self) -> bool {
        self.raw & self.mask != 0
    }

    /// Reads a register; taking a received byte may change the interrupt output.
    pub fn read(&mut self, offset: u64) -> u64 {
        let value = match offset & !3 {
            DR => self.take_received(),
            FR => self.flags(),
            ILPR => self.low_power_divisor,
            IBRD => self.baud_integer,
            FBRD => self.baud_fraction,
            LCR_H => self.line_control,
            CR => self.control,
            IFLS => self.fifo_levels,
            IMSC => self.mask,
            RIS => self.raw,
            MIS => self.raw & self.mask,
            DMACR => self.dma_control,
            id @ ID_FIRST..=0xFFC => IDS[(id - ID_FIRST) as usize / 4],
            _ => 0,
        };
        u64::from(value)
    }

    /// Writes a register; returns the byte that left on the wire, if one did.
    pub fn write(&mut self, offset: u64, value: u64) -> Option<u8> {
        let value = value as u32;
        match offset & !3 {
            DR => {
                self.raw |= INT_TX;
                return Some(value as u8);
            }
            // Clears receive errors, of which there are none.
            RSR => {}
            ILPR => self.low_power_divisor = value & 0xFF,
            IBRD => self.baud_integer = value & 0xFFFF,
            FBRD => self.baud_fraction = value & 0x3F,
            LCR_H => self.set_line_control(value & 0xFF),
            CR => {
                self.control = value & 0xFF87;
                self.fill();
            }
            IFLS => {
                self.fifo_levels = value & 0x3F;
                self.update_receive();
            }
            IMSC => self.mask = value & INT_ALL,
            ICR => self.raw &= !value,
            DMACR => self.dma_control = value & 0x7,
            _ => {}
        }
        None
    }

    /// Takes bytes from the other end of the wire; returns how many there was room for.
    pub fn receive(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes
            .iter()
            .take_while(|byte| self.queue.push_back(**byte).is_ok())
            .count();
        self.fill();
        taken
    }

    fn flags(&self) -> u32 {
        let mut flags = FR_MODEM | FR_TX_EMPTY;
        if self.fifo.is_empty() {
            flags |= FR_RX_EMPTY;
        }
        if self.fifo.len() >= self.depth() {
            flags |= FR_RX_FULL;
        }
        flags
    }

    fn take_received(&mut self) -> u32 {
        let byte = self.fifo.pop_front().unwrap_or(0);
        self.update_receive();
        self.fill();
        u32::from(byte)
    }

    /// Switching the FIFO flushes it.
    fn set_line_control(&mut self, value: u32) {
        if (self.line_control ^ value) & LCR_FIFO_ENABLE != 0 {
            self.fifo.clear();
        }
        self.line_control = value;
        self.update_receive();
        self.fill();
    }

    /// Moves bytes from the queue into the FIFO.
    ///
    /// The trigger level raises the receive interrupt; fewer bytes raise the time-out interrupt,
    /// because nothing follows them.
    fn fill(&mut self) {
        if self.control & (CR_ENABLE | CR_RX_ENABLE) != CR_ENABLE | CR_RX_ENABLE {
            return;
        }
        let mut has_new = false;
        while self.fifo.len() < self.depth() {
            let Some(byte) = self.queue.pop_front() else {
                break;
            };
            // The FIFO is no deeper than its storage.
            has_new |= self.fifo.push_back(byte).is_ok();
        }
        if has_new {
            self.raw |= if self.fifo.len() >= self.trigger() {
                INT_RX
            } else {
                INT_RX_TIMEOUT
            };
        }
    }

    fn update_receive(&mut self) {
        if self.fifo.len() < self.trigger() {
            if self.raw & INT_RX != 0 && !self.fifo.is_empty() {
                // The rest after the trigger level is what the time-out is for.
                self.raw |= INT_RX_TIMEOUT;
            }
            self.raw &= !INT_RX;
        }
        if self.fifo.is_empty() {
            self.raw &= !INT_RX_TIMEOUT;
        }
    }

    fn depth(&self) -> usize {
        if self.line_control & LCR_FIFO_ENABLE != 0 {
            FIFO_BYTES
        } else {
            1
        }
    }

    fn trigger(&self) -> usize {
        if self.line_control & LCR_FIFO_ENABLE == 0 {
            return 1;
        }
        match self.fifo_levels >> 3 & 0b111 {
            0 => FIFO_BYTES / 8,
            1 => FIFO_BYTES / 4,
            2 => FIFO_BYTES / 2,
            3 => FIFO_BYTES * 3 / 4,
            _ => FIFO_BYTES * 7 / 8,
        }
    }
}
