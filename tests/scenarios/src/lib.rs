// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Command contracts as scenarios over a port.
//!
//! A *scenario* is a function over a [`World`]: it builds Realms in a few lines, makes calls and compares
//! what comes back with the specification. The same list runs in-process over the fake machine and on
//! target, against our monitor or any other: [`all`] lists it, [`run_all`] runs it.
//!
//! Most scenarios come from [`contract`]: a command's file says what a call looks like that succeeds
//! (its *base*), and has one function per failure condition of the specification that *breaks* such a
//! call in exactly that respect. From these come the scenarios `<command>_<condition>`, which break one
//! thing, and `<command>_<condition>_before_<condition>`, which break two that the specification orders.
//! A failing call must change nothing that can be observed.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod bench;
mod beside;
mod contract;
mod cut;
pub mod desc;
mod lifecycle;
mod measured;
mod outcome;
pub mod port;
pub mod realm;
pub mod rmi;
mod rsi;
mod run;
mod scenario;
mod snapshot;
pub mod spec;
pub mod table;
pub mod vectors;
mod world;

pub use contract::Call;
pub use outcome::{Outcome, Reply, Stop};
pub use port::{Capabilities, Facts, Fault, Place, RmiPort};
pub use run::{Filter, Report, Summary, Verdict, run_all, run_one};
pub use scenario::{Kind, Scenario, all, on_machine};
pub use snapshot::Snapshot;
pub use world::{
    Realm, RealmPlan, Rec, Runnable, Step, World, entry_bytes, level_argument, rec_mpidr,
};
