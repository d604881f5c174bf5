// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! R1 to R6: pages come in.

use super::*;

#[test]
fn r1_a_read_only_mapping_is_refused_before_any_call() {
    let host = host_with(16 * MIB);
    let realm = new_realm(&host);
    let before = host.machine().total_calls();
    let mut cache = MemCache::new(host.pages(), Wish::Delegable);
    let pfn = page_of(&host);
    let ipa = Ipa::new(BASE);
    let result = realm.map(ipa, pfn, PAGE_SIZE, Permissions::READ, false, &mut cache);
    assert_eq!(result, Err(RealmError::ReadOnly));
    assert_eq!(host.machine().total_calls(), before);
}

#[test]
fn r2_a_page_is_delegated_and_then_created() {
    let host = host_with(16 * MIB);
    let (vm, rec) = running(&host, 4 * MIB);
    touch(&vm, BASE + 0x5000).unwrap();
    let pa = translate(&vm, BASE + 0x5000).unwrap();
    let rmm = host.machine().rmm.lock().unwrap();
    assert_eq!(rmm.granules.get(&pa), Some(&State::Data));
    drop(rmm);
    assert_eq!(host.pages().used_for(Pfn::containing(pa)), PageUse::Data);
    assert_eq!(translate(&vm, BASE + 0x6000), None);
    assert_eq!(vm.counters().mapped.get(), 1);
    finish(&vm, &rec);
}

#[test]
fn r2_a_failure_after_the_delegate_undelegates() {
    let host = host_with(16 * MIB);
    let realm = new_realm(&host);
    let mut cache = MemCache::new(host.pages(), Wish::Delegable);
    let pfn = page_of(&host);
    // No table and an empty cache: the page cannot be mapped.
    let ipa = Ipa::new(BASE);
    let result = realm.map(ipa, pfn, PAGE_SIZE, RW, false, &mut cache);
    assert_eq!(result, Err(RealmError::OutOfMemory));
    assert!(!host.pages().flags(pfn).contains(PageFlags::DELEGATED));
    let rmm = host.machine().rmm.lock().unwrap();
    assert_eq!(rmm.granules.get(&pfn.address()), None);
}

#[test]
fn r2_a_page_that_cannot_be_undelegated_is_leaked_and_counted() {
    let host = host_with(16 * MIB);
    let (vm, rec) = running(&host, 4 * MIB);
    touch(&vm, BASE).unwrap();
    let pa = translate(&vm, BASE).unwrap();
    host.machine().rmm.lock().unwrap().stuck.insert(pa);
    finish(&vm, &rec);
    let stats = host.pages().stats();
    assert_eq!((stats.leaked, stats.delegated), (1, 1));
    assert_eq!(host.returns().leaked.get(), 1);
    while let Some(pfn) = host.pages().allocate(PageUse::Host, Wish::Any) {
        assert_ne!(pfn.address(), pa, "a leaked page was reused");
    }
}

#[test]
fn r2_a_page_the_rmm_refuses_is_replaced() {
    let host = host_with(16 * MIB);
    let (vm, rec) = running(&host, 4 * MIB);
    touch(&vm, BASE).unwrap();
    let next = translate(&vm, BASE).unwrap() + PAGE_SIZE;
    host.machine().rmm.lock().unwrap().refused.insert(next);
    touch(&vm, BASE + PAGE_SIZE).unwrap();
    assert_eq!(translate(&vm, BASE + PAGE_SIZE), None, "the guest retries");
    touch(&vm, BASE + PAGE_SIZE).unwrap();
    let pa = translate(&vm, BASE + PAGE_SIZE).unwrap();
    assert_ne!(pa, next);
    finish(&vm, &rec);
}

#[test]
fn r3_unprotected_pages_are_mapped_with_type_and_access() {
    let host = host_with(16 * MIB);
    let (vm, rec) = running(&host, 4 * MIB);
    vm.add_device(
        Ipa::new(0x0901_0000),
        PAGE_SIZE,
        Pfn::containing(0x0901_0000),
    )
    .unwrap();
    touch(&vm, shared(BASE)).unwrap();
    touch(&vm, shared(0x0901_0000)).unwrap();
    let rd = vm.realm().unwrap().rd().address();
    let entry = |ipa| host.machine().rmm.lock().unwrap().entry(rd, ipa).1;
    let Entry::AssignedNs(memory) = entry(shared(BASE)) else {
        panic!("not mapped");
    };
    // MemAttr 0b110 is normal write-back, 0b001 device nGnRE; S2AP 0b11 is read and write.
    assert_eq!(memory & 0xFFF, 0b11 << 6 | 0b110 << 2);
    let Entry::AssignedNs(device) = entry(shared(0x0901_0000)) else {
        panic!("not mapped");
    };
    assert_eq!(device, 0x0901_0000 | 0b11 << 6 | 0b001 << 2);
    // What the guest writes there the host can read.
    host.machine().set_word(memory & !0xFFF, 0x1122_3344);
    let mut bytes = [0; 4];
    vm.read(Ipa::new(BASE), &mut bytes).unwrap();
    assert_eq!(u32::from_le_bytes(bytes), 0x1122_3344);
    finish(&vm, &rec);
}

#[test]
fn r4_missing_tables_are_created_from_the_memcache() {
    let host = host_with(16 * MIB);
    let realm = new_realm(&host);
    let mut cache = MemCache::new(host.pages(), Wish::Delegable);
    assert!(cache.fill(4));
    let pfn = page_of(&host);
    let ipa = Ipa::new(BASE);
    realm
        .map(ipa, pfn, PAGE_SIZE, RW, false, &mut cache)
        .unwrap();
    // 40 bits start at level 1: a level 2 and a level 3 table.
    assert_eq!(cache.len(), 2);
    assert_eq!(realm.counters().tables.get(), 2);
    let pfn = page_of(&host);
    let next = Ipa::new(BASE + PAGE_SIZE);
    realm
        .map(next, pfn, PAGE_SIZE, RW, false, &mut cache)
        .unwrap();
    assert_eq!(cache.len(), 2, "the tables are there now");
}

#[test]
fn r4_a_table_created_by_another_cpu_is_success_and_the_spare_page_comes_back() {
    let host = host_with(16 * MIB);
    let realm = new_realm(&host);
    let rd = realm.rd().address();
    let other = host
        .pages()
        .allocate(PageUse::Rtt, Wish::Delegable)
        .unwrap()
        .address();
    let mut raced = false;
    host.machine().set_hook(move |machine, registers| {
        if let Some(Command::RttCreate { ipa, level, .. }) = Command::decode(registers)
            && !raced
        {
            raced = true;
            machine.raw_call(Command::GranuleDelegate { addr: other }.encode());
            let call = Command::RttCreate {
                rd,
                rtt: other,
                ipa,
                level,
            };
            assert_eq!(machine.raw_call(call.encode())[0], 0);
        }
    });
    let mut cache = MemCache::new(host.pages(), Wish::Delegable);
    assert!(cache.fill(2));
    let pfn = page_of(&host);
    realm
        .map(Ipa::new(BASE), pfn, PAGE_SIZE, RW, false, &mut cache)
        .unwrap();
    assert_eq!(realm.counters().table_races.get(), 1);
    assert_eq!(cache.len(), 1, "one page used, one given back");
    let spare = cache.take().unwrap();
    assert!(!host.pages().flags(spare).contains(PageFlags::DELEGATED));
}

#[test]
fn r5_a_complete_contiguous_range_is_folded_and_its_table_returned() {
    let host = host_with(16 * MIB);
    let (vm, rec) = running(&host, 4 * MIB);
    let tables = host.pages().usage(PageUse::Rtt).now();
    // Backwards, so that the order of faults does not matter.
    for page in (0..512).rev() {
        touch(&vm, BASE + page * PAGE_SIZE).unwrap();
    }
    let realm = vm.realm().unwrap();
    let rd = realm.rd().address();
    let (level, _) = host.machine().rmm.lock().unwrap().entry(rd, BASE);
    assert_eq!(level, 2);
    let sizes = MappingSizes {
        pages: 0,
        blocks_2m: 1,
        blocks_1g: 0,
    };
    assert_eq!(realm.mapping_sizes(), sizes);
    assert_eq!(realm.counters().folds.get(), 1);
    assert_eq!(
        host.pages().usage(PageUse::Rtt).now(),
        tables,
        "the table came back"
    );
    finish(&vm, &rec);
    assert_eq!(host.pages().stats().delegated, 0);
}

#[test]
fn r5_unprotected_ranges_are_folded_too_and_unfolded_when_partly_unmapped() {
    let host = host_with(16 * MIB);
    let (vm, rec) = running(&host, 4 * MIB);
    for page in 0..512 {
        touch(&vm, shared(BASE + page * PAGE_SIZE)).unwrap();
    }
    let realm = vm.realm().unwrap();
    let rd = realm.rd().address();
    let level = |ipa| host.machine().rmm.lock().unwrap().entry(rd, ipa).0;
    assert_eq!(level(shared(BASE)), 2);
    // A late fault of another REC finds it mapped and does not unfold it.
    touch(&vm, shared(BASE + 5 * PAGE_SIZE)).unwrap();
    assert_eq!(level(shared(BASE)), 2);
    vm.reclaim(Gfn::new(BASE / PAGE_SIZE), 4, Reach::Shared);
    assert_eq!(translate(&vm, shared(BASE)), None);
    assert!(translate(&vm, shared(BASE + 4 * PAGE_SIZE)).is_some());
    finish(&vm, &rec);
    assert_eq!(host.pages().stats().delegated, 0);
}

#[test]
fn r5_a_gibibyte_of_folded_ranges_is_folded_again() {
    let host = host_with(2 * BLOCK_1G);
    // Leave 2 MiB for tables and a whole aligned 1 GiB for the guest.
    let hole = PhysRange::new(DRAM + BLOCK_2M, BLOCK_1G - BLOCK_2M);
    host.pages().reserve(hole);
    let (vm, rec) = running(&host, BLOCK_1G);
    let mut vcpu = vm.new_vcpu();
    for page in 0..BLOCK_1G / PAGE_SIZE {
        vm.handle_fault(&mut vcpu, &fault_at(BASE + page * PAGE_SIZE))
            .unwrap();
    }
    drop(vcpu);
    let sizes = MappingSizes {
        pages: 0,
        blocks_2m: 0,
        blocks_1g: 1,
    };
    assert_eq!(vm.realm().unwrap().mapping_sizes(), sizes);
    assert_eq!(
        translate(&vm, BASE + 0x1234_5000),
        Some(DRAM + BLOCK_1G + 0x1234_5000)
    );
    finish(&vm, &rec);
    assert_eq!(host.pages().stats().delegated, 0);
}

#[test]
fn r6_already_mapped_by_a_parallel_fault_is_success() {
    let host = host_with(16 * MIB);
    let (vm, rec) = running(&host, 4 * MIB);
    touch(&vm, BASE).unwrap();
    let pa = translate(&vm, BASE);
    // The same page again: claimed already.
    touch(&vm, BASE).unwrap();
    assert_eq!(translate(&vm, BASE), pa);
    let realm = vm.realm().unwrap();
    assert_eq!(realm.counters().page_races.get(), 1);
    // Another page at the same address: the RMM says that the entry is taken.
    let pfn = page_of(&host);
    let mut cache = MemCache::new(host.pages(), Wish::Delegable);
    realm
        .map(Ipa::new(BASE), pfn, PAGE_SIZE, RW, false, &mut cache)
        .unwrap();
    assert!(!host.pages().flags(pfn).contains(PageFlags::DELEGATED));
    assert_eq!(translate(&vm, BASE), pa);
    host.pages().put(pfn);
    finish(&vm, &rec);
}
