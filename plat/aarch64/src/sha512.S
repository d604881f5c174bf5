// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

// rmm_sha512(state: x0, blocks: x1, count: x2)
//   Adds count (not zero) blocks of 128 bytes to the state of a SHA-512 digest: eight double words, A
//   first, as FIPS 180-4 section 6.4.2 does. Needs the SHA-512 instructions, and CPTR_EL2 open.
//   Clobbers x1 to x5 and V0 to V15.
//
//   v0 to v3 hold A B, C D, E F and G H at the start of a block, and change places every two rounds; v8 to
//   v15 are sixteen words of the message schedule.

    .arch_extension sha3

// Two rounds with the two words of the schedule in w. The next rounds find A B in gh, C D in ab, E F in
// cd and G H in ef.
    .macro  SHA512_ROUNDS ab, cd, ef, gh, w
    ldr     q4, [x3], #16
    add     v4.2d, v4.2d, v\w\().2d
    ext     v4.16b, v4.16b, v4.16b, #8
    ext     v5.16b, v\ef\().16b, v\gh\().16b, #8    // F G
    ext     v6.16b, v\cd\().16b, v\ef\().16b, #8    // D E
    add     v\gh\().2d, v\gh\().2d, v4.2d
    sha512h q\gh, q5, v6.2d        // both T1 of section 6.4.2, the second first
    mov     v7.16b, v\gh\().16b
    sha512h2 q\gh, q\cd, v\ab\().2d
    add     v\cd\().2d, v\cd\().2d, v7.2d
    .endm

// The two words that come sixteen after those in w0, in their place; w1 is behind w0, w4 and w5 are the
// fifth and sixth, w7 is the last.
    .macro  SHA512_SCHEDULE w0, w1, w4, w5, w7
    ext     v7.16b, v\w4\().16b, v\w5\().16b, #8
    sha512su0 v\w0\().2d, v\w1\().2d
    sha512su1 v\w0\().2d, v\w7\().2d, v7.2d
    .endm

    .section .text.rmm_sha512, "ax"
    .balign 16
    .global rmm_sha512
rmm_sha512:
    adrp    x4, sha512_constants
    add     x4, x4, :lo12:sha512_constants
    ldp     q0, q1, [x0]
    ldp     q2, q3, [x0, #32]
1:  ld1     {v8.16b - v11.16b}, [x1], #64
    ld1     {v12.16b - v15.16b}, [x1], #64
    .irp    w, 8, 9, 10, 11, 12, 13, 14, 15
    rev64   v\w\().16b, v\w\().16b
    .endr
    mov     x3, x4
    mov     x5, #4
2:  SHA512_ROUNDS 0, 1, 2, 3, 8
    SHA512_SCHEDULE 8, 9, 12, 13, 15
    SHA512_ROUNDS 3, 0, 1, 2, 9
    SHA512_SCHEDULE 9, 10, 13, 14, 8
    SHA512_ROUNDS 2, 3, 0, 1, 10
    SHA512_SCHEDULE 10, 11, 14, 15, 9
    SHA512_ROUNDS 1, 2, 3, 0, 11
    SHA512_SCHEDULE 11, 12, 15, 8, 10
    SHA512_ROUNDS 0, 1, 2, 3, 12
    SHA512_SCHEDULE 12, 13, 8, 9, 11
    SHA512_ROUNDS 3, 0, 1, 2, 13
    SHA512_SCHEDULE 13, 14, 9, 10, 12
    SHA512_ROUNDS 2, 3, 0, 1, 14
    SHA512_SCHEDULE 14, 15, 10, 11, 13
    SHA512_ROUNDS 1, 2, 3, 0, 15
    SHA512_SCHEDULE 15, 8, 11, 12, 14
    subs    x5, x5, #1
    b.ne    2b
    SHA512_ROUNDS 0, 1, 2, 3, 8
    SHA512_ROUNDS 3, 0, 1, 2, 9
    SHA512_ROUNDS 2, 3, 0, 1, 10
    SHA512_ROUNDS 1, 2, 3, 0, 11
    SHA512_ROUNDS 0, 1, 2, 3, 12
    SHA512_ROUNDS 3, 0, 1, 2, 13
    SHA512_ROUNDS 2, 3, 0, 1, 14
    SHA512_ROUNDS 1, 2, 3, 0, 15
    ldp     q4, q5, [x0]
    ldp     q6, q7, [x0, #32]
    add     v0.2d, v0.2d, v4.2d
    add     v1.2d, v1.2d, v5.2d
    add     v2.2d, v2.2d, v6.2d
    add     v3.2d, v3.2d, v7.2d
    stp     q0, q1, [x0]
    stp     q2, q3, [x0, #32]
    subs    x2, x2, #1
    b.ne    1b
    ret

    .arch_extension nosha3

// FIPS 180-4, section 4.2.3.
    .section .rodata.sha512_constants, "a"
    .balign 64
sha512_constants:
    .quad   0x428A2F98D728AE22, 0x7137449123EF65CD
    .quad   0xB5C0FBCFEC4D3B2F, 0xE9B5DBA58189DBBC
    .quad   0x3956C25BF348B538, 0x59F111F1B605D019
    .quad   0x923F82A4AF194F9B, 0xAB1C5ED5DA6D8118
    .quad   0xD807AA98A3030242, 0x12835B0145706FBE
    .quad   0x243185BE4EE4B28C, 0x550C7DC3D5FFB4E2
    .quad   0x72BE5D74F27B896F, 0x80DEB1FE3B1696B1
    .quad   0x9BDC06A725C71235, 0xC19BF174CF692694
    .quad   0xE49B69C19EF14AD2, 0xEFBE4786384F25E3
    .quad   0x0FC19DC68B8CD5B5, 0x240CA1CC77AC9C65
    .quad   0x2DE92C6F592B0275, 0x4A7484AA6EA6E483
    .quad   0x5CB0A9DCBD41FBD4, 0x76F988DA831153B5
    .quad   0x983E5152EE66DFAB, 0xA831C66D2DB43210
    .quad   0xB00327C898FB213F, 0xBF597FC7BEEF0EE4
    .quad   0xC6E00BF33DA88FC2, 0xD5A79147930AA725
    .quad   0x06CA6351E003826F, 0x142929670A0E6E70
    .quad   0x27B70A8546D22FFC, 0x2E1B21385C26C926
    .quad   0x4D2C6DFC5AC42AED, 0x53380D139D95B3DF
    .quad   0x650A73548BAF63DE, 0x766A0ABB3C77B2A8
    .quad   0x81C2C92E47EDAEE6, 0x92722C851482353B
    .quad   0xA2BFE8A14CF10364, 0xA81A664BBC423001
    .quad   0xC24B8B70D0F89791, 0xC76C51A30654BE30
    .quad   0xD192E819D6EF5218, 0xD69906245565A910
    .quad   0xF40E35855771202A, 0x106AA07032BBD1B8
    .quad   0x19A4C116B8D2D0C8, 0x1E376C085141AB53
    .quad   0x2748774CDF8EEB99, 0x34B0BCB5E19B48A8
    .quad   0x391C0CB3C5C95A63, 0x4ED8AA4AE3418ACB
    .quad   0x5B9CCA4F7763E373, 0x682E6FF3D6B2B8A3
    .quad   0x748F82EE5DEFB2FC, 0x78A5636F43172F60
    .quad   0x84C87814A1F0AB72, 0x8CC702081A6439EC
    .quad   0x90BEFFFA23631E28, 0xA4506CEBDE82BDE9
    .quad   0xBEF9A3F7B2C67915, 0xC67178F2E372532B
    .quad   0xCA273ECEEA26619C, 0xD186B8C721C0C207
    .quad   0xEADA7DD6CDE0EB1E, 0xF57D4F7FEE6ED178
    .quad   0x06F067AA72176FBA, 0x0A637DC5A2C898A6
    .quad   0x113F9804BEF90DAE, 0x1B710B35131C471B
    .quad   0x28DB77F523047D84, 0x32CAAB7B40C72493
    .quad   0x3C9EBE0A15C9BEBC, 0x431D67C49C100D4C
    .quad   0x4CC5D4BECB3E42B6, 0x597F299CFC657E2A
    .quad   0x5FCB6FAB3AD6FAEC, 0x6C44198C4A475817
