// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The Realm's address space: states of addresses, the shared half, what is beyond.

use rmi::rsi::RsiCommand;
use test_realm::instructions::{
    LDP_X0_X2, LDR_W0, LDR_X0, LDR_X0_POST, LDRB_W0, LDRH_W0, STP_X0_X2, STR_W0, STR_X0, STRB_W0,
    STRH_W0,
};
use test_realm::protocol::{BASE, pattern};

use super::calls::refused;
use super::probe::{
    DATA, DATA_FROM_USER, EMPTY, FETCH, FETCH_FROM_USER, Level, RAM, SCRATCH, SCRATCH_BYTES, alias,
    fetch, fetch_from_user, load, load_at, own_top, poke, require_address_size,
    require_external_abort, require_state, set_state, store, store_at,
};
use super::{Verdict, detail, require};
use crate::smc::PAGE;
use crate::{machine, mmu};

/// `ret`.
const RET: u64 = 0xD65F_03C0;
/// Addresses beyond this have no descriptor in the payload's tables.
const MAX_BITS: u64 = 47;

/// Reads and changes states of addresses.
pub(super) fn ipa_state() -> Verdict {
    require_state(BASE, BASE + PAGE, RAM)?;
    let top = SCRATCH + SCRATCH_BYTES;
    set_state(SCRATCH, top, EMPTY)?;
    require_state(SCRATCH, top, EMPTY)?;
    for arguments in [
        [BASE + 8, BASE + PAGE],
        [BASE, BASE + PAGE + 8],
        [BASE, BASE],
        [BASE + PAGE, BASE],
        [BASE, own_top() + PAGE],
        [own_top(), own_top() + PAGE],
    ] {
        refused(RsiCommand::IpaStateGet, &arguments)?;
        let [base, top] = arguments;
        refused(RsiCommand::IpaStateSet, &[base, top, RAM, 0])?;
    }
    // Neither a Realm's own destruction nor a state without a meaning.
    for state in [2, 3, 0xFF] {
        refused(RsiCommand::IpaStateSet, &[SCRATCH, top, state, 0])?;
    }
    set_state(SCRATCH, top, RAM)?;
    let steps = require_state(SCRATCH, top, RAM)?;
    poke(SCRATCH, pattern(3, 0))?;
    poke(top - 8, pattern(3, 1))?;
    let found = [SCRATCH, top - 8].map(|at| load(LDR_X0, at));
    require!(
        found == [Ok(pattern(3, 0)), Ok(pattern(3, 1))],
        "new memory reads {found:x?}"
    );
    // What was there is gone when the memory comes back.
    set_state(SCRATCH, top, EMPTY)?;
    require_state(SCRATCH, top, EMPTY)?;
    set_state(SCRATCH, top, RAM)?;
    let found = load(LDR_X0, SCRATCH);
    require!(found == Ok(0), "memory that came back reads {found:x?}");
    set_state(SCRATCH, top, EMPTY)?;
    Ok(detail!("{SCRATCH_BYTES:#x} bytes in {steps} steps"))
}

/// Accesses empty memory.
pub(super) fn empty() -> Verdict {
    let at = SCRATCH;
    set_state(SCRATCH, SCRATCH + PAGE, EMPTY)?;
    for (what, instruction) in [
        ("ldrb", LDRB_W0),
        ("ldrh", LDRH_W0),
        ("ldr w", LDR_W0),
        ("ldr x", LDR_X0),
        ("ldp", LDP_X0_X2),
    ] {
        require_external_abort(what, load(instruction, at), DATA, at, false)?;
    }
    for (what, instruction) in [
        ("strb", STRB_W0),
        ("strh", STRH_W0),
        ("str w", STR_W0),
        ("str x", STR_X0),
        ("stp", STP_X0_X2),
    ] {
        require_external_abort(what, store(instruction, at, 1), DATA, at, true)?;
    }
    require_external_abort("fetch", fetch(at), FETCH, at, false)?;
    let at = mmu::USER + SCRATCH;
    let result = load_at(Level::User, LDR_X0, at);
    require_external_abort("EL0 ldr", result, DATA_FROM_USER, at, false)?;
    let result = store_at(Level::User, STR_X0, at, 1);
    require_external_abort("EL0 str", result, DATA_FROM_USER, at, true)?;
    require_external_abort("EL0 fetch", fetch_from_user(at), FETCH_FROM_USER, at, false)?;
    Ok(detail!("external aborts from both levels"))
}

/// Shares memory with the host and takes it back.
pub(super) fn shared() -> Verdict {
    let top = SCRATCH + 4 * PAGE;
    set_state(SCRATCH, top, EMPTY)?;
    let view = alias(SCRATCH);
    for index in 0..4 {
        poke(view + index * PAGE, pattern(4, index))?;
    }
    for index in 0..4 {
        let found = load(LDR_X0, view + index * PAGE);
        require!(
            found == Ok(pattern(4, index)),
            "shared page {index} reads {found:x?}"
        );
    }
    let found = load(LDP_X0_X2, view);
    require!(found == Ok(pattern(4, 0)), "a pair reads {found:x?}");
    let found = load_at(Level::User, LDR_X0, mmu::USER_SHARED + SCRATCH);
    require!(found == Ok(pattern(4, 0)), "EL0 reads {found:x?}");
    // The host must not make the Realm run what it wrote.
    poke(view, RET)?;
    require_external_abort("shared fetch", fetch(view), FETCH, view, false)?;
    let user = mmu::USER_SHARED + SCRATCH;
    require_external_abort(
        "EL0 shared fetch",
        fetch_from_user(user),
        FETCH_FROM_USER,
        user,
        false,
    )?;
    require_external_abort("private ldr", load(LDR_X0, SCRATCH), DATA, SCRATCH, false)?;
    set_state(SCRATCH, top, RAM)?;
    let found = load(LDR_X0, SCRATCH);
    require!(found == Ok(0), "memory taken back reads {found:x?}");
    set_state(SCRATCH, top, EMPTY)?;
    Ok(detail!("4 pages"))
}

/// Executes the Realm's own memory after writing it.
pub(super) fn execute() -> Verdict {
    set_state(SCRATCH, SCRATCH + PAGE, RAM)?;
    // The first fetch of a page that the host has not given yet.
    set_state(SCRATCH + PAGE, SCRATCH + 2 * PAGE, RAM)?;
    let result = fetch(SCRATCH + PAGE);
    let is_undefined = matches!(&result, Err(fault) if fault.is_undefined());
    require!(is_undefined, "zeros execute as {result:x?}");
    poke(SCRATCH, RET)?;
    let result = fetch(SCRATCH);
    require!(result.is_ok(), "a ret executes as {result:x?}");
    set_state(SCRATCH, SCRATCH + 2 * PAGE, EMPTY)?;
    Ok(detail!("new pages"))
}

/// Executes a page of the board's clock, which a normal VM has mapped: before the host has mapped
/// it, and after.
pub(super) fn device_fetch() -> Verdict {
    let code = mmu::DEVICE_CODE + machine::CLOCK;
    require_external_abort("first fetch", fetch(code), FETCH, code, false)?;
    // The identification of its maker and part: Arm's PL031.
    let id = [0xFE0, 0xFE4, 0xFE8].map(|offset| load(LDR_W0, machine::CLOCK + offset));
    let [Ok(low), Ok(middle), Ok(high)] = id else {
        return Err(detail!("the clock cannot be read: {id:x?}"));
    };
    let part = (low | middle << 8 | high << 16) & 0xF_FFFF;
    require!(part == 0x41031, "the clock is part {part:#x}");
    require_external_abort("fetch", fetch(code), FETCH, code, false)?;
    let user = mmu::DEVICE_USER_CODE + machine::CLOCK;
    require_external_abort(
        "user fetch",
        fetch_from_user(user),
        FETCH_FROM_USER,
        user,
        false,
    )?;
    Ok(detail!("external aborts, before and after a read"))
}

/// Accesses where the host has nothing.
pub(super) fn hole() -> Verdict {
    let at = alias(0x0B00_0000);
    require_external_abort("ldr", load(LDR_W0, at), DATA, at, false)?;
    require_external_abort("str", store(STR_W0, at, 1), DATA, at, true)?;
    // Outside of memory, a Realm's own half is empty.
    let at = 0x0B00_0000;
    require_external_abort("own ldr", load(LDR_W0, at), DATA, at, false)?;
    Ok(detail!("external aborts"))
}

/// Accesses addresses beyond the Realm's space.
pub(super) fn beyond() -> Verdict {
    if machine::ipa_bits() > MAX_BITS {
        return Ok(detail!("not tried, the payload cannot name such addresses"));
    }
    for offset in [0x1_0000_0000, 0x40_0000_0008] {
        let at = mmu::BEYOND + offset;
        require_address_size("ldr", load(LDR_X0, at), DATA, at)?;
        require_address_size("ldr post", load(LDR_X0_POST, at), DATA, at)?;
        require_address_size("str", store(STR_X0, at, 1), DATA, at)?;
        require_address_size("fetch", fetch(at), FETCH, at)?;
    }
    Ok(detail!("address size faults"))
}
