// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

// Accesses that another world can make fail.
//
// Each instruction that touches such memory lies in a range of the fix-up list: an abort there goes on at
// the landing with all registers as they were. Accesses to the monitor's own memory are outside of the
// ranges, so that an abort on them is not mistaken. The memory copy instructions access both; but their
// ranges only forgive what another world can cause, and none can take the monitor's own memory away.

    .macro  FIXUP from, to, landing
    .pushsection .fixups, "a"
    .balign 8
    .quad   \from, \to, \landing
    .popsection
    .endm

// rmm_copy_in(to: x0, from: x1, bytes: x2) -> x0
//   Copies bytes (a multiple of 8) from a Non-secure window to own memory. 0, or 1 after an abort.
//   Clobbers x1 to x10.
    .section .text.rmm_copy_in, "ax"
    .balign 16
    .global rmm_copy_in
rmm_copy_in:
    cmp     x2, #64
    b.lo    3f
1:  ldp     x3, x4, [x1]
    ldp     x5, x6, [x1, #16]
    ldp     x7, x8, [x1, #32]
    ldp     x9, x10, [x1, #48]
2:  stp     x3, x4, [x0]
    stp     x5, x6, [x0, #16]
    stp     x7, x8, [x0, #32]
    stp     x9, x10, [x0, #48]
    add     x1, x1, #64
    add     x0, x0, #64
    sub     x2, x2, #64
    cmp     x2, #64
    b.hs    1b
3:  cbz     x2, 6f
4:  ldr     x3, [x1], #8
5:  str     x3, [x0], #8
    subs    x2, x2, #8
    b.ne    4b
6:  mov     x0, #0
    ret
7:  mov     x0, #1
    ret
    FIXUP   1b, 2b, 7b
    FIXUP   4b, 5b, 7b

// rmm_copy_out(to: x0, from: x1, bytes: x2) -> x0
//   Copies bytes (a multiple of 8) from own memory to a Non-secure window. 0, or 1 after an abort.
//   Clobbers x1 to x10.
    .section .text.rmm_copy_out, "ax"
    .balign 16
    .global rmm_copy_out
rmm_copy_out:
    cmp     x2, #64
    b.lo    3f
0:  ldp     x3, x4, [x1]
    ldp     x5, x6, [x1, #16]
    ldp     x7, x8, [x1, #32]
    ldp     x9, x10, [x1, #48]
1:  stp     x3, x4, [x0]
    stp     x5, x6, [x0, #16]
    stp     x7, x8, [x0, #32]
    stp     x9, x10, [x0, #48]
2:  add     x1, x1, #64
    add     x0, x0, #64
    sub     x2, x2, #64
    cmp     x2, #64
    b.hs    0b
3:  cbz     x2, 6f
0:  ldr     x3, [x1], #8
4:  str     x3, [x0], #8
5:  subs    x2, x2, #8
    b.ne    0b
6:  mov     x0, #0
    ret
7:  mov     x0, #1
    ret
    FIXUP   1b, 2b, 7b
    FIXUP   4b, 5b, 7b

// rmm_zero_granule(at: x0) -> x0
//   Writes zeroes over the 4 KiB at a window, with DC ZVA unless it is prohibited. 0, or 1 after an
//   abort. The first access is a load, which takes its external abort synchronously where nothing
//   answers.
//   Clobbers x1 to x4.
    .section .text.rmm_zero_granule, "ax"
    .balign 16
    .global rmm_zero_granule
rmm_zero_granule:
    add     x4, x0, #4096
    mrs     x1, dczid_el0
    and     x2, x1, #0xF            // DCZID_EL0.BS: log2 of the words in a block
    mov     x3, #4
    lsl     x3, x3, x2
1:  ldr     xzr, [x0]
    tbnz    x1, #4, 3f              // DCZID_EL0.DZP: DC ZVA is prohibited
2:  dc      zva, x0
    add     x0, x0, x3
    cmp     x0, x4
    b.lo    2b
    b       5f
3:  stp     xzr, xzr, [x0]
    stp     xzr, xzr, [x0, #16]
    stp     xzr, xzr, [x0, #32]
    stp     xzr, xzr, [x0, #48]
    add     x0, x0, #64
    cmp     x0, x4
    b.lo    3b
5:  mov     x0, #0
    ret
6:  mov     x0, #1
    ret
    FIXUP   1b, 5b, 6b

// The same with the memory copy and set instructions (FEAT_MOPS).
    .arch_extension mops

// rmm_copy_granule(to: x0, from: x1, bytes: x2) -> x0
//   Either side may be the Non-secure window. 0, or 1 after an abort.
//   Clobbers x1 and x2.
    .section .text.rmm_copy_granule, "ax"
    .balign 16
    .global rmm_copy_granule
rmm_copy_granule:
1:  cpyfp   [x0]!, [x1]!, x2!
    cpyfm   [x0]!, [x1]!, x2!
    cpyfe   [x0]!, [x1]!, x2!
2:  mov     x0, #0
    ret
3:  mov     x0, #1
    ret
    FIXUP   1b, 2b, 3b

// rmm_set_granule(at: x0) -> x0
//   As rmm_zero_granule.
//   Clobbers x1.
    .section .text.rmm_set_granule, "ax"
    .balign 16
    .global rmm_set_granule
rmm_set_granule:
    mov     x1, #4096
1:  ldr     xzr, [x0]
    setp    [x0]!, x1!, xzr
    setm    [x0]!, x1!, xzr
    sete    [x0]!, x1!, xzr
2:  mov     x0, #0
    ret
3:  mov     x0, #1
    ret
    FIXUP   1b, 2b, 3b
    .arch_extension nomops
