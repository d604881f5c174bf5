// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The Host's own vector registers, as a scenario wants them while it enters a Realm.
//!
//! This image is built without SIMD, so that nothing changes them but the calls that are made. What they
//! hold is compared with what they held right after they were filled.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::arch::{asm, global_asm};

use aarch64_cpu::registers::{ID_AA64PFR0_EL1, ID_AA64PFR1_EL1, Readable};
use scenarios::vectors::{HostVectors, VectorMode, pattern};

global_asm!(include_str!("simd.S"), options(raw));

unsafe extern "C" {
    fn host_v_load(from: *const u8);
    fn host_v_store(to: *mut u8);
    fn host_z_load(from: *const u8);
    fn host_z_store(to: *mut u8);
    fn host_ffr_load(from: *const u8);
    fn host_ffr_store(to: *mut u8);
    fn host_za_load(from: *const u8);
    fn host_za_store(to: *mut u8);
    fn host_zt0_load(from: *const u8);
    fn host_zt0_store(to: *mut u8);
}

/// Longest vector in bytes.
const LONGEST: usize = 256;
/// Z0 to Z31 and P0 to P15 of that length.
const Z_BYTES: usize = 32 * LONGEST + 16 * LONGEST / 8;
/// Longest predicate in bytes.
const PREDICATE: usize = LONGEST / 8;
/// ZA of that length.
const ZA_BYTES: usize = LONGEST * LONGEST;
/// ZT0.
const ZT0_BYTES: usize = 64;

/// `CPTR_EL2` with E2H = 0: the bits that are one, and the traps of SVE (TZ) and SME (TSM).
const CPTR_ONES: u64 = 0x22FF;
const CPTR_TZ: u64 = 1 << 8;
const CPTR_TSM: u64 = 1 << 12;
/// `SVCR`: streaming mode (SM), ZA on.
const SVCR_SM: u64 = 1 << 0;
const SVCR_ZA: u64 = 1 << 1;
/// `SMCR_EL2`: ZT0 (EZT0) and all instructions in streaming mode (FA64) are enabled.
const SMCR_EZT0: u64 = 1 << 30;
const SMCR_FA64: u64 = 1 << 31;
/// The field LEN of `ZCR_EL2` and `SMCR_EL2` that gives the longest vectors.
const LEN_LONGEST: u64 = 0xF;
/// Bits of `FPSR` and `FPCR` that hold a pattern.
const FPSR_MASK: u64 = 0x0800_009F;
const FPCR_MASK: u64 = 0x03C0_0000;
/// FFR holds only patterns that are ones up to some element.
const FFR: u8 = 0x3F;

macro_rules! read {
    ($register:literal) => {{
        let value: u64;
        // SAFETY: reading one of the registers named here has no effect.
        unsafe {
            asm!(concat!("mrs {}, ", $register), out(reg) value, options(nostack, preserves_flags));
        }
        value
    }};
}

macro_rules! write {
    ($register:literal, $value:expr) => {{
        let value: u64 = $value;
        // SAFETY: the register concerns SIMD, which this image does not use.
        unsafe {
            asm!(
                concat!("msr ", $register, ", {}"),
                "isb",
                in(reg) value,
                options(nostack, preserves_flags)
            );
        }
    }};
}

/// What the machine has.
#[derive(Clone, Copy, Debug)]
struct Machine {
    sve: bool,
    sme: bool,
    sme2: bool,
    all_in_streaming: bool,
}

impl Machine {
    fn read() -> Self {
        // ID_AA64PFR1_EL1.SME and ID_AA64SMFR0_EL1.FA64.
        let sme = ID_AA64PFR1_EL1.get() >> 24 & 0xF;
        Self {
            sve: ID_AA64PFR0_EL1.get() >> 32 & 0xF != 0,
            sme: sme != 0,
            sme2: sme >= 2,
            all_in_streaming: sme != 0 && read!("S3_0_C0_C4_5") >> 63 != 0,
        }
    }

    fn has(self, state: HostVectors) -> bool {
        let has_mode = match state.mode {
            VectorMode::Plain => true,
            VectorMode::Scalable => self.sve,
            VectorMode::Streaming => self.sme,
            VectorMode::StreamingAll => self.all_in_streaming,
        };
        has_mode && (!state.array || self.sme)
    }
}

/// The names of the control registers, in the order of [`Contents::controls`].
const CONTROLS: [&str; 9] = [
    "FPSR",
    "FPCR",
    "ZCR_EL1",
    "ZCR_EL2",
    "SVCR",
    "SMCR_EL1",
    "SMCR_EL2",
    "TPIDR2_EL0",
    "CPTR_EL2",
];

/// Everything there is.
struct Contents {
    controls: [u64; CONTROLS.len()],
    vectors: Vec<u8>,
    ffr: Vec<u8>,
    za: Vec<u8>,
    zt0: Vec<u8>,
}

/// The Host's vector registers: filled, or nobody's.
pub(super) struct Simd {
    machine: Machine,
    filled: Option<(HostVectors, Contents)>,
    traps: u64,
}

impl Simd {
    pub(super) fn new() -> Self {
        Self {
            machine: Machine::read(),
            filled: None,
            traps: read!("CPTR_EL2"),
        }
    }

    /// Fills the registers. Returns false when the machine has no such state.
    pub(super) fn fill(&mut self, state: HostVectors, seed: u64) -> bool {
        if !self.machine.has(state) {
            return false;
        }
        self.open();
        self.enable(state, seed);
        self.load(state, seed);
        self.filled = Some((state, self.store(state)));
        true
    }

    /// Compares the registers with what they held, and looks at their full length for the pattern that
    /// `foreign_seed` names. Returns what is wrong; nothing is filled afterwards.
    pub(super) fn check(&mut self, foreign_seed: u64) -> Option<String> {
        let (state, before) = self.filled.take()?;
        let now = self.store(state);
        let all = self.store(self.widen(state));
        let holder = find_pattern(foreign_seed, &all);
        self.close();
        difference(&before, &now).or(holder)
    }

    fn open(&self) {
        let mut traps = CPTR_ONES;
        if !self.machine.sve {
            traps |= CPTR_TZ;
        }
        if !self.machine.sme {
            traps |= CPTR_TSM;
        }
        write!("CPTR_EL2", traps);
    }

    fn enable(&self, state: HostVectors, seed: u64) {
        let length = u64::from(state.length);
        if self.machine.sve {
            write!("S3_4_C1_C2_0", length);
            write!("S3_0_C1_C2_0", seed & LEN_LONGEST);
        }
        if self.machine.sme {
            let is_all = state.mode == VectorMode::StreamingAll;
            let zt0 = if self.machine.sme2 { SMCR_EZT0 } else { 0 };
            write!(
                "S3_4_C1_C2_6",
                length | zt0 | if is_all { SMCR_FA64 } else { 0 }
            );
            write!("S3_0_C1_C2_6", seed & LEN_LONGEST);
            write!("S3_3_C13_C0_5", pattern(seed, 70));
            let mut svcr = if state.array { SVCR_ZA } else { 0 };
            if is_streaming(state) {
                svcr |= SVCR_SM;
            }
            write!("S3_3_C4_C2_2", svcr);
        }
    }

    fn load(&self, state: HostVectors, seed: u64) {
        let mut bytes = filler(seed, Z_BYTES);
        if has_ffr(state) {
            let mut ffr = [0; PREDICATE];
            ffr[0] = FFR;
            // SAFETY: there is one longest predicate to load; FFR can be accessed in this state.
            unsafe { host_ffr_load(ffr.as_ptr()) };
        }
        if state.mode == VectorMode::Plain {
            // SAFETY: there are 512 bytes to load.
            unsafe { host_v_load(bytes.as_ptr()) };
        } else {
            // SAFETY: there are the longest vectors and predicates to load; they can be accessed.
            unsafe { host_z_load(bytes.as_ptr()) };
        }
        if state.array {
            bytes = filler(seed.wrapping_add(1), ZA_BYTES);
            // SAFETY: there is the longest ZA to load, and it is on.
            unsafe { host_za_load(bytes.as_ptr()) };
            if self.machine.sme2 {
                // SAFETY: there are 64 bytes to load, and ZT0 is on.
                unsafe { host_zt0_load(bytes.as_ptr()) };
            }
        }
        write!("S3_3_C4_C4_1", pattern(seed, 64) & FPSR_MASK);
        write!("S3_3_C4_C4_0", pattern(seed, 65) & FPCR_MASK);
    }

    /// Reads all registers that can be accessed. FFR comes last: it goes through P0.
    fn store(&self, state: HostVectors) -> Contents {
        let controls = self.controls();
        let mut vectors = vec![0; Z_BYTES];
        let (mut za, mut zt0, mut ffr) = (Vec::new(), Vec::new(), Vec::new());
        if state.mode == VectorMode::Plain {
            // SAFETY: there is room for 512 bytes.
            unsafe { host_v_store(vectors.as_mut_ptr()) };
        } else {
            // SAFETY: there is room for the longest vectors and predicates; they can be accessed.
            unsafe { host_z_store(vectors.as_mut_ptr()) };
        }
        if state.array {
            za.resize(ZA_BYTES, 0);
            // SAFETY: there is room for the longest ZA, and it is on.
            unsafe { host_za_store(za.as_mut_ptr()) };
            if self.machine.sme2 {
                zt0.resize(ZT0_BYTES, 0);
                // SAFETY: there is room for 64 bytes, and ZT0 is on.
                unsafe { host_zt0_store(zt0.as_mut_ptr()) };
            }
        }
        if has_ffr(state) {
            ffr.resize(PREDICATE, 0);
            // SAFETY: there is room for one longest predicate; FFR can be accessed in this state.
            unsafe { host_ffr_store(ffr.as_mut_ptr()) };
            // SAFETY: loads Z and P as they were stored above.
            unsafe { host_z_load(vectors.as_ptr()) };
        }
        Contents {
            controls,
            vectors,
            ffr,
            za,
            zt0,
        }
    }

    fn controls(&self) -> [u64; CONTROLS.len()] {
        let mut controls = [0; CONTROLS.len()];
        controls[..2].copy_from_slice(&[read!("S3_3_C4_C4_1"), read!("S3_3_C4_C4_0")]);
        if self.machine.sve {
            controls[2..4].copy_from_slice(&[read!("S3_0_C1_C2_0"), read!("S3_4_C1_C2_0")]);
        }
        if self.machine.sme {
            controls[4..6].copy_from_slice(&[read!("S3_3_C4_C2_2"), read!("S3_0_C1_C2_6")]);
            controls[6..8].copy_from_slice(&[read!("S3_4_C1_C2_6"), read!("S3_3_C13_C0_5")]);
        }
        controls[8] = read!("CPTR_EL2");
        controls
    }

    /// Makes everything accessible that the registers may hold beyond the Host's own state.
    fn widen(&self, state: HostVectors) -> HostVectors {
        if self.machine.sve {
            write!("S3_4_C1_C2_0", LEN_LONGEST);
        }
        if self.machine.sme {
            write!("S3_4_C1_C2_6", read!("S3_4_C1_C2_6") | LEN_LONGEST);
        }
        let mode = match state.mode {
            VectorMode::Plain if self.machine.sve => VectorMode::Scalable,
            mode => mode,
        };
        HostVectors { mode, ..state }
    }

    fn close(&self) {
        if self.machine.sme {
            write!("S3_3_C4_C2_2", 0);
        }
        write!("CPTR_EL2", self.traps);
    }
}

fn is_streaming(state: HostVectors) -> bool {
    matches!(state.mode, VectorMode::Streaming | VectorMode::StreamingAll)
}

fn has_ffr(state: HostVectors) -> bool {
    matches!(state.mode, VectorMode::Scalable | VectorMode::StreamingAll)
}

fn filler(seed: u64, bytes: usize) -> Vec<u8> {
    (0..(bytes / 8) as u64)
        .flat_map(|index| pattern(seed, index).to_le_bytes())
        .collect()
}

/// Returns the first thing that is not as before.
fn difference(before: &Contents, now: &Contents) -> Option<String> {
    let changed = |name, (before, now): (&[u8], &[u8])| {
        let at = before.iter().zip(now).position(|(a, b)| a != b)?;
        Some(format!("byte {at} of {name} changed"))
    };
    let controls = before.controls.iter().zip(&now.controls);
    let control = controls.zip(CONTROLS).find(|((a, b), _)| a != b);
    control
        .map(|((a, b), name)| format!("{name} was {a:#x} and is {b:#x}"))
        .or_else(|| changed("Z and P", (&before.vectors, &now.vectors)))
        .or_else(|| changed("FFR", (&before.ffr, &now.ffr)))
        .or_else(|| changed("ZA", (&before.za, &now.za)))
        .or_else(|| changed("ZT0", (&before.zt0, &now.zt0)))
}

/// Returns where a word of the pattern is.
fn find_pattern(seed: u64, contents: &Contents) -> Option<String> {
    let mut words: Vec<u64> = (0..(Z_BYTES / 8) as u64)
        .map(|index| pattern(seed, index))
        .collect();
    words.sort_unstable();
    let parts = [
        ("Z or P", &contents.vectors),
        ("FFR", &contents.ffr),
        ("ZA", &contents.za),
        ("ZT0", &contents.zt0),
    ];
    parts.into_iter().find_map(|(name, bytes)| {
        let (found, _) = bytes.as_chunks::<8>();
        let at = found
            .iter()
            .position(|word| words.binary_search(&u64::from_le_bytes(*word)).is_ok())?;
        Some(format!("word {at} of {name} is a Realm's"))
    })
}
