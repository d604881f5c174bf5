// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Exceptions taken from R-EL2 itself.
//!
//! Two kinds are expected: an abort on memory that another world can take away, and an undefined
//! instruction where the PE is asked what EL3 lets it have. Both happen only at instructions that are in
//! the fix-up list with a place to go on. Anything else is a crash.

use core::arch::global_asm;
use core::mem::offset_of;
use core::ptr::with_exposed_provenance;

use crate::crash;
use crate::entry::{EMERGENCY_TOP, PeBlock, STACK_BIT, symbol};
use crate::syndrome::is_survivable;

const KIND_SYNC: u64 = 0;
const KIND_IRQ: u64 = 1;
const KIND_FIQ: u64 = 2;
const KIND_SERROR: u64 = 3;
const KIND_SP0: u64 = 4;
const KIND_AARCH32: u64 = 5;
const KIND_OVERFLOW: u64 = 6;

global_asm!(
    include_str!("vectors.S"),
    FRAME_SIZE = const size_of::<Frame>(),
    FRAME_SP = const offset_of!(Frame, sp),
    FRAME_ELR = const offset_of!(Frame, elr),
    FRAME_SPSR = const offset_of!(Frame, spsr),
    FRAME_ESR = const offset_of!(Frame, esr),
    FRAME_FAR = const offset_of!(Frame, far),
    STACK_BIT = const STACK_BIT,
    EMERGENCY_TOP = const EMERGENCY_TOP,
    BLOCK_CRASHING = const PeBlock::CRASHING,
    KIND_SYNC = const KIND_SYNC,
    KIND_IRQ = const KIND_IRQ,
    KIND_FIQ = const KIND_FIQ,
    KIND_SERROR = const KIND_SERROR,
    KIND_SP0 = const KIND_SP0,
    KIND_AARCH32 = const KIND_AARCH32,
    KIND_OVERFLOW = const KIND_OVERFLOW,
);

/// The registers of the code that was interrupted.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Frame {
    /// X0 to X30.
    pub(crate) gprs: [u64; 31],
    pub(crate) sp: u64,
    pub(crate) elr: u64,
    pub(crate) spsr: u64,
    pub(crate) esr: u64,
    pub(crate) far: u64,
}

const _: () = assert!(size_of::<Frame>().is_multiple_of(16));

/// One range of the fix-up list: an exception at `from..to` goes on at `landing`.
#[repr(C)]
struct Fixup {
    from: u64,
    to: u64,
    landing: u64,
}

/// Called by `vectors.S`. Returns when the frame's `elr` has been moved to where to go on.
#[unsafe(no_mangle)]
extern "C" fn rmm_exception(kind: u64, frame: &mut Frame) {
    if kind == KIND_SYNC
        && is_survivable(frame.esr)
        && let Some(landing) = find_landing(frame.elr)
    {
        frame.elr = landing;
        return;
    }
    let what = match kind {
        KIND_SYNC => "exception",
        KIND_IRQ => "IRQ",
        KIND_FIQ => "FIQ",
        KIND_SERROR => "SError",
        KIND_SP0 => "exception on SP_EL0",
        KIND_AARCH32 => "exception from AArch32",
        KIND_OVERFLOW => "stack overflow",
        _ => "exception of no kind",
    };
    crash::exception(what, frame)
}

fn find_landing(pc: u64) -> Option<u64> {
    let start = symbol!(__fixups_start);
    let count = (symbol!(__fixups_end) - start) / size_of::<Fixup>();
    // SAFETY: the linker script collects the entries of `.fixups` there, each three aligned words; they
    // are constants.
    let fixups =
        unsafe { core::slice::from_raw_parts(with_exposed_provenance::<Fixup>(start), count) };
    fixups
        .iter()
        .find(|fixup| (fixup.from..fixup.to).contains(&pc))
        .map(|fixup| fixup.landing)
}
