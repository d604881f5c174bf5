// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Random slots, faults, invalidations, migrations, protections and logging switches of a normal
//! VM, and random faults and conversions of a Realm, against flat models.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use host_mm::addr::{BLOCK_2M, Gfn, Granularity, PAGE_SIZE};
use host_mm::area::{AreaFlags, Protection};
use host_mm::backing::Kind;
use host_mm::fault::FaultError;
use host_mm::memslot::{MemSlot, SlotAccess};
use host_mm::pages::{PageUse, Wish};
use host_mm::realm::Wanted;
use host_mm::vm::{CpuFacts, Reach, VcpuMemory, Vm};
use rmi::Ipa;

use crate::guest::{Access, access, leaf, normal};
use crate::machine::{FakeMachine, host_with};
use crate::realm::{finish, running, touch, translate};
use crate::rmm::{DESTROYED, EMPTY, RAM};

const MIB: u64 = 1 << 20;
const BASE: u64 = 0x8000_0000;

struct Dice(u64);

impl Dice {
    fn roll(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(17);
        (self.0 >> 33) % limit
    }
}

/// A slot as the model sees it.
struct FlatSlot {
    slot: Arc<MemSlot>,
    base: u64,
    pages: u64,
    read_only: bool,
    /// Pages that the VMM has made read-only.
    protected: BTreeSet<u64>,
    /// Pages written since the log was last taken.
    dirty: BTreeSet<u64>,
}

/// The VM and its model.
struct Pair<'v, 'h> {
    vm: &'v Vm<'h, FakeMachine>,
    slots: Vec<FlatSlot>,
    /// Words by address; everything else is zero.
    memory: BTreeMap<u64, u64>,
}

impl Pair<'_, '_> {
    fn step(&mut self, dice: &mut Dice, vcpu: &mut VcpuMemory<'_>, round: u64) {
        let index = usize::try_from(dice.roll(self.slots.len() as u64)).unwrap();
        let page = dice.roll(self.slots[index].pages);
        match dice.roll(40) {
            0 => self.toggle_logging(index),
            1 => self.take_log(index),
            2 => self.protect(index, page, dice),
            3 => {
                let (gfn, count) = self.run(index, page, dice);
                drop(self.vm.invalidate(gfn, count, Reach::All));
            }
            4 => {
                let (gfn, count) = self.run(index, page, dice);
                self.vm.migrate(gfn, count);
            }
            5 => self.reclaim(index, page, dice),
            6..=20 => self.write(index, page, dice, vcpu, round),
            21..=24 => self.fetch(index, page, vcpu),
            _ => self.read(index, page, dice, vcpu),
        }
    }

    fn run(&self, index: usize, page: u64, dice: &mut Dice) -> (Gfn, u64) {
        let slot = &self.slots[index];
        let count = 1 + dice.roll((slot.pages - page).min(32));
        (Gfn::new(slot.base / PAGE_SIZE + page), count)
    }

    fn write(
        &mut self,
        index: usize,
        page: u64,
        dice: &mut Dice,
        vcpu: &mut VcpuMemory<'_>,
        value: u64,
    ) {
        let slot = &mut self.slots[index];
        let ipa = slot.base + page * PAGE_SIZE + 8 * dice.roll(4);
        let result = access(self.vm, vcpu, ipa, Access::Write(value));
        if slot.read_only {
            assert_eq!(result, Err(FaultError::NotMemory));
        } else if slot.protected.contains(&page) {
            assert!(
                matches!(result, Err(FaultError::BadAddress(_))),
                "{result:?}"
            );
        } else {
            assert_eq!(result, Ok(value));
            self.memory.insert(ipa, value);
            if slot.slot.is_logging() {
                slot.dirty.insert(slot.base / PAGE_SIZE + page);
            }
        }
    }

    fn read(&self, index: usize, page: u64, dice: &mut Dice, vcpu: &mut VcpuMemory<'_>) {
        let ipa = self.slots[index].base + page * PAGE_SIZE + 8 * dice.roll(4);
        let expected = self.memory.get(&ipa).copied().unwrap_or(0);
        assert_eq!(
            access(self.vm, vcpu, ipa, Access::Read),
            Ok(expected),
            "{ipa:#x}"
        );
    }

    fn fetch(&self, index: usize, page: u64, vcpu: &mut VcpuMemory<'_>) {
        let ipa = self.slots[index].base + page * PAGE_SIZE;
        access(self.vm, vcpu, ipa, Access::Fetch).unwrap();
        assert!(leaf(self.vm, ipa).unwrap().executable());
    }

    fn toggle_logging(&mut self, index: usize) {
        let slot = &self.slots[index];
        if slot.slot.is_logging() {
            self.take_log(index);
            self.vm.stop_logging(&self.slots[index].slot);
        } else {
            self.vm.start_logging(&slot.slot);
        }
    }

    fn take_log(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        let logged: BTreeSet<u64> = self
            .vm
            .take_dirty(&slot.slot)
            .into_iter()
            .map(Gfn::raw)
            .collect();
        assert_eq!(logged, slot.dirty, "exactly what was written is logged");
        slot.dirty.clear();
    }

    /// The VMM changes a protection: first the area, then the mappings.
    fn protect(&mut self, index: usize, page: u64, dice: &mut Dice) {
        let (gfn, count) = self.run(index, page, dice);
        let slot = &mut self.slots[index];
        let hva = slot.slot.hva_of(gfn);
        let end = hva.offset(count * PAGE_SIZE);
        let mut protection = Protection::READ;
        let writable = dice.roll(2) == 0;
        protection.set(Protection::WRITE, writable);
        if self.vm.space().protect(hva, end, protection).is_err() {
            return;
        }
        drop(self.vm.invalidate(gfn, count, Reach::All));
        for page in page..page + count {
            if writable {
                slot.protected.remove(&page);
            } else {
                slot.protected.insert(page);
            }
        }
    }

    fn reclaim(&mut self, index: usize, page: u64, dice: &mut Dice) {
        let (gfn, count) = self.run(index, page, dice);
        self.vm.reclaim(gfn, count, Reach::All);
        let start = gfn.raw() * PAGE_SIZE;
        let gone: Vec<u64> = self
            .memory
            .range(start..start + count * PAGE_SIZE)
            .map(|(ipa, _)| *ipa)
            .collect();
        gone.iter().for_each(|ipa| _ = self.memory.remove(ipa));
    }
}

#[test]
fn a_normal_vm_agrees_with_a_flat_model() {
    let seed = 0x1B_A11E;
    println!("seed {seed}");
    let mut dice = Dice(seed);
    let host = host_with(64 * MIB);
    let vm = normal(&host, CpuFacts::default());
    let mut slots = Vec::new();
    let kinds = [
        (BASE, 4 * MIB, Kind::Anonymous(None), SlotAccess::ReadWrite),
        (
            BASE + 8 * MIB + PAGE_SIZE,
            MIB,
            Kind::Anonymous(None),
            SlotAccess::ReadWrite,
        ),
        (
            BASE + 16 * MIB,
            4 * MIB,
            Kind::Huge(Granularity::Block2M),
            SlotAccess::ReadWrite,
        ),
        (
            BASE + 32 * MIB,
            64 * PAGE_SIZE,
            Kind::Anonymous(None),
            SlotAccess::ReadOnly,
        ),
    ];
    for (base, size, kind, allowed) in kinds {
        let object = host.new_object(kind, Wish::Any);
        let flags = AreaFlags::empty();
        let slot = vm
            .add_object(Ipa::new(base), size, object, flags, allowed)
            .unwrap();
        slots.push(FlatSlot {
            slot,
            base,
            pages: size / PAGE_SIZE,
            read_only: allowed == SlotAccess::ReadOnly,
            protected: BTreeSet::new(),
            dirty: BTreeSet::new(),
        });
    }
    let mut pair = Pair {
        vm: &vm,
        slots,
        memory: BTreeMap::new(),
    };
    let mut vcpu = vm.new_vcpu();
    for round in 1..=20_000 {
        pair.step(&mut dice, &mut vcpu, round);
    }
    let counters = vm.counters();
    for (count, what) in [
        (counters.blocks.get(), "blocks"),
        (counters.permission.get(), "permission faults"),
        (counters.logged.get(), "logged pages"),
        (
            vm.stage2().unwrap().counters().collapsed.get(),
            "collapsed tables",
        ),
        (
            vm.stage2().unwrap().counters().relaxed.get(),
            "relaxed entries",
        ),
    ] {
        assert!(count > 0, "the walk never saw {what}");
    }
    drop(vcpu);
    vm.destroy().unwrap();
    for used_for in [PageUse::Table, PageUse::Guest, PageUse::Spare] {
        assert_eq!(host.pages().usage(used_for).now(), 0, "{used_for:?}");
    }
}

#[test]
fn a_realm_agrees_with_a_flat_model() {
    const PAGES: u64 = 6 * MIB / PAGE_SIZE;
    let seed = 0xCCA;
    println!("seed {seed}");
    let mut dice = Dice(seed);
    let host = host_with(64 * MIB);
    let (vm, rec) = running(&host, PAGES * PAGE_SIZE);
    let realm = vm.realm().unwrap();
    let mut vcpu = vm.new_vcpu();
    // RIPAS, and whether each half is mapped.
    let mut ripas = vec![RAM; usize::try_from(PAGES).unwrap()];
    let mut private = vec![false; ripas.len()];
    let mut shared = vec![false; ripas.len()];
    let alias = 1 << 39;
    for _ in 0..4000 {
        let page = dice.roll(PAGES);
        let at = usize::try_from(page).unwrap();
        let ipa = BASE + page * PAGE_SIZE;
        match dice.roll(16) {
            0..=7 => {
                let result = touch(&vm, ipa);
                if private[at] && ripas[at] != RAM {
                    assert!(matches!(result, Err(FaultError::NotRam(_))), "{result:?}");
                } else {
                    result.unwrap();
                    private[at] = true;
                }
            }
            8..=10 => {
                let result = touch(&vm, ipa | alias);
                if private[at] && !shared[at] {
                    assert!(
                        matches!(result, Err(FaultError::StillPrivate(_))),
                        "{result:?}"
                    );
                } else if !private[at] {
                    result.unwrap();
                    shared[at] = true;
                }
            }
            11 => {
                // All of a 2 MiB range, so that it folds.
                let first = ipa / BLOCK_2M * BLOCK_2M;
                for ipa in (first..first + BLOCK_2M).step_by(0x1000) {
                    let at = usize::try_from((ipa - BASE) / PAGE_SIZE).unwrap();
                    if ripas[at] == RAM && !private[at] {
                        touch(&vm, ipa).unwrap();
                        private[at] = true;
                    }
                }
            }
            12 => {
                let count = 1 + dice.roll((PAGES - page).min(16));
                let range = at..at + usize::try_from(count).unwrap();
                drop(vm.invalidate(vm.gfn(Ipa::new(ipa)), count, Reach::Shared));
                shared[range].fill(false);
            }
            13 if dice.roll(8) == 0 => {
                let top = Ipa::new(ipa + PAGE_SIZE);
                let lost = realm
                    .destroy_data(Ipa::new(ipa), top, &mut vcpu.cache)
                    .unwrap();
                assert_eq!(lost, u64::from(private[at]));
                if private[at] && ripas[at] == RAM {
                    ripas[at] = DESTROYED;
                }
                private[at] = false;
            }
            _ => {
                let count = 1 + dice.roll((PAGES - page).min(700));
                let range = at..at + usize::try_from(count).unwrap();
                let (wanted, value) = match dice.roll(2) {
                    0 => (Wanted::Empty, EMPTY),
                    _ => (Wanted::Ram, RAM),
                };
                let (base, top) = (Ipa::new(ipa), Ipa::new(ipa + count * PAGE_SIZE));
                let request = (base.raw(), top.raw(), value);
                let mut rmm = host.machine().rmm.lock().unwrap();
                rmm.requests.insert(rec.rec.address(), request);
                drop(rmm);
                let reached = vm.change_ripas(&mut vcpu, rec.rec, base, top, wanted);
                assert_eq!(reached, Ok(top));
                ripas[range.clone()].fill(value);
                match wanted {
                    Wanted::Empty => private[range].fill(false),
                    Wanted::Ram => shared[range].fill(false),
                }
            }
        }
        for probe in (0..8).map(|_| dice.roll(PAGES)).chain([page]) {
            let at = usize::try_from(probe).unwrap();
            let ipa = BASE + probe * PAGE_SIZE;
            let usable = private[at] && ripas[at] == RAM;
            assert_eq!(translate(&vm, ipa).is_some(), usable, "page {probe}");
            assert_eq!(
                translate(&vm, ipa | alias).is_some(),
                shared[at],
                "page {probe}"
            );
        }
        let data = private.iter().filter(|there| **there).count();
        assert_eq!(host.pages().usage(PageUse::Data).now(), data as u64);
    }
    assert!(realm.counters().folds.get() > 0 && realm.counters().unfolds.get() > 0);
    drop(vcpu);
    finish(&vm, &rec);
    assert_eq!(host.pages().stats().delegated, 0);
    assert_eq!(host.pages().usage(PageUse::Guest).now(), 0);
}
