// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Rules F16 and F18, and V4, M3, W7 where they show in a mapping: devices, caches, other faults.

use super::*;

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
    assert_eq!(vm.counters().device_fetches.get(), 2);
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
