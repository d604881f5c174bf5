// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

extern crate std;

use std::vec;
use std::vec::Vec;

use p384::ecdsa::SigningKey;
use p384::ecdsa::signature::hazmat::PrehashSigner;

use super::*;

fn bytes(of: &[u8]) -> Vec<u8> {
    let length = u16::try_from(of.len()).unwrap().to_be_bytes();
    [&[0x59], &length[..], of].concat()
}

fn key() -> SigningKey {
    SigningKey::from_slice(&[0x17; 48]).unwrap()
}

fn cose_key() -> Vec<u8> {
    let point = key().verifying_key().to_sec1_point(false);
    let (x, y) = point.as_bytes()[1..].split_at(48);
    [
        &[0xA4, 0x01, 0x02, 0x20, 0x02, 0x21, 0x58, 0x30],
        x,
        &[0x22, 0x58, 0x30],
        y,
    ]
    .concat()
}

/// The claims of a Realm, each with its key, in the order of their keys.
fn claims() -> Vec<Vec<u8>> {
    let rems: Vec<u8> = (1..=4_u8)
        .flat_map(|n| [&[0x58, 0x20], &[n; 32][..]].concat())
        .collect();
    vec![
        [&[0x0A, 0x58, 0x40], &[0xC0; 64][..]].concat(),
        [&[0x19, 0xAC, 0xCB, 0x58, 0x40], &[0xB0; 64][..]].concat(),
        [&[0x19, 0xAC, 0xCC, 0x67], &b"sha-256"[..]].concat(),
        [&[0x19, 0xAC, 0xCD], &bytes(&cose_key())[..]].concat(),
        [&[0x19, 0xAC, 0xCE, 0x58, 0x20], &[0xA0; 32][..]].concat(),
        [&[0x19, 0xAC, 0xCF, 0x84], &rems[..]].concat(),
        [&[0x19, 0xAC, 0xD0, 0x67], &b"sha-256"[..]].concat(),
    ]
}

fn map(claims: &[Vec<u8>]) -> Vec<u8> {
    let count = u8::try_from(claims.len()).unwrap();
    [&[0xA0 + count], &claims.concat()[..]].concat()
}

fn sign1(payload: &[u8], signature: &[u8]) -> Vec<u8> {
    let header = [0xD2, 0x84, 0x44, 0xA1, 0x01, 0x38, 0x22, 0xA0];
    [&header, &bytes(payload)[..], &[0x58, 0x60], signature].concat()
}

fn realm_token(claims: &[Vec<u8>]) -> Vec<u8> {
    let payload = map(claims);
    let structure = [
        &b"\x84\x6ASignature1\x44\xA1\x01\x38\x22\x40"[..],
        &bytes(&payload),
    ]
    .concat();
    let signature: Signature = key().sign_prehash(&Sha384::digest(&structure)).unwrap();
    sign1(&payload, &signature.to_bytes())
}

fn platform_token(challenge: &[u8]) -> Vec<u8> {
    // A claim that is an array of maps, as the software components are.
    let other = vec![0x19, 0x09, 0x5F, 0x81, 0xA1, 0x01, 0x61, b'x'];
    let challenge = [&[0x0A, 0x58, 0x20], challenge].concat();
    sign1(&map(&[other, challenge]), &[0; 96])
}

fn token(platform: &[u8], realm: &[u8]) -> Vec<u8> {
    [
        &[0xD9, 0x01, 0x8F, 0xA2, 0x19, 0xAC, 0xCA],
        &bytes(platform)[..],
        &[0x19, 0xAC, 0xD1],
        &bytes(realm),
    ]
    .concat()
}

fn binding() -> Vec<u8> {
    platform_token(&Sha256::digest(cose_key()))
}

#[test]
fn good_token_says_what_is_in_it() {
    let token = token(&binding(), &realm_token(&claims()));
    let claims = verify(&token).unwrap();
    assert_eq!(claims.challenge, [0xC0; 64]);
    assert_eq!(claims.personalization_value, [0xB0; 64]);
    assert_eq!(claims.hash_algorithm, "sha-256");
    assert_eq!(claims.public_key, cose_key());
    assert_eq!(claims.initial, [0xA0; 32]);
    let rems = claims.extensible.map(|rem| rem[31]);
    assert_eq!(rems, [1, 2, 3, 4]);
}

#[test]
fn profile_may_be_named() {
    let profile = |name: &[u8]| {
        let length = u8::try_from(name.len()).unwrap();
        let claim = [&[0x19, 0x01, 0x09, 0x78, length], name].concat();
        let mut claims = claims();
        claims.push(claim);
        token(&binding(), &realm_token(&claims))
    };
    assert!(verify(&profile(b"tag:arm.com,2023:realm#1.0.0")).is_ok());
    assert!(verify(&profile(b"tag:arm.com,2023:realm#2.0.0")).is_err());
}

#[test]
fn no_byte_of_the_realms_half_may_change() {
    let good = token(&binding(), &realm_token(&claims()));
    let realm_at = good.len() - realm_token(&claims()).len();
    for at in (0..7).chain((realm_at - 6..good.len()).step_by(11)) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert!(verify(&bad).is_err(), "byte {at}");
    }
    for length in [0, 1, realm_at, good.len() - 1] {
        assert!(verify(&good[..length]).is_err(), "{length} bytes");
    }
    let longer = [&good[..], &[0]].concat();
    assert_eq!(verify(&longer), Err(Flaw("bytes behind the token")));
}

#[test]
fn platform_must_vouch_for_the_key() {
    let realm = realm_token(&claims());
    let other = token(&platform_token(&[7; 32]), &realm);
    assert_eq!(
        verify(&other),
        Err(Flaw("the platform vouches for another key"))
    );
    let silent = sign1(&map(&[vec![0x19, 0x09, 0x61, 0x41, 1]]), &[0; 96]);
    assert_eq!(
        verify(&token(&silent, &realm)),
        Err(Flaw("the platform answers no challenge"))
    );
}

#[test]
fn claims_are_there_once_each() {
    for n in 0..claims().len() {
        let mut less = claims();
        less.remove(n);
        let less = token(&binding(), &realm_token(&less));
        assert_eq!(verify(&less), Err(Flaw("a claim is missing")), "{n}");
        let mut twice = claims();
        twice.push(twice[n].clone());
        let twice = token(&binding(), &realm_token(&twice));
        assert_eq!(verify(&twice), Err(Flaw("a claim is there twice")), "{n}");
    }
    let mut stranger = claims();
    stranger.push(vec![0x0B, 0x40]);
    assert!(verify(&token(&binding(), &realm_token(&stranger))).is_err());
}

#[test]
fn lengths_are_those_of_the_algorithm() {
    for (n, claim) in [
        (0, [&[0x0A, 0x58, 0x3F], &[0xC0; 63][..]].concat()),
        (2, [&[0x19, 0xAC, 0xCC, 0x67], &b"sha-512"[..]].concat()),
        (2, [&[0x19, 0xAC, 0xCC, 0x67], &b"sha-384"[..]].concat()),
        (
            4,
            [&[0x19, 0xAC, 0xCE, 0x58, 0x40], &[0xA0; 64][..]].concat(),
        ),
        (6, [&[0x19, 0xAC, 0xD0, 0x67], &b"sha-512"[..]].concat()),
    ] {
        let mut claims = claims();
        claims[n] = claim;
        let bad = token(&binding(), &realm_token(&claims));
        assert!(verify(&bad).is_err(), "claim {n}");
    }
}
