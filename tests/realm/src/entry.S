// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

// The first instructions of every vCPU, at EL1 with the MMU off and no stack.
//
// entry_header: the arm64 `Image` header, whose first word is the way in for vCPU 0. In: x0 = address
// of a device tree, or zero. Calls primary_main(x0) on the stack of vCPU 0, with zeroed data zero and
// the MMU off.
//
// entry_secondary: from PSCI CPU_ON. In: x0 = number of the vCPU. Calls secondary_main(x0) on its
// stack with the MMU off.
//
// mmu_on(x0 = TTBR0, x1 = TTBR1, x2 = MAIR, x3 = TCR, x4 = SCTLR): installs a translation. The code
// has the same address before and after. Clobbers nothing.

.section .text.header, "ax"
.global entry_header
entry_header:
    b       entry_primary
    .long   0
    .quad   0                           // distance from a 2 MiB boundary
    .quad   image_bytes                 // bytes of memory
    .quad   0xa                         // 4 KiB pages, anywhere in memory
    .quad   0, 0, 0
    .ascii  "ARM\x64"
    .long   0

.section .text.entry, "ax"
entry_primary:
    mov     x19, x0
    mov     x20, #0
    bl      entry_prepare
    adrp    x0, bss_start
    add     x0, x0, :lo12:bss_start
    adrp    x1, bss_end
    add     x1, x1, :lo12:bss_end
1:  cmp     x0, x1
    b.hs    2f
    stp     xzr, xzr, [x0], #16
    b       1b
2:  mov     x0, x19
    b       primary_main

.global entry_secondary
entry_secondary:
    mov     x19, x0
    mov     x20, x0
    bl      entry_prepare
    mov     x0, x19
    b       secondary_main

// In: x20 = number of the vCPU. Takes its stack and the vectors. Clobbers x0, x1, x2.
entry_prepare:
    msr     daifset, #0xf
    msr     spsel, #1
    adrp    x0, stacks_start
    add     x0, x0, :lo12:stacks_start
    add     x1, x20, #1
    mov     x2, #{stack_bytes}
    madd    x0, x1, x2, x0
    mov     sp, x0
    adrp    x0, vectors
    add     x0, x0, :lo12:vectors
    msr     vbar_el1, x0
    // SIMD, SVE and SME: nothing traps to EL1, so that every trap is the monitor's.
    ldr     x0, ={cpacr}
    msr     cpacr_el1, x0
    isb
    mov     x29, xzr
    ret

.global mmu_on
mmu_on:
    msr     ttbr0_el1, x0
    msr     ttbr1_el1, x1
    msr     mair_el1, x2
    msr     tcr_el1, x3
    isb
    tlbi    vmalle1
    dsb     nsh
    isb
    msr     sctlr_el1, x4
    isb
    ret
