// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Running RECs: what the Host may say at entry, what it learns at exit, what the Realm sees.

mod common;

use common::rec::{START, Step, check, data_abort, fetch_abort, trap};
use common::{PAGE, Shape, world};
use rmi::{Command, EnterFlags, ExitReason, RecEnter, RecExit, RmiError};
use rmm_fake::Pas;
use rmm_hal::{Exit, Hal};
use zerocopy::{FromZeros, IntoBytes};

const WRONG_REC: Result<RecExit, RmiError> = Err(RmiError::Rec);
const REFUSED: Result<RecExit, RmiError> = Err(RmiError::Input);

const ISV: u64 = 1 << 24;
const TRANSLATION_3: u64 = 7;

fn flags(flags: EnterFlags) -> RecEnter {
    let mut enter = RecEnter::default();
    enter.set_enter_flags(flags);
    enter
}

fn of_reason(reason: ExitReason) -> RecExit {
    let mut exit = RecExit::new_zeroed();
    exit.exit_reason = reason.code();
    exit
}

fn sync_exit(esr: u64, far: u64, hpfar: u64) -> RecExit {
    let mut exit = of_reason(ExitReason::Sync);
    (exit.esr, exit.far, exit.hpfar) = (esr, far, hpfar);
    exit
}

#[test]
fn first_entry_starts_where_the_host_said() {
    world(|w| {
        let (_, vcpu) = w.running();
        let exit = vcpu.enter_and(vec![check(|realm, context| {
            assert_eq!((context.pc, context.pstate), (START, 0x3C5));
            let gprs: [u64; 8] = core::array::from_fn(|n| 0x1000 + u64::try_from(n).unwrap());
            assert_eq!(context.gprs[..8], gprs);
            assert_eq!(context.gprs[8..], [0; 23]);
            let controls = realm.controls().unwrap();
            assert_eq!(controls.vmpidr, 0x8000_0000);
            assert!(!controls.trap_wfi && !controls.trap_wfe);
            assert_eq!((controls.sve, controls.pmu_counters), (None, None));
        })]);
        assert_eq!(exit, of_reason(ExitReason::Irq));
    });
}

#[test]
fn entry_refuses_pages_before_states() {
    world(|w| {
        let realm = w.realm(Shape::DEFAULT);
        let on = realm.rec(0, true);
        let off = realm.rec(1, false);
        let secure = w.fresh();
        w.machine().set_pas(secure, Pas::Secure);
        let page = w.fresh().raw();
        let enter = |rec, run_ptr| w.run(Command::RecEnter { rec, run_ptr });
        for stage in 0..2 {
            for rec in [on.rec, off.rec] {
                for bad in [page + 8, 0, secure.raw(), realm.rd] {
                    assert_eq!(enter(rec, bad), Err(RmiError::Input), "{stage}");
                }
            }
            for bad in [on.rec + 8, 0, realm.rd, page, w.delegated()] {
                assert_eq!(enter(bad, page), Err(RmiError::Input), "{stage}");
            }
            if stage == 0 {
                assert_eq!(enter(on.rec, page), Err(RmiError::Realm(0)));
                assert_eq!(enter(off.rec, page), Err(RmiError::Realm(0)));
                realm.activate();
            }
        }
        assert_eq!(enter(off.rec, page), Err(RmiError::Rec));
        assert_eq!(w.runs(), 0);
        assert_eq!(enter(on.rec, page), Ok(()));
    });
}

#[test]
fn entry_survives_a_page_that_goes_away() {
    world(|w| {
        let (_, vcpu) = w.running();
        w.pe.fault_ns_after(Some(0x380));
        assert_eq!(vcpu.try_enter(&RecEnter::default()), REFUSED);
        assert_eq!(w.runs(), 0);
        // The Realm runs, and cannot be told of.
        w.script(vec![]);
        w.pe.fault_ns_after(Some(0x800));
        assert_eq!(vcpu.try_enter(&RecEnter::default()), REFUSED);
        assert_eq!(w.runs(), 1);
        w.pe.fault_ns_after(None);
        assert_eq!(vcpu.enter(), of_reason(ExitReason::Irq));
    });
}

#[test]
fn running_rec_is_left_alone() {
    world(|w| {
        let (realm, vcpu) = w.running();
        let (rd, rec, run_ptr) = (realm.rd, vcpu.rec, vcpu.page.raw());
        // Another PE, while this one runs the REC.
        let other = rmm_fake::FakePe::new(w.machine());
        let monitor = w.monitor;
        w.pe.realm().set_program(Box::new(move |_, _| {
            let call = |command: Command| monitor.handle(&other, &command.encode())[0];
            let busy = RmiError::Rec.pack();
            assert_eq!(call(Command::RecEnter { rec, run_ptr }), busy);
            let bad_page = Command::RecEnter { rec, run_ptr: rd };
            assert_eq!(call(bad_page), RmiError::Input.pack());
            assert_eq!(call(Command::RecDestroy { rec }), busy);
            let (base, top) = (0, PAGE);
            let set = Command::RttSetRipas { rd, rec, base, top };
            assert_eq!(call(set), busy);
            let undelegate = Command::GranuleUndelegate { addr: rec };
            assert_eq!(call(undelegate), RmiError::Input.pack());
            assert_eq!(
                call(Command::RealmDestroy { rd }),
                RmiError::Realm(0).pack()
            );
            Exit::Irq
        }));
        assert_eq!(vcpu.enter(), of_reason(ExitReason::Irq));
        w.run(Command::RecDestroy { rec }).unwrap();
    });
}

#[test]
fn entry_checks_interrupts() {
    world(|w| {
        let (_, vcpu) = w.running();
        let mut enter = RecEnter::default();
        enter.gicv3_hcr = 1;
        assert_eq!(vcpu.try_enter(&enter), WRONG_REC);
        enter.gicv3_hcr = 0x4002;
        enter.gicv3_lrs[0] = 1 << 62 | 1 << 61 | 27;
        assert_eq!(vcpu.try_enter(&enter), WRONG_REC);
        assert_eq!(w.runs(), 0);
        enter.gicv3_lrs[0] = 1 << 62 | 1 << 60 | 27;
        w.script(vec![Box::new(|realm, _| {
            let mut gic = realm.gic.borrow_mut();
            assert_eq!(gic.hcr, 0xC103);
            assert_eq!(gic.lrs[0], 1 << 62 | 1 << 60 | 27);
            // The Realm acknowledged it; one more was ended without a list register.
            gic.lrs[0] = 1 << 63 | 1 << 60 | 27;
            gic.hcr |= 1 << 27;
            gic.misr = 1;
            gic.vmcr = 0xF00_0002;
            gic.ap1r[0] = 0x10;
            Exit::Irq
        })]);
        let exit = vcpu.try_enter(&enter).unwrap();
        let mut expected = of_reason(ExitReason::Irq);
        expected.gicv3_hcr = 0x800_4002;
        expected.gicv3_lrs[0] = 1 << 63 | 1 << 60 | 27;
        expected.gicv3_misr = 1;
        expected.gicv3_vmcr = 0xF00_0002;
        assert_eq!(exit, expected);
        let exit = vcpu.enter_and(vec![check(|realm, _| {
            let gic = realm.gic.borrow();
            assert_eq!((gic.hcr, gic.lrs[0]), (0x8101, 0));
            assert_eq!((gic.vmcr, gic.ap1r[0]), (0xF00_0002, 0x10));
        })]);
        assert_eq!(exit.gicv3_hcr, 0);
    });
}

#[test]
fn emulated_load_fills_the_register() {
    world(|w| {
        let (realm, vcpu) = w.running();
        let at = realm.shape.shared() + 0x1234;
        // ldrsh w3, [...]
        let esr = ISV | 1 << 22 | 1 << 21 | 3 << 16 | TRANSLATION_3;
        let exit = vcpu.enter_and(vec![data_abort(esr, at)]);
        let visible = 0x24 << 26 | ISV | 1 << 22 | TRANSLATION_3;
        assert_eq!(exit, sync_exit(visible, 0x234, 0x80_0000_1000 >> 8));

        let mut enter = flags(EnterFlags::EMUL_MMIO);
        enter.gprs[0] = 0x1_8765;
        w.script(vec![check(|_, context| {
            assert_eq!(context.gprs[3], 0xFFFF_8765);
            assert_eq!(context.pc, START + 4);
        })]);
        let exit = vcpu.try_enter(&enter).unwrap();
        assert_eq!(exit, of_reason(ExitReason::Irq));
        // It was the last exit only.
        assert_eq!(vcpu.try_enter(&enter), WRONG_REC);
    });
}

#[test]
fn emulated_store_shows_its_value() {
    world(|w| {
        let (realm, vcpu) = w.running();
        let at = realm.shape.shared();
        let esr = ISV | 5 << 16 | 1 << 6 | TRANSLATION_3;
        let mut exit = vcpu.enter_and(vec![data_abort(esr, at)]);
        assert_eq!(exit.gprs[0], 0x05);
        exit.gprs[0] = 0;
        let visible = 0x24 << 26 | ISV | 1 << 6 | TRANSLATION_3;
        assert_eq!(exit, sync_exit(visible, 0, at >> 8));
        w.script(vec![check(|_, context| {
            assert_eq!((context.gprs[5], context.pc), (0x1005, START + 4));
        })]);
        vcpu.try_enter(&flags(EnterFlags::EMUL_MMIO)).unwrap();
    });
}

#[test]
fn access_that_is_not_emulated_is_made_again() {
    world(|w| {
        let (realm, vcpu) = w.running();
        let at = realm.shape.shared();
        vcpu.enter_and(vec![data_abort(ISV | TRANSLATION_3, at)]);
        vcpu.enter_and(vec![check(|_, context| assert_eq!(context.pc, START))]);
    });
}

#[test]
fn abort_that_cannot_be_emulated_shows_its_page() {
    world(|w| {
        let (realm, vcpu) = w.running();
        let at = realm.shape.shared() + 0x2345;
        let exit = vcpu.enter_and(vec![data_abort(1 << 6 | TRANSLATION_3, at)]);
        let visible = 0x24 << 26 | 1 << 25 | TRANSLATION_3;
        assert_eq!(exit, sync_exit(visible, 0, 0x80_0000_2000 >> 8));
        assert_eq!(vcpu.try_enter(&flags(EnterFlags::EMUL_MMIO)), WRONG_REC);
        // It can fail, and then it does not matter what else the Host says.
        w.script(vec![check(|realm, context| {
            let el1 = realm.el1.borrow();
            assert_eq!(el1.esr_el1, 0x25 << 26 | 1 << 25 | 1 << 9 | 1 << 6 | 0x10);
            assert_eq!(el1.far_el1, 0xFFFF_8000_0000_0345);
            assert_eq!(el1.elr_el1, START);
            assert_eq!(context.pc, 0x200);
        })]);
        let both = EnterFlags::EMUL_MMIO | EnterFlags::INJECT_SEA;
        assert_eq!(vcpu.try_enter(&flags(both)), Ok(of_reason(ExitReason::Irq)));
        // Without an abort it has no effect.
        w.script(vec![check(|_, context| assert_eq!(context.pc, 0x200))]);
        assert!(vcpu.try_enter(&flags(EnterFlags::INJECT_SEA)).is_ok());
    });
}

#[test]
fn protected_access_depends_on_the_page() {
    world(|w| {
        let (realm, vcpu) = w.running();
        // RAM with memory, which came while the Realm stopped: again.
        let exit = vcpu.enter_and(vec![data_abort(TRANSLATION_3, 0x123)]);
        assert_eq!(exit, of_reason(ExitReason::Irq));
        // RAM without.
        let exit = vcpu.enter_and(vec![data_abort(ISV | 1 << 6 | TRANSLATION_3, PAGE + 8)]);
        assert_eq!(exit, sync_exit(0x24 << 26 | TRANSLATION_3, 0, PAGE >> 8));
        assert_eq!(vcpu.try_enter(&flags(EnterFlags::EMUL_MMIO)), WRONG_REC);
        let exit = vcpu.enter_and(vec![fetch_abort(TRANSLATION_3, 2 * PAGE)]);
        assert_eq!(
            exit,
            sync_exit(0x20 << 26 | TRANSLATION_3, 0, (2 * PAGE) >> 8)
        );
        // EMPTY.
        for (step, esr) in [
            (data_abort(TRANSLATION_3, 8 * PAGE), 0x25 << 26),
            (fetch_abort(TRANSLATION_3, 8 * PAGE), 0x21 << 26),
        ] {
            let taken = check(move |realm, context| {
                assert_eq!(realm.el1.borrow().esr_el1, esr | 1 << 25 | 1 << 9 | 0x10);
                assert_eq!(context.pc, 0x200);
            });
            assert_eq!(
                vcpu.enter_and(vec![step, taken]),
                of_reason(ExitReason::Irq)
            );
        }
        // DESTROYED.
        let (rd, ipa) = (realm.rd, 0);
        assert_eq!(w.registers(Command::DataDestroy { rd, ipa })[0], 0);
        let exit = vcpu.enter_and(vec![data_abort(TRANSLATION_3, 0)]);
        assert_eq!(exit, sync_exit(0x24 << 26 | TRANSLATION_3, 0, 0));
    });
}

#[test]
fn inject_sea_has_no_effect_after_a_protected_abort() {
    world(|w| {
        let (_, vcpu) = w.running();
        vcpu.enter_and(vec![data_abort(TRANSLATION_3, PAGE)]);
        w.script(vec![check(|_, context| assert_eq!(context.pc, START))]);
        assert!(vcpu.try_enter(&flags(EnterFlags::INJECT_SEA)).is_ok());
    });
}

#[test]
fn fetch_from_unprotected_memory_fails_in_the_realm() {
    world(|w| {
        let (realm, vcpu) = w.running();
        let taken = check(|realm, _| {
            assert_eq!(realm.el1.borrow().esr_el1, 0x21 << 26 | 1 << 25 | 0x210);
        });
        let at = realm.shape.shared();
        let exit = vcpu.enter_and(vec![fetch_abort(0xF, at), taken]);
        assert_eq!(exit, of_reason(ExitReason::Irq));
    });
}

#[test]
fn access_beyond_the_address_space_is_an_address_size_fault() {
    world(|w| {
        let (realm, vcpu) = w.running();
        // A table of 4 KiB granules and 25 bits in the Realm's first page: level 2, then the block's end.
        let outside = 1_u64 << 40;
        let tables = [(8, outside | 0b01)];
        for (offset, entry) in tables {
            let (granules, tree) = (w.monitor.granules(), realm.tree());
            let at = rmi::Ipa::new(offset);
            rmm::realm::memory::write(granules, &w.pe, &tree, at, &entry.to_le_bytes()).unwrap();
        }
        for (mmu, va, level) in [(0, 0x8888, 0), (1, 0x20_0888, 2), (1, 1 << 55, 0)] {
            let enable: Step = Box::new(move |realm, _| {
                let mut el1 = realm.el1.borrow_mut();
                el1.sctlr_el1 = mmu;
                el1.tcr_el1 = 39 | 39 << 16 | 0b10 << 30;
                el1.ttbr0_el1 = 0;
                el1.ttbr1_el1 = outside;
                Exit::Sync(rmm_hal::Syndrome {
                    esr: 0x24 << 26 | 1 << 25 | ISV | TRANSLATION_3,
                    far: va,
                    hpfar: outside >> 8,
                })
            });
            let taken = check(move |realm, _| {
                let el1 = realm.el1.borrow();
                assert_eq!(el1.esr_el1, 0x25 << 26 | 1 << 25 | level);
                assert_eq!(el1.far_el1, va);
            });
            let exit = vcpu.enter_and(vec![enable, taken]);
            assert_eq!(exit, of_reason(ExitReason::Irq));
        }
    });
}

#[test]
fn waiting_exits_where_the_host_asked() {
    world(|w| {
        let (_, vcpu) = w.running();
        w.script(vec![
            Box::new(|realm, _| {
                let controls = realm.controls().unwrap();
                assert!(controls.trap_wfi && !controls.trap_wfe);
                // wfit x5
                let esr = 1 << 26 | 1 << 25 | 5 << 5 | 1 << 2 | 0b10;
                Exit::Sync(rmm_hal::Syndrome {
                    esr,
                    far: 9,
                    hpfar: 9,
                })
            }),
            check(|realm, context| {
                assert!(realm.controls().unwrap().trap_wfe);
                assert_eq!(context.pc, START + 4);
            }),
        ]);
        let mut exit = vcpu.try_enter(&flags(EnterFlags::TRAP_WFI)).unwrap();
        assert_eq!(exit.gprs[0], 0x1005);
        exit.gprs[0] = 0;
        assert_eq!(exit, sync_exit(1 << 26 | 0b10, 0, 0));
        vcpu.try_enter(&flags(EnterFlags::TRAP_WFE)).unwrap();
    });
}

#[test]
fn what_no_realm_has_is_undefined() {
    world(|w| {
        let (_, vcpu) = w.running();
        // HVC, SVE, SME, a trapped PMU register.
        let pmcr = 0x18 << 26 | 3 << 20 | 3 << 14 | 9 << 10 | 12 << 1 | 1;
        for esr in [0x16 << 26, 0x19 << 26, 0x1D << 26 | 2, pmcr] {
            let taken = check(|realm, context| {
                let el1 = realm.el1.borrow();
                assert_eq!((el1.esr_el1, context.pc), (1 << 25, 0x200));
            });
            let reset: Step = Box::new(move |_, context| {
                context.pc = START;
                let esr = esr | 1 << 25;
                Exit::Sync(rmm_hal::Syndrome {
                    esr,
                    far: 0,
                    hpfar: 0,
                })
            });
            let exit = vcpu.enter_and(vec![reset, taken]);
            assert_eq!(exit, of_reason(ExitReason::Irq));
        }
    });
}

#[test]
fn simd_is_given_at_its_first_use() {
    world(|w| {
        let (_, vcpu) = w.running();
        let given = check(|realm, context| {
            assert!(realm.simd_enabled.get());
            assert_eq!(context.pc, START);
        });
        vcpu.enter_and(vec![trap(0x07 << 26 | 1 << 25, 0, 0), given]);
    });
}

#[test]
fn software_interrupt_goes_to_the_host() {
    world(|w| {
        let (_, vcpu) = w.running();
        // msr icc_sgi1r_el1, x2
        let name = 0x18 << 26 | 1 << 25 | 3 << 20 | 5 << 17 | 12 << 10 | 11 << 1;
        let mut exit = vcpu.enter_and(vec![trap(name | 2 << 5, 0, 0)]);
        assert_eq!(exit.gprs[0], 0x1002);
        exit.gprs[0] = 0;
        assert_eq!(exit, sync_exit(name, 0, 0));
        vcpu.enter_and(vec![check(|_, context| assert_eq!(context.pc, START + 4))]);
    });
}

#[test]
fn debug_state_takes_effect_when_the_realm_writes_it() {
    world(|w| {
        let (_, vcpu) = w.running();
        // msr mdscr_el1, x2
        let name = 0x18 << 26 | 1 << 25 | 2 << 20 | 2 << 17 | 2 << 1;
        vcpu.enter_and(vec![
            Box::new(move |realm, context| {
                assert_eq!(realm.debug.borrow().mdscr, 1 << 12);
                context.gprs[2] = 1 << 15;
                Exit::Sync(rmm_hal::Syndrome {
                    esr: name | 2 << 5,
                    far: 0,
                    hpfar: 0,
                })
            }),
            check(|realm, context| {
                assert_eq!(realm.debug.borrow().mdscr, 1 << 15);
                assert_eq!(context.pc, START + 4);
            }),
        ]);
        // It is the REC's when it comes back, too.
        vcpu.enter_and(vec![check(|realm, _| {
            assert_eq!(realm.debug.borrow().mdscr, 1 << 15);
        })]);
    });
}

#[test]
fn serror_is_reported_and_taken_by_the_realm() {
    world(|w| {
        let (_, vcpu) = w.running();
        // Unrecoverable, with bits that nobody may see.
        let esr = 0x2F << 26 | 1 << 25 | 0b011 << 10 | 1 << 13 | 0x11;
        let exit = vcpu.enter_and(vec![Box::new(move |_, _| Exit::SError { esr })]);
        let mut expected = of_reason(ExitReason::Serror);
        expected.esr = 0x2F << 26 | 0b011 << 10 | 0x11;
        assert_eq!(exit, expected);
        // Pending until the Realm takes it.
        for taken in [false, true] {
            vcpu.enter_and(vec![Box::new(move |realm, _| {
                let syndrome = 0b011 << 10 | 1 << 13 | 0x11;
                assert_eq!(realm.pending_serror.get(), Some(syndrome));
                if taken {
                    realm.pending_serror.set(None);
                }
                Exit::Irq
            })]);
        }
        vcpu.enter_and(vec![check(|realm, _| {
            assert_eq!(realm.pending_serror.get(), None);
        })]);
        // Corrected: the Realm need not know.
        let corrected = 0x2F << 26 | 0b110 << 10 | 0x11;
        vcpu.enter_and(vec![Box::new(move |_, _| Exit::SError { esr: corrected })]);
        vcpu.enter_and(vec![check(|realm, _| {
            assert_eq!(realm.pending_serror.get(), None);
        })]);
    });
}

#[test]
fn external_abort_shows_no_address_and_fails_in_the_realm() {
    world(|w| {
        let (realm, vcpu) = w.running();
        let at = realm.shape.shared();
        let exit = vcpu.enter_and(vec![data_abort(1 << 9 | 0x10, at)]);
        assert_eq!(exit, sync_exit(0x24 << 26 | 1 << 9 | 0x10, 0, 0));
        vcpu.enter_and(vec![check(|_, context| assert_eq!(context.pc, 0x200))]);
        // It is no abort that the Host may answer.
        assert_eq!(vcpu.try_enter(&flags(EnterFlags::EMUL_MMIO)), WRONG_REC);
    });
}

#[test]
fn fast_interrupt_is_told_apart() {
    world(|w| {
        let (_, vcpu) = w.running();
        let exit = vcpu.enter_and(vec![Box::new(|_, _| Exit::Fiq)]);
        assert_eq!(exit, of_reason(ExitReason::Fiq));
    });
}

#[test]
fn overflow_is_reported_for_realms_with_a_pmu() {
    let pmu = Shape {
        flags: 0b100,
        ..Shape::DEFAULT
    };
    for (shape, reported) in [(Shape::DEFAULT, 0), (pmu, 1)] {
        world(|w| {
            let (_, vcpu) = w.running_with(shape);
            w.pe.realm().pmu_overflow.set(true);
            let exit = vcpu.enter();
            assert_eq!(exit.pmu_ovf_status, reported);
            assert_eq!(exit.as_bytes().iter().filter(|byte| **byte != 0).count(), {
                // The reason, and the status.
                1 + usize::from(reported)
            });
        });
    }
}
