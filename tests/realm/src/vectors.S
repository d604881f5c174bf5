// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

// Exceptions taken to EL1, on the stack of whatever was interrupted at EL1. Everything is saved in a
// frame (the structure `Frame` of exceptions.rs), exception_taken(x0 = frame, x1 = number of the
// vector, x2 = flags) is called, and the frame, which it may have changed, is loaded again.

.macro vectors_entry number
    .balign 0x80
    sub     sp, sp, #{frame_bytes}
    stp     x0, x1, [sp, #{frame_x}]
    mov     x1, #\number
    b       vectors_save
.endm

.section .text.vectors, "ax"
.balign 0x800
.global vectors
vectors:
    vectors_entry 0
    vectors_entry 1
    vectors_entry 2
    vectors_entry 3
    vectors_entry 4
    vectors_entry 5
    vectors_entry 6
    vectors_entry 7
    vectors_entry 8
    vectors_entry 9
    vectors_entry 10
    vectors_entry 11
    vectors_entry 12
    vectors_entry 13
    vectors_entry 14
    vectors_entry 15

vectors_save:
    stp     x2, x3, [sp, #{frame_x} + 8 * 2]
    stp     x4, x5, [sp, #{frame_x} + 8 * 4]
    stp     x6, x7, [sp, #{frame_x} + 8 * 6]
    stp     x8, x9, [sp, #{frame_x} + 8 * 8]
    stp     x10, x11, [sp, #{frame_x} + 8 * 10]
    stp     x12, x13, [sp, #{frame_x} + 8 * 12]
    stp     x14, x15, [sp, #{frame_x} + 8 * 14]
    stp     x16, x17, [sp, #{frame_x} + 8 * 16]
    stp     x18, x19, [sp, #{frame_x} + 8 * 18]
    stp     x20, x21, [sp, #{frame_x} + 8 * 20]
    stp     x22, x23, [sp, #{frame_x} + 8 * 22]
    stp     x24, x25, [sp, #{frame_x} + 8 * 24]
    stp     x26, x27, [sp, #{frame_x} + 8 * 26]
    stp     x28, x29, [sp, #{frame_x} + 8 * 28]
    str     x30, [sp, #{frame_x} + 8 * 30]
    mrs     x2, elr_el1
    mrs     x3, spsr_el1
    str     x2, [sp, #{frame_elr}]
    str     x3, [sp, #{frame_spsr}]
    mrs     x2, nzcv
    mov     x0, sp
    bl      exception_taken
    ldr     x2, [sp, #{frame_elr}]
    ldr     x3, [sp, #{frame_spsr}]
    msr     elr_el1, x2
    msr     spsr_el1, x3
    ldp     x2, x3, [sp, #{frame_x} + 8 * 2]
    ldp     x4, x5, [sp, #{frame_x} + 8 * 4]
    ldp     x6, x7, [sp, #{frame_x} + 8 * 6]
    ldp     x8, x9, [sp, #{frame_x} + 8 * 8]
    ldp     x10, x11, [sp, #{frame_x} + 8 * 10]
    ldp     x12, x13, [sp, #{frame_x} + 8 * 12]
    ldp     x14, x15, [sp, #{frame_x} + 8 * 14]
    ldp     x16, x17, [sp, #{frame_x} + 8 * 16]
    ldp     x18, x19, [sp, #{frame_x} + 8 * 18]
    ldp     x20, x21, [sp, #{frame_x} + 8 * 20]
    ldp     x22, x23, [sp, #{frame_x} + 8 * 22]
    ldp     x24, x25, [sp, #{frame_x} + 8 * 24]
    ldp     x26, x27, [sp, #{frame_x} + 8 * 26]
    ldp     x28, x29, [sp, #{frame_x} + 8 * 28]
    ldr     x30, [sp, #{frame_x} + 8 * 30]
    ldp     x0, x1, [sp, #{frame_x}]
    add     sp, sp, #{frame_bytes}
    eret
