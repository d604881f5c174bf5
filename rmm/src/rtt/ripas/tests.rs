// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

use rmi::GranuleAddr;

use super::*;

const SIZE: u64 = 0x20_0000;
const FIRST: u64 = 0x4000_0000;

const EMPTY: Rtte = Rtte::Unassigned {
    ripas: Ripas::Empty,
};
const RAM: Rtte = Rtte::Unassigned { ripas: Ripas::Ram };
const DESTROYED: Rtte = Rtte::Unassigned {
    ripas: Ripas::Destroyed,
};

fn granule() -> GranuleAddr {
    GranuleAddr::new(0x8000_0000).unwrap()
}

fn table() -> Rtte {
    Rtte::Table { table: granule() }
}

fn assigned(ripas: Ripas) -> Rtte {
    let pa = granule();
    Rtte::Assigned { pa, ripas }
}

/// A request from `base` bytes behind the first entry to `top` bytes behind it.
fn span(base: u64, top: u64) -> Span {
    Span {
        base: Ipa::new(FIRST + base),
        top: Ipa::new(FIRST + top),
        first: Ipa::new(FIRST),
        size: SIZE,
    }
}

fn init(span: Span, entries: &[Rtte]) -> Result<u64, NoProgress> {
    init_top(span, entries.iter().copied()).map(|top| top.raw() - FIRST)
}

fn set(
    span: Span,
    entries: &[Rtte],
    requested: Ripas,
    destroyed: Destroyed,
) -> Result<(u64, u64), NoProgress> {
    let reach = set_top(span, entries.iter().copied(), requested, destroyed)?;
    Ok((reach.changed.raw() - FIRST, reach.served.raw() - FIRST))
}

#[test]
fn init_stops_at_the_first_entry_that_is_not_unassigned() {
    let whole = span(0, 4 * SIZE);
    assert_eq!(init(whole, &[EMPTY, RAM, DESTROYED, EMPTY]), Ok(4 * SIZE));
    assert_eq!(init(whole, &[EMPTY, EMPTY, table(), EMPTY]), Ok(2 * SIZE));
    for ripas in [Ripas::Empty, Ripas::Ram, Ripas::Destroyed] {
        assert_eq!(init(whole, &[EMPTY, assigned(ripas)]), Ok(SIZE));
        assert_eq!(init(whole, &[assigned(ripas), EMPTY]), Err(NoProgress));
    }
    assert_eq!(init(whole, &[Rtte::UnassignedNs]), Err(NoProgress));
}

#[test]
fn init_stops_at_the_end_of_the_table_and_at_top() {
    assert_eq!(init(span(0, 100 * SIZE), &[EMPTY; 3]), Ok(3 * SIZE));
    assert_eq!(init(span(0, 2 * SIZE), &[EMPTY; 3]), Ok(2 * SIZE));
    assert_eq!(init(span(0, 2 * SIZE + 0x1000), &[EMPTY; 3]), Ok(2 * SIZE));
    assert_eq!(init(span(0, 3 * SIZE - 0x1000), &[EMPTY; 3]), Ok(2 * SIZE));
}

#[test]
fn init_needs_whole_entries() {
    assert_eq!(init(span(0, 0x1000), &[EMPTY; 3]), Err(NoProgress));
    assert_eq!(init(span(0x1000, 3 * SIZE), &[EMPTY; 3]), Err(NoProgress));
    assert_eq!(init(span(0x800, 3 * SIZE), &[RAM; 3]), Err(NoProgress));
}

#[test]
fn set_changes_every_kind_of_protected_entry() {
    let entries = [EMPTY, RAM, assigned(Ripas::Empty), assigned(Ripas::Ram)];
    for requested in [Ripas::Empty, Ripas::Ram] {
        let whole = set(span(0, 4 * SIZE), &entries, requested, Destroyed::Keep);
        assert_eq!(whole, Ok((4 * SIZE, 4 * SIZE)));
    }
    let cut = set(
        span(0, 2 * SIZE),
        &[EMPTY, table()],
        Ripas::Ram,
        Destroyed::Keep,
    );
    assert_eq!(cut, Ok((SIZE, SIZE)));
}

#[test]
fn set_stops_at_what_was_destroyed_unless_the_realm_permits() {
    for destroyed in [DESTROYED, assigned(Ripas::Destroyed)] {
        let late = [EMPTY, destroyed, EMPTY];
        let request = span(0, 3 * SIZE);
        for requested in [Ripas::Empty, Ripas::Ram] {
            let keep = set(request, &late, requested, Destroyed::Keep);
            assert_eq!(keep, Ok((SIZE, SIZE)));
            let change = set(request, &late, requested, Destroyed::Change);
            assert_eq!(change, Ok((3 * SIZE, 3 * SIZE)));
            let first = set(request, &[destroyed, EMPTY], requested, Destroyed::Keep);
            assert_eq!(first, Err(NoProgress));
        }
    }
}

#[test]
fn set_needs_whole_entries_where_something_changes() {
    let keep = Destroyed::Keep;
    assert_eq!(
        set(span(0, 0x1000), &[EMPTY], Ripas::Ram, keep),
        Err(NoProgress)
    );
    let late = span(0x1000, 2 * SIZE);
    assert_eq!(
        set(late, &[EMPTY, EMPTY], Ripas::Ram, keep),
        Err(NoProgress)
    );
    let rounded = set(span(0, SIZE + 0x1000), &[EMPTY, RAM], Ripas::Ram, keep);
    assert_eq!(rounded, Ok((SIZE, SIZE)));
}

#[test]
fn set_serves_what_is_as_requested_without_alignment() {
    let keep = Destroyed::Keep;
    let inside = set(span(0x1000, 0x3000), &[RAM, EMPTY], Ripas::Ram, keep);
    assert_eq!(inside, Ok((0, 0x3000)));
    let start = set(span(0, 0x1000), &[RAM, EMPTY], Ripas::Ram, keep);
    assert_eq!(start, Ok((0, 0x1000)));
    let across = set(span(0x1000, 2 * SIZE), &[RAM, EMPTY], Ripas::Ram, keep);
    assert_eq!(across, Ok((2 * SIZE, 2 * SIZE)));
    let to_table = set(span(0x1000, 2 * SIZE), &[RAM, table()], Ripas::Ram, keep);
    assert_eq!(to_table, Ok((SIZE, SIZE)));
}
