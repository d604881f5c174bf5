// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What EL2 controls of a normal VM while this PE runs one of its vCPUs.

use aarch64_cpu::asm::barrier;
use host_mm::realm::Geometry;
use host_mm::stage2::Stage2;
use host_vmm::machine::mpidr_of;

use crate::cpu;
use crate::machine::Machine;
use crate::sysreg::{read_sysreg, write_sysreg};
use crate::tags;

/// Bits of `HCR_EL2`: stage 2 on (VM); set/way maintenance made safe (SWIO); FIQ, IRQ and SError
/// come here (FMO, IMO, AMO); maintenance and barriers reach the inner shareable domain (FB, BSU);
/// identification registers (TID3), SMC (TSC) and what the implementation defines (TIDCP) trap;
/// EL1 is AArch64 (RW); pointer authentication (APK, API) and SCXTNUM (EnSCXT) do not trap.
const HCR: u64 = 1
    | 1 << 1
    | 1 << 3
    | 1 << 4
    | 1 << 5
    | 1 << 9
    | 0b01 << 10
    | 1 << 18
    | 1 << 19
    | 1 << 20
    | 1 << 31
    | 1 << 40
    | 1 << 41
    | 1 << 53;
/// `HCR_EL2.FWB`.
const HCR_FWB: u64 = 1 << 46;
/// `HCR_EL2.ATA`: the guest reaches allocation tags; without, reading `GMID_EL1` traps (TID5).
const HCR_ATA: u64 = 1 << 56;
const HCR_TID5: u64 = 1 << 58;
/// `CPTR_EL2` with E2H = 0: SVE (TZ), SME (TSM), trace (TTA) and activity monitors (TAM) trap;
/// SIMD does not. The other bits are one.
const CPTR: u64 = 0x2FF | 1 << 12 | 1 << 13 | 1 << 20 | 1 << 30;
/// `HCRX_EL2.MSCEn`: the guest may use memory copy instructions.
const HCRX_MSCEN: u64 = 1 << 11;
/// `CNTHCTL_EL2`: EL1 may use the physical counter and timer.
const CNTHCTL: u64 = 0b11;
/// `PMCR_EL0.N` and the place of `MDCR_EL2.HPMN`: all counters are the guest's.
const PMCR_N_SHIFT: u32 = 11;
const COUNTERS: u64 = 0x1F;
/// `ICC_SRE_EL1.SRE`.
const SYSTEM_REGISTERS: u64 = 1;
/// `VMPIDR_EL2`: bit 31 is one.
const MPIDR_ONE: u64 = 1 << 31;
/// `VTTBR_EL2.VMID`.
const VMID_SHIFT: u32 = 48;
/// `VTCR_EL2`: bit 31 is one; walks are inner shareable and write-back; 16 bits of VMID where the
/// PE has them.
const VTCR: u64 = 1 << 31 | 0b11 << 12 | 0b01 << 10 | 0b01 << 8;
const VTCR_VMID16: u64 = 1 << 19;
const VTCR_PS_SHIFT: u32 = 16;
const VTCR_SL0_SHIFT: u32 = 6;
/// Largest `VTCR_EL2.PS` without 52-bit addresses: 48 bits.
const MAX_PS: u64 = 0b101;

/// The controls of a PE that runs a normal vCPU. Dropping them gives the host its own back.
#[derive(Debug)]
pub(super) struct Controls {
    hcr: u64,
    cptr: u64,
    mdcr: u64,
}

impl Controls {
    /// Sets this PE up for vCPU `vcpu` of the guest with this stage 2.
    pub(super) fn set(vcpu: usize, stage2: &Stage2<'_, Machine>) -> Self {
        let before = Self {
            hcr: read_sysreg!("hcr_el2"),
            cptr: read_sysreg!("cptr_el2"),
            mdcr: read_sysreg!("mdcr_el2"),
        };
        let root = stage2.root().table.address();
        write_sysreg!("vtcr_el2", translation(stage2.geometry()));
        write_sysreg!("vttbr_el2", u64::from(stage2.vmid()) << VMID_SHIFT | root);
        write_sysreg!("vmpidr_el2", mpidr_of(vcpu).affinity() | MPIDR_ONE);
        write_sysreg!("vpidr_el2", read_sysreg!("midr_el1"));
        write_sysreg!("cntvoff_el2", 0);
        write_sysreg!("cnthctl_el2", CNTHCTL);
        write_sysreg!("hstr_el2", 0);
        write_sysreg!("S3_0_C12_C12_5", SYSTEM_REGISTERS);
        if cpu::has_extended_controls() {
            let memory_copy = if cpu::has_memory_copy() {
                HCRX_MSCEN
            } else {
                0
            };
            write_sysreg!("S3_4_C1_C2_2", memory_copy);
        }
        let counters = if cpu::has_counters() {
            read_sysreg!("pmcr_el0") >> PMCR_N_SHIFT & COUNTERS
        } else {
            0
        };
        write_sysreg!("mdcr_el2", counters);
        write_sysreg!("cptr_el2", CPTR);
        let forced = if cpu::facts().fwb { HCR_FWB } else { 0 };
        let tagging = match (tags::are_usable(), cpu::has_tags()) {
            (true, _) => HCR_ATA,
            (false, true) => HCR_TID5,
            (false, false) => 0,
        };
        write_sysreg!("hcr_el2", HCR | forced | tagging);
        barrier::isb(barrier::SY);
        before
    }
}

impl Drop for Controls {
    fn drop(&mut self) {
        write_sysreg!("hcr_el2", self.hcr);
        write_sysreg!("cptr_el2", self.cptr);
        write_sysreg!("mdcr_el2", self.mdcr);
        write_sysreg!("vttbr_el2", 0);
        barrier::isb(barrier::SY);
    }
}

/// Returns `VTCR_EL2` for tables of this shape, 4 KiB granule.
fn translation(geometry: &Geometry) -> u64 {
    let width = u64::from(64 - geometry.ipa_bits);
    // SL0 counts the starting level backwards from 2.
    let start = (2 - geometry.start_level.raw()) as u64;
    let physical = cpu::physical_range().min(MAX_PS);
    let vmid = if cpu::has_long_vmids() {
        VTCR_VMID16
    } else {
        0
    };
    VTCR | width | start << VTCR_SL0_SHIFT | physical << VTCR_PS_SHIFT | vmid
}
