// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A platform that vouches for the fake machine.

use rmm_hal::{AttestationError, AttestationSource, PLATFORM_CHALLENGE_BYTES, REALM_KEY_BYTES};

/// The private key of the P-384 examples of RFC 6979, section A.2.6.
pub const REALM_KEY: [u8; REALM_KEY_BYTES] = [
    0x6B, 0x9D, 0x3D, 0xAD, 0x2E, 0x1B, 0x8C, 0x1C, 0x05, 0xB1, 0x98, 0x75, 0xB6, 0x65, 0x9F, 0x4D,
    0xE2, 0x3C, 0x3B, 0x66, 0x7B, 0xF2, 0x97, 0xBA, 0x9A, 0xA4, 0x77, 0x40, 0x78, 0x71, 0x37, 0xD8,
    0x96, 0xD5, 0x72, 0x4E, 0x4C, 0x70, 0xA8, 0x25, 0xF8, 0x72, 0xC9, 0xEA, 0x60, 0xD2, 0xED, 0xF5,
];

const PROFILE: &[u8] = b"tag:arm.com,2023:cca_platform#1.0.0";

/// Gives [`REALM_KEY`] and a platform token without a valid signature.
#[derive(Clone, Copy, Debug, Default)]
pub struct FakePlatform {
    /// Bytes of the token's configuration claim, which is there to make the token longer.
    pub config_bytes: u16,
}

impl FakePlatform {
    /// Returns the token that answers `challenge`: an untrue signature around the claims profile,
    /// challenge and configuration.
    #[must_use]
    pub fn token(&self, challenge: &[u8; PLATFORM_CHALLENGE_BYTES]) -> Vec<u8> {
        let mut claims = vec![0xA3, 0x19, 0x01, 0x09, 0x78, 0x23];
        claims.extend(PROFILE);
        claims.extend([0x0A, 0x58, 0x20]);
        claims.extend(challenge);
        claims.extend([0x19, 0x09, 0x61, 0x59]);
        claims.extend(self.config_bytes.to_be_bytes());
        claims.extend((0..self.config_bytes).map(|_| 0xCF));

        let mut token = vec![0xD2, 0x84, 0x44, 0xA1, 0x01, 0x38, 0x22, 0xA0, 0x59];
        let bytes = u16::try_from(claims.len()).expect("a token of less than 64 KiB");
        token.extend(bytes.to_be_bytes());
        token.extend(claims);
        token.extend([0x58, 0x60]);
        token.extend([0x51; 96]);
        token
    }
}

impl AttestationSource for FakePlatform {
    fn realm_key(&mut self, key: &mut [u8; REALM_KEY_BYTES]) -> Result<(), AttestationError> {
        *key = REALM_KEY;
        Ok(())
    }

    fn platform_token(
        &mut self,
        challenge: &[u8; PLATFORM_CHALLENGE_BYTES],
        into: &mut [u8],
    ) -> Result<usize, AttestationError> {
        let token = self.token(challenge);
        let room = into.get_mut(..token.len());
        room.ok_or(AttestationError::NoRoom)?
            .copy_from_slice(&token);
        Ok(token.len())
    }
}
