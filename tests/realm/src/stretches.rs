// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Fixed stretches of instructions in which interrupts are taken, and where they were: see
//! `stretches.S`.

use core::arch::global_asm;
use core::mem::offset_of;
use core::sync::atomic::Ordering;

use rmi::psci;
use rmi::rsi::RsiCommand;
use spin::Mutex;
use test_realm::protocol::{
    NOT_IN_STRETCH, STRETCH_MEASURED, STRETCH_MEASUREMENT, Stretch, pattern, sequence_step,
};

use crate::cpu;
use crate::entry::MAX_VCPUS;
use crate::machine::RSI_VERSION;

global_asm!(
    include_str!("all_registers.S"),
    // For guard.rs, with the same macros.
    include_str!("run_all.S"),
    include_str!("stretches.S"),
    memory = const offset_of!(Block, memory),
    nzcv = const 8 * NZCV,
    rsi_version = const RsiCommand::Version.fid() & 0xFFFF,
    rsi_ipa_state_get = const RsiCommand::IpaStateGet.fid() & 0xFFFF,
    rsi_measurement_read = const RsiCommand::MeasurementRead.fid() & 0xFFFF,
    rsi_measurement_extend = const RsiCommand::MeasurementExtend.fid() & 0xFFFF,
    rsi = const RsiCommand::Version.fid() >> 16,
    rsi_wanted = const RSI_VERSION,
    psci = const psci::FID_VERSION >> 16,
    measurement = const STRETCH_MEASUREMENT,
    measured = const STRETCH_MEASURED,
);

/// Words of registers in a block: x0 to x30, flags.
const REGISTERS: usize = 32;
const NZCV: usize = 31;
/// Words of memory: two of the longest vectors.
const WORDS: usize = 64;

/// What a stretch works on: registers, and the memory that x1 points to.
#[repr(C, align(256))]
struct Block {
    registers: [u64; REGISTERS],
    memory: [u64; WORDS],
}

static BLOCKS: [Mutex<Block>; MAX_VCPUS] = [const {
    Mutex::new(Block {
        registers: [0; REGISTERS],
        memory: [0; WORDS],
    })
}; MAX_VCPUS];

/// Declares a stretch: its routine and the labels before its first instruction and behind its last.
macro_rules! stretch {
    ($routine:ident, $first:ident, $end:ident) => {{
        unsafe extern "C" {
            fn $routine(block: *mut Block);
            static $first: u32;
            static $end: u32;
        }
        let routine: unsafe extern "C" fn(*mut Block) = $routine;
        Code {
            routine,
            first: (&raw const $first) as u64,
            end: (&raw const $end) as u64,
        }
    }};
}

struct Code {
    routine: unsafe extern "C" fn(*mut Block),
    first: u64,
    end: u64,
}

impl Code {
    fn of(stretch: Stretch) -> Self {
        match stretch {
            Stretch::General => {
                stretch!(stretch_general, stretch_general_first, stretch_general_end)
            }
            Stretch::Memory => stretch!(stretch_memory, stretch_memory_first, stretch_memory_end),
            Stretch::System => stretch!(stretch_system, stretch_system_first, stretch_system_end),
            Stretch::Calls => stretch!(stretch_calls, stretch_calls_first, stretch_calls_end),
            Stretch::Vectors => {
                stretch!(stretch_vectors, stretch_vectors_first, stretch_vectors_end)
            }
            Stretch::Scalable => {
                stretch!(
                    stretch_scalable,
                    stretch_scalable_first,
                    stretch_scalable_end
                )
            }
        }
    }

    /// Returns before which instruction an interrupt was taken.
    fn index(&self, at: u64) -> u64 {
        if (self.first..=self.end).contains(&at) {
            (at - self.first) / 4
        } else {
            NOT_IN_STRETCH
        }
    }
}

/// Runs a stretch; returns what the protocol says.
pub(crate) fn run(stretch: Stretch, seed: u64) -> [u64; 4] {
    let code = Code::of(stretch);
    let cpu = cpu::current();
    // The vectors do not take the lock.
    let block = &mut *BLOCKS[cpu::number()].lock();
    for (index, word) in (0..).zip(block.registers.iter_mut().chain(&mut block.memory)) {
        *word = pattern(seed, index);
    }
    let before = cpu.interrupts.load(Ordering::Relaxed);
    cpu.interrupted_at.store(0, Ordering::Relaxed);
    // SAFETY: the routine keeps the registers that a function keeps and writes to its block only; a vCPU
    // that runs the last one has SVE, or it faults and the payload ends.
    unsafe { (code.routine)(block) };
    let taken = cpu.interrupts.load(Ordering::Relaxed) - before;
    let results = block.registers.iter().chain(&block.memory);
    let digest = (0..).zip(results).fold(0, |digest, (index, word)| {
        sequence_step(digest ^ word, index)
    });
    let index = code.index(cpu.interrupted_at.load(Ordering::Relaxed));
    [digest, (code.end - code.first) / 4, taken, index]
}
