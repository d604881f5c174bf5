// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

use rmi::{GranuleAddr, Ipa, PhysAddr};
use rmm_granule::{
    AccessFault, Contained, Delegated, GranuleTable, Locked, Pinned, State, StateCode, Unavailable,
    Undelegated,
};
use rmm_hal::{El3, El3Error, MustInvalidate, NsMemory, Stage2, Stage2Root};

use super::*;
use crate::machine::Cached;

#[derive(Debug)]
enum Table {}
impl State for Table {
    const CODE: StateCode = StateCode::Rtt;
    type Header = ();
    type Contents = [u64; 512];
}
impl Contained for Table {}

#[derive(Debug)]
enum Context {}
impl State for Context {
    const CODE: StateCode = StateCode::Rec;
    type Header = core::sync::atomic::AtomicU64;
    type Contents = [u64; 8];
}
impl Pinned for Context {}

fn machine() -> FakeMachine {
    FakeMachine::new(
        GranuleAddr::new(0x8000_0000).unwrap(),
        16,
        default_features(),
    )
}

fn delegated<'t>(
    table: &GranuleTable<'t>,
    pe: &FakePe<'_>,
    at: GranuleAddr,
) -> Locked<'t, Delegated> {
    pe.delegate(at).unwrap();
    table
        .lock::<Undelegated>(at.phys())
        .unwrap()
        .admit(pe)
        .unwrap()
}

#[test]
fn lock_refuses_misaligned_foreign_and_wrong_state() {
    let machine = machine();
    let banks = [machine.bank()];
    let table = GranuleTable::new(&banks);
    assert_eq!(
        table
            .lock::<Undelegated>(PhysAddr::new(0x8000_0008))
            .unwrap_err(),
        Unavailable
    );
    assert_eq!(
        table
            .lock::<Undelegated>(PhysAddr::new(0x7FFF_F000))
            .unwrap_err(),
        Unavailable
    );
    assert_eq!(
        table
            .lock::<Undelegated>(PhysAddr::new(0x8001_0000))
            .unwrap_err(),
        Unavailable
    );
    assert_eq!(
        table
            .lock::<Delegated>(PhysAddr::new(0x8000_0000))
            .unwrap_err(),
        Unavailable
    );
    drop(
        table
            .lock::<Undelegated>(PhysAddr::new(0x8000_0000))
            .unwrap(),
    );
}

#[test]
fn lock_set_refuses_one_granule_in_two_roles() {
    let machine = machine();
    let banks = [machine.bank()];
    let table = GranuleTable::new(&banks);
    let at = machine.granule(3).phys();
    assert!(table.lock_set2::<Undelegated, Undelegated>(at, at).is_err());
}

#[test]
fn excluded_granules_are_not_delegable() {
    let machine = machine();
    let banks = [machine.bank()];
    let table = GranuleTable::new(&banks);
    table.exclude(machine.granule(2), 2);
    assert!(!table.is_delegable(machine.granule(3).phys()));
    assert!(table.is_delegable(machine.granule(4).phys()));
    assert!(
        table
            .lock::<Undelegated>(machine.granule(2).phys())
            .is_err()
    );
}

#[test]
fn admit_wipes_and_wipe_leaves_zeroes() {
    let machine = machine();
    let banks = [machine.bank()];
    let table = GranuleTable::new(&banks);
    let pe = FakePe::new(&machine);
    let at = machine.granule(1);
    machine.host_write(at, 8, &[0xAA; 16]).unwrap();
    let mut used = delegated(&table, &pe, at).into_state::<Table>();
    assert!(machine.is_zero(at));
    used.map_mut(&pe)[511] = 7;
    assert_eq!(machine.inspect(at, 511), 7);
    drop(used.wipe(&pe));
    assert!(machine.is_zero(at));
    assert_eq!(pe.views(), 0);
}

#[test]
fn admit_reports_missing_memory() {
    let machine = machine();
    let banks = [machine.bank()];
    let table = GranuleTable::new(&banks);
    let pe = FakePe::new(&machine);
    let at = machine.granule(1);
    machine.set_absent(at);
    pe.delegate(at).unwrap();
    assert!(
        table
            .lock::<Undelegated>(at.phys())
            .unwrap()
            .admit(&pe)
            .is_err()
    );
    assert_eq!(table.peek(at.phys()), Some((StateCode::Undelegated, 0)));
}

#[test]
fn pinned_contents_are_exclusive_without_the_lock() {
    let machine = machine();
    let banks = [machine.bank()];
    let table = GranuleTable::new(&banks);
    let pe = FakePe::new(&machine);
    let at = machine.granule(1);
    let mut running = delegated(&table, &pe, at)
        .into_state::<Context>()
        .pin()
        .unwrap();
    running.map_mut(&pe)[0] = 5;
    let mut other = table.lock::<Context>(at.phys()).unwrap();
    assert!(other.map_idle(&pe).is_err());
    assert_eq!(
        other
            .map_header(&pe)
            .load(core::sync::atomic::Ordering::Relaxed),
        0
    );
    assert!(other.pin().is_err());
    drop(running);
    let mut idle = table.lock::<Context>(at.phys()).unwrap();
    assert_eq!(idle.map_idle(&pe).unwrap()[0], 5);
}

#[test]
#[should_panic(expected = "references")]
fn wipe_refuses_while_references_are_held() {
    let machine = machine();
    let banks = [machine.bank()];
    let table = GranuleTable::new(&banks);
    let pe = FakePe::new(&machine);
    let mut used = delegated(&table, &pe, machine.granule(1)).into_state::<Table>();
    used.raise(1);
    let _ = used.wipe(&pe);
}

#[test]
fn ns_copy_faults_halfway_and_in_other_worlds() {
    let machine = machine();
    let pe = FakePe::new(&machine);
    let at = machine.granule(0);
    machine.host_write(at, 0, &[1; 64]).unwrap();
    let mut bytes = [0; 64];
    pe.fault_ns_after(Some(32));
    assert_eq!(pe.read(at, 0, &mut bytes), Err(AccessFault));
    assert_eq!(bytes[..32], [1; 32]);
    pe.fault_ns_after(None);
    machine.set_pas(at, Pas::Secure);
    assert_eq!(pe.read(at, 0, &mut bytes), Err(AccessFault));
    assert_eq!(pe.delegate(at), Err(El3Error));
}

#[test]
fn threads_never_share_a_lock() {
    let machine = machine();
    let banks = [machine.bank()];
    let table = GranuleTable::new(&banks);
    let pe = FakePe::new(&machine);
    let at = machine.granule(1);
    drop(delegated(&table, &pe, at).into_state::<Table>());
    const ROUNDS: u64 = if cfg!(miri) { 20 } else { 2_000 };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let pe = FakePe::new(&machine);
                for _ in 0..ROUNDS {
                    let mut locked = table.lock::<Table>(at.phys()).unwrap();
                    locked.map_mut(&pe)[0] += 1;
                }
            });
        }
    });
    assert_eq!(machine.inspect(at, 0), 4 * ROUNDS);
}

#[test]
fn invalidation_hits_what_each_step_lies_in() {
    let machine = machine();
    let pe = FakePe::new(&machine);
    let root = Stage2Root {
        vttbr: 3 << 48,
        vtcr: 0,
    };
    let (page, block) = (0x1000, 0x20_0000);
    let cache = || {
        let mut tlb = machine.tlb.lock().unwrap();
        let entries = [
            (3, 0, page),
            (3, 1, page),
            (3, 512 + 7, block),
            (4, 1, page),
        ];
        for (vmid, ipa, block) in entries {
            let (page, is_executable) = (ipa, false);
            let cached = Cached {
                page,
                block,
                is_executable,
            };
            tlb.insert((vmid, ipa), cached);
        }
    };
    let left = |base, size, leaf| {
        cache();
        let range = MustInvalidate {
            base: Ipa::new(base),
            size,
            leaf,
        };
        pe.invalidate(&root, range);
        let left = machine.cached(&root);
        assert_eq!(machine.tlb.lock().unwrap().len(), left.len() + 1);
        machine.tlb.lock().unwrap().clear();
        left.iter().map(|(ipa, _)| ipa.raw()).collect::<Vec<_>>()
    };
    let in_block = block + 7 * page;
    assert_eq!(left(0, block, page), [in_block]);
    assert_eq!(left(0, block, block), [page, in_block]);
    assert_eq!(left(0, 2 * block, block), [page]);
    assert_eq!(left(page, page, page), [0, in_block]);
    assert_eq!(left(block + page, page, page), [0, page]);
}
