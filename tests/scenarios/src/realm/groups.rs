// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Both groups of virtual interrupts, and what the Host hears of the interface: bit by bit of
//! `ICH_HCR_EL2`, which is the bit of `ICH_MISR_EL2` that answers it.

use rmi::{CommandId, ExitReason, RecEnter};
use test_realm::instructions::SystemRegister;
use test_realm::protocol::Command;

use super::gic::{
    ACTIVE, END_COUNT_SHIFT, EOIR1, IAR1, INTID, Interface, NONE, NOT_PRESENT, PENDING, PRIORITY,
    PRIORITY_SHIFT, RPR, pending,
};
use super::payload::{Turn, giving, unexpected};
use super::row;
use crate::check;
use crate::outcome::{Outcome, Reply};
use crate::scenario::Scenario;
use crate::world::World;

/// What these scenarios prove.
pub(super) const SCENARIOS: &[Scenario] = &[
    row("realm_gic_group_maintenance", group_maintenance),
    row("realm_gic_controls_kept", controls_kept),
    row("realm_gic_group0", group0),
    row("realm_gic_ends_counted_once", ends_counted_once),
    row("realm_gic_no_nmi", no_nmi),
];

/// Registers of the CPU interface.
const IAR0: SystemRegister = SystemRegister::new(3, 0, 12, 8, 0);
const EOIR0: SystemRegister = SystemRegister::new(3, 0, 12, 8, 1);
const IGRPEN0: SystemRegister = SystemRegister::new(3, 0, 12, 12, 6);
const IGRPEN1: SystemRegister = SystemRegister::new(3, 0, 12, 12, 7);
/// `ICH_HCR_EL2` and `ICH_MISR_EL2`: a group is enabled, or disabled.
const GROUP0_ENABLED: u64 = 1 << 4;
const GROUP0_DISABLED: u64 = 1 << 5;
const GROUP1_ENABLED: u64 = 1 << 6;
const GROUP1_DISABLED: u64 = 1 << 7;
/// `ICH_HCR_EL2`: what the Host may set, without those that may end the run at once.
const QUIET: u64 = 1 << 1 | 1 << 2 | GROUP0_ENABLED | GROUP1_DISABLED | 1 << 14;

/// The Host can ask to hear when the Realm turns a group on or off, and hears of nothing else. As long as
/// that is so and it asks, it hears again.
fn group_maintenance(w: &mut World<'_>) -> Outcome {
    // At the start group 0 is off and group 1 on.
    let mut gic = Interface::new(w)?;
    hear_of_write(w, &mut gic, GROUP0_ENABLED, IGRPEN0, 1)?;
    // QEMU 10.0 takes group 1 for group 0 here, so both change before anybody asks.
    gic.hcr = GROUP0_DISABLED;
    gic.run(w, RPR.read_x0(), 0)?;
    gic.hcr = 0;
    gic.run(w, IGRPEN0.write_x0(), 0)?;
    gic.run(w, IGRPEN1.write_x0(), 0)?;
    hear_at_once(w, &mut gic, GROUP0_DISABLED)?;
    hear_of_write(w, &mut gic, GROUP1_ENABLED, IGRPEN1, 1)?;
    hear_of_write(w, &mut gic, GROUP1_DISABLED, IGRPEN1, 0)
}

/// Lets the Realm write what the Host wants to hear of.
fn hear_of_write(
    w: &mut World<'_>,
    gic: &mut Interface,
    bit: u64,
    register: SystemRegister,
    value: u64,
) -> Outcome {
    gic.hcr = bit;
    // Not yet: the read completes.
    gic.run(w, RPR.read_x0(), 0)?;
    let exit = gic.run_to_maintenance(w, register.write_x0(), value)?;
    let seen = (exit.gicv3_misr, exit.gicv3_hcr);
    check!(seen == (bit, bit), "MISR and HCR {seen:x?}, not {bit:#x}");
    hear_at_once(w, gic, bit)?;
    let now = gic.run(w, register.read_x0(), 0)?;
    check!(now == value, "{now} instead of {value}");
    Ok(())
}

/// Enters a Realm that is as the Host wants to hear; the Host asks no longer afterwards.
fn hear_at_once(w: &mut World<'_>, gic: &mut Interface, bit: u64) -> Outcome {
    gic.hcr = bit;
    match gic.enter(w, Command::Nothing)? {
        Turn::Exit(exit) if exit.reason() == Some(ExitReason::Irq) => {
            check!(exit.gicv3_misr == bit, "MISR {:#x}", exit.gicv3_misr);
        }
        Turn::Exit(exit) => return Err(unexpected("an entry", &exit)),
        Turn::Report(report, _) => check!(false, "not heard: {report:x?}"),
    }
    gic.hcr = 0;
    Ok(())
}

/// What the Host sets comes back, and nothing else does: not what the monitor sets for itself.
fn controls_kept(w: &mut World<'_>) -> Outcome {
    let mut gic = Interface::new(w)?;
    // Two list registers in use are no underflow.
    gic.lrs[0] = pending(INTID, PRIORITY) & !PENDING | ACTIVE;
    gic.lrs[1] = pending(INTID + 1, PRIORITY) & !PENDING | ACTIVE;
    for hcr in (0..15).map(|bit| QUIET & 1 << bit).chain([QUIET]) {
        let mut enter = giving(Command::Nothing);
        enter.gicv3_lrs = gic.lrs;
        enter.gicv3_hcr = hcr;
        let mut turn = gic.payload.enter(w, 0, &enter)?;
        if matches!(&turn, Turn::Exit(exit) if exit.reason() == Some(ExitReason::Irq)) {
            turn = gic.payload.enter(w, 0, &enter)?;
        }
        match turn {
            Turn::Report(_, exit) => {
                let seen = (exit.gicv3_hcr, exit.gicv3_misr);
                check!(seen == (hcr, 0), "HCR, MISR {seen:x?} after {hcr:#x}");
            }
            Turn::Exit(exit) => return Err(unexpected("a call", &exit)),
        }
    }
    Ok(())
}

/// Interrupts of group 0 are apart from those of group 1, and so are their active priorities.
fn group0(w: &mut World<'_>) -> Outcome {
    let listed = PENDING | PRIORITY << PRIORITY_SHIFT | INTID;
    let mut gic = Interface::new(w)?;
    gic.lrs[0] = listed;
    let taken = gic.run(w, IAR0.read_x0(), 0)?;
    check!(taken == NONE, "took {taken} though the group is off");
    gic.run(w, IGRPEN0.write_x0(), 1)?;
    let taken = gic.run(w, IAR1.read_x0(), 0)?;
    check!(taken == NONE, "took {taken} of the other group");
    check!(gic.lrs[0] == listed, "LR {:#x}", gic.lrs[0]);
    let taken = gic.run(w, IAR0.read_x0(), 0)?;
    check!(taken == INTID, "took {taken}");
    check!(
        gic.lrs[0] == listed & !PENDING | ACTIVE,
        "LR {:#x}",
        gic.lrs[0]
    );
    let priority = gic.run(w, RPR.read_x0(), 0)?;
    check!(priority == PRIORITY, "runs at {priority:#x}");
    gic.run(w, EOIR0.write_x0(), INTID)?;
    check!(gic.lrs[0] & (PENDING | ACTIVE) == 0, "LR {:#x}", gic.lrs[0]);
    Ok(())
}

/// Ends of interrupts that are not in a list register are counted from each entry on, whether or not
/// the Host wants to be interrupted by them.
fn ends_counted_once(w: &mut World<'_>) -> Outcome {
    let mut gic = Interface::new(w)?;
    let intids = [(INTID, PRIORITY), (INTID + 1, PRIORITY / 2)];
    for (intid, priority) in intids {
        gic.lrs[0] = pending(intid, priority);
        let taken = gic.run(w, IAR1.read_x0(), 0)?;
        check!(taken == intid, "took {taken} instead of {intid}");
    }
    for (hcr, (intid, _)) in [0, NOT_PRESENT].into_iter().zip(intids.into_iter().rev()) {
        gic.lrs = [0; 16];
        gic.hcr = hcr;
        let counted = match gic.enter(w, super::payload::run(EOIR1.write_x0(), intid, 0))? {
            Turn::Report(_, exit) | Turn::Exit(exit) => exit.gicv3_hcr,
        };
        check!(counted == 1 << END_COUNT_SHIFT | hcr, "HCR {counted:#x}");
        gic.hcr = 0;
        let counted = match gic.enter(w, Command::Nothing)? {
            Turn::Report(_, exit) | Turn::Exit(exit) => exit.gicv3_hcr,
        };
        check!(counted == 0, "HCR {counted:#x} after nothing");
    }
    Ok(())
}

/// A Realm has no `FEAT_NMI`, so for it there is no list register with NMI, whatever the PE has.
fn no_nmi(w: &mut World<'_>) -> Outcome {
    const NMI: u64 = 1 << 59;
    let gic = Interface::new(w)?;
    let mut enter = RecEnter::default();
    for state in [PENDING, ACTIVE, PENDING | ACTIVE] {
        enter.gicv3_lrs[0] = pending(INTID, 0) & !PENDING | state | NMI;
        let (reply, _) = w.enter_with(&gic.payload.recs[0], &enter)?;
        w.check_reply(CommandId::RecEnter, reply, Reply::rec())?;
    }
    // In one that is not in use nothing matters.
    enter = giving(Command::Nothing);
    enter.gicv3_lrs[0] = NMI;
    match gic.payload.enter(w, 0, &enter)? {
        Turn::Report(..) => Ok(()),
        Turn::Exit(exit) if exit.reason() == Some(ExitReason::Irq) => Ok(()),
        Turn::Exit(exit) => Err(unexpected("an entry", &exit)),
    }
}
