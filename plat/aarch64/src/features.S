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
