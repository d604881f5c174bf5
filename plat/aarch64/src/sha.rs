// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The SHA-2 instructions, for the monitor's own digests.

use core::arch::global_asm;

use rmm_hal::{CpuFeatures, NoInstructions, Sha2, Sha2Unit};

use crate::loan::Lender;

global_asm!(
    include_str!("sha256.S"),
    include_str!("sha512.S"),
    options(raw)
);

unsafe extern "C" {
    fn rmm_sha256(state: *mut u32, blocks: *const u8, count: usize);
    fn rmm_sha256_zeroes(state: *mut u32, count: usize);
    fn rmm_sha512(state: *mut u64, blocks: *const u8, count: usize);
}

/// The SHA-2 instructions of this PE.
#[derive(Debug)]
pub struct Instructions {
    lender: Lender,
    has_256: bool,
    has_512: bool,
}

impl Instructions {
    pub(crate) fn new(features: &CpuFeatures) -> Self {
        Self {
            lender: Lender::new(features),
            has_256: features.sha256,
            has_512: features.sha512,
        }
    }
}

impl Sha2 for Instructions {
    type Unit = Unit;

    fn with_unit<R>(&self, work: impl FnOnce(&Unit) -> R) -> R {
        let Self {
            lender,
            has_256,
            has_512,
        } = *self;
        lender.lend(|is_lent| {
            work(&Unit {
                has_256: is_lent && has_256,
                has_512: is_lent && has_512,
            })
        })
    }
}

/// The SHA-2 instructions of this PE while V0 to V15 are on loan.
#[derive(Debug)]
pub struct Unit {
    has_256: bool,
    has_512: bool,
}

impl Sha2Unit for Unit {
    #[inline]
    fn compress256(&self, state: &mut [u32; 8], blocks: &[[u8; 64]]) -> Result<(), NoInstructions> {
        if !self.has_256 {
            return Err(NoInstructions);
        }
        if !blocks.is_empty() {
            // SAFETY: the state is eight words and there are that many blocks, not none; the PE has the
            // instructions, and V0 to V11 are on loan: a unit exists no longer than the loan.
            unsafe { rmm_sha256(state.as_mut_ptr(), blocks.as_ptr().cast(), blocks.len()) };
        }
        Ok(())
    }

    #[inline]
    fn compress256_zeroes(
        &self,
        state: &mut [u32; 8],
        blocks: usize,
    ) -> Result<(), NoInstructions> {
        if !self.has_256 {
            return Err(NoInstructions);
        }
        if blocks != 0 {
            // SAFETY: the state is eight words; the PE has the instructions, and V0 to V11 are on loan.
            unsafe { rmm_sha256_zeroes(state.as_mut_ptr(), blocks) };
        }
        Ok(())
    }

    #[inline]
    fn compress512(
        &self,
        state: &mut [u64; 8],
        blocks: &[[u8; 128]],
    ) -> Result<(), NoInstructions> {
        if !self.has_512 {
            return Err(NoInstructions);
        }
        if !blocks.is_empty() {
            // SAFETY: the state is eight double words and there are that many blocks, not none; the PE
            // has the instructions, and V0 to V15 are on loan: a unit exists no longer than the loan.
            unsafe { rmm_sha512(state.as_mut_ptr(), blocks.as_ptr().cast(), blocks.len()) };
        }
        Ok(())
    }
}
