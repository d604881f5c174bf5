// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

// What a Realm under test runs, at R-EL1 without a stage 1 and with interrupts masked. It is copied
// into the Realm, so its code does not depend on where it is.
//
// Each REC makes one RSI_HOST_CALL after another. The call's registers (its structure, from byte 8
// on) are a report: what it is about, x0 to x10 after the last action, ESR_EL1, the ticks of the last
// SMC. The Host's answer is the next action: its code, then its arguments. See program.rs for the
// numbers.
//
// x21 = structure of this REC's host call; x20 = second register in it; x22 = what is reported;
// x23, x24 = the counter around an SMC.

.section .rodata.program, "a"
.balign 0x1000
.global program_start
program_start:
    adr     x0, program_vectors
    msr     vbar_el1, x0
    isb
    mrs     x0, mpidr_el1
    and     x0, x0, #0xf
    adr     x21, program_calls
    add     x21, x21, x0, lsl #8
    add     x20, x21, #16
    mov     x22, #{started}

program_report:
    str     x22, [x21, #8]
    mov     w0, #{idle_imm}
    strh    w0, [x21]
    mov     x0, #0x0199
    movk    x0, #0xC400, lsl #16
    mov     x1, x21
    smc     #0
    mov     x22, #{done}
    ldr     x9, [x21, #8]
    ldr     x10, [x20]
    cmp     x9, #1
    b.eq    program_smc
    cmp     x9, #2
    b.eq    program_load
    cmp     x9, #3
    b.eq    program_store
    cmp     x9, #4
    b.eq    program_fetch
    cmp     x9, #5
    b.eq    program_load_pair
    cmp     x9, #6
    b.eq    program_hvc
    cmp     x9, #7
    b.eq    program_wfi
    cmp     x9, #8
    b.eq    program_wfe
    cmp     x9, #9
    b.eq    program_watch
    cmp     x9, #{spin}
    b.ne    program_report
    b       .

program_smc:
    ldp     x0, x1, [x20]
    ldp     x2, x3, [x20, #16]
    ldp     x4, x5, [x20, #32]
    ldp     x6, x7, [x20, #48]
    ldp     x8, x9, [x20, #64]
    ldr     x10, [x20, #80]
    isb
    mrs     x23, cntvct_el0
    smc     #0
    mrs     x24, cntvct_el0
    stp     x0, x1, [x20]
    stp     x2, x3, [x20, #16]
    stp     x4, x5, [x20, #32]
    stp     x6, x7, [x20, #48]
    stp     x8, x9, [x20, #64]
    str     x10, [x20, #80]
    sub     x24, x24, x23
    str     x24, [x20, #96]
    b       program_report

program_load:
    ldr     x0, [x10]
    str     x0, [x20]
    b       program_report

program_store:
    ldr     x0, [x20, #8]
    str     x0, [x10]
    b       program_report

program_fetch:
    blr     x10
    b       program_report

program_load_pair:
    ldp     x0, x1, [x10]
    str     x0, [x20]
    b       program_report

program_hvc:
    hvc     #0
    b       program_report

program_wfi:
    wfi
    b       program_report

program_wfe:
    wfe
    b       program_report

program_watch:
    ldp     x11, x12, [x20, #8]
    mov     x13, xzr
program_watch_again:
    ldr     x14, [x12]
    dmb     ishld               // what is loaded now was there after the Host's word
    ldr     x0, [x10]
    add     x13, x13, #1
    cmp     x0, x11
    b.ne    program_watch_end
    cbz     x14, program_watch_again
program_watch_end:
    stp     x0, x13, [x20]
    b       program_report

// Every exception ends the action. The Realm stays at EL1 with interrupts masked, so there is no
// need to return from it.
.balign 0x800
program_vectors:
.rept 16
    .balign 0x80
    mrs     x0, esr_el1
    str     x0, [x20, #88]
    mov     x22, #{exception}
    b       program_report
.endr

.balign 0x1000
program_calls:
    .zero   0x1000
.global program_end
program_end:
