// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the Host has in its vector registers while a Realm runs.

pub use test_realm::protocol::pattern;

/// What may be accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VectorMode {
    /// V0 to V31.
    Plain,
    /// Z0 to Z31, P0 to P15 and FFR.
    Scalable,
    /// The same without FFR, in streaming mode.
    Streaming,
    /// The same with FFR and all instructions, in streaming mode.
    StreamingAll,
}

/// A state of the Host's vector registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostVectors {
    /// What may be accessed.
    pub mode: VectorMode,
    /// Length of a vector in units of 16 bytes, less one.
    pub length: u8,
    /// ZA, and ZT0 where the machine has it, are on.
    pub array: bool,
}

impl HostVectors {
    /// The state of a Host that knows no more than V0 to V31.
    pub const PLAIN: Self = Self {
        mode: VectorMode::Plain,
        length: 0,
        array: false,
    };

    /// Returns the state of a Host that uses SVE.
    #[must_use]
    pub const fn scalable(length: u8) -> Self {
        Self {
            mode: VectorMode::Scalable,
            length,
            array: false,
        }
    }
}
