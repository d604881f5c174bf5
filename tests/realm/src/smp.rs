// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Other vCPUs.

use core::sync::atomic::Ordering;

use rmi::psci;
use test_realm::protocol::Timer;

use crate::{cpu, entry, smc, timer};

/// Turns a vCPU on; returns what PSCI says.
pub(crate) fn turn_on(vcpu: u64) -> u64 {
    smc::psci(
        psci::FID_CPU_ON_64,
        &[vcpu, entry::secondary_address(), vcpu],
    )
}

/// Returns what PSCI says about a vCPU's power.
pub(crate) fn affinity_info(vcpu: u64) -> u64 {
    smc::psci(
        psci::FID_AFFINITY_INFO_64,
        &[vcpu, psci::AFFINITY_LEVEL_PROCESSOR],
    )
}

/// Turns this vCPU off.
pub(crate) fn turn_off() -> ! {
    cpu::current().alive.store(0, Ordering::Release);
    loop {
        smc::psci(psci::FID_CPU_OFF, &[]);
    }
}

/// Waits until a condition holds, or `ticks` have passed; tells whether it does.
pub(crate) fn wait_until(ticks: u64, condition: impl Fn() -> bool) -> bool {
    let end = timer::now(Timer::Virtual) + ticks;
    while !condition() {
        if timer::now(Timer::Virtual) > end {
            return condition();
        }
        core::hint::spin_loop();
    }
    true
}
