// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Hashing with the instructions of the machine.

/// The PE has no instructions for this, or cannot use them now. The caller computes it itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoInstructions;

/// The way to a PE's instructions for SHA-2.
pub trait Sha2 {
    /// What has the instructions.
    type Unit: Sha2Unit;

    /// Lets `work` use the instructions, for as many digests as it likes.
    ///
    /// Getting ready for them can cost as much as a few blocks. Whatever the machine needs for it and
    /// belongs to a Host or a Realm is as before when the call returns, and no copy of it is left.
    fn with_unit<R>(&self, work: impl FnOnce(&Self::Unit) -> R) -> R;
}

/// The compression functions of SHA-2 (FIPS 180-4, sections 6.2.2 and 6.4.2), over whole blocks.
pub trait Sha2Unit {
    /// Adds `blocks` to the state of a SHA-256 digest.
    ///
    /// # Errors
    ///
    /// [`NoInstructions`]; the state is unchanged.
    fn compress256(&self, state: &mut [u32; 8], blocks: &[[u8; 64]]) -> Result<(), NoInstructions>;

    /// Adds as many blocks of zeroes to the state of a SHA-256 digest. They take half the time of others:
    /// their message schedule is zero as well.
    ///
    /// # Errors
    ///
    /// [`NoInstructions`]; the state is unchanged.
    fn compress256_zeroes(&self, state: &mut [u32; 8], blocks: usize)
    -> Result<(), NoInstructions>;

    /// Adds `blocks` to the state of a SHA-512 digest.
    ///
    /// # Errors
    ///
    /// [`NoInstructions`]; the state is unchanged.
    fn compress512(&self, state: &mut [u64; 8], blocks: &[[u8; 128]])
    -> Result<(), NoInstructions>;
}
