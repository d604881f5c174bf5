// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! ECDSA with P-384 and SHA-384 (FIPS 186-5, section 6.4.1), a slice at a time.
//!
//! A signature takes millions of instructions, nearly all of them for one multiplication of the curve's
//! base point, and an interrupt of the Host cannot wait that long. `p384` multiplies in one go, so
//! the multiplication is done here, with the crate's points: a comb of [`TEETH`] teeth, which reads one
//! bit of each 64-bit limb of the scalar at a time and adds the entry of a table that these bits select.
//! It takes a third of the instructions of the crate's own, too.
//!
//! Nothing here branches on a secret or uses one as an index, and the arithmetic of the crate does not
//! either. The nonce is that of RFC 6979, so that a signature never depends on randomness.

use core::fmt;

use p384::elliptic_curve::ops::{Double, Reduce};
use p384::elliptic_curve::point::AffineCoordinates;
use p384::elliptic_curve::subtle::{ConditionallySelectable, ConstantTimeEq};
use p384::elliptic_curve::{Curve, ff::PrimeField, zeroize::Zeroizing};
use p384::{AffinePoint, FieldBytes, NistP384, ProjectivePoint, Scalar, SecretKey};
use rfc6979::KGenerator;
use sha2::Sha384;
use zerocopy::{FromBytes, Immutable, KnownLayout};

/// Bytes of a scalar or a coordinate.
pub(crate) const SCALAR_BYTES: usize = 48;

/// Bytes of a signature: r, then s.
pub(crate) const SIGNATURE_BYTES: usize = 2 * SCALAR_BYTES;

/// Teeth of the comb: the limbs of a scalar.
const TEETH: usize = 6;

/// Bits between two teeth: those of a limb.
const COLUMNS: u64 = 64;

/// Columns between two looks for interrupts.
///
/// They are few enough for an interrupt, and enough bits of the nonce that no slice ends at the point at
/// infinity, which a single column often does and which would show by what is done with it.
const SLICE: u64 = 8;

/// The multiples of the base point that the comb selects from.
///
/// Entry `d` is the sum of `2^(64 n)` times the base point over the bits `n` of `d`.
pub struct Comb([ProjectivePoint; 1 << TEETH]);

impl Comb {
    /// Computes the table.
    #[must_use]
    pub fn new() -> Self {
        let mut table = [ProjectivePoint::IDENTITY; 1 << TEETH];
        let mut tooth = ProjectivePoint::GENERATOR;
        for n in 0..TEETH {
            let (without, with) = table.split_at_mut(1 << n);
            for (entry, rest) in with.iter_mut().zip(without) {
                *entry = *rest + tooth;
            }
            for _ in 0..COLUMNS {
                tooth = tooth.double();
            }
        }
        Self(table)
    }

    /// Returns entry `digit`, after looking at all of them.
    fn select(&self, digit: u64) -> ProjectivePoint {
        let mut selected = ProjectivePoint::IDENTITY;
        for (n, entry) in (0_u64..).zip(&self.0) {
            selected.conditional_assign(entry, n.ct_eq(&digit));
        }
        selected
    }
}

impl Default for Comb {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Comb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Comb").finish_non_exhaustive()
    }
}

/// Limbs of a scalar, the least significant first.
struct Limbs(Zeroizing<[u64; TEETH]>);

impl Limbs {
    fn of(scalar: &[u8; SCALAR_BYTES]) -> Self {
        let (words, _) = scalar.as_chunks::<8>();
        let mut limbs = Zeroizing::new([0; TEETH]);
        for (limb, word) in limbs.iter_mut().zip(words.iter().rev()) {
            *limb = u64::from_be_bytes(*word);
        }
        Self(limbs)
    }

    /// Returns bit `column` of each limb.
    fn digit(&self, column: u64) -> u64 {
        let bits = self.0.iter().map(|limb| limb >> column & 1);
        bits.zip(0..).fold(0, |digit, (bit, n)| digit | bit << n)
    }
}

/// A signature that is not finished. All zeroes is none.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Signing {
    digest: [u8; SCALAR_BYTES],
    nonce: [u8; SCALAR_BYTES],
    /// Coordinates of the sum so far, once there is one.
    x: [u8; SCALAR_BYTES],
    y: [u8; SCALAR_BYTES],
    /// Columns that are in the sum.
    columns: u64,
}

/// What came of a slice of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Advance {
    /// An interrupt is pending, and there is more to do.
    Interrupted,
    /// The signature is finished.
    Signed([u8; SIGNATURE_BYTES]),
    /// There is no signature with this nonce: luck of at most 2^-48, which nobody can bring about.
    Failed,
}

impl Signing {
    /// Begins to sign a message with this digest.
    pub(crate) fn begin(&mut self, key: &SecretKey, digest: &[u8; SCALAR_BYTES]) {
        self.digest = *digest;
        let order = NistP384::ORDER.get();
        let private = Zeroizing::new(key.to_bytes());
        KGenerator::<Sha384, _>::new(&private, digest, &[], &order).fill_next_k(&mut self.nonce);
        self.columns = 0;
    }

    /// Works on the signature until it is finished or, at the end of a slice, `is_interrupted`.
    pub(crate) fn advance(
        &mut self,
        key: &SecretKey,
        comb: &Comb,
        mut is_interrupted: impl FnMut() -> bool,
    ) -> Advance {
        let limbs = Limbs::of(&self.nonce);
        let Some(mut sum) = self.sum() else {
            return Advance::Failed;
        };
        while let Some(slice_end) = COLUMNS.checked_sub(self.columns + SLICE) {
            for column in (slice_end..COLUMNS - self.columns).rev() {
                sum = sum.double() + comb.select(limbs.digit(column));
            }
            self.columns += SLICE;
            if is_interrupted() {
                self.keep(&sum.to_affine());
                return Advance::Interrupted;
            }
        }
        let signature = self.finish(key, &sum.to_affine());
        self.wipe();
        signature.map_or(Advance::Failed, Advance::Signed)
    }

    /// Forgets everything.
    pub(crate) fn wipe(&mut self) {
        for part in [&mut self.digest, &mut self.nonce, &mut self.x, &mut self.y] {
            part.fill(0);
        }
        self.columns = 0;
    }

    /// Returns the sum so far; nothing if it was the point at infinity, which has no coordinates.
    fn sum(&self) -> Option<ProjectivePoint> {
        if self.columns == 0 {
            return Some(ProjectivePoint::IDENTITY);
        }
        let point = AffinePoint::from_coordinates(&self.x.into(), &self.y.into());
        Option::<AffinePoint>::from(point).map(ProjectivePoint::from)
    }

    fn keep(&mut self, sum: &AffinePoint) {
        self.x = sum.x().into();
        self.y = sum.y().into();
    }

    /// Computes the signature from the nonce's multiple of the base point.
    fn finish(&self, key: &SecretKey, multiple: &AffinePoint) -> Option<[u8; SIGNATURE_BYTES]> {
        let nonce: Option<Scalar> = Scalar::from_repr(self.nonce.into()).into();
        let inverse: Option<Scalar> = nonce?.invert().into();
        let r = Scalar::reduce(&multiple.x());
        let z = Scalar::reduce(&FieldBytes::from(self.digest));
        let private = key.to_nonzero_scalar();
        let s = inverse? * (z + r * private.as_ref());
        if bool::from(r.is_zero() | s.is_zero()) {
            return None;
        }
        let (r, s) = (r.to_bytes(), s.to_bytes());
        let mut signature = [0; SIGNATURE_BYTES];
        for (to, from) in signature.iter_mut().zip(r.iter().chain(&s)) {
            *to = *from;
        }
        Some(signature)
    }
}

/// The nonce would give the key away.
impl fmt::Debug for Signing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signing")
            .field("columns", &self.columns)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
