// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Filling registers with patterns and checking them later.
//!
//! The image is built without SIMD, so vector registers keep their values until somebody changes them.
//! A bank is checked against what it held right after it was filled, because some bits of some
//! registers ignore writes.

use core::arch::global_asm;

use spin::Mutex;
use test_realm::instructions::RDVL_X0;
use test_realm::protocol::{Bank, Outcome, pattern};
use test_realm::registers::SYSTEM_REGISTERS;

use crate::entry::MAX_VCPUS;
use crate::guard::{self, Registers};
use crate::regs::{read_sysreg, write_sysreg};
use crate::{cpu, timer};

global_asm!(include_str!("simd.S"));

unsafe extern "C" {
    fn simd_v_load(from: *const u8);
    fn simd_v_store(to: *mut u8);
    fn simd_z_load(from: *const u8);
    fn simd_z_store(to: *mut u8);
    fn simd_vector_bytes() -> u64;
}

/// Longest vector in bytes.
const MAX_VECTOR_BYTES: usize = 256;
/// Z0 to Z31, P0 to P15 and FFR of that length.
const SCALABLE_BYTES: usize = 32 * MAX_VECTOR_BYTES + 17 * MAX_VECTOR_BYTES / 8;
/// V0 to V31.
const VECTOR_BYTES: usize = 32 * 16;
/// Bits of `FPSR` that hold a pattern: the cumulative flags.
const FPSR_MASK: u64 = 0x0800_009F;
/// Bits of `FPCR` that hold a pattern: rounding, flush, default NaN.
const FPCR_MASK: u64 = 0x03C0_0000;

/// What a vCPU's registers held right after they were filled.
#[repr(C, align(64))]
struct Filled {
    scalable: [u8; SCALABLE_BYTES],
    fp_control: [u64; 2],
    system: [u64; SYSTEM_REGISTERS.len()],
}

static FILLED: [Mutex<Filled>; MAX_VCPUS] = [const {
    Mutex::new(Filled {
        scalable: [0; SCALABLE_BYTES],
        fp_control: [0; 2],
        system: [0; SYSTEM_REGISTERS.len()],
    })
}; MAX_VCPUS];

/// Fills a bank.
pub(crate) fn fill(bank: Bank, seed: u64) -> Outcome {
    match bank {
        Bank::Vectors => {
            let filled = &mut *FILLED[cpu::number()].lock();
            fill_bytes(&mut filled.scalable[..VECTOR_BYTES], seed);
            // SAFETY: there are 512 bytes to load.
            unsafe { simd_v_load(filled.scalable.as_ptr()) };
            write_sysreg!("S3_3_C4_C4_1", pattern(seed, 64) & FPSR_MASK);
            write_sysreg!("S3_3_C4_C4_0", pattern(seed, 65) & FPCR_MASK);
            filled.fp_control = fp_control();
            Outcome::Done
        }
        Bank::Scalable => {
            let mut registers = [0; 18];
            // SAFETY: the instruction changes x0 only.
            let outcome = unsafe { guard::run(RDVL_X0, &mut registers) };
            if outcome == Outcome::Done {
                fill_scalable(seed);
            }
            outcome
        }
        Bank::System => {
            fill_system(seed);
            Outcome::Done
        }
    }
}

/// Compares a bank with what it held after it was filled.
pub(crate) fn check(bank: Bank) -> Registers {
    let filled = &*FILLED[cpu::number()].lock();
    match bank {
        Bank::Vectors | Bank::Scalable => {
            compare_vectors(bank, &filled.scalable, filled.fp_control)
        }
        Bank::System => check_system(filled),
    }
}

/// Finds what a bank of vector registers holds that is not zero.
pub(crate) fn residue(bank: Bank) -> Registers {
    compare_vectors(bank, &[0; SCALABLE_BYTES], [0; 2])
}

fn compare_vectors(bank: Bank, before: &[u8], fp_control_before: [u64; 2]) -> Registers {
    let mut results = [0; 18];
    if bank == Bank::Vectors {
        let mut now = [0; VECTOR_BYTES];
        // SAFETY: there is room for 512 bytes.
        unsafe { simd_v_store(now.as_mut_ptr()) };
        results[0] = differences(&now, before, 16, 32);
        results[1] = u64::from(fp_control() != fp_control_before);
        return results;
    }
    let mut now = [0; SCALABLE_BYTES];
    // SAFETY: there is room for the longest vectors; whoever drives the payload knows of SVE.
    unsafe { simd_z_store(now.as_mut_ptr()) };
    // SAFETY: there is SVE.
    let vector = unsafe { simd_vector_bytes() } as usize;
    let split = 32 * vector;
    results[0] = differences(&now[..split], &before[..split], vector, 32);
    results[1] = differences(&now[split..], &before[split..], vector / 8, 17);
    results[2] = vector as u64;
    results
}

fn fill_scalable(seed: u64) {
    let filled = &mut *FILLED[cpu::number()].lock();
    fill_bytes(&mut filled.scalable, seed);
    // SAFETY: there is SVE.
    let vector = unsafe { simd_vector_bytes() } as usize;
    // FFR holds only patterns that are ones up to some element.
    let ffr = 34 * vector;
    filled.scalable[ffr..ffr + vector / 8].fill(0);
    filled.scalable[ffr] = 0x3F;
    // SAFETY: the bytes are those of the longest vectors.
    unsafe { simd_z_load(filled.scalable.as_ptr()) };
}

fn fill_bytes(bytes: &mut [u8], seed: u64) {
    for (index, word) in bytes.chunks_exact_mut(8).enumerate() {
        word.copy_from_slice(&pattern(seed, index as u64).to_le_bytes());
    }
}

/// Returns the mask of `count` elements of `size` bytes that differ.
fn differences(now: &[u8], before: &[u8], size: usize, count: usize) -> u64 {
    now.chunks(size)
        .zip(before.chunks(size))
        .take(count)
        .enumerate()
        .filter(|(_, (now, before))| now != before)
        .fold(0, |mask, (n, _)| mask | 1 << n)
}

/// Returns `FPSR` and `FPCR`, by encoding because the image is built without floating point.
fn fp_control() -> [u64; 2] {
    [read_sysreg!("S3_3_C4_C4_1"), read_sysreg!("S3_3_C4_C4_0")]
}

fn fill_system(seed: u64) {
    let filled = &mut *FILLED[cpu::number()].lock();
    timer::stop(test_realm::protocol::Timer::Virtual);
    timer::stop(test_realm::protocol::Timer::Physical);
    for (index, row) in SYSTEM_REGISTERS.iter().enumerate() {
        let mut registers = [0; 18];
        let read = row.register.read_x0();
        // SAFETY: the instruction changes x0 only.
        if unsafe { guard::run(read, &mut registers) } != Outcome::Done {
            continue;
        }
        registers[0] = registers[0] & !row.mask | pattern(seed, index as u64) & row.mask;
        // SAFETY: the table says that any value of these bits leaves the payload as it is.
        let _ = unsafe { guard::run(row.register.write_x0(), &mut registers) };
    }
    // In a second pass, because undefined registers have changed the exception registers.
    for (slot, row) in filled.system.iter_mut().zip(SYSTEM_REGISTERS) {
        *slot = read_system(row.register.read_x0()).unwrap_or(0);
    }
}

fn check_system(filled: &Filled) -> Registers {
    let mut results = [0; 18];
    for (index, row) in SYSTEM_REGISTERS.iter().enumerate().rev() {
        match read_system(row.register.read_x0()) {
            None => results[1] |= 1 << index,
            Some(value) if value != filled.system[index] => {
                results[0] |= 1 << index;
                results[2] = value;
                results[3] = filled.system[index];
            }
            Some(_) => {}
        }
    }
    results
}

fn read_system(instruction: u32) -> Option<u64> {
    let mut registers = [0; 18];
    // SAFETY: the instruction changes x0 only.
    let outcome = unsafe { guard::run(instruction, &mut registers) };
    (outcome == Outcome::Done).then_some(registers[0])
}
