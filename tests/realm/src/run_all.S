// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

// run_all(x0 = registers, x1 = code): calls the code with x0 to x29 from the block of 31 words and
// stores x0 to x30 there afterwards, but the code's address goes through x30, which the block does not
// set. Interrupts masked, MMU on, stack at least 128 bytes.

.section .text.run_all, "ax"
.global run_all
run_all:
    sub     sp, sp, #128
    stp     x19, x20, [sp, #0]
    stp     x21, x22, [sp, #16]
    stp     x23, x24, [sp, #32]
    stp     x25, x26, [sp, #48]
    stp     x27, x28, [sp, #64]
    stp     x29, x30, [sp, #80]
    str     x0, [sp, #96]
    mov     x30, x1
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
    ldp     x0, x1, [x0]
    blr     x30
    str     x30, [sp, #104]
    ldr     x30, [sp, #96]
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
    ldp     x19, x20, [sp, #0]
    ldp     x21, x22, [sp, #16]
    ldp     x23, x24, [sp, #32]
    ldp     x25, x26, [sp, #48]
    ldp     x27, x28, [sp, #64]
    ldp     x29, x30, [sp, #80]
    add     sp, sp, #128
    ret
