// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The virtual GIC CPU interface, one instruction of the Realm at a time.

use rmi::{ExitReason, RecEnter, RecExit};
use test_realm::instructions::SystemRegister;
use test_realm::protocol::{Bank, Command, sequence};

use super::payload::{Payload, Turn, giving, run, unexpected};
use super::row;
use crate::check;
use crate::outcome::{Outcome, Stop};
use crate::scenario::Scenario;
use crate::world::World;

/// What these scenarios prove.
pub(super) const SCENARIOS: &[Scenario] = &[
    row("realm_gic_all_list_registers", all_list_registers),
    row("realm_gic_active_priority_kept", active_priority_kept),
    row("realm_gic_end_maintenance", end_maintenance),
    row("realm_gic_underflow_maintenance", underflow_maintenance),
    row("realm_gic_end_without_entry", end_without_entry),
    row("realm_gic_deactivation_trapped", deactivation_trapped),
    row("realm_gic_interface_state_kept", interface_state_kept),
    row(
        "realm_gic_host_interrupts_anywhere",
        host_interrupts_anywhere,
    ),
];

/// Registers of the CPU interface.
pub(super) const IAR1: SystemRegister = SystemRegister::new(3, 0, 12, 12, 0);
pub(super) const EOIR1: SystemRegister = SystemRegister::new(3, 0, 12, 12, 1);
const DIR: SystemRegister = SystemRegister::new(3, 0, 12, 11, 1);
pub(super) const RPR: SystemRegister = SystemRegister::new(3, 0, 12, 11, 3);
const CTLR: SystemRegister = SystemRegister::new(3, 0, 12, 12, 4);
const PMR: SystemRegister = SystemRegister::new(3, 0, 4, 6, 0);
/// `ICC_CTLR_EL1.EOImode`: the end of an interrupt does not deactivate it.
const EOI_MODE: u64 = 1 << 1;
/// No interrupt; no priority.
pub(super) const NONE: u64 = 1023;
const IDLE: u64 = 0xFF;

/// A list register: state, group 1, priority, end makes a maintenance interrupt.
pub(super) const PENDING: u64 = 1 << 62;
pub(super) const ACTIVE: u64 = 1 << 63;
const GROUP1: u64 = 1 << 60;
pub(super) const PRIORITY_SHIFT: u32 = 48;
const END: u64 = 1 << 41;
/// `ICH_HCR_EL2`: UIE, LRENPIE, TDIR, and the field EOIcount.
const UNDERFLOW: u64 = 1 << 1;
pub(super) const NOT_PRESENT: u64 = 1 << 2;
const TRAP_DIR: u64 = 1 << 14;
pub(super) const END_COUNT_SHIFT: u32 = 27;
/// `ICH_MISR_EL2.EOI`.
const ENDED: u64 = 1 << 0;
/// An interrupt of no device, with this priority.
pub(super) const INTID: u64 = 40;
pub(super) const PRIORITY: u64 = 0x80;

pub(super) fn pending(intid: u64, priority: u64) -> u64 {
    PENDING | GROUP1 | priority << PRIORITY_SHIFT | intid
}

/// A Realm whose CPU interface delivers, with interrupts masked so that it takes them by reading, and
/// what its Host keeps of the interface.
pub(super) struct Interface {
    pub(super) payload: Payload,
    pub(super) lrs: [u64; 16],
    pub(super) hcr: u64,
}

impl Interface {
    pub(super) fn new(w: &mut World<'_>) -> Outcome<Self> {
        let payload = Payload::one(w)?;
        payload.done(w, Command::Interrupts(true))?;
        payload.done(w, Command::Interrupts(false))?;
        Ok(Self {
            payload,
            lrs: [0; 16],
            hcr: 0,
        })
    }

    /// Enters once with a command; the Host keeps the list registers as they come back.
    pub(super) fn enter(&mut self, w: &mut World<'_>, command: Command) -> Outcome<Turn> {
        let mut enter = giving(command);
        enter.gicv3_lrs = self.lrs;
        enter.gicv3_hcr = self.hcr;
        let turn = self.payload.enter(w, 0, &enter)?;
        let (Turn::Report(_, exit) | Turn::Exit(exit)) = &turn;
        self.lrs = exit.gicv3_lrs;
        Ok(turn)
    }

    /// Lets the Realm run an instruction to its end and returns x0. Interrupts of the Host do not count.
    pub(super) fn run(&mut self, w: &mut World<'_>, instruction: u32, x0: u64) -> Outcome<u64> {
        let mut turn = self.enter(w, run(instruction, x0, 0))?;
        loop {
            match turn {
                Turn::Report(report, _) => return Ok(report.registers[0]),
                Turn::Exit(exit) if exit.reason() == Some(ExitReason::Irq) => {
                    turn = self.enter(w, Command::Nothing)?;
                }
                Turn::Exit(exit) => return Err(unexpected("an instruction", &exit)),
            }
        }
    }

    /// Lets the Realm run an instruction whose maintenance interrupt ends the run.
    pub(super) fn run_to_maintenance(
        &mut self,
        w: &mut World<'_>,
        instruction: u32,
        x0: u64,
    ) -> Outcome<RecExit> {
        match self.enter(w, run(instruction, x0, 0))? {
            Turn::Exit(exit) if exit.reason() == Some(ExitReason::Irq) => Ok(*exit),
            Turn::Exit(exit) => Err(unexpected("an instruction", &exit)),
            Turn::Report(report, _) => Err(Stop::Failed(alloc::format!("no exit: {report:x?}"))),
        }
    }
}

/// Every list register delivers, the highest priority first, and the rest of them are nothing.
fn all_list_registers(w: &mut World<'_>) -> Outcome {
    let mut gic = Interface::new(w)?;
    for (n, lr) in (0..).zip(&mut gic.lrs) {
        // Five bits of priority are always there; the mask stops the lowest.
        *lr = pending(INTID + n, 0xF0 - 8 * n);
    }
    let given = gic.lrs;
    gic.run(w, RPR.read_x0(), 0)?;
    let count = gic.lrs.iter().take_while(|lr| **lr != 0).count();
    check!(count > 0, "no list register");
    check!(gic.lrs[..count] == given[..count], "{:x?}", gic.lrs);
    check!(gic.lrs[count..] == [0; 16][count..], "{:x?}", gic.lrs);
    for n in (0..count).rev() {
        let intid = INTID + n as u64;
        let taken = gic.run(w, IAR1.read_x0(), 0)?;
        check!(taken == intid, "took {taken} instead of {intid}");
        let active = given[n] & !PENDING | ACTIVE;
        check!(gic.lrs[n] == active, "LR{n} {:#x}", gic.lrs[n]);
        gic.run(w, EOIR1.write_x0(), intid)?;
        check!(
            gic.lrs[n] & (PENDING | ACTIVE) == 0,
            "LR{n} {:#x}",
            gic.lrs[n]
        );
    }
    let taken = gic.run(w, IAR1.read_x0(), 0)?;
    check!(taken == NONE, "took {taken} after the last");
    Ok(())
}

/// The priority of an active interrupt holds others back, in its REC only.
fn active_priority_kept(w: &mut World<'_>) -> Outcome {
    let (mut gic, mut other) = (Interface::new(w)?, Interface::new(w)?);
    gic.lrs[0] = pending(INTID, PRIORITY);
    check!(gic.run(w, IAR1.read_x0(), 0)? == INTID, "not taken");
    let priority = other.run(w, RPR.read_x0(), 0)?;
    check!(priority == IDLE, "the other Realm runs at {priority:#x}");
    let priority = gic.run(w, RPR.read_x0(), 0)?;
    check!(priority == PRIORITY, "runs at {priority:#x}");
    gic.lrs[1] = pending(INTID + 1, PRIORITY);
    let taken = gic.run(w, IAR1.read_x0(), 0)?;
    check!(taken == NONE, "{taken} came through");
    gic.run(w, EOIR1.write_x0(), INTID)?;
    let taken = gic.run(w, IAR1.read_x0(), 0)?;
    check!(taken == INTID + 1, "took {taken} afterwards");
    Ok(())
}

/// The end of an interrupt whose Host wants to hear of it.
fn end_maintenance(w: &mut World<'_>) -> Outcome {
    let mut gic = Interface::new(w)?;
    gic.lrs[0] = pending(INTID, PRIORITY) | END;
    check!(gic.run(w, IAR1.read_x0(), 0)? == INTID, "not taken");
    let exit = gic.run_to_maintenance(w, EOIR1.write_x0(), INTID)?;
    check!(exit.gicv3_misr == ENDED, "MISR {:#x}", exit.gicv3_misr);
    check!(exit.gicv3_hcr == 0, "HCR {:#x}", exit.gicv3_hcr);
    check!(
        exit.gicv3_lrs[0] & (PENDING | ACTIVE) == 0,
        "LR {:#x}",
        exit.gicv3_lrs[0]
    );
    Ok(())
}

/// The Host can ask to hear when no more than one list register is in use.
fn underflow_maintenance(w: &mut World<'_>) -> Outcome {
    let mut gic = Interface::new(w)?;
    gic.hcr = UNDERFLOW;
    gic.lrs[0] = pending(INTID, PRIORITY);
    gic.lrs[1] = pending(INTID + 1, PRIORITY);
    check!(gic.run(w, IAR1.read_x0(), 0)? == INTID, "not taken");
    let exit = gic.run_to_maintenance(w, EOIR1.write_x0(), INTID)?;
    check!(exit.gicv3_misr == UNDERFLOW, "MISR {:#x}", exit.gicv3_misr);
    check!(exit.gicv3_hcr == UNDERFLOW, "HCR {:#x}", exit.gicv3_hcr);
    Ok(())
}

/// The end of an interrupt that the Host took out of the list registers is counted.
fn end_without_entry(w: &mut World<'_>) -> Outcome {
    let mut gic = Interface::new(w)?;
    gic.lrs[0] = pending(INTID, PRIORITY);
    check!(gic.run(w, IAR1.read_x0(), 0)? == INTID, "not taken");
    gic.lrs[0] = 0;
    gic.hcr = NOT_PRESENT;
    let exit = gic.run_to_maintenance(w, EOIR1.write_x0(), INTID)?;
    check!(
        exit.gicv3_misr == NOT_PRESENT,
        "MISR {:#x}",
        exit.gicv3_misr
    );
    let wanted = 1 << END_COUNT_SHIFT | NOT_PRESENT;
    check!(exit.gicv3_hcr == wanted, "HCR {:#x}", exit.gicv3_hcr);
    Ok(())
}

/// A Host that traps deactivation gets the write, and the Realm goes on behind it.
fn deactivation_trapped(w: &mut World<'_>) -> Outcome {
    const SYSREG: u64 = 0x18;
    let mut gic = Interface::new(w)?;
    gic.hcr = TRAP_DIR;
    gic.run(w, CTLR.write_x0(), EOI_MODE)?;
    gic.lrs[0] = pending(INTID, PRIORITY);
    check!(gic.run(w, IAR1.read_x0(), 0)? == INTID, "not taken");
    gic.run(w, EOIR1.write_x0(), INTID)?;
    check!(gic.lrs[0] & ACTIVE != 0, "LR {:#x}", gic.lrs[0]);
    let exit = match gic.enter(w, run(DIR.write_x0(), INTID, 0))? {
        Turn::Exit(exit) => exit,
        Turn::Report(report, _) => {
            return Err(Stop::Failed(alloc::format!("no exit: {report:x?}")));
        }
    };
    check!(
        exit.reason() == Some(ExitReason::Sync) && exit.esr >> 26 == SYSREG,
        "{:?} {:#x}",
        exit.reason(),
        exit.esr
    );
    check!(exit.gprs[0] == INTID, "value {:#x}", exit.gprs[0]);
    check!(
        exit.gicv3_lrs[0] & ACTIVE != 0,
        "LR {:#x}",
        exit.gicv3_lrs[0]
    );
    gic.lrs[0] = 0;
    match gic.enter(w, Command::Nothing)? {
        Turn::Report(..) => Ok(()),
        Turn::Exit(exit) => Err(unexpected("the write", &exit)),
    }
}

/// The controls of the interface belong to the REC and are shown to the Host.
fn interface_state_kept(w: &mut World<'_>) -> Outcome {
    const VENG1: u64 = 1 << 1;
    let (mut gic, mut other) = (Interface::new(w)?, Interface::new(w)?);
    for mask in [0xF0, 0x50, 0xA8] {
        gic.run(w, PMR.write_x0(), mask)?;
        let others = other.run(w, PMR.read_x0(), 0)?;
        check!(
            others & 0xF8 == 0xF8,
            "the other Realm's mask is {others:#x}"
        );
        let mut turn = gic.enter(w, run(PMR.read_x0(), 0, 0))?;
        if let Turn::Exit(_) = turn {
            turn = gic.enter(w, Command::Nothing)?;
        }
        let Turn::Report(report, exit) = turn else {
            return Err(Stop::Failed("two interrupts for one instruction".into()));
        };
        check!(
            report.registers[0] == mask,
            "mask {:#x}",
            report.registers[0]
        );
        let vmcr = exit.gicv3_vmcr;
        check!(vmcr >> 24 == mask && vmcr & VENG1 != 0, "VMCR {vmcr:#x}");
    }
    Ok(())
}

/// Wherever the Host interrupts a Realm, the Realm does not notice: not in general registers, where a
/// computation is, and not in the others.
fn host_interrupts_anywhere(w: &mut World<'_>) -> Outcome {
    const ENOUGH: u64 = 50;
    const MOST_ROUNDS: u64 = 500;
    let payload = Payload::one(w)?;
    for bank in [Bank::System, Bank::Vectors] {
        payload.done(w, Command::Fill(bank, 1))?;
        let (mut interrupts, mut seed) = (0, 0);
        while interrupts < ENOUGH {
            check!(seed < MOST_ROUNDS, "{interrupts} interrupts only");
            interrupts = compute_interrupted(w, &payload, seed, interrupts)?;
            seed += 1;
        }
        let [first, second, ..] = payload.done(w, Command::Check(bank))?;
        check!(
            first == 0 && (bank == Bank::System || second == 0),
            "{bank:?} {first:#x} {second:#x}"
        );
    }
    Ok(())
}

/// Lets the Realm compute while the Host's timer interrupts it; returns how often it has in all.
fn compute_interrupted(
    w: &mut World<'_>,
    payload: &Payload,
    seed: u64,
    so_far: u64,
) -> Outcome<u64> {
    const ROUNDS: u64 = 1_000_000;
    const MOST: u64 = 100_000;
    let mut enter = giving(Command::Sequence {
        seed,
        rounds: ROUNDS,
    });
    for interrupts in so_far..MOST {
        // From none at all to long enough for some ten thousand instructions.
        w.port.set_alarm(interrupts * 7919 % 200_003);
        match payload.enter(w, 0, &enter)? {
            Turn::Report(report, _) => {
                let value = report.registers[0];
                let is_right = value == sequence(seed, ROUNDS);
                check!(is_right, "after {interrupts} interrupts: {value:#x}");
                return Ok(interrupts);
            }
            Turn::Exit(exit) if exit.reason() == Some(ExitReason::Irq) => {}
            Turn::Exit(exit) => return Err(unexpected("a computation", &exit)),
        }
        enter = RecEnter::default();
    }
    Err(Stop::Failed("no progress".into()))
}
