// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

// Code under guard: whatever it does, control comes back here.
//
// guard_run(x0 = code, x1 = registers, x2 = this vCPU's structure `Cpu`) -> x0: 0 returned, 1 faulted
//   Calls the code at EL1 with x0 to x17 as in `registers` and stores them there when it returns.
//
// guard_run_user(as above) -> x0 = 1
//   Enters the code at EL0 with all interrupts masked; any exception brings it back.
//
// On a fault the vectors resume at guard_fault with x0 = the stack pointer here.
// MMU on, stack at least 128 bytes. The code may change every general register.

.section .text.guard, "ax"

.macro guard_enter
    sub     sp, sp, #128
    stp     x19, x20, [sp, #0]
    stp     x21, x22, [sp, #16]
    stp     x23, x24, [sp, #32]
    stp     x25, x26, [sp, #48]
    stp     x27, x28, [sp, #64]
    stp     x29, x30, [sp, #80]
    stp     x1, x2, [sp, #96]
    mov     x3, sp
    str     x3, [x2, #{fix_up_sp}]
    mrs     x3, daif
    mov     x4, #5                      // EL1 on its own stack pointer
    orr     x3, x3, x4
    str     x3, [x2, #{fix_up_pstate}]
    adr     x3, guard_fault
    str     x3, [x2, #{fix_up}]
    mov     x19, x0
    mov     x20, x1
.endm

.macro guard_load
    ldp     x0, x1, [x20, #8 * 0]
    ldp     x2, x3, [x20, #8 * 2]
    ldp     x4, x5, [x20, #8 * 4]
    ldp     x6, x7, [x20, #8 * 6]
    ldp     x8, x9, [x20, #8 * 8]
    ldp     x10, x11, [x20, #8 * 10]
    ldp     x12, x13, [x20, #8 * 12]
    ldp     x14, x15, [x20, #8 * 14]
    ldp     x16, x17, [x20, #8 * 16]
.endm

.global guard_run
guard_run:
    guard_enter
    guard_load
    blr     x19
    ldr     x20, [sp, #96]
    stp     x0, x1, [x20, #8 * 0]
    stp     x2, x3, [x20, #8 * 2]
    stp     x4, x5, [x20, #8 * 4]
    stp     x6, x7, [x20, #8 * 6]
    stp     x8, x9, [x20, #8 * 8]
    stp     x10, x11, [x20, #8 * 10]
    stp     x12, x13, [x20, #8 * 12]
    stp     x14, x15, [x20, #8 * 14]
    stp     x16, x17, [x20, #8 * 16]
    mov     x0, #0
    b       guard_leave

.global guard_run_user
guard_run_user:
    guard_enter
    msr     elr_el1, x19
    mov     x3, #0x3c0                  // EL0, everything masked
    msr     spsr_el1, x3
    guard_load
    eret

guard_fault:
    mov     sp, x0
    mov     x0, #1

guard_leave:
    ldr     x2, [sp, #104]
    str     xzr, [x2, #{fix_up}]
    ldp     x19, x20, [sp, #0]
    ldp     x21, x22, [sp, #16]
    ldp     x23, x24, [sp, #32]
    ldp     x25, x26, [sp, #48]
    ldp     x27, x28, [sp, #64]
    ldp     x29, x30, [sp, #80]
    add     sp, sp, #128
    ret

// Room for one instruction of each vCPU, behind it `ret` for EL1 and `svc #0` for EL0, each in a
// cache line of its own. The instruction is written by patch.rs.
.balign 64
.global guard_slots
guard_slots:
.rept {slots}
    udf     #0
    ret
    udf     #0
    svc     #0
    .balign 64
.endr
