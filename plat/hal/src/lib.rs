// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the monitor asks of a machine: traits and plain types.
//!
//! One value that implements [`Hal`] stands for one PE: it is made by the image for that PE, never
//! leaves it, and is passed down by reference. Everything the rules in `rmm` need to know of the
//! hardware is behind these traits; whatever a trait method does to the machine is undone or visible in
//! plain data, so the same rules run over `rmm-fake` on a laptop.

#![no_std]
#![forbid(unsafe_code)]

mod attestation;
mod context;
mod el3;
mod features;
mod ns;
mod realm;
pub mod registers;
mod sha2;
mod stage2;
mod timing;

pub use attestation::{
    AttestationError, AttestationSource, PLATFORM_CHALLENGE_BYTES, REALM_KEY_BYTES,
};
pub use context::{DebugState, El1Registers, GicState, PmuState, RecContext, TimerState};
pub use el3::{El3, El3Error};
pub use features::{CpuFeatures, ID_REGISTERS};
pub use ns::NsMemory;
pub use realm::{
    ExceptionEntry, Exit, HostSve, RealmCpu, RunControls, SVE_GRANULES, SveControls, Syndrome,
    TimerRegister, TranslationControls,
};
pub use rmm_granule::{AccessFault, GranuleWindow};
pub use sha2::{NoInstructions, Sha2, Sha2Unit};
pub use stage2::{MustInvalidate, Stage2, Stage2Root};
pub use timing::Timing;

/// One PE of a machine.
pub trait Hal {
    /// How granules are shown.
    type Window: GranuleWindow;
    /// How Non-secure memory is copied.
    type Ns: NsMemory;
    /// How stage 2 entries are published and invalidated.
    type Stage2: Stage2;
    /// How a Realm runs.
    type Realm: RealmCpu;
    /// How EL3 is asked.
    type El3: El3;
    /// How digests are computed.
    type Sha2: Sha2;
    /// How secrets are kept out of the time that work takes.
    type Timing: Timing;

    /// Returns this PE's granule windows.
    fn window(&self) -> &Self::Window;
    /// Returns access to Non-secure memory.
    fn ns(&self) -> &Self::Ns;
    /// Returns the stage 2 maintenance of this PE.
    fn stage2(&self) -> &Self::Stage2;
    /// Returns the Realm side of this PE.
    fn realm(&self) -> &Self::Realm;
    /// Returns the way to EL3.
    fn el3(&self) -> &Self::El3;
    /// Returns this PE's instructions for digests.
    fn sha2(&self) -> &Self::Sha2;
    /// Returns this PE's control of instruction timing.
    fn timing(&self) -> &Self::Timing;
    /// Returns what the PEs of this machine can do; the same on every PE.
    fn features(&self) -> &CpuFeatures;
}
