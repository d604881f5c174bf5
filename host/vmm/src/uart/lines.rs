// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Bytes of the guest's console put together into lines.

use heapless::Vec;

/// Longest line in bytes; a longer one is cut into several.
pub const LINE_BYTES: usize = 240;

/// Puts bytes together and hands out whole lines.
///
/// A line ends at a line feed. Carriage returns, escape sequences and other control characters are
/// left out, and what is not UTF-8 becomes a question mark, so that a guest cannot forge the host's
/// own lines or move the terminal's cursor.
#[derive(Clone, Debug, Default)]
pub struct LineAssembler {
    bytes: Vec<u8, LINE_BYTES>,
    escape: Escape,
    /// When the last byte came.
    last_at: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    Started,
    Sequence,
}

impl LineAssembler {
    /// Takes a byte at the time `now` (ticks of any clock); calls `sink` with each line that is
    /// complete.
    pub fn push(&mut self, byte: u8, now: u64, mut sink: impl FnMut(&str)) {
        if self.skip_escape(byte) {
            return;
        }
        match byte {
            b'\n' => self.emit(&mut sink),
            b'\t' | 0x20..=0x7E | 0x80.. => {
                self.last_at = now;
                // An emitted line leaves room, so the byte after it always fits.
                let _ = self.bytes.push(byte);
                if self.bytes.is_full() {
                    self.emit(&mut sink);
                }
            }
            _ => {}
        }
    }

    /// Hands out a partial line whose last byte came at least `age` ticks before `now`.
    pub fn flush_older(&mut self, now: u64, age: u64, mut sink: impl FnMut(&str)) {
        if !self.bytes.is_empty() && now.saturating_sub(self.last_at) >= age {
            self.emit(&mut sink);
        }
    }

    fn emit(&mut self, sink: &mut impl FnMut(&str)) {
        while core::str::from_utf8(&self.bytes).is_err() {
            replace_invalid(&mut self.bytes);
        }
        if let Ok(line) = core::str::from_utf8(&self.bytes) {
            sink(line);
        }
        self.bytes.clear();
    }

    /// Tells whether a byte belongs to an escape sequence (ECMA-48: ESC, or ESC `[` and more).
    fn skip_escape(&mut self, byte: u8) -> bool {
        let (is_skipped, next) = match (self.escape, byte) {
            (_, 0x1B) => (true, Escape::Started),
            (Escape::None, _) => (false, Escape::None),
            (_, b'\n') => (false, Escape::None),
            (Escape::Started, b'[') => (true, Escape::Sequence),
            (Escape::Started, _) => (true, Escape::None),
            (Escape::Sequence, 0x40..=0x7E) => (true, Escape::None),
            (Escape::Sequence, _) => (true, Escape::Sequence),
        };
        self.escape = next;
        is_skipped
    }
}

/// Replaces the first byte that is not UTF-8.
fn replace_invalid(bytes: &mut [u8]) {
    if let Err(error) = core::str::from_utf8(bytes)
        && let Some(byte) = bytes.get_mut(error.valid_up_to())
    {
        *byte = b'?';
    }
}
