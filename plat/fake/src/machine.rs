// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Memory, granule protection table and TLB.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::collections::{BTreeMap, BTreeSet};
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use rmi::{GRANULE_BYTES, GRANULE_SIZE, GranuleAddr, Ipa, PhysAddr};
use rmm_granule::{Bank, GranuleWord};
use rmm_hal::{AccessFault, CpuFeatures, ID_REGISTERS, Stage2Root};

use crate::walker::vmid;

/// A physical address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pas {
    /// Non-secure.
    NonSecure,
    /// Realm.
    Realm,
    /// Secure: neither the Host nor the monitor may use it.
    Secure,
}

impl Pas {
    fn code(self) -> u8 {
        match self {
            Self::NonSecure => 0,
            Self::Realm => 1,
            Self::Secure => 2,
        }
    }

    fn from_code(code: u8) -> Self {
        match code {
            0 => Self::NonSecure,
            1 => Self::Realm,
            _ => Self::Secure,
        }
    }
}

/// A translation that the TLB holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cached {
    /// The physical page.
    pub(crate) page: u64,
    /// Bytes of the block that the translation is part of.
    pub(crate) block: u64,
    /// Instructions may be fetched from there.
    pub(crate) is_executable: bool,
}

/// Ordinary memory that pretends to be a machine's DRAM.
#[derive(Debug)]
pub struct FakeMachine {
    base: GranuleAddr,
    granules: usize,
    allocation: NonNull<u8>,
    /// The first granule in the allocation.
    memory: NonNull<u8>,
    words: Vec<GranuleWord>,
    protection: Vec<AtomicU8>,
    absent: Vec<AtomicBool>,
    features: CpuFeatures,
    /// Cached translations by (VMID, IPA page).
    pub(crate) tlb: Mutex<BTreeMap<(u16, u64), Cached>>,
    /// Physical pages of which instruction caches may hold something.
    pub(crate) fetched: Mutex<BTreeSet<u64>>,
}

// SAFETY: `memory` points into an allocation this value owns; every access to it goes through atomics or
// through the granule guards, which keep exclusive views exclusive.
unsafe impl Send for FakeMachine {}
// SAFETY: as for `Send`.
unsafe impl Sync for FakeMachine {}

impl FakeMachine {
    /// Returns a machine with `granules` granules of zeroed Non-secure memory from `base` on.
    #[must_use]
    pub fn new(base: GranuleAddr, granules: usize, features: CpuFeatures) -> Self {
        assert!(granules > 0, "a machine needs memory");
        let layout = Self::layout(granules);
        // SAFETY: the layout's size is not zero (checked above).
        let raw = unsafe { alloc_zeroed(layout) };
        let allocation = NonNull::new(raw).unwrap_or_else(|| handle_alloc_error(layout));
        let padding = allocation.align_offset(GRANULE_BYTES);
        // SAFETY: the padding is less than a granule, and the layout has one granule more than needed.
        let memory = unsafe { allocation.byte_add(padding) };
        Self {
            base,
            granules,
            allocation,
            memory,
            words: (0..granules).map(|_| GranuleWord::new()).collect(),
            protection: (0..granules)
                .map(|_| AtomicU8::new(Pas::NonSecure.code()))
                .collect(),
            absent: (0..granules).map(|_| AtomicBool::new(false)).collect(),
            features,
            tlb: Mutex::new(BTreeMap::new()),
            fetched: Mutex::new(BTreeSet::new()),
        }
    }

    /// One granule more than the machine has, to find the first aligned one in. An allocation that is
    /// not aligned itself can be zeroed memory that nobody has touched yet.
    fn layout(granules: usize) -> Layout {
        Layout::from_size_align((granules + 1) * GRANULE_BYTES, align_of::<AtomicU64>())
            .expect("a fake machine's memory fits the address space")
    }

    /// Returns the granule words of the whole memory as one bank.
    #[must_use]
    pub fn bank(&self) -> Bank<'_> {
        Bank::new(self.base, &self.words)
    }

    /// Returns what the PEs can do.
    #[must_use]
    pub fn features(&self) -> &CpuFeatures {
        &self.features
    }

    /// Returns the `n`th granule.
    #[must_use]
    pub fn granule(&self, n: usize) -> GranuleAddr {
        assert!(
            n < self.granules,
            "the machine has {} granules",
            self.granules
        );
        self.base
            .checked_next(n as u64)
            .expect("memory ends below 2^64")
    }

    /// Returns the number of granules.
    #[must_use]
    pub fn granules(&self) -> usize {
        self.granules
    }

    fn index(&self, at: PhysAddr) -> Option<usize> {
        let offset = at.raw().checked_sub(self.base.raw())?;
        let index = usize::try_from(offset / GRANULE_SIZE).ok()?;
        (index < self.granules).then_some(index)
    }

    /// Returns the physical address space that owns the granule at `at`; `None` outside the memory.
    #[must_use]
    pub fn pas(&self, at: PhysAddr) -> Option<Pas> {
        let index = self.index(at)?;
        Some(Pas::from_code(
            self.protection[index].load(Ordering::SeqCst),
        ))
    }

    /// Changes the owner of a granule behind the monitor's back, as EL3 may.
    pub fn set_pas(&self, granule: GranuleAddr, pas: Pas) {
        let index = self
            .index(granule.phys())
            .expect("a granule of this machine");
        self.protection[index].store(pas.code(), Ordering::SeqCst);
    }

    /// Moves a granule from one owner to another; false when `from` does not own it.
    pub(crate) fn change_pas(&self, granule: GranuleAddr, from: Pas, to: Pas) -> bool {
        self.index(granule.phys()).is_some_and(|index| {
            self.protection[index]
                .compare_exchange(from.code(), to.code(), Ordering::SeqCst, Ordering::SeqCst)
                .is_ok()
        })
    }

    /// Takes the memory away behind a granule's address: every access then faults.
    pub fn set_absent(&self, granule: GranuleAddr) {
        let index = self
            .index(granule.phys())
            .expect("a granule of this machine");
        self.absent[index].store(true, Ordering::SeqCst);
    }

    /// Returns the memory of a granule as words, when `pas` owns it.
    pub(crate) fn words_of(
        &self,
        granule: GranuleAddr,
        pas: Pas,
    ) -> Result<&[AtomicU64], AccessFault> {
        let start = self.view(granule, pas)?.cast::<AtomicU64>();
        // SAFETY: `view` returned a pointer to a whole granule of memory this value owns, aligned to
        // 4 KiB; atomics accept any bytes and concurrent writers.
        Ok(unsafe { std::slice::from_raw_parts(start.as_ptr(), GRANULE_BYTES / 8) })
    }

    /// Returns a pointer to a granule, when `pas` owns it and memory answers.
    pub(crate) fn view(&self, granule: GranuleAddr, pas: Pas) -> Result<NonNull<u8>, AccessFault> {
        let index = self.index(granule.phys()).ok_or(AccessFault)?;
        if self.pas(granule.phys()) != Some(pas) || self.absent[index].load(Ordering::SeqCst) {
            return Err(AccessFault);
        }
        // SAFETY: `index` is below the number of granules in the allocation.
        Ok(unsafe { self.memory.byte_add(index * GRANULE_BYTES) })
    }

    /// Reads Host memory as the Host.
    ///
    /// # Errors
    ///
    /// [`AccessFault`] when the granule is not Non-secure.
    pub fn host_read(
        &self,
        from: GranuleAddr,
        offset: usize,
        into: &mut [u8],
    ) -> Result<(), AccessFault> {
        let words = self.words_of(from, Pas::NonSecure)?;
        let (mut at, mut rest) = (offset, into);
        while !rest.is_empty() {
            let (now, later) = rest.split_at_mut((8 - at % 8).min(rest.len()));
            let bytes = words[at / 8].load(Ordering::Relaxed).to_le_bytes();
            now.copy_from_slice(&bytes[at % 8..][..now.len()]);
            at += now.len();
            rest = later;
        }
        Ok(())
    }

    /// Writes Host memory as the Host; not atomic with other writers of the same word.
    ///
    /// # Errors
    ///
    /// [`AccessFault`] when the granule is not Non-secure.
    pub fn host_write(
        &self,
        to: GranuleAddr,
        offset: usize,
        from: &[u8],
    ) -> Result<(), AccessFault> {
        let words = self.words_of(to, Pas::NonSecure)?;
        let (mut at, mut rest) = (offset, from);
        while !rest.is_empty() {
            let (now, later) = rest.split_at((8 - at % 8).min(rest.len()));
            let mut bytes = words[at / 8].load(Ordering::Relaxed).to_le_bytes();
            bytes[at % 8..][..now.len()].copy_from_slice(now);
            words[at / 8].store(u64::from_le_bytes(bytes), Ordering::Relaxed);
            at += now.len();
            rest = later;
        }
        Ok(())
    }

    /// Reads one word of a granule whoever owns it, for invariant checks.
    #[must_use]
    pub fn inspect(&self, granule: GranuleAddr, word: usize) -> u64 {
        let pas = self.pas(granule.phys()).expect("a granule of this machine");
        self.words_of(granule, pas)
            .map_or(0, |words| words[word].load(Ordering::SeqCst))
    }

    /// Returns all words of a granule whoever owns it, for invariant checks.
    #[must_use]
    pub fn inspect_all(&self, granule: GranuleAddr) -> [u64; GRANULE_BYTES / 8] {
        let pas = self.pas(granule.phys()).expect("a granule of this machine");
        let words = self.words_of(granule, pas).unwrap_or(&[]);
        let mut all = [0; GRANULE_BYTES / 8];
        for (word, to) in words.iter().zip(&mut all) {
            *to = word.load(Ordering::Relaxed);
        }
        all
    }

    /// Loads one word of a granule as something that sees it in `pas`, such as a Realm.
    ///
    /// # Errors
    ///
    /// [`AccessFault`] when another world owns the granule.
    pub fn load(&self, granule: GranuleAddr, pas: Pas, word: usize) -> Result<u64, AccessFault> {
        Ok(self.words_of(granule, pas)?[word].load(Ordering::SeqCst))
    }

    /// Stores one word of a granule as something that sees it in `pas`, such as a Realm.
    ///
    /// # Errors
    ///
    /// [`AccessFault`] when another world owns the granule.
    pub fn store(
        &self,
        granule: GranuleAddr,
        pas: Pas,
        word: usize,
        value: u64,
    ) -> Result<(), AccessFault> {
        self.words_of(granule, pas)?[word].store(value, Ordering::SeqCst);
        Ok(())
    }

    /// Returns the translations that the TLB holds for the tables of `root`: address and page.
    #[must_use]
    pub fn cached(&self, root: &Stage2Root) -> Vec<(Ipa, u64)> {
        let tlb = self.tlb.lock().expect("no panic while the TLB is held");
        let of_root = |((owner, page), to): (&(u16, u64), &Cached)| {
            (*owner == vmid(root)).then_some((Ipa::new(page * GRANULE_SIZE), to.page))
        };
        tlb.iter().filter_map(of_root).collect()
    }

    /// Says whether an instruction cache may hold something of a granule.
    #[must_use]
    pub fn is_fetched(&self, granule: GranuleAddr) -> bool {
        let fetched = self.fetched.lock().expect("no panic while it is held");
        fetched.contains(&granule.raw())
    }

    /// Says whether every byte of a granule is zero, whoever owns it.
    #[must_use]
    pub fn is_zero(&self, granule: GranuleAddr) -> bool {
        let pas = self.pas(granule.phys()).expect("a granule of this machine");
        self.words_of(granule, pas)
            .is_ok_and(|words| words.iter().all(|word| word.load(Ordering::Relaxed) == 0))
    }
}

impl Drop for FakeMachine {
    fn drop(&mut self) {
        // SAFETY: `allocation` was made in `new` with this layout and nothing borrows from it now.
        unsafe { dealloc(self.allocation.as_ptr(), Self::layout(self.granules)) }
    }
}

/// Returns the features of a well-equipped PE: 52-bit addresses with LPA2, SVE of 512 bits, a PMU with
/// six counters, four list registers.
#[must_use]
pub fn default_features() -> CpuFeatures {
    CpuFeatures {
        pa_bits: 52,
        pa_range: 0b0110,
        lpa2: true,
        vmid16: true,
        sve_vq: Some(3),
        sme: true,
        breakpoints: 5,
        watchpoints: 3,
        pmu_counters: Some(6),
        hpmn0: false,
        list_registers: 3,
        priority_bits: 4,
        intid_bits: 24,
        extended_intids: false,
        wfxt: true,
        ras: true,
        mops: true,
        sha256: false,
        sha512: false,
        midr: 0x000F_0510,
        id_registers: [0; ID_REGISTERS],
    }
}
