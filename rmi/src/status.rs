// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What an RMI command says in x0: a status and an index.
//!
//! `RmiError` is how the monitor fails: it cannot express success or an index that its status
//! does not have. `RmiReturn` is how a Host reads x0: whatever an RMI 1.0 monitor can say.

use core::fmt;

use crate::level::RttLevel;

/// x0 of a command that succeeded.
pub const RMI_SUCCESS: u64 = 0;

/// Index of [`RmiError::Realm`] where the command has only one reason for it.
pub const REALM_INDEX_DEFAULT: u8 = 0;
/// Index of [`RmiError::Realm`] from `RMI_REC_ENTER`: the Realm has not been activated.
pub const REALM_INDEX_NEW: u8 = 0;
/// Index of [`RmiError::Realm`] from `RMI_REC_ENTER`: the Realm has turned itself off.
pub const REALM_INDEX_SYSTEM_OFF: u8 = 1;

/// Bits of x0 to the right of the index.
const INDEX_SHIFT: u32 = 8;

/// The status of a command, without its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RmiStatus {
    /// The command took effect.
    Success,
    /// An input is not one that any state of the system could make acceptable.
    ErrorInput,
    /// The state of the Realm forbids the command.
    ErrorRealm,
    /// The state of the REC forbids the command.
    ErrorRec,
    /// The walk of the translation tables ended too early, or at an unsuitable entry.
    ErrorRtt,
}

impl RmiStatus {
    /// Every status, in the order of its number.
    pub const ALL: [Self; 5] = [
        Self::Success,
        Self::ErrorInput,
        Self::ErrorRealm,
        Self::ErrorRec,
        Self::ErrorRtt,
    ];

    /// Returns the status with this number, if RMI 1.0 has it.
    #[must_use]
    pub const fn new(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Success),
            1 => Some(Self::ErrorInput),
            2 => Some(Self::ErrorRealm),
            3 => Some(Self::ErrorRec),
            4 => Some(Self::ErrorRtt),
            _ => None,
        }
    }

    /// Returns the number of the status.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::ErrorInput => 1,
            Self::ErrorRealm => 2,
            Self::ErrorRec => 3,
            Self::ErrorRtt => 4,
        }
    }

    /// Returns the name that the specification gives to the status.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "RMI_SUCCESS",
            Self::ErrorInput => "RMI_ERROR_INPUT",
            Self::ErrorRealm => "RMI_ERROR_REALM",
            Self::ErrorRec => "RMI_ERROR_REC",
            Self::ErrorRtt => "RMI_ERROR_RTT",
        }
    }
}

/// A failure of a command: exactly what the specification lets a command answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RmiError {
    /// `RMI_ERROR_INPUT`.
    Input,
    /// `RMI_ERROR_REALM`, with an index that the command defines.
    Realm(u8),
    /// `RMI_ERROR_REC`.
    Rec,
    /// `RMI_ERROR_RTT`, with the level at which the walk ended.
    Rtt(RttLevel),
}

impl RmiError {
    /// Returns the failure as the value of x0.
    #[must_use]
    pub fn pack(self) -> u64 {
        RmiReturn::from(self).pack()
    }
}

impl fmt::Display for RmiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        RmiReturn::from(*self).fmt(f)
    }
}

/// The result of a command as its caller reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RmiReturn(Result<(), RmiError>);

impl RmiReturn {
    /// The result of a command that took effect.
    pub const SUCCESS: Self = Self(Ok(()));

    /// Reads x0, or returns nothing if no RMI 1.0 command can have left `x0` there.
    ///
    /// [`SMCCC_NOT_SUPPORTED`](crate::smccc::SMCCC_NOT_SUPPORTED) is such a value, and so is a walk
    /// that ended at level 4.
    #[must_use]
    pub fn unpack(x0: u64) -> Option<Self> {
        let [code, index, 0, 0, 0, 0, 0, 0] = x0.to_le_bytes() else {
            return None;
        };
        match (RmiStatus::new(code)?, index) {
            (RmiStatus::Success, 0) => Some(Self::SUCCESS),
            (RmiStatus::ErrorInput, 0) => Some(RmiError::Input.into()),
            (RmiStatus::ErrorRealm, index) => Some(RmiError::Realm(index).into()),
            (RmiStatus::ErrorRec, 0) => Some(RmiError::Rec.into()),
            (RmiStatus::ErrorRtt, index) => {
                let level = RttLevel::from_index(index)?;
                Some(RmiError::Rtt(level).into())
            }
            (RmiStatus::Success | RmiStatus::ErrorInput | RmiStatus::ErrorRec, _) => None,
        }
    }

    /// Returns the value of x0.
    #[must_use]
    pub fn pack(self) -> u64 {
        u64::from(self.status().code()) | u64::from(self.index()) << INDEX_SHIFT
    }

    /// Returns the status.
    #[must_use]
    pub const fn status(self) -> RmiStatus {
        match self.0 {
            Ok(()) => RmiStatus::Success,
            Err(RmiError::Input) => RmiStatus::ErrorInput,
            Err(RmiError::Realm(_)) => RmiStatus::ErrorRealm,
            Err(RmiError::Rec) => RmiStatus::ErrorRec,
            Err(RmiError::Rtt(_)) => RmiStatus::ErrorRtt,
        }
    }

    /// Returns the index, whose meaning depends on the status and the command.
    #[must_use]
    pub const fn index(self) -> u8 {
        match self.0 {
            Ok(()) | Err(RmiError::Input | RmiError::Rec) => 0,
            Err(RmiError::Realm(index)) => index,
            Err(RmiError::Rtt(level)) => level.to_index(),
        }
    }

    /// Returns whether the command took effect.
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.0.is_ok()
    }

    /// Returns the level at which a walk ended, if that is why the command failed.
    #[must_use]
    pub const fn rtt_level(self) -> Option<RttLevel> {
        match self.0 {
            Err(RmiError::Rtt(level)) => Some(level),
            Ok(()) | Err(RmiError::Input | RmiError::Realm(_) | RmiError::Rec) => None,
        }
    }

    /// Turns the result into Rust's form of it.
    ///
    /// # Errors
    /// The failure, if the command did not take effect.
    pub const fn result(self) -> Result<(), RmiError> {
        self.0
    }
}

impl From<RmiError> for RmiReturn {
    fn from(error: RmiError) -> Self {
        Self(Err(error))
    }
}

impl From<Result<(), RmiError>> for RmiReturn {
    fn from(result: Result<(), RmiError>) -> Self {
        Self(result)
    }
}

impl fmt::Display for RmiReturn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.status().name())?;
        match self.0 {
            Ok(()) | Err(RmiError::Input | RmiError::Rec) => Ok(()),
            Err(RmiError::Realm(index)) => write!(f, "({index})"),
            Err(RmiError::Rtt(level)) => write!(f, "({level})"),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::format;

    use super::*;
    use crate::smccc::SMCCC_NOT_SUPPORTED;

    #[test]
    fn error_packs_as_section_2_says() {
        let cases = [
            (RmiError::Input, 0x1),
            (RmiError::Realm(REALM_INDEX_NEW), 0x2),
            (RmiError::Realm(REALM_INDEX_SYSTEM_OFF), 0x102),
            (RmiError::Rec, 0x3),
            (RmiError::Rtt(RttLevel::LEVEL_0), 0x4),
            (RmiError::Rtt(RttLevel::LEVEL_3), 0x304),
            (RmiError::Rtt(RttLevel::LEVEL_MINUS_1), 0xff04),
        ];
        for (error, x0) in cases {
            assert_eq!(error.pack(), x0);
            assert_eq!(RmiReturn::unpack(x0).unwrap().result(), Err(error));
            assert_eq!(RmiReturn::unpack(x0).unwrap().pack(), x0);
        }
    }

    #[test]
    fn return_unpacks_success() {
        let success = RmiReturn::unpack(RMI_SUCCESS).unwrap();
        assert_eq!(success, RmiReturn::SUCCESS);
        assert!(success.is_success());
        assert_eq!(success.result(), Ok(()));
        assert_eq!(RmiReturn::from(Ok(())).pack(), RMI_SUCCESS);
    }

    #[test]
    fn return_rejects_what_rmi_does_not_say() {
        let impossible = [
            SMCCC_NOT_SUPPORTED,
            0x5,
            0x100,
            0x101,
            0x103,
            0x404,
            0x1_0001,
            1 << 32,
        ];
        for x0 in impossible {
            assert_eq!(RmiReturn::unpack(x0), None, "{x0:#x}");
        }
    }

    #[test]
    fn return_names_the_level() {
        assert_eq!(
            RmiReturn::unpack(0x204).unwrap().rtt_level(),
            Some(RttLevel::LEVEL_2)
        );
        assert_eq!(RmiReturn::unpack(0x2).unwrap().rtt_level(), None);
    }

    #[test]
    fn status_codes_round_trip() {
        for (code, status) in (0..).zip(RmiStatus::ALL) {
            assert_eq!(status.code(), code);
            assert_eq!(RmiStatus::new(code), Some(status));
        }
        assert_eq!(RmiStatus::new(5), None);
    }

    #[test]
    fn errors_print_their_specification_name() {
        let rtt = RmiError::Rtt(RttLevel::LEVEL_MINUS_1);
        assert_eq!(format!("{rtt}"), "RMI_ERROR_RTT(-1)");
        assert_eq!(format!("{}", RmiError::Realm(1)), "RMI_ERROR_REALM(1)");
        assert_eq!(format!("{}", RmiReturn::SUCCESS), "RMI_SUCCESS");
    }
}
