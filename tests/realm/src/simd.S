// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

// Vector registers to memory and back. In: x0 = memory. The z routines: Z0 to Z31 one after the other,
// then P0 to P15 and FFR. Clobber x1 and the registers that are loaded.

.arch armv9-a+sve
.section .text.simd, "ax"

.macro simd_v operation
    \operation q0, q1, [x0, #0]
    \operation q2, q3, [x0, #32]
    \operation q4, q5, [x0, #64]
    \operation q6, q7, [x0, #96]
    \operation q8, q9, [x0, #128]
    \operation q10, q11, [x0, #160]
    \operation q12, q13, [x0, #192]
    \operation q14, q15, [x0, #224]
    \operation q16, q17, [x0, #256]
    \operation q18, q19, [x0, #288]
    \operation q20, q21, [x0, #320]
    \operation q22, q23, [x0, #352]
    \operation q24, q25, [x0, #384]
    \operation q26, q27, [x0, #416]
    \operation q28, q29, [x0, #448]
    \operation q30, q31, [x0, #480]
.endm

.global simd_v_load
simd_v_load:
    simd_v  ldp
    ret

.global simd_v_store
simd_v_store:
    simd_v  stp
    ret

// The first half of the Z registers is addressed from x0, the second from 16 vectors behind it, the
// predicates, an eighth of a vector each, from 32 vectors behind it.
.macro simd_z operation
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    \operation z\n, [x0, #\n, mul vl]
    .endr
    addvl   x1, x0, #16
    .irp n, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    \operation z\n, [x1, #(\n - 16), mul vl]
    .endr
    addvl   x1, x1, #16
.endm

.macro simd_p operation
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    \operation p\n, [x1, #\n, mul vl]
    .endr
.endm

.global simd_z_load
simd_z_load:
    simd_z  ldr
    ldr     p0, [x1, #16, mul vl]
    wrffr   p0.b
    simd_p  ldr
    ret

.global simd_z_store
simd_z_store:
    simd_z  str
    simd_p  str
    rdffr   p0.b
    str     p0, [x1, #16, mul vl]
    ldr     p0, [x1]
    ret

// simd_vector_bytes() -> x0: length of a Z register in bytes.
.global simd_vector_bytes
simd_vector_bytes:
    rdvl    x0, #1
    ret
