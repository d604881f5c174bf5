// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Instructions by their encoding (Arm ARM, chapter C4).
//!
//! The loads and stores access the address in x1; the value is in x0.

/// `ldrb w0, [x1]`.
pub const LDRB_W0: u32 = 0x3940_0020;
/// `ldrh w0, [x1]`.
pub const LDRH_W0: u32 = 0x7940_0020;
/// `ldr w0, [x1]`.
pub const LDR_W0: u32 = 0xB940_0020;
/// `ldr x0, [x1]`.
pub const LDR_X0: u32 = 0xF940_0020;
/// `ldrsb w0, [x1]`.
pub const LDRSB_W0: u32 = 0x39C0_0020;
/// `ldrsb x0, [x1]`.
pub const LDRSB_X0: u32 = 0x3980_0020;
/// `ldrsh w0, [x1]`.
pub const LDRSH_W0: u32 = 0x79C0_0020;
/// `ldrsh x0, [x1]`.
pub const LDRSH_X0: u32 = 0x7980_0020;
/// `ldrsw x0, [x1]`.
pub const LDRSW_X0: u32 = 0xB980_0020;
/// `ldr xzr, [x1]`.
pub const LDR_XZR: u32 = 0xF940_003F;
/// `ldp x0, x2, [x1]`: no syndrome of the access.
pub const LDP_X0_X2: u32 = 0xA940_0820;
/// `ldr x0, [x1], #8`: no syndrome of the access.
pub const LDR_X0_POST: u32 = 0xF840_8420;
/// `strb w0, [x1]`.
pub const STRB_W0: u32 = 0x3900_0020;
/// `strh w0, [x1]`.
pub const STRH_W0: u32 = 0x7900_0020;
/// `str w0, [x1]`.
pub const STR_W0: u32 = 0xB900_0020;
/// `str x0, [x1]`.
pub const STR_X0: u32 = 0xF900_0020;
/// `str xzr, [x1]`.
pub const STR_XZR: u32 = 0xF900_003F;
/// `stp x0, x2, [x1]`: no syndrome of the access.
pub const STP_X0_X2: u32 = 0xA900_0820;
/// `str x0, [x1], #8`: no syndrome of the access.
pub const STR_X0_POST: u32 = 0xF800_8420;
/// `br x1`, for a jump whose fetch faults.
pub const BR_X1: u32 = 0xD61F_0020;

/// `smc #0`.
pub const SMC: u32 = 0xD400_0003;
/// `hvc #0`.
pub const HVC: u32 = 0xD400_0002;
/// `udf #0`.
pub const UDF: u32 = 0x0000_0000;
/// `nop`.
pub const NOP: u32 = 0xD503_201F;
/// `wfe`.
pub const WFE: u32 = 0xD503_205F;
/// `wfi`.
pub const WFI: u32 = 0xD503_207F;
/// `wfit x0`.
pub const WFIT_X0: u32 = 0xD503_1020;
/// `wfet x0`.
pub const WFET_X0: u32 = 0xD503_1000;

/// `fmov d0, xzr`: SIMD and floating point.
pub const FMOV_D0_XZR: u32 = 0x9E67_03E0;
/// `rdvl x0, #1`: SVE.
pub const RDVL_X0: u32 = 0x04BF_5020;
/// `smstart`: SME.
pub const SMSTART: u32 = 0xD503_477F;
/// `rdsvl x0, #1`: SME.
pub const RDSVL_X0: u32 = 0x04BF_5820;
/// `pacia x0, x2`: pointer authentication with key A.
pub const PACIA_X0_X2: u32 = 0xDAC1_0040;
/// `autia x0, x2`.
pub const AUTIA_X0_X2: u32 = 0xDAC1_1040;
/// `xpaci x0`.
pub const XPACI_X0: u32 = 0xDAC1_43E0;
/// `irg x0, x0`: memory tagging.
pub const IRG_X0: u32 = 0x9ADF_1000;
/// `ldg x0, [x1]`: memory tagging.
pub const LDG_X0: u32 = 0xD960_0020;
/// `ldgm x0, [x1]`: memory tagging.
pub const LDGM_X0: u32 = 0xD9E0_0020;
/// `stg x0, [x1]`: memory tagging.
pub const STG_X0: u32 = 0xD920_0820;
/// `stg x1, [x1]`: memory tagging.
pub const STG_X1: u32 = 0xD920_0821;
/// `stgm x0, [x1]`: memory tagging.
pub const STGM_X0: u32 = 0xD9A0_0020;
/// `dc gva, x0`: memory tagging.
pub const DC_GVA_X0: u32 = SystemRegister::new(1, 3, 7, 4, 3).write_x0();
/// `ld64b x0, [x1]`: 64-byte accesses.
pub const LD64B_X0: u32 = 0xF83F_D020;
/// `casal x0, x2, [x1]`: atomics.
pub const CASAL_X0_X2: u32 = 0xC8E0_FC22;
/// `ldxr x0, [x1]`: exclusives.
pub const LDXR_X0: u32 = 0xC85F_7C20;
/// `dc zva, x1`.
pub const DC_ZVA_X1: u32 = 0xD50B_7421;
/// `hlt #0`.
pub const HLT: u32 = 0xD440_0000;
/// `dcps1`.
pub const DCPS1: u32 = 0xD4A0_0001;

/// `adr x0, .`: the address of the instruction itself.
pub const ADR_X0: u32 = 0x1000_0000;
/// `eret`.
pub const ERET: u32 = 0xD69F_03E0;
/// `ic iallu`.
pub const IC_IALLU: u32 = 0xD508_751F;
/// `msr daifclr, #8`: debug exceptions at EL1 are not masked.
pub const DAIFCLR_D: u32 = 0xD503_48FF;
/// `msr spsr_el1, x1`.
pub const MSR_SPSR_X1: u32 = 0xD518_4001;

/// A system register or system instruction: `S<op0>_<op1>_C<n>_C<m>_<op2>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemRegister(u32);

impl SystemRegister {
    /// Returns the one with this name. `op0` is 1 to 3, `op1` and `op2` are 0 to 7, the others 0 to
    /// 15.
    #[must_use]
    pub const fn new(op0: u32, op1: u32, crn: u32, crm: u32, op2: u32) -> Self {
        Self(op0 << 19 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5)
    }

    /// Returns `mrs x0, <register>`, or `sysl` for a system instruction.
    #[must_use]
    pub const fn read_x0(self) -> u32 {
        0xD520_0000 | self.0
    }

    /// Returns `msr <register>, x0`, or `sys` for a system instruction.
    #[must_use]
    pub const fn write_x0(self) -> u32 {
        0xD500_0000 | self.0
    }

    /// Returns op0, op1, CRn, CRm and op2.
    #[must_use]
    pub const fn parts(self) -> [u32; 5] {
        [
            self.0 >> 19 & 3,
            self.0 >> 16 & 7,
            self.0 >> 12 & 15,
            self.0 >> 8 & 15,
            self.0 >> 5 & 7,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_register_has_the_encoding_of_the_assembler() {
        // mrs x0, midr_el1; msr tpidr_el1, x0; mrs x0, pmcr_el0, as GNU as encodes them.
        let midr = SystemRegister::new(3, 0, 0, 0, 0);
        assert_eq!(midr.read_x0(), 0xD538_0000);
        let tpidr = SystemRegister::new(3, 0, 13, 0, 4);
        assert_eq!(tpidr.write_x0(), 0xD518_D080);
        let pmcr = SystemRegister::new(3, 3, 9, 12, 0);
        assert_eq!(pmcr.read_x0(), 0xD53B_9C00);
        assert_eq!(pmcr.parts(), [3, 3, 9, 12, 0]);
        // dc zva, x0 is a system instruction.
        assert_eq!(
            SystemRegister::new(1, 3, 7, 4, 1).write_x0(),
            DC_ZVA_X1 & !1
        );
    }
}
