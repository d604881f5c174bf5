// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The console: one PL011 that the worlds may share. TF-A has set it up; the host adds the receive
//! interrupt.
//!
//! A line is written whole, under a lock, and starts with its speaker: `[host]` for the host,
//! `[guest]` for what the guest wrote, `[guest-realm]` and `[guest-normal]` where there are two.

use core::fmt::{self, Write};
use core::ptr::NonNull;

use arm_pl011_uart::{Interrupts, PL011Registers, Uart, UniqueMmioPointer};
use log::{LevelFilter, Log, Metadata, Record};
use spin::Mutex;

use crate::board;

static CONSOLE: Mutex<Option<Uart<'static>>> = Mutex::new(None);
static LOGGER: Logger = Logger;

/// Opens the console and makes it the destination of the `log` macros.
///
/// # Safety
/// Only once, and nothing else in this image may touch the board's UART.
pub(crate) unsafe fn init() {
    *CONSOLE.lock() = Some(uart());
    // Only a second call could fail.
    let _ = log::set_logger(&LOGGER);
    log::set_max_level(LevelFilter::Info);
}

fn uart() -> Uart<'static> {
    let registers = NonNull::<PL011Registers>::without_provenance(
        board::UART_BASE
            .try_into()
            .expect("no UART is at address zero"),
    );
    // SAFETY: the board file says that a PL011 is here; both maps map it as device memory. The
    // callers of this function keep the others away: `init` is called once, and `Emergency` is for
    // a machine about to stop.
    let registers = unsafe { UniqueMmioPointer::new(registers) };
    Uart::new(registers)
}

/// Lets the log macros tell more.
pub(crate) fn set_verbose() {
    log::set_max_level(LevelFilter::Debug);
}

/// Writes a line of a guest, after its tag.
pub(crate) fn guest_line(tag: &str, line: &str) {
    if let Some(uart) = CONSOLE.lock().as_mut() {
        let mut out = Line(uart);
        let _ = out.write_str(tag);
        let _ = out.write_str(line);
        out.bytes(b"\r\n");
    }
}

/// Lets received characters raise the console's interrupt.
pub(crate) fn enable_receive_interrupt() {
    if let Some(uart) = CONSOLE.lock().as_mut() {
        uart.set_interrupt_masks(Interrupts::RXI | Interrupts::RTI);
    }
}

/// Reads a received character. A garbled one is dropped.
pub(crate) fn read() -> Option<u8> {
    let mut console = CONSOLE.lock();
    let uart = console.as_mut()?;
    while !uart.is_rx_fifo_empty() {
        if let Ok(Some(byte)) = uart.read_word() {
            return Some(byte);
        }
    }
    uart.clear_interrupts(Interrupts::RXI | Interrupts::RTI);
    None
}

/// Writes through a UART, waiting for room.
struct Line<'a, 'u>(&'a mut Uart<'u>);

impl Line<'_, '_> {
    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            while self.0.is_tx_fifo_full() {
                core::hint::spin_loop();
            }
            self.0.write_word(*byte);
        }
    }
}

impl Write for Line<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.bytes(text.as_bytes());
        Ok(())
    }
}

/// Writes log records as lines of the host.
struct Logger;

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        if let Some(uart) = CONSOLE.lock().as_mut() {
            let level = match record.level() {
                log::Level::Error => "error: ",
                log::Level::Warn => "warning: ",
                log::Level::Info | log::Level::Debug | log::Level::Trace => "",
            };
            let _ = write!(Line(uart), "[host] {level}{}\r\n", record.args());
        }
    }

    fn flush(&self) {}
}

/// The console of a host that is about to stop: it does not wait for the lock, which its own PE may
/// hold.
pub(crate) struct Emergency {
    uart: Uart<'static>,
    is_at_start: bool,
}

impl Emergency {
    /// Opens the console beside whoever uses it.
    pub(crate) fn open() -> Self {
        let mut emergency = Self {
            uart: uart(),
            is_at_start: true,
        };
        Line(&mut emergency.uart).bytes(b"\r\n");
        emergency
    }
}

impl Write for Emergency {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut out = Line(&mut self.uart);
        for byte in text.bytes() {
            if self.is_at_start {
                out.bytes(b"[host] ");
            }
            self.is_at_start = byte == b'\n';
            if self.is_at_start {
                out.bytes(b"\r");
            }
            out.bytes(&[byte]);
        }
        Ok(())
    }
}
