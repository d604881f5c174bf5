// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

// Exceptions taken to EL2. The host runs with interrupts masked and polls them, so an exception is a
// bug or a broken machine: the registers are saved on this PE's dump stack, which the fault cannot
// have exhausted, and exception_dump(frame, vector) never returns. The one exception that is
// expected is an access that guarded_copy makes: that goes on at guarded_fault. Exceptions from EL1
// and EL0 are a guest's, and how the host leaves a guest at all.
//
// The frame is the structure `Frame` of exceptions.rs.

.macro vectors_entry number
    .balign 0x80
    // A guest register of no use to a dying host holds x0 until there is a place for it.
    msr     tpidrro_el0, x0
    mov     x0, #\number
    b       vectors_dump
.endm

// From a guest that runs in AArch64 state: goes on in switch.S.
.macro vectors_guest number
    .balign 0x80
    stp     x0, x1, [sp, #-16]!
    mov     x1, #\number
    b       guest_trap
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
    vectors_guest 0
    vectors_guest 1
    vectors_guest 2
    vectors_guest 3
    vectors_entry 12
    vectors_entry 13
    vectors_entry 14
    vectors_entry 15

// In: x0 = number of the vector, TPIDRRO_EL0 = the interrupted x0, the rest as interrupted.
vectors_dump:
    // x30 and the vector number go to registers of EL1 that a dying host may also use.
    msr     tpidr_el0, x30
    msr     tpidr_el1, x0
    mrs     x0, elr_el2
    adrp    x30, guarded_copy
    add     x30, x30, :lo12:guarded_copy
    cmp     x0, x30
    b.lo    1f
    adrp    x30, guarded_fault
    add     x30, x30, :lo12:guarded_fault
    cmp     x0, x30
    b.hs    1f
    msr     elr_el2, x30
    mrs     x30, tpidr_el0
    eret
1:
    // The dump stack of this PE: from one page into its slot.
    mrs     x30, tpidr_el2
    mov     x0, #{stack_slot_bytes}
    mul     x30, x30, x0
    adrp    x0, stacks_start
    add     x0, x0, :lo12:stacks_start
    add     x30, x30, x0
    mov     x0, #{dump_stack_top}
    add     x30, x30, x0
    sub     x30, x30, #{frame_bytes}
    stp     x1, x2, [x30, #{frame_x} + 8 * 1]
    stp     x3, x4, [x30, #{frame_x} + 8 * 3]
    stp     x5, x6, [x30, #{frame_x} + 8 * 5]
    stp     x7, x8, [x30, #{frame_x} + 8 * 7]
    stp     x9, x10, [x30, #{frame_x} + 8 * 9]
    stp     x11, x12, [x30, #{frame_x} + 8 * 11]
    stp     x13, x14, [x30, #{frame_x} + 8 * 13]
    stp     x15, x16, [x30, #{frame_x} + 8 * 15]
    stp     x17, x18, [x30, #{frame_x} + 8 * 17]
    stp     x19, x20, [x30, #{frame_x} + 8 * 19]
    stp     x21, x22, [x30, #{frame_x} + 8 * 21]
    stp     x23, x24, [x30, #{frame_x} + 8 * 23]
    stp     x25, x26, [x30, #{frame_x} + 8 * 25]
    stp     x27, x28, [x30, #{frame_x} + 8 * 27]
    mrs     x0, tpidr_el0
    stp     x29, x0, [x30, #{frame_x} + 8 * 29]
    mrs     x0, tpidrro_el0
    str     x0, [x30, #{frame_x}]
    mov     x0, sp
    str     x0, [x30, #{frame_sp}]
    mov     x0, x30
    mov     sp, x30
    mrs     x1, tpidr_el1
    bl      exception_dump
