// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The CCA attestation token (RMM specification, A7.2): what it says and how it is written.
//!
//! ```text
//! #6.399({
//!     44234: bstr .cbor COSE_Sign1        ; platform token
//!     44241: bstr .cbor COSE_Sign1<{      ; Realm token
//!         10: challenge, 44235: personalization value, 44237: public key, 44236: hash algorithm,
//!         44240: hash algorithm of the public key, 265: profile, 44238: RIM, 44239: [4 REMs]
//!     }>
//! })
//! ```
//!
//! The specification orders neither the map of claims nor the headers; both are as the reference
//! implementation writes them, which is what verifiers have seen.

use minicbor::Encoder;
use minicbor::data::Tag;
use minicbor::encode::Write;
use rmi::HashAlgorithm;
use rmi::realm_params::RPV_BYTES;
use rmi::rsi::CHALLENGE_BYTES;
use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::attest::cbor::{Encoded, length, sign1, sign1_digest, window};
use crate::attest::root::Attestation;
use crate::attest::sign::{SCALAR_BYTES, SIGNATURE_BYTES};
use crate::measure::Measurement;
use crate::realm::Rd;

/// The tag of a CCA token, and the keys of its map.
const CCA_TOKEN: u64 = 399;
const PLATFORM_TOKEN: u32 = 44234;
const REALM_TOKEN: u32 = 44241;

/// Keys of the claims of a Realm.
const CHALLENGE: u32 = 10;
const PROFILE: u32 = 265;
const PERSONALIZATION_VALUE: u32 = 44235;
const HASH_ALGORITHM: u32 = 44236;
const PUBLIC_KEY: u32 = 44237;
const INITIAL_MEASUREMENT: u32 = 44238;
const EXTENSIBLE_MEASUREMENTS: u32 = 44239;
const PUBLIC_KEY_HASH_ALGORITHM: u32 = 44240;
const CLAIMS: u64 = 8;

const REALM_PROFILE: &str = "tag:arm.com,2023:realm#1.0.0";
/// Names of algorithms in the IANA registry of named hash algorithms.
const SHA_256: &str = "sha-256";
const SHA_512: &str = "sha-512";

/// The measurements that a Realm extends.
const REMS: usize = 4;

/// What a Realm claims: its own state at the time of `RSI_ATTESTATION_TOKEN_INIT`, and a challenge.
///
/// The specification does not say which time; with this one, all of a token is about the same.
#[derive(Clone, Debug, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Claims {
    challenge: [u8; CHALLENGE_BYTES],
    personalization_value: [u8; RPV_BYTES],
    initial: Measurement,
    extensible: [Measurement; REMS],
    is_sha512: u64,
}

impl Claims {
    /// Returns the claims of the Realm with this descriptor.
    pub(crate) fn new(challenge: [u8; CHALLENGE_BYTES], rd: &Rd) -> Self {
        let [initial, extensible @ ..] = rd.measurements();
        Self {
            challenge,
            personalization_value: *rd.rpv(),
            initial: *initial,
            extensible: *extensible,
            is_sha512: u64::from(rd.hash_algo() == HashAlgorithm::Sha512),
        }
    }

    fn algorithm(&self) -> HashAlgorithm {
        if self.is_sha512 == 0 {
            HashAlgorithm::Sha256
        } else {
            HashAlgorithm::Sha512
        }
    }

    fn encode<W: Write>(&self, to: &mut Encoder<W>, public_key: &[u8]) -> Encoded<W> {
        let algorithm = self.algorithm();
        to.map(CLAIMS)?;
        to.u32(CHALLENGE)?.bytes(&self.challenge)?;
        to.u32(PERSONALIZATION_VALUE)?
            .bytes(&self.personalization_value)?;
        to.u32(PUBLIC_KEY)?.bytes(public_key)?;
        to.u32(HASH_ALGORITHM)?.str(match algorithm {
            HashAlgorithm::Sha256 => SHA_256,
            HashAlgorithm::Sha512 => SHA_512,
        })?;
        to.u32(PUBLIC_KEY_HASH_ALGORITHM)?.str(SHA_256)?;
        to.u32(PROFILE)?.str(REALM_PROFILE)?;
        to.u32(INITIAL_MEASUREMENT)?
            .bytes(self.initial.digest(algorithm))?;
        to.u32(EXTENSIBLE_MEASUREMENTS)?;
        to.array(wide(REMS))?;
        for measurement in &self.extensible {
            to.bytes(measurement.digest(algorithm))?;
        }
        Ok(())
    }

    /// Returns the digest that the signature of a Realm token is about.
    pub(crate) fn digest(&self, attestation: &Attestation<'_>) -> [u8; SCALAR_BYTES] {
        let public_key = attestation.public_key();
        let bytes = length(|to| self.encode(to, public_key));
        sign1_digest(wide(bytes), |to| self.encode(to, public_key))
    }
}

/// A token of one Realm.
pub(crate) struct Token<'a> {
    /// The key and the platform token.
    pub(crate) attestation: &'a Attestation<'a>,
    /// The claims.
    pub(crate) claims: &'a Claims,
    /// The signature of the claims.
    pub(crate) signature: &'a [u8; SIGNATURE_BYTES],
}

impl Token<'_> {
    /// Returns the length of the token in bytes, which the signature's value has no part in.
    pub(crate) fn length(&self) -> usize {
        length(|to| self.encode(to))
    }

    /// Writes the token's bytes from `position` on to `into`; what does not fit is left out.
    pub(crate) fn copy(&self, position: usize, into: &mut [u8]) {
        window(position, into, |to| self.encode(to));
    }

    fn encode<W: Write>(&self, to: &mut Encoder<W>) -> Encoded<W> {
        let realm_bytes = length(|to| self.encode_realm(to));
        to.tag(Tag::new(CCA_TOKEN))?.map(2)?;
        to.u32(PLATFORM_TOKEN)?
            .bytes(self.attestation.platform_token())?;
        to.u32(REALM_TOKEN)?.bytes_len(wide(realm_bytes))?;
        self.encode_realm(to)
    }

    fn encode_realm<W: Write>(&self, to: &mut Encoder<W>) -> Encoded<W> {
        let public_key = self.attestation.public_key();
        let claims = length(|to| self.claims.encode(to, public_key));
        sign1(
            to,
            wide(claims),
            |to| self.claims.encode(to, public_key),
            self.signature,
        )
    }
}

fn wide(bytes: usize) -> u64 {
    u64::try_from(bytes).expect("a length has at most 64 bits")
}

#[cfg(test)]
mod tests;
