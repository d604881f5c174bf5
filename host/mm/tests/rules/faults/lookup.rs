// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Rules F1 to F15: what the guest did, and the page it gets; F19 where a lookup is stale.

use super::*;

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
