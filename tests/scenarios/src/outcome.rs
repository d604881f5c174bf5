// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! How a scenario ends, and the replies it compares.

use alloc::string::String;
use core::fmt;

use rmi::{CommandId, RmiError, RmiReturn, RttLevel, SMCCC_NOT_SUPPORTED};

/// The first register that SMCCC 1.2 preserves.
const FIRST_PRESERVED: usize = 4;

/// Why a scenario stopped before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Something is not as the specification says.
    Failed(String),
    /// The port or the monitor cannot do what the scenario needs.
    Skipped(String),
}

/// The result of a scenario or of a step of it.
pub type Outcome<T = ()> = Result<T, Stop>;

/// Ends the scenario unless the condition holds. The rest is a format string with its arguments.
#[macro_export]
macro_rules! check {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::Stop::Failed(alloc::format!(
                "{}:{}: {}", file!(), line!(), alloc::format!($($message)+)
            )));
        }
    };
}

/// x0 to x7 after a call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Reply(pub [u64; 8]);

impl Reply {
    /// Success without outputs.
    pub const SUCCESS: Self = Self([0; 8]);

    /// Returns the reply with this x0 and nothing else.
    #[must_use]
    pub const fn of(x0: u64) -> Self {
        let mut registers = [0; 8];
        registers[0] = x0;
        Self(registers)
    }

    /// `RMI_ERROR_INPUT`.
    #[must_use]
    pub fn input() -> Self {
        Self::of(RmiError::Input.pack())
    }

    /// `RMI_ERROR_REALM` with an index.
    #[must_use]
    pub fn realm(index: u8) -> Self {
        Self::of(RmiError::Realm(index).pack())
    }

    /// `RMI_ERROR_REC`.
    #[must_use]
    pub fn rec() -> Self {
        Self::of(RmiError::Rec.pack())
    }

    /// `RMI_ERROR_RTT` with a level from -1 to 3.
    #[must_use]
    pub fn rtt(level: i64) -> Self {
        let level = RttLevel::new(level).expect("scenarios name levels that exist");
        Self::of(RmiError::Rtt(level).pack())
    }

    /// The call is not known.
    #[must_use]
    pub fn not_supported() -> Self {
        Self::of(SMCCC_NOT_SUPPORTED)
    }

    /// Returns the reply with another value in x`n`.
    #[must_use]
    pub fn with(mut self, n: usize, value: u64) -> Self {
        self.0[n] = value;
        self
    }

    /// Returns the reply to `call` without the registers that are no outputs and that keep the caller's
    /// value.
    ///
    /// The RMM specification wants zeroes there, SMCCC 1.2 wants x4 and up preserved. Both are accepted;
    /// anything else stays and makes a difference.
    #[must_use]
    pub fn without_kept(mut self, call: &[u64; 8]) -> Self {
        let outputs = CommandId::from_fid(call[0]).map_or(0, |id| id.outputs().len());
        let first_kept = FIRST_PRESERVED.max(outputs + 1);
        for (register, kept) in self.0.iter_mut().zip(call).skip(first_kept) {
            if *register == *kept {
                *register = 0;
            }
        }
        self
    }

    /// Returns x0.
    #[must_use]
    pub fn x0(&self) -> u64 {
        self.0[0]
    }

    /// Returns x`n`.
    #[must_use]
    pub fn output(&self, n: usize) -> u64 {
        self.0[n]
    }

    /// Says whether the call took effect.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.x0() == 0
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match RmiReturn::unpack(self.x0()) {
            Some(result) => write!(f, "{result}")?,
            None => write!(f, "x0={:#x}", self.x0())?,
        }
        for (n, value) in self.0.iter().enumerate().skip(1) {
            if *value != 0 {
                write!(f, " x{n}={value:#x}")?;
            }
        }
        Ok(())
    }
}
