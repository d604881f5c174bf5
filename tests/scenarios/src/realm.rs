// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What a Realm does in a scenario.
//!
//! A Realm under test runs one program: it waits for an action, does it, reports the result, and waits
//! again. On target that is a payload at R-EL1 without a stage 1: it waits and reports with one
//! `RSI_HOST_CALL` whose immediate is [`IDLE_IMM`], the action in the registers that the Host gives and
//! the result in those that it shows. In-process the port plays the program.

mod aborts;
mod boundaries;
mod calls;
mod debug;
mod exits;
mod gic;
mod groups;
mod interrupts;
mod payload;
mod pmu;
mod registers;
mod start;
mod sweep;
mod tags;
mod timers;
mod together;
mod token;
mod vectors;

use rmi::CommandId;

use crate::outcome::Outcome;
use crate::scenario::{Kind, Scenario};
use crate::world::World;

/// The scenarios of Realms that run the payload of `tests/realm`, which only a machine can.
pub(crate) const GROUPS: &[&[Scenario]] = &[
    aborts::SCENARIOS,
    boundaries::SCENARIOS,
    calls::SCENARIOS,
    debug::SCENARIOS,
    exits::SCENARIOS,
    gic::SCENARIOS,
    groups::SCENARIOS,
    interrupts::SCENARIOS,
    pmu::SCENARIOS,
    registers::SCENARIOS,
    start::SCENARIOS,
    sweep::SCENARIOS,
    tags::SCENARIOS,
    timers::SCENARIOS,
    together::SCENARIOS,
    token::SCENARIOS,
    vectors::SCENARIOS,
];

/// A scenario about what a Realm and its Host see of one another.
pub(crate) const fn row(name: &'static str, run: fn(&mut World<'_>) -> Outcome) -> Scenario {
    Scenario {
        name,
        command: CommandId::RecEnter,
        kind: Kind::Behaviour,
        run,
    }
}

/// IPA of the program's first instruction.
pub const PROGRAM_BASE: u64 = 0x10_0000;

/// Immediate of the host call with which the program waits for an action.
pub const IDLE_IMM: u16 = 0xBA11;

/// Registers of a call that an action makes, and of its result.
pub const ACTION_REGISTERS: usize = 11;

/// One thing for the Realm to do. Addresses are IPAs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RealmAction {
    /// An SMC with x0 to x10.
    Smc([u64; ACTION_REGISTERS]),
    /// A load of eight bytes; the value is the result's x0.
    Load {
        /// Where from.
        ipa: u64,
    },
    /// A store of eight bytes.
    Store {
        /// Where to.
        ipa: u64,
        /// What.
        value: u64,
    },
    /// A jump to an address where nothing useful is.
    Fetch {
        /// Where to.
        ipa: u64,
    },
    /// A load of eight bytes by an instruction that leaves no syndrome of itself (a pair).
    LoadPair {
        /// Where from.
        ipa: u64,
    },
    /// An HVC.
    Hvc,
    /// A WFI.
    WaitForInterrupt,
    /// A WFE.
    WaitForEvent,
    /// Loads of eight bytes, one after another, until one is not `value` or comes after one that found
    /// the eight bytes at `stop` not zero; the last value is the result's x0, the number of loads x1.
    Watch {
        /// Where from.
        ipa: u64,
        /// What is there.
        value: u64,
        /// Where the Host says that it is over.
        stop: u64,
    },
}

/// What came of an action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RealmResult {
    /// x0 to x10 afterwards.
    pub registers: [u64; ACTION_REGISTERS],
    /// `ESR_EL1` when the action ended in an exception that the Realm took itself.
    pub exception: Option<u64>,
    /// Ticks of the Realm's virtual counter from an SMC to its return.
    pub ticks: u64,
}

const CODE_SMC: u64 = 1;
const CODE_LOAD: u64 = 2;
const CODE_STORE: u64 = 3;
const CODE_FETCH: u64 = 4;
const CODE_LOAD_PAIR: u64 = 5;
const CODE_HVC: u64 = 6;
const CODE_WFI: u64 = 7;
const CODE_WFE: u64 = 8;
const CODE_WATCH: u64 = 9;

impl RealmAction {
    /// Returns the action as x0 (what) and x1 to x11 (with what) of the Host's answer to the program.
    #[must_use]
    pub fn to_registers(self) -> [u64; 1 + ACTION_REGISTERS] {
        let mut registers = [0; 1 + ACTION_REGISTERS];
        match self {
            Self::Smc(arguments) => {
                registers[0] = CODE_SMC;
                registers[1..].copy_from_slice(&arguments);
            }
            Self::Load { ipa } => registers[..2].copy_from_slice(&[CODE_LOAD, ipa]),
            Self::Store { ipa, value } => {
                registers[..3].copy_from_slice(&[CODE_STORE, ipa, value]);
            }
            Self::Fetch { ipa } => registers[..2].copy_from_slice(&[CODE_FETCH, ipa]),
            Self::LoadPair { ipa } => registers[..2].copy_from_slice(&[CODE_LOAD_PAIR, ipa]),
            Self::Hvc => registers[0] = CODE_HVC,
            Self::WaitForInterrupt => registers[0] = CODE_WFI,
            Self::WaitForEvent => registers[0] = CODE_WFE,
            Self::Watch { ipa, value, stop } => {
                registers[..4].copy_from_slice(&[CODE_WATCH, ipa, value, stop]);
            }
        }
        registers
    }

    /// Reads what [`Self::to_registers`] wrote; nothing if it did not.
    #[must_use]
    pub fn from_registers(registers: &[u64; 1 + ACTION_REGISTERS]) -> Option<Self> {
        let [code, first, second, third, ..] = *registers;
        Some(match code {
            CODE_SMC => {
                let mut arguments = [0; ACTION_REGISTERS];
                arguments.copy_from_slice(&registers[1..]);
                Self::Smc(arguments)
            }
            CODE_LOAD => Self::Load { ipa: first },
            CODE_STORE => Self::Store {
                ipa: first,
                value: second,
            },
            CODE_FETCH => Self::Fetch { ipa: first },
            CODE_LOAD_PAIR => Self::LoadPair { ipa: first },
            CODE_HVC => Self::Hvc,
            CODE_WFI => Self::WaitForInterrupt,
            CODE_WFE => Self::WaitForEvent,
            CODE_WATCH => Self::Watch {
                ipa: first,
                value: second,
                stop: third,
            },
            _ => return None,
        })
    }

    /// Returns a call with these registers from x0 on; the others are zero.
    #[must_use]
    pub fn smc(registers: &[u64]) -> Self {
        let mut all = [0; ACTION_REGISTERS];
        all[..registers.len()].copy_from_slice(registers);
        Self::Smc(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_survive_registers() {
        let actions = [
            RealmAction::smc(&[0xC400_0190, 0x1_0000]),
            RealmAction::Load { ipa: 0x1000 },
            RealmAction::Store {
                ipa: 0x2000,
                value: 7,
            },
            RealmAction::Fetch { ipa: 0x3000 },
            RealmAction::LoadPair { ipa: 0x4000 },
            RealmAction::Hvc,
            RealmAction::WaitForInterrupt,
            RealmAction::WaitForEvent,
            RealmAction::Watch {
                ipa: 0x5000,
                value: 7,
                stop: 0x6000,
            },
        ];
        for action in actions {
            assert_eq!(
                RealmAction::from_registers(&action.to_registers()),
                Some(action)
            );
        }
        assert_eq!(RealmAction::from_registers(&[99; 12]), None);
    }
}
