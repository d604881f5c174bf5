// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What a scenario needs of the place where it runs.
//!
//! A port is the Host's side of one machine with one monitor. In-process it is a monitor over the fake
//! machine; on target it is the Host image, and the monitor is whatever was loaded.

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::BitOr;

use rmi::{RecEnter, RecExit};
pub use test_realm::protocol::{BASE as PAYLOAD_BASE, pattern};

use crate::realm::{RealmAction, RealmResult};
use crate::vectors::HostVectors;

/// Bytes of a granule.
pub const GRANULE: u64 = rmi::GRANULE_SIZE;

/// The port's memory did not answer: the granule is not the Host's now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault;

/// A set of things that some ports can do and others cannot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(u32);

impl Capabilities {
    /// Nothing beyond the calls.
    pub const NONE: Self = Self(0);
    /// A granule can be given to the Secure world and back.
    pub const SECURE: Self = Self(1 << 0);
    /// A copy of the monitor from or to the Host's memory can be made to fault halfway.
    pub const FAULT_HALFWAY: Self = Self(1 << 1);
    /// A Realm can be run, and does what the scenario says.
    pub const RUN: Self = Self(1 << 2);
    /// Another PE runs RECs and makes calls at the same time.
    pub const SECOND_PE: Self = Self(1 << 3);
    /// There are granules at and above 2^48.
    pub const HIGH_MEMORY: Self = Self(1 << 4);
    /// Reading memory that is not the Host's gives [`Fault`], not a crash.
    pub const SAFE_READ: Self = Self(1 << 5);
    /// The Host has registers of EL1 and EL0, which it can fill.
    pub const REGISTERS: Self = Self(1 << 6);
    /// A tick of the counter passes with each instruction, and only then.
    pub const EXACT_TIME: Self = Self(1 << 7);
    /// PEs run in turns, and a turn ends where the scenario wants it, in whatever code.
    pub const TURNS: Self = Self(1 << 8);

    /// Says whether all of `other` is there.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Capabilities {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Where granules may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Below 2^48.
    Low,
    /// At or above 2^48.
    High,
}

/// What the Host can find out of the machine without asking the monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Width of VMIDs: 8 or 16 bits.
    pub vmid_bits: u8,
    /// How many of the registers x0 to x7 the monitor's reply decides: EL3 restores the others.
    pub reply_registers: usize,
    /// `FEAT_HPMN0` is implemented.
    pub hpmn0: bool,
    /// Virtual interrupt priority bits.
    pub priority_bits: u8,
}

/// The replies of a call made while a REC runs, and of the `RMI_REC_ENTER` that runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct During {
    /// x0 to x7 of the call.
    pub call: [u64; 8],
    /// x0 to x7 of the entry.
    pub enter: [u64; 8],
}

/// What came of calls that were made beside a REC on another PE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beside {
    /// x0 to x7 of each call.
    pub calls: Vec<[u64; 8]>,
    /// x0 to x7 of the last entry.
    pub enter: [u64; 8],
    /// Entries.
    pub entries: usize,
}

/// What the Host does after an exit of one of several RECs that run at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It enters the REC again.
    Again,
    /// It interrupts the PEs of other RECs first, a bit for each.
    Kick(u64),
    /// It leaves the REC alone.
    End,
}

/// The Host's side of one of several RECs: looks at an exit, prepares the next entry, which is empty, and
/// says what comes then.
pub type Keeper<'k> = dyn FnMut(&RecExit, &mut RecEnter) -> Then + Send + 'k;

/// The allocation tags of a granule, one for each 16 bytes.
pub type Tags = [u8; 256];

/// x0 to x7 of the calls of two PEs.
pub type Race = [Vec<[u64; 8]>; 2];

/// What came of a call, and of one that another PE made in the midst of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Midst {
    /// x0 to x7 of the call.
    pub ours: [u64; 8],
    /// x0 to x7 of the other PE's.
    pub theirs: [u64; 8],
    /// Ticks from the beginning of the call to that of the other PE's; 0 where that was first.
    pub before: u64,
    /// Ticks that the call took, with those of the other PE's in it.
    pub ticks: u64,
}

/// The Host's side of one machine. Addresses are physical.
pub trait RmiPort {
    /// Makes one RMI call: x0 to x7 in, x0 to x7 out.
    fn call(&mut self, registers: [u64; 8]) -> [u64; 8];

    /// Returns how many ticks of the Host's counter went by during the last [`call`](Self::call); nothing
    /// where there is no counter.
    fn ticks(&self) -> Option<u64> {
        None
    }

    /// Makes `call` while the REC that `enter` enters runs on another PE, and lets that one exit with
    /// an IRQ then. Nothing without [`Capabilities::SECOND_PE`].
    fn call_during(&mut self, enter: [u64; 8], call: [u64; 8]) -> Option<During>;

    /// Makes `calls` one after another beside the REC that `enter` enters on another PE, and writes 1 to
    /// the Host's word at `stop` then.
    ///
    /// The REC is entered again after an interrupt, and after an abort as long as calls are left; the
    /// last entry is the one that ends in something else. Nothing without [`Capabilities::SECOND_PE`].
    fn calls_beside(&mut self, enter: [u64; 8], calls: &[[u64; 8]], stop: u64) -> Option<Beside>;

    /// Makes `ours` and, on another PE at the same time, `theirs`. Nothing without
    /// [`Capabilities::SECOND_PE`].
    fn race(&mut self, ours: &[[u64; 8]], theirs: &[[u64; 8]]) -> Option<Race>;

    /// Makes the call `ours` and stops this PE after so many ticks of it, until another PE has made the
    /// call `theirs`. The machine may stop it at another moment, which is rare. Nothing without
    /// [`Capabilities::TURNS`].
    fn interleave(&mut self, _ours: [u64; 8], _ticks: u64, _theirs: [u64; 8]) -> Option<Midst> {
        None
    }

    /// Enters each REC with one of the calls `enters`, each on a PE of its own, again and again until its
    /// keeper ends that or the call fails. A kick that finds a keeper at work interrupts the entry after
    /// it. Returns the last reply of each; nothing when there are not so many PEs.
    fn run_together(
        &mut self,
        _enters: &[[u64; 8]],
        _keepers: &mut [&mut Keeper<'_>],
    ) -> Option<Vec<[u64; 8]>> {
        None
    }

    /// Obtains granules of the Host in a row, their first address a multiple of `align` bytes. Their
    /// contents are zero. Nothing when there are none.
    fn obtain(&mut self, granules: usize, align: u64, place: Place) -> Option<u64>;

    /// Returns granules that `obtain` gave and that are the Host's again.
    fn give_back(&mut self, first: u64, granules: usize);

    /// Returns the address of a granule that is there and may not be delegated.
    fn not_delegable(&self) -> u64;

    /// Returns the address of a granule behind all memory.
    fn beyond_memory(&self) -> u64;

    /// Reads the Host's memory. A granule that is not the Host's faults, or crashes without
    /// [`Capabilities::SAFE_READ`].
    ///
    /// # Errors
    ///
    /// [`Fault`] when the granule is not the Host's.
    fn read(&mut self, from: u64, into: &mut [u8]) -> Result<(), Fault>;

    /// Writes the Host's memory under the same rules.
    ///
    /// # Errors
    ///
    /// [`Fault`] when the granule is not the Host's.
    fn write(&mut self, to: u64, from: &[u8]) -> Result<(), Fault>;

    /// Gives a granule of the Host to the Secure world. For [`Capabilities::SECURE`].
    fn make_secure(&mut self, granule: u64);

    /// Takes a granule back from the Secure world.
    fn make_non_secure(&mut self, granule: u64);

    /// Lets the monitor's copies from and to the Host's memory move so many bytes in all and fault
    /// then. For [`Capabilities::FAULT_HALFWAY`]. `None` ends it.
    fn fault_after(&mut self, bytes: Option<usize>);

    /// Returns what the Host knows of the machine.
    fn facts(&self) -> Facts;

    /// Returns what the port can do.
    fn capabilities(&self) -> Capabilities;

    /// Returns the program that a Realm needs in its memory to do what scenarios say: whole granules,
    /// to be placed at [`PROGRAM_BASE`](crate::realm::PROGRAM_BASE), which is its entry point.
    fn program(&self) -> &[u8];

    /// Returns the image of the payload of `tests/realm`, where Realms execute code; else nothing.
    fn payload(&self) -> &[u8] {
        &[]
    }

    /// Fills the Host's own registers of EL1 and EL0 with [`pattern`] `seed`, and arms a watchpoint over
    /// the memory in which payloads run. For [`Capabilities::REGISTERS`].
    fn fill_registers(&mut self, _seed: u64) {}

    /// Returns the names of the registers that no longer hold what they were filled with, and disarms
    /// the watchpoint.
    fn changed_registers(&mut self) -> Vec<&'static str> {
        Vec::new()
    }

    /// Returns the allocation tags of a granule of the Host; nothing where it has none. A granule that
    /// [`Self::obtain`] gives has tags that are not zero.
    fn tags(&mut self, _granule: u64) -> Option<Tags> {
        None
    }

    /// Says what the REC does after this entry; `enter` is what the entry will be made with.
    fn set_action(&mut self, enter: &mut RecEnter, action: RealmAction);

    /// Returns the result of the last action when `exit` is how the program says that it is done.
    fn take_result(&mut self, exit: &RecExit) -> Option<RealmResult>;

    /// Has the Host's timer interrupt the next call, so many ticks from now. The call takes the alarm back.
    fn set_alarm(&mut self, _ticks: u64) {}

    /// Holds a private interrupt of this PE back, or lets it through again.
    fn hold_back(&mut self, _intid: u32, _is_held: bool) {}

    /// Lets no interrupt of this PE through by its priority mask, or all again.
    fn mask_interrupts(&mut self, _is_masked: bool) {}

    /// Puts the vector registers of the Host into this state, with contents that `seed` names. Nothing
    /// but calls may change them until [`Self::check_vectors`]. False where there is no such state.
    fn fill_vectors(&mut self, _state: HostVectors, _seed: u64) -> bool {
        false
    }

    /// Says what is wrong with the Host's vector registers: one is not as it was filled, or one holds,
    /// at whatever length, a word of the [`pattern`](crate::vectors::pattern) that `foreign_seed` names.
    fn check_vectors(&mut self, _foreign_seed: u64) -> Option<String> {
        None
    }

    /// Looks into the monitor for contradictions, where the port can.
    ///
    /// # Errors
    ///
    /// A sentence about what is wrong.
    fn audit(&mut self) -> Result<(), String>;

    /// Returns a digest of everything the monitor holds, where the port can look into it: equal digests
    /// mean that nothing changed.
    fn fingerprint(&mut self) -> Option<u64>;
}
