// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! PSCI 1.1 as a Realm sees it: turning virtual processors and the Realm itself on and off.
//!
//! Half of the functions exist in two conventions: SMC32, whose arguments are the low words of the
//! registers, and SMC64. The others take no addresses and exist in SMC32 only.

use crate::smccc::{FID_SMCCC_VERSION, fid_of};

/// What `PSCI_VERSION` returns: 1.1.
pub const PSCI_VERSION_1_1: u64 = 0x1_0001;

/// The `PSCI_AFFINITY_INFO` level that is about one processor.
pub const AFFINITY_LEVEL_PROCESSOR: u64 = 0;

/// Function identifier of `PSCI_VERSION`.
pub const FID_VERSION: u64 = 0x8400_0000;
/// Function identifier of `PSCI_CPU_SUSPEND`, SMC32.
pub const FID_CPU_SUSPEND_32: u64 = 0x8400_0001;
/// Function identifier of `PSCI_CPU_OFF`.
pub const FID_CPU_OFF: u64 = 0x8400_0002;
/// Function identifier of `PSCI_CPU_ON`, SMC32.
pub const FID_CPU_ON_32: u64 = 0x8400_0003;
/// Function identifier of `PSCI_AFFINITY_INFO`, SMC32.
pub const FID_AFFINITY_INFO_32: u64 = 0x8400_0004;
/// Function identifier of `PSCI_SYSTEM_OFF`.
pub const FID_SYSTEM_OFF: u64 = 0x8400_0008;
/// Function identifier of `PSCI_SYSTEM_RESET`.
pub const FID_SYSTEM_RESET: u64 = 0x8400_0009;
/// Function identifier of `PSCI_FEATURES`.
pub const FID_FEATURES: u64 = 0x8400_000A;
/// Function identifier of `PSCI_CPU_SUSPEND`, SMC64.
pub const FID_CPU_SUSPEND_64: u64 = 0xC400_0001;
/// Function identifier of `PSCI_CPU_ON`, SMC64.
pub const FID_CPU_ON_64: u64 = 0xC400_0003;
/// Function identifier of `PSCI_AFFINITY_INFO`, SMC64.
pub const FID_AFFINITY_INFO_64: u64 = 0xC400_0004;

/// Bit of a function identifier that says SMC64.
const FID_SMC64: u64 = 1 << 30;
/// First function identifier of PSCI, in SMC32.
const FID_FIRST: u64 = 0x8400_0000;
/// Last function identifier of PSCI, in SMC32.
const FID_LAST: u64 = 0x8400_001F;
/// The bits of a register that count in SMC32.
const LOW_WORD: u64 = 0xFFFF_FFFF;

/// A function of PSCI that Realms have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PsciFunction {
    /// Reads the version.
    Version,
    /// Waits for an interrupt, perhaps for long.
    CpuSuspend,
    /// Turns the calling processor off.
    CpuOff,
    /// Turns another processor on.
    CpuOn,
    /// Reads whether a processor is on.
    AffinityInfo,
    /// Turns the Realm off.
    SystemOff,
    /// Asks for the Realm to be started again.
    SystemReset,
    /// Reads whether a function exists.
    Features,
}

impl PsciFunction {
    /// Returns the name that the specification gives to the function.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Version => "PSCI_VERSION",
            Self::CpuSuspend => "PSCI_CPU_SUSPEND",
            Self::CpuOff => "PSCI_CPU_OFF",
            Self::CpuOn => "PSCI_CPU_ON",
            Self::AffinityInfo => "PSCI_AFFINITY_INFO",
            Self::SystemOff => "PSCI_SYSTEM_OFF",
            Self::SystemReset => "PSCI_SYSTEM_RESET",
            Self::Features => "PSCI_FEATURES",
        }
    }

    /// Returns the function with this identifier, if Realms have it.
    #[must_use]
    const fn from_exact_fid(fid: u64) -> Option<Self> {
        match fid {
            FID_VERSION => Some(Self::Version),
            FID_CPU_SUSPEND_32 | FID_CPU_SUSPEND_64 => Some(Self::CpuSuspend),
            FID_CPU_OFF => Some(Self::CpuOff),
            FID_CPU_ON_32 | FID_CPU_ON_64 => Some(Self::CpuOn),
            FID_AFFINITY_INFO_32 | FID_AFFINITY_INFO_64 => Some(Self::AffinityInfo),
            FID_SYSTEM_OFF => Some(Self::SystemOff),
            FID_SYSTEM_RESET => Some(Self::SystemReset),
            FID_FEATURES => Some(Self::Features),
            _ => None,
        }
    }
}

/// How wide the arguments of a call are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Convention {
    /// The low 32 bits of each register count.
    Smc32,
    /// All 64 bits count.
    Smc64,
}

impl Convention {
    /// Returns the part of an argument register that counts.
    #[must_use]
    pub const fn argument(self, register: u64) -> u64 {
        match self {
            Self::Smc32 => register & LOW_WORD,
            Self::Smc64 => register,
        }
    }
}

/// What `x0` of an SMC means to PSCI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PsciId {
    /// A function that Realms have.
    Known(PsciFunction, Convention),
    /// Some other function of PSCI: the answer is [`PsciReturn::NotSupported`].
    Unknown,
}

impl PsciId {
    /// Returns what `x0` means, or nothing if the call is none of PSCI. The SVE hint is ignored.
    #[must_use]
    pub const fn from_fid(x0: u64) -> Option<Self> {
        let fid = fid_of(x0);
        let number = fid & !FID_SMC64;
        if number < FID_FIRST || FID_LAST < number {
            return None;
        }
        let convention = if fid & FID_SMC64 == 0 {
            Convention::Smc32
        } else {
            Convention::Smc64
        };
        Some(match PsciFunction::from_exact_fid(fid) {
            Some(function) => Self::Known(function, convention),
            None => Self::Unknown,
        })
    }
}

/// Answers `PSCI_FEATURES` for the function identifier in the low word of `x1`.
///
/// `SMCCC_VERSION` counts as a function: that is how software learns that it may call it.
#[must_use]
pub const fn features(x1: u64) -> PsciReturn {
    let fid = x1 & LOW_WORD;
    if fid == FID_SMCCC_VERSION || PsciFunction::from_exact_fid(fid).is_some() {
        PsciReturn::Success
    } else {
        PsciReturn::NotSupported
    }
}

/// What a function returns in x0, and the status of `RMI_PSCI_COMPLETE` (`PsciReturnCode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PsciReturn {
    /// The function took effect. From `PSCI_AFFINITY_INFO`: the processor is on.
    Success,
    /// From `PSCI_AFFINITY_INFO`: the processor is off.
    Off,
    /// There is no such function.
    NotSupported,
    /// An argument is not acceptable.
    InvalidParameters,
    /// The Host refuses.
    Denied,
    /// The processor is on already.
    AlreadyOn,
    /// The processor is being turned on already.
    OnPending,
    /// Something went wrong.
    InternalFailure,
    /// There is no such processor.
    NotPresent,
    /// The processor cannot be used.
    Disabled,
    /// An address is not acceptable.
    InvalidAddress,
}

impl PsciReturn {
    /// From `PSCI_AFFINITY_INFO`: the processor is on.
    pub const ON: Self = Self::Success;

    /// Every return code, from the greatest to the least.
    pub const ALL: [Self; 11] = [
        Self::Off,
        Self::Success,
        Self::NotSupported,
        Self::InvalidParameters,
        Self::Denied,
        Self::AlreadyOn,
        Self::OnPending,
        Self::InternalFailure,
        Self::NotPresent,
        Self::Disabled,
        Self::InvalidAddress,
    ];

    /// Returns the signed value of the code.
    #[must_use]
    pub const fn code(self) -> i64 {
        match self {
            Self::Success => 0,
            Self::Off => 1,
            Self::NotSupported => -1,
            Self::InvalidParameters => -2,
            Self::Denied => -3,
            Self::AlreadyOn => -4,
            Self::OnPending => -5,
            Self::InternalFailure => -6,
            Self::NotPresent => -7,
            Self::Disabled => -8,
            Self::InvalidAddress => -9,
        }
    }

    /// Returns the return code with this signed value, if it is not reserved.
    #[must_use]
    pub const fn new(code: i64) -> Option<Self> {
        match code {
            0 => Some(Self::Success),
            1 => Some(Self::Off),
            -1 => Some(Self::NotSupported),
            -2 => Some(Self::InvalidParameters),
            -3 => Some(Self::Denied),
            -4 => Some(Self::AlreadyOn),
            -5 => Some(Self::OnPending),
            -6 => Some(Self::InternalFailure),
            -7 => Some(Self::NotPresent),
            -8 => Some(Self::Disabled),
            -9 => Some(Self::InvalidAddress),
            _ => None,
        }
    }

    /// Returns the code as a register value, sign-extended whatever the convention.
    #[must_use]
    pub const fn to_register(self) -> u64 {
        self.code().cast_unsigned()
    }

    /// Reads the code from a register, all 64 bits of it.
    #[must_use]
    pub const fn from_register(value: u64) -> Option<Self> {
        Self::new(value.cast_signed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_have_the_identifiers_of_section_7() {
        use Convention::{Smc32, Smc64};
        let list = [
            (0x8400_0000, PsciFunction::Version, Smc32),
            (0x8400_0001, PsciFunction::CpuSuspend, Smc32),
            (0xC400_0001, PsciFunction::CpuSuspend, Smc64),
            (0x8400_0002, PsciFunction::CpuOff, Smc32),
            (0x8400_0003, PsciFunction::CpuOn, Smc32),
            (0xC400_0003, PsciFunction::CpuOn, Smc64),
            (0x8400_0004, PsciFunction::AffinityInfo, Smc32),
            (0xC400_0004, PsciFunction::AffinityInfo, Smc64),
            (0x8400_0008, PsciFunction::SystemOff, Smc32),
            (0x8400_0009, PsciFunction::SystemReset, Smc32),
            (0x8400_000A, PsciFunction::Features, Smc32),
        ];
        let mut known = 0;
        for base in [0x8400_0000, 0xC400_0000] {
            for fid in base..base + 0x20 {
                let expected = list.iter().find(|entry| entry.0 == fid);
                let expected = match expected {
                    Some((_, function, convention)) => PsciId::Known(*function, *convention),
                    None => PsciId::Unknown,
                };
                assert_eq!(PsciId::from_fid(fid), Some(expected), "{fid:#x}");
                assert_eq!(PsciId::from_fid(fid | 1 << 16), Some(expected));
                let is_known = expected != PsciId::Unknown;
                known += usize::from(is_known);
                assert_eq!(features(fid) == PsciReturn::Success, is_known);
            }
        }
        assert_eq!(known, list.len());
    }

    #[test]
    fn other_calls_are_not_psci() {
        for fid in [
            0x8000_0000,
            0x8400_0020,
            0xC400_0020,
            0xC400_0150,
            0x83FF_FFFF,
        ] {
            assert_eq!(PsciId::from_fid(fid), None, "{fid:#x}");
        }
        assert_eq!(features(0x8000_0000), PsciReturn::Success);
        assert_eq!(features(0x8000_0001), PsciReturn::NotSupported);
        assert_eq!(features(0xC400_0196), PsciReturn::NotSupported);
    }

    #[test]
    fn return_codes_are_signed() {
        for code in -9..=1 {
            let value = PsciReturn::new(code).unwrap();
            assert_eq!(value.code(), code);
            assert_eq!(PsciReturn::from_register(value.to_register()), Some(value));
            assert!(PsciReturn::ALL.contains(&value));
        }
        assert_eq!(PsciReturn::Denied.to_register(), 0xFFFF_FFFF_FFFF_FFFD);
        for code in [2, -10, i64::MIN] {
            assert_eq!(PsciReturn::new(code), None);
        }
        assert_eq!(PsciReturn::from_register(0xFFFF_FFFD), None);
    }

    #[test]
    fn smc32_arguments_are_words() {
        assert_eq!(Convention::Smc32.argument(u64::MAX), 0xFFFF_FFFF);
        assert_eq!(Convention::Smc64.argument(u64::MAX), u64::MAX);
    }
}
