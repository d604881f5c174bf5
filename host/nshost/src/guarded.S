// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

// guarded_copy(to, from, bytes): copies bytes that may not be there. In: x0 = destination,
// x1 = source, x2 = number of bytes. Returns 0, or 1 when an access was refused; the destination
// is then partly written. An exception between guarded_copy and guarded_fault goes on at
// guarded_fault: see vectors.S. Clobbers x1 to x3.

.section .text.guarded, "ax"
.global guarded_copy
guarded_copy:
    cbz     x2, 1f
    ldrb    w3, [x1], #1
    strb    w3, [x0], #1
    sub     x2, x2, #1
    b       guarded_copy
1:  mov     x0, #0
    ret
.global guarded_fault
guarded_fault:
    mov     x0, #1
    ret
