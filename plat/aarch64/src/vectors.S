// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

// Exception vectors of R-EL2.
//
// From a lower EL: the Realm stopped; realm_exit_* (switch.S) has the Realm's registers untouched.
// From R-EL2 itself: saves every register and calls rmm_exception(kind: x0, frame: x1), which either
// moves the frame's ELR to the landing of a fix-up and returns, or never returns.
//
// A stack that ran into its gap cannot take the frame. STACK_BIT of an address is set in a stack and clear
// below it (entry.rs), and is tested before anything is stored; the emergency stack takes over.

    .macro  CURRENT kind
    .balign 0x80
    sub     sp, sp, #{FRAME_SIZE}
    add     sp, sp, x0
    sub     x0, sp, x0              // the stack pointer; sp holds its sum with x0
    tbz     x0, #{STACK_BIT}, vectors_overflow
    sub     x0, sp, x0              // x0 as it was
    sub     sp, sp, x0
    stp     x0, x1, [sp]
    mov     x0, #\kind
    b       vectors_save
    .endm

    .macro  LOWER target
    .balign 0x80
    b       \target
    .endm

    .section .text.vectors, "ax"
    .balign 0x800
    .global rmm_vectors
rmm_vectors:
    CURRENT {KIND_SP0}
    CURRENT {KIND_SP0}
    CURRENT {KIND_SP0}
    CURRENT {KIND_SP0}

    CURRENT {KIND_SYNC}
    CURRENT {KIND_IRQ}
    CURRENT {KIND_FIQ}
    CURRENT {KIND_SERROR}

    LOWER   realm_exit_sync
    LOWER   realm_exit_irq
    LOWER   realm_exit_fiq
    LOWER   realm_exit_serror

    // EL1 is always AArch64 in a Realm.
    CURRENT {KIND_AARCH32}
    CURRENT {KIND_AARCH32}
    CURRENT {KIND_AARCH32}
    CURRENT {KIND_AARCH32}
    .balign 0x80

// x0 = the stack pointer under the frame, sp = its sum with x0. The EL0 registers are free: a PE that
// comes here never runs a Realm again.
vectors_overflow:
    msr     tpidr_el0, x1
    msr     tpidrro_el0, x2
    mrs     x1, tpidr_el2
    ldr     x2, [x1, #{BLOCK_CRASHING}]
    cbnz    x2, vectors_park        // the dump itself failed
    add     x1, x1, #{EMERGENCY_TOP}
    add     x2, x0, #{FRAME_SIZE}
    sub     x0, sp, x0
    sub     sp, x1, #{FRAME_SIZE}
    str     x2, [sp, #{FRAME_SP}]
    mrs     x1, tpidr_el0
    mrs     x2, tpidrro_el0
    stp     x0, x1, [sp]
    mov     x0, #{KIND_OVERFLOW}
    stp     x2, x3, [sp, #16]
    b       vectors_save_rest

vectors_save:
    stp     x2, x3, [sp, #16]
    add     x2, sp, #{FRAME_SIZE}
    str     x2, [sp, #{FRAME_SP}]
vectors_save_rest:
    stp     x4, x5, [sp, #32]
    stp     x6, x7, [sp, #48]
    stp     x8, x9, [sp, #64]
    stp     x10, x11, [sp, #80]
    stp     x12, x13, [sp, #96]
    stp     x14, x15, [sp, #112]
    stp     x16, x17, [sp, #128]
    stp     x18, x19, [sp, #144]
    stp     x20, x21, [sp, #160]
    stp     x22, x23, [sp, #176]
    stp     x24, x25, [sp, #192]
    stp     x26, x27, [sp, #208]
    stp     x28, x29, [sp, #224]
    str     x30, [sp, #240]
    mrs     x2, elr_el2
    mrs     x3, spsr_el2
    mrs     x4, esr_el2
    mrs     x5, far_el2
    str     x2, [sp, #{FRAME_ELR}]
    str     x3, [sp, #{FRAME_SPSR}]
    str     x4, [sp, #{FRAME_ESR}]
    str     x5, [sp, #{FRAME_FAR}]
    mov     x1, sp
    bl      rmm_exception

    // A fix-up: everything as it was, but for where it goes on.
    ldr     x2, [sp, #{FRAME_ELR}]
    ldr     x3, [sp, #{FRAME_SPSR}]
    msr     elr_el2, x2
    msr     spsr_el2, x3
    ldr     x30, [sp, #240]
    ldp     x28, x29, [sp, #224]
    ldp     x26, x27, [sp, #208]
    ldp     x24, x25, [sp, #192]
    ldp     x22, x23, [sp, #176]
    ldp     x20, x21, [sp, #160]
    ldp     x18, x19, [sp, #144]
    ldp     x16, x17, [sp, #128]
    ldp     x14, x15, [sp, #112]
    ldp     x12, x13, [sp, #96]
    ldp     x10, x11, [sp, #80]
    ldp     x8, x9, [sp, #64]
    ldp     x6, x7, [sp, #48]
    ldp     x4, x5, [sp, #32]
    ldp     x2, x3, [sp, #16]
    ldp     x0, x1, [sp]
    add     sp, sp, #{FRAME_SIZE}
    eret

vectors_park:
    wfe
    b       vectors_park
