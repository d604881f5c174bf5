// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Realm execution contexts: what one virtual processor of a Realm is, and what happens to it.
//!
//! Nothing here knows a function identifier or an argument register of the Host's interface: the
//! commands read and write those.

pub(crate) mod aux;
pub(crate) mod context;
mod debug;
pub(crate) mod exit;
pub(crate) mod gic;
mod id_registers;
pub(crate) mod inject;
pub(crate) mod mmio;
mod object;
mod pstate;
pub(crate) mod running;
mod stage1;
mod syndrome;
pub(crate) mod sysreg;
pub(crate) mod trap;

#[cfg(test)]
mod tests;

pub(crate) use object::{HostAbort, RealmTraits, Rec, RecState, RipasRequest, Runnable};
