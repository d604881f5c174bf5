// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The log, on a PL011.
//!
//! One record is one line, `[rmm] text`; other worlds may share the device and write between two lines.

use core::fmt::{self, Write};
use core::ptr::NonNull;

use arm_pl011_uart::{
    DataBits, LineConfig, PL011Registers, Parity, StopBits, Uart, UniqueMmioPointer,
};
use log::{Level, LevelFilter, Log, Metadata, Record};
use spin::Mutex;

use crate::entry;

/// How often a crashing PE tries for the device before it takes it from whoever has it: well beyond the
/// time of a line at 115,200 baud.
const CRASH_TRIES: u32 = 1 << 24;

/// The monitor's console. Silent until a device is attached.
#[derive(Debug)]
pub struct Console {
    uart: Mutex<Device>,
}

struct Device(Option<Uart<'static>>);

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Device").field(&self.0.is_some()).finish()
    }
}

impl Console {
    /// Returns a console without a device.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            uart: Mutex::new(Device(None)),
        }
    }

    /// Makes this console the log of the image, for messages up to `level`. Later calls only change the
    /// level.
    pub fn install(&'static self, level: LevelFilter) {
        // The only error is that a logger is installed already.
        let _ = log::set_logger(self);
        log::set_max_level(level);
    }

    /// Writes to `uart` from now on.
    pub fn attach(&self, uart: Uart<'static>) {
        self.uart.lock().0 = Some(uart);
    }

    /// Writes to `uart` from now on, set up for `baud` from a clock of `clock_hz`. A clock of 0 or 1 Hz,
    /// which stands for a device that needs no set-up, and one that cannot give the rate leave the
    /// device as it is.
    pub fn attach_at(&self, mut uart: Uart<'static>, clock_hz: u64, baud: u64) {
        let line = LineConfig {
            data_bits: DataBits::Bits8,
            parity: Parity::None,
            stop_bits: StopBits::One,
        };
        if let (2.., Ok(clock_hz), Ok(baud)) =
            (clock_hz, u32::try_from(clock_hz), u32::try_from(baud))
        {
            // Nothing is written when the divisors are out of range.
            let _ = uart.enable(line, baud, clock_hz);
        }
        self.attach(uart);
    }

    fn write_line(&self, record: &Record<'_>) {
        if entry::block(entry::this_slot()).is_crashing() {
            self.take_from_others();
        }
        if let Some(uart) = &mut self.uart.lock().0 {
            let level = match record.level() {
                Level::Error => "error: ",
                Level::Warn => "warning: ",
                Level::Info | Level::Debug | Level::Trace => "",
            };
            // Writing to the device cannot fail; an error would come from a `Display` of ours.
            let _ = write!(uart, "[rmm] {level}{}\r\n", record.args());
        }
    }

    /// Waits for the device and takes it if it does not come free.
    fn take_from_others(&self) {
        for _ in 0..CRASH_TRIES {
            if !self.uart.is_locked() {
                return;
            }
            core::hint::spin_loop();
        }
        // SAFETY: the holder is this PE, which never goes on, or one that hangs in a line. If it does go
        // on, two PEs write characters to the device, which mixes two lines up and harms nothing else.
        unsafe { self.uart.force_unlock() };
    }
}

impl Default for Console {
    fn default() -> Self {
        Self::new()
    }
}

impl Log for Console {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        self.write_line(record);
    }

    fn flush(&self) {}
}

/// Returns the driver of the PL011 whose registers were just mapped at `registers`.
pub(crate) fn uart(registers: NonNull<u8>) -> Uart<'static> {
    // SAFETY: stage 1 mapped the device's registers there for ever, and maps nothing twice, so this is
    // the only pointer to them.
    Uart::new(unsafe { UniqueMmioPointer::new(registers.cast::<PL011Registers>()) })
}
