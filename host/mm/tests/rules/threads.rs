// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Rules I1 to I3 and the races of parallel faults: threads stand for CPUs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use host_mm::addr::{Gfn, PAGE_SIZE, Pfn};
use host_mm::area::AreaFlags;
use host_mm::backing::Kind;
use host_mm::fault::{Fault, FaultClass};
use host_mm::memslot::SlotAccess;
use host_mm::pages::{PageFlags, PageUse, Wish};
use host_mm::realm::Wanted;
use host_mm::vm::{CpuFacts, Reach, Vm, take_away};
use rmi::Ipa;

use crate::guest::{Access, access, leaf, normal, walk};
use crate::machine::{DRAM, FakeMachine, HIGH, HIGH_SIZE, host_with};
use crate::realm::{finish, running, touch, translate};
use crate::rmm::RAM;
use crate::together::Together;

const MIB: u64 = 1 << 20;
const BASE: u64 = 0x8000_0000;
const SIZE: u64 = 8 * MIB;
const PAGES: u64 = SIZE / PAGE_SIZE;

struct Dice(u64);

impl Dice {
    fn roll(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(11);
        (self.0 >> 33) % limit
    }
}

/// No entry points to a page the host has freed, and no freed page is dirty.
fn check_no_stale(vm: &Vm<'_, FakeMachine>) {
    let pages = vm.host().pages();
    let machine = vm.host().machine();
    for ipa in (BASE..BASE + SIZE).step_by(usize::try_from(PAGE_SIZE).unwrap()) {
        if let Ok(found) = walk(machine, vm, ipa) {
            let offset = ipa % (1 << (12 + 9 * (3 - found.level)));
            let pfn = Pfn::containing(found.output() + offset);
            let slot = vm.slot(Gfn::new(ipa / PAGE_SIZE)).unwrap();
            let hva = slot.hva_of(Gfn::new(ipa / PAGE_SIZE));
            let area = vm.space().find(hva).unwrap();
            assert_eq!(area.object.peek(area.index_of(hva)), Some(pfn), "{ipa:#x}");
            assert!(pages.references(pfn) > 0);
        }
    }
    let ranges = [(DRAM, 64 * MIB), (HIGH, HIGH_SIZE)];
    for pfn in ranges
        .into_iter()
        .flat_map(|(base, size)| (base / PAGE_SIZE..(base + size) / PAGE_SIZE).map(Pfn::new))
    {
        if pages.references(pfn) == 0 {
            assert!(
                !pages.flags(pfn).contains(PageFlags::DIRTY),
                "{pfn:?} is free and dirty"
            );
        }
    }
}

#[test]
fn i1_a_fault_that_read_the_sequence_before_begin_never_installs_after_it() {
    let host = host_with(64 * MIB);
    let vm = normal(&host, CpuFacts::default());
    vm.add_memory(Ipa::new(BASE), SIZE).unwrap();
    let gfn = Gfn::new(BASE / PAGE_SIZE);
    let guard = vm.invalidate(gfn, 512, Reach::All);
    let fault = Fault {
        ipa: Ipa::new(BASE),
        low_bits: 0,
        class: FaultClass::Translation,
        write: true,
        fetch: false,
        level: 3,
    };
    for _ in 0..10 {
        vm.handle_fault(&mut vm.new_vcpu(), &fault).unwrap();
        assert_eq!(leaf(&vm, BASE), None, "mapped during an invalidation");
    }
    drop(guard);
    vm.handle_fault(&mut vm.new_vcpu(), &fault).unwrap();
    assert!(leaf(&vm, BASE).is_some());
}

#[test]
fn i2_invalidating_protected_memory_destroys_it_and_shared_memory_is_only_unmapped() {
    let host = host_with(64 * MIB);
    let (vm, rec) = running(&host, SIZE);
    touch(&vm, BASE).unwrap();
    touch(&vm, (BASE + PAGE_SIZE) | (1 << 39)).unwrap();
    vm.write(Ipa::new(BASE + PAGE_SIZE), b"kept").unwrap();
    let gfn = Gfn::new(BASE / PAGE_SIZE);
    let realm = vm.realm().unwrap();
    assert_eq!(
        realm.shared_ranges(),
        [gfn],
        "of the unprotected half alone"
    );
    drop(vm.invalidate(gfn, 512, Reach::Shared));
    assert_eq!(realm.counters().unshared.get(), 1);
    assert_eq!(realm.shared_ranges(), []);
    assert!(translate(&vm, BASE).is_some());
    assert_eq!(translate(&vm, (BASE + PAGE_SIZE) | (1 << 39)), None);
    let mut bytes = [0; 4];
    vm.read(Ipa::new(BASE + PAGE_SIZE), &mut bytes).unwrap();
    assert_eq!(&bytes, b"kept");
    drop(vm.invalidate(gfn, 2, Reach::All));
    assert_eq!(translate(&vm, BASE), None);
    assert_eq!(host.pages().usage(PageUse::Data).now(), 0);
    finish(&vm, &rec);
}

#[test]
fn a_shared_page_is_taken_from_all_its_users() {
    let host = host_with(64 * MIB);
    let object = host.new_object(Kind::Anonymous(None), Wish::Any);
    let vms = [0_u64, 1].map(|n| {
        let vm = normal(&host, CpuFacts::default());
        // At different places, and twice in the second VM.
        for base in (0..=n).map(|copy| BASE + n * MIB + copy * 64 * MIB) {
            let (base, object) = (Ipa::new(base), object.clone());
            let access = SlotAccess::ReadWrite;
            vm.add_object(base, MIB, object, AreaFlags::SHARED, access)
                .unwrap();
        }
        vm
    });
    let at = 5 * PAGE_SIZE;
    let places = [(0, BASE), (1, BASE + MIB), (1, BASE + 65 * MIB)];
    for (vm, base) in places {
        // One VM after the other: they share the VMID of these tests.
        host.machine().tlb.lock().unwrap().clear();
        access(
            &vms[vm],
            &mut vms[vm].new_vcpu(),
            base + at,
            Access::Write(9),
        )
        .unwrap();
    }
    let pfn = object.peek(5).unwrap();
    assert_eq!(host.users_of(pfn).len(), 3);
    // One VM alone may not take it away.
    let gfn = Gfn::new((BASE + at) / PAGE_SIZE);
    assert_eq!(vms[0].reclaim(gfn, 1, Reach::All), 0);
    access(&vms[0], &mut vms[0].new_vcpu(), BASE + at, Access::Read).unwrap();
    let users = take_away(&[&vms[0], &vms[1]], &host, pfn);
    assert_eq!(users, Some(3));
    for (vm, base) in places {
        assert_eq!(leaf(&vms[vm], base + at), None);
    }
    assert_eq!(host.pages().references(pfn), 0);
}

/// CPUs fault over a range while another takes random pieces away and gives the pages back.
#[test]
fn i3_no_entry_points_to_a_freed_page_after_racing_invalidations() {
    let host = host_with(64 * MIB);
    let vm = normal(&host, CpuFacts::default());
    let slot = vm.add_memory(Ipa::new(BASE), SIZE).unwrap();
    let stop = Together::default();
    let taken = AtomicU64::new(0);
    thread::scope(|scope| {
        let _part = stop.part();
        for cpu in 0..3 {
            let (vm, stop) = (&vm, &stop);
            scope.spawn(move || {
                let mut vcpu = vm.new_vcpu();
                let mut dice = Dice(cpu);
                let _part = stop.part();
                while stop.goes_on() {
                    let ipa = BASE + dice.roll(PAGES) * PAGE_SIZE + cpu * 8;
                    let kind = match dice.roll(4) {
                        0 => Access::Read,
                        1 => Access::Fetch,
                        _ => Access::Write(ipa),
                    };
                    let value = access(vm, &mut vcpu, ipa, kind).unwrap();
                    assert!(value == 0 || value == ipa, "{value:#x} at {ipa:#x}");
                }
            });
        }
        let mut dice = Dice(99);
        // Until pages have been taken from guests that were really running.
        let mut round = 0;
        while round < 400 || taken.load(Ordering::Relaxed) < 50 {
            stop.check();
            round += 1;
            let first = dice.roll(PAGES);
            let count = 1 + dice.roll(40).min(PAGES - first - 1);
            let gfn = Gfn::new(BASE / PAGE_SIZE + first);
            match round % 4 {
                0 => drop(vm.invalidate(gfn, count, Reach::All)),
                1 => {
                    taken.fetch_add(vm.migrate(gfn, count), Ordering::Relaxed);
                }
                _ => {
                    taken.fetch_add(vm.reclaim(gfn, count, Reach::All), Ordering::Relaxed);
                }
            }
            match round % 50 {
                10 => vm.start_logging(&slot),
                20 | 30 => drop(vm.take_dirty(&slot)),
                40 => vm.stop_logging(&slot),
                _ => (),
            }
        }
        stop.stop();
    });
    assert!(taken.load(Ordering::Relaxed) > 0);
    check_no_stale(&vm);
    let free = host.pages().stats();
    vm.destroy().unwrap();
    let stats = host.pages().stats();
    assert!(stats.free_delegable + stats.free_other > free.free_delegable + free.free_other);
    assert_eq!(host.pages().usage(PageUse::Table).now(), 0);
    assert_eq!(host.pages().usage(PageUse::Guest).now(), 0);
}

/// Data survives when pages are moved under a running guest.
#[test]
fn migration_under_load_loses_no_write() {
    let host = host_with(64 * MIB);
    let vm = normal(&host, CpuFacts::default());
    vm.add_memory(Ipa::new(BASE), SIZE).unwrap();
    let stop = Together::default();
    thread::scope(|scope| {
        let _part = stop.part();
        for cpu in 0..2 {
            let (vm, stop) = (&vm, &stop);
            scope.spawn(move || {
                let mut vcpu = vm.new_vcpu();
                let mut dice = Dice(cpu);
                let mut model = vec![0; usize::try_from(PAGES).unwrap()];
                let mut count = 0;
                let _part = stop.part();
                while stop.goes_on() {
                    let page = dice.roll(PAGES);
                    let ipa = BASE + page * PAGE_SIZE + cpu * 8;
                    let mine = &mut model[usize::try_from(page).unwrap()];
                    assert_eq!(access(vm, &mut vcpu, ipa, Access::Read), Ok(*mine));
                    count += 1;
                    *mine = count;
                    access(vm, &mut vcpu, ipa, Access::Write(count)).unwrap();
                }
            });
        }
        let mut dice = Dice(5);
        for _ in 0..300 {
            let first = dice.roll(PAGES - 8);
            vm.migrate(Gfn::new(BASE / PAGE_SIZE + first), 1 + dice.roll(8));
            thread::sleep(Duration::from_micros(100));
        }
        stop.stop();
    });
    check_no_stale(&vm);
}

/// What the VMM writes is not lost in a page that is moved at that moment.
#[test]
fn the_vmms_writes_survive_migration() {
    let host = host_with(64 * MIB);
    let vm = normal(&host, CpuFacts::default());
    vm.add_memory(Ipa::new(BASE), SIZE).unwrap();
    let stop = Together::default();
    thread::scope(|scope| {
        let _part = stop.part();
        scope.spawn(|| {
            let _part = stop.part();
            while stop.goes_on() {
                vm.migrate(Gfn::new(BASE / PAGE_SIZE), 2);
                thread::sleep(Duration::from_micros(50));
            }
        });
        for count in 0..3000_u64 {
            let at = Ipa::new(BASE + PAGE_SIZE - 4);
            let mut found = [0; 8];
            vm.write(at, &count.to_le_bytes()).unwrap();
            vm.read(at, &mut found).unwrap();
            assert_eq!(u64::from_le_bytes(found), count);
        }
        stop.stop();
    });
}

/// RECs of one Realm fault over the same and over different ranges.
#[test]
fn r4_r6_parallel_faults_of_a_realm_all_succeed() {
    let host = host_with(64 * MIB);
    let (vm, rec) = running(&host, SIZE);
    thread::scope(|scope| {
        for cpu in 0..4_u64 {
            let vm = &vm;
            scope.spawn(move || {
                for n in 0..PAGES {
                    // Two CPUs upwards, two downwards: races at every page.
                    let page = if cpu.is_multiple_of(2) {
                        n
                    } else {
                        PAGES - 1 - n
                    };
                    let ipa = BASE + page * PAGE_SIZE;
                    while translate(vm, ipa).is_none() {
                        touch(vm, ipa).unwrap();
                    }
                }
            });
        }
    });
    let realm = vm.realm().unwrap();
    assert_eq!(realm.counters().created.get(), PAGES);
    let sizes = realm.mapping_sizes();
    assert_eq!((sizes.pages, sizes.blocks_2m), (0, SIZE / (2 * MIB)));
    finish(&vm, &rec);
    drop(vm);
    assert_eq!(host.pages().stats().delegated, 0);
    assert_eq!(host.pages().usage(PageUse::Spare).now(), 0);
}

/// Pages go back and forth between the halves while other RECs fault and the host migrates.
#[test]
fn r9_conversions_race_with_faults_and_invalidation() {
    let host = host_with(64 * MIB);
    let (vm, rec) = running(&host, SIZE);
    let stop = Together::default();
    let private = PAGES / 2;
    thread::scope(|scope| {
        let _part = stop.part();
        for cpu in 0..2 {
            let (vm, stop) = (&vm, &stop);
            scope.spawn(move || {
                let mut dice = Dice(cpu);
                let _part = stop.part();
                while stop.goes_on() {
                    touch(vm, BASE + dice.roll(private) * PAGE_SIZE).unwrap();
                }
            });
        }
        let (vm, stop, host, rec) = (&vm, &stop, &host, &rec);
        scope.spawn(move || {
            let mut dice = Dice(3);
            let _part = stop.part();
            while stop.goes_on() {
                let first = Gfn::new(BASE / PAGE_SIZE + dice.roll(PAGES - 16));
                vm.migrate(first, 16);
                thread::sleep(Duration::from_micros(500));
            }
        });
        let mut vcpu = vm.new_vcpu();
        let mut dice = Dice(4);
        for _ in 0..60 {
            // Upper half: this REC's own, shared and taken back.
            let from = BASE + (private + dice.roll(private - 8)) * PAGE_SIZE;
            let to = from + 8 * PAGE_SIZE;
            for (wanted, ripas) in [(Wanted::Empty, 0), (Wanted::Ram, RAM)] {
                let mut rmm = host.machine().rmm.lock().unwrap();
                rmm.requests.insert(rec.rec.address(), (from, to, ripas));
                drop(rmm);
                let (base, top) = (Ipa::new(from), Ipa::new(to));
                let reached = vm.change_ripas(&mut vcpu, rec.rec, base, top, wanted);
                assert_eq!(reached, Ok(top));
                let alias = if wanted == Wanted::Empty { 1 << 39 } else { 0 };
                while translate(vm, from | alias).is_none() {
                    touch(vm, from | alias).unwrap();
                }
            }
        }
        stop.stop();
    });
    finish(&vm, &rec);
    assert_eq!(host.pages().stats().delegated, 0);
    assert_eq!(host.pages().usage(PageUse::Guest).now(), 0);
}
