// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

// Into a normal VM and back out.
//
// guest_enter(registers: x0) -> x0: number of the trap (0 synchronous, 1 IRQ, 2 FIQ, 3 SError)
//   In:  the guest's system registers are in the PE; interrupts are masked; SP is the PE's stack.
//   Out: general registers, PC and PSTATE of the guest are in `Registers` of host-vmm.
//   Clobbers what a call may clobber.
//
// The vectors for lower levels branch to guest_trap with the guest's registers untouched but x0 and
// x1, which are on the stack, and the number of the trap in x1. Above them the stack is as
// guest_enter left it:
//
//   sp + 0 .. 95   x19 to x30
//   sp + 96        the guest's registers
//
// guest_save_vectors(x0: 512 bytes), guest_load_vectors(x0: 512 bytes): V0 to V31.

    .arch   armv8-a+fp
    .section .text.guest, "ax"
    .balign 64
    .global guest_enter
guest_enter:
    sub     sp, sp, #112
    stp     x19, x20, [sp, #0]
    stp     x21, x22, [sp, #16]
    stp     x23, x24, [sp, #32]
    stp     x25, x26, [sp, #48]
    stp     x27, x28, [sp, #64]
    stp     x29, x30, [sp, #80]
    str     x0, [sp, #96]

    ldr     x1, [x0, #{guest_pc}]
    ldr     x2, [x0, #{guest_pstate}]
    msr     elr_el2, x1
    msr     spsr_el2, x2

    ldp     x2, x3, [x0, #{guest_gprs} + 16]
    ldp     x4, x5, [x0, #{guest_gprs} + 32]
    ldp     x6, x7, [x0, #{guest_gprs} + 48]
    ldp     x8, x9, [x0, #{guest_gprs} + 64]
    ldp     x10, x11, [x0, #{guest_gprs} + 80]
    ldp     x12, x13, [x0, #{guest_gprs} + 96]
    ldp     x14, x15, [x0, #{guest_gprs} + 112]
    ldp     x16, x17, [x0, #{guest_gprs} + 128]
    ldp     x18, x19, [x0, #{guest_gprs} + 144]
    ldp     x20, x21, [x0, #{guest_gprs} + 160]
    ldp     x22, x23, [x0, #{guest_gprs} + 176]
    ldp     x24, x25, [x0, #{guest_gprs} + 192]
    ldp     x26, x27, [x0, #{guest_gprs} + 208]
    ldp     x28, x29, [x0, #{guest_gprs} + 224]
    ldr     x30, [x0, #{guest_gprs} + 240]
    ldp     x0, x1, [x0, #{guest_gprs}]
    eret
    // Nothing behind an exception return may be speculated into.
    dsb     nsh
    isb

    .global guest_trap
guest_trap:
    ldr     x0, [sp, #16 + 96]
    stp     x2, x3, [x0, #{guest_gprs} + 16]
    stp     x4, x5, [x0, #{guest_gprs} + 32]
    stp     x6, x7, [x0, #{guest_gprs} + 48]
    stp     x8, x9, [x0, #{guest_gprs} + 64]
    stp     x10, x11, [x0, #{guest_gprs} + 80]
    stp     x12, x13, [x0, #{guest_gprs} + 96]
    stp     x14, x15, [x0, #{guest_gprs} + 112]
    stp     x16, x17, [x0, #{guest_gprs} + 128]
    stp     x18, x19, [x0, #{guest_gprs} + 144]
    stp     x20, x21, [x0, #{guest_gprs} + 160]
    stp     x22, x23, [x0, #{guest_gprs} + 176]
    stp     x24, x25, [x0, #{guest_gprs} + 192]
    stp     x26, x27, [x0, #{guest_gprs} + 208]
    stp     x28, x29, [x0, #{guest_gprs} + 224]
    str     x30, [x0, #{guest_gprs} + 240]
    ldp     x2, x3, [sp], #16
    stp     x2, x3, [x0, #{guest_gprs}]

    mrs     x2, elr_el2
    mrs     x3, spsr_el2
    str     x2, [x0, #{guest_pc}]
    str     x3, [x0, #{guest_pstate}]

    mov     x0, x1
    ldp     x19, x20, [sp, #0]
    ldp     x21, x22, [sp, #16]
    ldp     x23, x24, [sp, #32]
    ldp     x25, x26, [sp, #48]
    ldp     x27, x28, [sp, #64]
    ldp     x29, x30, [sp, #80]
    add     sp, sp, #112
    ret

    .global guest_save_vectors
guest_save_vectors:
    stp     q0, q1, [x0, #0]
    stp     q2, q3, [x0, #32]
    stp     q4, q5, [x0, #64]
    stp     q6, q7, [x0, #96]
    stp     q8, q9, [x0, #128]
    stp     q10, q11, [x0, #160]
    stp     q12, q13, [x0, #192]
    stp     q14, q15, [x0, #224]
    stp     q16, q17, [x0, #256]
    stp     q18, q19, [x0, #288]
    stp     q20, q21, [x0, #320]
    stp     q22, q23, [x0, #352]
    stp     q24, q25, [x0, #384]
    stp     q26, q27, [x0, #416]
    stp     q28, q29, [x0, #448]
    stp     q30, q31, [x0, #480]
    ret

    .global guest_load_vectors
guest_load_vectors:
    ldp     q0, q1, [x0, #0]
    ldp     q2, q3, [x0, #32]
    ldp     q4, q5, [x0, #64]
    ldp     q6, q7, [x0, #96]
    ldp     q8, q9, [x0, #128]
    ldp     q10, q11, [x0, #160]
    ldp     q12, q13, [x0, #192]
    ldp     q14, q15, [x0, #224]
    ldp     q16, q17, [x0, #256]
    ldp     q18, q19, [x0, #288]
    ldp     q20, q21, [x0, #320]
    ldp     q22, q23, [x0, #352]
    ldp     q24, q25, [x0, #384]
    ldp     q26, q27, [x0, #416]
    ldp     q28, q29, [x0, #448]
    ldp     q30, q31, [x0, #480]
    ret
