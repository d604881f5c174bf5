// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A Realm that makes noise: random exceptions, calls and registers, and a Host that reacts at random.
//!
//! Nothing of it may panic, and every exit shows only what its reason allows. A failure prints its seed.

use conformance::audit::audit;
use conformance::bench::{
    ASSIGNED, BEYOND, Bench, DESTROYED, EMPTY, ExitPage, SHARED, Step, UNASSIGNED, with_bench,
};
use conformance::model::Rng;
use rmi::{Command, RecEnter, RmiReturn};
use rmm_hal::{Exit, RecContext, Syndrome};
use scenarios::desc::READ_WRITE_BACK;

/// Entries of one walk.
const ENTRIES: usize = if cfg!(debug_assertions) {
    20_000
} else {
    200_000
};
const SEEDS: u64 = 4;

/// Exception classes that are more than unknown ones.
const CLASSES: [u64; 12] = [
    0x00, 0x01, 0x07, 0x16, 0x17, 0x18, 0x19, 0x1D, 0x20, 0x20, 0x24, 0x24,
];
const SMC: u64 = 0x17;

fn address(rng: &mut Rng) -> u64 {
    let page = rng
        .pick(&[
            0,
            UNASSIGNED,
            DESTROYED,
            ASSIGNED,
            EMPTY,
            SHARED - 0x1000,
            SHARED,
            SHARED + 0x5000,
            BEYOND,
            1 << 51,
            !0xFFF,
        ])
        .unwrap();
    match rng.below(4) {
        0 => page | rng.below(0x1000),
        1 => page | 0x300,
        _ => page,
    }
}

fn word(rng: &mut Rng) -> u64 {
    match rng.below(4) {
        0 => address(rng),
        1 => rng.below(8),
        2 => rng.word(),
        _ => u64::MAX,
    }
}

/// x0 to x4 of a call: functions that there are with arguments that may be good, or anything. None
/// ends the Realm.
fn call(rng: &mut Rng) -> [u64; 5] {
    let page = address(rng) & !0xFFF;
    match rng.below(8) {
        0 => [0xC400_0199, page | 0x300, 0, 0, 0],
        1 => {
            let top = page.wrapping_add(0x1000 * rng.below(4));
            [0xC400_0197, page, top, rng.below(3), rng.below(2)]
        }
        2 => [0xC400_0003 + rng.below(2), rng.below(3), page, 0, 0],
        3..6 => {
            let fid = 0xC400_0190 + rng.below(10);
            [fid, word(rng), word(rng), word(rng), word(rng)]
        }
        6 => [0x8400_0000 + rng.below(2), word(rng), 0, 0, 0],
        _ => [
            rng.word() & !0x8,
            word(rng),
            word(rng),
            word(rng),
            word(rng),
        ],
    }
}

/// A step that fills registers at random and stops at random.
fn step(rng: &mut Rng) -> Step {
    let exit = match rng.below(12) {
        0 => Exit::Irq,
        1 => Exit::Fiq,
        2 => Exit::SError { esr: rng.word() },
        3..6 => Exit::Sync(Syndrome {
            esr: SMC << 26 | 1 << 25,
            far: 0,
            hpfar: 0,
        }),
        _ => {
            let class = if rng.percent(80) {
                rng.pick(&CLASSES).unwrap()
            } else {
                rng.below(64)
            };
            // Most faults are translation and permission faults.
            let status = if rng.percent(60) { 0b111 } else { 0x3F };
            Exit::Sync(Syndrome {
                esr: class << 26 | rng.word() & (0xFFFF_FFC0 & !(0x3F << 26) | status),
                far: rng.word(),
                hpfar: address(rng) >> 12 << 4 | rng.word() & 0xF << 60,
            })
        }
    };
    let (registers, noise) = (call(rng), rng.word());
    let walks = [word(rng), word(rng), word(rng), rng.word()];
    let pstate = rng
        .pick(&[0x0, 0x4, 0x5, 0x3C5, 0x10, 0x0600_FC30])
        .unwrap();
    Box::new(move |realm, context: &mut RecContext| {
        context.gprs = [noise; 31];
        context.gprs[..5].copy_from_slice(&registers);
        (context.pc, context.pstate) = (noise, pstate);
        let mut el1 = realm.el1.borrow_mut();
        [el1.ttbr0_el1, el1.ttbr1_el1, el1.tcr_el1, el1.sctlr_el1] = walks;
        exit
    })
}

/// What a Host may do between two entries.
fn react(bench: &Bench<'_>, rng: &mut Rng) {
    let [rec, other] = bench.recs;
    let rd = bench.realm.rd;
    let (ipa, top) = (address(rng), address(rng));
    let x0 = bench.call(match rng.below(6) {
        0 => Command::PsciComplete {
            calling_rec: rec.rec,
            target_rec: other.rec,
            status: rng.pick(&[0, 0, 1, u64::MAX - 2]).unwrap(),
        },
        1 | 2 => Command::RttSetRipas {
            rd,
            rec: rec.rec,
            base: ipa,
            top,
        },
        3 if rng.percent(1) => Command::DataDestroy { rd, ipa },
        4 => Command::RttMapUnprotected {
            rd,
            ipa,
            level: 3,
            desc: 0x1000 | READ_WRITE_BACK,
        },
        _ => Command::RttUnmapUnprotected { rd, ipa, level: 3 },
    });
    assert!(RmiReturn::unpack(x0).is_some(), "{x0:#x}");
}

/// Requires that an exit holds nothing that its reason does not list.
fn require_sober(page: &ExitPage) {
    let at = |offset: usize| u64::from_le_bytes(page[offset..offset + 8].try_into().unwrap());
    let reason = at(0);
    let mut shown: Vec<std::ops::Range<usize>> = vec![0x0..0x8, 0x300..0x398, 0x400..0x420];
    match reason {
        0 => shown.extend([0x100..0x118, 0x200..0x208]),
        1 | 2 => {}
        3 => shown.push(0x200..0x210),
        4 => shown.push(0x500..0x518),
        5 => shown.extend([0x200..0x2F8, 0x600..0x608]),
        6 => shown.push(0x100..0x108),
        _ => panic!("exit reason {reason:#x}"),
    }
    let is_listed = |offset: usize| shown.iter().any(|range| range.contains(&offset));
    for offset in (0..2048).step_by(8).filter(|offset| !is_listed(*offset)) {
        assert_eq!(at(offset), 0, "exit {reason}, offset {offset:#x}");
    }
    assert!(at(0x510) <= 1 && at(0x600) <= 0xFFFF && at(0x108) <= 0xFFF);
    if reason == 0 {
        let esr = at(0x100);
        // Neither SRT nor SSE, but in the name of a trapped register.
        assert!(esr >> 26 == 0x18 || esr & (0x3F << 16) == 0, "esr {esr:#x}");
        assert_eq!(esr >> 32, 0, "esr {esr:#x}");
    }
}

#[test]
fn noise_is_contained() {
    for seed in 0..SEEDS {
        with_bench(|bench| {
            println!("seed {seed}");
            let mut rng = Rng::new(seed);
            let mut reasons = [0; 7];
            for _ in 0..ENTRIES {
                let mut enter = RecEnter::default();
                enter.flags = rng.word() & if rng.percent(50) { 0b1_1100 } else { 0b1_1111 };
                enter.gprs = [rng.word(); 31];
                let steps = (0..rng.below(4)).map(|_| step(&mut rng)).collect();
                let (x0, page) = bench.enter(&bench.recs[0], &enter, steps);
                bench.forget_steps();
                assert!(RmiReturn::unpack(x0).is_some(), "{x0:#x}");
                if x0 == 0 {
                    require_sober(&page);
                    reasons[usize::from(page[0])] += 1;
                }
                for _ in 0..rng.below(3) {
                    react(bench, &mut rng);
                }
            }
            println!("exits by reason: {reasons:?}");
            assert!(reasons.iter().all(|count| *count > 0), "{reasons:?}");
            let granules =
                (1..bench.site.machine.granules()).map(|n| bench.site.machine.granule(n).raw());
            audit(&bench.site, granules).unwrap();
        });
    }
}
