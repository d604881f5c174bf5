// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Realms that run the payload of `tests/realm`, and the conversation with it.

use alloc::boxed::Box;
use alloc::vec::Vec;

use rmi::{ExitReason, RecEnter, RecExit};
use test_realm::instructions::{ERET, IC_IALLU, MSR_SPSR_X1, STR_W0, SystemRegister};
use test_realm::protocol::{
    BASE, COMMAND_IMM, Command, DIED_IMM, Fault, Outcome as Ended, REGISTERS, Report, memory_bytes,
};

use crate::check;
use crate::outcome::{Outcome, Reply, Stop};
use crate::port::GRANULE;
use crate::world::{Realm, RealmPlan, Rec, Runnable, World};

/// First address of the Realm's memory that the payload does not use.
pub(super) const FREE: u64 = BASE + 0x20_0000;
/// Entries for one command before it counts as hung.
pub(super) const MOST_ENTRIES: usize = 10_000;

/// What came of an entry.
pub(super) enum Turn {
    /// The vCPU reports, in the exit that comes with it.
    Report(Box<Report>, Box<RecExit>),
    /// It needs the Host.
    Exit(Box<RecExit>),
}

/// A Realm that runs the payload.
pub(super) struct Payload {
    /// The Realm.
    pub(super) realm: Realm,
    /// Its vCPUs.
    pub(super) recs: Vec<Rec>,
}

impl Payload {
    /// Creates a Realm of one vCPU, which waits for a command.
    pub(super) fn one(w: &mut World<'_>) -> Outcome<Self> {
        Self::new(w, &RealmPlan::default(), 1)
    }

    /// Creates a Realm of `vcpus` vCPUs. The first waits for a command, the others are off.
    ///
    /// 2 MiB from [`FREE`] on are memory that has not been given yet.
    pub(super) fn new(w: &mut World<'_>, plan: &RealmPlan, vcpus: usize) -> Outcome<Self> {
        let image = w.port.payload().to_vec();
        let Some(bytes) = memory_bytes(&image) else {
            return Err(Stop::Skipped("no payload to run".into()));
        };
        let realm = w.realm_with(plan)?;
        w.tables(&realm, BASE, 3)?;
        w.tables(&realm, FREE, 3)?;
        for (n, part) in (0..).zip(image.chunks(4096)) {
            let mut page = [0; 4096];
            page[..part.len()].copy_from_slice(part);
            w.data(&realm, BASE + n * GRANULE, &page)?;
        }
        let filled = BASE + (image.len() as u64).next_multiple_of(GRANULE);
        w.init_ripas(&realm, filled, BASE + bytes)?;
        for n in 0..(BASE + bytes - filled) / GRANULE {
            w.data_unknown(&realm, filled + n * GRANULE)?;
        }
        w.init_ripas(&realm, FREE, FREE + 0x20_0000)?;
        let mut recs = Vec::new();
        for index in 0..vcpus as u64 {
            recs.push(create_rec(w, &realm, index)?);
        }
        w.activate(&realm)?;
        let payload = Self { realm, recs };
        match payload.enter(w, 0, &RecEnter::default())? {
            Turn::Report(..) => Ok(payload),
            Turn::Exit(exit) => Err(unexpected("the start", &exit)),
        }
    }

    /// Creates a Realm of two vCPUs, each of which waits for a command.
    pub(super) fn two(w: &mut World<'_>, plan: &RealmPlan) -> Outcome<Self> {
        Self::several(w, plan, 2)
    }

    /// Creates a Realm of `vcpus` vCPUs, each of which waits for a command.
    pub(super) fn several(w: &mut World<'_>, plan: &RealmPlan, vcpus: usize) -> Outcome<Self> {
        let payload = Self::new(w, plan, vcpus)?;
        for (vcpu, rec) in payload.recs.iter().enumerate().skip(1) {
            payload.exit(w, Command::StartVcpu(rec.index))?;
            w.ok(rmi::Command::PsciComplete {
                calling_rec: payload.recs[0].rec,
                target_rec: rec.rec,
                status: 0,
            })?;
            payload.resume(w, &RecEnter::default())?;
            if let Turn::Exit(exit) = payload.enter(w, vcpu, &RecEnter::default())? {
                return Err(unexpected("another vCPU", &exit));
            }
        }
        Ok(payload)
    }

    /// Enters a vCPU once.
    pub(super) fn enter(&self, w: &mut World<'_>, vcpu: usize, enter: &RecEnter) -> Outcome<Turn> {
        let (reply, exit) = w.enter_with(&self.recs[vcpu], enter)?;
        check!(reply == Reply::SUCCESS, "entry: {reply:?}");
        if exit.reason() != Some(ExitReason::HostCall) {
            return Ok(Turn::Exit(Box::new(exit)));
        }
        check!(exit.imm != DIED_IMM, "the payload died: {}", words(&exit));
        Ok(match report_of(&exit) {
            Some(report) => Turn::Report(Box::new(report), Box::new(exit)),
            None => Turn::Exit(Box::new(exit)),
        })
    }

    /// Gives a command and returns what happens first.
    pub(super) fn begin(&self, w: &mut World<'_>, command: Command) -> Outcome<Turn> {
        self.enter(w, 0, &giving(command))
    }

    /// Gives a command that ends in an exit, and returns that.
    pub(super) fn exit(&self, w: &mut World<'_>, command: Command) -> Outcome<Box<RecExit>> {
        match self.begin(w, command)? {
            Turn::Exit(exit) => Ok(exit),
            Turn::Report(report, _) => Err(Stop::Failed(alloc::format!(
                "{command:x?} made no exit: {report:x?}"
            ))),
        }
    }

    /// Enters a vCPU that must report now.
    pub(super) fn resume(&self, w: &mut World<'_>, enter: &RecEnter) -> Outcome<Report> {
        match self.enter(w, 0, enter)? {
            Turn::Report(report, _) => Ok(*report),
            Turn::Exit(exit) => Err(unexpected("an entry", &exit)),
        }
    }

    /// Gives a command to the first vCPU and waits for its report.
    pub(super) fn tell(&self, w: &mut World<'_>, command: Command) -> Outcome<Report> {
        self.tell_to(w, 0, command)
    }

    /// Gives a command and waits for its report; interrupts of the Host do not count.
    pub(super) fn tell_to(
        &self,
        w: &mut World<'_>,
        vcpu: usize,
        command: Command,
    ) -> Outcome<Report> {
        let mut turn = self.enter(w, vcpu, &giving(command))?;
        for _ in 0..MOST_ENTRIES {
            match turn {
                Turn::Report(report, _) => return Ok(*report),
                Turn::Exit(exit) if exit.reason() == Some(ExitReason::Irq) => {
                    turn = self.enter(w, vcpu, &RecEnter::default())?;
                }
                Turn::Exit(exit) => return Err(unexpected("a command", &exit)),
            }
        }
        Err(Stop::Failed(alloc::format!("{command:x?} does not end")))
    }

    /// Gives a command that has to be done.
    pub(super) fn done(&self, w: &mut World<'_>, command: Command) -> Outcome<[u64; REGISTERS]> {
        let report = self.tell(w, command)?;
        check!(report.outcome == Ended::Done, "{command:x?}: {report:x?}");
        Ok(report.registers)
    }
}

/// Returns the report that an exit is, if it is one.
pub(super) fn report_of(exit: &RecExit) -> Option<Report> {
    let is_report = exit.reason() == Some(ExitReason::HostCall) && exit.imm == COMMAND_IMM;
    is_report.then(|| Report::decode(&exit.gprs)).flatten()
}

/// Returns the entry that gives a command.
pub(super) fn giving(command: Command) -> RecEnter {
    let mut enter = RecEnter::default();
    enter.gprs = command.encode();
    enter
}

/// Returns a run of one instruction with x0 and x1.
pub(super) fn run(instruction: u32, x0: u64, x1: u64) -> Command {
    Command::Run {
        instruction,
        registers: first(x0, x1),
    }
}

/// Returns registers with only x0 and x1.
pub(super) fn first(x0: u64, x1: u64) -> [u64; REGISTERS] {
    let mut registers = [0; REGISTERS];
    registers[..2].copy_from_slice(&[x0, x1]);
    registers
}

/// Gives the page at [`FREE`] and writes code there that goes to x0 with PSTATE x1, and `target` behind
/// it; returns the address of the latter.
pub(super) fn write_code(w: &mut World<'_>, payload: &Payload, target: &[u32]) -> Outcome<u64> {
    const ELR: SystemRegister = SystemRegister::new(3, 0, 4, 0, 1);
    const TARGET: u64 = FREE + 0x100;
    w.data_unknown(&payload.realm, FREE)?;
    let start = [ELR.write_x0(), MSR_SPSR_X1, ERET];
    for (base, code) in [(FREE, &start[..]), (TARGET, target)] {
        for (at, word) in (base..).step_by(4).zip(code) {
            payload.done(w, run(STR_W0, u64::from(*word), at))?;
        }
    }
    payload.done(w, run(IC_IALLU, 0, 0))?;
    Ok(TARGET)
}

/// Goes to code with this PSTATE, behind [`write_code`].
pub(super) fn go(to: u64, pstate: u64) -> Command {
    Command::Call {
        address: FREE,
        registers: first(to, pstate),
    }
}

/// Reads a system register of the first vCPU.
pub(super) fn read(w: &mut World<'_>, payload: &Payload, register: SystemRegister) -> Outcome<u64> {
    let [value, ..] = payload.done(w, run(register.read_x0(), 0, 0))?;
    Ok(value)
}

/// Writes a system register of the first vCPU.
pub(super) fn write(
    w: &mut World<'_>,
    payload: &Payload,
    register: SystemRegister,
    value: u64,
) -> Outcome {
    payload
        .done(w, run(register.write_x0(), value, 0))
        .map(|_| ())
}

/// Returns the fault that a report is about.
pub(super) fn fault(report: &Report) -> Outcome<Fault> {
    match report.outcome {
        Ended::Fault(fault) => Ok(fault),
        Ended::Done | Ended::NotUnderstood => {
            Err(Stop::Failed(alloc::format!("no fault: {report:x?}")))
        }
    }
}

/// Returns the failure that an exit is.
pub(super) fn unexpected(what: &str, exit: &RecExit) -> Stop {
    let (reason, esr, hpfar, imm) = (exit.exit_reason, exit.esr, exit.hpfar, exit.imm);
    Stop::Failed(alloc::format!(
        "{what} ended in exit {reason}, esr {esr:#x}, hpfar {hpfar:#x}, imm {imm:#x}"
    ))
}

/// Returns the sentence of a payload that died: eight bytes in each value.
fn words(exit: &RecExit) -> alloc::string::String {
    let bytes: Vec<u8> = exit
        .gprs
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let text = alloc::string::String::from_utf8_lossy(&bytes);
    text.trim_end_matches('\0').into()
}

fn create_rec(w: &mut World<'_>, realm: &Realm, index: u64) -> Outcome<Rec> {
    let runnable = if index == 0 {
        Runnable::Yes
    } else {
        Runnable::No
    };
    let mut params = w.rec_params(realm, index, runnable)?;
    params.pc = BASE;
    w.rec_with(realm, index, &params)
}
