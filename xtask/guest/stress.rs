// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `stress <seconds> <CPUs>`: keeps every CPU of the guest busy with what crosses the monitor.
//!
//! Each CPU gets a thread that sleeps for short times (the virtual timer), a pair of threads that
//! wake each other (interrupts between CPUs), one that computes (floating-point registers across
//! interrupts) and one that maps and unmaps memory (TLB maintenance). What they find wrong ends the
//! program with status 1 and a line that says it; else it prints what it did.

use std::env;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Steps of one computation: some milliseconds, so that timers interrupt many of them.
const STEPS: u32 = 200_000;
/// A sleeping thread that wakes this late has lost its timer interrupt.
const LATE: Duration = Duration::from_secs(10);
/// A page of any size that arm64 kernels have.
const PAGE_BYTES: usize = 65_536;
/// Pages of one mapping.
const PAGES: usize = 16;

/// What all threads share.
#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    sleeps: AtomicU64,
    handovers: AtomicU64,
    computations: AtomicU64,
    mappings: AtomicU64,
}

type Worker = JoinHandle<Result<(), String>>;

fn main() -> ExitCode {
    let mut numbers = env::args().skip(1).map(|word| word.parse::<u64>());
    let (Some(Ok(seconds)), Some(Ok(cpus)), None) =
        (numbers.next(), numbers.next(), numbers.next())
    else {
        eprintln!("usage: stress <seconds> <CPUs>");
        return ExitCode::from(2);
    };
    let shared = Arc::new(Shared::default());
    let mut workers = Vec::new();
    for cpu in 0..cpus {
        workers.push(start(&shared, move |shared| sleep_often(shared, cpu)));
        workers.push(start(&shared, move |shared| compute(shared, cpu)));
        workers.push(start(&shared, move |shared| map_and_unmap(shared, cpu)));
        workers.extend(hand_over(&shared));
    }
    thread::sleep(Duration::from_secs(seconds));
    shared.is_over.store(true, Ordering::Relaxed);
    for worker in workers {
        let outcome = worker
            .join()
            .unwrap_or_else(|_| Err("a thread panicked".into()));
        if let Err(what) = outcome {
            println!("{what}");
            return ExitCode::FAILURE;
        }
    }
    let counts = [
        &shared.sleeps,
        &shared.handovers,
        &shared.computations,
        &shared.mappings,
    ]
    .map(|count| count.load(Ordering::Relaxed));
    let [sleeps, handovers, computations, mappings] = counts;
    println!(
        "{seconds} s: {sleeps} sleeps, {handovers} handovers, {computations} computations, \
         {mappings} mappings"
    );
    if counts.contains(&0) {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn start(
    shared: &Arc<Shared>,
    work: impl FnOnce(&Shared) -> Result<(), String> + Send + 'static,
) -> Worker {
    let shared = Arc::clone(shared);
    thread::spawn(move || work(&shared))
}

/// Sleeps for 50 microseconds to 3 milliseconds at a time.
fn sleep_often(shared: &Shared, seed: u64) -> Result<(), String> {
    let mut state = seed + 1;
    while !shared.is_over.load(Ordering::Relaxed) {
        state = next(state);
        let wanted = Duration::from_micros(50 + state % 3_000);
        let began = Instant::now();
        thread::sleep(wanted);
        let slept = began.elapsed();
        if slept < wanted || slept > wanted + LATE {
            return Err(format!("a sleep of {wanted:?} took {slept:?}"));
        }
        shared.sleeps.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Computes the same numbers again and again, in registers.
fn compute(shared: &Shared, seed: u64) -> Result<(), String> {
    let expected = computation(seed);
    while !shared.is_over.load(Ordering::Relaxed) {
        let found = computation(black_box(seed));
        if found != expected {
            return Err(format!("computed {found:x?} after {expected:x?}"));
        }
        shared.computations.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Eight chaotic sequences side by side: one wrong bit in any register changes the result.
fn computation(seed: u64) -> [u64; 8] {
    let seed = f64::from(u32::try_from(seed).unwrap_or(u32::MAX));
    let mut values: [f64; 8] =
        std::array::from_fn(|lane| (0.1 + lane as f64 * 0.09 + seed * 0.001).fract());
    for _ in 0..STEPS {
        for value in &mut values {
            *value = 3.99 * *value * (1.0 - *value);
        }
    }
    values.map(f64::to_bits)
}

/// Maps memory, fills it, looks at it and gives it back.
fn map_and_unmap(shared: &Shared, seed: u64) -> Result<(), String> {
    let mut state = seed + 1;
    while !shared.is_over.load(Ordering::Relaxed) {
        state = next(state);
        let mut memory = vec![0_u64; PAGES * PAGE_BYTES / size_of::<u64>()];
        let pages = memory.chunks_mut(PAGE_BYTES / size_of::<u64>());
        for (page, words) in (0..).zip(pages) {
            words[0] = state ^ page;
        }
        thread::yield_now();
        let pages = black_box(&memory).chunks(PAGE_BYTES / size_of::<u64>());
        if (0..)
            .zip(pages)
            .any(|(page, words)| words[0] != state ^ page)
        {
            return Err("memory does not hold what was written".into());
        }
        shared.mappings.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Two threads that wake each other in turns.
fn hand_over(shared: &Arc<Shared>) -> [Worker; 2] {
    let (ask, questions) = mpsc::channel::<u64>();
    let (answer, answers) = mpsc::channel();
    let first = start(shared, move |shared| {
        let mut turn = 0;
        while !shared.is_over.load(Ordering::Relaxed) {
            let is_sent = ask.send(turn).is_ok();
            if !is_sent || answers.recv() != Ok(turn + 1) {
                return Err(format!("handover {turn} was not answered"));
            }
            turn += 1;
            shared.handovers.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    });
    let second = start(shared, move |_| {
        // Ends when the other one drops its end.
        for turn in questions {
            if answer.send(turn + 1).is_err() {
                break;
            }
        }
        Ok(())
    });
    [first, second]
}

/// A short pseudo-random sequence (xorshift); the state is never zero.
fn next(mut state: u64) -> u64 {
    state ^= state << 13;
    state ^= state >> 7;
    state ^ state << 17
}
