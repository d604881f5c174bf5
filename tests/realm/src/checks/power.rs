// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! PSCI, and vCPUs that work together.
//!
//! A vCPU that has been turned on waits for interrupts and does the job that vCPU 0 gives it.

use core::sync::atomic::{AtomicU64, Ordering};

use rmi::psci::{self, PsciReturn};
use rmi::rsi::RsiCommand;
use test_realm::protocol::{Timer, sequence};

use super::probe::{SCRATCH, own_top};
use super::{Detail, Verdict, detail, require};
use crate::commands::long_sequence;
use crate::entry::{self, MAX_VCPUS};
use crate::smp::{self, affinity_info, turn_on, wait_until};
use crate::{cpu, gic, machine, regs, smc, timer};

/// A job: nothing to do.
const IDLE: u64 = 0;
/// A job: send `REPLY` to vCPU 0.
const ANSWER: u64 = 1;
/// A job: compute with a timer that fires, and call the monitor in between.
const WORK: u64 = 2;
/// A job: turn off.
const LEAVE: u64 = 3;

/// The SGI that vCPU 0 sends.
const CALL: u32 = 3;
/// The SGI that the others answer with.
const REPLY: u32 = 4;
/// How often vCPUs call one another.
const ROUNDS: u64 = 20;
/// Steps of a job's computation.
const STEPS: u64 = 200_000;

/// What each vCPU has to do.
static JOBS: [AtomicU64; MAX_VCPUS] = [const { AtomicU64::new(IDLE) }; MAX_VCPUS];
/// What came of `WORK`: zero while it lasts, 1 when it was right.
static RESULTS: [AtomicU64; MAX_VCPUS] = [const { AtomicU64::new(0) }; MAX_VCPUS];

fn result(vcpu: usize) -> u64 {
    RESULTS[vcpu].load(Ordering::Acquire)
}

fn give_job(vcpu: usize, job: u64) {
    JOBS[vcpu].store(job, Ordering::Release);
}

/// Calls PSCI in every way that needs no other vCPU.
pub(super) fn psci_calls() -> Verdict {
    let version = smc::psci(psci::FID_VERSION, &[]);
    require!(version >= 0x1_0001, "version {version:#x}");
    for fid in [
        psci::FID_VERSION,
        psci::FID_CPU_SUSPEND_64,
        psci::FID_CPU_OFF,
        psci::FID_CPU_ON_64,
        psci::FID_AFFINITY_INFO_64,
        psci::FID_SYSTEM_OFF,
        psci::FID_SYSTEM_RESET,
        psci::FID_FEATURES,
    ] {
        expect(
            "features",
            smc::psci(psci::FID_FEATURES, &[fid]),
            PsciReturn::Success,
        )?;
    }
    let not_supported = PsciReturn::NotSupported;
    for fid in [0x8400_0005, 0x8400_000B, 0xC400_001F, 0xC600_0000] {
        expect(
            "features",
            smc::psci(psci::FID_FEATURES, &[fid]),
            not_supported,
        )?;
    }
    for fid in [0x8400_0005, 0x8400_001F, 0xC400_0002] {
        expect("unknown function", smc::psci(fid, &[]), not_supported)?;
    }
    let own = cpu::number() as u64;
    let invalid = PsciReturn::InvalidParameters;
    let info = |target, level| smc::psci(psci::FID_AFFINITY_INFO_64, &[target, level]);
    expect("info on self", info(own, 0), PsciReturn::ON)?;
    expect("info at level 1", info(own, 1), invalid)?;
    expect("info on nobody", info(0xF0F, 0), invalid)?;
    let on = |target, entry| smc::psci(psci::FID_CPU_ON_64, &[target, entry, 0]);
    let entry = entry::secondary_address();
    expect("on of self", on(own, entry), PsciReturn::AlreadyOn)?;
    expect("on of nobody", on(0xF0F, entry), invalid)?;
    if machine::is_realm() {
        let shared = on(1, own_top() + entry);
        expect("on at a shared address", shared, PsciReturn::InvalidAddress)?;
    }
    let suspend = smc::psci(psci::FID_CPU_SUSPEND_64, &[0, entry, 0]);
    expect("suspend", suspend, PsciReturn::Success)?;
    Ok(detail!("version {version:#x}"))
}

fn expect(what: &str, found: u64, expected: PsciReturn) -> Result<(), Detail> {
    require!(
        found == expected.to_register(),
        "{what} returns {:#x}, not {expected:?}",
        found
    );
    Ok(())
}

/// Returns how many vCPUs there are.
pub(super) fn count_vcpus() -> usize {
    let exists = |vcpu: &u64| affinity_info(*vcpu) != PsciReturn::InvalidParameters.to_register();
    (0..MAX_VCPUS as u64).take_while(exists).count()
}

/// Turns every vCPU on, off, and on again.
pub(super) fn vcpus() -> Verdict {
    let count = count_vcpus();
    for round in 0..2 {
        for vcpu in 1..count {
            give_job(vcpu, IDLE);
            bring_up(vcpu as u64)?;
        }
        if round == 1 {
            break;
        }
        for vcpu in 1..count {
            give_job(vcpu, LEAVE);
            call(1 << vcpu)?;
        }
        for vcpu in 1..count as u64 {
            let is_off = || affinity_info(vcpu) == PsciReturn::Off.to_register();
            require!(
                wait_until(timer::frequency(), is_off),
                "vCPU {vcpu} is not off"
            );
        }
    }
    Ok(detail!("{count} vCPUs, {} turned on twice", count - 1))
}

fn bring_up(vcpu: u64) -> Result<(), Detail> {
    expect("info before on", affinity_info(vcpu), PsciReturn::Off)?;
    expect("on", turn_on(vcpu), PsciReturn::Success)?;
    let is_alive = || cpu::of(vcpu as usize).alive.load(Ordering::Acquire) != 0;
    require!(
        wait_until(4 * timer::frequency(), is_alive),
        "vCPU {vcpu} does not start"
    );
    expect("info after on", affinity_info(vcpu), PsciReturn::ON)?;
    expect("on again", turn_on(vcpu), PsciReturn::AlreadyOn)
}

fn call(targets: u16) -> Result<(), Detail> {
    gic::send_sgi(CALL, targets).map_err(|error| detail!("{error}"))
}

/// Sends SGIs to and fro.
pub(super) fn sgis() -> Verdict {
    let count = count_vcpus();
    let second = timer::frequency();
    let own = cpu::current();
    let before = own.count(CALL);
    call(1)?;
    require!(
        wait_until(second, || own.count(CALL) == before + 1),
        "no SGI to self"
    );
    for vcpu in 1..count {
        give_job(vcpu, ANSWER);
    }
    for vcpu in 1..count {
        for round in 0..ROUNDS {
            let target = cpu::of(vcpu);
            let (heard, answered) = (target.count(CALL), own.count(REPLY));
            call(1 << vcpu)?;
            let is_heard = || target.count(CALL) == heard + 1;
            require!(
                wait_until(2 * second, is_heard),
                "vCPU {vcpu} missed SGI {round}"
            );
            let is_answered = || own.count(REPLY) == answered + 1;
            require!(
                wait_until(2 * second, is_answered),
                "vCPU {vcpu} missed answer {round}"
            );
        }
        give_job(vcpu, IDLE);
    }
    Ok(detail!("{} there and back", ROUNDS * (count as u64 - 1)))
}

/// Lets every vCPU work at the same time.
pub(super) fn together() -> Verdict {
    let count = count_vcpus();
    for result in &RESULTS {
        result.store(0, Ordering::Release);
    }
    for vcpu in 0..count {
        give_job(vcpu, WORK);
    }
    call((1 << count) - 1)?;
    work(0);
    for vcpu in 1..count {
        let is_done = wait_until(20 * timer::frequency(), || result(vcpu) != 0);
        require!(
            is_done && result(vcpu) == 1,
            "vCPU {vcpu}: result {}",
            result(vcpu)
        );
        give_job(vcpu, IDLE);
    }
    require!(result(0) == 1, "vCPU 0: result {}", result(0));
    Ok(detail!("{count} vCPUs"))
}

/// Computes with a timer firing, calls of the monitor in between, and pages of its own.
fn work(vcpu: usize) {
    let cpu = cpu::of(vcpu);
    let ticks = timer::frequency() / 1000;
    cpu.rearm_ticks.store(ticks, Ordering::Relaxed);
    timer::start(Timer::Virtual, ticks);
    let seed = vcpu as u64;
    let expected = sequence(seed, STEPS / 10);
    let mut is_right = true;
    for _ in 0..10 {
        is_right &= long_sequence(seed, STEPS / 10) == expected;
        let [status, ..] = smc::rsi(RsiCommand::IpaStateGet, &[SCRATCH, SCRATCH + smc::PAGE]);
        is_right &= status == 0 || !machine::is_realm();
    }
    cpu.rearm_ticks.store(0, Ordering::Relaxed);
    timer::stop(Timer::Virtual);
    RESULTS[vcpu].store(if is_right { 1 } else { 2 }, Ordering::Release);
}

/// Runs a vCPU that `bring_up` turned on.
pub(super) fn secondary(vcpu: usize) -> ! {
    let cpu = cpu::of(vcpu);
    if gic::init_vcpu().is_err() {
        smp::turn_off();
    }
    let mut heard = cpu.count(CALL);
    regs::unmask_interrupts();
    cpu.alive.store(1, Ordering::Release);
    loop {
        regs::mask_interrupts();
        if cpu.count(CALL) == heard {
            regs::wfi();
        }
        regs::unmask_interrupts();
        regs::isb();
        while cpu.count(CALL) != heard {
            heard += 1;
            match JOBS[vcpu].load(Ordering::Acquire) {
                ANSWER => {
                    // SGI numbers are what the function takes.
                    let _ = gic::send_sgi(REPLY, 1);
                }
                WORK => work(vcpu),
                LEAVE => smp::turn_off(),
                _ => {}
            }
        }
    }
}
