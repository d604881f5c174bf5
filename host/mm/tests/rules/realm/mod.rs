// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Rules R1 to R9, and the fault handler's Realm path.

mod mapping;
mod unmapping;

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

/// A page for a guest.
fn page_of(host: &TestHost) -> Pfn {
    let page = host.pages().allocate(PageUse::Guest, Wish::Delegable);
    page.unwrap()
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
