// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The flags of `RMI_DATA_CREATE`.

use bitflags::bitflags;

bitflags! {
    /// How a page becomes part of a new Realm (`RmiDataFlags`).
    ///
    /// `from_bits` refuses bits that should be zero.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct DataFlags: u64 {
        /// The contents count in the initial measurement, not only the address.
        const MEASURE = 1 << 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_flags_have_one_bit() {
        assert_eq!(DataFlags::from_bits(0), Some(DataFlags::empty()));
        assert_eq!(DataFlags::from_bits(1), Some(DataFlags::MEASURE));
        assert_eq!(DataFlags::from_bits(2), None);
    }
}
