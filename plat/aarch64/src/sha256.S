// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

// rmm_sha256(state: x0, blocks: x1, count: x2)
//   Adds count (not zero) blocks of 64 bytes to the state of a SHA-256 digest: eight words, A first, as
//   FIPS 180-4 section 6.2.2 does. Needs the SHA-256 instructions, and CPTR_EL2 open.
//   Clobbers x1 to x4 and V0 to V11.
//
//   v0 = A B C D, v1 = E F G H; v4 to v7 are sixteen words of the message schedule; v8 to v11 are sixteen
//   of its constants.

    .arch_extension sha2

// Four rounds with four sums of constants and words of the schedule.
    .macro  SHA256_HASH kw
    mov     v2.16b, v0.16b
    sha256h q0, q1, v\kw\().4s
    sha256h2 q1, q2, v\kw\().4s
    .endm

// Four rounds with four words of the schedule.
    .macro  SHA256_ROUNDS k, w
    add     v3.4s, v\k\().4s, v\w\().4s
    SHA256_HASH 3
    .endm

// The four words after those in w0 to w3, in the place of w0.
    .macro  SHA256_SCHEDULE w0, w1, w2, w3
    sha256su0 v\w0\().4s, v\w1\().4s
    sha256su1 v\w0\().4s, v\w2\().4s, v\w3\().4s
    .endm

    .section .text.rmm_sha256, "ax"
    .balign 16
    .global rmm_sha256
rmm_sha256:
    adrp    x4, sha256_constants
    add     x4, x4, :lo12:sha256_constants
    ldp     q0, q1, [x0]
1:  ld1     {v4.16b - v7.16b}, [x1], #64
    rev32   v4.16b, v4.16b
    rev32   v5.16b, v5.16b
    rev32   v6.16b, v6.16b
    rev32   v7.16b, v7.16b
    mov     x3, x4
    .rept   3
    ld1     {v8.4s - v11.4s}, [x3], #64
    SHA256_ROUNDS 8, 4
    SHA256_SCHEDULE 4, 5, 6, 7
    SHA256_ROUNDS 9, 5
    SHA256_SCHEDULE 5, 6, 7, 4
    SHA256_ROUNDS 10, 6
    SHA256_SCHEDULE 6, 7, 4, 5
    SHA256_ROUNDS 11, 7
    SHA256_SCHEDULE 7, 4, 5, 6
    .endr
    ld1     {v8.4s - v11.4s}, [x3]
    SHA256_ROUNDS 8, 4
    SHA256_ROUNDS 9, 5
    SHA256_ROUNDS 10, 6
    SHA256_ROUNDS 11, 7
    ldp     q2, q3, [x0]
    add     v0.4s, v0.4s, v2.4s
    add     v1.4s, v1.4s, v3.4s
    stp     q0, q1, [x0]
    subs    x2, x2, #1
    b.ne    1b
    ret

// rmm_sha256_zeroes(state: x0, count: x1)
//   The same with blocks of zeroes, whose schedule is zero too.
//   Clobbers x1, x3, x4, V0 to V5 and V8 to V11.
    .section .text.rmm_sha256_zeroes, "ax"
    .balign 16
    .global rmm_sha256_zeroes
rmm_sha256_zeroes:
    adrp    x4, sha256_constants
    add     x4, x4, :lo12:sha256_constants
    ldp     q0, q1, [x0]
1:  mov     v4.16b, v0.16b
    mov     v5.16b, v1.16b
    mov     x3, x4
    .rept   4
    ld1     {v8.4s - v11.4s}, [x3], #64
    SHA256_HASH 8
    SHA256_HASH 9
    SHA256_HASH 10
    SHA256_HASH 11
    .endr
    add     v0.4s, v0.4s, v4.4s
    add     v1.4s, v1.4s, v5.4s
    subs    x1, x1, #1
    b.ne    1b
    stp     q0, q1, [x0]
    ret

    .arch_extension nosha2

// FIPS 180-4, section 4.2.2.
    .section .rodata.sha256_constants, "a"
    .balign 64
sha256_constants:
    .word   0x428A2F98, 0x71374491, 0xB5C0FBCF, 0xE9B5DBA5
    .word   0x3956C25B, 0x59F111F1, 0x923F82A4, 0xAB1C5ED5
    .word   0xD807AA98, 0x12835B01, 0x243185BE, 0x550C7DC3
    .word   0x72BE5D74, 0x80DEB1FE, 0x9BDC06A7, 0xC19BF174
    .word   0xE49B69C1, 0xEFBE4786, 0x0FC19DC6, 0x240CA1CC
    .word   0x2DE92C6F, 0x4A7484AA, 0x5CB0A9DC, 0x76F988DA
    .word   0x983E5152, 0xA831C66D, 0xB00327C8, 0xBF597FC7
    .word   0xC6E00BF3, 0xD5A79147, 0x06CA6351, 0x14292967
    .word   0x27B70A85, 0x2E1B2138, 0x4D2C6DFC, 0x53380D13
    .word   0x650A7354, 0x766A0ABB, 0x81C2C92E, 0x92722C85
    .word   0xA2BFE8A1, 0xA81A664B, 0xC24B8B70, 0xC76C51A3
    .word   0xD192E819, 0xD6990624, 0xF40E3585, 0x106AA070
    .word   0x19A4C116, 0x1E376C08, 0x2748774C, 0x34B0BCB5
    .word   0x391C0CB3, 0x4ED8AA4A, 0x5B9CCA4F, 0x682E6FF3
    .word   0x748F82EE, 0x78A5636F, 0x84C87814, 0x8CC70208
    .word   0x90BEFFFA, 0xA4506CEB, 0xBEF9A3F7, 0xC67178F2
