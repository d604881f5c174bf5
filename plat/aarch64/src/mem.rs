// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the compiler calls to copy and to fill, in place of the plain loops of its own library.

core::arch::global_asm!(include_str!("mem.S"), options(raw));
