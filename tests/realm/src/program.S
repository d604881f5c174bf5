// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

// The first granule of the image, which runs anywhere and needs nothing else.
//
// It begins with the arm64 `Image` header, whose first word is the way in. At the address that the
// image is linked for, that leads to the payload proper (entry.S). At any other, the granule itself is
// the program: the one that `tests/scenarios` (realm.rs) describes. It waits for an action with a host
// call, does it, reports, and waits again. Interrupts masked, MMU off, no stack.
//
//   x24 a scratch register      x27 what the report says: 0 started, 1 done, 2 exception, 3 no action
//   x25 code of the action      x28 the block of the host call, one for each of four vCPUs
//   x26 ESR_EL1                 x29 the granule
//
// The block has in values 0 to 12: from the program x27, x0 to x10, x26; from the Host the code of the
// action and x0 to x10.

.equ PROGRAM_VECTORS, 0x800
.equ PROGRAM_BLOCKS, 0xc00
.equ PROGRAM_VALUES, 8

.section .text.header, "ax"
.balign 0x1000
.global entry_header
entry_header:
    b       program_choose
    .long   0
    .quad   0                           // distance from a 2 MiB boundary
    .quad   image_bytes                 // bytes of memory
    .quad   0xa                         // 4 KiB pages, anywhere in memory
    .quad   0, 0, 0
    .ascii  "ARM\x64"
    .long   0

program_choose:
    adr     x29, entry_header
    mov     x28, #{base}
    cmp     x29, x28
    b.eq    entry_primary

    add     x28, x29, #PROGRAM_VECTORS
    msr     vbar_el1, x28
    isb
    mrs     x28, mpidr_el1
    and     x28, x28, #3
    add     x28, x29, x28, lsl #8
    add     x28, x28, #PROGRAM_BLOCKS
    mov     x27, #0
    mov     x26, #0

program_report:
    mov     w24, #{imm}
    strh    w24, [x28]
    str     x27, [x28, #PROGRAM_VALUES + 8 * 0]
    stp     x0, x1, [x28, #PROGRAM_VALUES + 8 * 1]
    stp     x2, x3, [x28, #PROGRAM_VALUES + 8 * 3]
    stp     x4, x5, [x28, #PROGRAM_VALUES + 8 * 5]
    stp     x6, x7, [x28, #PROGRAM_VALUES + 8 * 7]
    stp     x8, x9, [x28, #PROGRAM_VALUES + 8 * 9]
    stp     x10, x26, [x28, #PROGRAM_VALUES + 8 * 11]
    mov     x0, #{host_call} & 0xffff
    movk    x0, #{host_call} >> 16, lsl #16
    mov     x1, x28
    smc     #0

    mov     x26, #0
    mov     x27, #1
    ldr     x25, [x28, #PROGRAM_VALUES + 8 * 0]
    ldp     x0, x1, [x28, #PROGRAM_VALUES + 8 * 1]
    ldp     x2, x3, [x28, #PROGRAM_VALUES + 8 * 3]
    ldp     x4, x5, [x28, #PROGRAM_VALUES + 8 * 5]
    ldp     x6, x7, [x28, #PROGRAM_VALUES + 8 * 7]
    ldp     x8, x9, [x28, #PROGRAM_VALUES + 8 * 9]
    ldr     x10, [x28, #PROGRAM_VALUES + 8 * 11]
    cmp     x25, #1
    b.eq    program_smc
    cmp     x25, #2
    b.eq    program_load
    cmp     x25, #3
    b.eq    program_store
    cmp     x25, #4
    b.eq    program_fetch
    cmp     x25, #5
    b.eq    program_load_pair
    cmp     x25, #6
    b.eq    program_hvc
    cmp     x25, #7
    b.eq    program_wfi
    cmp     x25, #8
    b.eq    program_wfe
    mov     x27, #3
    b       program_report

program_smc:
    smc     #0
    b       program_report
program_load:
    ldr     x0, [x0]
    b       program_report
program_store:
    str     x1, [x0]
    b       program_report
program_fetch:
    blr     x0
    b       program_report
program_load_pair:
    ldp     x0, x2, [x0]
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

program_exception:
    mrs     x26, esr_el1
    mov     x27, #2
    b       program_report

// The vectors: only those of EL1 on its own stack pointer can be taken.
.balign PROGRAM_VECTORS
    .skip   0x200
    b       program_exception           // synchronous
    .balign 0x80
    b       program_exception           // IRQ
    .balign 0x80
    b       program_exception           // FIQ
    .balign 0x80
    b       program_exception           // SError
    .balign 0x80
// In place of the vectors for EL0: the blocks.
    .skip   4 * 0x100
