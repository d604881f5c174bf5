// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Attestation tokens: that there is one, and that making it does not hold up the Host.
//!
//! Whether a token is a good one is for somebody to judge who is not the Realm (`tests/verifier`).

use heapless::Vec;
use rmi::rsi::{RsiCommand, RsiStatus};
use spin::Mutex;
use test_realm::protocol::{Timer, pattern};

use super::{Detail, Verdict, detail, require};
use crate::smc::{self, PAGE, TokenPage};
use crate::{regs, timer};

/// Statuses of RSI in x0.
const SUCCESS: u64 = RsiStatus::Success.to_register();
const STATE: u64 = RsiStatus::ErrorState.to_register();
const INCOMPLETE: u64 = RsiStatus::Incomplete.to_register();
/// How a token begins: its tag, a map of two, the key of the platform token.
const START: [u8; 7] = [0xD9, 0x01, 0x8F, 0xA2, 0x19, 0xAC, 0xCA];
/// Signatures that a timer is set to interrupt, each a step later than the one before.
const ATTEMPTS: u64 = 40;
/// Such steps in a second.
const STEPS: u64 = 16_000;
/// Pieces of a token that make no progress before that counts as none.
const IDLE_CALLS: u64 = 1000;

/// Bytes of the longest token that a check holds as a whole.
const TOKEN_BYTES: usize = 4096;

/// Where the monitor writes pieces; a page is much for a stack.
static BUFFER: Mutex<TokenPage> = Mutex::new(TokenPage::new());

/// Fetches a token and looks at its shape.
pub(super) fn token() -> Verdict {
    let start = timer::now(Timer::Physical);
    let bound = begin(1)?;
    let begun = timer::now(Timer::Physical);
    let mut token = Vec::<u8, TOKEN_BYTES>::new();
    let mut has_room = true;
    let whole = fetch(PAGE, |piece| {
        has_room &= token.extend_from_slice(piece).is_ok();
    })?;
    let end = timer::now(Timer::Physical);
    require!(has_room, "more than {TOKEN_BYTES} bytes");
    require!(token.len() as u64 <= bound, "{} bytes", token.len());
    require!(token.starts_with(&START), "starts with {:x?}", &token[..7]);
    let words = challenge(1);
    let challenge = words.as_flattened();
    require!(
        token.windows(64).any(|part| part == challenge),
        "the challenge is not in it"
    );
    let (status, bytes) = smc::token_continue(&mut BUFFER.lock(), 0, PAGE);
    require!(status == STATE, "then: status {status:#x}, {bytes} bytes");
    begin(1)?;
    require!(fetch(333, |_| {})? == whole, "in pieces it is another one");
    Ok(detail!(
        "{} bytes, {} ticks to begin and {} to fetch",
        token.len(),
        begun - start,
        end - begun
    ))
}

/// Has a timer fire during the signature: the Host gets its interrupt, and the call is made again.
pub(super) fn token_interrupted() -> Verdict {
    begin(2)?;
    let whole = fetch(PAGE, |_| {})?;
    let (mut interruptions, mut longest) = (0, 0);
    for attempt in 1..=ATTEMPTS {
        begin(2)?;
        let ticks = interrupt(attempt * timer::frequency() / STEPS)?;
        let rest = fetch(PAGE, |_| {})?;
        if let Some(ticks) = ticks {
            interruptions += 1;
            longest = longest.max(ticks);
            require!(rest == whole, "it is another one");
        }
    }
    require!(
        interruptions > 0,
        "no interrupt during {ATTEMPTS} signatures"
    );
    Ok(detail!(
        "{interruptions} of {ATTEMPTS} signatures, at most {longest} ticks from timer to Realm"
    ))
}

/// Asks for one byte of a token, and has a timer fire so many ticks later. Returns how long the call went
/// on behind that, if it was interrupted and so brought no byte.
fn interrupt(after: u64) -> Result<Option<u64>, Detail> {
    let mut page = BUFFER.lock();
    regs::mask_interrupts();
    let at = timer::now(Timer::Virtual) + after;
    timer::start(Timer::Virtual, after);
    let (status, bytes) = smc::token_continue(&mut page, 0, 1);
    let end = timer::now(Timer::Virtual);
    timer::stop(Timer::Virtual);
    regs::unmask_interrupts();
    require!(
        status == INCOMPLETE && bytes <= 1,
        "status {status:#x}, {bytes} bytes"
    );
    Ok((bytes == 0).then(|| end.saturating_sub(at)))
}

fn challenge(seed: u64) -> [[u8; 8]; 8] {
    core::array::from_fn(|n| pattern(seed, n as u64).to_le_bytes())
}

/// Begins a token; returns the bound on its size.
fn begin(seed: u64) -> Result<u64, Detail> {
    let words = challenge(seed).map(u64::from_le_bytes);
    let [status, bound, ..] = smc::rsi(RsiCommand::AttestationTokenInit, &words);
    require!(status == SUCCESS, "init: status {status:#x}");
    require!(bound > 0, "a bound of zero");
    Ok(bound)
}

/// Fetches the whole token in pieces of this size; returns a number that is another one for any other
/// token.
fn fetch(size: u64, mut take: impl FnMut(&[u8])) -> Result<u64, Detail> {
    let mut page = BUFFER.lock();
    let mut fingerprint = 0;
    for _ in 0..IDLE_CALLS {
        let (status, bytes) = smc::token_continue(&mut page, PAGE - size, size);
        require!(bytes <= size, "{bytes} bytes of {size}");
        let from = (PAGE - size) as usize;
        let piece = &page.0[from..from + bytes as usize];
        take(piece);
        fingerprint = piece
            .iter()
            .fold(fingerprint, |sum, byte| pattern(sum, u64::from(*byte)));
        if status == SUCCESS {
            return Ok(fingerprint);
        }
        require!(status == INCOMPLETE, "status {status:#x}");
    }
    Err(detail!("no end after {IDLE_CALLS} pieces"))
}
