// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

// Vector registers to memory and back.
//
// Every routine takes pointers in x0 and x1, clobbers only the registers it loads (and p0 when it saves
// FFR), and needs CPTR_EL2 and ZCR_EL2 to let R-EL2 use the registers. Called with interrupts masked.

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
    .global z_save
z_save:
    str     z0, [x0, #0, mul vl]
    str     z1, [x0, #1, mul vl]
    str     z2, [x0, #2, mul vl]
    str     z3, [x0, #3, mul vl]
    str     z4, [x0, #4, mul vl]
    str     z5, [x0, #5, mul vl]
    str     z6, [x0, #6, mul vl]
    str     z7, [x0, #7, mul vl]
    str     z8, [x0, #8, mul vl]
    str     z9, [x0, #9, mul vl]
    str     z10, [x0, #10, mul vl]
    str     z11, [x0, #11, mul vl]
    str     z12, [x0, #12, mul vl]
    str     z13, [x0, #13, mul vl]
    str     z14, [x0, #14, mul vl]
    str     z15, [x0, #15, mul vl]
    str     z16, [x1, #0, mul vl]
    str     z17, [x1, #1, mul vl]
    str     z18, [x1, #2, mul vl]
    str     z19, [x1, #3, mul vl]
    str     z20, [x1, #4, mul vl]
    str     z21, [x1, #5, mul vl]
    str     z22, [x1, #6, mul vl]
    str     z23, [x1, #7, mul vl]
    str     z24, [x1, #8, mul vl]
    str     z25, [x1, #9, mul vl]
    str     z26, [x1, #10, mul vl]
    str     z27, [x1, #11, mul vl]
    str     z28, [x1, #12, mul vl]
    str     z29, [x1, #13, mul vl]
    str     z30, [x1, #14, mul vl]
    str     z31, [x1, #15, mul vl]
    ret

    .global z_load
z_load:
    ldr     z0, [x0, #0, mul vl]
    ldr     z1, [x0, #1, mul vl]
    ldr     z2, [x0, #2, mul vl]
    ldr     z3, [x0, #3, mul vl]
    ldr     z4, [x0, #4, mul vl]
    ldr     z5, [x0, #5, mul vl]
    ldr     z6, [x0, #6, mul vl]
    ldr     z7, [x0, #7, mul vl]
    ldr     z8, [x0, #8, mul vl]
    ldr     z9, [x0, #9, mul vl]
    ldr     z10, [x0, #10, mul vl]
    ldr     z11, [x0, #11, mul vl]
    ldr     z12, [x0, #12, mul vl]
    ldr     z13, [x0, #13, mul vl]
    ldr     z14, [x0, #14, mul vl]
    ldr     z15, [x0, #15, mul vl]
    ldr     z16, [x1, #0, mul vl]
    ldr     z17, [x1, #1, mul vl]
    ldr     z18, [x1, #2, mul vl]
    ldr     z19, [x1, #3, mul vl]
    ldr     z20, [x1, #4, mul vl]
    ldr     z21, [x1, #5, mul vl]
    ldr     z22, [x1, #6, mul vl]
    ldr     z23, [x1, #7, mul vl]
    ldr     z24, [x1, #8, mul vl]
    ldr     z25, [x1, #9, mul vl]
    ldr     z26, [x1, #10, mul vl]
    ldr     z27, [x1, #11, mul vl]
    ldr     z28, [x1, #12, mul vl]
    ldr     z29, [x1, #13, mul vl]
    ldr     z30, [x1, #14, mul vl]
    ldr     z31, [x1, #15, mul vl]
    ret

// p_save(x0: 17 predicate lengths), p_load likewise: P0 to P15, then FFR.
    .global p_save
p_save:
    str     p0, [x0, #0, mul vl]
    str     p1, [x0, #1, mul vl]
    str     p2, [x0, #2, mul vl]
    str     p3, [x0, #3, mul vl]
    str     p4, [x0, #4, mul vl]
    str     p5, [x0, #5, mul vl]
    str     p6, [x0, #6, mul vl]
    str     p7, [x0, #7, mul vl]
    str     p8, [x0, #8, mul vl]
    str     p9, [x0, #9, mul vl]
    str     p10, [x0, #10, mul vl]
    str     p11, [x0, #11, mul vl]
    str     p12, [x0, #12, mul vl]
    str     p13, [x0, #13, mul vl]
    str     p14, [x0, #14, mul vl]
    str     p15, [x0, #15, mul vl]
    rdffr   p0.b
    str     p0, [x0, #16, mul vl]
    ret

    .global p_load
p_load:
    ldr     p0, [x0, #16, mul vl]
    wrffr   p0.b
    ldr     p0, [x0, #0, mul vl]
    ldr     p1, [x0, #1, mul vl]
    ldr     p2, [x0, #2, mul vl]
    ldr     p3, [x0, #3, mul vl]
    ldr     p4, [x0, #4, mul vl]
    ldr     p5, [x0, #5, mul vl]
    ldr     p6, [x0, #6, mul vl]
    ldr     p7, [x0, #7, mul vl]
    ldr     p8, [x0, #8, mul vl]
    ldr     p9, [x0, #9, mul vl]
    ldr     p10, [x0, #10, mul vl]
    ldr     p11, [x0, #11, mul vl]
    ldr     p12, [x0, #12, mul vl]
    ldr     p13, [x0, #13, mul vl]
    ldr     p14, [x0, #14, mul vl]
    ldr     p15, [x0, #15, mul vl]
    ret

// As above without FFR, which streaming mode does not have.
    .global p_save_streaming
p_save_streaming:
    str     p0, [x0, #0, mul vl]
    str     p1, [x0, #1, mul vl]
    str     p2, [x0, #2, mul vl]
    str     p3, [x0, #3, mul vl]
    str     p4, [x0, #4, mul vl]
    str     p5, [x0, #5, mul vl]
    str     p6, [x0, #6, mul vl]
    str     p7, [x0, #7, mul vl]
    str     p8, [x0, #8, mul vl]
    str     p9, [x0, #9, mul vl]
    str     p10, [x0, #10, mul vl]
    str     p11, [x0, #11, mul vl]
    str     p12, [x0, #12, mul vl]
    str     p13, [x0, #13, mul vl]
    str     p14, [x0, #14, mul vl]
    str     p15, [x0, #15, mul vl]
    ret

    .global p_load_streaming
p_load_streaming:
    ldr     p0, [x0, #0, mul vl]
    ldr     p1, [x0, #1, mul vl]
    ldr     p2, [x0, #2, mul vl]
    ldr     p3, [x0, #3, mul vl]
    ldr     p4, [x0, #4, mul vl]
    ldr     p5, [x0, #5, mul vl]
    ldr     p6, [x0, #6, mul vl]
    ldr     p7, [x0, #7, mul vl]
    ldr     p8, [x0, #8, mul vl]
    ldr     p9, [x0, #9, mul vl]
    ldr     p10, [x0, #10, mul vl]
    ldr     p11, [x0, #11, mul vl]
    ldr     p12, [x0, #12, mul vl]
    ldr     p13, [x0, #13, mul vl]
    ldr     p14, [x0, #14, mul vl]
    ldr     p15, [x0, #15, mul vl]
    ret
