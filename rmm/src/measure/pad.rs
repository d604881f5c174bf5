// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! From a message to the blocks that SHA-2 compresses (FIPS 180-4, section 5.1).
//!
//! The message comes in parts. Whole blocks of a long part are compressed where they are; what is short
//! is put together in a buffer first, so that a short message is one run of blocks.

/// The byte behind the message: a one bit, then zeroes.
const END_MARK: u8 = 0x80;

/// Zeroes of the padding: at most a block less one byte.
static ZEROES: [u8; 128] = [0; 128];

/// Feeds the message in `parts`, padded, to `compress` in runs of blocks. `LENGTH` is the size of the
/// field at the end of the padding.
pub(super) fn compress_padded<const BLOCK: usize, const BLOCKS: usize, const LENGTH: usize>(
    parts: &[&[u8]],
    compress: impl FnMut(&[[u8; BLOCK]]),
) {
    let mut run = Run::<_, BLOCK, BLOCKS> {
        buffer: [[0; BLOCK]; BLOCKS],
        filled: 0,
        compress,
    };
    let mut bytes = 0;
    for part in parts {
        run.push(part);
        bytes += part.len();
    }
    let zeroes = BLOCK - 1 - (bytes + LENGTH) % BLOCK;
    let bits = u128::try_from(bytes).expect("a slice has less than 2^64 bytes") << 3;
    let bits = bits.to_be_bytes();
    run.push(&[END_MARK]);
    run.push(ZEROES.get(..zeroes).expect("less than a block"));
    run.push(bits.last_chunk::<LENGTH>().expect("at most 16 bytes"));
    run.finish();
}

/// Blocks that wait to be compressed.
struct Run<F, const BLOCK: usize, const BLOCKS: usize> {
    buffer: [[u8; BLOCK]; BLOCKS],
    filled: usize,
    compress: F,
}

impl<F: FnMut(&[[u8; BLOCK]]), const BLOCK: usize, const BLOCKS: usize> Run<F, BLOCK, BLOCKS> {
    fn push(&mut self, mut part: &[u8]) {
        while !part.is_empty() {
            if self.filled == 0 && part.len() >= BLOCK * BLOCKS {
                let (blocks, rest) = part.as_chunks();
                (self.compress)(blocks);
                part = rest;
                continue;
            }
            let free = self.buffer.as_flattened_mut().get_mut(self.filled..);
            let free = free.expect("the buffer is never full here");
            let (now, later) = part.split_at(part.len().min(free.len()));
            for (to, from) in free.iter_mut().zip(now) {
                *to = *from;
            }
            self.filled += now.len();
            part = later;
            if self.filled == BLOCK * BLOCKS {
                self.finish();
            }
        }
    }

    /// Compresses what waits: whole blocks.
    fn finish(&mut self) {
        let blocks = self.buffer.get(..self.filled / BLOCK);
        let blocks = blocks.expect("the buffer holds what is filled");
        if !blocks.is_empty() {
            (self.compress)(blocks);
        }
        self.filled = 0;
    }
}
