// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

extern crate std;

use core::cell::RefCell;
use std::rc::Rc;
use std::vec;
use std::vec::Vec;

use super::*;

const PAGE: u64 = 0x418F_F000;

/// What EL3 answers: X0 to X2, and the bytes it writes to the page.
type Answer = ([i64; 3], Vec<u8>);

/// An EL3 with a list of answers, and the page.
#[derive(Default)]
struct Script {
    answers: Vec<Answer>,
    page: Vec<u8>,
    /// X0 to X3 of each call, and the first bytes of the page at that time.
    calls: Vec<([u64; 4], [u8; PLATFORM_CHALLENGE_BYTES])>,
}

#[derive(Clone)]
struct FakeEl3(Rc<RefCell<Script>>);

impl Smc for FakeEl3 {
    fn call(&self, registers: &mut SmcRegisters) {
        let mut script = self.0.borrow_mut();
        let start = *script.page.first_chunk().unwrap();
        script
            .calls
            .push((*registers.first_chunk().unwrap(), start));
        let (results, bytes) = if script.answers.len() > 1 {
            script.answers.remove(0)
        } else {
            script.answers[0].clone()
        };
        for (register, value) in registers.iter_mut().zip(results) {
            *register = value.cast_unsigned();
        }
        script.page[..bytes.len()].copy_from_slice(&bytes);
    }
}

impl SharedBuffer for FakeEl3 {
    fn address(&self) -> GranuleAddr {
        GranuleAddr::new(PAGE).unwrap()
    }

    fn read(&self, into: &mut [u8]) {
        into.copy_from_slice(&self.0.borrow().page[..into.len()]);
    }

    fn fill(&mut self, start: &[u8]) {
        let mut page = vec![0; GRANULE_BYTES];
        page[..start.len()].copy_from_slice(start);
        self.0.borrow_mut().page = page;
    }
}

/// Returns an EL3 that gives these answers, the last one for ever.
fn el3(answers: Vec<Answer>) -> (FakeEl3, AttestationCalls<FakeEl3, FakeEl3>) {
    let el3 = FakeEl3(Rc::new(RefCell::new(Script {
        answers,
        page: vec![0xEE; GRANULE_BYTES],
        calls: Vec::new(),
    })));
    (el3.clone(), AttestationCalls::new(el3.clone(), el3))
}

fn assert_wiped(el3: &FakeEl3) {
    assert!(el3.0.borrow().page.iter().all(|byte| *byte == 0));
}

fn key_of(results: [i64; 3]) -> (FakeEl3, Result<[u8; 48], AttestationError>) {
    let (el3, mut calls) = el3(vec![(results, (1..=48).collect())]);
    let mut key = [0; 48];
    let result = calls.realm_key(&mut key).map(|()| key);
    (el3, result)
}

#[test]
fn key_comes_through_the_page_which_is_wiped() {
    let (el3, key) = key_of([0, 48, 0]);
    assert_eq!(
        key.unwrap().to_vec(),
        (1..=48_u8).collect::<Vec<_>>(),
        "the bytes as they came"
    );
    let registers = el3.0.borrow().calls[0].0;
    assert_eq!(registers, [0xC400_01B2, PAGE, 4096, 0]);
    assert_wiped(&el3);
}

#[test]
fn key_failures_wipe_the_page_too() {
    for (results, error) in [
        ([-1, 48, 0], AttestationError::Refused(-1)),
        ([-2, 0, 0], AttestationError::Refused(-2)),
        ([-5, 0, 0], AttestationError::Refused(-5)),
        ([0, 47, 0], AttestationError::Length(47)),
        ([0, 49, 0], AttestationError::Length(49)),
        ([0, -1, 0], AttestationError::Length(u64::MAX)),
    ] {
        let (el3, key) = key_of(results);
        assert_eq!(key, Err(error));
        assert_wiped(&el3);
    }
}

const CHALLENGE: [u8; 32] = [0xC4; 32];

fn token_of(room: usize, answers: Vec<Answer>) -> (FakeEl3, Result<Vec<u8>, AttestationError>) {
    let (el3, mut calls) = el3(answers);
    let mut into = vec![0; room];
    let result = calls.platform_token(&CHALLENGE, &mut into);
    let token = result.map(|bytes| into[..bytes].to_vec());
    (el3, token)
}

#[test]
fn token_in_one_part() {
    let bytes: Vec<u8> = (0..=255).cycle().take(1518).collect();
    let (el3, token) = token_of(4096, vec![([0, 1518, 0], bytes.clone())]);
    assert_eq!(token, Ok(bytes));
    let calls = &el3.0.borrow().calls.clone();
    assert_eq!(calls[..], [([0xC400_01B3, PAGE, 4096, 32], CHALLENGE)]);
    assert_wiped(&el3);
}

#[test]
fn token_in_parts_names_the_challenge_once() {
    let answers = vec![
        ([0, 4096, 5000], vec![1; 4096]),
        ([0, 4096, 904], vec![2; 4096]),
        ([0, 904, 0], vec![3; 904]),
    ];
    let (el3, token) = token_of(9096, answers);
    let expected = [vec![1; 4096], vec![2; 4096], vec![3; 904]].concat();
    assert_eq!(token, Ok(expected));
    let calls = &el3.0.borrow().calls.clone();
    let selectors: Vec<u64> = calls.iter().map(|call| call.0[3]).collect();
    assert_eq!(selectors, [32, 0, 0]);
    assert_eq!(calls[1].1, [0; 32]);
}

#[test]
fn token_of_a_busy_platform_repeats_the_call() {
    // The platform may use the page meanwhile.
    let busy = ([-6, 0, 0], vec![0x77; 64]);
    let answers = vec![busy.clone(), busy, ([0, 3, 0], vec![7, 8, 9])];
    let (el3, token) = token_of(4096, answers);
    assert_eq!(token, Ok(vec![7, 8, 9]));
    let calls = &el3.0.borrow().calls.clone();
    assert_eq!(calls.len(), 3);
    for call in calls {
        assert_eq!(*call, ([0xC400_01B3, PAGE, 4096, 32], CHALLENGE));
    }
}

#[test]
fn token_failures() {
    let long = |length: i64| ([0, length, 0], vec![1; 4096]);
    for (room, answer, error) in [
        (4096, ([-1, 0, 0], vec![]), AttestationError::Refused(-1)),
        (4096, ([-5, 0, 0], vec![]), AttestationError::Refused(-5)),
        (4096, long(4097), AttestationError::Length(4097)),
        (4096, long(0), AttestationError::Length(0)),
        // A platform that always has more gives no more than there is room for.
        (
            9000,
            ([0, 4096, 1], vec![1; 4096]),
            AttestationError::NoRoom,
        ),
        (1517, long(1518), AttestationError::NoRoom),
    ] {
        let (el3, token) = token_of(room, vec![answer]);
        assert_eq!(token, Err(error));
        assert_wiped(&el3);
    }
}

#[test]
fn token_of_a_platform_without_hunks() {
    // EL3 up to 2.15 refuses to be asked for a second part.
    let answers = vec![([0, 4096, 100], vec![1; 4096]), ([-5, 0, 0], vec![])];
    let (_, token) = token_of(8192, answers);
    assert_eq!(token, Err(AttestationError::Refused(-5)));
}

#[test]
fn token_of_a_platform_that_stays_busy() {
    struct Busy;
    impl Smc for Busy {
        fn call(&self, registers: &mut SmcRegisters) {
            registers[0] = (-6_i64).cast_unsigned();
        }
    }
    impl SharedBuffer for Busy {
        fn address(&self) -> GranuleAddr {
            GranuleAddr::new(PAGE).unwrap()
        }
        fn read(&self, _: &mut [u8]) {}
        fn fill(&mut self, _: &[u8]) {}
    }
    let mut calls = AttestationCalls::new(Busy, Busy);
    let result = calls.platform_token(&CHALLENGE, &mut [0; 64]);
    assert_eq!(result, Err(AttestationError::Busy));
}
