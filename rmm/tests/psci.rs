// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! PSCI calls of a Realm, and how the Host completes them.

mod common;

use common::rec::{START, Step, Vcpu, check, smc};
use common::{PAGE, Realm, Shape, World, world};
use rmi::{Command, ExitReason, RecEnter, RecExit, RmiError};

const VERSION: u64 = 0x8400_0000;
const CPU_SUSPEND: u64 = 0xC400_0001;
const CPU_OFF: u64 = 0x8400_0002;
const CPU_ON: u64 = 0xC400_0003;
const CPU_ON_32: u64 = 0x8400_0003;
const AFFINITY_INFO: u64 = 0xC400_0004;
const SYSTEM_OFF: u64 = 0x8400_0008;
const SYSTEM_RESET: u64 = 0x8400_0009;
const FEATURES: u64 = 0x8400_000A;

const NOT_SUPPORTED: u64 = u64::MAX;
const INVALID_PARAMETERS: u64 = u64::MAX - 1;
const DENIED: u64 = u64::MAX - 2;
const ALREADY_ON: u64 = u64::MAX - 3;
const INVALID_ADDRESS: u64 = u64::MAX - 8;

const SHARED: u64 = 1 << 39;
const ENTRY: u64 = 2 * PAGE;
const CONTEXT: u64 = 0x1234_5678_9ABC_DEF0;

/// Creates a Realm with a REC that runs and one that is off.
fn two<'w, 'm>(w: &'w World<'m>) -> (Realm<'w, 'm>, Vcpu<'w, 'm>, Vcpu<'w, 'm>) {
    let realm = w.realm(Shape::DEFAULT);
    let (first, second) = (realm.rec(0, true), realm.rec(1, false));
    realm.activate();
    (realm, first, second)
}

/// A step: asserts how a call ended.
fn returned(answer: u64) -> Step {
    check(move |_, context| {
        assert_eq!(context.gprs[..4], [answer, 0, 0, 0]);
        for n in 4..31 {
            assert_eq!(context.gprs[n], 0x70 + u64::try_from(n).unwrap(), "x{n}");
        }
        assert_eq!(context.pc, START + 4);
    })
}

fn assert_answer<const N: usize>(vcpu: &Vcpu<'_, '_>, call: [u64; N], answer: u64) {
    let exit = vcpu.enter_and(vec![smc(call), returned(answer)]);
    assert_eq!(exit.reason(), Some(ExitReason::Irq), "{call:x?}");
}

fn psci_exit(call: [u64; 2]) -> RecExit {
    let mut exit = RecExit::default();
    exit.exit_reason = ExitReason::Psci.code();
    exit.gprs[..2].copy_from_slice(&call);
    exit
}

fn complete(w: &World<'_>, calling: u64, target: u64, status: u64) -> Result<(), RmiError> {
    w.run(Command::PsciComplete {
        calling_rec: calling,
        target_rec: target,
        status,
    })
}

#[test]
fn version_and_features_need_no_host() {
    world(|w| {
        let (_, vcpu, _) = two(w);
        assert_answer(&vcpu, [VERSION], 0x1_0001);
        for fid in [
            VERSION,
            CPU_SUSPEND,
            CPU_SUSPEND & !(1 << 30),
            CPU_OFF,
            CPU_ON,
            CPU_ON_32,
            AFFINITY_INFO,
            SYSTEM_OFF,
            SYSTEM_RESET,
            FEATURES,
            0x8000_0000,
        ] {
            assert_answer(&vcpu, [FEATURES, fid], 0);
        }
        for fid in [
            0x8400_0005,
            0x8400_0006,
            0xC400_000E,
            0xC400_0012,
            0xC400_0015,
            0xC400_0190,
        ] {
            assert_answer(&vcpu, [FEATURES, fid], NOT_SUPPORTED);
        }
        for fid in [0x8400_0005, 0x8400_0006, 0xC400_0002, 0x8400_001F] {
            assert_answer(&vcpu, [fid], NOT_SUPPORTED);
        }
    });
}

#[test]
fn suspend_is_a_standby_state() {
    world(|w| {
        let (_, vcpu, _) = two(w);
        let exit = vcpu.call_with([CPU_SUSPEND, 1, 2, 3]);
        assert_eq!(exit, psci_exit([CPU_SUSPEND, 0]));
        vcpu.enter_and(vec![returned(0)]);
    });
}

#[test]
fn cpu_on_is_refused_without_the_host() {
    world(|w| {
        let (_, vcpu, _) = two(w);
        assert_answer(&vcpu, [CPU_ON, 1, SHARED, 0], INVALID_ADDRESS);
        assert_answer(&vcpu, [CPU_ON, 1, u64::MAX, 0], INVALID_ADDRESS);
        for target in [2, 0x100, 0x10, 1 << 32, 1 << 31, u64::MAX] {
            assert_answer(&vcpu, [CPU_ON, target, ENTRY, 0], INVALID_PARAMETERS);
        }
        assert_answer(&vcpu, [CPU_ON, 0, ENTRY, 0], ALREADY_ON);
    });
}

#[test]
fn affinity_info_is_refused_without_the_host() {
    world(|w| {
        let (_, vcpu, _) = two(w);
        assert_answer(&vcpu, [AFFINITY_INFO, 0, 0], 0);
        assert_answer(&vcpu, [AFFINITY_INFO, 0, 1 << 32], 0);
        assert_answer(&vcpu, [AFFINITY_INFO, 0, 1], INVALID_PARAMETERS);
        assert_answer(&vcpu, [AFFINITY_INFO, 2, 0], INVALID_PARAMETERS);
    });
}

#[test]
fn cpu_on_starts_the_target() {
    world(|w| {
        let (_, first, second) = two(w);
        w.script(vec![
            Box::new(|realm, context| {
                realm.el1.borrow_mut().sctlr_el1 = 1 << 25 | 1;
                smc([CPU_ON, 1, ENTRY, CONTEXT])(realm, context)
            }),
            returned(0),
        ]);
        assert_eq!(first.enter(), psci_exit([CPU_ON, 1]));
        let plain = RecEnter::default();
        assert_eq!(first.try_enter(&plain), Err(RmiError::Rec));
        assert_eq!(second.try_enter(&plain), Err(RmiError::Rec));
        assert_eq!(complete(w, first.rec, second.rec, 0), Ok(()));
        assert_eq!(complete(w, first.rec, second.rec, 0), Err(RmiError::Input));
        first.enter();
        second.enter_and(vec![check(|realm, context| {
            assert_eq!((context.pc, context.pstate), (ENTRY, 0x3C5));
            assert_eq!(context.gprs[0], CONTEXT);
            assert_eq!(context.gprs[1..], [0; 30]);
            assert_eq!(realm.el1.borrow().sctlr_el1, 0x32D0_0980);
            assert_eq!(realm.controls().unwrap().vmpidr, 0x8000_0001);
        })]);
    });
}

#[test]
fn cpu_on_of_smc32_takes_words() {
    world(|w| {
        let (_, first, second) = two(w);
        let junk = 0xABCD << 32;
        let exit = first.call_with([CPU_ON_32, 1 | junk, ENTRY | junk, 7 | junk]);
        assert_eq!(exit, psci_exit([CPU_ON_32, 1]));
        assert_eq!(complete(w, first.rec, second.rec, 0), Ok(()));
        second.enter_and(vec![check(|_, context| {
            assert_eq!((context.pc, context.gprs[0]), (ENTRY, 7));
        })]);
    });
}

#[test]
fn host_may_deny_and_the_target_stays_off() {
    world(|w| {
        let (_, first, second) = two(w);
        first.call_with([CPU_ON, 1, ENTRY, CONTEXT]);
        assert_eq!(complete(w, first.rec, second.rec, DENIED), Ok(()));
        first.enter_and(vec![returned(DENIED)]);
        let plain = RecEnter::default();
        assert_eq!(second.try_enter(&plain), Err(RmiError::Rec));
    });
}

#[test]
fn affinity_info_tells_on_from_off() {
    world(|w| {
        let (_, first, second) = two(w);
        for answer in [1, 0] {
            let exit = first.call_with([AFFINITY_INFO, 1, 0]);
            assert_eq!(exit, psci_exit([AFFINITY_INFO, 1]));
            assert_eq!(
                complete(w, first.rec, second.rec, DENIED),
                Err(RmiError::Input)
            );
            assert_eq!(complete(w, first.rec, second.rec, 0), Ok(()));
            first.enter_and(vec![returned(answer)]);
            if answer == 1 {
                first.call_with([CPU_ON, 1, ENTRY, CONTEXT]);
                assert_eq!(complete(w, first.rec, second.rec, 0), Ok(()));
                first.enter_and(vec![returned(0)]);
            }
        }
        // On already: the Host cannot deny what is there.
        first.call_with([CPU_ON, 1, ENTRY, CONTEXT]);
        assert_eq!(
            complete(w, first.rec, second.rec, DENIED),
            Err(RmiError::Input)
        );
        assert_eq!(complete(w, first.rec, second.rec, 0), Ok(()));
        first.enter_and(vec![returned(ALREADY_ON)]);
    });
}

#[test]
fn completion_is_refused_and_stays_pending() {
    world(|w| {
        let (realm, first, second) = two(w);
        let other = w.realm(Shape {
            vmid: 2,
            ..Shape::DEFAULT
        });
        let stranger = other.rec(0, false);
        let stranger_one = other.rec(1, false);
        assert_eq!(
            complete(w, first.rec, second.rec, 0),
            Err(RmiError::Input),
            "not pending"
        );
        first.call_with([CPU_ON, 1, ENTRY, CONTEXT]);
        let (a, b) = (first.rec, second.rec);
        for (calling, target, status) in [
            (a, a, 0),
            (b, a, 0),
            (a, b, u64::MAX),
            (a, b, 1),
            (a, b, 2),
            (a + 8, b, 0),
            (a, b + 8, 0),
            (0, b, 0),
            (a, 0, 0),
            (realm.rd, b, 0),
            (a, realm.rd, 0),
            (a, w.delegated(), 0),
            (a, stranger.rec, 0),
            (a, stranger_one.rec, 0),
        ] {
            let result = complete(w, calling, target, status);
            assert_eq!(
                result,
                Err(RmiError::Input),
                "{calling:#x} {target:#x} {status}"
            );
        }
        assert_eq!(complete(w, a, b, 0), Ok(()));
    });
}

#[test]
fn cpu_off_ends_until_another_turns_it_on() {
    world(|w| {
        let (_, first, second) = two(w);
        first.call_with([CPU_ON, 1, ENTRY, CONTEXT]);
        complete(w, first.rec, second.rec, 0).unwrap();
        assert_eq!(second.call_with([CPU_OFF]), psci_exit([CPU_OFF, 0]));
        let plain = RecEnter::default();
        assert_eq!(second.try_enter(&plain), Err(RmiError::Rec));
        first.enter_and(vec![returned(0)]);
        first.call_with([CPU_ON, 1, ENTRY + PAGE, 9]);
        complete(w, first.rec, second.rec, 0).unwrap();
        second.enter_and(vec![check(|_, context| {
            assert_eq!((context.pc, context.gprs[0]), (ENTRY + PAGE, 9));
        })]);
    });
}

#[test]
fn system_off_ends_the_realm() {
    for fid in [SYSTEM_OFF, SYSTEM_RESET] {
        world(|w| {
            let (realm, first, second) = two(w);
            assert_eq!(first.call_with([fid, 5]), psci_exit([fid, 0]));
            let plain = RecEnter::default();
            for vcpu in [&first, &second] {
                assert_eq!(vcpu.try_enter(&plain), Err(RmiError::Realm(1)));
            }
            for rec in [first.rec, second.rec] {
                w.run(Command::RecDestroy { rec }).unwrap();
            }
            assert_eq!(realm.destroy(), Ok(()));
        });
    }
}
