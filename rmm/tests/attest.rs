// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Attestation tokens as a Realm gets them.

mod common;

use std::cell::RefCell;
use std::rc::Rc;

use common::rec::{START, Vcpu, check, smc};
use common::{PAGE, Realm, World, vouched_for, world};
use p384::elliptic_curve::sec1::ToSec1Point;
use rmi::{Command, ExitReason, GranuleAddr, RecExit};
use rmm_fake::{FakePlatform, REALM_KEY};
use rmm_hal::Hal;
use sha2::{Digest, Sha256};
use token_verifier::verify;

const MEASUREMENT_READ: u64 = 0xC400_0192;
const MEASUREMENT_EXTEND: u64 = 0xC400_0193;
const TOKEN_INIT: u64 = 0xC400_0194;
const TOKEN_CONTINUE: u64 = 0xC400_0195;

const SUCCESS: u64 = 0;
const INPUT: u64 = 1;
const STATE: u64 = 2;
const INCOMPLETE: u64 = 3;
const UNKNOWN: u64 = 4;

const SHARED: u64 = 1 << 39;
/// Where pieces go: the page of the Realm that has memory.
const BUFFER: u64 = 0;

/// A short platform token.
const SHORT: FakePlatform = FakePlatform { config_bytes: 5 };
/// A platform token that does not fit a page.
const LONG: FakePlatform = FakePlatform { config_bytes: 5000 };

/// Makes a call and returns x0 to x8 behind it.
fn call<const N: usize>(vcpu: &Vcpu<'_, '_>, registers: [u64; N]) -> [u64; 9] {
    let results = Rc::new(RefCell::new(None));
    let seen = Rc::clone(&results);
    let exit = vcpu.enter_and(vec![
        smc(registers),
        check(move |_, context| {
            assert_eq!(context.pc, START + 4);
            assert_eq!(context.gprs[9..=16], [0; 8]);
            let kept = (17..31).map(|n| 0x70 + n);
            assert!(kept.eq(context.gprs[17..].iter().copied()));
            *seen.borrow_mut() = Some(*context.gprs.first_chunk().unwrap());
        }),
    ]);
    assert_eq!(exit.reason(), Some(ExitReason::Irq), "{registers:x?}");
    results.take().expect("the Realm went on")
}

/// Begins a token; returns the bound on its size.
fn init(vcpu: &Vcpu<'_, '_>, first: u64) -> u64 {
    let [status, bound, rest @ ..] = call(vcpu, [TOKEN_INIT, first, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!((status, rest), (SUCCESS, [0; 7]));
    bound
}

fn proceed(vcpu: &Vcpu<'_, '_>, offset: u64, size: u64) -> [u64; 2] {
    let [status, bytes, rest @ ..] = call(vcpu, [TOKEN_CONTINUE, BUFFER, offset, size]);
    assert_eq!(rest, [0; 7]);
    [status, bytes]
}

/// Returns bytes of the buffer.
fn buffer(realm: &Realm<'_, '_>, at: u64, bytes: u64) -> Vec<u8> {
    let [_, _, data, _] = realm.entry(BUFFER, 3);
    let data = GranuleAddr::new(data).unwrap();
    let machine = realm.world.machine();
    let words = (0..512).flat_map(|word| machine.inspect(data, word).to_le_bytes());
    let all: Vec<u8> = words.collect();
    let at = usize::try_from(at).unwrap();
    all[at..at + usize::try_from(bytes).unwrap()].to_vec()
}

/// Fetches the token in pieces of this size.
fn fetch(realm: &Realm<'_, '_>, vcpu: &Vcpu<'_, '_>, offset: u64, size: u64) -> Vec<u8> {
    let mut token = Vec::new();
    loop {
        let [status, bytes] = proceed(vcpu, offset, size);
        assert!(bytes <= size);
        token.extend(buffer(realm, offset, bytes));
        match status {
            INCOMPLETE => assert_eq!(bytes, size),
            _ => {
                assert_eq!(status, SUCCESS);
                return token;
            }
        }
    }
}

fn challenge(first: u64) -> Vec<u8> {
    [first, 2, 3, 4, 5, 6, 7, 8]
        .into_iter()
        .flat_map(u64::to_le_bytes)
        .collect()
}

/// Reads a measurement as the Realm does; returns its first 32 bytes.
fn measurement(vcpu: &Vcpu<'_, '_>, index: u64) -> Vec<u8> {
    let [status, value @ ..] = call(vcpu, [MEASUREMENT_READ, index]);
    assert_eq!(status, SUCCESS);
    let bytes: Vec<u8> = value.into_iter().flat_map(u64::to_le_bytes).collect();
    bytes[..32].to_vec()
}

#[test]
fn token_says_what_the_realm_is() {
    vouched_for(SHORT, |w| {
        let (realm, vcpu) = w.running();
        call(&vcpu, [MEASUREMENT_EXTEND, 2, 3, 0x11_2233]);
        let bound = init(&vcpu, 0x0102_0304_0506_0708);
        let [status, bytes] = proceed(&vcpu, 0, PAGE);
        assert_eq!((status, bytes), (SUCCESS, bound));
        let token = buffer(&realm, 0, bytes);
        let claims = verify(&token).unwrap();
        assert_eq!(claims.challenge, challenge(0x0102_0304_0506_0708));
        assert_eq!(claims.personalization_value, [0x42; 64]);
        assert_eq!(claims.hash_algorithm, "sha-256");
        assert_eq!(claims.initial, measurement(&vcpu, 0));
        let rems: Vec<Vec<u8>> = (1..=4).map(|index| measurement(&vcpu, index)).collect();
        assert_eq!(claims.extensible[..], rems);
        assert_ne!(rems[1], [0; 32]);
        assert_eq!(rems[0], [0; 32]);
        let platform = SHORT.token(&Sha256::digest(claims.public_key).into());
        assert!(token.windows(platform.len()).any(|part| part == platform));
        // The key is the platform's.
        let key = p384::SecretKey::from_slice(&REALM_KEY).unwrap();
        let point = key.public_key().to_sec1_point(false);
        assert_eq!(claims.public_key[8..56], point.as_bytes()[1..49]);
    });
}

#[test]
fn token_in_pieces_is_the_same() {
    for platform in [SHORT, LONG] {
        vouched_for(platform, |w| {
            let (realm, vcpu) = w.running();
            let bound = init(&vcpu, 7);
            let whole = fetch(&realm, &vcpu, 0, PAGE);
            assert_eq!(whole.len() as u64, bound);
            verify(&whole).unwrap();
            for (offset, size) in [(0, 1000), (4095, 1), (0x123, 0x321), (0x800, 0x800)] {
                if size == 1 && bound > PAGE {
                    continue;
                }
                assert_eq!(init(&vcpu, 7), bound);
                assert_eq!(fetch(&realm, &vcpu, offset, size), whole, "{offset} {size}");
            }
        });
    }
}

#[test]
fn pieces_stay_where_they_belong() {
    vouched_for(SHORT, |w| {
        let (realm, vcpu) = w.running();
        init(&vcpu, 1);
        assert_eq!(proceed(&vcpu, 100, 50), [INCOMPLETE, 50]);
        assert_eq!(buffer(&realm, 0, 100), [0; 100]);
        assert_eq!(buffer(&realm, 150, PAGE - 150), vec![0; 4096 - 150]);
        assert_ne!(buffer(&realm, 100, 50), [0; 50]);
    });
}

#[test]
fn arguments_that_are_wrong_change_nothing() {
    vouched_for(SHORT, |w| {
        let (realm, vcpu) = w.running();
        let refuse = |status| {
            for (addr, offset, size) in [
                (BUFFER + 8, 0, 16),
                (BUFFER + 0x800, 0, 16),
                (SHARED, 0, 16),
                (u64::MAX - 0xFFF, 0, 16),
                (BUFFER, PAGE, 0),
                (BUFFER, u64::MAX, 1),
                (BUFFER, 0xFF8, 16),
                (BUFFER, 8, u64::MAX),
                (BUFFER, 8, u64::MAX - 7),
                (BUFFER, 0, PAGE + 1),
            ] {
                let results = call(&vcpu, [TOKEN_CONTINUE, addr, offset, size]);
                let expected = [INPUT, 0, 0, 0, 0, 0, 0, 0, 0];
                assert_eq!(results, expected, "{addr:#x} {offset:#x} {size:#x}");
            }
            assert_eq!(proceed(&vcpu, 0, 0), [status, 0]);
        };
        refuse(STATE);
        let bound = init(&vcpu, 1);
        refuse(INCOMPLETE);
        assert_eq!(proceed(&vcpu, 0, 10), [INCOMPLETE, 10]);
        refuse(INCOMPLETE);
        let token = fetch(&realm, &vcpu, 0, PAGE);
        assert_eq!(token.len() as u64 + 10, bound);
        refuse(STATE);
    });
}

#[test]
fn state_is_per_rec_and_init_begins_anew() {
    vouched_for(SHORT, |w| {
        let realm = w.realm(common::Shape::DEFAULT);
        realm.tables_to(0, 3);
        realm.init_ripas(0, PAGE).unwrap();
        realm.page(0);
        let vcpus = [realm.rec(0, true), realm.rec(1, true)];
        realm.activate();
        let bound = init(&vcpus[0], 1);
        assert_eq!(proceed(&vcpus[1], 0, PAGE), [STATE, 0]);
        assert_eq!(proceed(&vcpus[0], 0, 100), [INCOMPLETE, 100]);
        init(&vcpus[1], 2);
        assert_eq!(init(&vcpus[0], 3), bound);
        for (vcpu, first) in vcpus.iter().zip([3, 2]) {
            let token = fetch(&realm, vcpu, 0, PAGE);
            assert_eq!(verify(&token).unwrap().challenge, challenge(first));
            assert_eq!(proceed(vcpu, 0, PAGE), [STATE, 0]);
        }
    });
}

#[test]
fn measurements_are_those_of_the_beginning() {
    vouched_for(SHORT, |w| {
        let (realm, vcpu) = w.running();
        init(&vcpu, 1);
        call(&vcpu, [MEASUREMENT_EXTEND, 1, 8, 1]);
        let token = fetch(&realm, &vcpu, 0, PAGE);
        assert_eq!(verify(&token).unwrap().extensible[0], [0; 32]);
        assert_ne!(measurement(&vcpu, 1), [0; 32]);
    });
}

/// Makes the call while an interrupt is pending; returns the exit.
fn proceed_interrupted(w: &World<'_>, vcpu: &Vcpu<'_, '_>) -> RecExit {
    w.pe.realm().interrupt_pending.set(true);
    let exit = vcpu.call_with([TOKEN_CONTINUE, BUFFER, 0, PAGE]);
    w.pe.realm().interrupt_pending.set(false);
    exit
}

#[test]
fn interrupt_ends_the_call_and_the_run() {
    vouched_for(SHORT, |w| {
        let (realm, vcpu) = w.running();
        init(&vcpu, 1);
        let whole = fetch(&realm, &vcpu, 0, PAGE);
        init(&vcpu, 1);
        let mut interruptions = 0;
        loop {
            let runs = w.runs();
            let exit = proceed_interrupted(w, &vcpu);
            assert_eq!(exit.reason(), Some(ExitReason::Irq));
            assert_eq!((exit.gprs, exit.esr), ([0; 31], 0));
            if w.runs() > runs + 1 {
                // The signature was ready, and the Realm went on.
                break;
            }
            interruptions += 1;
            // The Realm sees no more of it than that the call has to be made again.
            vcpu.enter_and(vec![check(|_, context| {
                assert_eq!(context.gprs[..17], [&[INCOMPLETE][..], &[0; 16]].concat());
                assert_eq!(context.pc, START + 4);
            })]);
        }
        assert_eq!(interruptions, 8);
        assert_eq!(buffer(&realm, 0, whole.len() as u64), whole);
        assert_eq!(proceed(&vcpu, 0, PAGE), [STATE, 0]);
    });
}

#[test]
fn missing_page_is_the_hosts_to_provide() {
    vouched_for(SHORT, |w| {
        let (realm, vcpu) = w.running();
        let bound = init(&vcpu, 1);
        assert_eq!(proceed(&vcpu, 0, 100), [INCOMPLETE, 100]);
        let exit = vcpu.call_with([TOKEN_CONTINUE, PAGE, 0x10, 0x20]);
        assert_eq!(exit.reason(), Some(ExitReason::Sync));
        assert_eq!(
            (exit.esr, exit.far, exit.hpfar),
            (0x24 << 26 | 7, 0, PAGE >> 8)
        );
        realm.page(PAGE);
        // The call is made again with the registers that it had.
        vcpu.enter_and(vec![
            Box::new(|_, context| {
                let call = [TOKEN_CONTINUE, PAGE, 0x10, 0x20];
                assert_eq!((context.pc, &context.gprs[..4]), (START, &call[..]));
                let (esr, far, hpfar) = (0x17 << 26, 0, 0);
                rmm_hal::Exit::Sync(rmm_hal::Syndrome { esr, far, hpfar })
            }),
            check(|_, context| assert_eq!(context.gprs[..2], [INCOMPLETE, 0x20])),
        ]);
        let token = fetch(&realm, &vcpu, 0, PAGE);
        assert_eq!(token.len() as u64, bound - 100 - 0x20);
    });
}

#[test]
fn empty_page_is_the_realms_mistake() {
    vouched_for(SHORT, |w| {
        let (realm, vcpu) = w.running();
        let bound = init(&vcpu, 1);
        let [status, bytes, ..] = call(&vcpu, [TOKEN_CONTINUE, 1 << 38, 0, 16]);
        assert_eq!([status, bytes], [INPUT, 0]);
        let [status, bytes, ..] = call(&vcpu, [TOKEN_CONTINUE, 1 << 38, 0, 0]);
        assert_eq!([status, bytes], [INCOMPLETE, 0]);
        assert_eq!(fetch(&realm, &vcpu, 0, PAGE).len() as u64, bound);
    });
}

#[test]
fn signature_takes_no_time_that_depends_on_the_key() {
    vouched_for(SHORT, |w| {
        let (_, vcpu) = w.running();
        init(&vcpu, 1);
        assert_eq!(w.pe.timed_works(), 0);
        proceed(&vcpu, 0, 10);
        assert_eq!(w.pe.timed_works(), 1);
    });
}

#[test]
fn monitor_without_a_key_makes_no_token() {
    world(|w| {
        let (_, vcpu) = w.running();
        let [status, bound, ..] = call(&vcpu, [TOKEN_INIT, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!([status, bound], [UNKNOWN, 0]);
        assert_eq!(proceed(&vcpu, 0, PAGE), [STATE, 0]);
    });
}

#[test]
fn destroyed_rec_leaves_nothing_of_a_token() {
    vouched_for(SHORT, |w| {
        let (_, vcpu) = w.running();
        init(&vcpu, 1);
        proceed_interrupted(w, &vcpu);
        w.run(Command::RecDestroy { rec: vcpu.rec }).unwrap();
        w.assert_delegated(vcpu.rec);
    });
}
