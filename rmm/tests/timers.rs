// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A Realm's timers: what the Host hears of them, and what is masked meanwhile.

mod common;

use common::rec::{START, Step, check};
use common::world;
use rmi::{ExitReason, RecExit};
use rmm_hal::{Exit, Syndrome, TimerState};
use zerocopy::FromZeros;

/// `CNTx_CTL_EL0`: on, and its condition met or not.
const FIRED: u64 = 0b101;
const WAITS: u64 = 0b001;

fn of_reason(reason: ExitReason) -> RecExit {
    let mut exit = RecExit::new_zeroed();
    exit.exit_reason = reason.code();
    exit
}

#[test]
fn timer_that_changes_its_output_ends_the_run_once() {
    world(|w| {
        let (_, vcpu) = w.running();
        let timers = TimerState {
            cntv_ctl: 0b101,
            cntv_cval: 77,
            cntp_ctl: 2,
            cntp_cval: 88,
        };
        // The timer fires while the Realm is in the monitor.
        w.script(vec![Box::new(move |realm, _| {
            realm.timers.set(timers);
            let esr = 0x18 << 26 | 3 << 20 | 4 << 1 | 1;
            Exit::Sync(Syndrome {
                esr,
                far: 0,
                hpfar: 0,
            })
        })]);
        let exit = vcpu.enter();
        let mut expected = of_reason(ExitReason::Irq);
        (expected.cntv_ctl, expected.cntv_cval) = (0b101, 77);
        (expected.cntp_ctl, expected.cntp_cval) = (2, 88);
        assert_eq!(exit, expected);
        assert_eq!(w.runs(), 1);
        // The Host knows: the signal is masked and the Realm runs until it changes the output.
        let exit = vcpu.enter_and(vec![
            Box::new(|realm, context| {
                assert_eq!(realm.masked.get(), (true, false));
                context.gprs[0] = 0x8400_0000;
                Exit::Sync(Syndrome {
                    esr: 0x17 << 26,
                    far: 0,
                    hpfar: 0,
                })
            }),
            Box::new(|realm, context| {
                realm.timers.set(TimerState {
                    cntv_ctl: 0b001,
                    ..realm.timers.get()
                });
                context.gprs[0] = 0x8400_0000;
                Exit::Sync(Syndrome {
                    esr: 0x17 << 26,
                    far: 0,
                    hpfar: 0,
                })
            }),
        ]);
        assert_eq!(exit.cntv_ctl, 0b001);
        assert_eq!(w.runs(), 3);
        vcpu.enter_and(vec![check(|realm, _| {
            assert_eq!(realm.masked.get(), (false, false));
        })]);
    });
}

/// An access that traps: CRm and op2 of a timer's register, the general register, reading or writing.
fn timer_access(crm: u64, op2: u64, rt: u64, is_read: bool) -> Exit {
    let name = 3 << 20 | op2 << 17 | 3 << 14 | 14 << 10 | crm << 1;
    Exit::Sync(Syndrome {
        esr: 0x18 << 26 | 1 << 25 | name | rt << 5 | u64::from(is_read),
        far: 0,
        hpfar: 0,
    })
}

#[test]
fn masked_timer_that_is_set_again_ends_the_run() {
    const VIRTUAL: u64 = 3;
    const PHYSICAL: u64 = 2;
    const COMPARE: u64 = 2;
    for (crm, is_virtual) in [(VIRTUAL, true), (PHYSICAL, false)] {
        world(|w| {
            let (_, vcpu) = w.running();
            let fired = if is_virtual {
                TimerState {
                    cntv_ctl: FIRED,
                    ..TimerState::default()
                }
            } else {
                TimerState {
                    cntp_ctl: FIRED,
                    ..TimerState::default()
                }
            };
            vcpu.enter_and(vec![Box::new(move |realm, _| {
                realm.timers.set(fired);
                Exit::Irq
            })]);
            // It looks, which changes nothing; then it sets the timer for later.
            let steps: Vec<Step> = vec![
                Box::new(move |realm, _| {
                    assert_eq!(realm.masked.get(), (is_virtual, !is_virtual));
                    timer_access(crm, 1, 4, true)
                }),
                Box::new(move |_, context| {
                    assert_eq!((context.gprs[4], context.pc), (FIRED, START + 4));
                    context.gprs[5] = 0x1234;
                    timer_access(crm, COMPARE, 5, false)
                }),
            ];
            let exit = vcpu.enter_and(steps);
            let mut expected = of_reason(ExitReason::Irq);
            if is_virtual {
                (expected.cntv_ctl, expected.cntv_cval) = (WAITS, 0x1234);
            } else {
                (expected.cntp_ctl, expected.cntp_cval) = (WAITS, 0x1234);
            }
            assert_eq!(exit, expected);
            // From here on it fires for the Host to hear.
            vcpu.enter_and(vec![check(|realm, context| {
                assert_eq!(realm.masked.get(), (false, false));
                assert_eq!(context.pc, START + 8);
            })]);
        });
    }
}
