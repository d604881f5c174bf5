// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! COSE structures (RFC 9052) in CBOR, and where the encoding goes.
//!
//! No encoding is ever held as a whole: it is counted, digested, or a window of it is kept.

use core::convert::Infallible;

use minicbor::Encoder;
use minicbor::data::Tag;
use minicbor::encode::{Error, Write};
use sha2::{Digest, Sha384};

use crate::attest::sign::SCALAR_BYTES;

/// What an encoder returns; the sinks below never fail.
pub(super) type Encoded<W> = Result<(), Error<<W as Write>::Error>>;

/// The protected header of every signature here: algorithm (1) is ES384 (-35).
const PROTECTED: [u8; 4] = [0xA1, 0x01, 0x38, 0x22];

/// The tag of a `COSE_Sign1` (RFC 9052, section 4.2).
const SIGN1: u64 = 18;

/// Bytes of a [`cose_key`].
pub(super) const COSE_KEY_BYTES: usize = 107;

/// Returns a public key of P-384 as a `COSE_Key` (RFC 9053, section 7.1.1): key type (1) EC2 (2), curve
/// (-1) P-384 (2), coordinates (-2 and -3).
///
/// Verifiers and platforms take a digest of exactly these bytes, so there is nothing else in it.
pub(super) fn cose_key(x: &[u8; SCALAR_BYTES], y: &[u8; SCALAR_BYTES]) -> [u8; COSE_KEY_BYTES] {
    let mut key = [0; COSE_KEY_BYTES];
    window(0, &mut key, |to| {
        to.map(4)?.u8(1)?.u8(2)?.i8(-1)?.u8(2)?;
        to.i8(-2)?.bytes(x)?.i8(-3)?.bytes(y)?;
        Ok(())
    });
    key
}

/// Why an encoding cannot fail.
const SINKS: &str = "the sinks take everything";

/// Writes a `COSE_Sign1` around a payload of which `payload_bytes` is the length.
pub(super) fn sign1<W: Write>(
    to: &mut Encoder<W>,
    payload_bytes: u64,
    payload: impl FnOnce(&mut Encoder<W>) -> Encoded<W>,
    signature: &[u8],
) -> Encoded<W> {
    to.tag(Tag::new(SIGN1))?.array(4)?;
    to.bytes(&PROTECTED)?.map(0)?;
    to.bytes_len(payload_bytes)?;
    payload(to)?;
    to.bytes(signature)?;
    Ok(())
}

/// Returns the digest that the signature of a [`sign1`] is about: that of its `Sig_structure`
/// (RFC 9052, section 4.4), without external data.
pub(super) fn sign1_digest(
    payload_bytes: u64,
    payload: impl FnOnce(&mut Encoder<Hasher>) -> Encoded<Hasher>,
) -> [u8; SCALAR_BYTES] {
    let mut to = Encoder::new(Hasher(Sha384::new()));
    let structure = |to: &mut Encoder<Hasher>| {
        to.array(4)?.str("Signature1")?;
        to.bytes(&PROTECTED)?.bytes(&[])?;
        to.bytes_len(payload_bytes)?;
        payload(to)
    };
    structure(&mut to).expect(SINKS);
    to.into_writer().0.finalize().into()
}

/// Returns the length of an encoding in bytes.
pub(super) fn length(encode: impl FnOnce(&mut Encoder<Counter>) -> Encoded<Counter>) -> usize {
    let mut to = Encoder::new(Counter(0));
    encode(&mut to).expect(SINKS);
    to.into_writer().0
}

/// Writes the bytes of an encoding from `skip` on to `into`; what does not fit is dropped.
pub(super) fn window<'w>(
    skip: usize,
    into: &'w mut [u8],
    encode: impl FnOnce(&mut Encoder<Window<'w>>) -> Encoded<Window<'w>>,
) {
    encode(&mut Encoder::new(Window::new(skip, into))).expect(SINKS);
}

/// Counts bytes.
pub(super) struct Counter(usize);

impl Write for Counter {
    type Error = Infallible;

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        self.0 += bytes.len();
        Ok(())
    }
}

/// Digests bytes.
pub(super) struct Hasher(Sha384);

impl Write for Hasher {
    type Error = Infallible;

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        self.0.update(bytes);
        Ok(())
    }
}

/// Keeps some of the bytes.
pub(super) struct Window<'w> {
    /// Bytes that come before the window.
    skip: usize,
    /// The part of the window that is not filled.
    free: &'w mut [u8],
}

impl<'w> Window<'w> {
    fn new(skip: usize, free: &'w mut [u8]) -> Self {
        Self { skip, free }
    }
}

impl Write for Window<'_> {
    type Error = Infallible;

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        let (_, bytes) = bytes.split_at(skipped);
        let kept = bytes.len().min(self.free.len());
        let (bytes, _) = bytes.split_at(kept);
        let (filled, free) = core::mem::take(&mut self.free).split_at_mut(kept);
        filled.copy_from_slice(bytes);
        self.free = free;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec;
    use std::vec::Vec;

    use super::*;

    #[test]
    fn cose_key_is_what_platforms_take_the_digest_of() {
        let key = cose_key(&[0x11; 48], &[0x22; 48]);
        let mut expected = vec![0xA4, 0x01, 0x02, 0x20, 0x02, 0x21, 0x58, 0x30];
        expected.extend([0x11; 48]);
        expected.extend([0x22, 0x58, 0x30]);
        expected.extend([0x22; 48]);
        assert_eq!(key.to_vec(), expected);
    }

    fn abc<W: Write>(to: &mut Encoder<W>) -> Encoded<W> {
        to.str("abc")?;
        Ok(())
    }

    #[test]
    fn sign1_bytes() {
        let mut bytes = [0xEE; 18];
        window(0, &mut bytes, |to| sign1(to, 4, abc, &[7, 8]));
        let expected = [
            0xD2, 0x84, 0x44, 0xA1, 0x01, 0x38, 0x22, 0xA0, 0x44, 0x63, b'a', b'b', b'c', 0x42, 7,
            8, 0xEE, 0xEE,
        ];
        assert_eq!(bytes, expected);
        assert_eq!(length(|to| sign1(to, 4, abc, &[7, 8])), 16);
    }

    #[test]
    fn sign1_digest_is_of_the_sig_structure() {
        let mut structure = vec![0x84, 0x6A];
        structure.extend(b"Signature1");
        structure.extend([0x44, 0xA1, 0x01, 0x38, 0x22, 0x40, 0x44, 0x63]);
        structure.extend(b"abc");
        let expected: [u8; 48] = Sha384::digest(&structure).into();
        assert_eq!(sign1_digest(4, abc), expected);
    }

    #[test]
    fn windows_of_an_encoding() {
        let whole: Vec<u8> = [&[0x83_u8][..], &[0x63], b"abc", &[0x01], &[0x42, 8, 9]].concat();
        for skip in 0..=whole.len() + 1 {
            for size in 0..=whole.len() + 1 {
                let mut bytes = vec![0xEE; size];
                window(skip, &mut bytes, |to| {
                    to.array(3)?.str("abc")?.u8(1)?.bytes(&[8, 9])?;
                    Ok(())
                });
                let mut expected: Vec<u8> = whole.iter().copied().skip(skip).take(size).collect();
                expected.resize(size, 0xEE);
                assert_eq!(bytes, expected, "{size} bytes from {skip} on");
            }
        }
    }
}
