// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Hashing with the instructions of the machine.

/// The PE has no instructions for this, or cannot use them now. The caller computes it itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoInstructions;

/// The compression functions of SHA-2 (FIPS 180-4, sections 6.2.2 and 6.4.2), over whole blocks.
///
/// Whatever the machine needs for it and belongs to a Host or a Realm is as before when a call returns,
/// and no copy of it is left.
pub trait Sha2 {
    /// Adds `blocks` to the state of a SHA-256 digest.
    ///
    /// # Errors
    ///
    /// [`NoInstructions`]; the state is unchanged.
    fn compress256(&self, state: &mut [u32; 8], blocks: &[[u8; 64]]) -> Result<(), NoInstructions>;

    /// Adds `blocks` to the state of a SHA-512 digest.
    ///
    /// # Errors
    ///
    /// [`NoInstructions`]; the state is unchanged.
    fn compress512(&self, state: &mut [u64; 8], blocks: &[[u8; 128]])
    -> Result<(), NoInstructions>;
}
