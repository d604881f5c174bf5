// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RSI_IPA_STATE_GET` and `RSI_IPA_STATE_SET`. How far the Host's part of a change goes is in
//! `rmi/rtt_set_ripas.rs`.

use rmi::{Command, EnterFlags, ExitReason, RecEnter, RsiCommand};

use super::{ASSIGNED, DESTROYED, EMPTY, SUCCESS, UNASSIGNED, call, exit, refused, require, stage};
use crate::check;
use crate::outcome::Outcome;
use crate::port::GRANULE;
use crate::realm::row;
use crate::scenario::Scenario;
use crate::world::{Realm, World, entry_bytes};

/// What these scenarios prove.
pub(super) const SCENARIOS: &[Scenario] = &[
    row("rsi_ipa_state_get_range", get_range),
    row("rsi_ipa_state_get_success", get),
    row("rsi_ipa_state_get_walks_on", get_walks_on),
    row("rsi_ipa_state_set_range", set_range),
    row("rsi_ipa_state_set_ripas_valid", set_ripas_valid),
    row("rsi_ipa_state_set_exit", set_exit),
    row("rsi_ipa_state_set_ends_with_next_exit", set_ends),
];

const GET: u64 = RsiCommand::IpaStateGet.fid();
const SET: u64 = RsiCommand::IpaStateSet.fid();
const RAM: u64 = 1;

/// Ranges that are none, or that are not the Realm's own.
fn bad_ranges(realm: &Realm) -> [[u64; 2]; 12] {
    let (half, end) = (realm.unprotected(), realm.end());
    [
        [ASSIGNED + 8, ASSIGNED + GRANULE],
        [ASSIGNED, ASSIGNED + GRANULE - 8],
        [ASSIGNED, ASSIGNED],
        [0, 0],
        [ASSIGNED + GRANULE, ASSIGNED],
        [ASSIGNED, half + GRANULE],
        [half - GRANULE, half + GRANULE],
        [half, half + GRANULE],
        [0, end],
        [end, end + GRANULE],
        [0, 0u64.wrapping_sub(GRANULE)],
        [0u64.wrapping_sub(GRANULE), 0],
    ]
}

fn get_range(w: &mut World<'_>) -> Outcome {
    let (realm, rec) = stage(w)?;
    for [base, top] in bad_ranges(&realm) {
        refused(w, &rec, &[GET, base, top])?;
    }
    Ok(())
}

/// The state of the first page, and how far it goes at most.
fn get(w: &mut World<'_>) -> Outcome {
    let (realm, rec) = stage(w)?;
    let half = realm.unprotected();
    for (base, top, out_top, ripas) in [
        (0, GRANULE, GRANULE, 0),
        (UNASSIGNED, DESTROYED, DESTROYED, 1),
        (UNASSIGNED, half, DESTROYED, 1),
        (DESTROYED, half, ASSIGNED, 2),
        (ASSIGNED, EMPTY, ASSIGNED + GRANULE, 1),
        (half - GRANULE, half, half, 0),
    ] {
        let found = call(w, &rec, &[GET, base, top], 2)?;
        check!(
            found[..3] == [SUCCESS, out_top, ripas] && found[3..] == [0; 8],
            "{base:#x} to {top:#x}: {found:x?}"
        );
    }
    Ok(())
}

/// A Realm that goes on where the answer ends sees all of its space, and each state where it is.
fn get_walks_on(w: &mut World<'_>) -> Outcome {
    let (realm, rec) = stage(w)?;
    let (mut base, mut steps, mut ram, mut destroyed) = (0, 0, 0, 0);
    while base < realm.unprotected() {
        let found = call(w, &rec, &[GET, base, realm.unprotected()], 2)?;
        let [status, top, ripas, ..] = found;
        check!(status == SUCCESS && top > base, "at {base:#x}: {found:x?}");
        check!(top <= realm.unprotected(), "at {base:#x}: {found:x?}");
        match ripas {
            0 => {}
            1 => ram += top - base,
            _ => destroyed += top - base,
        }
        base = top;
        steps += 1;
        check!(steps < 2048, "{steps} steps to {base:#x}");
    }
    let program = w.port.program().len() as u64;
    check!(ram == 2 * GRANULE + program, "{ram:#x} bytes of RAM");
    check!(destroyed == GRANULE, "{destroyed:#x} bytes destroyed");
    Ok(())
}

fn set_range(w: &mut World<'_>) -> Outcome {
    let (realm, rec) = stage(w)?;
    for [base, top] in bad_ranges(&realm) {
        refused(w, &rec, &[SET, base, top, RAM, 0])?;
    }
    Ok(())
}

/// A Realm can ask for EMPTY and RAM; only the low byte counts.
fn set_ripas_valid(w: &mut World<'_>) -> Outcome {
    let (_, rec) = stage(w)?;
    for ripas in [2, 3, 0x80, 0xFF, 0x102] {
        refused(w, &rec, &[SET, EMPTY, EMPTY + GRANULE, ripas, 0])?;
    }
    for (ripas, low) in [(0x100, 0), (u64::MAX << 8 | RAM, RAM)] {
        let exit = exit(w, &rec, &[SET, EMPTY, EMPTY + GRANULE, ripas, 0])?;
        check!(
            u64::from(exit.ripas_value) == low,
            "{ripas:#x} is {}",
            exit.ripas_value
        );
        w.ripas_answer(&rec, EnterFlags::empty())?;
    }
    Ok(())
}

/// The exit shows the request and nothing else; it may go to the end of the Realm's half.
fn set_exit(w: &mut World<'_>) -> Outcome {
    let (realm, rec) = stage(w)?;
    let (base, top) = (entry_bytes(2), realm.unprotected());
    for ripas in [0, RAM] {
        let exit = exit(w, &rec, &[SET, base, top, ripas, u64::MAX, 5, 6, 7])?;
        check!(
            exit.reason() == Some(ExitReason::RipasChange),
            "exit {}",
            exit.exit_reason
        );
        let shown = (exit.ripas_base, exit.ripas_top, u64::from(exit.ripas_value));
        check!(shown == (base, top, ripas), "{shown:x?}");
        check!(
            (exit.esr, exit.far, exit.hpfar, exit.imm) == (0, 0, 0, 0),
            "esr {:#x}",
            exit.esr
        );
        check!(exit.gprs == [0; 31], "registers {:x?}", exit.gprs);
        let answer = w.ripas_answer(&rec, EnterFlags::empty())?;
        check!(answer == (SUCCESS, base, 0), "{answer:x?}");
    }
    Ok(())
}

/// An entry ends a request, even if it ends in an exit again at once.
fn set_ends(w: &mut World<'_>) -> Outcome {
    let (realm, rec) = stage(w)?;
    let request = [SET, EMPTY, EMPTY + 2 * GRANULE, RAM, 0];
    exit(w, &rec, &request)?;
    w.resume(&rec, &RecEnter::default())?;
    let set = Command::RttSetRipas {
        rd: realm.rd,
        rec: rec.rec,
        base: EMPTY,
        top: EMPTY + GRANULE,
    };
    let reply = w.call(set);
    check!(reply == crate::Reply::input(), "{reply:?}");
    require(
        w,
        &rec,
        &[GET, EMPTY, EMPTY + GRANULE],
        &[SUCCESS, EMPTY + GRANULE, 0],
    )
}
