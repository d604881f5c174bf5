// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Registers belong to one Realm, and to one vCPU of it.

use test_realm::instructions::{FMOV_D0_XZR, LDR_X0, RDSVL_X0, RDVL_X0, SystemRegister};
use test_realm::protocol::{Bank, Command, Outcome as Ended};
use test_realm::registers::SYSTEM_REGISTERS;

use super::payload::{FREE, Payload, fault, run};
use super::row;
use crate::check;
use crate::outcome::{Outcome, Stop};
use crate::port::GRANULE;
use crate::scenario::Scenario;
use crate::world::{RealmPlan, World};

/// What these scenarios prove.
pub(super) const SCENARIOS: &[Scenario] = &[
    row("realm_registers_system", system),
    row("realm_registers_vectors", vectors),
    row("realm_registers_scalable", scalable),
    row("realm_registers_two_realms", two_realms),
    row("realm_registers_sve_beside_none", sve_beside_none),
    row("realm_registers_sve_identified", sve_identified),
    row("realm_registers_id_space", id_space),
    row("realm_memory_kept", memory_kept),
    row(
        "realm_memory_new_pages_hold_nothing",
        new_pages_hold_nothing,
    ),
];

/// Host entries between filling and checking.
const ENTRIES: usize = 5;
/// `ID_AA64PFR0_EL1`.
const PFR0: SystemRegister = SystemRegister::new(3, 0, 0, 4, 0);

fn fill(w: &mut World<'_>, payload: &Payload, bank: Bank, seed: u64) -> Outcome {
    payload.done(w, Command::Fill(bank, seed)).map(|_| ())
}

fn check_bank(w: &mut World<'_>, payload: &Payload, bank: Bank) -> Outcome {
    let [first, second, third, fourth, ..] = payload.done(w, Command::Check(bank))?;
    match bank {
        Bank::Vectors => check!(
            first == 0 && second == 0,
            "wrong V {first:#x}, FPSR or FPCR {second}"
        ),
        Bank::Scalable => check!(
            first == 0 && second == 0,
            "wrong Z {first:#x}, P {second:#x}, {third} bytes"
        ),
        Bank::System => {
            let name = SYSTEM_REGISTERS
                .get(first.trailing_zeros() as usize)
                .map_or("none", |row| row.name);
            check!(
                first == 0,
                "{name} is {third:#x}, not {fourth:#x}; wrong {first:#x}"
            );
        }
    }
    Ok(())
}

fn kept(w: &mut World<'_>, payload: &Payload, bank: Bank) -> Outcome {
    fill(w, payload, bank, 1)?;
    for _ in 0..ENTRIES {
        payload.done(w, Command::Nothing)?;
    }
    check_bank(w, payload, bank)
}

/// Registers of EL1 across exits.
fn system(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    kept(w, &payload, Bank::System)
}

/// SIMD registers across exits.
fn vectors(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    kept(w, &payload, Bank::Vectors)
}

fn sve_payload(w: &mut World<'_>) -> Outcome<Payload> {
    if !w.features()?.has_sve() {
        return Err(Stop::Skipped("no SVE".into()));
    }
    let plan = RealmPlan {
        sve: true,
        ..RealmPlan::default()
    };
    Payload::new(w, &plan, 1)
}

/// SVE registers across exits, at the length that the Realm was given.
fn scalable(w: &mut World<'_>) -> Outcome {
    let payload = sve_payload(w)?;
    let vector_bytes = 16 * (u64::from(w.features()?.sve_vl()) + 1);
    let [bytes, ..] = payload.done(w, run(RDVL_X0, 0, 0))?;
    check!(
        bytes <= vector_bytes,
        "vectors of {bytes} bytes, at most {vector_bytes}"
    );
    kept(w, &payload, Bank::Scalable)
}

/// Two Realms on one PE do not see each other's registers.
fn two_realms(w: &mut World<'_>) -> Outcome {
    let (one, other) = (Payload::one(w)?, Payload::one(w)?);
    for bank in [Bank::System, Bank::Vectors] {
        fill(w, &one, bank, 1)?;
        fill(w, &other, bank, 2)?;
        check_bank(w, &one, bank)?;
        check_bank(w, &other, bank)?;
    }
    Ok(())
}

/// A Realm with SVE keeps its registers while one without uses SIMD.
fn sve_beside_none(w: &mut World<'_>) -> Outcome {
    let (wide, narrow) = (sve_payload(w)?, Payload::one(w)?);
    fill(w, &wide, Bank::Scalable, 1)?;
    fill(w, &narrow, Bank::Vectors, 2)?;
    narrow.done(w, run(FMOV_D0_XZR, 0, 0))?;
    fill(w, &narrow, Bank::Vectors, 3)?;
    check_bank(w, &wide, Bank::Scalable)?;
    check_bank(w, &narrow, Bank::Vectors)
}

/// SVE is there exactly if the Realm was made with it, and says so; SME never is.
fn sve_identified(w: &mut World<'_>) -> Outcome {
    let plain = Payload::one(w)?;
    let [pfr0, ..] = plain.done(w, run(PFR0.read_x0(), 0, 0))?;
    check!(pfr0 >> 32 & 0xF == 0, "ID_AA64PFR0_EL1 {pfr0:#x}");
    for instruction in [RDVL_X0, RDSVL_X0] {
        let fault = fault(&plain.tell(w, run(instruction, 0, 0))?)?;
        check!(fault.is_undefined(), "{instruction:#x}: {fault:x?}");
    }
    let wide = sve_payload(w)?;
    let [pfr0, ..] = wide.done(w, run(PFR0.read_x0(), 0, 0))?;
    check!(pfr0 >> 32 & 0xF != 0, "ID_AA64PFR0_EL1 {pfr0:#x}");
    let fault = fault(&wide.tell(w, run(RDSVL_X0, 0, 0))?)?;
    check!(fault.is_undefined(), "SME: {fault:x?}");
    Ok(())
}

/// The whole space of identification registers can be read.
fn id_space(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    for crm in 1..8 {
        for op2 in 0..8 {
            let register = SystemRegister::new(3, 0, 0, crm, op2);
            let report = payload.tell(w, run(register.read_x0(), 0, 0))?;
            check!(
                report.outcome == Ended::Done,
                "S3_0_C0_C{crm}_{op2}: {report:x?}"
            );
        }
    }
    Ok(())
}

/// Memory keeps what the Realm wrote.
fn memory_kept(w: &mut World<'_>) -> Outcome {
    let payload = Payload::one(w)?;
    w.data_unknown(&payload.realm, FREE)?;
    let (address, words) = (FREE, GRANULE / 8);
    payload.done(
        w,
        Command::FillMemory {
            address,
            words,
            seed: 5,
        },
    )?;
    for _ in 0..ENTRIES {
        payload.done(w, Command::Nothing)?;
    }
    let [wrong, index, value, ..] = payload.done(
        w,
        Command::CheckMemory {
            address,
            words,
            seed: 5,
        },
    )?;
    check!(wrong == 0, "{wrong} words, word {index} is {value:#x}");
    Ok(())
}

/// A page that comes to a Realm holds nothing of what the Host had in it.
fn new_pages_hold_nothing(w: &mut World<'_>) -> Outcome {
    const SECRET: [u8; 4096] = [0xC3; 4096];
    let payload = Payload::one(w)?;
    let page = w.granule()?;
    check!(w.port.write(page, &SECRET).is_ok(), "the Host's page");
    w.delegate(page)?;
    w.ok(rmi::Command::DataCreateUnknown {
        rd: payload.realm.rd,
        data: page,
        ipa: FREE,
    })?;
    for offset in [0, 8, 2048, 4088] {
        let [value, ..] = payload.done(w, run(LDR_X0, 0, FREE + offset))?;
        check!(
            value != 0xC3C3_C3C3_C3C3_C3C3,
            "the Host's data at {offset:#x}"
        );
    }
    Ok(())
}
