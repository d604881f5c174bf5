// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The registers with which EL3 enters the RMM on a PE.
//!
//! Cold and warm boot enter at the same address. X1 cannot tell them apart (newer firmware passes a
//! token there on warm boot), so the machine remembers whether it has booted.

use core::fmt;

use rmi::GranuleAddr;

/// Why a boot failed, as `RMM_BOOT_COMPLETE` reports it to EL3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootError {
    /// Anything without a code of its own.
    Unspecified,
    /// The interface version is not one this RMM speaks.
    InterfaceVersion,
    /// More PEs than this image has memory for, or none.
    CpuCount,
    /// The PE's index is not below the count.
    CpuIndex,
    /// The shared buffer is not a page.
    SharedBuffer,
    /// The manifest version is not one this RMM reads.
    ManifestVersion,
    /// The manifest contradicts itself.
    ManifestData,
}

impl BootError {
    /// Returns the code for X1 of `RMM_BOOT_COMPLETE`.
    #[must_use]
    pub const fn code(self) -> i64 {
        match self {
            Self::Unspecified => -1,
            Self::InterfaceVersion => -2,
            Self::CpuCount => -3,
            Self::CpuIndex => -4,
            Self::SharedBuffer => -5,
            Self::ManifestVersion => -6,
            Self::ManifestData => -7,
        }
    }
}

/// A version word of the interface or of the manifest: bits 15:0 minor, 30:16 major, bit 31 zero.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// Changes in it break older readers.
    pub major: u16,
    /// Changes in it add something.
    pub minor: u16,
}

impl Version {
    /// Decodes a version word; nothing when a bit that must be zero is set.
    #[must_use]
    pub fn decode(word: u64) -> Option<Self> {
        let major = u16::try_from(word >> 16)
            .ok()
            .filter(|major| major >> 15 == 0)?;
        let minor = u16::try_from(word & 0xFFFF).ok()?;
        Some(Self { major, minor })
    }

    /// Says whether the interface is one this RMM speaks: 0.3 and later minors, and 2.
    const fn is_spoken(self) -> bool {
        match self.major {
            0 => self.minor >= 3,
            2 => true,
            _ => false,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What EL3 says at the cold boot, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColdArgs {
    /// Linear index of this PE.
    pub cpu_index: u64,
    /// The interface EL3 speaks.
    pub interface: Version,
    /// Number of PEs of the platform, online or not.
    pub cpu_count: u64,
    /// The page shared with EL3; the boot manifest is at its base.
    pub shared: GranuleAddr,
}

impl ColdArgs {
    /// Checks X0 to X3 of the cold boot for an image that has room for `cpu_limit` PEs.
    ///
    /// # Errors
    ///
    /// What EL3 is to be told, for the first register that is wrong: version, count, index, buffer.
    pub fn check(registers: [u64; 4], cpu_limit: u64) -> Result<Self, BootError> {
        let [cpu_index, version, cpu_count, shared] = registers;
        let interface = Version::decode(version)
            .filter(|version| version.is_spoken())
            .ok_or(BootError::InterfaceVersion)?;
        if cpu_count == 0 || cpu_count > cpu_limit {
            return Err(BootError::CpuCount);
        }
        if cpu_index >= cpu_count {
            return Err(BootError::CpuIndex);
        }
        let shared = GranuleAddr::new(shared)
            .filter(|page| page.raw() != 0)
            .ok_or(BootError::SharedBuffer)?;
        Ok(Self {
            cpu_index,
            interface,
            cpu_count,
            shared,
        })
    }
}

/// What EL3 says at a warm boot, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WarmArgs {
    /// Linear index of this PE.
    pub cpu_index: u64,
    /// EL3 passed the index of another PE.
    pub is_mixed_up: bool,
}

impl WarmArgs {
    /// Checks X0 of a warm boot against `own_index`, which the PE derived from its affinity.
    ///
    /// TF-A 2.12 and 2.13 hand the arguments of two PEs that start at the same time through one
    /// place, so X0 may be another PE's. The affinity is right in every case.
    ///
    /// # Errors
    ///
    /// [`BootError::CpuIndex`] when the PE's index, or what EL3 takes for it, is not below `cpu_count`.
    pub fn check(x0: u64, own_index: u64, cpu_count: u64) -> Result<Self, BootError> {
        if x0 >= cpu_count || own_index >= cpu_count {
            return Err(BootError::CpuIndex);
        }
        Ok(Self {
            cpu_index: own_index,
            is_mixed_up: x0 != own_index,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// TF-A 2.12.1 on QEMU.
    const QEMU: [u64; 4] = [0, 0x4, 32, 0x418F_F000];

    #[test]
    fn cold_accepts_what_tf_a_passes() {
        let args = ColdArgs::check(QEMU, 32).unwrap();
        assert_eq!(args.interface, Version { major: 0, minor: 4 });
        assert_eq!((args.cpu_index, args.cpu_count), (0, 32));
        assert_eq!(args.shared.raw(), 0x418F_F000);
    }

    #[test]
    fn cold_interface_versions() {
        for (word, accepted) in [
            (0x0, false),
            (0x2, false),
            (0x3, true),
            (0x8, true),
            (0x1_0000, false),
            (0x2_0000, true),
            (0x2_0007, true),
            (0x3_0000, false),
            (0x8000_0004, false),
            (0x1_0000_0004, false),
        ] {
            let result = ColdArgs::check([0, word, 32, 0x418F_F000], 32);
            assert_eq!(result.is_ok(), accepted, "{word:#x}");
            if !accepted {
                assert_eq!(result, Err(BootError::InterfaceVersion));
            }
        }
    }

    #[test]
    fn cold_reports_the_first_wrong_register() {
        let check = |registers| {
            ColdArgs::check(registers, 32)
                .map(|_| ())
                .map_err(BootError::code)
        };
        assert_eq!(check([99, 0x1_0000, 99, 1]), Err(-2));
        assert_eq!(check([99, 0x4, 33, 1]), Err(-3));
        assert_eq!(check([0, 0x4, 0, 1]), Err(-3));
        assert_eq!(check([32, 0x4, 32, 1]), Err(-4));
        assert_eq!(check([31, 0x4, 32, 0x418F_F008]), Err(-5));
        assert_eq!(check([31, 0x4, 32, 0]), Err(-5));
        assert_eq!(check([31, 0x4, 32, 0x418F_F000]), Ok(()));
    }

    #[test]
    fn warm_trusts_the_affinity() {
        let args = WarmArgs::check(3, 3, 8).unwrap();
        assert_eq!(
            args,
            WarmArgs {
                cpu_index: 3,
                is_mixed_up: false
            }
        );
        let args = WarmArgs::check(2, 3, 8).unwrap();
        assert_eq!(
            args,
            WarmArgs {
                cpu_index: 3,
                is_mixed_up: true
            }
        );
    }

    #[test]
    fn warm_index_beyond_the_count() {
        assert_eq!(WarmArgs::check(8, 3, 8), Err(BootError::CpuIndex));
        assert_eq!(WarmArgs::check(3, 8, 8), Err(BootError::CpuIndex));
    }
}
