// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Every encoding of a system register, tried in a Realm while the Host's own registers are full of a
//! secret.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use test_realm::instructions::SystemRegister;
use test_realm::protocol::{Bank, Command};
use test_realm::registers::{Identification, Reading, Sweep, reading};

use super::payload::{Payload, run};
use super::row;
use crate::check;
use crate::outcome::{Outcome, Stop};
use crate::port::Capabilities;
use crate::scenario::Scenario;
use crate::world::{RealmPlan, World};

/// What these scenarios prove.
pub(super) const SCENARIOS: &[Scenario] = &[
    row("realm_sweep_reads_plain", reads_plain),
    row("realm_sweep_reads_everything", reads_everything),
    row("realm_sweep_reads_second_vcpu", reads_second_vcpu),
    row("realm_sweep_writes", writes),
    row("realm_sweep_two_realms", two_realms),
    row("realm_sweep_fields_hidden", fields_hidden),
    row("realm_sweep_host_kept", host_kept),
];

/// The pattern in the Host's registers.
const SECRET: u64 = 0x5EC2_E715;
/// Encodings that a sweep tries: 16 CRm times 8 op2.
const BITS: u32 = 128;

/// A Realm with nothing that is not in every Realm.
fn reads_plain(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    reads_of(w, &payload, 0)
}

/// A Realm with all that a Realm can have, and as many breakpoints.
fn reads_everything(w: &mut World<'_>) -> Outcome {
    let features = w.features()?;
    let plan = RealmPlan {
        sve: features.has_sve(),
        pmu: features.has_pmu(),
        breakpoints: features.num_bps(),
        watchpoints: features.num_wps(),
        ..RealmPlan::default()
    };
    let payload = Payload::new(w, &plan, 1)?;
    reads_of(w, &payload, 0)
}

/// The second vCPU has the same registers.
fn reads_second_vcpu(w: &mut World<'_>) -> Outcome {
    let payload = Payload::two(w, &RealmPlan::default())?;
    reads_of(w, &payload, 1)
}

/// Reads every encoding: what is there is what the identification registers promise, and nothing that
/// is read is the Host's.
fn reads_of(w: &mut World<'_>, payload: &Payload, vcpu: usize) -> Outcome {
    w.need(Capabilities::REGISTERS, "registers of its own")?;
    let id = identification(w, payload, vcpu)?;
    w.port.fill_registers(SECRET);
    let mut wrong = Vec::new();
    let outcome = for_each_class(|class| {
        let sweep = sweep(w, payload, vcpu, class, false)?;
        for bit in 0..BITS {
            let (register, name) = register(class, bit);
            if sweep.leaked >> bit & 1 == 1 {
                wrong.push(format!("{name} shows the Host's value"));
            }
            match (reading(register, &id), sweep.done >> bit & 1 == 1) {
                (Reading::Value, false) => wrong.push(format!("{name} is not there")),
                (Reading::Undefined, true) => wrong.push(format!("{name} is there")),
                _ => {}
            }
        }
        Ok(())
    });
    check_host(w)?;
    outcome?;
    check!(wrong.is_empty(), "{}: {wrong:?}", wrong.len());
    Ok(())
}

/// Writes what was read to every encoding: none makes an exit, and the Realm goes on.
fn writes(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    w.need(Capabilities::REGISTERS, "registers of its own")?;
    w.port.fill_registers(SECRET);
    let outcome = for_each_class(|class| sweep(w, &payload, 0, class, true).map(|_| ()));
    check_host(w)?;
    outcome?;
    reads_of(w, &payload, 0)
}

/// Nothing that a Realm reads is what another one left in its registers.
fn two_realms(w: &mut World<'_>) -> Outcome {
    let pmu = w.features()?.has_pmu();
    let plan = RealmPlan {
        pmu,
        ..RealmPlan::default()
    };
    let [one, other] = [Payload::new(w, &plan, 1)?, Payload::new(w, &plan, 1)?];
    for_each_class(|class| {
        one.done(w, Command::Fill(Bank::System, SECRET))?;
        let sweep = sweep(w, &other, 0, class, false)?;
        check!(sweep.leaked == 0, "{class:?}: {:#x}", sweep.leaked);
        Ok(())
    })
}

/// Identification fields of what no Realm has (RMM specification A6.1 and what is not switched).
fn fields_hidden(w: &mut World<'_>) -> Outcome {
    const HIDDEN: &[(&str, usize, usize, u32)] = &[
        ("EL2", 4, 0, 8),
        ("MPAM", 4, 0, 40),
        ("AMU", 4, 0, 44),
        ("RME", 4, 0, 52),
        ("MTE", 4, 1, 8),
        ("SME", 4, 1, 24),
        ("NMI", 4, 1, 36),
        ("GCS", 4, 1, 44),
        ("THE", 4, 1, 48),
        ("TraceVer", 5, 0, 4),
        ("PMSVer", 5, 0, 32),
        ("TraceFilt", 5, 0, 40),
        ("TraceBuffer", 5, 0, 44),
        ("BRBE", 5, 0, 52),
        ("HPMN0", 5, 0, 60),
        ("LS64", 6, 1, 60),
        ("FGT", 7, 0, 56),
        ("VH", 7, 1, 8),
        ("LO", 7, 1, 16),
        ("HCX", 7, 1, 40),
        ("NV", 7, 2, 24),
        ("TCRX", 7, 3, 0),
        ("SCTLRX", 7, 3, 4),
        ("S1PIE", 7, 3, 8),
        ("S1POE", 7, 3, 16),
        ("D128", 7, 3, 32),
    ];
    let payload = Payload::one(w)?;
    let id = identification(w, &payload, 0)?;
    for (name, crm, op2, shift) in HIDDEN {
        let field = id.field(*crm, *op2, *shift);
        check!(field == 0, "{name} is {field}");
    }
    // No SVE, no PMU; the breakpoints and watchpoints that the Realm was made with.
    let plan = RealmPlan::default();
    let shown = [id.field(4, 0, 32), id.field(5, 0, 8)];
    check!(shown == [0, 0], "SVE, PMUVer {shown:?}");
    let debug = [id.field(5, 0, 12), id.field(5, 0, 20)];
    let made = [u64::from(plan.breakpoints), u64::from(plan.watchpoints)];
    check!(debug == made, "BRPs, WRPs {debug:?}");
    check!(id.registers[4 * 8 + 5] == 0, "ID_AA64SMFR0_EL1");
    Ok(())
}

/// A Realm that fills all its registers leaves the Host's as they were.
fn host_kept(w: &mut World<'_>) -> Outcome {
    w.need(Capabilities::REGISTERS, "registers of its own")?;
    let features = w.features()?;
    let plan = RealmPlan {
        pmu: features.has_pmu(),
        ..RealmPlan::default()
    };
    let payload = Payload::new(w, &plan, 1)?;
    w.port.fill_registers(SECRET);
    payload.done(w, Command::Fill(Bank::System, 7))?;
    payload.done(w, Command::Nothing)?;
    check_host(w)
}

/// Checks that no register of the Host has changed.
pub(super) fn check_host(w: &mut World<'_>) -> Outcome {
    let changed = w.port.changed_registers();
    check!(
        changed.is_empty(),
        "changed registers of the Host: {changed:?}"
    );
    Ok(())
}

fn identification(w: &mut World<'_>, payload: &Payload, vcpu: usize) -> Outcome<Identification> {
    let mut registers = [0; 64];
    for (index, value) in registers.iter_mut().enumerate().skip(8) {
        let (crm, op2) = (index as u32 / 8, index as u32 % 8);
        let register = SystemRegister::new(3, 0, 0, crm, op2);
        let report = payload.tell_to(w, vcpu, run(register.read_x0(), 0, 0))?;
        [*value, ..] = report.registers;
    }
    Ok(Identification { registers })
}

fn for_each_class(mut each: impl FnMut([u8; 3]) -> Outcome) -> Outcome {
    for op0 in [2, 3] {
        for op1 in 0..8 {
            for crn in 0..16 {
                each([op0, op1, crn])?;
            }
        }
    }
    Ok(())
}

fn sweep(
    w: &mut World<'_>,
    payload: &Payload,
    vcpu: usize,
    class: [u8; 3],
    writes: bool,
) -> Outcome<Sweep> {
    let command = Command::Sweep {
        class,
        writes,
        secret: SECRET,
    };
    let report = payload.tell_to(w, vcpu, command)?;
    let words = report.registers.first_chunk().copied();
    let sweep = Sweep::from_words(words.unwrap_or_default());
    if sweep.other_esr != 0 {
        return Err(Stop::Failed(format!(
            "{class:?}: exception {:#x}",
            sweep.other_esr
        )));
    }
    Ok(sweep)
}

fn register([op0, op1, crn]: [u8; 3], bit: u32) -> (SystemRegister, String) {
    let (crm, op2) = (bit / 8, bit % 8);
    let register = SystemRegister::new(op0.into(), op1.into(), crn.into(), crm, op2);
    (register, format!("S{op0}_{op1}_C{crn}_C{crm}_{op2}"))
}
