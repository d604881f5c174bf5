// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A machine made of ordinary memory, behind the same traits as the real one.
//!
//! A [`FakeMachine`] is memory, a granule protection table and one TLB shared by all PEs. A [`FakePe`] is
//! one PE of it and implements [`rmm_hal::Hal`]; threads stand for PEs. The machine is strict where
//! hardware is: seeing a granule through the wrong physical address space panics inside the monitor and
//! is an [`AccessFault`](rmm_hal::AccessFault) for Non-secure copies.

mod attestation;
mod machine;
mod pe;
mod realm;
mod walker;

pub use attestation::{FakePlatform, REALM_KEY};
pub use machine::{FakeMachine, Pas, default_features};
pub use pe::FakePe;
pub use realm::{FakeRealm, RealmProgram};
pub use walker::{Translation, walk};

#[cfg(test)]
mod tests;
