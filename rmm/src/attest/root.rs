// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the monitor itself proves its Realms with.

use core::fmt;

use p384::SecretKey;
use p384::elliptic_curve::point::AffineCoordinates;
use p384::elliptic_curve::zeroize::Zeroizing;
use rmm_hal::{AttestationError, AttestationSource, REALM_KEY_BYTES};
use sha2::{Digest, Sha256};

use crate::attest::cbor::{COSE_KEY_BYTES, cose_key};
use crate::attest::sign::Comb;

/// Why no Realm of this monitor can prove anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAttestation {
    /// The platform gave no key.
    Key(AttestationError),
    /// The key is not a private key of P-384.
    WrongKey,
    /// The platform gave no token.
    Token(AttestationError),
}

impl fmt::Display for NoAttestation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(error) => write!(f, "no realm attestation key: {error:?}"),
            Self::WrongKey => f.write_str("the realm attestation key is none of P-384"),
            Self::Token(error) => write!(f, "no platform token: {error:?}"),
        }
    }
}

/// The realm attestation key, and the platform's token about it.
pub struct Attestation<'m> {
    key: SecretKey,
    public_key: [u8; COSE_KEY_BYTES],
    comb: &'m Comb,
    platform_token: &'m [u8],
}

impl<'m> Attestation<'m> {
    /// Asks the platform for key and token. The token stays in `room`, which is to hold the longest.
    ///
    /// # Errors
    ///
    /// [`NoAttestation`].
    pub fn obtain(
        source: &mut impl AttestationSource,
        comb: &'m Comb,
        room: &'m mut [u8],
    ) -> Result<Self, NoAttestation> {
        let mut bytes = Zeroizing::new([0; REALM_KEY_BYTES]);
        source.realm_key(&mut bytes).map_err(NoAttestation::Key)?;
        let key = SecretKey::from_slice(&*bytes).map_err(|_| NoAttestation::WrongKey)?;
        let public = *key.public_key().as_affine();
        let public_key = cose_key(&public.x().into(), &public.y().into());
        let challenge = Sha256::digest(public_key).into();
        let length = source
            .platform_token(&challenge, room)
            .map_err(NoAttestation::Token)?;
        let platform_token = room
            .get(..length)
            .ok_or(NoAttestation::Token(AttestationError::NoRoom))?;
        Ok(Self {
            key,
            public_key,
            comb,
            platform_token,
        })
    }

    pub(super) fn key(&self) -> &SecretKey {
        &self.key
    }

    pub(super) fn comb(&self) -> &'m Comb {
        self.comb
    }

    /// Returns the public key as a `COSE_Key`.
    pub(super) fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    pub(super) fn platform_token(&self) -> &'m [u8] {
        self.platform_token
    }
}

impl fmt::Debug for Attestation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attestation").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec;

    use rmm_fake::{FakePlatform, REALM_KEY};
    use rmm_hal::PLATFORM_CHALLENGE_BYTES;

    use super::*;

    /// A platform with this key that notes the challenge.
    struct Platform {
        key: Result<[u8; 48], AttestationError>,
        challenge: [u8; 32],
        token: Result<usize, AttestationError>,
    }

    impl AttestationSource for Platform {
        fn realm_key(&mut self, key: &mut [u8; 48]) -> Result<(), AttestationError> {
            *key = self.key?;
            Ok(())
        }

        fn platform_token(
            &mut self,
            challenge: &[u8; PLATFORM_CHALLENGE_BYTES],
            _: &mut [u8],
        ) -> Result<usize, AttestationError> {
            self.challenge = *challenge;
            self.token
        }
    }

    fn obtain(platform: &mut Platform) -> Result<(), NoAttestation> {
        let comb = Comb::new();
        Attestation::obtain(platform, &comb, &mut [0; 8]).map(|_| ())
    }

    #[test]
    fn challenge_is_the_digest_of_the_public_key() {
        // The public key that RFC 6979, section A.2.6, lists.
        let public = [
            0xEC, 0x3A, 0x4E, 0x41, 0x5B, 0x4E, 0x19, 0xA4, 0x56, 0x86, 0x18, 0x02, 0x9F, 0x42,
            0x7F, 0xA5, 0xDA, 0x9A, 0x8B, 0xC4, 0xAE, 0x92, 0xE0, 0x2E, 0x06, 0xAA, 0xE5, 0x28,
            0x6B, 0x30, 0x0C, 0x64, 0xDE, 0xF8, 0xF0, 0xEA, 0x90, 0x55, 0x86, 0x60, 0x64, 0xA2,
            0x54, 0x51, 0x54, 0x80, 0xBC, 0x13, 0x80, 0x15, 0xD9, 0xB7, 0x2D, 0x7D, 0x57, 0x24,
            0x4E, 0xA8, 0xEF, 0x9A, 0xC0, 0xC6, 0x21, 0x89, 0x67, 0x08, 0xA5, 0x93, 0x67, 0xF9,
            0xDF, 0xB9, 0xF5, 0x4C, 0xA8, 0x4B, 0x3F, 0x1C, 0x9D, 0xB1, 0x28, 0x8B, 0x23, 0x1C,
            0x3A, 0xE0, 0xD4, 0xFE, 0x73, 0x44, 0xFD, 0x25, 0x33, 0x26, 0x47, 0x20,
        ];
        let (x, y) = public.split_at(48);
        let mut cose = vec![0xA4, 0x01, 0x02, 0x20, 0x02, 0x21, 0x58, 0x30];
        cose.extend(x);
        cose.extend([0x22, 0x58, 0x30]);
        cose.extend(y);
        let mut platform = Platform {
            key: Ok(REALM_KEY),
            challenge: [0; 32],
            token: Ok(8),
        };
        assert_eq!(obtain(&mut platform), Ok(()));
        let digest: [u8; 32] = Sha256::digest(&cose).into();
        assert_eq!(platform.challenge, digest);
    }

    #[test]
    fn token_is_what_the_platform_wrote() {
        let comb = Comb::new();
        let mut room = [0; 4096];
        let mut platform = FakePlatform { config_bytes: 7 };
        let attestation = Attestation::obtain(&mut platform, &comb, &mut room).unwrap();
        let challenge = Sha256::digest(attestation.public_key()).into();
        assert_eq!(attestation.platform_token(), platform.token(&challenge));
    }

    #[test]
    fn platform_failures() {
        let order = p384::Scalar::from(0_u64) - p384::Scalar::from(1_u64);
        let mut beyond: [u8; 48] = order.to_bytes().into();
        beyond[47] += 1;
        let refused = AttestationError::Refused(-1);
        for (key, token, error) in [
            (Err(refused), Ok(8), NoAttestation::Key(refused)),
            (Ok([0; 48]), Ok(8), NoAttestation::WrongKey),
            (Ok([0xFF; 48]), Ok(8), NoAttestation::WrongKey),
            (Ok(beyond), Ok(8), NoAttestation::WrongKey),
            (Ok(REALM_KEY), Err(refused), NoAttestation::Token(refused)),
            (
                Ok(REALM_KEY),
                Ok(9),
                NoAttestation::Token(AttestationError::NoRoom),
            ),
        ] {
            let mut platform = Platform {
                key,
                challenge: [0; 32],
                token,
            };
            assert_eq!(obtain(&mut platform), Err(error));
        }
    }
}
