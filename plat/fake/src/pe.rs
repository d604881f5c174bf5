// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! One PE of the fake machine.

use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use rmi::{GRANULE_BYTES, GranuleAddr, Ipa};
use rmm_hal::{
    AccessFault, CpuFeatures, El3, El3Error, GranuleWindow, Hal, MustInvalidate, NoInstructions,
    NsMemory, Sha2, Sha2Unit, Stage2, Stage2Root, Timing,
};

use crate::machine::{Cached, FakeMachine, Pas};
use crate::realm::FakeRealm;
use crate::walker::{Translation, vmid, walk};

/// Stage 2 `XN`, all bits of it: nothing may be executed unless they are zero.
const XN: u64 = 0b11 << 53;

/// One PE. Not `Sync`: a thread that stands for a PE owns it.
#[derive(Debug)]
pub struct FakePe<'m> {
    machine: &'m FakeMachine,
    realm: FakeRealm<'m>,
    views: Cell<usize>,
    ns_bytes_left: Cell<Option<usize>>,
    timed_works: Cell<u64>,
}

impl<'m> FakePe<'m> {
    /// The number of granules a PE can show at a time: half of what the real machine can.
    pub const SLOTS: usize = 8;

    /// Returns a PE of `machine`.
    #[must_use]
    pub fn new(machine: &'m FakeMachine) -> Self {
        Self {
            machine,
            realm: FakeRealm::default(),
            views: Cell::new(0),
            ns_bytes_left: Cell::new(None),
            timed_works: Cell::new(0),
        }
    }

    /// Returns the machine.
    #[must_use]
    pub fn machine(&self) -> &'m FakeMachine {
        self.machine
    }

    /// Returns the number of granules shown now: zero between two calls of the monitor.
    #[must_use]
    pub fn views(&self) -> usize {
        self.views.get()
    }

    /// Returns how often work was done with data-independent timing.
    #[must_use]
    pub fn timed_works(&self) -> u64 {
        self.timed_works.get()
    }

    /// Lets the next Non-secure copies move `bytes` bytes in all and fault then, as when the granule
    /// changes its world halfway. `None` lifts the limit.
    pub fn fault_ns_after(&self, bytes: Option<usize>) {
        self.ns_bytes_left.set(bytes);
    }

    /// Translates a Realm address as the hardware would, through the TLB. What may be executed there is in
    /// the instruction cache from then on.
    #[must_use]
    pub fn translate(&self, root: &Stage2Root, ipa: Ipa) -> Option<GranuleAddr> {
        let key = (vmid(root), ipa.raw() / rmi::GRANULE_SIZE);
        let mut tlb = self
            .machine
            .tlb
            .lock()
            .expect("no panic while the TLB is held");
        let cached = match tlb.get(&key) {
            Some(cached) => *cached,
            None => {
                let cached = self.cache(root, ipa)?;
                tlb.insert(key, cached);
                cached
            }
        };
        if cached.is_executable {
            let mut fetched = self.machine.fetched.lock();
            let fetched = fetched.as_mut().expect("no panic while it is held");
            fetched.insert(cached.page);
        }
        GranuleAddr::new(cached.page)
    }

    fn cache(&self, root: &Stage2Root, ipa: Ipa) -> Option<Cached> {
        match walk(self.machine, root, ipa) {
            Translation::Valid {
                page,
                level,
                descriptor,
            } => Some(Cached {
                page,
                block: rmi::GRANULE_SIZE << (9 * (3 - level)),
                is_executable: descriptor & XN == 0,
            }),
            Translation::Fault { .. } => None,
        }
    }

    fn spend_ns_word(&self) -> Result<(), AccessFault> {
        match self.ns_bytes_left.get() {
            None => Ok(()),
            Some(left) if left >= 8 => {
                self.ns_bytes_left.set(Some(left - 8));
                Ok(())
            }
            Some(_) => Err(AccessFault),
        }
    }
}

impl<'m> Hal for FakePe<'m> {
    type Window = Self;
    type Ns = Self;
    type Stage2 = Self;
    type Realm = FakeRealm<'m>;
    type El3 = Self;
    type Sha2 = Self;
    type Timing = Self;

    fn window(&self) -> &Self {
        self
    }
    fn ns(&self) -> &Self {
        self
    }
    fn stage2(&self) -> &Self {
        self
    }
    fn realm(&self) -> &FakeRealm<'m> {
        &self.realm
    }
    fn el3(&self) -> &Self {
        self
    }
    fn sha2(&self) -> &Self {
        self
    }
    fn timing(&self) -> &Self {
        self
    }
    fn features(&self) -> &CpuFeatures {
        self.machine.features()
    }
}

// SAFETY: a view is the granule's own memory, which lives as long as the machine and never moves;
// ordinary memory is coherent.
unsafe impl GranuleWindow for FakePe<'_> {
    fn map(&self, granule: GranuleAddr) -> NonNull<u8> {
        assert!(self.views.get() < Self::SLOTS, "every window slot is taken");
        self.views.set(self.views.get() + 1);
        self.machine
            .view(granule, Pas::Realm)
            .expect("granule protection fault: the monitor maps a granule that is not its own")
    }

    unsafe fn unmap(&self, _view: NonNull<u8>) {
        let views = self.views.get();
        assert!(views > 0, "a view is given back twice");
        self.views.set(views - 1);
    }

    unsafe fn zero(&self, granule: GranuleAddr) -> Result<(), AccessFault> {
        for word in self.machine.words_of(granule, Pas::Realm)? {
            word.store(0, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl NsMemory for FakePe<'_> {
    fn read(&self, from: GranuleAddr, offset: usize, into: &mut [u8]) -> Result<(), AccessFault> {
        assert!(offset.is_multiple_of(8) && into.len().is_multiple_of(8));
        assert!(
            offset + into.len() <= GRANULE_BYTES,
            "a copy stays inside one granule"
        );
        for (n, bytes) in into.chunks_exact_mut(8).enumerate() {
            self.spend_ns_word()?;
            let words = self.machine.words_of(from, Pas::NonSecure)?;
            let word = words[offset / 8 + n].load(Ordering::Relaxed);
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Ok(())
    }

    fn write(&self, to: GranuleAddr, offset: usize, from: &[u8]) -> Result<(), AccessFault> {
        assert!(offset.is_multiple_of(8) && from.len().is_multiple_of(8));
        assert!(
            offset + from.len() <= GRANULE_BYTES,
            "a copy stays inside one granule"
        );
        for (n, bytes) in from.chunks_exact(8).enumerate() {
            self.spend_ns_word()?;
            let words = self.machine.words_of(to, Pas::NonSecure)?;
            let word = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
            words[offset / 8 + n].store(word, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl El3 for FakePe<'_> {
    fn delegate(&self, granule: GranuleAddr) -> Result<(), El3Error> {
        if self.machine.change_pas(granule, Pas::NonSecure, Pas::Realm) {
            Ok(())
        } else {
            Err(El3Error)
        }
    }

    fn undelegate(&self, granule: GranuleAddr) -> Result<(), El3Error> {
        if self.machine.change_pas(granule, Pas::Realm, Pas::NonSecure) {
            Ok(())
        } else {
            Err(El3Error)
        }
    }
}

/// Ordinary memory has no instructions: the monitor's own code computes every digest.
impl Sha2 for FakePe<'_> {
    type Unit = Self;

    fn with_unit<R>(&self, work: impl FnOnce(&Self) -> R) -> R {
        work(self)
    }
}

impl Sha2Unit for FakePe<'_> {
    fn compress256(&self, _: &mut [u32; 8], _: &[[u8; 64]]) -> Result<(), NoInstructions> {
        Err(NoInstructions)
    }

    fn compress256_zeroes(&self, _: &mut [u32; 8], _: usize) -> Result<(), NoInstructions> {
        Err(NoInstructions)
    }

    fn compress512(&self, _: &mut [u64; 8], _: &[[u8; 128]]) -> Result<(), NoInstructions> {
        Err(NoInstructions)
    }
}

/// Counts the work; a laptop promises nothing about its timing.
impl Timing for FakePe<'_> {
    fn data_independent<R>(&self, work: impl FnOnce() -> R) -> R {
        self.timed_works.set(self.timed_works.get() + 1);
        work()
    }
}

impl Stage2 for FakePe<'_> {
    fn write_entry(&self, entry: &AtomicU64, value: u64) {
        entry.store(value, Ordering::SeqCst);
    }

    fn publish_table(&self) {
        fence(Ordering::SeqCst);
    }

    /// As the machine does it: one instruction every `leaf` bytes, which takes away what is cached of
    /// the block that the address lies in, and nothing of the blocks between.
    fn invalidate(&self, root: &Stage2Root, range: MustInvalidate) {
        let (base, end) = (range.base.raw(), range.base.raw() + range.size);
        let is_hit = |page: u64, block: u64| {
            let first = page * rmi::GRANULE_SIZE / block * block;
            let from = first.max(base);
            let next = base + (from - base).next_multiple_of(range.leaf);
            next < end && next < first + block
        };
        let mut tlb = self
            .machine
            .tlb
            .lock()
            .expect("no panic while the TLB is held");
        tlb.retain(|(owner, page), cached| *owner != vmid(root) || !is_hit(*page, cached.block));
    }

    fn invalidate_all(&self, root: &Stage2Root) {
        let mut tlb = self
            .machine
            .tlb
            .lock()
            .expect("no panic while the TLB is held");
        tlb.retain(|(owner, _), _| *owner != vmid(root));
    }

    fn invalidate_instructions(&self) {
        let mut fetched = self.machine.fetched.lock();
        let fetched = fetched.as_mut().expect("no panic while it is held");
        fetched.clear();
    }
}
