// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The conversation between the payload and a Host that drives it.
//!
//! Each vCPU makes one `RSI_HOST_CALL` after another with the immediate [`COMMAND_IMM`]. The values of
//! a call are a [`Report`] about the command before, the first one's outcome is [`Outcome::Done`] with
//! registers of zero. The Host's values are the next [`Command`].

#[cfg(test)]
mod tests;

/// Immediate of the host call that reports and asks for a command.
pub const COMMAND_IMM: u16 = 0xB411;
/// Immediate of the host call that a vCPU makes when it cannot go on; there is no answer.
pub const DIED_IMM: u16 = 0xB4DD;

/// Values of a host call.
pub const VALUES: usize = 31;
/// Words of a [`Fault`].
pub const FAULT_WORDS: usize = 6;
/// Where the last of them are in a report.
const LAST_FAULT_WORDS: usize = 26;
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
    /// [`SYSTEM_REGISTERS`](crate::registers::SYSTEM_REGISTERS). Registers: mask of wrong ones, mask of
    /// those that are undefined, the wrong value that has the lowest number.
    System,
}

/// A fixed stretch of instructions in which a vCPU takes interrupts, and in which nothing is left to
/// chance: its results are the same however often it is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stretch {
    /// Arithmetic in general registers and flags, branches.
    General,
    /// Loads, stores, exclusive pairs, atomics, cache maintenance.
    Memory,
    /// System registers and `PSTATE`.
    System,
    /// Calls of the monitor and registers that trap. One of them extends measurement
    /// [`STRETCH_MEASUREMENT`] with [`STRETCH_MEASURED`].
    Calls,
    /// SIMD and floating point.
    Vectors,
    /// SVE.
    Scalable,
}

/// Index of the measurement that [`Stretch::Calls`] extends.
pub const STRETCH_MEASUREMENT: u64 = 1;
/// The 64 bytes it is extended with, as the eight registers that hold them: all of them this.
pub const STRETCH_MEASURED: u64 = 0x5EED;

/// What the vCPU was doing at an interrupt that was not in the stretch.
pub const NOT_IN_STRETCH: u64 = u64::MAX;

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
    /// Look for what a bank of vector registers holds. Registers: as for [`Command::Check`], with those
    /// that are not zero in place of the wrong ones.
    Residue(Bank),
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
    /// Run a stretch on values that a seed names. Registers: a digest of its results, its length in
    /// instructions, how many interrupts were taken in it, and before which of its instructions the last
    /// was taken, counted from zero: its length when behind the last one, [`NOT_IN_STRETCH`] when none.
    Stretch(Stretch, u64),
    /// Send an SGI to vCPUs, again each time when all of them have taken the one before, and take what
    /// comes meanwhile. Registers: how many all of them have taken.
    SendSgis {
        /// Its INTID, which no other vCPU sends.
        sgi: u64,
        /// The vCPUs, a bit for each.
        targets: u64,
        /// How often.
        count: u64,
        /// Ticks after which to give up.
        ticks: u64,
    },
    /// Read or write every encoding of a system register with this op0, op1 and CRn. Registers:
    /// [`Sweep`](crate::registers::Sweep) in words.
    Sweep {
        /// op0, op1 and CRn.
        class: [u8; 3],
        /// Write what was read, or zero, instead of only reading.
        writes: bool,
        /// The pattern that must not be found.
        secret: u64,
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
            Self::Sweep {
                class: [op0, op1, crn],
                writes,
                secret,
            } => {
                let class = u64::from(op0) << 16 | u64::from(op1) << 8 | u64::from(crn);
                [14, class, u64::from(writes), secret, 0]
            }
            Self::Residue(bank) => [15, bank.code(), 0, 0, 0],
            Self::Stretch(stretch, seed) => [16, stretch.code(), seed, 0, 0],
            Self::SendSgis {
                sgi,
                targets,
                count,
                ticks,
            } => [17, sgi, targets, count, ticks],
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
        let [code, first, second, third, fourth, ..] = *values;
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
            14 => {
                let [crn, op1, op0, ..] = first.to_le_bytes();
                Self::Sweep {
                    class: [op0, op1, crn],
                    writes: second != 0,
                    secret: third,
                }
            }
            15 => Self::Residue(Bank::from_code(first)?),
            16 => Self::Stretch(Stretch::from_code(first)?, second),
            17 => Self::SendSgis {
                sgi: first,
                targets: second,
                count: third,
                ticks: fourth,
            },
            _ => return None,
        })
    }
}

impl Stretch {
    const fn code(self) -> u64 {
        match self {
            Self::General => 0,
            Self::Memory => 1,
            Self::System => 2,
            Self::Calls => 3,
            Self::Vectors => 4,
            Self::Scalable => 5,
        }
    }

    const fn from_code(code: u64) -> Option<Self> {
        match code {
            0 => Some(Self::General),
            1 => Some(Self::Memory),
            2 => Some(Self::System),
            3 => Some(Self::Calls),
            4 => Some(Self::Vectors),
            5 => Some(Self::Scalable),
            _ => None,
        }
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
    /// The number of the vector, counted from `VBAR_EL1`.
    pub vector: u64,
    /// PSTATE behind the vector, as `SPSR_EL1` would hold it.
    pub pstate: u64,
}

impl Fault {
    /// Returns the words.
    #[must_use]
    pub const fn to_words(self) -> [u64; FAULT_WORDS] {
        [
            self.esr,
            self.elr,
            self.far,
            self.spsr,
            self.vector,
            self.pstate,
        ]
    }

    /// Reads what [`Self::to_words`] wrote.
    #[must_use]
    pub const fn from_words([esr, elr, far, spsr, vector, pstate]: [u64; FAULT_WORDS]) -> Self {
        Self {
            esr,
            elr,
            far,
            spsr,
            vector,
            pstate,
        }
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
        let words = fault.to_words();
        values[1..5].copy_from_slice(&words[..4]);
        values[LAST_FAULT_WORDS..LAST_FAULT_WORDS + 2].copy_from_slice(&words[4..]);
        values[5..5 + REGISTERS].copy_from_slice(&self.registers);
        values[23..26].copy_from_slice(&[self.vcpu, self.interrupts, self.serrors]);
        values
    }

    /// Reads what [`Self::encode`] wrote; nothing if it did not.
    #[must_use]
    pub fn decode(values: &[u64; VALUES]) -> Option<Self> {
        let [code, esr, elr, far, spsr, ..] = *values;
        let [vector, pstate] = [values[LAST_FAULT_WORDS], values[LAST_FAULT_WORDS + 1]];
        let mut registers = [0; REGISTERS];
        registers.copy_from_slice(&values[5..5 + REGISTERS]);
        let outcome = match code {
            0 => Outcome::Done,
            1 => Outcome::Fault(Fault::from_words([esr, elr, far, spsr, vector, pstate])),
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
