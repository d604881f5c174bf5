// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Rules F1 to F28 on the fault handler, and V4, M3, W7 where they show in a mapping.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::vec::Vec;

use host_mm::addr::{BLOCK_1G, BLOCK_2M, Gfn, Granularity, Hva, PAGE_SIZE, Pfn};
use host_mm::area::{Area, AreaFlags, Protection};
use host_mm::backing::{Fill, Kind, NoPage, Operations};
use host_mm::fault::{Fault, FaultClass, FaultError};
use host_mm::host::Host;
use host_mm::machine::PhysMemory;
use host_mm::memslot::SlotAccess;
use host_mm::pages::{PageFlags, PageUse, Wish};
use host_mm::vm::{CpuFacts, Reach, Vm};
use rmi::Ipa;

use crate::guest::{Access, leaf, normal, once, try_access, word};
use crate::machine::{FakeMachine, Notice, host_with};
use crate::realm::running;

const MIB: u64 = 1 << 20;
const BASE: u64 = 0x8000_0000;
const DEVICE: u64 = 0x0901_0000;

type TestHost = Host<FakeMachine>;
type TestVm<'h> = Vm<'h, FakeMachine>;

/// A normal VM with `size` bytes of anonymous memory at `BASE`.
fn with_memory(host: &TestHost, size: u64) -> TestVm<'_> {
    let vm = normal(host, CpuFacts::default());
    vm.add_memory(Ipa::new(BASE), size).unwrap();
    vm
}

/// A normal VM with memory that is not contiguous enough for blocks: a page is missing first.
fn with_pages(host: &TestHost, size: u64) -> TestVm<'_> {
    let vm = normal(host, CpuFacts::default());
    add(
        &vm,
        BASE + PAGE_SIZE,
        size,
        Kind::Anonymous(None),
        AreaFlags::empty(),
    );
    vm
}

/// Adds `size` bytes of an object whose page 0 is at `base`.
fn add(vm: &TestVm<'_>, base: u64, size: u64, kind: Kind, flags: AreaFlags) {
    let object = vm.host().new_object(kind, Wish::Any);
    let access = SlotAccess::ReadWrite;
    vm.add_object(Ipa::new(base), size, object, flags, access)
        .unwrap();
}

fn fault(ipa: u64, class: FaultClass, write: bool, fetch: bool, level: i64) -> Fault {
    Fault {
        ipa: Ipa::new(ipa),
        low_bits: 0,
        class,
        write,
        fetch,
        level,
    }
}

fn translation(ipa: u64, write: bool) -> Fault {
    fault(ipa, FaultClass::Translation, write, false, 3)
}

fn handle(vm: &TestVm<'_>, fault: &Fault) -> Result<(), FaultError> {
    vm.handle_fault(&mut vm.new_vcpu(), fault)
}

fn slot(vm: &TestVm<'_>, ipa: u64) -> Arc<host_mm::memslot::MemSlot> {
    vm.slot(vm.gfn(Ipa::new(ipa))).unwrap()
}

fn hva(vm: &TestVm<'_>, ipa: u64) -> Hva {
    slot(vm, ipa).hva_of(vm.gfn(Ipa::new(ipa)))
}

fn pfn(vm: &TestVm<'_>, ipa: u64) -> Pfn {
    let area = vm.space().find(hva(vm, ipa)).unwrap();
    area.object.peek(area.index_of(hva(vm, ipa))).unwrap()
}

#[test]
fn f1_every_fault_of_a_rec_is_a_write() {
    let host = host_with(16 * MIB);
    let (vm, _rec) = running(&host, 4 * MIB);
    // A read, and a permission fault that is neither write nor fetch: both map, writable.
    handle(&vm, &translation(BASE, false)).unwrap();
    let other = fault(BASE + PAGE_SIZE, FaultClass::Permission, false, false, 3);
    handle(&vm, &translation(BASE + PAGE_SIZE, false)).unwrap();
    handle(&vm, &other).unwrap();
    for ipa in [BASE, BASE + PAGE_SIZE] {
        assert!(host.pages().flags(pfn(&vm, ipa)).contains(PageFlags::DIRTY));
    }
}

#[test]
fn f2_a_write_that_is_a_fetch_is_an_internal_error() {
    let host = host_with(16 * MIB);
    let vm = with_memory(&host, 4 * MIB);
    let both = fault(BASE, FaultClass::Translation, true, true, 3);
    assert_eq!(handle(&vm, &both), Err(FaultError::Impossible));
    assert_eq!(leaf(&vm, BASE), None);
    assert_eq!(vm.counters().failed.get(), 1);
}

#[test]
fn f3_a_permission_fault_on_a_read_is_a_bad_address() {
    let host = host_with(16 * MIB);
    let vm = with_memory(&host, 4 * MIB);
    let read = fault(BASE, FaultClass::Permission, false, false, 3);
    assert_eq!(
        handle(&vm, &read),
        Err(FaultError::UnexpectedReadPermission)
    );
}

#[test]
fn f4_no_area_is_a_bad_address() {
    let host = host_with(16 * MIB);
    let vm = with_memory(&host, 4 * MIB);
    let hole = hva(&vm, BASE + 0x5000);
    vm.space().remove(hole, hole.offset(PAGE_SIZE)).unwrap();
    let result = handle(&vm, &translation(BASE + 0x5000, true));
    assert_eq!(result, Err(FaultError::BadAddress(hole)));
    // Outside the slots there is not even a host address.
    let outside = translation(BASE - PAGE_SIZE, true);
    assert_eq!(handle(&vm, &outside), Err(FaultError::NotMemory));
}

#[test]
fn f5_a_logging_slot_is_mapped_by_pages() {
    let host = host_with(16 * MIB);
    let vm = with_memory(&host, 4 * MIB);
    vm.start_logging(&slot(&vm, BASE));
    once(&vm, BASE, Access::Write(1)).unwrap();
    assert_eq!(leaf(&vm, BASE).unwrap().level, 3);
    assert_eq!(leaf(&vm, BASE + PAGE_SIZE), None);
}

#[test]
fn f6_a_realm_is_mapped_by_pages() {
    let host = host_with(16 * MIB);
    let (vm, _rec) = running(&host, 4 * MIB);
    handle(&vm, &translation(BASE, true)).unwrap();
    assert_eq!(vm.realm().unwrap().counters().created.get(), 1);
    assert_eq!(vm.counters().blocks.get(), 0);
}

#[test]
fn f7_otherwise_the_area_decides() {
    let host = host_with(16 * MIB);
    let vm = normal(&host, CpuFacts::default());
    let huge = Kind::Huge(Granularity::Block2M);
    add(&vm, BASE, 4 * MIB, huge, AreaFlags::empty());
    once(&vm, BASE + 0x3000, Access::Read).unwrap();
    assert_eq!(leaf(&vm, BASE).unwrap().level, 2);
    assert_eq!(leaf(&vm, BASE + BLOCK_2M), None);
}

#[test]
fn f8_a_block_that_the_slot_cannot_carry_falls_to_a_smaller_one() {
    let host = host_with(64 * MIB);
    let vm = normal(&host, CpuFacts::default());
    // 1 GiB of device at 1 GiB: a block. The same with a slot that ends early: 2 MiB.
    for (base, size, level) in [
        (0x40_0000_0000, BLOCK_1G, 1),
        (0x50_0000_0000, 512 * MIB, 2),
    ] {
        let device = Kind::Raw(Pfn::containing(0x10_0000_0000));
        add(&vm, base, size, device, AreaFlags::PFNMAP);
        once(&vm, base + 0x1234_5678, Access::Read).unwrap();
        assert_eq!(
            leaf(&vm, base)
                .or(leaf(&vm, base + 0x1220_0000))
                .unwrap()
                .level,
            level
        );
    }
    // CONT_PMD falls to 2 MiB, CONT_PTE to a forced page.
    for (index, granularity, level) in [
        (0_u64, Granularity::ContPmd, 2),
        (1, Granularity::ContPte, 3),
    ] {
        let base = 0x60_0000_0000 + index * BLOCK_1G;
        add(
            &vm,
            base,
            32 * MIB,
            Kind::Huge(granularity),
            AreaFlags::empty(),
        );
        once(&vm, base + 0x5000, Access::Read).unwrap();
        let found = leaf(&vm, base + 0x5000).unwrap();
        assert_eq!(found.level, level, "{granularity:?}");
    }
}

#[test]
fn f8_an_unknown_size_is_reported_once_and_is_a_page() {
    let host = host_with(64 * MIB);
    let vm = normal(&host, CpuFacts::default());
    let odd = Kind::Huge(Granularity::Other(8 * MIB));
    let object = host.new_object(odd, Wish::Any);
    let start = Ipa::new(BASE);
    vm.add_object(
        start,
        16 * MIB,
        object,
        AreaFlags::empty(),
        SlotAccess::ReadWrite,
    )
    .unwrap();
    once(&vm, BASE, Access::Read).unwrap();
    let reported = vm.counters().odd_granularity.load(Ordering::Relaxed);
    assert_eq!(reported, 8 * MIB);
}

#[test]
fn f9_the_fault_address_is_rounded_down_to_the_block() {
    let host = host_with(16 * MIB);
    let vm = with_memory(&host, 4 * MIB);
    once(&vm, BASE + BLOCK_2M + 0x1F_F008, Access::Write(77)).unwrap();
    let block = leaf(&vm, BASE + BLOCK_2M).unwrap();
    assert_eq!(block.level, 2);
    assert_eq!(block.output() % BLOCK_2M, 0);
    assert_eq!(word(&vm, block.output() + 0x1F_F008), 77);
}

#[test]
fn f10_stolen_bits_do_not_count() {
    let host = host_with(16 * MIB);
    let (vm, _rec) = running(&host, 4 * MIB);
    let plain = vm.gfn(Ipa::new(BASE));
    assert_eq!(vm.gfn(Ipa::new(BASE | 1 << 39)), plain);
    assert_eq!(plain, Gfn::new(BASE / PAGE_SIZE));
    let normal = with_memory(&host, 4 * MIB);
    assert_ne!(normal.gfn(Ipa::new(BASE | 1 << 39)), plain);
}

#[test]
fn f11_without_pages_for_tables_nothing_changes() {
    let host = host_with(4 * MIB);
    let vm = with_pages(&host, 2 * MIB);
    while host.pages().allocate(PageUse::Host, Wish::Any).is_some() {}
    let result = handle(&vm, &translation(BASE + PAGE_SIZE, true));
    assert_eq!(result, Err(FaultError::OutOfMemory));
    assert_eq!(leaf(&vm, BASE + PAGE_SIZE), None);
    assert_eq!(vm.stage2().unwrap().counters().tables.get(), 0);
}

/// A file whose operations run a hook while a page is populated: between F12 and F19.
struct Hooked(Mutex<Vec<Box<dyn FnOnce() + Send>>>);

impl Operations for Hooked {
    fn populate(&self, index: u64, page: Pfn, memory: &dyn PhysMemory) -> Result<(), NoPage> {
        memory.write(page.address(), &index.to_le_bytes());
        if let Some(hook) = self.0.lock().unwrap().pop() {
            hook();
        }
        Ok(())
    }

    fn prepare_removal(&self, _first: u64, _pages: u64) {}

    fn may_split(&self, _index: u64) -> bool {
        true
    }
}

#[test]
fn f12_f19_a_page_looked_up_before_an_invalidation_is_not_mapped() {
    let host: &'static TestHost = Box::leak(Box::new(host_with(16 * MIB)));
    let vm: &'static TestVm<'static> = Box::leak(Box::new(normal(host, CpuFacts::default())));
    let gfn = Gfn::new(BASE / PAGE_SIZE);
    let hook: Box<dyn FnOnce() + Send> = Box::new(move || drop(vm.invalidate(gfn, 1, Reach::All)));
    let file = Kind::File(Box::new(Hooked(Mutex::new(vec![hook]))));
    add(vm, BASE, 4 * PAGE_SIZE, file, AreaFlags::empty());
    handle(vm, &translation(BASE, false)).unwrap();
    assert_eq!(leaf(vm, BASE), None, "the lookup was stale");
    assert_eq!(vm.counters().retried.get(), 1);
    // F27: the reference of the lookup is gone.
    assert_eq!(host.pages().references(pfn(vm, BASE)), 1);
    assert_eq!(once(vm, BASE, Access::Read), Ok(0));
}

#[test]
fn f17_f19_logging_that_starts_during_a_fault_misses_nothing() {
    let host: &'static TestHost = Box::leak(Box::new(host_with(16 * MIB)));
    let vm: &'static TestVm<'static> = Box::leak(Box::new(normal(host, CpuFacts::default())));
    let hook: Box<dyn FnOnce() + Send> = Box::new(move || vm.start_logging(&slot(vm, BASE)));
    let file = Kind::File(Box::new(Hooked(Mutex::new(vec![hook]))));
    add(vm, BASE, 4 * PAGE_SIZE, file, AreaFlags::empty());
    handle(vm, &translation(BASE, false)).unwrap();
    assert_eq!(leaf(vm, BASE), None, "decided before logging");
    once(vm, BASE, Access::Read).unwrap();
    assert!(!leaf(vm, BASE).unwrap().writable());
    assert!(vm.take_dirty(&slot(vm, BASE)).is_empty());
}

#[test]
fn f13_a_missing_page_is_filled_by_the_backing() {
    let host = host_with(16 * MIB);
    let vm = normal(&host, CpuFacts::default());
    let file = Kind::File(Box::new(Hooked(Mutex::default())));
    add(&vm, BASE, 16 * PAGE_SIZE, file, AreaFlags::empty());
    assert_eq!(once(&vm, BASE + 5 * PAGE_SIZE, Access::Read), Ok(5));
    assert_eq!(once(&vm, BASE + 5 * PAGE_SIZE + 8, Access::Read), Ok(0));
}

#[test]
fn f13_a_new_page_never_shows_what_somebody_left_there() {
    let host = host_with(8 * MIB);
    let all: Vec<Pfn> =
        core::iter::from_fn(|| host.pages().allocate(PageUse::Host, Wish::Any)).collect();
    for pfn in &all {
        host.machine().set_word(pfn.address() + 8, 0xDEAD);
        host.pages().put(*pfn);
    }
    // A block, a page, and a page that was on its way to the Realm world and came back.
    let vm = with_memory(&host, 2 * MIB);
    assert_eq!(once(&vm, BASE + 8, Access::Read), Ok(0));
    let pages = with_pages(&host, 64 * PAGE_SIZE);
    let mut word = [1; 8];
    pages
        .read(Ipa::new(BASE + PAGE_SIZE + 8), &mut word)
        .unwrap();
    assert_eq!(word, [0; 8]);
    let object = host.new_object(Kind::Anonymous(None), Wish::Any);
    let (allocator, machine) = (host.pages(), host.machine());
    let stale = object.page(3, Fill::Unneeded, allocator, machine).unwrap();
    assert_eq!(machine.word(stale.page.pfn().address() + 8), 0xDEAD);
    object.page(3, Fill::Contents, allocator, machine).unwrap();
    assert_eq!(machine.word(stale.page.pfn().address() + 8), 0);
}

#[test]
fn f13_a_registered_area_reports_the_missing_page_instead() {
    let host = host_with(16 * MIB);
    let vm = with_pages(&host, 64 * PAGE_SIZE);
    let ipa = BASE + PAGE_SIZE;
    let start = hva(&vm, ipa);
    let area = vm
        .space()
        .remove(start, start.offset(64 * PAGE_SIZE))
        .unwrap()
        .remove(0);
    let registered = Area {
        user_faults: Some(42),
        ..area
    };
    let object = registered.object.clone();
    vm.space().insert(registered).unwrap();
    handle(&vm, &translation(ipa, true)).unwrap();
    let notices = host.machine().notices.lock().unwrap().clone();
    assert_eq!(notices, [Notice::Missing(42, start)]);
    assert_eq!(leaf(&vm, ipa), None);
    // The VMM fills it; then it is mapped.
    object
        .page(0, Fill::Contents, host.pages(), host.machine())
        .unwrap();
    once(&vm, ipa, Access::Write(1)).unwrap();
}

#[test]
fn f14_a_poisoned_page_is_reported_and_the_guest_goes_on() {
    let host = host_with(16 * MIB);
    let vm = with_pages(&host, 64 * PAGE_SIZE);
    let ipa = BASE + 3 * PAGE_SIZE;
    once(&vm, ipa, Access::Read).unwrap();
    host.pages().poison(pfn(&vm, ipa));
    drop(vm.invalidate(vm.gfn(Ipa::new(ipa)), 1, Reach::All));
    handle(&vm, &translation(ipa, false)).unwrap();
    assert_eq!(leaf(&vm, ipa), None);
    let notices = host.machine().notices.lock().unwrap().clone();
    assert_eq!(notices, [Notice::Failure(hva(&vm, ipa), Granularity::Page)]);
}

#[test]
fn f14_a_block_with_a_poisoned_page_is_split_by_the_next_permission_fault() {
    let host = host_with(16 * MIB);
    let vm = with_memory(&host, 4 * MIB);
    once(&vm, BASE, Access::Write(4)).unwrap();
    host.pages().poison(pfn(&vm, BASE + 9 * PAGE_SIZE));
    once(&vm, BASE + PAGE_SIZE, Access::Fetch).unwrap();
    assert_eq!(leaf(&vm, BASE + PAGE_SIZE).unwrap().level, 3);
    assert_eq!(once(&vm, BASE, Access::Read), Ok(4));
    handle(&vm, &translation(BASE + 9 * PAGE_SIZE, false)).unwrap();
    assert_eq!(leaf(&vm, BASE + 9 * PAGE_SIZE), None);
}

#[test]
fn f15_refused_access_is_a_bad_address() {
    let host = host_with(16 * MIB);
    let vm = with_memory(&host, 4 * MIB);
    let start = hva(&vm, BASE);
    let end = start.offset(PAGE_SIZE);
    vm.space().protect(start, end, Protection::READ).unwrap();
    let write = handle(&vm, &translation(BASE, true));
    assert_eq!(write, Err(FaultError::BadAddress(start)));
    once(&vm, BASE, Access::Read).unwrap();
    assert!(!leaf(&vm, BASE).unwrap().writable());
    vm.space().protect(start, end, Protection::empty()).unwrap();
    drop(vm.invalidate(vm.gfn(Ipa::new(BASE)), 1, Reach::All));
    let read = handle(&vm, &translation(BASE, false));
    assert_eq!(read, Err(FaultError::BadAddress(start)));
}

#[test]
fn f16_a_device_page_is_logged_with_its_full_address() {
    let host = host_with(16 * MIB);
    let (vm, _rec) = running(&host, 4 * MIB);
    let first = Pfn::containing(DEVICE);
    vm.add_device(Ipa::new(DEVICE), PAGE_SIZE, first).unwrap();
    let access = Fault {
        low_bits: 0x123,
        ..translation(DEVICE | 1 << 39, true)
    };
    handle(&vm, &access).unwrap();
    assert_eq!(
        vm.counters().last_device.load(Ordering::Relaxed),
        DEVICE + 0x123
    );
    assert_eq!(vm.counters().devices.get(), 1);
}

#[test]
fn f17_logged_read_maps_read_only() {
    let host = host_with(16 * MIB);
    let vm = with_memory(&host, 4 * MIB);
    vm.start_logging(&slot(&vm, BASE));
    once(&vm, BASE, Access::Read).unwrap();
    assert!(!leaf(&vm, BASE).unwrap().writable());
    assert!(vm.take_dirty(&slot(&vm, BASE)).is_empty());
    once(&vm, BASE, Access::Write(5)).unwrap();
    assert!(leaf(&vm, BASE).unwrap().writable());
    assert_eq!(
        vm.take_dirty(&slot(&vm, BASE)),
        [Gfn::new(BASE / PAGE_SIZE)]
    );
    assert!(
        !leaf(&vm, BASE).unwrap().writable(),
        "the next write is logged again"
    );
}

#[test]
fn f18_fetching_from_a_device_is_refused() {
    let host = host_with(16 * MIB);
    let vm = with_memory(&host, 4 * MIB);
    vm.add_device(Ipa::new(DEVICE), PAGE_SIZE, Pfn::containing(DEVICE))
        .unwrap();
    assert_eq!(
        once(&vm, DEVICE, Access::Fetch),
        Err(FaultError::NotExecutable)
    );
    once(&vm, DEVICE, Access::Read).unwrap();
    // Mapped now, but not executable: the permission fault ends the same way.
    assert_eq!(
        once(&vm, DEVICE, Access::Fetch),
        Err(FaultError::NotExecutable)
    );
    assert!(!leaf(&vm, DEVICE).unwrap().executable());
}

#[test]
fn f20_pages_grow_to_a_block_when_backing_and_slot_allow() {
    let host = host_with(32 * MIB);
    let vm = with_memory(&host, 6 * MIB);
    once(&vm, BASE + 0x7000, Access::Write(1)).unwrap();
    assert_eq!(leaf(&vm, BASE).unwrap().level, 2);
    // Not when a page of the range comes from elsewhere.
    let area = vm.space().find(hva(&vm, BASE + 2 * BLOCK_2M)).unwrap();
    let object = &area.object;
    object
        .page(1024, Fill::Contents, host.pages(), host.machine())
        .unwrap();
    object.discard(1024, host.pages());
    once(&vm, BASE + 2 * BLOCK_2M, Access::Read).unwrap();
    assert_eq!(leaf(&vm, BASE + 2 * BLOCK_2M).unwrap().level, 3);
    // Not when the slot is not congruent.
    let crooked = with_pages(&host, 4 * MIB);
    once(&crooked, BASE + BLOCK_2M, Access::Read).unwrap();
    assert_eq!(leaf(&crooked, BASE + BLOCK_2M).unwrap().level, 3);
}

#[test]
fn f20_a_permission_fault_on_a_block_keeps_its_size() {
    let host = host_with(16 * MIB);
    let vm = with_memory(&host, 4 * MIB);
    once(&vm, BASE, Access::Write(1)).unwrap();
    let before = leaf(&vm, BASE).unwrap();
    assert!(!before.executable());
    once(&vm, BASE + 0x9000, Access::Fetch).unwrap();
    let after = leaf(&vm, BASE).unwrap();
    assert_eq!((after.level, after.output()), (2, before.output()));
    assert!(after.executable() && after.writable());
    assert_eq!(vm.stage2().unwrap().counters().relaxed.get(), 1);
}

#[test]
fn f21_tags_are_cleared_once_where_the_area_allows_them() {
    let host = host_with(16 * MIB);
    let mte = CpuFacts {
        mte: true,
        ..CpuFacts::default()
    };
    let vm = normal(&host, mte);
    add(
        &vm,
        BASE + PAGE_SIZE,
        8 * PAGE_SIZE,
        Kind::Anonymous(None),
        AreaFlags::MTE_ALLOWED,
    );
    add(
        &vm,
        BASE + MIB,
        8 * PAGE_SIZE,
        Kind::Anonymous(None),
        AreaFlags::empty(),
    );
    once(&vm, BASE + PAGE_SIZE, Access::Read).unwrap();
    drop(vm.invalidate(vm.gfn(Ipa::new(BASE + PAGE_SIZE)), 1, Reach::All));
    once(&vm, BASE + PAGE_SIZE, Access::Write(1)).unwrap();
    let page = pfn(&vm, BASE + PAGE_SIZE);
    assert_eq!(*host.machine().tags.lock().unwrap(), [page]);
    let refused = handle(&vm, &translation(BASE + MIB, true));
    assert_eq!(refused, Err(FaultError::BadAddress(hva(&vm, BASE + MIB))));
    // A device has no tags to clear.
    vm.add_device(Ipa::new(DEVICE), PAGE_SIZE, Pfn::containing(DEVICE))
        .unwrap();
    once(&vm, DEVICE, Access::Read).unwrap();
    assert_eq!(host.machine().tags.lock().unwrap().len(), 1);
}

#[test]
fn f21_a_block_has_the_tags_of_every_page_cleared() {
    let host = host_with(16 * MIB);
    let mte = CpuFacts {
        mte: true,
        ..CpuFacts::default()
    };
    let vm = normal(&host, mte);
    add(
        &vm,
        BASE,
        2 * MIB,
        Kind::Anonymous(None),
        AreaFlags::MTE_ALLOWED,
    );
    once(&vm, BASE, Access::Read).unwrap();
    assert_eq!(leaf(&vm, BASE).unwrap().level, 2);
    assert_eq!(host.machine().tags.lock().unwrap().len(), 512);
}

#[test]
fn f22_permissions_follow_the_access_and_the_cache() {
    let host = host_with(16 * MIB);
    let vm = with_pages(&host, 64 * PAGE_SIZE);
    let at = |page: u64| BASE + page * PAGE_SIZE;
    once(&vm, at(1), Access::Read).unwrap();
    once(&vm, at(2), Access::Fetch).unwrap();
    let (read, fetched) = (leaf(&vm, at(1)).unwrap(), leaf(&vm, at(2)).unwrap());
    assert!(read.writable() && !read.executable());
    assert!(fetched.writable() && fetched.executable());
    let dic = CpuFacts {
        dic: true,
        ..CpuFacts::default()
    };
    let host = host_with(16 * MIB);
    let other = normal(&host, dic);
    add(
        &other,
        at(1),
        64 * PAGE_SIZE,
        Kind::Anonymous(None),
        AreaFlags::empty(),
    );
    once(&other, at(1), Access::Read).unwrap();
    assert!(leaf(&other, at(1)).unwrap().executable());
}

#[test]
fn f23_equal_size_only_adds_permissions() {
    let host = host_with(16 * MIB);
    let vm = with_pages(&host, 64 * PAGE_SIZE);
    let ipa = BASE + PAGE_SIZE;
    once(&vm, ipa, Access::Read).unwrap();
    let stage2 = vm.stage2().unwrap();
    let (tables, installed) = (
        stage2.counters().tables.get(),
        stage2.counters().installed.get(),
    );
    once(&vm, ipa, Access::Fetch).unwrap();
    assert_eq!(stage2.counters().relaxed.get(), 1);
    assert_eq!(stage2.counters().tables.get(), tables);
    assert_eq!(stage2.counters().installed.get(), installed);
}

#[test]
fn f24_f25_each_kind_of_guest_is_mapped_by_its_owner() {
    let host = host_with(32 * MIB);
    let (realm, _rec) = running(&host, 4 * MIB);
    let normal = with_memory(&host, 4 * MIB);
    let calls = host.machine().total_calls();
    once(&normal, BASE, Access::Write(1)).unwrap();
    assert_eq!(
        host.machine().total_calls(),
        calls,
        "no call for a normal VM"
    );
    handle(&realm, &translation(BASE, true)).unwrap();
    assert!(host.machine().total_calls() > calls);
}

#[test]
fn f26_a_writable_mapping_makes_the_page_dirty() {
    let host = host_with(16 * MIB);
    let vm = with_pages(&host, 64 * PAGE_SIZE);
    let at = |page: u64| BASE + page * PAGE_SIZE;
    vm.start_logging(&slot(&vm, at(1)));
    once(&vm, at(1), Access::Read).unwrap();
    once(&vm, at(2), Access::Write(1)).unwrap();
    let dirty = |ipa| host.pages().flags(pfn(&vm, ipa)).contains(PageFlags::DIRTY);
    assert!(!dirty(at(1)) && dirty(at(2)));
    assert_eq!(vm.take_dirty(&slot(&vm, at(1))), [vm.gfn(Ipa::new(at(2)))]);
    assert_eq!(vm.counters().logged.get(), 1);
}

#[test]
fn f27_every_path_drops_its_reference_and_marks_the_page_used() {
    let host = host_with(16 * MIB);
    let vm = with_pages(&host, 64 * PAGE_SIZE);
    let ipa = BASE + PAGE_SIZE;
    for access in [Access::Read, Access::Write(3), Access::Fetch, Access::Read] {
        once(&vm, ipa, access).unwrap();
        assert_eq!(host.pages().references(pfn(&vm, ipa)), 1);
    }
    assert!(
        host.pages()
            .flags(pfn(&vm, ipa))
            .contains(PageFlags::ACCESSED)
    );
}

#[test]
fn f28_a_lost_race_lets_the_guest_retry() {
    let host = host_with(16 * MIB);
    let vm = with_pages(&host, 64 * PAGE_SIZE);
    // A permission fault whose mapping has gone meanwhile.
    let stale = fault(BASE + PAGE_SIZE, FaultClass::Permission, true, false, 3);
    handle(&vm, &stale).unwrap();
    assert_eq!(leaf(&vm, BASE + PAGE_SIZE), None);
    assert_eq!(vm.counters().retried.get(), 1);
}

#[test]
fn m3_device_pages_are_device_memory_and_never_dirty() {
    let host = host_with(16 * MIB);
    let vm = normal(
        &host,
        CpuFacts {
            dic: true,
            ..CpuFacts::default()
        },
    );
    vm.add_device(Ipa::new(DEVICE), PAGE_SIZE, Pfn::containing(DEVICE))
        .unwrap();
    vm.start_logging(&slot(&vm, DEVICE));
    once(&vm, DEVICE, Access::Write(1)).unwrap();
    let device = leaf(&vm, DEVICE).unwrap();
    assert_eq!(device.raw >> 2 & 0xF, 0b0001);
    assert!(device.writable() && !device.executable());
    assert!(vm.take_dirty(&slot(&vm, DEVICE)).is_empty());
}

#[test]
fn v4_raw_ranges_are_mapped_by_the_largest_congruent_block() {
    let host = host_with(16 * MIB);
    let vm = normal(&host, CpuFacts::default());
    for (index, first, level) in [(0_u64, 0x10_0020_0000_u64, 2), (1, 0x10_0000_1000, 3)] {
        let base = 0x20_0000_0000 + index * BLOCK_1G;
        let raw = Kind::Raw(Pfn::containing(first));
        add(&vm, base, 8 * MIB, raw, AreaFlags::PFNMAP);
        once(&vm, base + BLOCK_2M + 0x3000, Access::Read).unwrap();
        let found = leaf(&vm, base + BLOCK_2M + 0x3000).unwrap();
        assert_eq!(found.level, level);
    }
}

#[test]
fn w7_caches_are_maintained_unless_the_cpu_needs_none() {
    for (fwb, dic) in [(false, false), (true, false), (false, true), (true, true)] {
        let host = host_with(16 * MIB);
        let vm = normal(
            &host,
            CpuFacts {
                fwb,
                dic,
                mte: false,
            },
        );
        add(
            &vm,
            BASE + PAGE_SIZE,
            64 * PAGE_SIZE,
            Kind::Anonymous(None),
            AreaFlags::empty(),
        );
        once(&vm, BASE + PAGE_SIZE, Access::Fetch).unwrap();
        let page = pfn(&vm, BASE + PAGE_SIZE).raw();
        let machine = host.machine();
        assert_eq!(machine.cleaned.lock().unwrap().contains(&page), !fwb);
        assert_eq!(machine.synced.lock().unwrap().contains(&page), !dic);
        machine.cleaned.lock().unwrap().clear();
        drop(vm.invalidate(vm.gfn(Ipa::new(BASE + PAGE_SIZE)), 1, Reach::All));
        assert_eq!(
            machine.cleaned.lock().unwrap().contains(&page),
            !fwb,
            "on unmap"
        );
    }
}

#[test]
fn w7_making_a_page_executable_maintains_the_instruction_cache() {
    let host = host_with(16 * MIB);
    let vm = with_pages(&host, 64 * PAGE_SIZE);
    once(&vm, BASE + PAGE_SIZE, Access::Write(1)).unwrap();
    let page = pfn(&vm, BASE + PAGE_SIZE).raw();
    assert!(!host.machine().synced.lock().unwrap().contains(&page));
    once(&vm, BASE + PAGE_SIZE, Access::Fetch).unwrap();
    assert!(host.machine().synced.lock().unwrap().contains(&page));
}

#[test]
fn access_flag_faults_only_mark_the_page_used() {
    let host = host_with(16 * MIB);
    let vm = with_pages(&host, 64 * PAGE_SIZE);
    let ipa = BASE + PAGE_SIZE;
    once(&vm, ipa, Access::Write(9)).unwrap();
    let range = BASE..BASE + MIB;
    let stage2 = vm.stage2().unwrap();
    assert_eq!(stage2.test_and_clear_young(range.clone()), 1);
    assert_eq!(stage2.test_and_clear_young(range.clone()), 0);
    let fault = try_access(&vm, ipa, Access::Read).unwrap_err();
    assert_eq!(fault.class, FaultClass::AccessFlag);
    assert_eq!(once(&vm, ipa, Access::Read), Ok(9));
    assert_eq!(stage2.test_and_clear_young(range), 1);
}

#[test]
fn a_write_to_a_read_only_slot_is_the_vmms() {
    let host = host_with(16 * MIB);
    let vm = normal(&host, CpuFacts::default());
    let object = host.new_object(Kind::Anonymous(None), Wish::Any);
    let (base, flags) = (Ipa::new(BASE), AreaFlags::empty());
    vm.add_object(base, 4 * MIB, object, flags, SlotAccess::ReadOnly)
        .unwrap();
    assert_eq!(
        once(&vm, BASE, Access::Write(1)),
        Err(FaultError::NotMemory)
    );
    once(&vm, BASE, Access::Read).unwrap();
    assert!(!leaf(&vm, BASE).unwrap().writable());
}

#[test]
fn syndromes_are_decoded_as_the_architecture_defines() {
    let data = |iss: u64| Fault::from_syndrome(0x24 << 26 | iss, 0xFFFF_0000_1234_5678, 0x80_0000);
    let write = data(1 << 6 | 0b00_0111).unwrap();
    assert_eq!(write.ipa.raw(), 0x8000_0000);
    assert_eq!((write.low_bits, write.level), (0x678, 3));
    assert!(write.write && !write.fetch && write.class == FaultClass::Translation);
    let permission = data(0b00_1110).unwrap();
    assert_eq!(
        (permission.class, permission.level),
        (FaultClass::Permission, 2)
    );
    let walk = data(1 << 7 | 0b00_1111).unwrap();
    assert!(walk.write, "a walk that updates a descriptor");
    assert!(!data(1 << 7 | 1 << 6 | 0b00_0111).unwrap().write);
    assert_eq!(data(0b00_1011).unwrap().class, FaultClass::AccessFlag);
    assert_eq!(data(0b10_1011).unwrap().level, -1);
    assert_eq!(data(0b01_0000), None, "an external abort");
    let fetch = Fault::from_syndrome(0x20 << 26 | 0b00_0101, 0, 0x10).unwrap();
    assert!(fetch.fetch && !fetch.write && fetch.level == 1);
    assert_eq!(fetch.ipa.raw(), 0x1000);
    assert_eq!(Fault::from_syndrome(0x16 << 26, 0, 0), None);
}
