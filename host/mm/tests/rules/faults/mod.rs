// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Rules F1 to F28 on the fault handler, and V4, M3, W7 where they show in a mapping.

mod lookup;
mod mapping;
mod special;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread;
use std::vec::Vec;

use host_mm::addr::{BLOCK_1G, BLOCK_2M, Gfn, Granularity, Hva, PAGE_SIZE, Pfn};
use host_mm::area::{Area, AreaFlags, Protection};
use host_mm::backing::{Fill, Kind, NoPage, Operations};
use host_mm::fault::{Fault, FaultClass, FaultError};
use host_mm::host::Host;
use host_mm::machine::PhysMemory;
use host_mm::memslot::SlotAccess;
use host_mm::pages::{PageFlags, PageUse, Wish};
use host_mm::vm::{Copying, CpuFacts, Reach, Vm};
use rmi::Ipa;

use crate::guest::{Access, leaf, normal, once, try_access, word};
use crate::machine::{DRAM, FakeMachine, Notice, host_with};
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
