// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

// Fixed stretches of instructions, each of which runs exactly once with interrupts on.
//
// stretch_<name>(x0 = the structure `Block` of stretches.rs): loads x0 and x2 to x30 from the block, x1 is
//   the address of its memory; lets interrupts in, runs the stretch, keeps them out, and stores x0 to x30
//   and the flags. Interrupts are masked on entry and on return, MMU on, stack at least 384 bytes.
//
// The labels stretch_<name>_first and stretch_<name>_end enclose the stretch: an interrupt is taken before
// one of its instructions, or behind the last one, which is before the instruction at the second label.
// The result of every instruction ends up in a register, the flags or the memory, so that one which is
// left out, made twice or made with a wrong register shows. System registers keep what is written to them
// here: the payload relies on none. Counters are only compared, because they differ each time.

.arch armv9-a+sve+aes
.section .text.stretches, "ax"

.macro stretch_begin name
.global stretch_\name
stretch_\name:
    sub     sp, sp, #368
    kept_registers stp, 256
    str     x0, [sp, #352]
    load_x2_to_x29
    ldr     x30, [x0, #8 * 30]
    add     x1, x0, #{memory}
    ldr     x0, [x0]
    msr     daifclr, #2
.global stretch_\name\()_first
stretch_\name\()_first:
.endm

.macro stretch_end name
.global stretch_\name\()_end
stretch_\name\()_end:
    msr     daifset, #2
    b       stretch_leave
.endm

stretch_leave:
    str     x30, [sp, #0]
    ldr     x30, [sp, #352]
    store_x0_to_x29
    ldr     x0, [sp, #0]
    mrs     x1, nzcv
    str     x0, [x30, #8 * 30]
    str     x1, [x30, #{nzcv}]
    kept_registers ldp, 256
    add     sp, sp, #368
    ret

stretch_begin general
    adds    x3, x3, x4
    adcs    x5, x5, x6
    sbcs    x7, x7, x8
    csel    x9, x3, x5, cs
    ccmp    x9, x7, #5, ne
    cinc    x10, x10, gt
    madd    x11, x9, x10, x12
    umulh   x12, x11, x3
    clz     x13, x12
    extr    x14, x11, x12, #7
    bfi     x15, x14, #8, #12
    udiv    x16, x15, x17
    crc32cx w17, w16, x15
    rev     x18, x17
    rbit    x19, x18
    eor     x20, x19, x14, ror #13
    pacga   x21, x20, x19
    bl      1f
1:  add     x22, x22, x30
    adr     x23, 2f
    br      x23
2:  tbz     xzr, #0, 3f
3:  cbnz    x23, 4f
4:  ands    x24, x24, x21
    b.al    5f
5:  ngcs    x25, x25
    movk    x26, #0x1234, lsl #32
    subs    x27, x27, #1
    csetm   x28, hi
    sdiv    x29, x27, x12
    adds    xzr, x29, x28
stretch_end general

stretch_begin memory
    str     x3, [x1]
    ldr     x4, [x1]
    stp     x5, x6, [x1, #16]
    ldp     x7, x8, [x1, #24]
    ldr     x9, [x1], #8
    str     x9, [x1, #24]!
    sub     x1, x1, #32
    ldrsb   x10, [x1, #3]
    strh    w10, [x1, #41]
    ldur    x11, [x1, #43]
1:  ldxr    x12, [x1]
    add     x12, x12, #1
    stxr    w13, x12, [x1]
    cbnz    w13, 1b
2:  ldaxp   x14, x15, [x1, #0]
    adds    x14, x14, x15
    stlxp   w16, x14, x12, [x1]
    cbnz    w16, 2b
    ldadd   x17, x18, [x1]
    swpal   x19, x20, [x1]
    mov     x21, x19
    cas     x21, x22, [x1]
    casal   x23, x24, [x1]
    ldsetal x25, x26, [x1]
    ldar    x27, [x1]
    stlr    x28, [x1]
    dmb     ish
    ldapr   x29, [x1]
    dc      civac, x1
    dsb     sy
    isb
    prfm    pldl1keep, [x1]
    ldp     x2, x3, [x1, #8]!
    sub     x1, x1, #8
    dc      zva, x1
    ldr     x4, [x1, #8]
    strb    w5, [x1, #9]
stretch_end memory

stretch_begin system
    msr     tpidr_el0, x2
    mrs     x3, tpidr_el0
    msr     tpidrro_el0, x4
    mrs     x5, tpidrro_el0
    msr     tpidr_el1, x6
    mrs     x7, tpidr_el1
    msr     far_el1, x8
    mrs     x9, far_el1
    msr     amair_el1, x10
    mrs     x11, amair_el1
    msr     afsr0_el1, x12
    mrs     x13, afsr0_el1
    at      s1e1r, x1
    isb
    mrs     x14, par_el1
    msr     nzcv, x15
    mrs     x16, nzcv
    msr     dit, #1
    mrs     x17, dit
    msr     dit, #0
    msr     ssbs, #1
    mrs     x18, ssbs
    msr     ssbs, #0
    msr     pan, #1
    mrs     x19, pan
    msr     pan, #0
    msr     uao, #1
    mrs     x20, uao
    msr     uao, #0
    mrs     x21, daif
    mrs     x22, currentel
    mrs     x23, cntfrq_el0
    mrs     x24, mpidr_el1
    mrs     x25, midr_el1
    mrs     x26, cntvct_el0
    isb
    mrs     x27, cntpct_el0
    subs    xzr, x27, x26
    cset    x26, hs
    mov     x27, xzr
    msr     sp_el0, x28
    mrs     x29, sp_el0
    tlbi    vmalle1
    dsb     nsh
    ic      iallu
    isb
    sevl
    wfe
    yield
    nop
stretch_end system

.macro stretch_rsi function
    movz    x0, #\function
    movk    x0, #{rsi}, lsl #16
.endm

stretch_begin calls
    and     x29, x1, #~0xfff
    stretch_rsi {rsi_version}
    mov     x1, #{rsi_wanted}
    smc     #0
    mov     x19, x0
    add     x20, x1, x2
    stretch_rsi {rsi_ipa_state_get}
    mov     x1, x29
    add     x2, x29, #0x1000
    smc     #0
    add     x21, x0, x1
    mov     x22, x2
    stretch_rsi {rsi_measurement_extend}
    mov     x1, #{measurement}
    mov     x2, #64
    mov     x3, #{measured}
    mov     x4, x3
    mov     x5, x3
    mov     x6, x3
    mov     x7, x3
    mov     x8, x3
    mov     x9, x3
    mov     x10, x3
    smc     #0
    mov     x23, x0
    stretch_rsi {rsi_measurement_read}
    mov     x1, #0
    smc     #0
    add     x24, x1, x4
    mrs     x25, id_aa64pfr0_el1
    mrs     x26, id_aa64isar1_el1
    movz    x0, #0
    movk    x0, #{psci}, lsl #16
    smc     #0
    mov     x27, x0
    movz    x0, #0xC100, lsl #16
    smc     #0
    mov     x28, x0
stretch_end calls

stretch_begin vectors
    msr     fpcr, xzr
    msr     fpsr, xzr
    ld1     {{v0.2d, v1.2d, v2.2d, v3.2d}}, [x1]
    add     v4.2d, v0.2d, v1.2d
    eor     v5.16b, v4.16b, v2.16b
    ext     v6.16b, v5.16b, v3.16b, #5
    tbl     v7.16b, {{v0.16b, v1.16b}}, v6.16b
    umov    x3, v7.d[1]
    ins     v8.d[0], x3
    ins     v8.d[1], x4
    scvtf   d9, x5
    scvtf   d10, x6
    fdiv    d11, d9, d10
    fsqrt   d12, d11
    fcvtzs  x7, d12
    fcmp    d11, d12
    cset    x8, mi
    mrs     x9, fpsr
    mul     v13.4s, v8.4s, v7.4s
    uaddlv  d14, v13.4s
    fmov    x10, d14
    sqadd   v15.2d, v0.2d, v1.2d
    mrs     x11, fpsr
    mov     v16.16b, v5.16b
    aese    v16.16b, v15.16b
    mov     v31.16b, v16.16b
    st1     {{v4.2d, v5.2d, v6.2d, v7.2d}}, [x1], #64
    st1     {{v13.2d, v14.2d, v15.2d, v16.2d}}, [x1], #64
    stp     q8, q31, [x1]
    ldp     q30, q29, [x1]
    fmov    x12, d29
stretch_end vectors

// Every register that is used is written first: FFR, predicates and vectors hold what was there before.
stretch_begin scalable
    ptrue   p0.b
    setffr
    ldff1d  {{z0.d}}, p0/z, [x1]
    rdffr   p1.b
    cntp    x3, p0, p1.b
    index   z1.d, x4, #3
    add     z2.d, z0.d, z1.d
    mov     x5, #3
    whilelo p2.b, xzr, x5
    sel     z3.b, p2, z1.b, z2.b
    cmphi   p3.d, p0/z, z3.d, z1.d
    cset    x6, any
    lastb   x7, p2, z2.d
    uaddv   d4, p0, z3.d
    fmov    x8, d4
    rdvl    x9, #1
    incd    x10
    eorv    d5, p3, z2.d
    fmov    x11, d5
    movprfx z6, z3
    mul     z6.d, p0/m, z6.d, z2.d
    splice  z3.b, p2, z3.b, z6.b
    st1d    {{z3.d}}, p0, [x1]
    st1d    {{z6.d}}, p0, [x1, #1, mul vl]
    rdffr   p4.b
    cntp    x12, p0, p4.b
    wrffr   p2.b
    rdffrs  p5.b, p0/z
    cset    x13, nlast
stretch_end scalable
