// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The shapes of address spaces: width, starting level, number of starting tables, 52-bit tables.
//!
//! What a command says of an address shows how the monitor walks. Whether the hardware walks the same
//! way shows only when a Realm runs.

use alloc::vec::Vec;

use rmi::{Command, CommandId};

use crate::check;
use crate::outcome::Outcome;
use crate::port::GRANULE;
use crate::realm::RealmAction;
use crate::scenario::{Kind, Scenario};
use crate::world::{Realm, RealmPlan, Runnable, World};

/// Shapes from the specification's table, by address bits, level and tables.
const SHAPES: &[(u8, i64, u64)] = &[
    (32, 2, 4),
    (33, 2, 8),
    (34, 2, 16),
    (32, 1, 1),
    (39, 1, 1),
    (40, 1, 2),
    (41, 1, 4),
    (42, 1, 8),
    (43, 1, 16),
    (40, 0, 1),
    (44, 0, 1),
    (48, 0, 1),
];

/// Shapes that take 52-bit tables.
const SHAPES_52: &[(u8, i64, u64)] = &[
    (49, 0, 2),
    (50, 0, 4),
    (51, 0, 8),
    (52, 0, 16),
    (49, -1, 1),
    (52, -1, 1),
];

/// What these scenarios prove.
pub(super) const SCENARIOS: &[Scenario] = &[
    row("realm_create_shapes", shapes),
    row("realm_create_shapes_run", shapes_run),
];

const fn row(name: &'static str, run: fn(&mut World<'_>) -> Outcome) -> Scenario {
    Scenario {
        name,
        command: CommandId::RealmCreate,
        kind: Kind::Behaviour,
        run,
    }
}

/// Returns the shapes that the monitor's features allow.
fn possible(w: &mut World<'_>) -> Outcome<Vec<RealmPlan>> {
    let features = w.features()?;
    let plan = |lpa2| {
        move |(width, start, roots): &(u8, i64, u64)| RealmPlan {
            lpa2,
            ..RealmPlan::default().shaped(*width, *start, *roots)
        }
    };
    let narrow = SHAPES.iter().map(plan(false));
    let wide = SHAPES.iter().chain(SHAPES_52).map(plan(true));
    Ok(narrow
        .chain(wide)
        .filter(|plan| plan.is_possible(features))
        .collect())
}

/// Each shape is granted, and both halves are empty from end to end.
fn shapes(w: &mut World<'_>) -> Outcome {
    for plan in possible(w)? {
        let realm = w.realm_with(&plan)?;
        let size = crate::entry_bytes(plan.start);
        for ipa in [
            0,
            realm.unprotected() - size,
            realm.unprotected(),
            realm.end() - size,
        ] {
            let level = crate::level_argument(plan.start);
            w.check_entry(&realm, ipa, plan.start, [level, 0, 0, 0])?;
        }
        w.destroy_realm(&realm)?;
    }
    Ok(())
}

/// A Realm of each shape finds its memory through every starting table, at both ends of both halves.
fn shapes_run(w: &mut World<'_>) -> Outcome {
    for plan in possible(w)? {
        let realm = w.realm_with(&plan)?;
        w.load_program(&realm)?;
        let rec = w.rec(&realm, Runnable::Yes)?;
        let pages = fill(w, &realm)?;
        w.activate(&realm)?;
        for (ipa, value) in pages {
            let result = w.act_done(&rec, RealmAction::Load { ipa })?;
            check!(
                result.exception.is_none() && result.registers[0] == value,
                "{plan:?}: {ipa:#x} is {result:x?} instead of {value:#x}"
            );
        }
        w.ok(Command::RecDestroy { rec: rec.rec })?;
        w.recs.retain(|(rd, _)| *rd != realm.rd);
        w.destroy_realm(&realm)?;
    }
    Ok(())
}

/// Puts pages where the starting tables begin and where the halves end; returns what each holds.
fn fill(w: &mut World<'_>, realm: &Realm) -> Outcome<Vec<(u64, u64)>> {
    let half = realm.unprotected();
    let table = realm.end() / realm.roots;
    let mut places: Vec<u64> = (0..realm.roots).map(|n| n * table).collect();
    places.extend([half - GRANULE, half, realm.end() - GRANULE]);
    places.sort_unstable();
    places.dedup();
    let mut pages = Vec::new();
    for ipa in places {
        let value = ipa | 0x5A5;
        let mut contents = [0; 4096];
        contents[..8].copy_from_slice(&value.to_le_bytes());
        w.tables(realm, ipa, 3)?;
        if ipa < half {
            w.data(realm, ipa, &contents)?;
        } else {
            let page = w.page(&contents)?;
            w.map(realm, ipa, 3, page)?;
        }
        pages.push((ipa, value));
    }
    Ok(pages)
}
