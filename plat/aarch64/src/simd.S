// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

// Vector registers to memory and back.
//
// Every routine takes pointers in x0 and x1, clobbers only the registers it loads, and needs CPTR_EL2 and
// ZCR_EL2 to let R-EL2 use the registers. Called with interrupts masked.

    .arch   armv9-a+sve
    .section .text.simd, "ax"

// v_save(x0: 512 bytes), v_load(x0: 512 bytes): V0 to V31.
    .global v_save
v_save:
    stp     q0, q1, [x0, #0]
    stp     q2, q3, [x0, #32]
    stp     q4, q5, [x0, #64]
    stp     q6, q7, [x0, #96]
    stp     q8, q9, [x0, #128]
    stp     q10, q11, [x0, #160]
    stp     q12, q13, [x0, #192]
    stp     q14, q15, [x0, #224]
    stp     q16, q17, [x0, #256]
    stp     q18, q19, [x0, #288]
    stp     q20, q21, [x0, #320]
    stp     q22, q23, [x0, #352]
    stp     q24, q25, [x0, #384]
    stp     q26, q27, [x0, #416]
    stp     q28, q29, [x0, #448]
    stp     q30, q31, [x0, #480]
    ret

    .global v_load
v_load:
    ldp     q0, q1, [x0, #0]
    ldp     q2, q3, [x0, #32]
    ldp     q4, q5, [x0, #64]
    ldp     q6, q7, [x0, #96]
    ldp     q8, q9, [x0, #128]
    ldp     q10, q11, [x0, #160]
    ldp     q12, q13, [x0, #192]
    ldp     q14, q15, [x0, #224]
    ldp     q16, q17, [x0, #256]
    ldp     q18, q19, [x0, #288]
    ldp     q20, q21, [x0, #320]
    ldp     q22, q23, [x0, #352]
    ldp     q24, q25, [x0, #384]
    ldp     q26, q27, [x0, #416]
    ldp     q28, q29, [x0, #448]
    ldp     q30, q31, [x0, #480]
    ret

// z_save(x0: Z0 to Z15, x1: Z16 to Z31), z_load likewise: 16 vector lengths each.
    .macro  simd_z operation
    .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    \operation z\n, [x0, #\n, mul vl]
    .endr
    .irp    n, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    \operation z\n, [x1, #(\n - 16), mul vl]
    .endr
    ret
    .endm

    .global z_save
z_save:
    simd_z  str

    .global z_load
z_load:
    simd_z  ldr

// p_save(x0: P0 to P15), p_load likewise: 16 predicate lengths.
    .macro  simd_p operation
    .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    \operation p\n, [x0, #\n, mul vl]
    .endr
    ret
    .endm

    .global p_save
p_save:
    simd_p  str

    .global p_load
p_load:
    simd_p  ldr

// p_clear(): zeroes P0 to P15 and FFR.
    .global p_clear
p_clear:
    .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    pfalse  p\n\().b
    .endr
    wrffr   p0.b
    ret

// ffr_save(x0: one predicate length) -> x0: 1, or 0 when there is no FFR: streaming mode may be without.
// Clobbers p0, which is saved before. ffr_load(x0) likewise, p0 is loaded afterwards.
    .global ffr_save
ffr_save:
0:  rdffr   p0.b
1:  str     p0, [x0]
    mov     x0, #1
    ret
2:  mov     x0, #0
    ret
    .pushsection .fixups, "a"
    .balign 8
    .quad   0b, 1b, 2b
    .popsection

    .global ffr_load
ffr_load:
    ldr     p0, [x0]
    wrffr   p0.b
    ret
