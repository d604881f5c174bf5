// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! From a message to the blocks that SHA-2 compresses (FIPS 180-4, section 5.1).
//!
//! The message comes in parts. Whole blocks are compressed where they are; only what does not fill a
//! block is copied.

use core::slice;

/// The byte behind the message: a one bit, then zeroes.
const END_MARK: u8 = 0x80;

/// A state and the function that adds blocks of a message to it.
pub(super) trait Compress<const BLOCK: usize> {
    /// Adds the next blocks.
    fn add(&mut self, blocks: &[[u8; BLOCK]]);
    /// Adds `blocks` blocks of zeroes.
    fn add_zeroes(&mut self, blocks: usize);
}

/// The message of a digest.
pub(super) struct Message<'d, C, const BLOCK: usize> {
    digest: &'d mut C,
    /// A block that is not full yet; zeroes behind what is.
    block: Block<BLOCK>,
    filled: usize,
    bytes: usize,
}

/// Aligned, so that it is written by words.
#[repr(align(8))]
struct Block<const BLOCK: usize>([u8; BLOCK]);

// All is inlined: where the lengths of the parts are known, little more is left than the calls that compress.
impl<'d, C: Compress<BLOCK>, const BLOCK: usize> Message<'d, C, BLOCK> {
    /// Returns an empty message.
    #[inline(always)]
    pub(super) fn new(digest: &'d mut C) -> Self {
        Self {
            digest,
            block: Block([0; BLOCK]),
            filled: 0,
            bytes: 0,
        }
    }

    /// Adds a part of the message.
    #[inline(always)]
    pub(super) fn push(&mut self, part: &[u8]) {
        self.bytes += part.len();
        let (start, rest) = part.split_at(part.len().min(self.missing()));
        self.keep(start);
        let (blocks, end) = rest.as_chunks();
        self.digest.add(blocks);
        self.keep(end);
    }

    /// Adds as many zeroes.
    #[inline(always)]
    pub(super) fn push_zeroes(&mut self, bytes: usize) {
        self.bytes += bytes;
        let start = bytes.min(self.missing());
        self.keep_zeroes(start);
        let rest = bytes - start;
        self.digest.add_zeroes(rest / BLOCK);
        self.keep_zeroes(rest % BLOCK);
    }

    /// Ends the message. `LENGTH` are the bytes of the field at the end of the padding.
    #[inline(always)]
    pub(super) fn finish<const LENGTH: usize>(&mut self) {
        let bits = u128::try_from(self.bytes).expect("a slice has less than 2^64 bytes") << 3;
        let field = bits.to_be_bytes();
        let field = field.last_chunk::<LENGTH>().expect("at most 16 bytes");

        self.keep(&[END_MARK]);
        if self.filled > BLOCK - LENGTH {
            self.compress_block();
        }
        if let Some(end) = self.block.0.last_chunk_mut() {
            *end = *field;
        }
        self.compress_block();
    }

    /// Returns what is missing of the block that was begun, if one was.
    #[inline(always)]
    fn missing(&self) -> usize {
        (BLOCK - self.filled) % BLOCK
    }

    /// Puts bytes into the block, which has room for them.
    #[inline(always)]
    fn keep(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            let free = self.block.0.get_mut(self.filled..);
            let place = free.and_then(|free| free.get_mut(..bytes.len()));
            place.expect("the block has room").copy_from_slice(bytes);
            self.keep_zeroes(bytes.len());
        }
    }

    /// Makes so many more bytes of the block, which has room for them, part of the message.
    #[inline(always)]
    fn keep_zeroes(&mut self, bytes: usize) {
        self.filled += bytes;
        if self.filled == BLOCK {
            self.compress_block();
        }
    }

    #[inline(always)]
    fn compress_block(&mut self) {
        self.digest.add(slice::from_ref(&self.block.0));
        self.block = Block([0; BLOCK]);
        self.filled = 0;
    }
}
