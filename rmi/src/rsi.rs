// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! RSI: what a Realm may ask of the monitor.
//!
//! A call has its function identifier in x0 and its arguments from x1 up. The reply has an
//! [`RsiStatus`] in x0, without an index, and its outputs from x1 up.

use bitflags::bitflags;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::features::HashAlgorithm;
use crate::realm_params::RPV_BYTES;
use crate::rec_run::REC_GPRS;
use crate::rtt::Ripas;
use crate::smccc::fid_of;
use crate::wire::assert_layout;

/// Measurements of a Realm: the initial one, and those that the Realm extends.
pub const MEASUREMENT_SLOTS: u64 = 5;

/// Bytes of a measurement, whatever its algorithm.
pub const MEASUREMENT_BYTES: usize = 64;

/// Bytes of the challenge that a token answers.
pub const CHALLENGE_BYTES: usize = 64;

/// Bytes to which a [`HostCall`] is aligned: it never crosses a page.
pub const HOST_CALL_ALIGNMENT: u64 = 0x100;

/// Expands the table of calls into an enum and its conversions.
macro_rules! calls {
    ($($(#[doc = $doc:literal])+ $variant:ident = $fid:literal, $name:literal;)+) => {
        /// The name of a call.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum RsiCommand {
            $(
                $(#[doc = $doc])+
                $variant,
            )+
        }

        impl RsiCommand {
            /// Every call, in the order of the function identifiers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Returns the call that `x0` makes, whatever its SVE hint.
            #[must_use]
            pub const fn from_fid(x0: u64) -> Option<Self> {
                match fid_of(x0) {
                    $($fid => Some(Self::$variant),)+
                    _ => None,
                }
            }

            /// Returns the function identifier.
            #[must_use]
            pub const fn fid(self) -> u64 {
                match self {
                    $(Self::$variant => $fid,)+
                }
            }

            /// Returns the name that the specification gives to the call.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

calls! {
    /// Negotiates the version: `req` -> `lower`, `higher`.
    Version = 0xC400_0190, "RSI_VERSION";
    /// Reads a feature register: `index` -> `value`.
    Features = 0xC400_0191, "RSI_FEATURES";
    /// Reads a measurement: `index` -> its bytes in x1 to x8.
    MeasurementRead = 0xC400_0192, "RSI_MEASUREMENT_READ";
    /// Extends a measurement: `index`, `size`, bytes in x3 to x10.
    MeasurementExtend = 0xC400_0193, "RSI_MEASUREMENT_EXTEND";
    /// Starts an attestation token: challenge in x1 to x8 -> `size`.
    AttestationTokenInit = 0xC400_0194, "RSI_ATTESTATION_TOKEN_INIT";
    /// Fetches a part of the token: `addr`, `offset`, `size` -> `len`.
    AttestationTokenContinue = 0xC400_0195, "RSI_ATTESTATION_TOKEN_CONTINUE";
    /// Reads the Realm's configuration: `addr`.
    RealmConfig = 0xC400_0196, "RSI_REALM_CONFIG";
    /// Asks to change the state of addresses: `base`, `top`, `ripas`, `flags` -> `new_base`,
    /// `response`.
    IpaStateSet = 0xC400_0197, "RSI_IPA_STATE_SET";
    /// Reads the state of addresses: `base`, `top` -> `out_top`, `ripas`.
    IpaStateGet = 0xC400_0198, "RSI_IPA_STATE_GET";
    /// Calls the Host: `addr`.
    HostCall = 0xC400_0199, "RSI_HOST_CALL";
}

/// What a call says in x0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RsiStatus {
    /// The call took effect.
    Success,
    /// An argument is not acceptable.
    ErrorInput,
    /// The state of the Realm or the REC forbids the call.
    ErrorState,
    /// The call has to be repeated for the rest of its results.
    Incomplete,
    /// The operation failed.
    ErrorUnknown,
}

impl RsiStatus {
    /// Returns the status in x0, if RSI 1.0 has it.
    #[must_use]
    pub const fn from_register(x0: u64) -> Option<Self> {
        match x0 {
            0 => Some(Self::Success),
            1 => Some(Self::ErrorInput),
            2 => Some(Self::ErrorState),
            3 => Some(Self::Incomplete),
            4 => Some(Self::ErrorUnknown),
            _ => None,
        }
    }

    /// Returns the value of x0.
    #[must_use]
    pub const fn to_register(self) -> u64 {
        match self {
            Self::Success => 0,
            Self::ErrorInput => 1,
            Self::ErrorState => 2,
            Self::Incomplete => 3,
            Self::ErrorUnknown => 4,
        }
    }
}

bitflags! {
    /// How a change of address state treats what the Host has taken (`RsiRipasChangeFlags`).
    ///
    /// Other bits should be zero and have no meaning: read with `from_bits_truncate`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct RipasChangeFlags: u64 {
        /// Addresses in the state [`Ripas::Destroyed`] may change too.
        const CHANGE_DESTROYED = 1 << 0;
    }
}

/// The verdict of the Host on a change of address state (`RsiResponse`, `RmiResponse`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Response {
    /// The rest may be asked for again.
    #[default]
    Accept,
    /// The rest will not be changed.
    Reject,
}

impl Response {
    /// Returns the register value.
    #[must_use]
    pub const fn to_register(self) -> u64 {
        match self {
            Self::Accept => 0,
            Self::Reject => 1,
        }
    }

    /// Reads the register value, of which only bit 0 counts.
    #[must_use]
    pub const fn from_register(value: u64) -> Self {
        if value & 1 == 0 {
            Self::Accept
        } else {
            Self::Reject
        }
    }
}

/// Reads the state that `RSI_IPA_STATE_SET` asks for: the condition `ripas_valid`.
///
/// Only bits 7:0 count. A Realm can ask for neither [`Ripas::Destroyed`] nor reserved states.
#[must_use]
pub const fn requested_ripas(x3: u64) -> Option<Ripas> {
    let [code, ..] = x3.to_le_bytes();
    match Ripas::new(code) {
        Some(ripas @ (Ripas::Empty | Ripas::Ram)) => Some(ripas),
        Some(Ripas::Destroyed) | None => None,
    }
}

/// `RsiRealmConfig` as the monitor writes it: one granule.
#[derive(Clone, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RealmConfig {
    /// Width of the address space, in bits.
    pub ipa_width: u64,
    /// Code of a [`HashAlgorithm`].
    pub hash_algo: u8,
    _reserved_hash_algo: [u8; 0x1f7],
    /// The Realm personalization value.
    pub rpv: [u8; RPV_BYTES],
    _reserved_end: [u8; 0xdc0],
}

assert_layout!(RealmConfig, 0x1000, {
    ipa_width: 0x0,
    hash_algo: 0x8,
    rpv: 0x200,
});

impl RealmConfig {
    /// Returns a page with these values, and zeros in all other bytes.
    #[must_use]
    pub fn new(ipa_width: u64, hash_algo: HashAlgorithm, rpv: [u8; RPV_BYTES]) -> Self {
        Self {
            ipa_width,
            hash_algo: hash_algo.code(),
            rpv,
            ..Self::new_zeroed()
        }
    }
}

/// `RsiHostCall`: what a Realm and its Host exchange in a call.
#[derive(Clone, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct HostCall {
    /// What the call is about, for Realm and Host to agree on.
    pub imm: u16,
    _reserved_imm: [u8; 6],
    /// Values for the Host, then values from it.
    pub gprs: [u64; REC_GPRS],
}

assert_layout!(HostCall, 0x100, { imm: 0x0, gprs: 0x8 });

impl Default for HostCall {
    fn default() -> Self {
        Self::new_zeroed()
    }
}

/// Returns bytes as registers hold them: byte k is byte k mod 8 of register k / 8.
#[must_use]
pub fn registers_of_bytes(bytes: &[u8; MEASUREMENT_BYTES]) -> [u64; 8] {
    let mut registers = [0; 8];
    registers.as_mut_bytes().copy_from_slice(bytes);
    registers
}

/// Returns the bytes that registers hold: the reverse of [`registers_of_bytes`].
#[must_use]
pub fn bytes_of_registers(registers: [u64; 8]) -> [u8; MEASUREMENT_BYTES] {
    zerocopy::transmute!(registers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_have_the_identifiers_of_section_3() {
        let list = [
            (0xC400_0190, "RSI_VERSION"),
            (0xC400_0191, "RSI_FEATURES"),
            (0xC400_0192, "RSI_MEASUREMENT_READ"),
            (0xC400_0193, "RSI_MEASUREMENT_EXTEND"),
            (0xC400_0194, "RSI_ATTESTATION_TOKEN_INIT"),
            (0xC400_0195, "RSI_ATTESTATION_TOKEN_CONTINUE"),
            (0xC400_0196, "RSI_REALM_CONFIG"),
            (0xC400_0197, "RSI_IPA_STATE_SET"),
            (0xC400_0198, "RSI_IPA_STATE_GET"),
            (0xC400_0199, "RSI_HOST_CALL"),
        ];
        assert_eq!(RsiCommand::ALL.len(), list.len());
        for (command, (fid, name)) in RsiCommand::ALL.iter().zip(list) {
            assert_eq!((command.fid(), command.name()), (fid, name));
            assert_eq!(RsiCommand::from_fid(fid), Some(*command));
            assert_eq!(RsiCommand::from_fid(fid | 1 << 16), Some(*command));
            assert_eq!(RsiCommand::from_fid(fid & !(1 << 30)), None, "SMC32");
        }
        assert_eq!(RsiCommand::from_fid(0xC400_018F), None);
        assert_eq!(RsiCommand::from_fid(0xC400_019A), None);
    }

    #[test]
    fn status_codes_round_trip() {
        for code in 0..5 {
            let status = RsiStatus::from_register(code).unwrap();
            assert_eq!(status.to_register(), code);
        }
        assert_eq!(RsiStatus::from_register(5), None);
        assert_eq!(RsiStatus::from_register(u64::MAX), None);
    }

    #[test]
    fn requested_ripas_is_empty_or_ram() {
        assert_eq!(requested_ripas(0), Some(Ripas::Empty));
        assert_eq!(requested_ripas(0xFF01), Some(Ripas::Ram));
        for code in [2, 3, 0xFF] {
            assert_eq!(requested_ripas(code), None);
        }
    }

    #[test]
    fn response_is_bit_0() {
        for response in [Response::Accept, Response::Reject] {
            assert_eq!(Response::from_register(response.to_register()), response);
        }
        assert_eq!(Response::from_register(2), Response::Accept);
    }

    #[test]
    fn bytes_fill_registers_from_the_low_end() {
        let mut bytes = [0; MEASUREMENT_BYTES];
        bytes[0] = 0x11;
        bytes[9] = 0x22;
        bytes[63] = 0x33;
        let registers = registers_of_bytes(&bytes);
        assert_eq!(registers, [0x11, 0x2200, 0, 0, 0, 0, 0, 0x33 << 56]);
        assert_eq!(bytes_of_registers(registers), bytes);
    }
}
