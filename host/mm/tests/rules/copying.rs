// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A VM's memory copied to another VM while its guest runs: what rule F26 is for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use host_mm::addr::{Gfn, PAGE_SIZE, Pfn};
use host_mm::host::Host;
use host_mm::pages::{PageFlags, PageUse};
use host_mm::vm::{Copying, CpuFacts, Vm};
use rmi::Ipa;

use crate::guest::{Access, access, normal, once};
use crate::machine::{FakeMachine, host_with};
use crate::together::Together;

const MIB: u64 = 1 << 20;
const BASE: u64 = 0x8000_0000;
const SIZE: u64 = 8 * MIB;
const PAGES: u64 = SIZE / PAGE_SIZE;
const DEVICE: u64 = 0x0901_0000;

type TestVm<'h> = Vm<'h, FakeMachine>;

/// Two VMs of the same shape, with memory and a device.
fn pair(host: &Host<FakeMachine>) -> [TestVm<'_>; 2] {
    [(); 2].map(|()| {
        let vm = normal(host, CpuFacts::default());
        vm.add_memory(Ipa::new(BASE), SIZE).unwrap();
        let device = Pfn::containing(DEVICE);
        vm.add_device(Ipa::new(DEVICE), PAGE_SIZE, device).unwrap();
        vm
    })
}

fn at(page: u64) -> u64 {
    BASE + page * PAGE_SIZE
}

/// The host page behind an address of the guest.
fn page_of(vm: &TestVm<'_>, ipa: u64) -> Pfn {
    let gfn = vm.gfn(Ipa::new(ipa));
    let hva = vm.slot(gfn).unwrap().hva_of(gfn);
    let area = vm.space().find(hva).unwrap();
    area.object.peek(area.index_of(hva)).unwrap()
}

/// CPUs write at random while the rounds go on; then the guest goes on from the copy.
#[test]
fn f26_a_guest_goes_on_from_a_copy_made_while_it_ran() {
    let host = host_with(64 * MIB);
    let [from, to] = pair(&host);
    let stop = Together::default();
    let written = AtomicU64::new(0);
    let copied = thread::scope(|scope| {
        let _part = stop.part();
        for cpu in 0..2_u64 {
            let (from, stop, written) = (&from, &stop, &written);
            scope.spawn(move || {
                let mut vcpu = from.new_vcpu();
                let mut state = cpu + 77;
                let mut roll = |limit: u64| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005) + 11;
                    (state >> 33) % limit
                };
                let mut count = 0;
                let _part = stop.part();
                while stop.goes_on() {
                    count += 1;
                    let ipa = at(roll(PAGES / 2)) + 8 * roll(512);
                    access(from, &mut vcpu, ipa, Access::Write(count)).unwrap();
                    written.fetch_add(1, Ordering::Relaxed);
                    if count % 64 == 0 {
                        thread::sleep(Duration::from_micros(50));
                    }
                }
            });
        }
        let wait = || {
            let seen = written.load(Ordering::Relaxed);
            while written.load(Ordering::Relaxed) < seen + 200 {
                stop.check();
                thread::yield_now();
            }
        };
        wait();
        let mut copying = Copying::begin(&from, &to).unwrap();
        for _ in 0..6 {
            wait();
            copying.round().unwrap();
        }
        wait();
        stop.stop();
        copying
    })
    .finish()
    .unwrap();
    assert_eq!(copied.rounds.len(), 7);
    assert!(copied.rounds.iter().all(|pages| *pages > 0), "{copied:?}");
    assert!(copied.left > 0 && copied.compared >= copied.rounds[0]);
    assert_eq!(copied.different, []);
    let kept: Vec<_> = (0..PAGES)
        .map(|page| once(&from, at(page), Access::Read).unwrap())
        .collect();
    from.destroy().unwrap();
    for (page, word) in (0..PAGES).zip(kept) {
        assert_eq!(once(&to, at(page), Access::Read), Ok(word), "page {page}");
    }
    once(&to, at(3), Access::Write(1)).unwrap();
    to.destroy().unwrap();
    assert_eq!(host.pages().usage(PageUse::Guest).now(), 0);
    assert_eq!(host.pages().usage(PageUse::Table).now(), 0);
}

#[test]
fn f26_a_write_that_is_not_logged_is_found_by_the_comparison() {
    let host = host_with(64 * MIB);
    let [from, to] = pair(&host);
    once(&from, at(3), Access::Write(1)).unwrap();
    let mut copying = Copying::begin(&from, &to).unwrap();
    assert_eq!(copying.round(), Ok(0), "nothing has been written");
    let page = page_of(&from, at(3)).address();
    host.machine().set_word(page + 8, 2);
    let copied = copying.finish().unwrap();
    assert_eq!(
        (copied.left, copied.different),
        (0, vec![Gfn::new(at(3) / PAGE_SIZE)])
    );
}

#[test]
fn f26_the_vmms_writes_are_logged_and_its_reads_are_not() {
    let host = host_with(64 * MIB);
    let [vm, _] = pair(&host);
    let slot = vm.slot(Gfn::new(BASE / PAGE_SIZE)).unwrap();
    vm.start_logging(&slot);
    let across = Ipa::new(at(5) - 4);
    vm.read(across, &mut [0; 8]).unwrap();
    assert_eq!(vm.take_dirty(&slot), []);
    vm.write(across, &[1; 8]).unwrap();
    let pages = [4, 5].map(|page| Gfn::new(at(page) / PAGE_SIZE));
    assert_eq!(vm.take_dirty(&slot), pages);
    let flags = host.pages().flags(page_of(&vm, at(4)));
    assert!(flags.contains(PageFlags::DIRTY));
}

#[test]
fn copying_leaves_out_devices_and_what_nobody_has_filled() {
    let host = host_with(64 * MIB);
    let [from, to] = pair(&host);
    once(&from, DEVICE, Access::Read).unwrap();
    from.write(Ipa::new(at(7)), b"here").unwrap();
    assert_eq!(from.filled_pages(), 1);
    let copying = Copying::begin(&from, &to).unwrap();
    let copied = copying.finish().unwrap();
    assert_eq!((copied.rounds, copied.compared), (vec![1], 1));
    assert_eq!(to.filled_pages(), 1);
    let mut bytes = [0; 4];
    to.read(Ipa::new(at(7)), &mut bytes).unwrap();
    assert_eq!(&bytes, b"here");
}
