// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The way to the RMM: SMCs, counted by command and status.

use core::sync::atomic::{AtomicU64, Ordering};

use host_mm::machine::Rmi;
use rmi::table::REGISTERS;
use rmi::{CommandId, RmiReturn, RmiStatus};

/// Statuses of RMI 1.0, and one column for everything else.
const COLUMNS: usize = RmiStatus::ALL.len() + 1;

/// The way to the RMM.
pub(crate) struct RmiPort {
    counts: [[AtomicU64; COLUMNS]; CommandId::COUNT],
}

impl RmiPort {
    /// Returns a port that has not been used.
    pub(crate) const fn new() -> Self {
        Self {
            counts: [const { [const { AtomicU64::new(0) }; COLUMNS] }; CommandId::COUNT],
        }
    }

    /// Returns how often `command` has ended with `status`; no status stands for answers that are
    /// not of RMI 1.0.
    pub(crate) fn count(&self, command: CommandId, status: Option<RmiStatus>) -> u64 {
        self.counts[command as usize][column(status)].load(Ordering::Relaxed)
    }

    fn record(&self, fid: u64, answer: u64) {
        let Some(command) = CommandId::from_fid(fid) else {
            return;
        };
        let status = RmiReturn::unpack(answer).map(RmiReturn::status);
        self.counts[command as usize][column(status)].fetch_add(1, Ordering::Relaxed);
    }
}

impl Rmi for RmiPort {
    fn call(&self, registers: [u64; REGISTERS]) -> [u64; REGISTERS] {
        let reply = smc(registers);
        self.record(registers[0], reply[0]);
        reply
    }
}

/// Makes an SMC with x0 to x7 and returns what it left there.
pub(crate) fn smc(registers: [u64; REGISTERS]) -> [u64; REGISTERS] {
    let mut arguments = [0; 17];
    arguments[..REGISTERS - 1].copy_from_slice(&registers[1..]);
    let reply = smccc::smc64(registers[0] as u32, arguments);
    core::array::from_fn(|register| reply[register])
}

fn column(status: Option<RmiStatus>) -> usize {
    status.map_or(RmiStatus::ALL.len(), |status| usize::from(status.code()))
}
