// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What can be wrong.

use core::fmt;

/// Why a check fails.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Failure {
    /// The kernel refused a call, with this error number.
    Refused(&'static str, isize),
    /// Something is not there.
    Missing(&'static str),
    /// Something is there or happens that should not.
    Surplus(&'static str),
    /// Something is not what it should be.
    Wrong {
        /// What.
        what: &'static str,
        /// What it should be.
        expected: u64,
        /// What it is.
        found: u64,
    },
    /// The same, on this CPU of several.
    OnCpu(usize, &'static str),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(call, number) => write!(f, "{call} fails with error {number}"),
            Self::Missing(what) => write!(f, "there is no {what}"),
            Self::Surplus(what) => write!(f, "there is a {what}"),
            Self::Wrong {
                what,
                expected,
                found,
            } => write!(f, "{what} is {found:#x}, not {expected:#x}"),
            Self::OnCpu(cpu, what) => write!(f, "CPU {cpu}: {what}"),
        }
    }
}

/// Says that something is as expected, or what it is instead.
pub(crate) fn expect(what: &'static str, expected: u64, found: u64) -> Result<(), Failure> {
    if expected == found {
        Ok(())
    } else {
        Err(Failure::Wrong {
            what,
            expected,
            found,
        })
    }
}
