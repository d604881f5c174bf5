// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

// The Host's vector registers to memory and back. In: x0 = memory. What is accessed must be enabled.
// Clobber x0, x1, x12 and the registers that are loaded.

.arch armv9-a+sve+sme2
.section .text.simd, "ax"

// host_v_load, host_v_store: V0 to V31, 512 bytes.
.macro host_v operation
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

.global host_v_load
host_v_load:
    host_v  ldp
    ret

.global host_v_store
host_v_store:
    host_v  stp
    ret

// host_z_load, host_z_store: Z0 to Z31, then P0 to P15, one behind the other.
.macro host_z operation
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    \operation z\n, [x0, #\n, mul vl]
    .endr
    addvl   x1, x0, #16
    .irp n, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    \operation z\n, [x1, #(\n - 16), mul vl]
    .endr
    addvl   x1, x1, #16
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    \operation p\n, [x1, #\n, mul vl]
    .endr
.endm

.global host_z_load
host_z_load:
    host_z  ldr
    ret

.global host_z_store
host_z_store:
    host_z  str
    ret

// host_ffr_load, host_ffr_store: FFR, an eighth of a vector. Both clobber P0.
.global host_ffr_load
host_ffr_load:
    ldr     p0, [x0]
    wrffr   p0.b
    ret

.global host_ffr_store
host_ffr_store:
    rdffr   p0.b
    str     p0, [x0]
    ret

// host_za_load, host_za_store: the rows of ZA, each a streaming vector.
.macro host_za operation
    rdsvl   x1, #1
    mov     w12, #0
1:  \operation za[w12, 0], [x0]
    add     x0, x0, x1
    add     w12, w12, #1
    cmp     x12, x1
    b.ne    1b
.endm

.global host_za_load
host_za_load:
    host_za ldr
    ret

.global host_za_store
host_za_store:
    host_za str
    ret

// host_zt0_load, host_zt0_store: ZT0, 64 bytes.
.global host_zt0_load
host_zt0_load:
    ldr     zt0, [x0]
    ret

.global host_zt0_store
host_zt0_store:
    str     zt0, [x0]
    ret
