// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Rules R1 to R9, and the fault handler's Realm path.

use host_mm::addr::{BLOCK_1G, BLOCK_2M, Gfn, PAGE_BYTES, PAGE_SIZE, Pfn, PhysRange};
use host_mm::client::{Measure, RmiCalls};
use host_mm::fault::{Fault, FaultClass, FaultError};
use host_mm::host::Host;
use host_mm::memcache::MemCache;
use host_mm::pages::{PageFlags, PageUse, Wish};
use host_mm::perms::Permissions;
use host_mm::realm::{Geometry, MappingSizes, Realm, RealmError, Rec, Wanted};
use host_mm::vm::{CpuFacts, Guest, MemoryError, Reach, Vm};
use rmi::{Command, CommandId, Ipa, RttLevel};

use crate::machine::{DRAM, FakeMachine, host_with};
use crate::rmm::{Entry, RAM, State};

const MIB: u64 = 1 << 20;
/// Where guest memory starts.
const BASE: u64 = 0x8000_0000;
const RW: Permissions = Permissions::READ.union(Permissions::WRITE);

type TestHost = Host<FakeMachine>;

fn geometry() -> Geometry {
    Geometry::new(40).unwrap()
}

fn new_realm(host: &TestHost) -> Realm<'_, FakeMachine> {
    let geometry = geometry();
    Realm::create(host, geometry, |root| {
        let mut page = [0; PAGE_BYTES];
        let words = [
            u64::from(geometry.ipa_bits),
            geometry.start_level.to_register(),
            u64::try_from(geometry.root_order).unwrap(),
            root.address(),
        ];
        for (bytes, word) in page.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        page
    })
    .unwrap()
}

/// A Realm with `size` bytes of memory at `BASE`, all of it RAM, and one REC, running.
pub(crate) fn running(host: &TestHost, size: u64) -> (Vm<'_, FakeMachine>, Rec) {
    let realm = new_realm(host);
    let rec = realm.create_rec(|_| [0; PAGE_BYTES]).unwrap();
    let vm = Vm::new(host, Guest::Realm(realm), CpuFacts::default());
    vm.add_memory(Ipa::new(BASE), size).unwrap();
    let mut vcpu = vm.new_vcpu();
    let realm = vm.realm().unwrap();
    realm
        .init_ripas(Ipa::new(BASE), Ipa::new(BASE + size), &mut vcpu.cache)
        .unwrap();
    realm.activate().unwrap();
    (vm, rec)
}

fn fault_at(ipa: u64) -> Fault {
    Fault {
        ipa: Ipa::new(ipa),
        low_bits: 0,
        class: FaultClass::Translation,
        write: false,
        fetch: false,
        level: 3,
    }
}

fn shared(ipa: u64) -> u64 {
    ipa | 1 << 39
}

pub(crate) fn touch(vm: &Vm<'_, FakeMachine>, ipa: u64) -> Result<(), FaultError> {
    vm.handle_fault(&mut vm.new_vcpu(), &fault_at(ipa))
}

pub(crate) fn translate(vm: &Vm<'_, FakeMachine>, ipa: u64) -> Option<u64> {
    let rd = vm.realm().unwrap().rd().address();
    vm.host().machine().rmm.lock().unwrap().translate(rd, ipa)
}

pub(crate) fn finish(vm: &Vm<'_, FakeMachine>, rec: &Rec) {
    vm.realm().unwrap().destroy_rec(rec).unwrap();
    vm.destroy().unwrap();
}

#[test]
fn r1_a_read_only_mapping_is_refused_before_any_call() {
    let host = host_with(16 * MIB);
    let realm = new_realm(&host);
    let before = host.machine().total_calls();
    let mut cache = MemCache::new(host.pages(), Wish::Delegable);
    let pfn = host
        .pages()
        .allocate(PageUse::Guest, Wish::Delegable)
        .unwrap();
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
    let pfn = host
        .pages()
        .allocate(PageUse::Guest, Wish::Delegable)
        .unwrap();
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
    let pfn = host
        .pages()
        .allocate(PageUse::Guest, Wish::Delegable)
        .unwrap();
    let ipa = Ipa::new(BASE);
    realm
        .map(ipa, pfn, PAGE_SIZE, RW, false, &mut cache)
        .unwrap();
    // 40 bits start at level 1: a level 2 and a level 3 table.
    assert_eq!(cache.len(), 2);
    assert_eq!(realm.counters().tables.get(), 2);
    let pfn = host
        .pages()
        .allocate(PageUse::Guest, Wish::Delegable)
        .unwrap();
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
    let pfn = host
        .pages()
        .allocate(PageUse::Guest, Wish::Delegable)
        .unwrap();
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
    let pfn = host
        .pages()
        .allocate(PageUse::Guest, Wish::Delegable)
        .unwrap();
    let mut cache = MemCache::new(host.pages(), Wish::Delegable);
    realm
        .map(Ipa::new(BASE), pfn, PAGE_SIZE, RW, false, &mut cache)
        .unwrap();
    assert!(!host.pages().flags(pfn).contains(PageFlags::DELEGATED));
    assert_eq!(translate(&vm, BASE), pa);
    host.pages().put(pfn);
    finish(&vm, &rec);
}

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
