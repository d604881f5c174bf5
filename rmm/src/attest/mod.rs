// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Attestation: how a Realm proves to others what it is.
//!
//! The proof is a *token* ([`token`]) of two parts. The *platform token* is about the machine and its
//! firmware; EL3 gives it once, at the cold boot. The *Realm token* is about one Realm: its claims, signed
//! ([`sign`]) with the *realm attestation key*, which comes from EL3 too. The platform token carries a
//! digest of the public half of that key, and so vouches for the other part.
//!
//! A token is longer than what a REC's granule has room for, and it is made of parts that are somewhere
//! already. So nobody ever holds a whole one: the encoding ([`cbor`]) is run through for each piece that a
//! Realm fetches, and only that piece of it is kept. A REC remembers the claims, how far the signature
//! is, and how much has been fetched ([`progress`]).

mod cbor;
pub(crate) mod progress;
mod root;
pub mod sign;
pub(crate) mod token;

pub use root::{Attestation, NoAttestation};
