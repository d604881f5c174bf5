// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The table commands.

mod common;

use common::{L1, L2, PAGE, Shape, WRITE_BACK, rtt, rtt_status, world};
use rmi::{Command, RmiError};
use rmm_granule::StateCode;

const REFUSED: Result<(), RmiError> = Err(RmiError::Input);
const SHARED: u64 = 1 << 39;

const UNASSIGNED: u64 = 0;
const ASSIGNED: u64 = 1;
const TABLE: u64 = 2;
const EMPTY: u64 = 0;
const RAM: u64 = 1;
const DESTROYED: u64 = 2;

#[test]
fn rtt_create_hangs_tables_under_tables() {
    world(|w| {
        let realm = w.realm(Shape::DEFAULT);
        let tables = realm.tables_to(0, 3);
        for (level, table) in (0..).zip(&tables) {
            assert_eq!(
                realm.entry(0, level),
                [level.cast_unsigned(), TABLE, *table, 0]
            );
        }
        assert_eq!(realm.entry(0, 3), [3, UNASSIGNED, 0, EMPTY]);
        assert_eq!(realm.entry(L2, 3), [2, UNASSIGNED, 0, EMPTY]);
        assert_eq!(w.state(realm.roots[0]), (StateCode::Rtt, 1));
        assert_eq!(w.state(tables[0]), (StateCode::Rtt, 1));
        assert_eq!(w.state(tables[2]), (StateCode::Rtt, 0));
    });
}

#[test]
fn rtt_create_refuses_bad_arguments() {
    world(|w| {
        let realm = w.realm(Shape::DEFAULT);
        let table = w.delegated();
        let create = |rd, rtt, ipa, level: i64| {
            w.run(Command::RttCreate {
                rd,
                rtt,
                ipa,
                level: level.cast_unsigned(),
            })
        };
        let rd = realm.rd;
        for level in [-1, 0, 4, i64::MIN, i64::MAX, 0xFF] {
            assert_eq!(create(rd, table, 0, level), REFUSED, "{level}");
        }
        assert_eq!(create(rd, table, L1, 1), REFUSED);
        assert_eq!(create(rd, table, L2, 2), REFUSED);
        assert_eq!(create(rd, table, PAGE, 3), REFUSED);
        assert_eq!(create(rd, table, 1 << 40, 1), REFUSED);
        assert_eq!(create(rd, table, 1 << 63, 1), REFUSED);
        assert_eq!(create(rd, table + 8, 0, 1), REFUSED);
        assert_eq!(create(rd, rd, 0, 1), REFUSED);
        assert_eq!(create(rd, realm.roots[0], 0, 1), REFUSED);
        assert_eq!(create(rd, 0, 0, 1), REFUSED);
        assert_eq!(create(rd + 1, table, 0, 1), REFUSED);
        assert_eq!(create(table, table, 0, 1), REFUSED);
        assert_eq!(create(rd, table, 0, 2), Err(rtt(0)));
        assert_eq!(create(rd, table, 0, 3), Err(rtt(0)));
        w.assert_delegated(table);
        assert_eq!(create(rd, table, 0, 1), Ok(()));
        let other = w.delegated();
        assert_eq!(create(rd, other, 0, 1), Err(rtt(0)));
        assert_eq!(create(rd, other, 0, 3), Err(rtt(1)));
        w.assert_delegated(other);
    });
}

#[test]
fn rtt_create_unfolds_a_block_of_memory() {
    world(|w| {
        let realm = w.realm(Shape::DEFAULT);
        realm.tables_to(0, 3);
        assert_eq!(realm.init_ripas(0, L2), Ok(L2));
        let first = realm.block_of_pages(0);
        let table = realm.fold(0, 3).unwrap();
        w.assert_delegated(table);
        assert_eq!(realm.entry(0, 3), [2, ASSIGNED, first, RAM]);
        assert_eq!(realm.translate(5 * PAGE), Some(first + 5 * PAGE));

        let table = realm.table(0, 3);
        assert_eq!(w.state(table), (StateCode::Rtt, 512));
        for n in [0, 1, 511] {
            let page = n * PAGE;
            assert_eq!(realm.entry(page, 3), [3, ASSIGNED, first + page, RAM]);
            assert_eq!(realm.translate(page), Some(first + page));
        }
    });
}

#[test]
fn rtt_create_unfolds_a_block_of_the_host() {
    world(|w| {
        let realm = w.realm(Shape::DEFAULT);
        realm.tables_to(SHARED, 2);
        let desc = 0x4_0020_0000 | WRITE_BACK;
        assert_eq!(realm.map(SHARED + L2, 2, desc), Ok(()));
        let table = realm.table(SHARED + L2, 3);
        assert_eq!(w.state(table), (StateCode::Rtt, 0));
        let last = SHARED + 2 * L2 - PAGE;
        assert_eq!(realm.entry(last, 3), [3, ASSIGNED, desc + L2 - PAGE, 0]);
        assert_eq!(realm.fold(SHARED + L2, 3), Ok(table));
        assert_eq!(realm.entry(last, 3), [2, ASSIGNED, desc, 0]);
    });
}

#[test]
fn rtt_create_hands_ripas_down() {
    world(|w| {
        let realm = w.realm(Shape::DEFAULT);
        realm.tables_to(0, 2);
        assert_eq!(realm.init_ripas(0, 2 * L2), Ok(2 * L2));
        realm.table(0, 3);
        assert_eq!(realm.entry(L2 - PAGE, 3), [3, UNASSIGNED, 0, RAM]);
        assert_eq!(realm.entry(2 * L2, 3), [2, UNASSIGNED, 0, EMPTY]);
    });
}

#[test]
fn rtt_fold_takes_homogeneous_tables_back() {
    world(|w| {
        let realm = w.realm(Shape::DEFAULT);
        let tables = realm.tables_to(0, 3);
        assert_eq!(realm.init_ripas(0, PAGE), Ok(PAGE));
        assert_eq!(realm.fold(0, 3), Err(rtt(3)));
        assert_eq!(realm.fold(0, 2), Err(rtt(2)));
        assert_eq!(realm.init_ripas(PAGE, L2), Ok(L2));
        assert_eq!(realm.fold(0, 3), Ok(tables[2]));
        w.assert_delegated(tables[2]);
        assert_eq!(realm.entry(0, 3), [2, UNASSIGNED, 0, RAM]);
        assert_eq!(w.state(tables[1]), (StateCode::Rtt, 0));
        assert_eq!(realm.fold(0, 3), Err(rtt(2)));
        assert_eq!(realm.fold(0, 2), Err(rtt(2)));
        assert_eq!(realm.fold(L1, 2), Err(rtt(1)));
        assert_eq!(realm.fold(L1 + L2, 3), Err(rtt(1)));
        for (ipa, level) in [(0, 0), (PAGE, 3), (L2, 2), (1 << 40, 1), (0, 4)] {
            assert_eq!(realm.fold(ipa, level), Err(RmiError::Input));
        }
    });
}

#[test]
fn rtt_fold_forgets_the_pages_of_the_whole_block() {
    world(|w| {
        let realm = w.realm(Shape::DEFAULT);
        realm.tables_to(0, 3);
        assert_eq!(realm.init_ripas(0, L2), Ok(L2));
        let first = realm.block_of_pages(0);
        assert_eq!(realm.translate(L2 - PAGE), Some(first + L2 - PAGE));
        let table = realm.fold(0, 3).unwrap();
        w.assert_delegated(table);
        let rd = realm.rd;
        let destroyed = w.registers(Command::DataDestroy { rd, ipa: PAGE });
        assert_eq!(destroyed, [rtt_status(2), 0, PAGE, 0, 0, 0, 0, 0]);
        realm.table(0, 3);
        let [data, top] = w.call(Command::DataDestroy { rd, ipa: L2 - PAGE }).unwrap();
        assert_eq!([data, top], [first + L2 - PAGE, L2]);
        assert_eq!(realm.translate(L2 - PAGE), None);
        assert_eq!(realm.fold(0, 3), Err(rtt(3)));
    });
}

#[test]
fn rtt_destroy_says_where_to_go_on() {
    world(|w| {
        let realm = w.realm(Shape::DEFAULT);
        let tables = realm.tables_to(0, 3);
        let far = realm.table(7 * L2, 3);
        let data = realm.page(PAGE);
        assert_eq!(realm.destroy_table(0, 3)[..3], [rtt_status(3), 0, 0]);
        assert_eq!(realm.destroy_table(0, 2)[..3], [rtt_status(2), 0, 0]);
        assert_eq!(realm.destroy_table(L2, 3)[..3], [rtt_status(2), 0, 7 * L2]);
        assert_eq!(realm.destroy_table(8 * L2, 3)[..3], [rtt_status(2), 0, L1]);
        assert_eq!(
            realm.destroy_table(L1, 2)[..3],
            [rtt_status(1), 0, 512 * L1]
        );
        assert_eq!(realm.destroy_table(1 << 40, 1)[..3], [1, 0, 0]);
        assert_eq!(realm.destroy_table(0, 0)[..3], [1, 0, 0]);
        let rd = realm.rd;
        let [page, top] = w.call(Command::DataDestroy { rd, ipa: PAGE }).unwrap();
        assert_eq!([page, top], [data, L2]);
        assert_eq!(realm.destroy_table(0, 3)[..3], [0, tables[2], 7 * L2]);
        assert_eq!(realm.entry(0, 3), [2, UNASSIGNED, 0, DESTROYED]);
        assert_eq!(realm.destroy_table(7 * L2, 3)[..3], [0, far, L1]);
        assert_eq!(realm.destroy_table(0, 2)[..3], [0, tables[1], 512 * L1]);
        for table in [far, tables[1], tables[2]] {
            w.assert_delegated(table);
        }
    });
}

#[test]
fn rtt_destroy_drops_the_hosts_memory_with_the_table() {
    world(|w| {
        let realm = w.realm(Shape::DEFAULT);
        let tables = realm.tables_to(SHARED, 3);
        let page = w.fresh().raw();
        assert_eq!(realm.map(SHARED + PAGE, 3, page | WRITE_BACK), Ok(()));
        assert_eq!(realm.translate(SHARED + PAGE), Some(page));
        let destroyed = realm.destroy_table(SHARED, 3);
        assert_eq!(destroyed[..3], [0, tables[2], SHARED + L1]);
        assert_eq!(realm.translate(SHARED + PAGE), None);
        assert_eq!(realm.entry(SHARED, 3), [2, UNASSIGNED, 0, 0]);
        assert_eq!(realm.map(SHARED, 2, WRITE_BACK), Ok(()));
    });
}

#[test]
fn map_unprotected_takes_only_what_the_host_may_say() {
    world(|w| {
        let realm = w.realm(Shape::DEFAULT);
        realm.tables_to(SHARED, 3);
        for bit in [0, 1, 5, 8, 9, 10, 11, 48, 49, 50, 52, 53, 54, 55, 63] {
            let desc = 0x9000_0000 | WRITE_BACK | 1 << bit;
            assert_eq!(realm.map(SHARED, 3, desc), REFUSED, "bit {bit}");
        }
        assert_eq!(realm.map(SHARED, 3, 0x9000_0000 | 0b100 << 2), REFUSED);
        let desc = 0x9000_0000 | WRITE_BACK;
        for (ipa, level) in [
            (0, 3),
            (SHARED - PAGE, 3),
            (1 << 40, 3),
            (SHARED + 8, 3),
            (SHARED + PAGE, 2),
            (SHARED, 0),
            (SHARED, 4),
            (SHARED, -1),
        ] {
            assert_eq!(realm.map(ipa, level, desc), REFUSED, "{ipa:#x} {level}");
        }
        assert_eq!(realm.map(SHARED, 2, desc + PAGE), REFUSED);
        assert_eq!(realm.map(SHARED, 2, desc), Err(rtt(2)));
        assert_eq!(realm.map(SHARED + L2, 3, desc), Err(rtt(2)));
        assert_eq!(realm.map(SHARED, 3, desc), Ok(()));
        assert_eq!(realm.map(SHARED, 3, desc), Err(rtt(3)));
        assert_eq!(realm.entry(SHARED, 3), [3, ASSIGNED, desc, 0]);
        assert_eq!(realm.map(SHARED + L1, 1, 0x4000_0000), Ok(()));
        assert_eq!(realm.entry(SHARED + L1, 3), [1, ASSIGNED, 0x4000_0000, 0]);
    });
}

#[test]
fn map_unprotected_level_bound_knows_the_starting_level() {
    world(|w| {
        let shape = Shape {
            s2sz: 34,
            start: 2,
            tables: 16,
            ..Shape::DEFAULT
        };
        let realm = w.realm(shape);
        assert_eq!(realm.map(shape.shared(), 1, 0x4000_0000), REFUSED);
        assert_eq!(realm.unmap(shape.shared(), 1)[..2], [1, 0]);
        assert_eq!(realm.map(shape.shared(), 2, 0x4000_0000), Ok(()));
        // The next live entry is looked for in one of the sixteen tables only.
        assert_eq!(
            realm.unmap(shape.shared(), 2)[..2],
            [0, shape.shared() + L1]
        );
    });
}

#[test]
fn unmap_unprotected_says_where_to_go_on() {
    world(|w| {
        let realm = w.realm(Shape::DEFAULT);
        realm.tables_to(SHARED, 3);
        let page = w.fresh().raw();
        for n in [1, 9] {
            let desc = page | WRITE_BACK;
            assert_eq!(realm.map(SHARED + n * PAGE, 3, desc), Ok(()));
        }
        assert_eq!(realm.map(SHARED + L2, 2, WRITE_BACK), Ok(()));
        assert_eq!(realm.translate(SHARED + PAGE), Some(page));
        assert_eq!(realm.unmap(SHARED + PAGE, 3)[..2], [0, SHARED + 9 * PAGE]);
        assert_eq!(realm.translate(SHARED + PAGE), None);
        let again = realm.unmap(SHARED + PAGE, 3);
        assert_eq!(again[..2], [rtt_status(3), SHARED + 9 * PAGE]);
        assert_eq!(realm.unmap(SHARED, 2)[..2], [rtt_status(2), SHARED]);
        let inside = realm.unmap(SHARED + L2 + PAGE, 3);
        assert_eq!(inside[..2], [rtt_status(2), SHARED + L2 + PAGE]);
        assert_eq!(realm.unmap(SHARED + L2, 2)[..2], [0, SHARED + L1]);
        assert_eq!(realm.unmap(SHARED + 9 * PAGE, 3)[..2], [0, SHARED + L2]);
        assert_eq!(realm.unmap(0, 3)[..2], [1, 0]);
    });
}

#[test]
fn read_entry_refuses_bad_arguments() {
    world(|w| {
        let realm = w.realm(Shape::DEFAULT);
        let rd = realm.rd;
        for (ipa, level) in [
            (0, u64::MAX),
            (0, 4),
            (8, 3),
            (PAGE, 2),
            (L2, 1),
            (1 << 40, 3),
            (!0xFFF, 3),
        ] {
            let refused = w.registers(Command::RttReadEntry { rd, ipa, level });
            assert_eq!(refused, [1, 0, 0, 0, 0, 0, 0, 0], "{ipa:#x} {level}");
        }
    });
}

#[test]
fn trees_with_52_bit_tables_start_at_level_minus_1() {
    world(|w| {
        let shape = Shape {
            flags: 1,
            s2sz: 52,
            start: -1,
            ..Shape::DEFAULT
        };
        let realm = w.realm(shape);
        let top_granule = (1 << 52) - PAGE;
        assert_eq!(realm.entry(0, 3), [u64::MAX, UNASSIGNED, 0, EMPTY]);
        assert_eq!(realm.destroy_table(0, 0)[..3], [0xFF04, 0, 1 << 52]);
        let tables = realm.tables_to(top_granule, 3);
        assert_eq!(
            realm.map(top_granule, 3, 0x3_0000_0000_1300 | WRITE_BACK),
            Ok(())
        );
        let entry = realm.entry(top_granule, 3);
        assert_eq!(entry, [3, ASSIGNED, 0x3_0000_0000_1300 | WRITE_BACK, 0]);
        assert_eq!(realm.destroy(), Err(RmiError::Realm(0)));
        for (level, table) in [0, 1, 2, 3].into_iter().zip(tables).rev() {
            let size = PAGE << (9 * (4 - level));
            let base = top_granule & !(size - 1);
            assert_eq!(realm.destroy_table(base, level)[..2], [0, table], "{level}");
        }
        assert_eq!(realm.destroy(), Ok(()));
    });
}
