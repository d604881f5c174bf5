// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The first instructions of the program (Linux, ELF for arm64).
//
// In: sp = the number of arguments, the pointer to each, zero.
// Out: never returns; calls probe_main with the pointer to the argument behind the program's name in x0.

.section .text.entry, "ax"
.global _start
_start:
	mov	x29, #0
	mov	x30, #0
	ldr	x0, [sp, #16]
	bl	probe_main
	brk	#0
