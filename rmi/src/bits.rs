// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Fields of a 64-bit word.

/// A run of bits in a 64-bit word.
#[derive(Clone, Copy)]
pub(crate) struct Field {
    lsb: u32,
    width: u32,
}

impl Field {
    /// Names bits `msb` down to `lsb`, as documents write them.
    pub(crate) const fn new(msb: u32, lsb: u32) -> Self {
        assert!(lsb <= msb && msb < 64);
        Self {
            lsb,
            width: msb - lsb + 1,
        }
    }

    /// Returns the bits of the field, in place.
    pub(crate) const fn mask(self) -> u64 {
        self.max() << self.lsb
    }

    /// Returns the greatest value of the field.
    pub(crate) const fn max(self) -> u64 {
        u64::MAX >> (64 - self.width)
    }

    /// Returns the value of the field in `word`.
    pub(crate) const fn get(self, word: u64) -> u64 {
        (word >> self.lsb) & self.max()
    }

    /// Returns the low byte of the value of the field, all of it if the field is that narrow.
    pub(crate) const fn get_u8(self, word: u64) -> u8 {
        let [byte, ..] = self.get(word).to_le_bytes();
        byte
    }

    /// Returns `word` with the field replaced by the low bits of `value`.
    pub(crate) const fn set(self, word: u64, value: u64) -> u64 {
        (word & !self.mask()) | ((value & self.max()) << self.lsb)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_gets_and_sets_only_its_bits() {
        let field = Field::new(13, 10);
        assert_eq!(field.mask(), 0x3C00);
        assert_eq!(field.get(0xFFFF_FFFF), 0xF);
        assert_eq!(field.set(0xFFFF, 0x5), 0xD7FF);
        assert_eq!(field.set(0, 0x15), 0x1400);
        assert_eq!(Field::new(63, 0).mask(), u64::MAX);
        assert_eq!(Field::new(63, 63).get(1 << 63), 1);
    }
}
