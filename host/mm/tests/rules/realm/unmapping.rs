// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! R7 to R9: pages go, and a Realm with them; RIPAS; population.

use super::*;

#[test]
fn r7_holes_are_skipped_in_one_step() {
    let host = host_with(16 * MIB);
    let (vm, rec) = running(&host, 4 * MIB);
    touch(&vm, BASE).unwrap();
    touch(&vm, BASE + 3 * MIB).unwrap();
    let before = host.machine().count(CommandId::DataDestroy);
    let mut vcpu = vm.new_vcpu();
    let realm = vm.realm().unwrap();
    let half = Ipa::new(1 << 39);
    let pages = realm
        .destroy_data(Ipa::new(0), half, &mut vcpu.cache)
        .unwrap();
    assert_eq!(pages, 2);
    let calls = host.machine().count(CommandId::DataDestroy) - before;
    assert!(calls < 12, "{calls} calls for two pages");
    assert_eq!(translate(&vm, BASE), None);
    finish(&vm, &rec);
}

#[test]
fn r7_a_partly_covered_block_is_unfolded_and_the_rest_stays() {
    let host = host_with(16 * MIB);
    let (vm, rec) = running(&host, 4 * MIB);
    for page in 0..512 {
        touch(&vm, BASE + page * PAGE_SIZE).unwrap();
    }
    let realm = vm.realm().unwrap();
    let mut vcpu = vm.new_vcpu();
    let (from, to) = (
        Ipa::new(BASE + 16 * PAGE_SIZE),
        Ipa::new(BASE + 24 * PAGE_SIZE),
    );
    assert_eq!(realm.destroy_data(from, to, &mut vcpu.cache), Ok(8));
    for page in 0..512 {
        let gone = (16..24).contains(&page);
        assert_eq!(
            translate(&vm, BASE + page * PAGE_SIZE).is_none(),
            gone,
            "page {page}"
        );
    }
    let sizes = MappingSizes {
        pages: 504,
        ..MappingSizes::default()
    };
    assert_eq!(realm.mapping_sizes(), sizes);
    assert_eq!(realm.counters().unfolds.get(), 1);
    finish(&vm, &rec);
}

#[test]
fn r7_unprotected_blocks_inside_the_range_go_whole_and_others_are_unfolded() {
    let host = host_with(16 * MIB);
    let realm = new_realm(&host);
    let mut cache = MemCache::new(host.pages(), Wish::Delegable);
    assert!(cache.fill(8));
    let at = |blocks: u64| Ipa::new(shared(BASE) + blocks * BLOCK_2M);
    for block in 0..2 {
        let pfn = Pfn::containing(DRAM + block * BLOCK_2M);
        realm
            .map(at(block), pfn, BLOCK_2M, RW, true, &mut cache)
            .unwrap();
    }
    let middle = Ipa::new(at(1).raw() + PAGE_SIZE);
    assert_eq!(realm.unmap_unprotected(at(0), middle, &mut cache), Ok(2));
    let rd = realm.rd().address();
    let mut rmm = host.machine().rmm.lock().unwrap();
    assert_eq!(rmm.translate(rd, at(0).raw()), None);
    assert_eq!(rmm.translate(rd, at(1).raw()), None);
    assert_eq!(
        rmm.translate(rd, middle.raw()),
        Some(DRAM + BLOCK_2M + PAGE_SIZE)
    );
}

#[test]
fn r8_teardown_returns_every_granule() {
    let host = host_with(32 * MIB);
    let free = host.pages().stats().free_delegable;
    let (vm, rec) = running(&host, 16 * MIB);
    for page in [0, 1, 7, 511, 512, 1000, 2047] {
        touch(&vm, BASE + page * PAGE_SIZE).unwrap();
        touch(&vm, shared(BASE + (page ^ 8) * PAGE_SIZE)).unwrap();
    }
    for page in 1024..1536 {
        touch(&vm, BASE + page * PAGE_SIZE).unwrap();
    }
    assert!(host.pages().stats().delegated > 520);
    finish(&vm, &rec);
    drop(vm);
    let stats = host.pages().stats();
    assert_eq!((stats.delegated, stats.leaked), (0, 0));
    assert_eq!(stats.free_delegable, free);
    assert!(host.machine().rmm.lock().unwrap().granules.is_empty());
    assert_eq!(host.returns().uneven.get(), 0);
    for used_for in [
        PageUse::Rd,
        PageUse::Rtt,
        PageUse::Rec,
        PageUse::RecAux,
        PageUse::Data,
    ] {
        assert_eq!(host.pages().usage(used_for).now(), 0, "{used_for:?}");
        assert!(host.pages().usage(used_for).peak() > 0, "{used_for:?}");
    }
}

#[test]
fn r8_realm_data_in_a_returned_page_is_noticed() {
    let host = host_with(16 * MIB);
    let secret: [u8; 32] = core::array::from_fn(|i| u8::try_from(i).unwrap() ^ 0x5A);
    host.set_secret(secret);
    let (vm, rec) = running(&host, 4 * MIB);
    for page in 0..3 {
        touch(&vm, BASE + page * PAGE_SIZE).unwrap();
    }
    // The guest writes its secret; an RMM with a bug does not wipe.
    let pa = translate(&vm, BASE + PAGE_SIZE).unwrap();
    for (i, word) in secret.chunks_exact(8).enumerate() {
        let word = u64::from_le_bytes(word.try_into().unwrap());
        host.machine()
            .set_word(pa + 0x100 + u64::try_from(i).unwrap() * 8, word);
    }
    host.machine().rmm.lock().unwrap().leaky = true;
    finish(&vm, &rec);
    assert_eq!(host.returns().tainted.get(), 1);
    assert_eq!(host.returns().uneven.get(), 1);
}

#[test]
fn r9_empty_gives_the_pages_back_and_ram_takes_the_alias_away() {
    let host = host_with(16 * MIB);
    let (vm, rec) = running(&host, 4 * MIB);
    for page in 0..512 {
        touch(&vm, BASE + page * PAGE_SIZE).unwrap();
    }
    let request = |from: u64, to: u64, ripas| {
        let mut rmm = host.machine().rmm.lock().unwrap();
        rmm.requests.insert(rec.rec.address(), (from, to, ripas));
    };
    let mut vcpu = vm.new_vcpu();
    let (from, to) = (BASE + 2 * PAGE_SIZE, BASE + 6 * PAGE_SIZE);
    assert_eq!(
        touch(&vm, shared(from)),
        Err(FaultError::StillPrivate(Gfn::new(from / PAGE_SIZE)))
    );
    request(from, to, 0);
    let (base, top) = (Ipa::new(from), Ipa::new(to));
    let reached = vm.change_ripas(&mut vcpu, rec.rec, base, top, Wanted::Empty);
    assert_eq!(reached, Ok(top));
    let rd = vm.realm().unwrap().rd().address();
    let entry = host.machine().rmm.lock().unwrap().entry(rd, from).1;
    assert!(matches!(entry, Entry::Unassigned(0)), "{entry:?}");
    // Now the alias can be mapped and both sides see the same memory.
    touch(&vm, shared(from)).unwrap();
    let pa = translate(&vm, shared(from)).unwrap();
    vm.write(Ipa::new(from), b"shared!!").unwrap();
    assert_eq!(host.machine().word(pa), u64::from_le_bytes(*b"shared!!"));
    // And back.
    request(from, to, RAM);
    let reached = vm.change_ripas(&mut vcpu, rec.rec, base, top, Wanted::Ram);
    assert_eq!(reached, Ok(top));
    assert_eq!(translate(&vm, shared(from)), None);
    touch(&vm, from).unwrap();
    assert_eq!(vm.write(Ipa::new(from), b"x"), Err(MemoryError::Private));
    let pa = translate(&vm, from).unwrap();
    assert_eq!(host.machine().word(pa), 0);
    finish(&vm, &rec);
    assert_eq!(host.pages().stats().delegated, 0);
}

#[test]
fn r9_tables_are_created_where_the_change_stops() {
    let host = host_with(16 * MIB);
    let (vm, rec) = running(&host, 4 * MIB);
    let far = BASE + 64 * MIB;
    let top = far + BLOCK_2M + 3 * PAGE_SIZE;
    let before = vm.realm().unwrap().counters().tables.get();
    host.machine()
        .rmm
        .lock()
        .unwrap()
        .requests
        .insert(rec.rec.address(), (far, top, RAM));
    let mut vcpu = vm.new_vcpu();
    let reached = vm.change_ripas(
        &mut vcpu,
        rec.rec,
        Ipa::new(far),
        Ipa::new(top),
        Wanted::Ram,
    );
    assert_eq!(reached, Ok(Ipa::new(top)));
    // The level 2 table is there; the last three pages need a level 3 table.
    assert_eq!(vm.realm().unwrap().counters().tables.get(), before + 1);
    let read = |ipa| {
        let realm = vm.realm().unwrap();
        let machine = host.machine();
        machine
            .rtt_read_entry(realm.rd(), Ipa::new(ipa), RttLevel::LEVEL_3)
            .unwrap()
            .ripas
    };
    assert_eq!((read(top - PAGE_SIZE), read(top)), (RAM, 0));
    finish(&vm, &rec);
}

#[test]
fn r9_a_range_the_realm_keeps_stops_the_change() {
    let host = host_with(16 * MIB);
    let (vm, rec) = running(&host, 4 * MIB);
    touch(&vm, BASE + 4 * PAGE_SIZE).unwrap();
    let mut vcpu = vm.new_vcpu();
    let realm = vm.realm().unwrap();
    let (kept, next) = (
        Ipa::new(BASE + 4 * PAGE_SIZE),
        Ipa::new(BASE + 5 * PAGE_SIZE),
    );
    realm.destroy_data(kept, next, &mut vcpu.cache).unwrap();
    let (base, top) = (Ipa::new(BASE), Ipa::new(BASE + 8 * PAGE_SIZE));
    let mut rmm = host.machine().rmm.lock().unwrap();
    rmm.keep_destroyed = true;
    rmm.requests
        .insert(rec.rec.address(), (base.raw(), top.raw(), RAM));
    drop(rmm);
    let reached = vm.change_ripas(&mut vcpu, rec.rec, base, top, Wanted::Ram);
    assert_eq!(reached, Ok(kept));
    // The Realm uses the page anyway: creating it does not help, and that is not a loop.
    touch(&vm, kept.raw()).unwrap();
    let gfn = Gfn::new(kept.raw() / PAGE_SIZE);
    assert_eq!(touch(&vm, kept.raw()), Err(FaultError::NotRam(gfn)));
    finish(&vm, &rec);
}

#[test]
fn population_copies_contents_and_pads_the_last_page() {
    let host = host_with(16 * MIB);
    let realm = new_realm(&host);
    let vm = Vm::new(&host, Guest::Realm(realm), CpuFacts::default());
    vm.add_memory(Ipa::new(BASE), 4 * MIB).unwrap();
    let source = host
        .pages()
        .allocate_block(2, PageUse::Host, Wish::Any)
        .unwrap();
    for word in 0..1024 {
        host.machine()
            .set_word(source.address() + word * 8, word + 1);
    }
    let mut vcpu = vm.new_vcpu();
    let bytes = PAGE_SIZE + 16;
    vm.populate(&mut vcpu, Ipa::new(BASE), source, bytes, Measure::Contents)
        .unwrap();
    let (first, last) = (
        translate(&vm, BASE).unwrap(),
        translate(&vm, BASE + PAGE_SIZE).unwrap(),
    );
    assert_eq!(host.machine().word(first + 8), 2);
    assert_eq!(host.machine().word(last + 8), 514);
    assert_eq!(host.machine().word(last + 16), 0, "padded");
    assert_eq!(vm.realm().unwrap().counters().populated.get(), 2);
    vm.destroy().unwrap();
    assert_eq!(host.pages().stats().delegated, 0);
}

#[test]
fn a_failed_creation_returns_every_granule() {
    let host = host_with(16 * MIB);
    let free = host.pages().stats();
    let result = Realm::create(&host, geometry(), |_| [0; PAGE_BYTES]);
    assert!(matches!(result, Err(RealmError::Refused(_))));
    assert_eq!(host.pages().stats().free_delegable, free.free_delegable);
    assert_eq!(host.pages().stats().delegated, 0);
}
