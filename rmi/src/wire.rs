// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What every structure in shared memory has in common.
//!
//! A wire structure is `repr(C)`, consists of integers, arrays and reserved bytes, and any bytes
//! are a value of it: reading one cannot fail, only giving it a meaning can. All numbers are
//! little-endian, like every machine this runs on.

use core::fmt;

/// The structures are read and written in place.
const _: () = assert!(cfg!(target_endian = "little"));

/// A field holds an encoding that the specification reserves.
///
/// Every command that reads such a field answers `RMI_ERROR_INPUT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BadEncoding {
    /// The specification's name of the field.
    pub field: &'static str,
}

impl fmt::Display for BadEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reserved encoding in {}", self.field)
    }
}

/// Refuses to compile unless a structure has this size and these offsets, all in bytes.
macro_rules! assert_layout {
    ($name:ident, $size:literal, { $($field:ident: $offset:literal),+ $(,)? }) => {
        const _: () = {
            assert!(size_of::<$name>() == $size);
            $(assert!(core::mem::offset_of!($name, $field) == $offset);)+
        };
    };
}

pub(crate) use assert_layout;
