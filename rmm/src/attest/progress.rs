// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The token that a REC is making (`attest_state` of a REC), and how far it is.

use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::attest::root::Attestation;
use crate::attest::sign::{Advance, SIGNATURE_BYTES, Signing};
use crate::attest::token::{Claims, Token};

const STAGE_NONE: u64 = 0;
const STAGE_CLAIMED: u64 = 1;
const STAGE_SIGNING: u64 = 2;
const STAGE_SIGNED: u64 = 3;

/// How far a REC is with its token. All zeroes is a REC that makes none.
#[derive(Debug, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct TokenProgress {
    stage: u64,
    /// Bytes of the token that the Realm has.
    fetched: u64,
    claims: Claims,
    signing: Signing,
    signature: [u8; SIGNATURE_BYTES],
}

/// Whether a token is ready to be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// It is signed.
    Ready,
    /// An interrupt is pending, and the signature is not finished.
    Interrupted,
    /// It cannot be signed; the REC makes no token now.
    Failed,
}

impl TokenProgress {
    /// Begins a token, in place of one that the REC was making, and returns its length in bytes.
    pub(crate) fn begin(&mut self, attestation: &Attestation<'_>, claims: Claims) -> usize {
        self.end();
        self.stage = STAGE_CLAIMED;
        self.claims = claims;
        self.token(attestation).length()
    }

    /// Forgets the token.
    fn end(&mut self) {
        self.stage = STAGE_NONE;
        self.fetched = 0;
        self.signing.wipe();
        self.signature.fill(0);
    }

    /// Says whether the REC is making a token.
    pub(crate) fn is_in_progress(&self) -> bool {
        self.stage != STAGE_NONE
    }

    /// Signs the token, unless that is done, until an interrupt is pending.
    pub(crate) fn sign(
        &mut self,
        attestation: &Attestation<'_>,
        is_interrupted: impl FnMut() -> bool,
    ) -> Readiness {
        if self.stage == STAGE_SIGNED {
            return Readiness::Ready;
        }
        let key = attestation.key();
        if self.stage == STAGE_CLAIMED {
            self.signing.begin(key, &self.claims.digest(attestation));
            self.stage = STAGE_SIGNING;
        }
        match self
            .signing
            .advance(key, attestation.comb(), is_interrupted)
        {
            Advance::Interrupted => Readiness::Interrupted,
            Advance::Signed(signature) => {
                self.signature = signature;
                self.stage = STAGE_SIGNED;
                Readiness::Ready
            }
            Advance::Failed => {
                self.end();
                Readiness::Failed
            }
        }
    }

    /// Returns how many bytes of the token the Realm does not have.
    pub(crate) fn remaining(&self, attestation: &Attestation<'_>) -> usize {
        self.token(attestation).length() - self.position()
    }

    /// Writes the next bytes of the token to `into`, which is no longer than what remains.
    pub(crate) fn copy(&self, attestation: &Attestation<'_>, into: &mut [u8]) {
        self.token(attestation).copy(self.position(), into);
    }

    /// Records that the Realm has so many bytes more.
    pub(crate) fn fetch(&mut self, attestation: &Attestation<'_>, bytes: usize) {
        let fetched = self.position() + bytes;
        if fetched == self.token(attestation).length() {
            self.end();
        } else {
            self.fetched = u64::try_from(fetched).expect("a length has at most 64 bits");
        }
    }

    fn position(&self) -> usize {
        usize::try_from(self.fetched).expect("written from a length")
    }

    fn token<'a>(&'a self, attestation: &'a Attestation<'a>) -> Token<'a> {
        Token {
            attestation,
            claims: &self.claims,
            signature: &self.signature,
        }
    }
}
