// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Several vCPUs that run at the same time, each on a PE of its own.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use rmi::{ExitReason, RecEnter, RecExit};
use test_realm::protocol::{Bank, Command, Outcome as Ended, Report};
use test_realm::registers::{SYSTEM_REGISTERS, Sweep};

use super::payload::{Payload, giving, report_of, unexpected};
use super::row;
use crate::check;
use crate::outcome::{Outcome, Reply, Stop};
use crate::port::{Keeper, Then};
use crate::scenario::Scenario;
use crate::world::{RealmPlan, Rec, World};

/// What these scenarios prove.
pub(super) const SCENARIOS: &[Scenario] = &[
    row("realm_gic_sgis_between_pes", sgis_between_pes),
    row("realm_sweep_two_pes", sweep_two_pes),
];

/// vCPUs that send interrupts to one another, and how often each does.
const VCPUS: usize = 4;
const ROUNDS: u64 = 40;
/// Ticks that no number of interrupts needs.
const TOO_LONG: u64 = 20_000_000_000;
/// Ticks in which an interrupt too many would come.
const A_WHILE: u64 = 2_000_000;

/// Exception class of a system register, and `ICC_SGI1R_EL1` in its syndrome: op0 3, op2 5, op1 0, CRn 12,
/// CRm 11, a write; the register that was written from is left out.
const SYSREG: u64 = 0x18;
const SGI1R: u64 = 3 << 20 | 5 << 17 | 12 << 10 | 11 << 1;
const REGISTER_FIELD: u64 = 0x1F << 5;

/// A list register: state, group 1, priority.
const PENDING: u64 = 1 << 62;
const STATE: u64 = 0b11 << 62;
const LISTED: u64 = PENDING | 1 << 60 | 0x80 << 48;

/// Each vCPU sends an SGI of its own to all others, over and over, while it takes theirs. The Host
/// carries them: none is lost and none comes twice.
fn sgis_between_pes(w: &mut World<'_>) -> Outcome {
    let payload = Payload::several(w, &RealmPlan::default(), VCPUS)?;
    for vcpu in 0..VCPUS {
        payload.tell_to(w, vcpu, Command::Interrupts(true))?;
    }
    let sent = [const { AtomicU32::new(0) }; VCPUS];
    let mut carriers: Vec<_> = (0..VCPUS).map(|vcpu| Carrier::new(vcpu, &sent)).collect();
    let first: Vec<_> = (0..VCPUS).map(|vcpu| giving(send(vcpu))).collect();
    run_together(w, &payload.recs, &first, &mut carriers)?;
    let expected = (VCPUS as u64 - 1) * ROUNDS;
    for (vcpu, carrier) in carriers.iter().enumerate() {
        let Carrier { lrs, failure, .. } = carrier;
        check!(failure.is_none(), "vCPU {vcpu}: {failure:?}");
        let left = sent[vcpu].load(Ordering::Relaxed);
        let is_idle = lrs.iter().all(|lr| lr & STATE == 0);
        check!(left == 0 && is_idle, "vCPU {vcpu}: {left:#x} {lrs:x?}");
        let [reported, waited] = carrier.reports[..] else {
            return Err(Stop::Failed(format!("{:x?}", carrier.reports)));
        };
        check!(
            reported.registers[0] == ROUNDS,
            "vCPU {vcpu}: {reported:x?}"
        );
        check!(waited.registers[0] == expected, "vCPU {vcpu}: {waited:x?}");
        let count = u64::MAX;
        let ticks = A_WHILE;
        let later = payload.tell_to(w, vcpu, Command::WaitInterrupts { count, ticks })?;
        check!(later.interrupts == expected, "vCPU {vcpu}: {later:x?}");
    }
    Ok(())
}

/// Tells a vCPU to send the SGI of its own number to all others.
fn send(vcpu: usize) -> Command {
    Command::SendSgis {
        sgi: vcpu as u64,
        targets: ((1 << VCPUS) - 1) & !(1 << vcpu),
        count: ROUNDS,
        ticks: TOO_LONG,
    }
}

/// What the Host keeps of the interrupts of one vCPU.
struct Carrier<'a> {
    vcpu: usize,
    /// SGIs on their way, for each vCPU.
    sent: &'a [AtomicU32; VCPUS],
    lrs: [u64; 16],
    reports: Vec<Report>,
    failure: Option<String>,
}

impl<'a> Carrier<'a> {
    fn new(vcpu: usize, sent: &'a [AtomicU32; VCPUS]) -> Self {
        Self {
            vcpu,
            sent,
            lrs: [0; 16],
            reports: Vec::new(),
            failure: None,
        }
    }

    /// Puts what is on its way to this vCPU into list registers. One that has been taken and not been
    /// ended can become pending again; what does not fit waits.
    fn list(&mut self) {
        let mine = &self.sent[self.vcpu];
        let arrived = mine.swap(0, Ordering::AcqRel);
        for sgi in (0..16).filter(|sgi| arrived >> sgi & 1 == 1) {
            let is_this = |lr: &&mut u64| **lr & STATE != 0 && **lr & 0xFFFF_FFFF == sgi;
            if let Some(lr) = self.lrs.iter_mut().find(is_this) {
                *lr |= PENDING;
            } else if let Some(lr) = self.lrs.iter_mut().find(|lr| **lr & STATE == 0) {
                *lr = LISTED | sgi;
            } else {
                mine.fetch_or(1 << sgi, Ordering::AcqRel);
            }
        }
    }

    /// Sends an SGI as the vCPU's write says; returns whom to wake.
    fn send(&mut self, value: u64) -> u64 {
        let (sgi, targets) = (value >> 24 & 0xF, value & 0xFFFF);
        for (vcpu, sent) in self.sent.iter().enumerate() {
            let before = if targets >> vcpu & 1 == 1 {
                sent.fetch_or(1 << sgi, Ordering::AcqRel)
            } else {
                0
            };
            if before >> sgi & 1 == 1 {
                self.failure = Some(format!("SGI {sgi} sent again before vCPU {vcpu} got it"));
            }
        }
        targets
    }
}

impl Keep for Carrier<'_> {
    fn keep(&mut self, exit: &RecExit, enter: &mut RecEnter) -> Then {
        self.lrs = exit.gicv3_lrs;
        let mut then = Then::Again;
        if let Some(report) = report_of(exit) {
            self.reports.push(report);
            if self.reports.len() == 2 {
                return Then::End;
            }
            *enter = giving(Command::WaitInterrupts {
                count: (VCPUS as u64 - 1) * ROUNDS,
                ticks: TOO_LONG,
            });
        } else if is_sgi_write(exit) {
            then = Then::Kick(self.send(exit.gprs[0]));
        } else if exit.reason() != Some(ExitReason::Irq) {
            self.failure = Some(format!("{:?}", unexpected("an SGI", exit)));
            return Then::End;
        }
        self.list();
        enter.gicv3_lrs = self.lrs;
        then
    }
}

fn is_sgi_write(exit: &RecExit) -> bool {
    let iss = exit.esr & 0x1FF_FFFF & !REGISTER_FIELD;
    exit.reason() == Some(ExitReason::Sync) && exit.esr >> 26 == SYSREG && iss == SGI1R
}

/// Registers that the exceptions of a sweep change.
const OF_EXCEPTIONS: [&str; 4] = ["FAR_EL1", "ESR_EL1", "ELR_EL1", "SPSR_EL1"];

/// Two Realms read every register at the same time on two PEs, each full of a secret of its own that
/// the other one must not find, then each on the other's PE. Both still have what they had.
fn sweep_two_pes(w: &mut World<'_>) -> Outcome {
    const SECRETS: [u64; 2] = [0x5EC2_E701, 0x5EC2_E702];
    let pmu = w.features()?.has_pmu();
    let plan = RealmPlan {
        pmu,
        ..RealmPlan::default()
    };
    let realms = [Payload::new(w, &plan, 1)?, Payload::new(w, &plan, 1)?];
    let [one, other] = [0, 1].map(|n| Sweeper::new(SECRETS[n], SECRETS[1 - n]));
    let mut sweepers = [one, other];
    let recs = [realms[0].recs[0], realms[1].recs[0]];
    let first = [0, 1].map(|n| giving(Command::Fill(Bank::System, SECRETS[n])));
    run_together(w, &recs, &first, &mut sweepers)?;
    sweepers.iter().try_for_each(Sweeper::check)?;
    // On each other's PE.
    let recs = [recs[1], recs[0]];
    sweepers.iter_mut().for_each(|sweeper| sweeper.next = 1);
    sweepers.swap(0, 1);
    let first = [giving(Command::Nothing), giving(Command::Nothing)];
    run_together(w, &recs, &first, &mut sweepers)?;
    sweepers.iter().try_for_each(Sweeper::check)
}

/// A Realm that fills its registers and reads all there are.
struct Sweeper {
    commands: Vec<Command>,
    /// The number of the command that comes next.
    next: usize,
    found: Vec<String>,
}

impl Sweeper {
    fn new(own: u64, secret: u64) -> Self {
        let mut commands = alloc::vec![Command::Fill(Bank::Vectors, own)];
        for op0 in [2, 3] {
            // Nothing above is for EL1.
            for op1 in 0..4 {
                commands.extend((0..16).map(|crn| Command::Sweep {
                    class: [op0, op1, crn],
                    writes: false,
                    secret,
                }));
            }
        }
        commands.push(Command::Check(Bank::System));
        commands.push(Command::Check(Bank::Vectors));
        Self {
            commands,
            next: 0,
            found: Vec::new(),
        }
    }

    fn check(&self) -> Outcome {
        check!(self.found.is_empty(), "{:?}", self.found);
        check!(self.next > self.commands.len(), "stopped at {}", self.next);
        Ok(())
    }

    /// Looks at the result of a command.
    fn look(&mut self, command: Command, report: &Report) {
        if report.outcome != Ended::Done {
            self.found.push(format!("{command:x?}: {report:x?}"));
        }
        let [first, second, ..] = report.registers;
        match command {
            Command::Sweep { class, .. } => {
                let words = report.registers.first_chunk().copied();
                let leaked = Sweep::from_words(words.unwrap_or_default()).leaked;
                if leaked != 0 {
                    self.found.push(format!("{class:?} leaks {leaked:#x}"));
                }
            }
            Command::Check(Bank::System) => {
                let changed = SYSTEM_REGISTERS
                    .iter()
                    .enumerate()
                    .filter(|(n, row)| first >> n & 1 == 1 && !OF_EXCEPTIONS.contains(&row.name));
                let names = changed.map(|(_, row)| format!("{} changed", row.name));
                self.found.extend(names);
            }
            Command::Check(_) if (first, second) != (0, 0) => {
                self.found.push(format!("vectors {first:#x} {second:#x}"));
            }
            _ => {}
        }
    }
}

impl Keep for Sweeper {
    fn keep(&mut self, exit: &RecExit, enter: &mut RecEnter) -> Then {
        let Some(report) = report_of(exit) else {
            if exit.reason() == Some(ExitReason::Irq) {
                return Then::Again;
            }
            self.found
                .push(format!("{:?}", unexpected("a sweep", exit)));
            return Then::End;
        };
        if let Some(last) = self.next.checked_sub(1) {
            self.look(self.commands[last], &report);
        }
        let Some(command) = self.commands.get(self.next).copied() else {
            self.next += 1;
            return Then::End;
        };
        self.next += 1;
        *enter = giving(command);
        Then::Again
    }
}

/// The Host's side of a vCPU.
trait Keep: Send {
    /// See [`Keeper`].
    fn keep(&mut self, exit: &RecExit, enter: &mut RecEnter) -> Then;
}

/// Enters RECs at the same time, each with its first entry.
fn run_together<K: Keep>(
    w: &mut World<'_>,
    recs: &[Rec],
    first: &[RecEnter],
    keeps: &mut [K],
) -> Outcome {
    for (rec, enter) in recs.iter().zip(first) {
        w.write_page(rec.run, enter)?;
    }
    let calls = recs.iter().map(|rec| {
        let (rec, run_ptr) = (rec.rec, rec.run);
        rmi::Command::RecEnter { rec, run_ptr }.encode()
    });
    let calls: Vec<_> = calls.collect();
    let mut keepers: Vec<_> = keeps
        .iter_mut()
        .map(|keep| move |exit: &RecExit, enter: &mut RecEnter| keep.keep(exit, enter))
        .collect();
    let mut keepers: Vec<&mut Keeper<'_>> = keepers
        .iter_mut()
        .map(|keeper| -> &mut Keeper<'_> { keeper })
        .collect();
    let Some(replies) = w.port.run_together(&calls, &mut keepers) else {
        return Err(Stop::Skipped(format!("no {} PEs", recs.len())));
    };
    for (call, reply) in calls.iter().zip(replies) {
        let reply = Reply(reply).without_kept(call);
        w.check_reply(rmi::CommandId::RecEnter, reply, Reply::SUCCESS)?;
    }
    Ok(())
}
