// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The DATA and RIPAS commands, and the measurement they leave behind.

mod common;

use common::{L1, L2, PAGE, Realm, Shape, World, rtt, rtt_status, world};
use rmi::{Command, DataFlags, GranuleAddr, HashAlgorithm, Ipa, RealmRequest, RmiError, RttLevel};
use rmm::measure::Measurement;
use rmm::measure::rim::{self, Rim};
use rmm::realm::{RdState, RealmMemoryError, memory};
use rmm_fake::Pas;
use rmm_granule::StateCode;

const REFUSED: Result<(), RmiError> = Err(RmiError::Input);

const UNASSIGNED: u64 = 0;
const ASSIGNED: u64 = 1;
const EMPTY: u64 = 0;
const RAM: u64 = 1;
const DESTROYED: u64 = 2;

/// Returns the initial measurement of a Realm.
fn rim_of(w: &World<'_>, rd: u64) -> Measurement {
    let rd = w.monitor.granules().lock::<RdState>(rmi::PhysAddr::new(rd));
    *rd.unwrap().map(&w.pe).measurement(0).unwrap()
}

#[test]
fn data_create_copies_and_measures() {
    world(|w| {
        let realm = w.realm(Shape::DEFAULT);
        realm.tables_to(0, 3);
        let rd = realm.rd;
        let contents: [u8; 4096] = core::array::from_fn(|n| n.to_le_bytes()[0] ^ 0x5A);
        let src = w.write_page(&contents);

        let request = RealmRequest::try_from(&Shape::DEFAULT.params(realm.roots[0])).unwrap();
        let mut expected = rim::initial(&w.pe, &request);
        assert_eq!(rim_of(w, rd), expected);
        let mut rim = Rim {
            value: &mut expected,
            algorithm: HashAlgorithm::Sha256,
        };
        for (ipa, flags) in [(0, 1), (5 * PAGE, 0), (PAGE, 1)] {
            let data = w.delegated();
            let create = Command::DataCreate {
                rd,
                data,
                ipa,
                src,
                flags,
            };
            assert_eq!(w.run(create), Ok(()));
            rim.extend_data(
                &w.pe,
                Ipa::new(ipa),
                DataFlags::from_bits_retain(flags),
                &contents,
            );
            assert_eq!(w.state(data), (StateCode::Data, 0));
            assert_eq!(realm.entry(ipa, 3), [3, ASSIGNED, data, RAM]);
            assert_eq!(realm.translate(ipa), Some(data));
            let word = w.machine().inspect(GranuleAddr::new(data).unwrap(), 511);
            assert_eq!(word.to_le_bytes()[..], contents[4088..]);
        }
        assert_eq!(rim_of(w, rd), expected);
        assert_ne!(expected, Measurement::ZERO);
    });
}

#[test]
fn data_create_refuses_in_order_and_leaves_nothing() {
    world(|w| {
        let realm = w.realm(Shape::DEFAULT);
        realm.tables_to(0, 3);
        let rd = realm.rd;
        let data = w.delegated();
        let src = w.write_page(&[0x77; 4096]);
        let before = rim_of(w, rd);
        let create = |rd, data, ipa, src| {
            let flags = 1;
            w.run(Command::DataCreate {
                rd,
                data,
                ipa,
                src,
                flags,
            })
        };
        let secure = w.fresh();
        w.machine().set_pas(secure, Pas::Secure);
        for (ipa, src) in [
            (0, src + 8),
            (0, 0),
            (0, secure.raw()),
            (0, data),
            (8, src),
            (1 << 39, src),
            (u64::MAX, src),
        ] {
            assert_eq!(create(rd, data, ipa, src), REFUSED, "{ipa:#x} {src:#x}");
        }
        for other in [data + 8, 0, rd, realm.roots[0], w.fresh().raw()] {
            assert_eq!(create(rd, other, 0, src), REFUSED, "{other:#x}");
        }
        assert_eq!(create(data, data, 0, src), REFUSED);
        w.pe.fault_ns_after(Some(4088));
        assert_eq!(create(rd, data, 0, src), REFUSED);
        w.pe.fault_ns_after(None);
        w.assert_delegated(data);
        assert_eq!(create(rd, data, L2, src), Err(rtt(2)));
        assert_eq!(create(rd, data, L1, src), Err(rtt(1)));
        w.assert_delegated(data);
        realm.page(0);
        assert_eq!(create(rd, data, 0, src), Err(rtt(3)));
        w.assert_delegated(data);
        realm.activate();
        assert_eq!(create(rd, data, PAGE, src), Err(RmiError::Realm(0)));
        assert_eq!(create(rd, data, 1 << 39, src), REFUSED);
        w.assert_delegated(data);
        assert_eq!(rim_of(w, rd), before);
    });
}

#[test]
fn data_create_unknown_keeps_ripas() {
    world(|w| {
        let realm = w.realm(Shape::DEFAULT);
        let tables = realm.tables_to(0, 3);
        let rd = realm.rd;
        assert_eq!(realm.init_ripas(0, PAGE), Ok(PAGE));
        realm.activate();
        let ram = realm.page(0);
        let empty = realm.page(PAGE);
        assert_eq!(realm.entry(0, 3), [3, ASSIGNED, ram, RAM]);
        assert_eq!(realm.entry(PAGE, 3), [3, ASSIGNED, empty, EMPTY]);
        assert_eq!(realm.translate(0), Some(ram));
        assert_eq!(realm.translate(PAGE), None);
        assert_eq!(w.state(tables[2]), (StateCode::Rtt, 2));
        let destroy = |ipa| w.call::<2>(Command::DataDestroy { rd, ipa });
        assert_eq!(destroy(0), Ok([ram, PAGE]));
        assert_eq!(realm.translate(0), None);
        assert_eq!(destroy(PAGE), Ok([empty, L2]));
        w.assert_delegated(ram);
        w.assert_delegated(empty);
        assert_eq!(realm.entry(0, 3), [3, UNASSIGNED, 0, DESTROYED]);
        assert_eq!(realm.entry(PAGE, 3), [3, UNASSIGNED, 0, EMPTY]);
        assert_eq!(w.state(tables[2]), (StateCode::Rtt, 0));
        let again = realm.page(0);
        assert_eq!(realm.entry(0, 3), [3, ASSIGNED, again, DESTROYED]);
        assert_eq!(realm.translate(0), None);
        assert_eq!(destroy(0), Ok([again, L2]));
        assert_eq!(realm.entry(0, 3), [3, UNASSIGNED, 0, DESTROYED]);
    });
}

#[test]
fn data_destroy_leaves_no_instructions_behind() {
    world(|w| {
        let realm = w.realm(Shape::DEFAULT);
        realm.tables_to(0, 3);
        let rd = realm.rd;
        assert_eq!(realm.init_ripas(0, PAGE), Ok(PAGE));
        let data = realm.page(0);
        assert_eq!(realm.translate(0), Some(data));
        let granule = GranuleAddr::new(data).unwrap();
        assert!(w.machine().is_fetched(granule));
        assert_eq!(
            w.call::<2>(Command::DataDestroy { rd, ipa: 0 }),
            Ok([data, L2])
        );
        assert!(!w.machine().is_fetched(granule));
    });
}

#[test]
fn data_destroy_says_where_to_go_on() {
    world(|w| {
        let realm = w.realm(Shape::DEFAULT);
        realm.tables_to(0, 3);
        realm.table(3 * L2, 3);
        realm.page(7 * PAGE);
        let rd = realm.rd;
        let destroy = |ipa| w.registers(Command::DataDestroy { rd, ipa });
        assert_eq!(destroy(0)[..3], [rtt_status(3), 0, 7 * PAGE]);
        assert_eq!(destroy(8 * PAGE)[..3], [rtt_status(3), 0, L2]);
        assert_eq!(destroy(L2)[..3], [rtt_status(2), 0, 3 * L2]);
        assert_eq!(destroy(L1)[..3], [rtt_status(1), 0, 512 * L1]);
        for ipa in [8, 1 << 39, 1 << 40] {
            assert_eq!(destroy(ipa)[..3], [1, 0, 0]);
        }
    });
}

#[test]
fn init_ripas_measures_every_entry() {
    world(|w| {
        let realm = w.realm(Shape::DEFAULT);
        realm.tables_to(0, 2);
        let mut expected = rim_of(w, realm.rd);
        let mut rim = Rim {
            value: &mut expected,
            algorithm: HashAlgorithm::Sha256,
        };
        assert_eq!(realm.init_ripas(L2, 4 * L2 + PAGE), Ok(4 * L2));
        for n in 1..4 {
            rim.extend_ripas(&w.pe, Ipa::new(n * L2), L2, 1);
        }
        assert_eq!(realm.init_ripas(2 * L2, 3 * L2), Ok(3 * L2));
        rim.extend_ripas(&w.pe, Ipa::new(2 * L2), L2, 1);
        assert_eq!(rim_of(w, realm.rd), expected);
        assert_eq!(realm.entry(0, 2), [2, UNASSIGNED, 0, EMPTY]);
        assert_eq!(realm.entry(3 * L2, 2), [2, UNASSIGNED, 0, RAM]);
    });
}

#[test]
fn init_ripas_refuses_in_order() {
    world(|w| {
        let realm = w.realm(Shape::DEFAULT);
        realm.tables_to(0, 3);
        let before = rim_of(w, realm.rd);
        let input = Err(RmiError::Input);
        let half = 1 << 39;
        for (base, top) in [
            (0, 0),
            (PAGE, PAGE),
            (2 * PAGE, PAGE),
            (0, PAGE + 8),
            (0, 8),
            (half - PAGE, half + PAGE),
            (half, half + PAGE),
            (0, u64::MAX),
        ] {
            assert_eq!(realm.init_ripas(base, top), input, "{base:#x} {top:#x}");
        }
        assert_eq!(realm.init_ripas(8, PAGE), Err(rtt(3)));
        assert_eq!(realm.init_ripas(L2 + PAGE, 2 * L2), Err(rtt(2)));
        assert_eq!(realm.init_ripas(L2, L2 + PAGE), Err(rtt(2)));
        assert_eq!(realm.init_ripas(L1 + L2, 2 * L1), Err(rtt(1)));
        realm.page(PAGE);
        assert_eq!(realm.init_ripas(PAGE, 2 * PAGE), Err(rtt(3)));
        assert_eq!(rim_of(w, realm.rd), before);
        assert_eq!(realm.init_ripas(0, L2), Ok(PAGE));
        realm.activate();
        assert_eq!(realm.init_ripas(0, PAGE), Err(RmiError::Realm(0)));
        assert_eq!(realm.init_ripas(0, half + PAGE), input);
    });
}

#[test]
fn init_ripas_stops_at_tables_and_at_the_end_of_one() {
    world(|w| {
        let realm = w.realm(Shape::DEFAULT);
        realm.tables_to(0, 2);
        realm.table(2 * L2, 3);
        assert_eq!(realm.init_ripas(0, 2 * L1), Ok(2 * L2));
        assert_eq!(realm.init_ripas(2 * L2, 2 * L1), Ok(3 * L2));
        assert_eq!(realm.init_ripas(3 * L2, 2 * L1), Ok(L1));
        assert_eq!(realm.init_ripas(L1, 2 * L1), Ok(2 * L1));
        assert_eq!(realm.entry(L1, 3), [1, UNASSIGNED, 0, RAM]);
    });
}

/// Reads eight bytes of Realm memory as an RSI call would.
fn read_word(realm: &Realm<'_, '_>, ipa: u64) -> Result<u64, RealmMemoryError> {
    let mut bytes = [0; 8];
    let w = realm.world;
    let tree = realm.tree();
    memory::read(
        w.monitor.granules(),
        &w.pe,
        &tree,
        Ipa::new(ipa),
        &mut bytes,
    )?;
    Ok(u64::from_le_bytes(bytes))
}

#[test]
fn realm_memory_is_reached_through_pages_and_blocks() {
    world(|w| {
        let realm = w.realm(Shape::DEFAULT);
        realm.tables_to(0, 3);
        assert_eq!(realm.init_ripas(0, L2), Ok(L2));
        let first = realm.block_of_pages(0);
        let tree = realm.tree();
        let granules = w.monitor.granules();
        for (ipa, value) in [(0x10, 0x1111_u64), (7 * PAGE + 0xFF8, 0x2222)] {
            let bytes = value.to_le_bytes();
            let written = memory::write(granules, &w.pe, &tree, Ipa::new(ipa), &bytes);
            assert_eq!(written, Ok(()));
        }
        realm.fold(0, 3).unwrap();
        assert_eq!(read_word(&realm, 0x10), Ok(0x1111));
        assert_eq!(read_word(&realm, 7 * PAGE + 0xFF8), Ok(0x2222));
        let eighth = GranuleAddr::new(first + 7 * PAGE).unwrap();
        assert_eq!(w.machine().inspect(eighth, 511), 0x2222);
        assert_eq!(w.pe.views(), 0);
    });
}

#[test]
fn realm_memory_says_why_it_cannot_be_reached() {
    world(|w| {
        let realm = w.realm(Shape::DEFAULT);
        realm.tables_to(0, 3);
        assert_eq!(realm.init_ripas(0, PAGE), Ok(PAGE));
        let missing = |level| {
            let level = RttLevel::new(level).unwrap();
            Err(RealmMemoryError::Missing { level })
        };
        assert_eq!(read_word(&realm, 0), missing(3));
        assert_eq!(read_word(&realm, PAGE), Err(RealmMemoryError::Empty));
        assert_eq!(read_word(&realm, L1), Err(RealmMemoryError::Empty));
        realm.page(PAGE);
        assert_eq!(read_word(&realm, PAGE), Err(RealmMemoryError::Empty));
        let outside = Err(RealmMemoryError::NotProtected);
        assert_eq!(read_word(&realm, Shape::DEFAULT.shared()), outside);
        assert_eq!(read_word(&realm, u64::MAX - 7), outside);
        assert_eq!(read_word(&realm, PAGE - 4), outside);
        realm.page(0);
        assert_eq!(read_word(&realm, 0), Ok(0));
        let rd = realm.rd;
        w.call::<2>(Command::DataDestroy { rd, ipa: 0 }).unwrap();
        assert_eq!(read_word(&realm, 0), missing(3));
    });
}
