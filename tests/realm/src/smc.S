// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

// smc_call(x0 = registers): makes an SMC with x0 to x17 from the block and stores them there.
// MMU on or off, stack at least 32 bytes.

.section .text.smc, "ax"
.global smc_call
smc_call:
    stp     x29, x30, [sp, #-32]!
    str     x19, [sp, #16]
    mov     x19, x0
    ldp     x2, x3, [x19, #8 * 2]
    ldp     x4, x5, [x19, #8 * 4]
    ldp     x6, x7, [x19, #8 * 6]
    ldp     x8, x9, [x19, #8 * 8]
    ldp     x10, x11, [x19, #8 * 10]
    ldp     x12, x13, [x19, #8 * 12]
    ldp     x14, x15, [x19, #8 * 14]
    ldp     x16, x17, [x19, #8 * 16]
    ldp     x0, x1, [x19, #8 * 0]
    smc     #0
    stp     x0, x1, [x19, #8 * 0]
    stp     x2, x3, [x19, #8 * 2]
    stp     x4, x5, [x19, #8 * 4]
    stp     x6, x7, [x19, #8 * 6]
    stp     x8, x9, [x19, #8 * 8]
    stp     x10, x11, [x19, #8 * 10]
    stp     x12, x13, [x19, #8 * 12]
    stp     x14, x15, [x19, #8 * 14]
    stp     x16, x17, [x19, #8 * 16]
    ldr     x19, [sp, #16]
    ldp     x29, x30, [sp], #32
    ret
