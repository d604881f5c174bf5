// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The words two worlds agree on: RMI, RSI and Realm PSCI, version 1.0 of DEN0137.
//!
//! Everything a Host or a Realm has to know to talk to a Realm Management Monitor is in this crate:
//! numbers of calls, statuses, structures in shared memory and register formats. Nothing here acts.
//! Monitor and Host both use it, so each conversion exists in both directions.
//!
//! # The vocabulary
//!
//! A *world* is one of the four security states of a processor: Non-secure, Secure, Realm and Root.
//! Each has its *physical address space* (PAS). The *Host* is the Non-secure world's hypervisor, the
//! *monitor* is at the most privileged level of the Realm world, and *Realms* are the virtual
//! machines under it, which the Host schedules and feeds but cannot look into. EL3 is in the Root
//! world and carries calls between Host and monitor.
//!
//! A *granule* is [`GRANULE_SIZE`] bytes of physical memory. It belongs to exactly one PAS, and it
//! changes sides when the Host *delegates* it to the Realm world or takes it back. What the Realm
//! world has, the monitor uses for a purpose that the Host names: as a *Realm descriptor* (RD), the
//! root of all that is known of one Realm; as a *Realm execution context* (REC), one virtual
//! processor; as a *Realm translation table* (RTT); or as the Realm's data.
//!
//! An *intermediate physical address* (IPA) is an address as a Realm sees it. The Realm's address
//! space has two halves. The lower half is *protected*: only the monitor maps it, to memory in the
//! Realm PAS. The upper half is *unprotected*: the Host maps its own memory there, and nothing in it
//! is secret. Each protected address has a state that the Realm can rely on, the [`Ripas`] ("Realm
//! IPA state"): empty, RAM, or destroyed by the Host.
//!
//! Translation tables form a tree. An entry at some [`RttLevel`] covers [`RttLevel::block_size`]
//! bytes; level 3 has pages, lower numbers cover more, and a walk starts at the *starting level*,
//! where up to sixteen tables may stand in a row.
//!
//! # The calls
//!
//! *RMI* is what the Host asks of the monitor ([`Command`]), *RSI* is what a Realm asks of it
//! ([`rsi`]), and *PSCI* is how a Realm turns processors on and off ([`psci`]). All of them are SMC
//! instructions with numbers in registers.
//!
//! # Levels of trust
//!
//! What arrives is a register value or a *wire structure*, and has no meaning yet: a wire structure
//! is made of integers and can hold anything. A conversion gives it meaning once, and refuses what
//! the specification reserves. The result, such as a [`RealmRequest`], is well-formed. Whether it is
//! also acceptable depends on the state of the system, which is the monitor's business.

#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic
)]

pub mod addr;
mod bits;
pub mod data;
pub mod features;
pub mod level;
pub mod mpidr;
pub mod psci;
pub mod realm_params;
pub mod rec_params;
pub mod rec_run;
pub mod rsi;
pub mod rtt;
pub mod smccc;
pub mod status;
pub mod syndrome;
pub mod table;
pub mod version;
pub mod wire;

pub use addr::{GRANULE_BYTES, GRANULE_SIZE, GranuleAddr, Ipa, PhysAddr};
pub use data::DataFlags;
pub use features::{FeatureRegister0, HashAlgorithm};
pub use level::RttLevel;
pub use mpidr::RecMpidr;
pub use realm_params::{RealmFlags, RealmParams, RealmRequest};
pub use rec_params::{RecFlags, RecParams, RecRequest};
pub use rec_run::{EnterFlags, ExitReason, RecEnter, RecExit, RecRun, RipasChange};
pub use rsi::{HostCall, RealmConfig, RsiCommand, RsiStatus};
pub use rtt::{AddressFormat, MemAttr, Ripas, RttEntry, RttEntryState, S2Ap, UnprotectedDesc};
pub use smccc::SMCCC_NOT_SUPPORTED;
pub use status::{RMI_SUCCESS, RmiError, RmiReturn, RmiStatus};
pub use syndrome::Syndrome;
pub use table::{Command, CommandId, LogPolicy};
pub use version::Version;
pub use wire::BadEncoding;
