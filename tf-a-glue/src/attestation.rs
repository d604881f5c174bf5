// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The realm attestation key and the platform token, as EL3 gives them.
//!
//! Both come through the page shared with EL3. The page is wiped behind each call, whatever came of it,
//! and the calls are made by whoever owns the page, so nobody sees what is in it meanwhile.

use rmi::{GRANULE_BYTES, GRANULE_SIZE, GranuleAddr};
use rmm_hal::{AttestationError, AttestationSource, PLATFORM_CHALLENGE_BYTES, REALM_KEY_BYTES};

use crate::calls::{ATTEST_GET_PLAT_TOKEN, ATTEST_GET_REALM_KEY, Smc, SmcRegisters};

/// The curve of the key: P-384 is the only one there is.
const CURVE_P384: u64 = 0;

/// Status of a platform that is still at work on a token: the same call is to be made again.
const AGAIN: i64 = -6;

/// How often a busy platform is asked before the monitor goes on without a token. A call takes a
/// microsecond or more, so this is some seconds; EL3 names no bound.
const TRIES: u32 = 1 << 22;

/// The page shared with EL3.
pub trait SharedBuffer {
    /// Returns its physical address.
    fn address(&self) -> GranuleAddr;

    /// Copies the beginning of the page, at most all of it.
    fn read(&self, into: &mut [u8]);

    /// Replaces the contents of the page: `start`, at most a page of it, then zeroes.
    fn fill(&mut self, start: &[u8]);
}

/// EL3 at the cold boot.
#[derive(Debug)]
pub struct AttestationCalls<S, B> {
    smc: S,
    buffer: B,
}

/// A part of the token that EL3 has put into the page.
struct Hunk {
    bytes: usize,
    remaining: u64,
}

impl<S: Smc, B: SharedBuffer> AttestationCalls<S, B> {
    /// Returns EL3 behind these calls, with the page as it is after the boot manifest was read.
    #[must_use]
    pub fn new(smc: S, buffer: B) -> Self {
        Self { smc, buffer }
    }

    /// Makes a call about the whole page; returns X1 and X2.
    fn call(&self, function: u64, argument: u64) -> Result<[u64; 2], AttestationError> {
        let page = self.buffer.address().raw();
        let mut registers: SmcRegisters = [function, page, GRANULE_SIZE, argument, 0, 0, 0, 0, 0];
        self.smc.call(&mut registers);
        let [status, x1, x2, ..] = registers;
        match status.cast_signed() {
            0 => Ok([x1, x2]),
            refusal => Err(AttestationError::Refused(refusal)),
        }
    }

    fn read_key(&self, key: &mut [u8; REALM_KEY_BYTES]) -> Result<(), AttestationError> {
        let [length, _] = self.call(ATTEST_GET_REALM_KEY, CURVE_P384)?;
        if usize::try_from(length) != Ok(REALM_KEY_BYTES) {
            return Err(AttestationError::Length(length));
        }
        self.buffer.read(key);
        Ok(())
    }

    /// Asks for the first part of a token, or without a challenge for the next.
    fn next_hunk(&mut self, challenge: &[u8]) -> Result<Hunk, AttestationError> {
        let selector = u64::try_from(challenge.len()).expect("at most 64 bytes");
        for _ in 0..TRIES {
            self.buffer.fill(challenge);
            match self.call(ATTEST_GET_PLAT_TOKEN, selector) {
                Ok([length, remaining]) => return hunk(length, remaining),
                Err(AttestationError::Refused(AGAIN)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(AttestationError::Busy)
    }

    fn read_token(
        &mut self,
        challenge: &[u8; PLATFORM_CHALLENGE_BYTES],
        into: &mut [u8],
    ) -> Result<usize, AttestationError> {
        let mut filled = 0;
        let mut selector: &[u8] = challenge;
        loop {
            let hunk = self.next_hunk(selector)?;
            let (_, free) = into.split_at_mut(filled);
            let part = free.get_mut(..hunk.bytes).ok_or(AttestationError::NoRoom)?;
            self.buffer.read(part);
            filled += hunk.bytes;
            if hunk.remaining == 0 {
                return Ok(filled);
            }
            selector = &[];
        }
    }
}

/// Checks what EL3 says of a part: it fits the page, and every part but the last brings the end nearer.
fn hunk(length: u64, remaining: u64) -> Result<Hunk, AttestationError> {
    let bytes = usize::try_from(length)
        .ok()
        .filter(|bytes| (1..=GRANULE_BYTES).contains(bytes))
        .ok_or(AttestationError::Length(length))?;
    Ok(Hunk { bytes, remaining })
}

impl<S: Smc, B: SharedBuffer> AttestationSource for AttestationCalls<S, B> {
    fn realm_key(&mut self, key: &mut [u8; REALM_KEY_BYTES]) -> Result<(), AttestationError> {
        let result = self.read_key(key);
        self.buffer.fill(&[]);
        result
    }

    fn platform_token(
        &mut self,
        challenge: &[u8; PLATFORM_CHALLENGE_BYTES],
        into: &mut [u8],
    ) -> Result<usize, AttestationError> {
        let result = self.read_token(challenge, into);
        self.buffer.fill(&[]);
        result
    }
}

#[cfg(test)]
mod tests;
