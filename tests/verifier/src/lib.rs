// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What a relying party makes of an attestation token.
//!
//! Written from the specification (RMM specification, A7.2; RFC 9052), apart from what the monitor does.

#![no_std]
#![forbid(unsafe_code)]

use core::fmt;

use minicbor::Decoder;
use minicbor::data::{Tag, Type};
use p384::ecdsa::signature::hazmat::PrehashVerifier;
use p384::ecdsa::{Signature, VerifyingKey};
use sha2::{Digest, Sha256, Sha384};

/// The measurements that a Realm extends.
pub const REMS: usize = 4;
/// Bytes of a challenge and of a personalization value.
pub const CHALLENGE_BYTES: usize = 64;

/// What is wrong with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flaw(pub &'static str);

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

type Checked<T> = Result<T, Flaw>;

/// What a Realm claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RealmClaims<'t> {
    /// The challenge it was given.
    pub challenge: &'t [u8],
    /// The Realm personalization value.
    pub personalization_value: &'t [u8],
    /// The algorithm of the measurements.
    pub hash_algorithm: &'t str,
    /// The Realm attestation key as a `COSE_Key`.
    pub public_key: &'t [u8],
    /// The Realm initial measurement.
    pub initial: &'t [u8],
    /// The Realm extensible measurements.
    pub extensible: [&'t [u8]; REMS],
}

/// Takes a token apart and checks that its two halves belong together and that the Realm's is signed.
///
/// # Errors
///
/// The first [`Flaw`].
pub fn verify(token: &[u8]) -> Checked<RealmClaims<'_>> {
    let (platform, realm) = split(token)?;
    let platform = Sign1::parse(platform)?;
    let realm = Sign1::parse(realm)?;
    let claims = realm_claims(realm.payload)?;
    require(
        platform_challenge(platform.payload)? == Sha256::digest(claims.public_key).as_slice(),
        "the platform vouches for another key",
    )?;
    let key = verifying_key(claims.public_key)?;
    let signature = Signature::from_slice(realm.signature).map_err(|_| Flaw("not a signature"))?;
    key.verify_prehash(&realm.digest(), &signature)
        .map_err(|_| Flaw("the signature is not that of the key"))?;
    Ok(claims)
}

fn require(condition: bool, flaw: &'static str) -> Checked<()> {
    if condition { Ok(()) } else { Err(Flaw(flaw)) }
}

/// Requires that a part is read to its end.
fn require_end(decoder: &Decoder<'_>, flaw: &'static str) -> Checked<()> {
    require(decoder.position() == decoder.input().len(), flaw)
}

/// Returns the platform token and the Realm token.
fn split(token: &[u8]) -> Checked<(&[u8], &[u8])> {
    let flaw = |_| Flaw("not a map of two tokens");
    let mut decoder = Decoder::new(token);
    require(
        decoder.tag().ok() == Some(Tag::new(399)),
        "not tagged as a CCA token",
    )?;
    require(decoder.map().ok() == Some(Some(2)), "not a map of two")?;
    require(decoder.u32().ok() == Some(44234), "no platform token")?;
    let platform = decoder.bytes().map_err(flaw)?;
    require(decoder.u32().ok() == Some(44241), "no Realm token")?;
    let realm = decoder.bytes().map_err(flaw)?;
    require_end(&decoder, "bytes behind the token")?;
    Ok((platform, realm))
}

/// A `COSE_Sign1`.
struct Sign1<'t> {
    protected: &'t [u8],
    payload: &'t [u8],
    signature: &'t [u8],
}

impl<'t> Sign1<'t> {
    fn parse(bytes: &'t [u8]) -> Checked<Self> {
        let flaw = |_| Flaw("not a COSE_Sign1");
        let mut decoder = Decoder::new(bytes);
        require(
            decoder.tag().ok() == Some(Tag::new(18)),
            "not tagged COSE_Sign1",
        )?;
        require(
            decoder.array().ok() == Some(Some(4)),
            "not an array of four",
        )?;
        let protected = decoder.bytes().map_err(flaw)?;
        let mut header = Decoder::new(protected);
        require(
            header.map().ok() == Some(Some(1))
                && header.u8().ok() == Some(1)
                && header.i8().ok() == Some(-35),
            "not signed by ES384",
        )?;
        require_end(&header, "more than an algorithm in the header")?;
        require(
            decoder.datatype().ok() == Some(Type::Map),
            "no second header",
        )?;
        decoder.skip().map_err(flaw)?;
        let payload = decoder.bytes().map_err(flaw)?;
        let signature = decoder.bytes().map_err(flaw)?;
        require_end(&decoder, "bytes behind a COSE_Sign1")?;
        Ok(Self {
            protected,
            payload,
            signature,
        })
    }

    /// Returns the digest of the `Sig_structure`.
    fn digest(&self) -> [u8; 48] {
        let mut hasher = Sha384::new();
        hasher.update(b"\x84\x6ASignature1");
        update_bytes(&mut hasher, self.protected);
        update_bytes(&mut hasher, &[]);
        update_bytes(&mut hasher, self.payload);
        hasher.finalize().into()
    }
}

/// Digests a byte string of less than 64 KiB as CBOR has it.
fn update_bytes(hasher: &mut Sha384, bytes: &[u8]) {
    let [.., high, low] = bytes.len().to_be_bytes();
    match (bytes.len(), high) {
        (0..24, _) => hasher.update([0x40 | low]),
        (_, 0) => hasher.update([0x58, low]),
        _ => hasher.update([0x59, high, low]),
    }
    hasher.update(bytes);
}

/// Returns the challenge that the platform's claims answer.
fn platform_challenge(payload: &[u8]) -> Checked<&[u8]> {
    let flaw = |_| Flaw("the platform's claims are no map");
    let mut decoder = Decoder::new(payload);
    let count = decoder.map().map_err(flaw)?;
    let mut challenge = None;
    for _ in 0..count.ok_or(Flaw("a map without a length"))? {
        if decoder.u32().map_err(flaw)? == 10 {
            challenge = Some(decoder.bytes().map_err(flaw)?);
        } else {
            decoder.skip().map_err(flaw)?;
        }
    }
    require_end(&decoder, "bytes behind the platform's claims")?;
    challenge.ok_or(Flaw("the platform answers no challenge"))
}

/// Reads the claims of a Realm: each of those that must be there once, and no stranger.
fn realm_claims(payload: &[u8]) -> Checked<RealmClaims<'_>> {
    let flaw = |_| Flaw("a claim of another type");
    let missing = Flaw("a claim is missing");
    let mut decoder = Decoder::new(payload);
    let count = decoder
        .map()
        .map_err(|_| Flaw("the Realm's claims are no map"))?;
    let (mut challenge, mut value, mut public_key) = (None, None, None);
    let (mut algorithm, mut key_algorithm, mut profile) = (None, None, None);
    let (mut initial, mut extensible) = (None, None);
    for _ in 0..count.ok_or(Flaw("a map without a length"))? {
        let key = decoder.u32().map_err(flaw)?;
        let is_new = match key {
            10 => challenge.replace(decoder.bytes().map_err(flaw)?).is_none(),
            44235 => value.replace(decoder.bytes().map_err(flaw)?).is_none(),
            44236 => algorithm.replace(decoder.str().map_err(flaw)?).is_none(),
            44237 => public_key.replace(decoder.bytes().map_err(flaw)?).is_none(),
            44238 => initial.replace(decoder.bytes().map_err(flaw)?).is_none(),
            44239 => extensible.replace(rems(&mut decoder)?).is_none(),
            44240 => key_algorithm
                .replace(decoder.str().map_err(flaw)?)
                .is_none(),
            265 => profile.replace(decoder.str().map_err(flaw)?).is_none(),
            _ => return Err(Flaw("a claim that is none of a Realm")),
        };
        require(is_new, "a claim is there twice")?;
    }
    require_end(&decoder, "bytes behind the Realm's claims")?;
    let claims = RealmClaims {
        challenge: challenge.ok_or(missing)?,
        personalization_value: value.ok_or(missing)?,
        hash_algorithm: algorithm.ok_or(missing)?,
        public_key: public_key.ok_or(missing)?,
        initial: initial.ok_or(missing)?,
        extensible: extensible.ok_or(missing)?,
    };
    require(
        key_algorithm.ok_or(missing)? == "sha-256",
        "the digest of the key is not SHA-256",
    )?;
    require(
        profile.is_none_or(|profile| profile == "tag:arm.com,2023:realm#1.0.0"),
        "an unknown profile",
    )?;
    check_lengths(&claims)?;
    Ok(claims)
}

fn rems<'t>(decoder: &mut Decoder<'t>) -> Checked<[&'t [u8]; REMS]> {
    require(
        decoder.array().ok() == Some(Some(REMS as u64)),
        "not four measurements",
    )?;
    let mut rems = [&[][..]; REMS];
    for rem in &mut rems {
        *rem = decoder
            .bytes()
            .map_err(|_| Flaw("a measurement is no byte string"))?;
    }
    Ok(rems)
}

fn check_lengths(claims: &RealmClaims<'_>) -> Checked<()> {
    let digest_bytes = match claims.hash_algorithm {
        "sha-256" => 32,
        "sha-512" => 64,
        _ => return Err(Flaw("an unknown hash algorithm")),
    };
    let is_digest = |value: &&[u8]| value.len() == digest_bytes;
    require(
        is_digest(&claims.initial) && claims.extensible.iter().all(is_digest),
        "a measurement of another length than its digest",
    )?;
    require(
        [claims.challenge, claims.personalization_value]
            .iter()
            .all(|value| value.len() == CHALLENGE_BYTES),
        "a challenge or value of another length than 64 bytes",
    )
}

/// Reads a `COSE_Key` of P-384.
fn verifying_key(cose_key: &[u8]) -> Checked<VerifyingKey> {
    let flaw = |_| Flaw("not a COSE_Key");
    let mut decoder = Decoder::new(cose_key);
    let (mut x, mut y) = (None, None);
    let count = decoder.map().map_err(flaw)?;
    for _ in 0..count.ok_or(Flaw("a map without a length"))? {
        match decoder.i8().map_err(flaw)? {
            1 => require(decoder.u8().ok() == Some(2), "not an elliptic curve key")?,
            -1 => require(decoder.u8().ok() == Some(2), "not a key of P-384")?,
            -2 => x = Some(decoder.bytes().map_err(flaw)?),
            -3 => y = Some(decoder.bytes().map_err(flaw)?),
            _ => decoder.skip().map_err(flaw)?,
        }
    }
    require_end(&decoder, "bytes behind the key")?;
    let mut point = [4; 97];
    for (part, coordinate) in point[1..].chunks_mut(48).zip([x, y]) {
        let coordinate = coordinate.filter(|bytes| bytes.len() == 48);
        part.copy_from_slice(coordinate.ok_or(Flaw("not the coordinates of a point"))?);
    }
    VerifyingKey::from_sec1_bytes(&point).map_err(|_| Flaw("not a point of the curve"))
}

#[cfg(test)]
mod tests;
