// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

// What run_all.S and stretches.S share: a block of all registers, and the registers of the caller.

// x2 to x29 from the block at x0.
.macro load_x2_to_x29
    ldp     x2, x3, [x0, #8 * 2]
    ldp     x4, x5, [x0, #8 * 4]
    ldp     x6, x7, [x0, #8 * 6]
    ldp     x8, x9, [x0, #8 * 8]
    ldp     x10, x11, [x0, #8 * 10]
    ldp     x12, x13, [x0, #8 * 12]
    ldp     x14, x15, [x0, #8 * 14]
    ldp     x16, x17, [x0, #8 * 16]
    ldp     x18, x19, [x0, #8 * 18]
    ldp     x20, x21, [x0, #8 * 20]
    ldp     x22, x23, [x0, #8 * 22]
    ldp     x24, x25, [x0, #8 * 24]
    ldp     x26, x27, [x0, #8 * 26]
    ldp     x28, x29, [x0, #8 * 28]
.endm

// x0 to x29 to the block at x30.
.macro store_x0_to_x29
    stp     x0, x1, [x30, #8 * 0]
    stp     x2, x3, [x30, #8 * 2]
    stp     x4, x5, [x30, #8 * 4]
    stp     x6, x7, [x30, #8 * 6]
    stp     x8, x9, [x30, #8 * 8]
    stp     x10, x11, [x30, #8 * 10]
    stp     x12, x13, [x30, #8 * 12]
    stp     x14, x15, [x30, #8 * 14]
    stp     x16, x17, [x30, #8 * 16]
    stp     x18, x19, [x30, #8 * 18]
    stp     x20, x21, [x30, #8 * 20]
    stp     x22, x23, [x30, #8 * 22]
    stp     x24, x25, [x30, #8 * 24]
    stp     x26, x27, [x30, #8 * 26]
    stp     x28, x29, [x30, #8 * 28]
.endm

// x19 to x30, which a function keeps, to (stp) or from (ldp) the stack.
.macro kept_registers instruction, offset
    \instruction     x19, x20, [sp, #\offset + 0]
    \instruction     x21, x22, [sp, #\offset + 16]
    \instruction     x23, x24, [sp, #\offset + 32]
    \instruction     x25, x26, [sp, #\offset + 48]
    \instruction     x27, x28, [sp, #\offset + 64]
    \instruction     x29, x30, [sp, #\offset + 80]
.endm
