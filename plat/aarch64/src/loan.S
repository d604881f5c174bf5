// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

// Vector registers that the monitor borrows for a moment.
//
// The routines take the area in x0 and need CPTR_EL2 to let R-EL2 use the registers; those for Z need
// ZCR_EL2.LEN to be as long as it gets. Called with interrupts masked.
//
// What is loaded from the area is replaced by zeroes.

// loan_take_v(area: x0), loan_return_v(area: x0): V0 to V15, one behind the other.
    .section .text.loan_v, "ax"
    .balign 16
    .global loan_take_v
loan_take_v:
    stp     q0, q1, [x0]
    stp     q2, q3, [x0, #32]
    stp     q4, q5, [x0, #64]
    stp     q6, q7, [x0, #96]
    stp     q8, q9, [x0, #128]
    stp     q10, q11, [x0, #160]
    stp     q12, q13, [x0, #192]
    stp     q14, q15, [x0, #224]
    ret

    .balign 16
    .global loan_return_v
loan_return_v:
    ldp     q0, q1, [x0]
    ldp     q2, q3, [x0, #32]
    ldp     q4, q5, [x0, #64]
    ldp     q6, q7, [x0, #96]
    ldp     q8, q9, [x0, #128]
    ldp     q10, q11, [x0, #160]
    ldp     q12, q13, [x0, #192]
    ldp     q14, q15, [x0, #224]
    .rept   16
    stp     xzr, xzr, [x0], #16
    .endr
    ret

// loan_take_z(area: x0), loan_return_z(area: x0): Z0 to Z15. Clobbers x0 and x1.
//   256 bytes for Z15, which is the zero that wipes the others, then those, one vector length each.
    .arch_extension sve
    .section .text.loan_z, "ax"
    .balign 16
    .global loan_take_z
loan_take_z:
    str     z15, [x0]
    add     x1, x0, #256
    .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14
    str     z\n, [x1, #\n, mul vl]
    .endr
    ret

    .balign 16
    .global loan_return_z
loan_return_z:
    add     x1, x0, #256
    mov     z15.d, #0
    .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14
    ldr     z\n, [x1, #\n, mul vl]
    str     z15, [x1, #\n, mul vl]
    .endr
    ldr     z15, [x0]
    .rept   16
    stp     xzr, xzr, [x0], #16
    .endr
    ret
    .arch_extension nosve
