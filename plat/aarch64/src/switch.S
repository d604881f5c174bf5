// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

// Into a Realm and back out.
//
// realm_enter(context: x0) -> x0: kind of the exit (0 synchronous, 1 IRQ, 2 FIQ, 3 SError)
//   In:  the Realm's system registers are loaded; interrupts are masked; SP is the PE's stack.
//   Out: general registers, PC and PSTATE of the Realm are in the context.
//   Clobbers what a call may clobber.
//
// The lower-EL vectors branch to realm_exit_sync, _irq, _fiq and _serror with the Realm's registers
// untouched and SP where realm_enter left it:
//
//   sp + 0 .. 95   x19 to x30
//   sp + 96        the context

    .section .text.realm_enter, "ax"
    .balign 64
    .global realm_enter
realm_enter:
    sub     sp, sp, #112
    stp     x19, x20, [sp, #0]
    stp     x21, x22, [sp, #16]
    stp     x23, x24, [sp, #32]
    stp     x25, x26, [sp, #48]
    stp     x27, x28, [sp, #64]
    stp     x29, x30, [sp, #80]
    str     x0, [sp, #96]

    ldr     x1, [x0, #{PC}]
    ldr     x2, [x0, #{PSTATE}]
    msr     elr_el2, x1
    msr     spsr_el2, x2

    ldp     x2, x3, [x0, #{GPRS} + 16]
    ldp     x4, x5, [x0, #{GPRS} + 32]
    ldp     x6, x7, [x0, #{GPRS} + 48]
    ldp     x8, x9, [x0, #{GPRS} + 64]
    ldp     x10, x11, [x0, #{GPRS} + 80]
    ldp     x12, x13, [x0, #{GPRS} + 96]
    ldp     x14, x15, [x0, #{GPRS} + 112]
    ldp     x16, x17, [x0, #{GPRS} + 128]
    ldp     x18, x19, [x0, #{GPRS} + 144]
    ldp     x20, x21, [x0, #{GPRS} + 160]
    ldp     x22, x23, [x0, #{GPRS} + 176]
    ldp     x24, x25, [x0, #{GPRS} + 192]
    ldp     x26, x27, [x0, #{GPRS} + 208]
    ldp     x28, x29, [x0, #{GPRS} + 224]
    ldr     x30, [x0, #{GPRS} + 240]
    ldp     x0, x1, [x0, #{GPRS}]
    eret
    // Nothing behind an exception return may be speculated into.
    dsb     nsh
    isb

    .macro realm_exit_entry name, kind
    .global realm_exit_\name
realm_exit_\name:
    stp     x0, x1, [sp, #-16]!
    mov     x1, #\kind
    b       realm_exit
    .endm

    realm_exit_entry sync, 0
    realm_exit_entry irq, 1
    realm_exit_entry fiq, 2
    realm_exit_entry serror, 3

realm_exit:
    ldr     x0, [sp, #16 + 96]
    stp     x2, x3, [x0, #{GPRS} + 16]
    stp     x4, x5, [x0, #{GPRS} + 32]
    stp     x6, x7, [x0, #{GPRS} + 48]
    stp     x8, x9, [x0, #{GPRS} + 64]
    stp     x10, x11, [x0, #{GPRS} + 80]
    stp     x12, x13, [x0, #{GPRS} + 96]
    stp     x14, x15, [x0, #{GPRS} + 112]
    stp     x16, x17, [x0, #{GPRS} + 128]
    stp     x18, x19, [x0, #{GPRS} + 144]
    stp     x20, x21, [x0, #{GPRS} + 160]
    stp     x22, x23, [x0, #{GPRS} + 176]
    stp     x24, x25, [x0, #{GPRS} + 192]
    stp     x26, x27, [x0, #{GPRS} + 208]
    stp     x28, x29, [x0, #{GPRS} + 224]
    str     x30, [x0, #{GPRS} + 240]
    ldp     x2, x3, [sp], #16
    stp     x2, x3, [x0, #{GPRS}]

    mrs     x2, elr_el2
    mrs     x3, spsr_el2
    str     x2, [x0, #{PC}]
    str     x3, [x0, #{PSTATE}]

    mov     x0, x1
    ldp     x19, x20, [sp, #0]
    ldp     x21, x22, [sp, #16]
    ldp     x23, x24, [sp, #32]
    ldp     x25, x26, [sp, #48]
    ldp     x27, x28, [sp, #64]
    ldp     x29, x30, [sp, #80]
    add     sp, sp, #112
    ret
