// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A redistributor's registers: the RD frame and, 64 KiB above, the SGI frame.
//!
//! A vCPU's interface is always awake: `GICR_WAKER` reads as zero and ignores writes.

use super::Gic;
use super::bank::Register;
use super::distributor::{IIDR_VALUE, PIDR2, PIDR2_VALUE, read_words, write_words};
use crate::machine::{VcpuSet, mpidr_of};

const IIDR: u64 = 0x0004;
const TYPER: u64 = 0x0008;
const TYPER_HIGH: u64 = 0x000C;
const SGI_FRAME: u64 = 0x1_0000;
/// `GICR_TYPER.Last`: no redistributor follows in this region.
const TYPER_LAST: u32 = 1 << 4;

impl Gic {
    /// Reads `size_bytes` of the redistributor of a vCPU.
    pub fn read_redistributor(&self, vcpu: usize, offset: u64, size_bytes: u64) -> u64 {
        read_words(offset, size_bytes, |offset| {
            self.read_redistributor_word(vcpu, offset)
        })
    }

    /// Writes `size_bytes` of the redistributor of a vCPU; returns the vCPUs to interrupt.
    pub fn write_redistributor(
        &self,
        vcpu: usize,
        offset: u64,
        size_bytes: u64,
        value: u64,
    ) -> VcpuSet {
        write_words(offset, size_bytes, value, |offset, value, mask| {
            self.write_redistributor_word(vcpu, offset, value, mask)
        })
    }

    fn read_redistributor_word(&self, vcpu: usize, offset: u64) -> u32 {
        match offset {
            IIDR => IIDR_VALUE,
            TYPER => {
                let is_last = vcpu + 1 == self.vcpus.len();
                (vcpu as u32) << 8 | if is_last { TYPER_LAST } else { 0 }
            }
            TYPER_HIGH => mpidr_of(vcpu).raw() as u32,
            PIDR2 => PIDR2_VALUE,
            SGI_FRAME.. => match Register::at(offset - SGI_FRAME) {
                Some((0, register)) => self.vcpus[vcpu].lock().bank.read(register),
                _ => 0,
            },
            _ => 0,
        }
    }

    fn write_redistributor_word(&self, vcpu: usize, offset: u64, value: u32, mask: u32) -> VcpuSet {
        let Some(offset) = offset.checked_sub(SGI_FRAME) else {
            return VcpuSet::EMPTY;
        };
        let Some((0, register)) = Register::at(offset) else {
            return VcpuSet::EMPTY;
        };
        let affected = self.vcpus[vcpu].lock().bank.write(register, value, mask);
        if affected == 0 {
            VcpuSet::EMPTY
        } else {
            VcpuSet::only(vcpu)
        }
    }
}
