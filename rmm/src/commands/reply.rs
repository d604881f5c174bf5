// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The registers of a reply.

use core::fmt;

use rmi::table::REGISTERS;
use rmi::{RMI_SUCCESS, RmiError, RmiReturn, SMCCC_NOT_SUPPORTED};

/// x0 to x7 of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reply([u64; REGISTERS]);

impl Reply {
    /// Nobody implements the function.
    pub(crate) const NOT_SUPPORTED: Self = Self([SMCCC_NOT_SUPPORTED, 0, 0, 0, 0, 0, 0, 0]);

    /// Returns a reply of a status and outputs.
    pub(crate) fn new<const N: usize>(status: u64, outputs: [u64; N]) -> Self {
        const { assert!(N < REGISTERS) }
        let mut registers = [0; REGISTERS];
        for (register, word) in registers
            .iter_mut()
            .zip([status].into_iter().chain(outputs))
        {
            *register = word;
        }
        Self(registers)
    }

    /// Returns x0 to x7 as the caller of `call` gets them when its function has `outputs` outputs.
    ///
    /// Of the registers that are no outputs, x1 to x3 are zero and x4 to x7 keep the caller's values.
    /// The RMM specification wants zeroes up to x16, SMCCC 1.2 wants x4 to x17 preserved. EL3 restores
    /// the registers from x5 (or x8) on itself, out of the monitor's reach, so the one rule that can
    /// hold for all of them is the second, and clients check it.
    pub(crate) fn registers_after(
        self,
        call: &[u64; REGISTERS],
        outputs: usize,
    ) -> [u64; REGISTERS] {
        let [r0, r1, r2, r3, r4, r5, r6, r7] = self.0;
        let [_, _, _, _, c4, c5, c6, c7] = *call;
        let choose = |n, output, kept| if n <= outputs { output } else { kept };
        [
            r0,
            r1,
            r2,
            r3,
            choose(4, r4, c4),
            choose(5, r5, c5),
            choose(6, r6, c6),
            choose(7, r7, c7),
        ]
    }

    /// Says whether the command took effect.
    pub(crate) fn is_success(&self) -> bool {
        self.status() == RMI_SUCCESS
    }

    fn status(&self) -> u64 {
        let [status, ..] = self.0;
        status
    }
}

impl From<Result<(), RmiError>> for Reply {
    fn from(result: Result<(), RmiError>) -> Self {
        Self::new(RmiReturn::from(result).pack(), [])
    }
}

impl<const N: usize> From<Result<[u64; N], RmiError>> for Reply {
    fn from(result: Result<[u64; N], RmiError>) -> Self {
        match result {
            Ok(outputs) => Self::new(RMI_SUCCESS, outputs),
            Err(error) => Self::new(error.pack(), []),
        }
    }
}

/// A failure that says something more than its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure<const N: usize> {
    /// The status.
    pub(crate) error: RmiError,
    /// The outputs.
    pub(crate) outputs: [u64; N],
}

impl<const N: usize> From<RmiError> for Failure<N> {
    fn from(error: RmiError) -> Self {
        let outputs = [0; N];
        Self { error, outputs }
    }
}

impl<const N: usize> From<Result<[u64; N], Failure<N>>> for Reply {
    fn from(result: Result<[u64; N], Failure<N>>) -> Self {
        match result {
            Ok(outputs) => Self::new(RMI_SUCCESS, outputs),
            Err(Failure { error, outputs }) => Self::new(error.pack(), outputs),
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match RmiReturn::unpack(self.status()) {
            Some(status) => write!(f, "{status}"),
            None => write!(f, "{:#x}", self.status()),
        }?;
        let [_, outputs @ ..] = self.0;
        let used = outputs
            .iter()
            .rposition(|word| *word != 0)
            .map_or(0, |n| n + 1);
        outputs
            .iter()
            .take(used)
            .try_for_each(|word| write!(f, " {word:#x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// x0 to x7 of some call.
    const CALL: [u64; REGISTERS] = [10, 11, 12, 13, 14, 15, 16, 17];

    #[test]
    fn reply_zeroes_x1_to_x3_and_keeps_x4_to_x7_unless_outputs() {
        let reply = Reply::new(3, [1, 2]);
        assert_eq!(
            reply.registers_after(&CALL, 2),
            [3, 1, 2, 0, 14, 15, 16, 17]
        );
        let failed: Result<[u64; 4], RmiError> = Err(RmiError::Realm(1));
        assert_eq!(
            Reply::from(failed).registers_after(&CALL, 4),
            [0x102, 0, 0, 0, 0, 15, 16, 17]
        );
        assert_eq!(Reply::NOT_SUPPORTED.registers_after(&CALL, 0)[0], u64::MAX);
    }

    #[test]
    fn reply_keeps_the_outputs_of_a_failure() {
        let failure = Failure {
            error: RmiError::Rec,
            outputs: [0, 9],
        };
        let failed: Result<[u64; 2], _> = Err(failure);
        assert_eq!(
            Reply::from(failed).registers_after(&CALL, 2)[..4],
            [3, 0, 9, 0]
        );
        assert!(!Reply::from(failed).is_success());
        let plain: Failure<2> = RmiError::Input.into();
        assert_eq!(plain.outputs, [0, 0]);
    }
}
