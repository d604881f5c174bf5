// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What a stage 2 mapping allows (rule F22).

use bitflags::bitflags;

bitflags! {
    /// Permissions and memory type of a stage 2 mapping.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Permissions: u8 {
        /// The guest may read.
        const READ = 1 << 0;
        /// The guest may write.
        const WRITE = 1 << 1;
        /// The guest may fetch instructions.
        const EXECUTE = 1 << 2;
        /// Device attributes instead of normal memory.
        const DEVICE = 1 << 3;
    }
}
