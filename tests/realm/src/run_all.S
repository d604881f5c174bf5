// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

// run_all(x0 = registers, x1 = code): calls the code with x0 to x29 from the block of 31 words and
// stores x0 to x30 there afterwards, but the code's address goes through x30, which the block does not
// set. Interrupts masked, MMU on, stack at least 128 bytes.

.section .text.run_all, "ax"
.global run_all
run_all:
    sub     sp, sp, #128
    kept_registers stp, 0
    str     x0, [sp, #96]
    mov     x30, x1
    load_x2_to_x29
    ldp     x0, x1, [x0]
    blr     x30
    str     x30, [sp, #104]
    ldr     x30, [sp, #96]
    store_x0_to_x29
    kept_registers ldp, 0
    add     sp, sp, #128
    ret
