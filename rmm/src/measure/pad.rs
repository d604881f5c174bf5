// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! From a message to the blocks that SHA-2 compresses (FIPS 180-4, section 5.1).
//!
//! The message comes in parts. Whole blocks of a long part are compressed where they are; what is short
//! is put together in a buffer first, so that a short message and its padding are one run of blocks.

/// The byte behind the message: a one bit, then zeroes.
const END_MARK: u8 = 0x80;

/// The message of a digest, blocks of it at a time.
///
/// `BYTES` are those of the buffer: whole blocks, the last one of them for padding only.
pub(super) struct Message<F, const BLOCK: usize, const BYTES: usize> {
    compress: F,
    buffer: [u8; BYTES],
    filled: usize,
    compressed: usize,
}

impl<F: FnMut(&[[u8; BLOCK]]), const BLOCK: usize, const BYTES: usize> Message<F, BLOCK, BYTES> {
    /// How much of the message the buffer holds.
    const ROOM: usize = BYTES - BLOCK;

    /// Returns an empty message. `compress` gets its blocks in order.
    pub(super) fn new(compress: F) -> Self {
        const { assert!(BYTES.is_multiple_of(BLOCK) && BYTES > BLOCK) }
        Self {
            compress,
            buffer: [0; BYTES],
            filled: 0,
            compressed: 0,
        }
    }

    /// Adds a part of the message.
    pub(super) fn push(&mut self, mut part: &[u8]) {
        while part.len() > Self::ROOM - self.filled {
            part = if self.filled == 0 {
                let (blocks, rest) = part.as_chunks();
                (self.compress)(blocks);
                self.compressed += blocks.len() * BLOCK;
                rest
            } else {
                let (now, later) = part.split_at(Self::ROOM - self.filled);
                self.keep(now);
                self.compress_filled();
                later
            };
        }
        self.keep(part);
    }

    /// Ends the message. `LENGTH` are the bytes of the field at the end of the padding.
    pub(super) fn finish<const LENGTH: usize>(mut self) {
        let bytes = self.compressed + self.filled;
        let bits = u128::try_from(bytes).expect("a slice has less than 2^64 bytes") << 3;
        let field = bits.to_be_bytes();
        let field = field.last_chunk::<LENGTH>().expect("at most 16 bytes");

        let end = (self.filled + LENGTH) / BLOCK * BLOCK + BLOCK;
        let padding = self.buffer.get_mut(self.filled..end);
        let padding = padding.expect("the last block is for padding");
        padding.fill(0);
        if let [first, ..] = padding {
            *first = END_MARK;
        }
        if let Some(last) = padding.last_chunk_mut() {
            *last = *field;
        }
        self.filled = end;
        self.compress_filled();
    }

    /// Puts bytes into the buffer, which has room for them.
    fn keep(&mut self, bytes: &[u8]) {
        let free = self.buffer.get_mut(self.filled..self.filled + bytes.len());
        free.expect("the buffer has room").copy_from_slice(bytes);
        self.filled += bytes.len();
    }

    /// Compresses what is in the buffer: whole blocks.
    fn compress_filled(&mut self) {
        let filled = self.buffer.get(..self.filled);
        let (blocks, _) = filled.expect("no more than the buffer holds").as_chunks();
        (self.compress)(blocks);
        self.compressed += self.filled;
        self.filled = 0;
    }
}
