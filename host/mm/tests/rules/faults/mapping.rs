// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Rules F17 to F28: how the page is mapped, and what the host remembers of it.

use super::*;

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

/// A CPU with allocation tags.
fn with_tags() -> CpuFacts {
    CpuFacts {
        mte: true,
        ..CpuFacts::default()
    }
}

/// Leaves a tag in each of the first 16 MiB of pages, as somebody who had them before.
fn leave_tags(machine: &FakeMachine) {
    for address in (DRAM..DRAM + 16 * MIB).step_by(0x1000) {
        machine.set_tag(address + 0x20, 9);
    }
}

#[test]
fn f21_tags_are_cleared_once_where_the_area_allows_them() {
    let host = host_with(16 * MIB);
    let vm = normal(&host, with_tags());
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

/// Tags that somebody left are gone; those of the guest stay, wherever its page goes.
#[test]
fn f21_a_guest_finds_no_tags_but_its_own() {
    let host = host_with(16 * MIB);
    let make = || {
        let vm = normal(&host, with_tags());
        let anonymous = Kind::Anonymous(None);
        add(&vm, BASE, 16 * PAGE_SIZE, anonymous, AreaFlags::MTE_ALLOWED);
        vm
    };
    let machine = host.machine();
    leave_tags(machine);
    let (vm, copy) = (make(), make());
    let gfn = vm.gfn(Ipa::new(BASE));
    for round in 1..3 {
        once(&vm, BASE, Access::Write(1)).unwrap();
        let tag = |vm: &TestVm<'_>| machine.tag(pfn(vm, BASE).address() + 0x20);
        assert_eq!(tag(&vm), 0, "round {round}");
        machine.set_tag(pfn(&vm, BASE).address() + 0x20, 5);
        // Taken away and faulted in again; moved; copied to another VM.
        drop(vm.invalidate(gfn, 1, Reach::All));
        once(&vm, BASE, Access::Read).unwrap();
        assert_eq!(tag(&vm), 5);
        let before = pfn(&vm, BASE);
        assert_eq!(vm.migrate(gfn, 1), 1);
        once(&vm, BASE, Access::Read).unwrap();
        assert_ne!(pfn(&vm, BASE), before);
        assert_eq!(tag(&vm), 5);
        Copying::begin(&vm, &copy).unwrap().finish().unwrap();
        once(&copy, BASE, Access::Read).unwrap();
        assert_eq!(tag(&copy), 5);
        // A page that comes back from the allocator is another one.
        assert_eq!(vm.reclaim(gfn, 1, Reach::All), 1);
    }
}

/// A copy of a page that the guest has not had yet does not bring what somebody left there, not even
/// over a page that had the guest's own tags.
#[test]
fn f21_old_tags_do_not_come_with_a_copy() {
    let host = host_with(16 * MIB);
    let make = || {
        let vm = normal(&host, with_tags());
        vm.add_memory(Ipa::new(BASE), 16 * PAGE_SIZE).unwrap();
        vm
    };
    let machine = host.machine();
    leave_tags(machine);
    let (vm, copy) = (make(), make());
    let gfn = vm.gfn(Ipa::new(BASE));
    let tag = |vm: &TestVm<'_>| machine.tag(pfn(vm, BASE).address() + 0x20);
    once(&vm, BASE, Access::Write(1)).unwrap();
    machine.set_tag(pfn(&vm, BASE).address() + 0x20, 5);
    Copying::begin(&vm, &copy).unwrap().finish().unwrap();
    once(&copy, BASE, Access::Read).unwrap();
    assert_eq!(tag(&copy), 5);
    drop(copy.invalidate(gfn, 1, Reach::All));
    assert_eq!(vm.reclaim(gfn, 1, Reach::All), 1);
    vm.write(Ipa::new(BASE), &[1]).unwrap();
    Copying::begin(&vm, &copy).unwrap().finish().unwrap();
    once(&copy, BASE, Access::Read).unwrap();
    assert_eq!(tag(&copy), 0);
}

#[test]
fn f21_a_block_has_the_tags_of_every_page_cleared() {
    let host = host_with(16 * MIB);
    let vm = normal(&host, with_tags());
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

/// Permissions are added for all CPUs; one that has cached the old entry faults once more and sees
/// them.
#[test]
fn w5_a_cpu_with_the_old_entry_faults_once_more() {
    let host = host_with(16 * MIB);
    let vm = with_pages(&host, 64 * PAGE_SIZE);
    let ipa = BASE + PAGE_SIZE;
    once(&vm, ipa, Access::Read).unwrap();
    let fetch = || try_access(&vm, ipa, Access::Fetch);
    // Another CPU adds the permission and has it at once.
    let other = || {
        handle(&vm, &fetch().unwrap_err()).unwrap();
        fetch().unwrap();
    };
    thread::scope(|scope| scope.spawn(other).join().unwrap());
    let fault = fetch().unwrap_err();
    assert_eq!(fault.class, FaultClass::Permission);
    handle(&vm, &fault).unwrap();
    fetch().unwrap();
    let stage2 = vm.stage2().unwrap();
    assert_eq!(stage2.counters().relaxed.get(), 2);
    assert_eq!(vm.counters().retried.get(), 0);
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
