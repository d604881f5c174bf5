// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The conversation between the payload and a Host that drives it.
//!
//! Each vCPU makes one `RSI_HOST_CALL` after another with the immediate [`COMMAND_IMM`]. The values of
//! a call are a [`Report`] about the command before, the first one's outcome is [`Outcome::Done`] with
//! registers of zero. The Host's values are the next [`Command`].

use crate::instructions::SystemRegister;

/// Immediate of the host call that reports and asks for a command.
pub const COMMAND_IMM: u16 = 0xB411;
/// Immediate of the host call that a vCPU makes when it cannot go on; there is no answer.
pub const DIED_IMM: u16 = 0xB4DD;

/// Values of a host call.
pub const VALUES: usize = 31;
/// Registers a command sets and a report shows: x0 to x17.
pub const REGISTERS: usize = 18;

/// Where the payload runs: IPA of its first byte.
pub const BASE: u64 = 0x8000_0000;

/// Returns how many bytes of memory from [`BASE`] on the payload needs, of which the image fills the
/// first; nothing if this is not its image (the arm64 `Image` header says so at offset 16).
#[must_use]
pub fn memory_bytes(image: &[u8]) -> Option<u64> {
    let size = u64::from_le_bytes(image.get(16..24)?.try_into().ok()?);
    (image.get(56..60)? == b"ARM\x64" && size >= image.len() as u64).then_some(size)
}

/// First virtual address of the shared half in the payload's translation.
pub const SHARED_VIEW: u64 = 0xFFFF_0000_0000_0000;
/// First virtual address of the addresses beyond the Realm's space.
pub const BEYOND_VIEW: u64 = 1 << 39;
/// First virtual address of EL0's view of the Realm's own half.
pub const USER_VIEW: u64 = 2 << 39;
/// First virtual address of EL0's view of the shared half.
pub const USER_SHARED_VIEW: u64 = 3 << 39;

/// Returns word `index` of the endless pattern that `seed` names (SplitMix64).
#[must_use]
pub const fn pattern(seed: u64, index: u64) -> u64 {
    let mut z = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ z >> 31
}

/// One of a Realm's timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// The EL1 virtual timer.
    Virtual,
    /// The EL1 physical timer.
    Physical,
}

/// Registers that can be filled with a pattern and checked later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bank {
    /// V0 to V31, FPSR and FPCR. Registers: mask of wrong V, 1 if FPSR or FPCR is wrong.
    Vectors,
    /// Z0 to Z31, P0 to P15 and FFR. Registers: masks of wrong Z and P (FFR is bit 16), vector length
    /// in bytes.
    Scalable,
    /// [`SYSTEM_REGISTERS`]. Registers: mask of wrong ones, mask of those that are undefined, the wrong
    /// value that has the lowest number.
    System,
}

/// What the Host wants a vCPU to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Nothing but a report.
    Nothing,
    /// Run one instruction at EL1 with these registers. The report has them afterwards.
    Run {
        /// The instruction.
        instruction: u32,
        /// x0 to x17.
        registers: [u64; REGISTERS],
    },
    /// The same at EL0.
    RunUser {
        /// The instruction.
        instruction: u32,
        /// x0 to x17.
        registers: [u64; REGISTERS],
    },
    /// Call code at an address at EL1.
    Call {
        /// Where; the code ends with `ret`.
        address: u64,
        /// x0 to x17.
        registers: [u64; REGISTERS],
    },
    /// Run one instruction at EL1 with all registers holding [`pattern`] by number, but x0 to x2 as
    /// given. The report has x0 to x2 afterwards, and as the fourth register the mask of x3 to x29 that
    /// have changed.
    RunAll {
        /// The instruction.
        instruction: u32,
        /// Which pattern.
        seed: u64,
        /// x0 to x2.
        first: [u64; 3],
    },
    /// Fill a bank of registers with a pattern.
    Fill(Bank, u64),
    /// Compare a bank of registers with the pattern it was filled with.
    Check(Bank),
    /// Fill memory with a pattern, in words of eight bytes.
    FillMemory {
        /// Virtual address, a multiple of eight.
        address: u64,
        /// Number of words.
        words: u64,
        /// Which pattern.
        seed: u64,
    },
    /// Compare memory with a pattern. Registers: number of wrong words, index and value of the first.
    CheckMemory {
        /// Virtual address, a multiple of eight.
        address: u64,
        /// Number of words.
        words: u64,
        /// Which pattern.
        seed: u64,
    },
    /// Take interrupts (1) or mask them (0).
    Interrupts(bool),
    /// Set a timer to fire so many ticks from now, or turn it off. When its interrupt is taken it is
    /// masked, or set again for `again` ticks if that is not zero.
    SetTimer {
        /// Which.
        timer: Timer,
        /// Ticks; zero turns it off.
        ticks: u64,
        /// Ticks until it fires once more.
        again: u64,
    },
    /// Wait until so many interrupts have been taken since the vCPU started, or so many ticks have
    /// passed. Registers: how often each of INTIDs 0 to 15 (in total), 27 and 30 was taken.
    WaitInterrupts {
        /// How many.
        count: u64,
        /// How long.
        ticks: u64,
    },
    /// Turn a vCPU on at the payload's entry, with a stack of its own. Registers: the PSCI result.
    StartVcpu(u64),
    /// Compute [`sequence`] with interrupts as they come. Registers: the result.
    Sequence {
        /// First value.
        seed: u64,
        /// Steps.
        rounds: u64,
    },
}

impl Command {
    /// Returns the values that the Host gives.
    #[must_use]
    pub fn encode(&self) -> [u64; VALUES] {
        let mut values = [0; VALUES];
        let head: [u64; 5] = match *self {
            Self::Nothing => [0; 5],
            Self::Run { instruction, .. } => [1, u64::from(instruction), 0, 0, 0],
            Self::RunUser { instruction, .. } => [2, u64::from(instruction), 0, 0, 0],
            Self::Call { address, .. } => [3, address, 0, 0, 0],
            Self::RunAll {
                instruction, seed, ..
            } => [4, u64::from(instruction), seed, 0, 0],
            Self::Fill(bank, seed) => [5, bank.code(), seed, 0, 0],
            Self::Check(bank) => [6, bank.code(), 0, 0, 0],
            Self::FillMemory {
                address,
                words,
                seed,
            } => [7, address, words, seed, 0],
            Self::CheckMemory {
                address,
                words,
                seed,
            } => [8, address, words, seed, 0],
            Self::Interrupts(enable) => [9, u64::from(enable), 0, 0, 0],
            Self::SetTimer {
                timer,
                ticks,
                again,
            } => [10, timer.code(), ticks, again, 0],
            Self::WaitInterrupts { count, ticks } => [11, count, ticks, 0, 0],
            Self::StartVcpu(vcpu) => [12, vcpu, 0, 0, 0],
            Self::Sequence { seed, rounds } => [13, seed, rounds, 0, 0],
        };
        values[..5].copy_from_slice(&head);
        match *self {
            Self::Run { registers, .. }
            | Self::RunUser { registers, .. }
            | Self::Call { registers, .. } => {
                values[5..5 + REGISTERS].copy_from_slice(&registers);
            }
            Self::RunAll { first, .. } => values[5..8].copy_from_slice(&first),
            _ => {}
        }
        values
    }

    /// Reads what [`Self::encode`] wrote; nothing if it did not.
    #[must_use]
    pub fn decode(values: &[u64; VALUES]) -> Option<Self> {
        let [code, first, second, third, ..] = *values;
        let mut registers = [0; REGISTERS];
        registers.copy_from_slice(&values[5..5 + REGISTERS]);
        let instruction = u32::try_from(first);
        Some(match code {
            0 => Self::Nothing,
            1 => Self::Run {
                instruction: instruction.ok()?,
                registers,
            },
            2 => Self::RunUser {
                instruction: instruction.ok()?,
                registers,
            },
            3 => Self::Call {
                address: first,
                registers,
            },
            4 => Self::RunAll {
                instruction: instruction.ok()?,
                seed: second,
                first: [registers[0], registers[1], registers[2]],
            },
            5 => Self::Fill(Bank::from_code(first)?, second),
            6 => Self::Check(Bank::from_code(first)?),
            7 => Self::FillMemory {
                address: first,
                words: second,
                seed: third,
            },
            8 => Self::CheckMemory {
                address: first,
                words: second,
                seed: third,
            },
            9 => Self::Interrupts(first != 0),
            10 => Self::SetTimer {
                timer: Timer::from_code(first)?,
                ticks: second,
                again: third,
            },
            11 => Self::WaitInterrupts {
                count: first,
                ticks: second,
            },
            12 => Self::StartVcpu(first),
            13 => Self::Sequence {
                seed: first,
                rounds: second,
            },
            _ => return None,
        })
    }
}

impl Timer {
    const fn code(self) -> u64 {
        match self {
            Self::Virtual => 0,
            Self::Physical => 1,
        }
    }

    const fn from_code(code: u64) -> Option<Self> {
        match code {
            0 => Some(Self::Virtual),
            1 => Some(Self::Physical),
            _ => None,
        }
    }
}

impl Bank {
    const fn code(self) -> u64 {
        match self {
            Self::Vectors => 0,
            Self::Scalable => 1,
            Self::System => 2,
        }
    }

    const fn from_code(code: u64) -> Option<Self> {
        match code {
            0 => Some(Self::Vectors),
            1 => Some(Self::Scalable),
            2 => Some(Self::System),
            _ => None,
        }
    }
}

/// An exception that the payload took where it expected one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// `ESR_EL1`.
    pub esr: u64,
    /// `ELR_EL1`.
    pub elr: u64,
    /// `FAR_EL1`.
    pub far: u64,
    /// `SPSR_EL1`.
    pub spsr: u64,
}

impl Fault {
    /// Returns the four words.
    #[must_use]
    pub const fn to_words(self) -> [u64; 4] {
        [self.esr, self.elr, self.far, self.spsr]
    }

    /// Returns the exception class.
    #[must_use]
    pub const fn class(&self) -> u64 {
        self.esr >> 26 & 0x3F
    }

    /// Returns the fault status code.
    #[must_use]
    pub const fn status(&self) -> u64 {
        self.esr & 0x3F
    }

    /// Tells whether this is an undefined instruction: class Unknown, nothing but IL in the syndrome.
    #[must_use]
    pub const fn is_undefined(&self) -> bool {
        self.esr == 1 << 25
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// The code under guard took an exception.
    Fault(Fault),
    /// There is no such command.
    NotUnderstood,
}

/// What a vCPU tells its Host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// How the last command ended.
    pub outcome: Outcome,
    /// Its results.
    pub registers: [u64; REGISTERS],
    /// Number of the vCPU.
    pub vcpu: u64,
    /// Interrupts it has taken.
    pub interrupts: u64,
    /// SErrors it has taken.
    pub serrors: u64,
}

impl Report {
    /// Returns the values that the payload shows.
    #[must_use]
    pub fn encode(&self) -> [u64; VALUES] {
        let mut values = [0; VALUES];
        let (code, fault) = match self.outcome {
            Outcome::Done => (0, Fault::default()),
            Outcome::Fault(fault) => (1, fault),
            Outcome::NotUnderstood => (2, Fault::default()),
        };
        values[0] = code;
        values[1..5].copy_from_slice(&fault.to_words());
        values[5..5 + REGISTERS].copy_from_slice(&self.registers);
        values[23..26].copy_from_slice(&[self.vcpu, self.interrupts, self.serrors]);
        values
    }

    /// Reads what [`Self::encode`] wrote; nothing if it did not.
    #[must_use]
    pub fn decode(values: &[u64; VALUES]) -> Option<Self> {
        let [code, esr, elr, far, spsr, ..] = *values;
        let mut registers = [0; REGISTERS];
        registers.copy_from_slice(&values[5..5 + REGISTERS]);
        let outcome = match code {
            0 => Outcome::Done,
            1 => Outcome::Fault(Fault {
                esr,
                elr,
                far,
                spsr,
            }),
            2 => Outcome::NotUnderstood,
            _ => return None,
        };
        Some(Self {
            outcome,
            registers,
            vcpu: values[23],
            interrupts: values[24],
            serrors: values[25],
        })
    }
}

/// A register that is filled with a pattern: its name, and the bits that may have any value without
/// an effect on the payload.
#[derive(Clone, Copy, Debug)]
pub struct PatternRegister {
    /// Its name in the architecture.
    pub name: &'static str,
    /// Its encoding.
    pub register: SystemRegister,
    /// The bits that are filled.
    pub mask: u64,
}

const fn row(name: &'static str, parts: [u32; 5], mask: u64) -> PatternRegister {
    let [op0, op1, crn, crm, op2] = parts;
    PatternRegister {
        name,
        register: SystemRegister::new(op0, op1, crn, crm, op2),
        mask,
    }
}

/// Registers of EL1 and EL0 whose values belong to the Realm, in the order in which they are filled.
///
/// The exception registers come last: filling a register that is undefined changes them.
pub const SYSTEM_REGISTERS: &[PatternRegister] = &[
    row("TPIDR_EL0", [3, 3, 13, 0, 2], u64::MAX),
    row("TPIDRRO_EL0", [3, 3, 13, 0, 3], u64::MAX),
    row("TPIDR_EL1", [3, 0, 13, 0, 4], u64::MAX),
    row("SCXTNUM_EL0", [3, 3, 13, 0, 7], u64::MAX),
    row("SCXTNUM_EL1", [3, 0, 13, 0, 7], u64::MAX),
    row("CONTEXTIDR_EL1", [3, 0, 13, 0, 1], 0xFFFF_FFFF),
    row("SP_EL0", [3, 0, 4, 1, 0], u64::MAX),
    row("AFSR0_EL1", [3, 0, 5, 1, 0], 0xFFFF_FFFF),
    row("AFSR1_EL1", [3, 0, 5, 1, 1], 0xFFFF_FFFF),
    row("AMAIR_EL1", [3, 0, 10, 3, 0], u64::MAX),
    // The memory types that the payload does not use.
    row("MAIR_EL1", [3, 0, 10, 2, 0], 0x4444_4444_4444_0000),
    row("CNTKCTL_EL1", [3, 0, 14, 1, 0], 0x303),
    row("CSSELR_EL1", [3, 2, 0, 0, 0], 0x3),
    row("PAR_EL1", [3, 0, 7, 4, 0], 0x0000_FFFF_FFFF_F000),
    row("CNTV_CVAL_EL0", [3, 3, 14, 3, 2], u64::MAX),
    row("CNTP_CVAL_EL0", [3, 3, 14, 2, 2], u64::MAX),
    row("APIAKEYLO_EL1", [3, 0, 2, 1, 0], u64::MAX),
    row("APIAKEYHI_EL1", [3, 0, 2, 1, 1], u64::MAX),
    row("APIBKEYLO_EL1", [3, 0, 2, 1, 2], u64::MAX),
    row("APIBKEYHI_EL1", [3, 0, 2, 1, 3], u64::MAX),
    row("APDAKEYLO_EL1", [3, 0, 2, 2, 0], u64::MAX),
    row("APDAKEYHI_EL1", [3, 0, 2, 2, 1], u64::MAX),
    row("APDBKEYLO_EL1", [3, 0, 2, 2, 2], u64::MAX),
    row("APDBKEYHI_EL1", [3, 0, 2, 2, 3], u64::MAX),
    row("APGAKEYLO_EL1", [3, 0, 2, 3, 0], u64::MAX),
    row("APGAKEYHI_EL1", [3, 0, 2, 3, 1], u64::MAX),
    // Breakpoints and watchpoints that are off.
    row("DBGBVR0_EL1", [2, 0, 0, 0, 4], 0x0000_FFFF_FFFF_FFFC),
    row("DBGWVR0_EL1", [2, 0, 0, 0, 6], 0x0000_FFFF_FFFF_FFF8),
    row("DBGBVR1_EL1", [2, 0, 0, 1, 4], 0x0000_FFFF_FFFF_FFFC),
    row("DBGWVR1_EL1", [2, 0, 0, 1, 6], 0x0000_FFFF_FFFF_FFF8),
    // Permission indirection that is off.
    row("PIRE0_EL1", [3, 0, 10, 2, 2], 0x1111_1111_1111_1111),
    row("PIR_EL1", [3, 0, 10, 2, 3], 0x1111_1111_1111_1111),
    row("POR_EL1", [3, 0, 10, 2, 4], 0x1111_1111_1111_1111),
    row("POR_EL0", [3, 3, 10, 2, 4], 0x1111_1111_1111_1111),
    row("FAR_EL1", [3, 0, 6, 0, 0], u64::MAX),
    row("ESR_EL1", [3, 0, 5, 2, 0], 0xFFFF_FFFF),
    row("ELR_EL1", [3, 0, 4, 0, 1], u64::MAX),
    row("SPSR_EL1", [3, 0, 4, 0, 0], 0xF000_03C5),
];

/// Returns what `rounds` steps make of `seed`: the computation that interrupts must not disturb.
#[must_use]
pub const fn sequence(seed: u64, rounds: u64) -> u64 {
    let mut value = seed;
    let mut round = 0;
    while round < rounds {
        value = sequence_step(value, round);
        round += 1;
    }
    value
}

/// Returns the value after one step of [`sequence`].
#[must_use]
pub const fn sequence_step(value: u64, round: u64) -> u64 {
    let value = value.wrapping_add(round) ^ value.rotate_left(13);
    let value = value.wrapping_mul(0x2545_F491_4F6C_DD1D);
    value ^ value >> 27
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registers() -> [u64; REGISTERS] {
        core::array::from_fn(|n| pattern(9, n as u64))
    }

    #[test]
    fn commands_survive_a_host_call() {
        let commands = [
            Command::Nothing,
            Command::Run {
                instruction: 0xD503_201F,
                registers: registers(),
            },
            Command::RunUser {
                instruction: 1,
                registers: registers(),
            },
            Command::Call {
                address: u64::MAX,
                registers: registers(),
            },
            Command::RunAll {
                instruction: 2,
                seed: 3,
                first: [4, 5, 6],
            },
            Command::Fill(Bank::Vectors, 1),
            Command::Check(Bank::Scalable),
            Command::Check(Bank::System),
            Command::FillMemory {
                address: 8,
                words: 9,
                seed: 10,
            },
            Command::CheckMemory {
                address: 8,
                words: 9,
                seed: 10,
            },
            Command::Interrupts(true),
            Command::SetTimer {
                timer: Timer::Physical,
                ticks: 4,
                again: 5,
            },
            Command::WaitInterrupts { count: 1, ticks: 2 },
            Command::StartVcpu(3),
            Command::Sequence { seed: 1, rounds: 2 },
        ];
        for command in commands {
            assert_eq!(Command::decode(&command.encode()), Some(command));
        }
        assert_eq!(Command::decode(&[14; VALUES]), None);
        assert_eq!(Command::decode(&[5; VALUES]), None);
    }

    #[test]
    fn reports_survive_a_host_call() {
        let fault = Fault {
            esr: 1,
            elr: 2,
            far: 3,
            spsr: 4,
        };
        for outcome in [Outcome::Done, Outcome::Fault(fault), Outcome::NotUnderstood] {
            let report = Report {
                outcome,
                registers: registers(),
                vcpu: 5,
                interrupts: 6,
                serrors: 7,
            };
            assert_eq!(Report::decode(&report.encode()), Some(report));
        }
        assert_eq!(Report::decode(&[3; VALUES]), None);
    }

    #[test]
    fn system_registers_fit_their_masks() {
        assert!(SYSTEM_REGISTERS.len() <= 64);
        for (n, row) in SYSTEM_REGISTERS.iter().enumerate() {
            let others = &SYSTEM_REGISTERS[n + 1..];
            assert!(
                others.iter().all(|o| o.register != row.register),
                "{}",
                row.name
            );
        }
    }

    #[test]
    fn patterns_differ() {
        assert_ne!(pattern(1, 0), pattern(1, 1));
        assert_ne!(pattern(1, 0), pattern(2, 0));
        assert_ne!(sequence(1, 10), sequence(1, 11));
    }
}
