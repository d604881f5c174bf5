// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What several commands share: the conditions on a granule that a call names, and the usual Realm.

use crate::check;
use crate::contract::{Base, Call, refuse};
use crate::outcome::{Outcome, Reply};
use crate::world::{Realm, Runnable, World};

/// Bytes of a level 3, level 2 and level 1 entry.
pub(super) const PAGE: u64 = 0x1000;
pub(super) const BLOCK_2M: u64 = 0x20_0000;
pub(super) const BLOCK_1G: u64 = 0x4000_0000;

/// The input does not name the beginning of a granule.
pub(super) fn misalign(c: &mut Call, input: &str) -> Reply {
    c.set(input, c.get(input) + 8);
    Reply::input()
}

/// The input names a granule that is there and that the Host may not delegate.
pub(super) fn out_of_bound(w: &World<'_>, c: &mut Call, input: &str) -> Reply {
    c.set(input, w.port.not_delegable());
    Reply::input()
}

/// The input names an unused granule where one in use is wanted.
pub(super) fn unused(w: &mut World<'_>, c: &mut Call, input: &str) -> Outcome<Reply> {
    let granule = w.delegated()?;
    c.set(input, granule);
    Ok(Reply::input())
}

/// The input names a granule of the Host where an unused one of the Realm world is wanted.
pub(super) fn not_delegated(w: &mut World<'_>, c: &mut Call, input: &str) -> Outcome<Reply> {
    let granule = w.granule()?;
    c.set(input, granule);
    Ok(Reply::input())
}

/// The page that the input names is not in the Non-secure world.
pub(super) fn not_host(w: &mut World<'_>, c: &Call, input: &str) -> Outcome<Reply> {
    w.take_from_host(c.get(input))?;
    Ok(Reply::input())
}

/// A state of granules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Undelegated,
    Delegated,
    Rd,
    Rec,
    RecAux,
    Data,
    Rtt,
}

/// One granule in every state, of a Realm of its own.
fn zoo(w: &mut World<'_>) -> Outcome<[(State, u64); 7]> {
    let realm = w.realm()?;
    w.tables(&realm, 0, 3)?;
    let data = w.data_unknown(&realm, 0)?;
    let rec = w.rec(&realm, Runnable::No)?;
    let (undelegated, delegated) = (w.granule()?, w.delegated()?);
    let aux = w.aux_granule()?.unwrap_or(rec.rec);
    let aux_state = if aux == rec.rec {
        State::Rec
    } else {
        State::RecAux
    };
    Ok([
        (State::Undelegated, undelegated),
        (State::Delegated, delegated),
        (State::Rd, realm.rd),
        (State::Rec, rec.rec),
        (aux_state, aux),
        (State::Data, data),
        (State::Rtt, realm.root),
    ])
}

/// The input names a granule in every state but the wanted one, one behind all memory, and one past
/// the address space.
pub(super) fn wrong_granules(w: &mut World<'_>, base: Base, input: &str, wanted: State) -> Outcome {
    let good = base(w)?;
    let beyond = w.port.beyond_memory();
    let zoo = zoo(w)?;
    let bad = zoo
        .iter()
        .filter(|(state, _)| *state != wanted)
        .map(|(_, granule)| *granule)
        .chain([beyond, 1 << 52, 0xFFFF_FFFF_FFFF_F000, u64::MAX]);
    for granule in bad {
        let mut call = good;
        call.set(input, granule);
        refuse(w, &call, Reply::input())?;
    }
    Ok(())
}

/// The same granule stands for two inputs, which no state can satisfy.
pub(super) fn same_granule(w: &mut World<'_>, base: Base, one: &str, other: &str) -> Outcome {
    let good = base(w)?;
    for (from, to) in [(one, other), (other, one)] {
        let mut call = good;
        call.set(to, call.get(from));
        refuse(w, &call, Reply::input())?;
    }
    Ok(())
}

/// A new Realm with tables down to level 3 at address 0 and at the first unprotected address.
pub(super) fn realm_with_tables(w: &mut World<'_>) -> Outcome<Realm> {
    let realm = w.realm()?;
    w.tables(&realm, 0, 3)?;
    w.tables(&realm, realm.unprotected(), 3)?;
    Ok(realm)
}

/// The Realm that a call is about.
pub(super) fn realm_of(w: &World<'_>, c: &Call) -> Outcome<Realm> {
    let realm = w.realms.iter().find(|realm| realm.rd == c.get("rd"));
    check!(realm.is_some(), "the call names a Realm of the world");
    Ok(*realm.expect("checked"))
}

/// The first Realm of the world, when the call may name no Realm any more.
pub(super) fn first_realm(w: &World<'_>) -> Outcome<Realm> {
    check!(!w.realms.is_empty(), "the world has a Realm");
    Ok(w.realms[0])
}
