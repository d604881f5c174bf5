// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Accesses to an emulated device, by every kind of load and store.
//!
//! The device is the console; its baud rate registers hold any value without an effect.

use test_realm::instructions::{
    LDP_X0_X2, LDR_W0, LDR_X0, LDR_X0_POST, LDR_XZR, LDRB_W0, LDRH_W0, LDRSB_W0, LDRSB_X0,
    LDRSH_W0, LDRSH_X0, LDRSW_X0, STP_X0_X2, STR_W0, STR_X0, STR_X0_POST, STR_XZR, STRB_W0,
    STRH_W0,
};

use super::probe::{
    DATA, Level, alias, load, load_at, require_external_abort, store, store_at, try_run,
};
use super::{Verdict, detail, require};
use crate::{machine, mmu};

/// Integer part of the baud rate: 16 bits.
const IBRD: u64 = machine::UART + 0x24;
/// A divisor: 8 bits, at an address that is a multiple of eight.
const ILPR: u64 = machine::UART + 0x20;
/// The last identification register: 0xB1.
const LAST_ID: u64 = machine::UART + 0xFFC;

/// Loads, of all sizes and extensions.
pub(super) fn loads() -> Verdict {
    let at = alias(IBRD);
    let written = store(STR_W0, at, 0xF0E1);
    require!(written.is_ok(), "str w: {written:x?}");
    for (what, instruction, expected) in [
        ("ldrb w", LDRB_W0, 0xE1),
        ("ldrh w", LDRH_W0, 0xF0E1),
        ("ldr w", LDR_W0, 0xF0E1),
        ("ldrsb w", LDRSB_W0, 0xFFFF_FFE1),
        ("ldrsb x", LDRSB_X0, 0xFFFF_FFFF_FFFF_FFE1),
        ("ldrsh w", LDRSH_W0, 0xFFFF_F0E1),
        ("ldrsh x", LDRSH_X0, 0xFFFF_FFFF_FFFF_F0E1),
        ("ldrsw x", LDRSW_X0, 0xF0E1),
    ] {
        // The host answers what is at the address; a real device would not allow all sizes.
        let found = load(instruction, at);
        require!(found == Ok(expected), "{what} reads {found:x?}");
    }
    let wide = alias(ILPR);
    let written = store(STR_W0, wide, 0xA5);
    let found = load(LDR_X0, wide);
    require!(
        written.is_ok() && found == Ok(0xA5),
        "ldr x reads {found:x?}"
    );
    let found = load(LDRSB_X0, alias(LAST_ID));
    require!(found == Ok(0xFFFF_FFFF_FFFF_FFB1), "id reads {found:x?}");
    let found = try_run(LDR_XZR, 7, wide);
    require!(
        matches!(found, Ok(registers) if registers[0] == 7 && registers[1] == wide),
        "ldr xzr: {found:x?}"
    );
    let found = load_at(Level::User, LDRH_W0, mmu::USER_SHARED + IBRD);
    require!(found == Ok(0xF0E1), "EL0 reads {found:x?}");
    Ok(detail!("11 kinds"))
}

/// Stores, of all sizes.
pub(super) fn stores() -> Verdict {
    let at = alias(IBRD);
    for (what, instruction, expected) in [
        ("strb", STRB_W0, 0x00C8),
        ("strh", STRH_W0, 0xB7C8),
        ("str w", STR_W0, 0xB7C8),
    ] {
        let stored = store(instruction, at, 0x0123_4567_89A6_B7C8);
        require!(stored.is_ok(), "{what}: {stored:x?}");
        let found = load(LDR_W0, at);
        require!(found == Ok(expected), "after {what}: {found:x?}");
    }
    let wide = alias(ILPR);
    for (what, instruction, expected) in [("str x", STR_X0, 0xC8), ("str xzr", STR_XZR, 0)] {
        let stored = store(instruction, wide, 0x0123_4567_89A6_B7C8);
        require!(stored.is_ok(), "{what}: {stored:x?}");
        let found = load(LDR_W0, wide);
        require!(found == Ok(expected), "after {what}: {found:x?}");
    }
    let stored = store_at(Level::User, STRH_W0, mmu::USER_SHARED + IBRD, 0x55);
    require!(
        stored.is_ok() && load(LDR_W0, at) == Ok(0x55),
        "EL0 strh: {stored:x?}"
    );
    Ok(detail!("6 kinds"))
}

/// Accesses that the syndrome does not describe: the host cannot do them.
pub(super) fn not_described() -> Verdict {
    let at = alias(ILPR);
    for (what, instruction) in [("ldp", LDP_X0_X2), ("ldr post", LDR_X0_POST)] {
        require_external_abort(what, load(instruction, at), DATA, at, false)?;
    }
    for (what, instruction) in [("stp", STP_X0_X2), ("str post", STR_X0_POST)] {
        require_external_abort(what, store(instruction, at, 0), DATA, at, true)?;
    }
    Ok(detail!("external aborts"))
}
