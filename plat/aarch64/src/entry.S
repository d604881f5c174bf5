// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

// How EL3 enters the RMM on a PE.
//
// In:  X0 to X4 from EL3; EL2h, DAIF masked, MMU and caches off, no stack. Cold and warm boot enter here.
// Out: never returns. Calls rmm_cold_boot (MMU still off) or rmm_warm_boot (MMU on) with X0 to X4 as
//      they came, SP at the top of the PE's stack, TPIDR_EL2 at the PE's slot, and the vectors in place.
//
// A slot belongs to the first PE that claims it, by its affinity; a PE that is switched off and on finds
// its own again. The index EL3 passes is not used: TF-A 2.12 can mix up two that start at once.

    .arch   armv8.1-a

    .section .text.entry, "ax"
    .global rmm_entry
rmm_entry:
    adrp    x9, entry_is_cold
    ldr     x10, [x9, #:lo12:entry_is_cold]
    cbz     x10, entry_warm

    // No cache line may hide what is written with the caches off.
    bl      entry_invalidate_image

    adrp    x9, entry_is_cold
    str     xzr, [x9, #:lo12:entry_is_cold]

    adrp    x9, __bss_start
    add     x9, x9, #:lo12:__bss_start
    adrp    x10, __bss_end
    add     x10, x10, #:lo12:__bss_end
0:  cmp     x9, x10
    b.hs    1f
    stp     xzr, xzr, [x9], #16
    b       0b

    // All slots are free.
1:  adrp    x9, __slots_start
    adrp    x10, __slots_end
2:  cmp     x9, x10
    b.hs    3f
    stp     xzr, xzr, [x9]
    add     x9, x9, #{SLOT_PAGES}, lsl #12
    b       2b

    // This PE takes the first one.
3:  adrp    x9, __slots_start
    bl      entry_read_affinity
    str     x8, [x9]
    bl      entry_use_slot
    bl      rmm_cold_boot
    brk     #0

entry_warm:
    adrp    x9, entry_map
    add     x9, x9, #:lo12:entry_map
    ldp     x10, x11, [x9]
    ldp     x12, x13, [x9, #16]
    bl      entry_mmu_on

    bl      entry_read_affinity
    adrp    x9, __slots_start
    adrp    x10, __slots_end
4:  cmp     x9, x10
    b.hs    entry_park              // more PEs than EL3 said there are
    mov     x11, xzr
    casal   x11, x8, [x9]
    cbz     x11, 5f
    cmp     x11, x8
    b.eq    5f
    add     x9, x9, #{SLOT_PAGES}, lsl #12
    b       4b
5:  bl      entry_use_slot
    bl      rmm_warm_boot
    brk     #0

entry_park:
    wfe
    b       entry_park

// Out: x8 = affinity fields of this PE, and bit 31, so that it is never zero.
entry_read_affinity:
    mrs     x8, mpidr_el1
    and     x8, x8, #0xFFFFFFFFFF
    and     x8, x8, #0xFFFFFFFF00FFFFFF
    orr     x8, x8, #0x80000000
    ret

// In: x9 = slot. Clobbers x9, x10.
entry_use_slot:
    str     xzr, [x9, #{BLOCK_CRASHING}]
    msr     tpidr_el2, x9
    add     x9, x9, #{SLOT_PAGES}, lsl #12
    mov     sp, x9
    adrp    x10, rmm_vectors
    add     x10, x10, #:lo12:rmm_vectors
    msr     vbar_el2, x10
    isb
    mov     x29, xzr
    ret

// Turns the MMU on. In: x10 = TTBR0_EL2, x11 = TCR_EL2, x12 = MAIR_EL2, x13 = SCTLR_EL2.
entry_mmu_on:
    msr     ttbr0_el2, x10
    msr     tcr_el2, x11
    msr     mair_el2, x12
    tlbi    alle2
    tlbi    alle1                   // Realms': a PE that was off heard of no maintenance
    ic      iallu
    dsb     nsh
    isb
    msr     sctlr_el2, x13
    isb
    ret

// Invalidates every data cache line of the image's memory. The MMU is off. Clobbers x8 to x11.
entry_invalidate_image:
    mrs     x8, ctr_el0
    ubfx    x8, x8, #16, #4         // CTR_EL0.DminLine: log2 of the words in a line
    mov     x11, #4
    lsl     x11, x11, x8
    adrp    x9, __image_start
    adrp    x10, __image_end
0:  dc      ivac, x9
    add     x9, x9, x11
    cmp     x9, x10
    b.lo    0b
    dsb     sy
    ret

// rmm_enter_map(map: &MapRegisters)
//   Keeps the translation registers for the other PEs and turns the MMU on.
//   In:  the MMU is off, the tables map the image and the stack at their physical addresses.
//   Clobbers what a call may clobber.
    .global rmm_enter_map
rmm_enter_map:
    mov     x15, x30
    ldp     x1, x2, [x0]
    ldp     x3, x4, [x0, #16]
    adrp    x9, entry_map
    add     x9, x9, #:lo12:entry_map
    stp     x1, x2, [x9]
    stp     x3, x4, [x9, #16]
    dsb     sy
    bl      entry_invalidate_image
    mov     x10, x1
    mov     x11, x2
    mov     x12, x3
    mov     x13, x4
    mov     x30, x15
    b       entry_mmu_on

    // Written with the MMU off only, so that a PE may read it before its MMU is on.
    .section .data.entry, "aw"
    .balign 64
entry_is_cold:
    .quad   1
entry_map:
    .quad   0, 0, 0, 0
    .balign 64
