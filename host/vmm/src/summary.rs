// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Counters of a run, and the texts that report them.
//!
//! Counters only ever grow and may be bumped on several PEs at once. A report is a list of texts
//! `<key> <value>...`; what is zero is left out of lists of many.

use crate::exits::FaultClass;
use crate::machine::Device;
use core::fmt::{self, Arguments};
use core::sync::atomic::{AtomicU64, Ordering};
use rmi::{CommandId, ExitReason, RmiReturn, RmiStatus};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Returns a counter at zero.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds one; returns the number before.
    pub fn bump(&self) -> u64 {
        self.add(1)
    }

    /// Adds to the number; returns the number before.
    pub fn add(&self, amount: u64) -> u64 {
        self.0.fetch_add(amount, Ordering::Relaxed)
    }

    /// Returns the number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Nanoseconds in a second.
const NANOSECONDS: u128 = 1_000_000_000;

/// Statuses of RMI 1.0, and one for answers that are none.
const STATUSES: usize = RmiStatus::ALL.len() + 1;

/// RMI calls by command and status.
#[derive(Debug)]
pub struct RmiCounters {
    calls: [[Counter; STATUSES]; CommandId::COUNT],
}

impl Default for RmiCounters {
    fn default() -> Self {
        Self::new()
    }
}

impl RmiCounters {
    /// Returns counters at zero.
    pub const fn new() -> Self {
        Self {
            calls: [const { [const { Counter::new() }; STATUSES] }; CommandId::COUNT],
        }
    }

    /// Counts a call: x0 as it was before and after.
    ///
    /// A call of no known command is not counted.
    pub fn count(&self, fid: u64, result: u64) {
        let Some(position) = CommandId::from_fid(fid).and_then(command_position) else {
            return;
        };
        let status = RmiReturn::unpack(result).and_then(|result| status_position(result.status()));
        self.calls[position][status.unwrap_or(STATUSES - 1)].bump();
    }

    /// Returns how many calls of a command ended with a status.
    pub fn calls(&self, command: CommandId, status: RmiStatus) -> u64 {
        match (command_position(command), status_position(status)) {
            (Some(command), Some(status)) => self.calls[command][status].get(),
            _ => 0,
        }
    }

    /// Reports each command that was called: `rmi <name> <status> <calls>...`.
    pub fn report(&self, mut line: impl FnMut(Arguments<'_>)) {
        let mut total = 0;
        for (command, statuses) in CommandId::ALL.iter().zip(&self.calls) {
            let sum: u64 = statuses.iter().map(Counter::get).sum();
            if sum > 0 {
                line(format_args!("rmi {}{}", command.name(), ByStatus(statuses)));
            }
            total += sum;
        }
        line(format_args!("rmi-calls {total}"));
    }
}

struct ByStatus<'a>(&'a [Counter; STATUSES]);

impl fmt::Display for ByStatus<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = RmiStatus::ALL
            .iter()
            .map(|status| status.name())
            .chain(["unknown"]);
        for (name, counter) in names.zip(self.0) {
            if counter.get() > 0 {
                write!(f, " {name} {}", counter.get())?;
            }
        }
        Ok(())
    }
}

fn command_position(command: CommandId) -> Option<usize> {
    CommandId::ALL.iter().position(|other| *other == command)
}

fn status_position(status: RmiStatus) -> Option<usize> {
    RmiStatus::ALL.iter().position(|other| *other == status)
}

/// What happened to the vCPUs of a VM.
#[derive(Debug, Default)]
pub struct VmCounters {
    exits: [Counter; ExitReason::ALL.len()],
    /// Faults on guest memory that were handed to the fault handler.
    pub memory_faults: Counter,
    fault_times: [Times; FaultClass::ALL.len()],
    distributor: AccessCounters,
    redistributor: AccessCounters,
    uart: AccessCounters,
    entropy: AccessCounters,
    /// Accesses to addresses where there is nothing.
    pub hole_accesses: Counter,
    /// Writes that send interrupts.
    pub sgis: Counter,
    /// Times a virtual timer's interrupt became pending.
    pub virtual_timer_interrupts: Counter,
    /// Times a physical timer's interrupt became pending.
    pub physical_timer_interrupts: Counter,
    /// Times the interrupt of an overflowed counter became pending.
    pub pmu_interrupts: Counter,
    /// Asynchronous aborts that were reported.
    pub serrors: Counter,
}

/// How long something took, in ticks.
#[derive(Debug, Default)]
struct Times {
    count: Counter,
    total: Counter,
    longest: AtomicU64,
}

#[derive(Debug, Default)]
struct AccessCounters {
    reads: Counter,
    writes: Counter,
}

impl VmCounters {
    /// Counts an exit by its code; one without a meaning is not counted.
    pub fn count_exit(&self, code: u8) {
        if let Some(counter) = self.exits.get(usize::from(code)) {
            counter.bump();
        }
    }

    /// Returns how many exits had a reason.
    pub fn exits(&self, reason: ExitReason) -> u64 {
        self.exits
            .get(usize::from(reason.code()))
            .map_or(0, Counter::get)
    }

    /// Returns how many exits there were.
    pub fn total_exits(&self) -> u64 {
        self.exits.iter().map(Counter::get).sum()
    }

    /// Counts the time that the handler took for a fault.
    pub fn count_fault(&self, class: FaultClass, ticks: u64) {
        let times = &self.fault_times[class.index()];
        times.count.bump();
        times.total.add(ticks);
        times.longest.fetch_max(ticks, Ordering::Relaxed);
    }

    /// Counts a read of a device.
    pub fn count_read(&self, device: Device) {
        self.device(device).reads.bump();
    }

    /// Counts a write of a device.
    pub fn count_write(&self, device: Device) {
        self.device(device).writes.bump();
    }

    /// Reports everything, a line for each subject; the clock makes `ticks_per_second`.
    pub fn report(&self, ticks_per_second: u64, mut line: impl FnMut(Arguments<'_>)) {
        let nanoseconds = |ticks: u64| {
            let exact = u128::from(ticks) * NANOSECONDS / u128::from(ticks_per_second.max(1));
            u64::try_from(exact).unwrap_or(u64::MAX)
        };
        for reason in ExitReason::ALL {
            if self.exits(reason) > 0 {
                line(format_args!(
                    "exits {} {}",
                    reason.name(),
                    self.exits(reason)
                ));
            }
        }
        line(format_args!("exits-total {}", self.total_exits()));
        line(format_args!("memory-faults {}", self.memory_faults.get()));
        for class in FaultClass::ALL {
            let times = &self.fault_times[class.index()];
            let count = times.count.get();
            if let Some(average) = times.total.get().checked_div(count) {
                let longest = times.longest.load(Ordering::Relaxed);
                line(format_args!(
                    "fault-nanoseconds {} count {count} average {} longest {}",
                    class.name(),
                    nanoseconds(average),
                    nanoseconds(longest)
                ));
            }
        }
        let devices = [
            ("distributor", &self.distributor),
            ("redistributor", &self.redistributor),
            ("uart", &self.uart),
            ("entropy", &self.entropy),
        ];
        for (name, accesses) in devices {
            let (reads, writes) = (accesses.reads.get(), accesses.writes.get());
            line(format_args!("mmio {name} reads {reads} writes {writes}"));
        }
        let singles = [
            ("mmio-holes", &self.hole_accesses),
            ("sgis", &self.sgis),
            ("timer-interrupts-virtual", &self.virtual_timer_interrupts),
            ("timer-interrupts-physical", &self.physical_timer_interrupts),
            ("pmu-interrupts", &self.pmu_interrupts),
            ("serrors", &self.serrors),
        ];
        for (name, counter) in singles {
            line(format_args!("{name} {}", counter.get()));
        }
    }

    fn device(&self, device: Device) -> &AccessCounters {
        match device {
            Device::Distributor => &self.distributor,
            Device::Redistributor(_) => &self.redistributor,
            Device::Uart => &self.uart,
            Device::Entropy => &self.entropy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rmi::RmiError;
    use std::string::{String, ToString};
    use std::vec::Vec;

    fn lines(report: impl FnOnce(&mut dyn FnMut(Arguments<'_>))) -> Vec<String> {
        let mut lines = Vec::new();
        report(&mut |line| lines.push(line.to_string()));
        lines
    }

    #[test]
    fn rmi_calls_are_counted_by_status() {
        let counters = RmiCounters::new();
        let fid = CommandId::GranuleDelegate.fid();
        counters.count(fid, 0);
        counters.count(fid, 0);
        counters.count(fid, RmiError::Input.pack());
        counters.count(fid, u64::MAX);
        counters.count(0x8400_0000, 0);
        assert_eq!(
            counters.calls(CommandId::GranuleDelegate, RmiStatus::Success),
            2
        );
        assert_eq!(
            counters.calls(CommandId::GranuleUndelegate, RmiStatus::Success),
            0
        );
        let lines = lines(|line| counters.report(line));
        let (success, input) = (RmiStatus::Success.name(), RmiStatus::ErrorInput.name());
        let delegate = CommandId::GranuleDelegate.name();
        assert_eq!(
            lines,
            [
                std::format!("rmi {delegate} {success} 2 {input} 1 unknown 1"),
                "rmi-calls 4".to_string(),
            ]
        );
    }

    #[test]
    fn vm_report_names_what_happened() {
        let counters = VmCounters::default();
        counters.count_exit(ExitReason::Irq.code());
        counters.count_exit(ExitReason::Irq.code());
        counters.count_exit(0xFF);
        counters.count_read(Device::Redistributor(3));
        counters.count_write(Device::Uart);
        counters.sgis.bump();
        counters.count_fault(FaultClass::Permission, 10);
        counters.count_fault(FaultClass::Permission, 31);
        let lines = lines(|line| counters.report(500_000_000, line));
        assert!(lines.contains(&"exits RMI_EXIT_IRQ 2".to_string()));
        assert!(lines.contains(&"exits-total 2".to_string()));
        assert!(lines.contains(&"mmio redistributor reads 1 writes 0".to_string()));
        assert!(lines.contains(&"mmio uart reads 0 writes 1".to_string()));
        assert!(lines.contains(&"sgis 1".to_string()));
        let times = "fault-nanoseconds permission count 2 average 40 longest 62";
        assert!(lines.contains(&times.to_string()));
        assert!(!lines.iter().any(|line| line.contains("translation")));
    }
}
