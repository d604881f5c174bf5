// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Work on secrets.

/// How long instructions take.
pub trait Timing {
    /// Does `work` with instructions whose time does not depend on the data they work on, as far as
    /// the machine promises that (`PSTATE.DIT`).
    fn data_independent<R>(&self, work: impl FnOnce() -> R) -> R;
}
