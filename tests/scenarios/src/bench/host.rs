// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Calls of the Host.

use rmi::Command;

use super::{Measure, bytes, count, last_call, ticks};
use crate::outcome::Outcome;
use crate::port::GRANULE;
use crate::world::{Realm, RealmPlan, Runnable, World, entry_bytes, level_argument};

/// What is measured, in the order of a Realm's life.
pub(super) const MEASURES: &[Measure] = &[
    ticks("SMCCC_VERSION, which EL3 answers", el3),
    ticks("RMI_VERSION", version),
    ticks("RMI_FEATURES", features),
    ticks("RMI_GRANULE_DELEGATE", delegate),
    ticks("RMI_GRANULE_UNDELEGATE", undelegate),
    ticks("RMI_REALM_CREATE, SHA-256", realm_create),
    ticks("RMI_REALM_ACTIVATE", realm_activate),
    ticks("RMI_REALM_DESTROY", realm_destroy),
    ticks("RMI_REC_CREATE", rec_create),
    ticks("RMI_REC_DESTROY", rec_destroy),
    bytes("memory of a REC", rec_bytes),
    bytes("memory of a REC with SVE", rec_bytes_sve),
    ticks("RMI_RTT_CREATE, level 3", rtt_create),
    ticks("RMI_RTT_CREATE, unfolding a block", rtt_create_unfold),
    ticks("RMI_RTT_DESTROY, level 3", rtt_destroy),
    ticks("RMI_RTT_FOLD, 512 pages", rtt_fold),
    ticks("RMI_RTT_READ_ENTRY", rtt_read_entry),
    ticks("RMI_RTT_INIT_RIPAS, per entry of 512", rtt_init_ripas),
    ticks("RMI_RTT_MAP_UNPROTECTED", map_unprotected),
    ticks("RMI_RTT_UNMAP_UNPROTECTED", unmap_unprotected),
    ticks(
        "RMI_RTT_UNMAP_UNPROTECTED, the last of a table",
        unmap_unprotected_last,
    ),
    ticks("RMI_DATA_CREATE, measured", data_create_measured),
    ticks("RMI_DATA_CREATE, not measured", data_create),
    ticks("RMI_DATA_CREATE_UNKNOWN", data_create_unknown),
    ticks("RMI_DATA_DESTROY", data_destroy),
    ticks("RMI_DATA_DESTROY, the last of a table", data_destroy_last),
];

/// `SMCCC_VERSION`.
const SMCCC_VERSION: u64 = 0x8000_0000;
const BLOCK: u64 = entry_bytes(2);
const ENTRIES: u64 = 512;

fn el3(w: &mut World<'_>) -> Outcome<u64> {
    w.port.call([SMCCC_VERSION, 0, 0, 0, 0, 0, 0, 0]);
    last_call(w)
}

fn version(w: &mut World<'_>) -> Outcome<u64> {
    count(w, Command::Version { req: 1 << 16 })
}

fn features(w: &mut World<'_>) -> Outcome<u64> {
    count(w, Command::Features { index: 0 })
}

fn delegate(w: &mut World<'_>) -> Outcome<u64> {
    let granule = w.granule()?;
    w.delegate(granule)?;
    last_call(w)
}

fn undelegate(w: &mut World<'_>) -> Outcome<u64> {
    let granule = w.delegated()?;
    w.undelegate(granule)?;
    last_call(w)
}

fn realm_create(w: &mut World<'_>) -> Outcome<u64> {
    w.realm()?;
    last_call(w)
}

fn realm_activate(w: &mut World<'_>) -> Outcome<u64> {
    let realm = w.realm()?;
    w.activate(&realm)?;
    last_call(w)
}

fn realm_destroy(w: &mut World<'_>) -> Outcome<u64> {
    let realm = w.realm()?;
    w.realms.clear();
    count(w, Command::RealmDestroy { rd: realm.rd })
}

fn rec_create(w: &mut World<'_>) -> Outcome<u64> {
    let realm = w.realm()?;
    w.rec(&realm, Runnable::Yes)?;
    last_call(w)
}

fn rec_destroy(w: &mut World<'_>) -> Outcome<u64> {
    let realm = w.realm()?;
    let rec = w.rec(&realm, Runnable::Yes)?;
    w.recs.clear();
    count(w, Command::RecDestroy { rec: rec.rec })
}

fn rec_bytes(w: &mut World<'_>) -> Outcome<u64> {
    bytes_of_rec(w, &RealmPlan::default())
}

fn rec_bytes_sve(w: &mut World<'_>) -> Outcome<u64> {
    let sve = true;
    bytes_of_rec(
        w,
        &RealmPlan {
            sve,
            ..RealmPlan::default()
        },
    )
}

fn bytes_of_rec(w: &mut World<'_>, plan: &RealmPlan) -> Outcome<u64> {
    let realm = w.realm_with(plan)?;
    let count = w.ok(Command::RecAuxCount { rd: realm.rd })?.output(1);
    Ok((1 + count) * GRANULE)
}

fn rtt_create(w: &mut World<'_>) -> Outcome<u64> {
    let realm = w.realm()?;
    w.tables(&realm, 0, 2)?;
    w.table(&realm, 0, 3)?;
    last_call(w)
}

fn rtt_create_unfold(w: &mut World<'_>) -> Outcome<u64> {
    let realm = w.realm()?;
    fold_block(w, &realm)?;
    w.table(&realm, 0, 3)?;
    last_call(w)
}

fn rtt_destroy(w: &mut World<'_>) -> Outcome<u64> {
    let realm = w.realm()?;
    w.tables(&realm, 0, 3)?;
    w.table(&realm, BLOCK, 3)?;
    count(w, destroy_table(&realm))
}

fn rtt_fold(w: &mut World<'_>) -> Outcome<u64> {
    let realm = w.realm()?;
    fold_block(w, &realm)
}

fn rtt_read_entry(w: &mut World<'_>) -> Outcome<u64> {
    let realm = w.realm()?;
    w.tables(&realm, 0, 3)?;
    w.read_entry(&realm, 0, 3)?;
    last_call(w)
}

/// One call for a whole table.
fn rtt_init_ripas(w: &mut World<'_>) -> Outcome<u64> {
    let realm = w.realm()?;
    w.tables(&realm, 0, 3)?;
    w.init_ripas(&realm, 0, BLOCK)?;
    Ok(last_call(w)? / ENTRIES)
}

fn map_unprotected(w: &mut World<'_>) -> Outcome<u64> {
    let realm = w.realm()?;
    map_page(w, &realm)
}

fn unmap_unprotected(w: &mut World<'_>) -> Outcome<u64> {
    let realm = w.realm()?;
    map_page(w, &realm)?;
    let (next, page) = (realm.unprotected() + GRANULE, w.granule()?);
    w.map(&realm, next, 3, page)?;
    unmap_page(w, &realm)
}

fn unmap_unprotected_last(w: &mut World<'_>) -> Outcome<u64> {
    let realm = w.realm()?;
    map_page(w, &realm)?;
    unmap_page(w, &realm)
}

fn data_create_measured(w: &mut World<'_>) -> Outcome<u64> {
    create_data(w, 1)
}

fn data_create(w: &mut World<'_>) -> Outcome<u64> {
    create_data(w, 0)
}

fn data_create_unknown(w: &mut World<'_>) -> Outcome<u64> {
    let realm = w.realm()?;
    w.tables(&realm, 0, 3)?;
    w.data_unknown(&realm, 0)?;
    last_call(w)
}

fn data_destroy(w: &mut World<'_>) -> Outcome<u64> {
    let realm = w.realm()?;
    w.tables(&realm, 0, 3)?;
    w.data_unknown(&realm, 0)?;
    w.data_unknown(&realm, GRANULE)?;
    destroy_data(w, &realm)
}

fn data_destroy_last(w: &mut World<'_>) -> Outcome<u64> {
    let realm = w.realm()?;
    w.tables(&realm, 0, 3)?;
    w.data_unknown(&realm, 0)?;
    destroy_data(w, &realm)
}

fn destroy_data(w: &mut World<'_>, realm: &Realm) -> Outcome<u64> {
    let (rd, ipa) = (realm.rd, 0);
    count(w, Command::DataDestroy { rd, ipa })
}

fn create_data(w: &mut World<'_>, flags: u64) -> Outcome<u64> {
    let realm = w.realm()?;
    w.tables(&realm, 0, 3)?;
    w.init_ripas(&realm, 0, GRANULE)?;
    let (data, src) = (w.delegated()?, w.page(&[0x3C_u8; 4096])?);
    let (rd, ipa) = (realm.rd, 0);
    count(
        w,
        Command::DataCreate {
            rd,
            data,
            ipa,
            src,
            flags,
        },
    )
}

/// Maps the first unprotected page; returns how long that took.
fn map_page(w: &mut World<'_>, realm: &Realm) -> Outcome<u64> {
    let ipa = realm.unprotected();
    w.tables(realm, ipa, 3)?;
    let page = w.granule()?;
    w.map(realm, ipa, 3, page)?;
    last_call(w)
}

/// Unmaps the first unprotected page; returns how long that took.
fn unmap_page(w: &mut World<'_>, realm: &Realm) -> Outcome<u64> {
    let command = Command::RttUnmapUnprotected {
        rd: realm.rd,
        ipa: realm.unprotected(),
        level: level_argument(3),
    };
    count(w, command)
}

/// Makes a block of 512 pages at address 0; returns how long the fold took.
fn fold_block(w: &mut World<'_>, realm: &Realm) -> Outcome<u64> {
    w.assign_block(realm, 0)?;
    let (rd, ipa, level) = (realm.rd, 0, level_argument(3));
    count(w, Command::RttFold { rd, ipa, level })
}

fn destroy_table(realm: &Realm) -> Command {
    Command::RttDestroy {
        rd: realm.rd,
        ipa: 0,
        level: level_argument(3),
    }
}
