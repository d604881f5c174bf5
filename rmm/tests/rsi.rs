// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Calls of a Realm to the monitor, and to the Host through it.

mod common;

use common::rec::{START, Vcpu, check, smc};
use common::{PAGE, Shape, World, world};
use rmi::{Command, EnterFlags, ExitReason, GranuleAddr, RecEnter, RecExit};
use rmm_hal::RecContext;
use sha2::{Digest, Sha256};
use zerocopy::IntoBytes;

const VERSION: u64 = 0xC400_0190;
const FEATURES: u64 = 0xC400_0191;
const MEASUREMENT_READ: u64 = 0xC400_0192;
const MEASUREMENT_EXTEND: u64 = 0xC400_0193;
const REALM_CONFIG: u64 = 0xC400_0196;
const IPA_STATE_SET: u64 = 0xC400_0197;
const IPA_STATE_GET: u64 = 0xC400_0198;
const HOST_CALL: u64 = 0xC400_0199;

const SUCCESS: u64 = 0;
const INPUT: u64 = 1;
const NOT_SUPPORTED: u64 = u64::MAX;

const SHARED: u64 = 1 << 39;

/// Asserts that a call ends with these registers from x0 up, zero up to x16, and the rest as it was.
fn assert_call<const N: usize, const M: usize>(
    vcpu: &Vcpu<'_, '_>,
    call: [u64; N],
    results: [u64; M],
) {
    let exit = vcpu.enter_and(vec![
        smc(call),
        check(move |_, context| {
            assert_eq!(context.gprs[..M], results, "{call:x?}");
            assert_eq!(context.gprs[M..=16], [0; 17][M..], "{call:x?}");
            assert_kept(context, 17);
            assert_eq!(context.pc, START + 4);
        }),
    ]);
    assert_eq!(exit.reason(), Some(ExitReason::Irq), "{call:x?}");
}

/// Asserts that the registers from `first` up are as `smc` left them.
fn assert_kept(context: &RecContext, first: usize) {
    for n in first..31 {
        assert_eq!(context.gprs[n], 0x70 + u64::try_from(n).unwrap(), "x{n}");
    }
}

fn reason(exit: &RecExit) -> ExitReason {
    exit.reason().unwrap()
}

/// Returns the word at `offset` of the memory behind a page.
fn word(w: &World<'_>, data: u64, offset: usize) -> u64 {
    w.machine()
        .inspect(GranuleAddr::new(data).unwrap(), offset / 8)
}

#[test]
fn version_is_negotiated() {
    world(|w| {
        let (_, vcpu) = w.running();
        assert_call(&vcpu, [VERSION, 0x1_0000], [SUCCESS, 0x1_0000, 0x1_0000]);
        assert_call(
            &vcpu,
            [VERSION | 1 << 16, 0x1_0000],
            [SUCCESS, 0x1_0000, 0x1_0000],
        );
        for request in [
            0,
            0x1_0001,
            0x2_0000,
            1 << 31 | 0x1_0000,
            1 << 63 | 0x1_0000,
        ] {
            assert_call(&vcpu, [VERSION, request], [INPUT, 0x1_0000, 0x1_0000]);
        }
    });
}

#[test]
fn features_are_none() {
    world(|w| {
        let (_, vcpu) = w.running();
        for index in [0, 1, u64::MAX] {
            assert_call(&vcpu, [FEATURES, index], [SUCCESS, 0]);
        }
    });
}

#[test]
fn other_calls_are_not_supported_and_keep_registers() {
    world(|w| {
        let (_, vcpu) = w.running();
        let calls = [
            (0x8000_0000, 0x1_0002),
            (0x8000_0001, NOT_SUPPORTED),
            (0xC400_0150, NOT_SUPPORTED),
            (0xC400_019A, NOT_SUPPORTED),
            (0x8400_0190, NOT_SUPPORTED),
            (0x8600_FF01, NOT_SUPPORTED),
            (0, NOT_SUPPORTED),
        ];
        for (fid, answer) in calls {
            let exit = vcpu.enter_and(vec![
                smc([fid]),
                check(move |_, context| {
                    assert_eq!(context.gprs[..4], [answer, 0, 0, 0], "{fid:#x}");
                    assert_kept(context, 4);
                    assert_eq!(context.pc, START + 4);
                }),
            ]);
            assert_eq!(reason(&exit), ExitReason::Irq);
        }
    });
}

#[test]
fn realm_config_fills_a_page() {
    world(|w| {
        let (realm, vcpu) = w.running();
        for bad in [
            8,
            0x800,
            SHARED,
            SHARED + PAGE,
            1 << 40,
            u64::MAX - 0xFFF,
            8 * PAGE,
        ] {
            assert_call(&vcpu, [REALM_CONFIG, bad], [INPUT]);
        }
        let [_, _, data, _] = realm.entry(0, 3);
        assert_call(&vcpu, [REALM_CONFIG, 0], [SUCCESS]);
        assert_eq!(word(w, data, 0), 40);
        assert_eq!(word(w, data, 8), 0);
        assert_eq!(word(w, data, 0x200), 0x4242_4242_4242_4242);
        assert_eq!(word(w, data, 0x240), 0);

        // A page that is missing is the Host's to provide, and the call is made again.
        let exit = vcpu.call_with([REALM_CONFIG, PAGE]);
        assert_eq!(reason(&exit), ExitReason::Sync);
        assert_eq!(
            (exit.esr, exit.far, exit.hpfar),
            (0x24 << 26 | 7, 0, PAGE >> 8)
        );
        let data = realm.page(PAGE);
        vcpu.enter_and(vec![
            Box::new(|_, context| {
                assert_eq!((context.pc, context.gprs[0]), (START, REALM_CONFIG));
                let (esr, far, hpfar) = (0x17 << 26, 0, 0);
                rmm_hal::Exit::Sync(rmm_hal::Syndrome { esr, far, hpfar })
            }),
            check(|_, context| assert_eq!(context.gprs[0], SUCCESS)),
        ]);
        assert_eq!(word(w, data, 0), 40);
        // EMPTY without a table.
        assert_call(&vcpu, [REALM_CONFIG, 1 << 38], [INPUT]);
    });
}

#[test]
fn ipa_state_get_reads_runs() {
    world(|w| {
        let (_, vcpu) = w.running();
        let table = 0x20_0000;
        for (base, top, out, ripas) in [
            (0, PAGE, PAGE, 1),
            (0, table, 4 * PAGE, 1),
            (2 * PAGE, 3 * PAGE, 3 * PAGE, 1),
            (4 * PAGE, table, table, 0),
            // Up to the end of the table, or the end of an entry above.
            (5 * PAGE, SHARED, table, 0),
            (table + PAGE, table + 2 * PAGE, table + 2 * PAGE, 0),
            (table, SHARED, 0x4000_0000, 0),
            (SHARED - PAGE, SHARED, SHARED, 0),
        ] {
            assert_call(&vcpu, [IPA_STATE_GET, base, top], [SUCCESS, out, ripas]);
        }
        for (base, top) in [
            (8, PAGE),
            (0, 8),
            (PAGE, PAGE),
            (PAGE, 0),
            (0, SHARED + PAGE),
            (SHARED, SHARED + PAGE),
            (0, !0xFFF),
        ] {
            assert_call(&vcpu, [IPA_STATE_GET, base, top], [INPUT]);
        }
    });
}

#[test]
fn ipa_state_set_asks_the_host() {
    world(|w| {
        let (realm, vcpu) = w.running();
        for (base, top, ripas) in [
            (8, PAGE, 1),
            (0, 8, 1),
            (PAGE, PAGE, 1),
            (0, SHARED + PAGE, 1),
            (SHARED, SHARED + PAGE, 0),
            (0, PAGE, 2),
            (0, PAGE, 3),
            (0, PAGE, 0xFF),
        ] {
            assert_call(&vcpu, [IPA_STATE_SET, base, top, ripas, 0], [INPUT]);
        }
        let (rd, rec) = (realm.rd, vcpu.rec);
        let set = |base, top| w.call::<1>(Command::RttSetRipas { rd, rec, base, top });
        assert!(set(0, PAGE).is_err(), "nothing is asked for");

        let exit = vcpu.call_with([IPA_STATE_SET, 4 * PAGE, 8 * PAGE, 0xF01, 0]);
        let mut expected = rmi::RecExit::default();
        expected.exit_reason = ExitReason::RipasChange.code();
        (expected.ripas_base, expected.ripas_top) = (4 * PAGE, 8 * PAGE);
        expected.ripas_value = 1;
        assert_eq!(exit, expected);
        assert_eq!(set(4 * PAGE, 6 * PAGE), Ok([6 * PAGE]));
        let complete = |expected: [u64; 3]| {
            check(move |_, context| {
                assert_eq!(context.gprs[..3], expected);
                assert_eq!(context.gprs[3..=16], [0; 14]);
                assert_kept(context, 17);
                assert_eq!(context.pc, START + 4);
            })
        };
        vcpu.enter_and(vec![complete([SUCCESS, 6 * PAGE, 0])]);
        assert!(set(6 * PAGE, 8 * PAGE).is_err(), "the request is over");

        // Refused, in part and whole.
        let mut reject = RecEnter::default();
        reject.set_enter_flags(EnterFlags::RIPAS_REJECT);
        let rejected_after = |ripas, served, response| {
            vcpu.call_with([IPA_STATE_SET, 8 * PAGE, 9 * PAGE, ripas, 0]);
            if served {
                assert_eq!(set(8 * PAGE, 9 * PAGE), Ok([9 * PAGE]));
            }
            let base = if served { 9 * PAGE } else { 8 * PAGE };
            w.script(vec![complete([SUCCESS, base, response])]);
            vcpu.try_enter(&reject).unwrap();
        };
        rejected_after(1, false, 1);
        rejected_after(0, false, 0);
        rejected_after(1, true, 0);
    });
}

#[test]
fn ipa_state_set_keeps_destroyed_pages_unless_allowed() {
    world(|w| {
        let (realm, vcpu) = w.running();
        let (rd, rec, ipa) = (realm.rd, vcpu.rec, 0);
        assert_eq!(w.registers(Command::DataDestroy { rd, ipa })[0], 0);
        for (flags, works) in [(0, false), (0xFFFE, false), (1, true)] {
            vcpu.call_with([IPA_STATE_SET, 0, PAGE, 1, flags]);
            let (base, top) = (0, PAGE);
            let set = w.call::<1>(Command::RttSetRipas { rd, rec, base, top });
            assert_eq!(set.is_ok(), works, "{flags:#x}");
        }
    });
}

#[test]
fn host_call_carries_registers_both_ways() {
    world(|w| {
        let (realm, vcpu) = w.running();
        for bad in [8, 0x80, SHARED, 1 << 40, 8 * PAGE] {
            assert_call(&vcpu, [HOST_CALL, bad], [INPUT]);
        }
        let [_, _, data, _] = realm.entry(0, 3);
        let at = GranuleAddr::new(data).unwrap();
        fill(w, &realm, |n| 0xD00 + n);
        let exit = vcpu.call_with([HOST_CALL, 0x100]);
        let mut expected = rmi::RecExit::default();
        expected.exit_reason = ExitReason::HostCall.code();
        expected.imm = 0xD20;
        expected.gprs = core::array::from_fn(|n| 0xD21 + u64::try_from(n).unwrap());
        assert_eq!(exit, expected);

        let mut enter = RecEnter::default();
        enter.gprs = core::array::from_fn(|n| 0xE00 + u64::try_from(n).unwrap());
        w.script(vec![check(|_, context| {
            assert_eq!(context.gprs[..=16], [0; 17]);
            assert_kept(context, 17);
            assert_eq!(context.pc, START + 4);
        })]);
        vcpu.try_enter(&enter).unwrap();
        let words: Vec<u64> = (0..64).map(|n| w.machine().inspect(at, n)).collect();
        let filled = |range: std::ops::Range<u64>| range.map(|n| 0xD00 + n).collect::<Vec<_>>();
        assert_eq!(words[..0x21], filled(0..0x21));
        assert_eq!(words[0x21..0x40], enter.gprs);
    });
}

/// Fills the first page of a Realm with words: what the Realm itself would do.
fn fill(w: &World<'_>, realm: &common::Realm<'_, '_>, value: impl Fn(u64) -> u64) {
    let bytes: Vec<u8> = (0..512).flat_map(|n| value(n).to_le_bytes()).collect();
    let (granules, tree) = (w.monitor.granules(), realm.tree());
    rmm::realm::memory::write(granules, &w.pe, &tree, rmi::Ipa::new(0), &bytes).unwrap();
}

#[test]
fn host_call_waits_for_its_page() {
    world(|w| {
        let (realm, vcpu) = w.running();
        fill(w, &realm, |n| n);
        vcpu.call_with([HOST_CALL, 0xF00]);
        let (rd, ipa) = (realm.rd, 0);
        assert_eq!(w.registers(Command::DataDestroy { rd, ipa })[0], 0);
        let before = w.runs();
        for _ in 0..2 {
            let exit = vcpu.enter();
            assert_eq!(reason(&exit), ExitReason::Sync);
            assert_eq!((exit.esr, exit.far, exit.hpfar), (0x24 << 26 | 7, 0, 0));
        }
        assert_eq!(w.runs(), before, "the Realm does not run meanwhile");
        w.run(Command::RecDestroy { rec: vcpu.rec }).unwrap();
    });
}

#[test]
fn measurements_are_read_and_extended() {
    world(|w| {
        let (_, vcpu) = w.running();
        for index in 1..=4 {
            assert_call(&vcpu, [MEASUREMENT_READ, index], [SUCCESS]);
        }
        assert_call(&vcpu, [MEASUREMENT_READ, 5], [INPUT]);
        assert_call(&vcpu, [MEASUREMENT_READ, u64::MAX], [INPUT]);
        vcpu.enter_and(vec![
            smc([MEASUREMENT_READ, 0]),
            check(|_, context| {
                assert_eq!(context.gprs[0], SUCCESS);
                assert!(context.gprs[1..5].iter().all(|word| *word != 0));
                assert_eq!(context.gprs[5..9], [0; 4]);
            }),
        ]);

        let value: [u64; 8] =
            core::array::from_fn(|n| 0x0102_0304_0506_0700 + u64::try_from(n).unwrap());
        let [a, b, c, d, e, f, g, h] = value;
        for (index, size) in [(0, 8), (5, 8), (1, 65), (1, u64::MAX)] {
            assert_call(
                &vcpu,
                [MEASUREMENT_EXTEND, index, size, a, b, c, d, e, f, g, h],
                [INPUT],
            );
        }
        let mut expected = [0_u8; 64];
        for size in [0, 1, 33, 64] {
            let length = u64::try_from(size).unwrap();
            let call = [MEASUREMENT_EXTEND, 2, length, a, b, c, d, e, f, g, h];
            assert_call(&vcpu, call, [SUCCESS]);
            let bytes = &value.as_bytes()[..size];
            let digest = Sha256::new()
                .chain_update(&expected[..32])
                .chain_update(bytes);
            expected[..32].copy_from_slice(&digest.finalize());
            let mut results = [0; 9];
            results[1..].copy_from_slice(&rmi::rsi::registers_of_bytes(&expected));
            assert_call(&vcpu, [MEASUREMENT_READ, 2], results);
        }
        assert_call(&vcpu, [MEASUREMENT_READ, 1], [SUCCESS]);
        assert_call(&vcpu, [MEASUREMENT_READ, 3], [SUCCESS]);
    });
}

#[test]
fn smccc_version_grows_with_sve() {
    world(|w| {
        let realm = w.realm(Shape {
            flags: 0b10,
            ..Shape::DEFAULT
        });
        let mut params = common::rec::params(0, true);
        params.num_aux = 3;
        params.aux[..3].copy_from_slice(&[w.delegated(), w.delegated(), w.delegated()]);
        let rec = w.delegated();
        realm.try_rec(rec, &params).unwrap();
        realm.activate();
        let aux = params.aux;
        let page = w.fresh();
        let vcpu = Vcpu {
            world: w,
            rec,
            page,
        };
        vcpu.enter_and(vec![
            smc([0x8000_0000]),
            check(move |realm, context| {
                assert_eq!(context.gprs[0], 0x1_0003);
                let sve = realm.controls().unwrap().sve.unwrap();
                assert_eq!(sve.storage.map(GranuleAddr::raw), aux[..3]);
            }),
        ]);
    });
}
