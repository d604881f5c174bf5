// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A machine of ordinary memory: sparse DRAM whose pages belong to one of two worlds, a fake RMM,
//! and a TLB that remembers until it is told to forget.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use host_mm::addr::{Granularity, Hva, PAGE_SIZE, Pfn, PhysRange};
use host_mm::host::Host;
use host_mm::machine::{PhysMemory, Rmi, Table, Tlb, Vmm};
use host_mm::memmap::{Mapping, MemoryMap};
use host_mm::pages::{Delegable, PageAllocator};
use rmi::{CommandId, Ipa};

use crate::rmm::FakeRmm;

/// First byte of DRAM that can be delegated.
pub(crate) const DRAM: u64 = 0x4000_0000;
/// First byte of DRAM that cannot.
pub(crate) const HIGH: u64 = 0x1_0000_0000;
/// Bytes of DRAM that cannot be delegated.
pub(crate) const HIGH_SIZE: u64 = 16 << 20;

/// One page of DRAM, made when first touched.
#[derive(Default)]
struct Page {
    words: OnceLock<Box<Table>>,
    /// Allocation tags, one for 16 bytes.
    tags: Mutex<Vec<u8>>,
    /// Whether the page belongs to the Realm world.
    realm: AtomicBool,
}

/// Memory by world.
pub(crate) struct Dram {
    ranges: Vec<(u64, Vec<Page>)>,
}

impl Dram {
    fn new(size: u64) -> Self {
        let pages = |base: u64, size: u64| {
            let count = usize::try_from(size / PAGE_SIZE).unwrap();
            (base, (0..count).map(|_| Page::default()).collect())
        };
        Self {
            ranges: vec![pages(DRAM, size), pages(HIGH, HIGH_SIZE)],
        }
    }

    fn page(&self, address: u64) -> &Page {
        self.find(address)
            .unwrap_or_else(|| panic!("{address:#x} is no memory"))
    }

    fn find(&self, address: u64) -> Option<&Page> {
        self.ranges.iter().find_map(|(base, pages)| {
            let index = usize::try_from(address.checked_sub(*base)? / PAGE_SIZE).ok()?;
            pages.get(index)
        })
    }

    /// Whether the RMM takes a page.
    pub(crate) fn is_delegable(&self, address: u64) -> bool {
        self.find(address).is_some() && address < HIGH
    }

    fn words(&self, address: u64) -> &Table {
        self.page(address)
            .words
            .get_or_init(|| Box::new(core::array::from_fn(|_| AtomicU64::new(0))))
    }

    /// The words of a page that the host may touch: a fault otherwise.
    fn host_words(&self, address: u64) -> &Table {
        assert!(
            !self.page(address).realm.load(Ordering::SeqCst),
            "granule protection fault: the host touched {address:#x}"
        );
        self.words(address)
    }

    /// The words of a page, for the RMM and for guests.
    pub(crate) fn any_words(&self, address: u64) -> &Table {
        self.words(address)
    }

    /// Moves a page between worlds.
    pub(crate) fn set_realm(&self, address: u64, realm: bool) {
        self.page(address).realm.store(realm, Ordering::SeqCst);
    }

    /// Fills a page with zeros, for the RMM.
    pub(crate) fn wipe(&self, address: u64) {
        if self.page(address).words.get().is_some() {
            self.words(address)
                .iter()
                .for_each(|word| word.store(0, Ordering::SeqCst));
        }
    }
}

/// A notice that the VMM was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    Failure(Hva, Granularity),
    Missing(u64, Hva),
}

/// What the CPUs have cached of the stage 2 of normal VMs: (VMID, IPA page, CPU) -> (entry, level).
pub(crate) type Cached = BTreeMap<(u16, u64, u64), (u64, i64)>;

/// Returns the number of this CPU: of the thread that stands for one.
pub(crate) fn this_cpu() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    thread_local! {
        static NUMBER: u64 = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    NUMBER.with(|number| *number)
}

/// What a hook is told: the command about to be made.
type Hook = Box<dyn FnMut(&FakeMachine, &[u64; 8]) + Send>;

/// The machine.
pub(crate) struct FakeMachine {
    pub(crate) dram: Dram,
    pub(crate) rmm: Mutex<FakeRmm>,
    pub(crate) calls: Mutex<BTreeMap<CommandId, u64>>,
    /// Runs before the next calls, with the RMM unlocked.
    hook: Mutex<Option<Hook>>,
    pub(crate) notices: Mutex<Vec<Notice>>,
    pub(crate) tlb: Mutex<Cached>,
    pub(crate) cleaned: Mutex<BTreeSet<u64>>,
    pub(crate) synced: Mutex<BTreeSet<u64>>,
    pub(crate) invalidations: AtomicU64,
    /// Pages whose tags were cleared by the host, in order.
    pub(crate) tags: Mutex<Vec<Pfn>>,
}

impl FakeMachine {
    pub(crate) fn new(size: u64) -> Self {
        Self {
            dram: Dram::new(size),
            rmm: Mutex::default(),
            calls: Mutex::default(),
            hook: Mutex::default(),
            notices: Mutex::default(),
            tlb: Mutex::default(),
            cleaned: Mutex::default(),
            synced: Mutex::default(),
            invalidations: AtomicU64::new(0),
            tags: Mutex::default(),
        }
    }

    /// Runs `hook` before every later call; it may make calls of its own.
    pub(crate) fn set_hook(&self, hook: impl FnMut(&Self, &[u64; 8]) + Send + 'static) {
        *self.hook.lock().unwrap() = Some(Box::new(hook));
    }

    /// Makes a call without the hook and without counting it: another CPU's.
    pub(crate) fn raw_call(&self, registers: [u64; 8]) -> [u64; 8] {
        self.rmm.lock().unwrap().call(&self.dram, registers)
    }

    /// How often a command has been called.
    pub(crate) fn count(&self, id: CommandId) -> u64 {
        self.calls.lock().unwrap().get(&id).copied().unwrap_or(0)
    }

    pub(crate) fn total_calls(&self) -> u64 {
        self.calls.lock().unwrap().values().sum()
    }

    /// Drops what the CPUs that `is_told` selects have cached of `size` bytes at `ipa`.
    fn forget(&self, vmid: u16, ipa: Ipa, size: u64, is_told: impl Fn(u64) -> bool) {
        let first = ipa.raw() / PAGE_SIZE;
        let end = ipa.raw().saturating_add(size) / PAGE_SIZE;
        let mut tlb = self.tlb.lock().unwrap();
        let gone: Vec<_> = tlb
            .range((vmid, first, 0)..(vmid, end, 0))
            .filter(|((.., cpu), _)| is_told(*cpu))
            .map(|(key, _)| *key)
            .collect();
        gone.iter().for_each(|key| _ = tlb.remove(key));
    }

    /// The allocation tag of the 16 bytes at `address`.
    pub(crate) fn tag(&self, address: u64) -> u8 {
        let index = usize::try_from(address % PAGE_SIZE / 16).unwrap();
        let tags = self.dram.page(address).tags.lock().unwrap();
        tags.get(index).copied().unwrap_or(0)
    }

    /// Sets the allocation tag of the 16 bytes at `address`, as a guest does.
    pub(crate) fn set_tag(&self, address: u64, tag: u8) {
        let index = usize::try_from(address % PAGE_SIZE / 16).unwrap();
        let mut tags = self.dram.page(address).tags.lock().unwrap();
        tags.resize(usize::try_from(PAGE_SIZE / 16).unwrap(), 0);
        tags[index] = tag;
    }

    pub(crate) fn word(&self, address: u64) -> u64 {
        let index = usize::try_from(address % PAGE_SIZE / 8).unwrap();
        self.dram.any_words(address)[index].load(Ordering::SeqCst)
    }

    pub(crate) fn set_word(&self, address: u64, value: u64) {
        let index = usize::try_from(address % PAGE_SIZE / 8).unwrap();
        self.dram.any_words(address)[index].store(value, Ordering::SeqCst);
    }
}

impl Rmi for FakeMachine {
    fn call(&self, registers: [u64; 8]) -> [u64; 8] {
        let id = CommandId::from_fid(registers[0]).expect("a known command");
        *self.calls.lock().unwrap().entry(id).or_default() += 1;
        let hook = self.hook.lock().unwrap().take();
        if let Some(mut hook) = hook {
            hook(self, &registers);
            let mut slot = self.hook.lock().unwrap();
            if slot.is_none() {
                *slot = Some(hook);
            }
        }
        self.raw_call(registers)
    }
}

impl PhysMemory for FakeMachine {
    fn zero_page(&self, pfn: Pfn) {
        for word in self.dram.host_words(pfn.address()) {
            word.store(0, Ordering::SeqCst);
        }
    }

    fn copy_page(&self, old: Pfn, new: Pfn) {
        let from = self.dram.host_words(old.address());
        for (to, from) in self.dram.host_words(new.address()).iter().zip(from) {
            to.store(from.load(Ordering::SeqCst), Ordering::SeqCst);
        }
        let tags = self.dram.page(old.address()).tags.lock().unwrap().clone();
        *self.dram.page(new.address()).tags.lock().unwrap() = tags;
    }

    fn read(&self, address: u64, bytes: &mut [u8]) {
        let words = self.dram.host_words(address);
        for (offset, byte) in (address % PAGE_SIZE..).zip(bytes) {
            let word = words[usize::try_from(offset / 8).unwrap()].load(Ordering::SeqCst);
            *byte = word.to_le_bytes()[usize::try_from(offset % 8).unwrap()];
        }
    }

    fn write(&self, address: u64, bytes: &[u8]) {
        let words = self.dram.host_words(address);
        for (offset, byte) in (address % PAGE_SIZE..).zip(bytes) {
            let shift = offset % 8 * 8;
            words[usize::try_from(offset / 8).unwrap()]
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |word| {
                    Some(word & !(0xFF << shift) | u64::from(*byte) << shift)
                })
                .unwrap();
        }
    }

    fn table(&self, pfn: Pfn) -> &Table {
        self.dram.host_words(pfn.address())
    }

    /// Pages that were never touched are not made for this.
    fn is_uniform(&self, pfn: Pfn) -> bool {
        let page = self.dram.page(pfn.address());
        assert!(!page.realm.load(Ordering::SeqCst));
        page.words.get().is_none_or(|words| {
            let first = words[0].load(Ordering::SeqCst);
            words
                .iter()
                .all(|word| word.load(Ordering::SeqCst) == first)
        })
    }

    fn clear_tags(&self, pfn: Pfn) {
        self.dram.page(pfn.address()).tags.lock().unwrap().clear();
        self.tags.lock().unwrap().push(pfn);
    }
}

impl Tlb for FakeMachine {
    fn publish(&self) {}

    fn invalidate_ipa(&self, vmid: u16, ipa: Ipa, size: u64) {
        self.invalidations.fetch_add(1, Ordering::SeqCst);
        self.forget(vmid, ipa, size, |_| true);
    }

    fn invalidate_ipa_here(&self, vmid: u16, ipa: Ipa, size: u64) {
        self.forget(vmid, ipa, size, |cpu| cpu == this_cpu());
    }

    fn invalidate_vm(&self, vmid: u16) {
        self.tlb
            .lock()
            .unwrap()
            .retain(|(owner, ..), _| *owner != vmid);
    }

    fn clean_data(&self, pfn: Pfn, size: u64) {
        let pages = pfn.raw()..pfn.raw() + size / PAGE_SIZE;
        self.cleaned.lock().unwrap().extend(pages);
    }

    fn sync_instructions(&self, pfn: Pfn, size: u64) {
        let pages = pfn.raw()..pfn.raw() + size / PAGE_SIZE;
        self.synced.lock().unwrap().extend(pages);
    }
}

impl Vmm for FakeMachine {
    fn memory_failure(&self, hva: Hva, granularity: Granularity) {
        let notice = Notice::Failure(hva, granularity);
        self.notices.lock().unwrap().push(notice);
    }

    fn missing_page(&self, context: u64, hva: Hva) {
        let notice = Notice::Missing(context, hva);
        self.notices.lock().unwrap().push(notice);
    }
}

/// A host on a machine with `size` bytes of delegable DRAM.
pub(crate) fn host_with(size: u64) -> Host<FakeMachine> {
    let ranges = [PhysRange::new(DRAM, size), PhysRange::new(HIGH, HIGH_SIZE)];
    let pages = PageAllocator::new(&ranges);
    pages.set_delegable(ranges[1], Delegable::No);
    let map = MemoryMap::new(&ranges.map(|range| (range, Mapping::Map)));
    Host::new(FakeMachine::new(size), pages, map)
}
