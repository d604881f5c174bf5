// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the platform gives a monitor so that it can prove itself.

/// Bytes of the realm attestation key: a private scalar of P-384, the most significant byte first.
pub const REALM_KEY_BYTES: usize = 48;

/// Bytes of the digest that the platform token carries as its challenge: SHA-256.
pub const PLATFORM_CHALLENGE_BYTES: usize = 32;

/// Why the platform gave no key or token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttestationError {
    /// It answered with this status.
    Refused(i64),
    /// It was still at work when the monitor stopped asking.
    Busy,
    /// It says that it wrote this number of bytes, which cannot be.
    Length(u64),
    /// The token is longer than the room for it.
    NoRoom,
}

/// The platform's side of attestation: asked once, at the cold boot.
pub trait AttestationSource {
    /// Writes the realm attestation key to `key`. No copy of it is left elsewhere.
    ///
    /// # Errors
    ///
    /// [`AttestationError`] when there is none; `key` holds anything.
    fn realm_key(&mut self, key: &mut [u8; REALM_KEY_BYTES]) -> Result<(), AttestationError>;

    /// Writes a platform token that answers `challenge` to the start of `into` and returns its bytes.
    ///
    /// # Errors
    ///
    /// [`AttestationError`] when there is none; `into` holds anything.
    fn platform_token(
        &mut self,
        challenge: &[u8; PLATFORM_CHALLENGE_BYTES],
        into: &mut [u8],
    ) -> Result<usize, AttestationError>;
}
