// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Granule states, as codes and as types.
//!
//! What protects the contents of a granule, by state:
//!
//! | state | who may touch the contents | count means | lock order |
//! |---|---|---|---|
//! | [`Undelegated`] | the Host; the monitor only copies | 0 | named by the Host: address order |
//! | [`Delegated`] | the holder of the lock; zero when unlocked | 0 | named by the Host: address order |
//! | RD | the holder of the lock | RECs of the Realm | named by the Host: address order |
//! | REC | header: anyone; contents: the holder of the lock while the count is 0, else the running PE | 1 while running | named by the Host: address order |
//! | REC auxiliary | as its REC | 0 | after its REC, one at a time |
//! | RTT | the holder of the lock, and the hardware walker | live entries | root towards leaf, after the RD |
//! | DATA | the Realm; the monitor only copies, under the lock of the table that names it | 0 | after the leaf RTT |
//!
//! The states other than the two ends of delegation are defined by the crate that knows the contents;
//! they implement [`State`] with the codes of [`StateCode`].

use core::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The value of the state field of a granule word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateCode {
    /// Not in the monitor's hands.
    Undelegated,
    /// In the monitor's hands, unused and all zeroes.
    Delegated,
    /// A Realm descriptor.
    Rd,
    /// A Realm execution context.
    Rec,
    /// Auxiliary storage of a REC.
    RecAux,
    /// Realm code or data.
    Data,
    /// A Realm translation table.
    Rtt,
    /// Memory the Host may never delegate: the monitor itself, or what the platform keeps.
    Excluded,
}

impl StateCode {
    pub(crate) const fn bits(self) -> u16 {
        match self {
            Self::Undelegated => 0,
            Self::Delegated => 1,
            Self::Rd => 2,
            Self::Rec => 3,
            Self::RecAux => 4,
            Self::Data => 5,
            Self::Rtt => 6,
            Self::Excluded => 7,
        }
    }

    pub(crate) const fn from_bits(bits: u16) -> Self {
        match bits {
            0 => Self::Undelegated,
            1 => Self::Delegated,
            2 => Self::Rd,
            3 => Self::Rec,
            4 => Self::RecAux,
            5 => Self::Data,
            6 => Self::Rtt,
            _ => Self::Excluded,
        }
    }
}

/// A granule state as a type.
///
/// `Header` sits at offset 0 of the granule and `Contents` right behind it. Both accept any bytes, so
/// that a wrong state would be a logic error and never undefined behaviour.
pub trait State {
    /// The code in the granule word.
    const CODE: StateCode;
    /// What anyone who holds the lock may read while somebody else uses the contents: atomics only.
    type Header: FromBytes + KnownLayout + Sync;
    /// What the granule holds.
    type Contents: FromBytes + KnownLayout;
}

/// A state whose contents this PE may show as a Rust value. Implementations other than [`Foreign`]
/// states are free to choose it.
pub trait Contained: State {}

/// A state in which the contents can stay in exclusive use after the lock is given back
/// ([`crate::InUse`]); the reference count counts that use.
pub trait Pinned: State {}

/// A state whose contents somebody else writes at the same time: only copied, never referred to.
pub trait Foreign: State<Header = (), Contents = ()> {}

/// The bytes of one granule.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4096))]
pub struct Page(pub [u8; rmi::GRANULE_BYTES]);

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Page")
    }
}

/// Not in the monitor's hands; another world may use it or give it away at any time.
#[derive(Debug)]
pub enum Undelegated {}

impl State for Undelegated {
    const CODE: StateCode = StateCode::Undelegated;
    type Header = ();
    type Contents = ();
}

/// In the monitor's hands and unused. All zeroes whenever it is unlocked.
#[derive(Debug)]
pub enum Delegated {}

impl State for Delegated {
    const CODE: StateCode = StateCode::Delegated;
    type Header = ();
    type Contents = Page;
}

impl Contained for Delegated {}
