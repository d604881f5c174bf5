// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The console of the self-test: one line at a time, on the machine's PL011.

use core::fmt::{self, Write};

use arm_pl011_uart::{PL011Registers, Uart, UniqueMmioPointer};
use heapless::String;
use spin::Mutex;

use crate::machine;

/// Longest line in bytes; what is longer is cut.
const LINE_BYTES: usize = 240;

/// Kept while a line is written, so that vCPUs do not mix theirs.
static CONSOLE: Mutex<()> = Mutex::new(());

/// Writes a line.
pub(crate) fn line(text: fmt::Arguments<'_>) {
    let mut line: String<LINE_BYTES> = String::new();
    // A line that is too long is cut.
    let _ = line.write_fmt(text);
    let _guard = CONSOLE.lock();
    let registers = machine::shared::<PL011Registers>(machine::UART);
    // SAFETY: the machine has its PL011 here, the translation maps it as a device, and the lock keeps
    // other users away.
    let registers = unsafe { UniqueMmioPointer::new(registers) };
    let mut uart = Uart::new(registers);
    for byte in line.bytes().chain(*b"\r\n") {
        uart.write_word(byte);
    }
}
