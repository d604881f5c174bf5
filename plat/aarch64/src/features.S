// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

// What only an instruction can tell about a PE.

// rmm_read_id_registers(into: x0)
//   Writes the ID registers S3_0_C0_C<m>_<n> for m = 1 to 7 to the 64-bit words m * 8 + n.
//   All of them can be read: what is not allocated reads as zero. Clobbers x1.
    .section .text.rmm_read_id_registers, "ax"
    .global rmm_read_id_registers
rmm_read_id_registers:
    .irp    crm, 1, 2, 3, 4, 5, 6, 7
    .irp    op2, 0, 1, 2, 3, 4, 5, 6, 7
    mrs     x1, S3_0_C0_C\crm\()_\op2
    str     x1, [x0, #((\crm * 8 + \op2) * 8)]
    .endr
    .endr
    ret

// rmm_probe_sve() -> x0
//   Returns the greatest vector length in bytes that EL3 lets this PE have, 0 when it lets it have none.
//   ZCR_EL2 is as before. Clobbers x1, x2.
    .section .text.rmm_probe_sve, "ax"
    .global rmm_probe_sve
rmm_probe_sve:
0:  mrs     x1, S3_4_C1_C2_0        // ZCR_EL2
    mov     x2, #0xF                // LEN: as long as it gets
    msr     S3_4_C1_C2_0, x2
    isb
    .inst   0x04BF5020              // rdvl x0, #1
    msr     S3_4_C1_C2_0, x1
    isb
    ret
1:  mov     x0, #0
    ret
    FIXUP   0b, 1b, 1b

// rmm_probe_pmu() -> x0
//   Returns PMCR_EL0, all ones when EL3 does not let this PE have it.
    .section .text.rmm_probe_pmu, "ax"
    .global rmm_probe_pmu
rmm_probe_pmu:
0:  mrs     x0, pmcr_el0
    ret
1:  mov     x0, #-1
    ret
    FIXUP   0b, 1b, 1b

// rmm_close_fgt2()
//   Writes zero to the control registers of FEAT_FGT2, which traps everything that they know. Where EL3
//   keeps them (SCR_EL3.FGTEn2) they act as zero.
    .section .text.rmm_close_fgt2, "ax"
    .global rmm_close_fgt2
rmm_close_fgt2:
0:  msr     S3_4_C3_C1_0, xzr       // HDFGRTR2_EL2
    msr     S3_4_C3_C1_1, xzr       // HDFGWTR2_EL2
    msr     S3_4_C3_C1_2, xzr       // HFGRTR2_EL2
    msr     S3_4_C3_C1_3, xzr       // HFGWTR2_EL2
    msr     S3_4_C3_C1_7, xzr       // HFGITR2_EL2
1:  ret
    FIXUP   0b, 1b, 1b

// rmm_close_mpam(mpam2: x0)
//   Writes MPAM2_EL2, and traps MPAMIDR_EL1 in MPAMHCR_EL2 too, which not every PE with MPAM has. Where
//   EL3 keeps them (MPAM3_EL3.TRAPLOWER) it keeps the registers of EL1 as well. Clobbers x1.
    .section .text.rmm_close_mpam, "ax"
    .global rmm_close_mpam
rmm_close_mpam:
0:  msr     S3_4_C10_C5_0, x0       // MPAM2_EL2
    mov     x1, #(1 << 31)          // TRAP_MPAMIDR_EL1
    msr     S3_4_C10_C4_0, x1       // MPAMHCR_EL2
1:  ret
    FIXUP   0b, 1b, 1b
