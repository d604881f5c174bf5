// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Allocation tags (FEAT_MTE2) of a Realm's memory: none that its Host left there, none of its own.
//!
//! RMM 1.0 hides the feature (`ID_AA64PFR1_EL1.MTE`), so `HCR_EL2.ATA` is zero while a Realm runs.
//! The instructions are still there then: tags read as zero, stores of tags do nothing, and no access
//! is checked against tags (Arm ARM, `AArch64.AllocationTagAccessIsEnabled`). The registers of tagging
//! are in `sweep.rs`. The tests' Hosts have tags on every granule they use, where they can.

use test_realm::instructions::{
    DC_GVA_X0, IRG_X0, LDG_X0, LDGM_X0, LDR_X0, STG_X0, STGM_X0, STR_X0, SystemRegister,
};
use test_realm::protocol::Command;

use super::payload::{FREE, Payload, read, run, write};
use super::row;
use crate::check;
use crate::outcome::{Outcome, Stop};
use crate::port::Tags;
use crate::scenario::Scenario;
use crate::world::World;

/// What these scenarios prove.
pub(super) const SCENARIOS: &[Scenario] = &[
    row("realm_tags_unseen", unseen),
    row("realm_tags_unchanged", unchanged),
    row("realm_tags_unchecked", unchecked),
];

/// Place of the tag in an address.
const TAG_SHIFT: u32 = 56;
const TAG: u64 = 0xF;
/// A tag of the Realm's.
const OWN: u64 = 6;

const SCTLR: SystemRegister = SystemRegister::new(3, 0, 1, 0, 0);
const TCR: SystemRegister = SystemRegister::new(3, 0, 2, 0, 2);
const MAIR: SystemRegister = SystemRegister::new(3, 0, 10, 2, 0);
const TLBI_VMALLE1: SystemRegister = SystemRegister::new(1, 0, 8, 7, 0);
/// `SCTLR_EL1`: EL1 and EL0 reach tags (ATA, ATA0), a wrong one is a fault (TCF, TCF0).
const SCTLR_TAGS: u64 = 0b11 << 42 | 0b01 << 40 | 0b01 << 38;
/// `TCR_EL1.TBI0`: the tag of an address is no part of it.
const TCR_TBI0: u64 = 1 << 37;
/// `MAIR_EL1`: the type of index 0 is tagged memory.
const MAIR_TAGGED: u64 = 0xF0;

/// A Realm that has done all to use tags, with a page that has the Host's.
struct Tagged {
    payload: Payload,
    /// Where the page is, and the Host's tags of it.
    page: u64,
    before: Tags,
}

/// A Realm finds no tags, whatever the Host left.
fn unseen(w: &mut World<'_>) -> Outcome {
    let Tagged { payload, .. } = tagged(w)?;
    for (what, instruction) in [("ldg", LDG_X0), ("ldgm", LDGM_X0)] {
        for at in (FREE..FREE + 0x1000).step_by(0x100) {
            let [found, ..] = payload.done(w, run(instruction, 0, at))?;
            let tag = if instruction == LDG_X0 {
                found >> TAG_SHIFT & TAG
            } else {
                found
            };
            check!(tag == 0, "{what} at {at:#x} finds {found:#x}");
        }
    }
    let [chosen, ..] = payload.done(w, run(IRG_X0, FREE, 0))?;
    check!(chosen == FREE, "irg chooses {chosen:#x}");
    Ok(())
}

/// A Realm's stores of tags do nothing: it does not find them, and its Host has its own or none.
fn unchanged(w: &mut World<'_>) -> Outcome {
    let Tagged {
        payload,
        page,
        before,
    } = tagged(w)?;
    for at in (FREE..FREE + 0x1000).step_by(0x100) {
        payload.done(w, run(STG_X0, at | OWN << TAG_SHIFT, at))?;
        payload.done(w, run(STGM_X0, OWN * 0x1111_1111_1111_1111, at))?;
        payload.done(w, run(DC_GVA_X0, at | OWN << TAG_SHIFT, at))?;
        let [found, ..] = payload.done(w, run(LDGM_X0, 0, at))?;
        check!(found == 0, "ldgm at {at:#x} finds {found:#x}");
    }
    let rd = payload.realm.rd;
    w.ok(rmi::Command::DataDestroy { rd, ipa: FREE })?;
    w.undelegate(page)?;
    let after = w.port.tags(page);
    let is_unchanged = after == Some(before) || after == Some([0; 256]);
    check!(is_unchanged, "the Host's tags are {after:x?}");
    Ok(())
}

/// No access of a Realm is checked against the Host's tags, nor against its own.
fn unchecked(w: &mut World<'_>) -> Outcome {
    let Tagged { payload, .. } = tagged(w)?;
    for tag in 0..=TAG {
        let at = FREE | tag << TAG_SHIFT;
        payload.done(w, run(STR_X0, tag, at))?;
        let [found, ..] = payload.done(w, run(LDR_X0, 0, at))?;
        check!(found == tag, "tag {tag} reads {found:#x}");
        let user = Command::RunUser {
            instruction: LDR_X0,
            registers: super::payload::first(0, at + test_realm::protocol::USER_VIEW),
        };
        let [found, ..] = payload.done(w, user)?;
        check!(found == tag, "EL0 reads {found:#x} with tag {tag}");
    }
    Ok(())
}

/// Makes the Realm. What it writes to its registers has no meaning where there are no tags; that must
/// not give it any.
fn tagged(w: &mut World<'_>) -> Outcome<Tagged> {
    let payload = Payload::one(w)?;
    let page = w.granule()?;
    let Some(before) = w.port.tags(page) else {
        return Err(Stop::Skipped("the Host has no tags".into()));
    };
    check!(
        before.iter().all(|tag| *tag != 0),
        "the Host's page has tags {before:x?}"
    );
    w.delegate(page)?;
    w.ok(rmi::Command::DataCreateUnknown {
        rd: payload.realm.rd,
        data: page,
        ipa: FREE,
    })?;
    for (register, bits) in [(SCTLR, SCTLR_TAGS), (TCR, TCR_TBI0)] {
        let value = read(w, &payload, register)?;
        write(w, &payload, register, value | bits)?;
    }
    let types = read(w, &payload, MAIR)?;
    write(w, &payload, MAIR, types & !0xFF | MAIR_TAGGED)?;
    write(w, &payload, TLBI_VMALLE1, 0)?;
    Ok(Tagged {
        payload,
        page,
        before,
    })
}
