// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

// The first instructions of every PE, at NS-EL2 with the MMU off and no stack.
//
// entry_primary: from EL3. In: x0 and x1 as EL3 left them. Calls host_main(x0, x1) on the stack of
// PE 0, with the first map on and zeroed data zero.
//
// entry_secondary: from PSCI CPU_ON. In: x0 = number of this PE. Calls secondary_main(x0) on the
// stack of that PE, with the first map on.
//
// mmu_install: replaces the translation of EL2. In: x0 = TTBR0, x1 = MAIR, x2 = TCR, x3 = SCTLR.
// The code must have the same address before and after. Clobbers x4. Uses no stack.

// HCR_EL2: EL1 is AArch64 (RW); IRQ, FIQ and SError belong to EL2 (IMO, FMO, AMO).
.equ ENTRY_HCR, (1 << 31) | (1 << 5) | (1 << 4) | (1 << 3)

.macro entry_load register, value
    movz \register, #(\value) & 0xffff
    movk \register, #((\value) >> 16) & 0xffff, lsl #16
    movk \register, #((\value) >> 32) & 0xffff, lsl #32
.endm

.section .text.entry, "ax"

.global entry_primary
entry_primary:
    mov     x19, x0
    mov     x20, x1
    mov     x21, #0
    bl      entry_prepare
    // Zero the data, with caches on: what another agent wrote there must not come back.
    adrp    x0, bss_start
    add     x0, x0, :lo12:bss_start
    adrp    x1, bss_end
    add     x1, x1, :lo12:bss_end
1:  cmp     x0, x1
    b.hs    2f
    stp     xzr, xzr, [x0], #16
    b       1b
2:  mov     x0, x19
    mov     x1, x20
    bl      host_main
    b       entry_stop

.global entry_secondary
entry_secondary:
    mov     x19, x0
    mov     x21, x0
    bl      entry_prepare
    mov     x0, x19
    bl      secondary_main

entry_stop:
    wfi
    b       entry_stop

// In: x21 = number of this PE. Sets EL2 up, installs the first map, takes the stack of this PE.
// Clobbers x0 to x4 and x22.
entry_prepare:
    mov     x22, x30
    msr     daifset, #0xf
    entry_load x0, ENTRY_HCR
    msr     hcr_el2, x0
    adrp    x0, vectors
    add     x0, x0, :lo12:vectors
    msr     vbar_el2, x0
    msr     tpidr_el2, x21
    adrp    x0, {first_map}
    add     x0, x0, :lo12:{first_map}
    entry_load x1, {mair}
    entry_load x2, {tcr}
    entry_load x3, {first_sctlr}
    bl      mmu_install
    // Slot n of the stacks ends n + 1 slots after the start.
    adrp    x0, stacks_start
    add     x0, x0, :lo12:stacks_start
    add     x1, x21, #1
    entry_load x2, {stack_slot_bytes}
    madd    x0, x1, x2, x0
    mov     sp, x0
    ret     x22

.global mmu_install
mmu_install:
    // Off first: entries of both maps must never be in the TLB together.
    mrs     x4, sctlr_el2
    bic     x4, x4, #1
    msr     sctlr_el2, x4
    isb
    tlbi    alle2
    dsb     nsh
    isb
    msr     ttbr0_el2, x0
    msr     mair_el2, x1
    msr     tcr_el2, x2
    isb
    msr     sctlr_el2, x3
    isb
    ret
