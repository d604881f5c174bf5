// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RSI_ATTESTATION_TOKEN_INIT` and `RSI_ATTESTATION_TOKEN_CONTINUE`: their conditions, and a Realm that
//! gets its token, which is then read as a relying party does.

use alloc::vec::Vec;

use rmi::rsi::bytes_of_registers;
use rmi::{Command, ExitReason, HashAlgorithm, RecEnter, RsiCommand, RsiStatus};
use token_verifier::{RealmClaims, verify};

use crate::check;
use crate::outcome::Outcome;
use crate::port::GRANULE;
use crate::realm::{PROGRAM_BASE, RealmAction, RealmResult, row};
use crate::scenario::Scenario;
use crate::world::{
    PERSONALIZATION_VALUE, Realm, RealmPlan, Rec, Runnable, Step, World, fail_exit,
};

/// What these scenarios prove.
pub(super) const SCENARIOS: &[Scenario] = &[
    row("rsi_attestation_token_init_success", init_success),
    row("rsi_attestation_token_init_again", init_again),
    row("rsi_attestation_token_continue_addr_align", addr_align),
    row("rsi_attestation_token_continue_addr_bound", addr_bound),
    row("rsi_attestation_token_continue_offset_bound", offset_bound),
    row(
        "rsi_attestation_token_continue_size_overflow",
        size_overflow,
    ),
    row("rsi_attestation_token_continue_size_bound", size_bound),
    row("rsi_attestation_token_continue_state", state),
    row("rsi_attestation_token_continue_success", success),
    row("rsi_attestation_token_continue_sha512", success_sha512),
    row("rsi_attestation_token_continue_pieces", pieces),
    row("rsi_attestation_token_continue_size_zero", size_zero),
    row("rsi_attestation_token_continue_page_missing", page_missing),
    row(
        "rsi_attestation_token_continue_page_destroyed",
        page_destroyed,
    ),
    row("rsi_attestation_token_continue_page_empty", page_empty),
    row("rsi_attestation_token_continue_two_recs", two_recs),
];

/// A page with memory for the token.
const BUFFER: u64 = PROGRAM_BASE + 0x8_0000;
/// RAM without memory, and addresses that are no RAM.
const MISSING: u64 = BUFFER + GRANULE;
const EMPTY: u64 = BUFFER + 2 * GRANULE;

const INPUT: Option<RsiStatus> = Some(RsiStatus::ErrorInput);
const STATE: Option<RsiStatus> = Some(RsiStatus::ErrorState);
const INCOMPLETE: Option<RsiStatus> = Some(RsiStatus::Incomplete);

/// What a call came back with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Answer {
    status: Option<RsiStatus>,
    /// x1 to x8.
    outputs: [u64; 8],
}

impl Answer {
    fn of(result: &RealmResult) -> Self {
        let [status, outputs @ .., _, _] = result.registers;
        Self {
            status: RsiStatus::from_register(status),
            outputs,
        }
    }

    /// Returns the outputs of a call that has to succeed.
    fn success(self) -> Outcome<[u64; 8]> {
        check!(self.status == Some(RsiStatus::Success), "{self:x?}");
        Ok(self.outputs)
    }
}

/// Lets a REC make a call that needs nothing of the Host; interrupts do not count.
fn call(w: &mut World<'_>, rec: &Rec, command: RsiCommand, arguments: &[u64]) -> Outcome<Answer> {
    let action = call_action(command, arguments);
    let mut step = w.act(rec, action)?;
    loop {
        match step {
            Step::Done(result) => return Ok(Answer::of(&result)),
            Step::Exit(exit) if exit.reason() == Some(ExitReason::Irq) => {
                step = w.resume(rec, &RecEnter::default())?;
            }
            Step::Exit(exit) => return fail_exit(action, &exit),
        }
    }
}

/// Returns the action that makes a call.
fn call_action(command: RsiCommand, arguments: &[u64]) -> RealmAction {
    let mut registers = alloc::vec![command.fid()];
    registers.extend_from_slice(arguments);
    RealmAction::smc(&registers)
}

/// A Realm with a buffer, and one of its RECs.
struct Prover {
    realm: Realm,
    rec: Rec,
}

impl Prover {
    fn new(w: &mut World<'_>) -> Outcome<Self> {
        Self::with_plan(w, &RealmPlan::default())
    }

    fn with_plan(w: &mut World<'_>, plan: &RealmPlan) -> Outcome<Self> {
        let realm = Self::prepare(w, plan)?;
        let rec = w.rec(&realm, Runnable::Yes)?;
        w.activate(&realm)?;
        Ok(Self { realm, rec })
    }

    fn prepare(w: &mut World<'_>, plan: &RealmPlan) -> Outcome<Realm> {
        let realm = w.realm_with(plan)?;
        w.load_program(&realm)?;
        w.init_ripas(&realm, BUFFER, EMPTY)?;
        w.data_unknown(&realm, BUFFER)?;
        Ok(realm)
    }

    /// Begins a token whose challenge starts with this word; returns the bound on its size.
    fn init(&self, w: &mut World<'_>, first: u64) -> Outcome<u64> {
        let command = RsiCommand::AttestationTokenInit;
        let [bound, ..] = call(w, &self.rec, command, &challenge(first))?.success()?;
        check!(bound > 0, "a token of at most {bound} bytes");
        Ok(bound)
    }

    /// Asks for a piece of the token; interrupts during the signature do not count.
    fn proceed(&self, w: &mut World<'_>, addr: u64, offset: u64, size: u64) -> Outcome<Answer> {
        let command = RsiCommand::AttestationTokenContinue;
        call(w, &self.rec, command, &[addr, offset, size])
    }

    /// Requires this status for these arguments and that nothing is written.
    fn refuse(&self, w: &mut World<'_>, wanted: Option<RsiStatus>, arguments: [u64; 3]) -> Outcome {
        let [addr, offset, size] = arguments;
        let answer = self.proceed(w, addr, offset, size)?;
        check!(answer.status == wanted, "{arguments:#x?}: {answer:x?}");
        Ok(())
    }

    /// Requires that a call is refused as an error of input, before a token is begun, in the middle of it,
    /// and that the token is none the worse for it.
    fn refuse_input(&self, w: &mut World<'_>, arguments: [u64; 3]) -> Outcome {
        self.refuse(w, INPUT, arguments)?;
        self.init(w, 1)?;
        self.refuse(w, INPUT, arguments)?;
        let mut token = self.piece(w, 0, 100)?;
        self.refuse(w, INPUT, arguments)?;
        token.extend(self.fetch(w, 0, GRANULE)?);
        check_challenge(&token, 1)
    }

    /// Fetches a piece, which is not the last.
    fn piece(&self, w: &mut World<'_>, offset: u64, size: u64) -> Outcome<Vec<u8>> {
        loop {
            let answer = self.proceed(w, BUFFER, offset, size)?;
            let [bytes, ..] = answer.outputs;
            check!(answer.status == INCOMPLETE && bytes <= size, "{answer:x?}");
            // Without a byte, the signature was interrupted.
            if bytes > 0 {
                check!(bytes == size, "{bytes} of {size} bytes");
                return self.read(w, offset, bytes);
            }
        }
    }

    /// Fetches the rest of the token in pieces of this size.
    fn fetch(&self, w: &mut World<'_>, offset: u64, size: u64) -> Outcome<Vec<u8>> {
        let mut token = Vec::new();
        loop {
            let answer = self.proceed(w, BUFFER, offset, size)?;
            let [bytes, ..] = answer.outputs;
            check!(bytes <= size, "{answer:x?}");
            token.extend(self.read(w, offset, bytes)?);
            match answer.status {
                Some(RsiStatus::Success) => return Ok(token),
                status => check!(status == INCOMPLETE, "{answer:x?}"),
            }
        }
    }

    /// Reads bytes of the buffer as the Realm does.
    fn read(&self, w: &mut World<'_>, offset: u64, bytes: u64) -> Outcome<Vec<u8>> {
        let first = (BUFFER + offset) / 8 * 8;
        let end = BUFFER + offset + bytes;
        let mut words = Vec::new();
        for ipa in (first..end).step_by(8) {
            let result = w.act_done(&self.rec, RealmAction::Load { ipa })?;
            words.extend(result.registers[0].to_le_bytes());
        }
        let skip = usize::try_from(BUFFER + offset - first).expect("less than eight");
        let count = usize::try_from(bytes).expect("at most a page");
        Ok(words.into_iter().skip(skip).take(count).collect())
    }

    /// Reads a measurement.
    fn measurement(&self, w: &mut World<'_>, index: u64, bytes: usize) -> Outcome<Vec<u8>> {
        let command = RsiCommand::MeasurementRead;
        let value = call(w, &self.rec, command, &[index])?.success()?;
        let value: [u8; 64] = bytes_of_registers(value);
        Ok(value[..bytes].to_vec())
    }
}

fn challenge(first: u64) -> [u64; 8] {
    let mut words = [0x0123_4567_89AB_CDEF; 8];
    words[0] = first;
    words
}

/// Reads a token as a relying party does.
fn read_claims(token: &[u8]) -> Outcome<RealmClaims<'_>> {
    verify(token).map_err(|flaw| crate::Stop::Failed(alloc::format!("the token: {flaw}")))
}

/// Requires that a token is good and answers a challenge.
fn check_challenge(token: &[u8], first: u64) -> Outcome {
    let expected: [u8; 64] = bytes_of_registers(challenge(first));
    let claims = read_claims(token)?;
    check!(claims.challenge == expected, "{:x?}", claims.challenge);
    Ok(())
}

/// A token is begun without any help of the Host, and its bound is one.
fn init_success(w: &mut World<'_>) -> Outcome {
    let prover = Prover::new(w)?;
    let bound = prover.init(w, 1)?;
    let token = prover.fetch(w, 0, GRANULE)?;
    check!(token.len() as u64 <= bound, "{} bytes", token.len());
    check_challenge(&token, 1)
}

/// A second beginning drops the first token, wherever that was.
fn init_again(w: &mut World<'_>) -> Outcome {
    let prover = Prover::new(w)?;
    prover.init(w, 1)?;
    prover.init(w, 2)?;
    prover.piece(w, 0, 64)?;
    prover.init(w, 3)?;
    let token = prover.fetch(w, 0, GRANULE)?;
    check_challenge(&token, 3)
}

fn addr_align(w: &mut World<'_>) -> Outcome {
    let prover = Prover::new(w)?;
    prover.refuse_input(w, [BUFFER + 0x800, 0, 8])?;
    prover.refuse_input(w, [BUFFER + 1, 0, 0])
}

fn addr_bound(w: &mut World<'_>) -> Outcome {
    let prover = Prover::new(w)?;
    let (unprotected, end) = (prover.realm.unprotected(), prover.realm.end());
    for addr in [
        unprotected,
        unprotected + BUFFER,
        end,
        GRANULE.wrapping_neg(),
    ] {
        prover.refuse_input(w, [addr, 0, 8])?;
    }
    Ok(())
}

fn offset_bound(w: &mut World<'_>) -> Outcome {
    let prover = Prover::new(w)?;
    prover.refuse_input(w, [BUFFER, GRANULE, 0])?;
    prover.refuse_input(w, [BUFFER, u64::MAX, 0])
}

fn size_overflow(w: &mut World<'_>) -> Outcome {
    let prover = Prover::new(w)?;
    prover.refuse_input(w, [BUFFER, 8, u64::MAX])?;
    prover.refuse_input(w, [BUFFER, 8, u64::MAX - 7])
}

fn size_bound(w: &mut World<'_>) -> Outcome {
    let prover = Prover::new(w)?;
    prover.refuse_input(w, [BUFFER, 0, GRANULE + 1])?;
    prover.refuse_input(w, [BUFFER, GRANULE - 8, 9])
}

/// There is no token to fetch before one is begun, and none when all of it has been.
fn state(w: &mut World<'_>) -> Outcome {
    let prover = Prover::new(w)?;
    prover.refuse(w, STATE, [BUFFER, 0, GRANULE])?;
    prover.refuse(w, STATE, [BUFFER, 0, 0])?;
    prover.init(w, 1)?;
    prover.fetch(w, 0, GRANULE)?;
    prover.refuse(w, STATE, [BUFFER, 0, GRANULE])
}

/// A token says what the Realm is, and whoever made its machine vouches for it.
fn success(w: &mut World<'_>) -> Outcome {
    check_claims(w, &RealmPlan::default(), "sha-256", 32)
}

fn success_sha512(w: &mut World<'_>) -> Outcome {
    let plan = RealmPlan {
        hash: HashAlgorithm::Sha512.code(),
        ..RealmPlan::default()
    };
    check_claims(w, &plan, "sha-512", 64)
}

fn check_claims(w: &mut World<'_>, plan: &RealmPlan, name: &str, digest_bytes: usize) -> Outcome {
    let prover = Prover::with_plan(w, plan)?;
    let extend = [3, 16, 0x1111, 0x2222, 0, 0, 0, 0, 0, 0];
    call(w, &prover.rec, RsiCommand::MeasurementExtend, &extend)?.success()?;
    prover.init(w, 9)?;
    let token = prover.fetch(w, 0, GRANULE)?;
    check_challenge(&token, 9)?;
    let claims = read_claims(&token)?;
    check!(
        claims.personalization_value == PERSONALIZATION_VALUE,
        "{:x?}",
        claims.personalization_value
    );
    check!(claims.hash_algorithm == name, "{}", claims.hash_algorithm);
    let initial = prover.measurement(w, 0, digest_bytes)?;
    check!(claims.initial == initial, "{:x?}", claims.initial);
    check!(initial.iter().any(|byte| *byte != 0), "no measurement");
    for (index, rem) in (1..).zip(claims.extensible) {
        let value = prover.measurement(w, index, digest_bytes)?;
        check!(rem == value, "measurement {index}: {rem:x?}");
        let is_zero = rem.iter().all(|byte| *byte == 0);
        check!(is_zero == (index != 3), "measurement {index}: {rem:x?}");
    }
    Ok(())
}

/// Pieces of any size, anywhere in the page, make the same token, and nothing is written beside them.
fn pieces(w: &mut World<'_>) -> Outcome {
    let prover = Prover::new(w)?;
    for (offset, size) in [(0, 1000), (5, 611), (GRANULE - 96, 96), (0x123, 17)] {
        let beside = [0x0, 0x118, 0x138, GRANULE / 2, GRANULE - 8].map(|at| (BUFFER + at, at));
        let beside = || {
            let outside = move |at: u64| at + 8 <= offset || offset + size <= at;
            beside.into_iter().filter(move |(_, at)| outside(*at))
        };
        for (ipa, value) in beside() {
            let store = RealmAction::Store { ipa, value };
            w.act_done(&prover.rec, store)?;
        }
        prover.init(w, offset)?;
        let token = prover.fetch(w, offset, size)?;
        check_challenge(&token, offset)?;
        for (ipa, value) in beside() {
            let found = w
                .act_done(&prover.rec, RealmAction::Load { ipa })?
                .registers[0];
            check!(found == value, "{ipa:#x} holds {found:#x}");
        }
    }
    Ok(())
}

/// Room for no byte makes no progress that could be seen, and is no error.
fn size_zero(w: &mut World<'_>) -> Outcome {
    let prover = Prover::new(w)?;
    prover.init(w, 1)?;
    for _ in 0..3 {
        let answer = prover.proceed(w, BUFFER, GRANULE - 1, 0)?;
        let [bytes, ..] = answer.outputs;
        check!(answer.status == INCOMPLETE && bytes == 0, "{answer:x?}");
    }
    let token = prover.fetch(w, 0, GRANULE)?;
    check_challenge(&token, 1)
}

/// Makes a call whose page the Host has to provide; requires the exit that tells it.
fn proceed_without_page(w: &mut World<'_>, prover: &Prover, page: u64) -> Outcome {
    let action = call_action(RsiCommand::AttestationTokenContinue, &[page, 16, 64]);
    let mut step = w.act(&prover.rec, action)?;
    loop {
        let exit = match step {
            Step::Exit(exit) => exit,
            Step::Done(result) => {
                // The signature was interrupted: the call is made again.
                let answer = Answer::of(&result);
                check!(answer.status == INCOMPLETE, "{answer:x?}");
                check!(answer.outputs[0] == 0, "{answer:x?}");
                step = w.act(&prover.rec, action)?;
                continue;
            }
        };
        if exit.reason() == Some(ExitReason::Irq) {
            step = w.resume(&prover.rec, &RecEnter::default())?;
            continue;
        }
        let is_abort = exit.reason() == Some(ExitReason::Sync) && exit.esr >> 26 == 0x24;
        check!(
            is_abort && exit.hpfar == page >> 8 && exit.far == 0,
            "exit {}, esr {:#x}, hpfar {:#x}",
            exit.exit_reason,
            exit.esr,
            exit.hpfar
        );
        return Ok(());
    }
}

/// The Host provides a page that is missing, and the call goes on where it was.
fn page_missing(w: &mut World<'_>) -> Outcome {
    let prover = Prover::new(w)?;
    prover.init(w, 1)?;
    proceed_without_page(w, &prover, MISSING)?;
    w.data_unknown(&prover.realm, MISSING)?;
    let result = match w.resume(&prover.rec, &RecEnter::default())? {
        Step::Done(result) => Answer::of(&result),
        Step::Exit(exit) => return fail_exit(RealmAction::Hvc, &exit),
    };
    check!(result.status == INCOMPLETE, "{result:x?}");
    check!(result.outputs[0] == 64, "{result:x?}");
    let loaded = w.act_done(&prover.rec, RealmAction::Load { ipa: MISSING + 16 })?;
    check!(
        loaded.registers[0].to_le_bytes()[..3] == [0xD9, 0x01, 0x8F],
        "{:#x}",
        loaded.registers[0]
    );
    prover.fetch(w, 0, GRANULE)?;
    prover.refuse(w, STATE, [BUFFER, 0, GRANULE])
}

/// A page that the Host took away is missing too.
fn page_destroyed(w: &mut World<'_>) -> Outcome {
    let prover = Prover::new(w)?;
    prover.init(w, 1)?;
    let (rd, ipa) = (prover.realm.rd, BUFFER);
    w.ok(Command::DataDestroy { rd, ipa })?;
    proceed_without_page(w, &prover, BUFFER)
}

/// A page that is no RAM is the Realm's own mistake, and the token is none the worse for it.
fn page_empty(w: &mut World<'_>) -> Outcome {
    let prover = Prover::new(w)?;
    prover.init(w, 1)?;
    let mut answer = prover.proceed(w, EMPTY, 0, 64)?;
    while answer.status == INCOMPLETE && answer.outputs[0] == 0 {
        answer = prover.proceed(w, EMPTY, 0, 64)?;
    }
    check!(answer.status == INPUT, "{answer:x?}");
    let token = prover.fetch(w, 0, GRANULE)?;
    check_challenge(&token, 1)
}

/// RECs make their tokens apart from one another.
fn two_recs(w: &mut World<'_>) -> Outcome {
    let realm = Prover::prepare(w, &RealmPlan::default())?;
    let first = w.rec(&realm, Runnable::Yes)?;
    let second = w.rec(&realm, Runnable::Yes)?;
    w.activate(&realm)?;
    let [first, second] = [first, second].map(|rec| Prover { realm, rec });
    first.init(w, 1)?;
    second.refuse(w, STATE, [BUFFER, 0, GRANULE])?;
    let mut token = first.piece(w, 0, 500)?;
    second.init(w, 2)?;
    check_challenge(&second.fetch(w, 0, GRANULE)?, 2)?;
    token.extend(first.fetch(w, 0, GRANULE)?);
    check_challenge(&token, 1)
}
