// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Random walks of the monitor beside the model.
//!
//! `BAILEY_WALK_STEPS` is the number of steps (1,000,000 if not set), `BAILEY_WALK_SEED` the first seed. A
//! failing walk prints its seed and the shortest steps that still fail.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use conformance::machine::{Profile, profiles};
use conformance::model::{Coverage, Failure, run_seed, shrink};

/// Steps on one machine.
const WALK: usize = 4_000;

/// Steps after which everything that can be reached has to be.
const ENOUGH: usize = 1_000_000;

/// Steps between two full comparisons.
const EVERY: usize = 64;

fn number(name: &str, default: usize) -> usize {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {text}")),
        Err(_) => default,
    }
}

/// The machines of the walks: small, with a block of memory in a row.
fn machines() -> Vec<Profile> {
    let mut all = profiles();
    for profile in &mut all {
        profile.granules = 1200;
        if profile.features.lpa2 {
            profile.base = (1 << 48) - 1190 * rmi::GRANULE_SIZE;
        }
    }
    all
}

#[test]
fn walks_agree_with_the_model() {
    let steps = number("BAILEY_WALK_STEPS", ENOUGH);
    let first = number("BAILEY_WALK_SEED", 1) as u64;
    let walks = steps.div_ceil(WALK);
    let machines = machines();
    let next = AtomicUsize::new(0);
    let totals = Mutex::new(Coverage::default());
    let failure: Mutex<Option<(u64, &Profile, Failure)>> = Mutex::new(None);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= walks || failure.lock().unwrap().is_some() {
                        break;
                    }
                    let (seed, profile) = (first + n as u64, &machines[n % machines.len()]);
                    let outcome = run_seed(profile, seed, WALK.min(steps), EVERY);
                    totals.lock().unwrap().add(&outcome.coverage);
                    if let Some(found) = outcome.failure {
                        failure
                            .lock()
                            .unwrap()
                            .get_or_insert((seed, profile, found));
                    }
                }
            });
        }
    });
    println!("{walks} walks of {WALK} steps from seed {first}");
    let coverage = totals.into_inner().unwrap();
    println!("{coverage}");
    if let Some((seed, profile, found)) = failure.into_inner().unwrap() {
        let reason = found.reason.clone();
        let small = shrink(profile, found);
        for step in &small.steps {
            println!("{step:x?}");
        }
        panic!(
            "seed {seed} on {}: {reason}\nshrunk: {}",
            profile.name, small.reason
        );
    }
    let missing = coverage.missing();
    assert!(steps < ENOUGH || missing.is_empty(), "{missing:#?}");
}
