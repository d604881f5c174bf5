// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What a fault is, why it may fail, and what is counted.

use core::fmt;
use core::sync::atomic::AtomicU64;

use rmi::Ipa;

use crate::addr::{Gfn, Hva, PAGE_SIZE};
use crate::host::Counter;
use crate::realm::RealmError;

/// The class of a stage 2 fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultClass {
    /// No mapping.
    Translation,
    /// A mapping whose access flag is clear.
    AccessFlag,
    /// A mapping that does not allow the access.
    Permission,
}

/// A stage 2 fault of a vCPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The faulting IPA, rounded down to a page, stolen bits included.
    pub ipa: Ipa,
    /// The low address bits of the access, below a page.
    pub low_bits: u64,
    /// Why the walk failed.
    pub class: FaultClass,
    /// Whether the access was a write.
    pub write: bool,
    /// Whether the access was an instruction fetch.
    pub fetch: bool,
    /// The lookup level at which the walk failed.
    pub level: i64,
}

/// Exception classes of aborts from a lower exception level (Arm ARM, ESR_ELx.EC).
const EC_INSTRUCTION_ABORT: u64 = 0x20;
const EC_DATA_ABORT: u64 = 0x24;
const EC_SHIFT: u32 = 26;
const EC_MASK: u64 = 0x3F;
/// ISS bits of aborts.
const ISS_WNR: u64 = 1 << 6;
const ISS_S1PTW: u64 = 1 << 7;
const ISS_FSC_MASK: u64 = 0x3F;
/// Fault status: translation fault at level -1.
const FSC_TRANSLATION_MINUS_1: u64 = 0b10_1011;
/// HPFAR_EL2.FIPA: bits 51:12 of the IPA in bits 43:4.
const HPFAR_FIPA_MASK: u64 = 0xFFF_FFFF_FFF0;
const HPFAR_TO_IPA_SHIFT: u32 = 8;

impl Fault {
    /// Decodes a stage 2 abort from the syndrome registers; nothing when it is not a fault that
    /// mapping can cure.
    pub fn from_syndrome(esr: u64, far: u64, hpfar: u64) -> Option<Self> {
        let fetch = match esr >> EC_SHIFT & EC_MASK {
            EC_INSTRUCTION_ABORT => true,
            EC_DATA_ABORT => false,
            _ => return None,
        };
        let status = esr & ISS_FSC_MASK;
        let level = i64::try_from(status & 3).ok()?;
        let (class, level) = match status >> 2 {
            0b0001 => (FaultClass::Translation, level),
            0b0010 => (FaultClass::AccessFlag, level),
            0b0011 => (FaultClass::Permission, level),
            _ if status == FSC_TRANSLATION_MINUS_1 => (FaultClass::Translation, -1),
            _ => return None,
        };
        // A stage 1 walk only writes when it updates a descriptor that it may not write.
        let walk = esr & ISS_S1PTW != 0;
        let write = if walk {
            class == FaultClass::Permission
        } else {
            !fetch && esr & ISS_WNR != 0
        };
        Some(Self {
            ipa: Ipa::new((hpfar & HPFAR_FIPA_MASK) << HPFAR_TO_IPA_SHIFT),
            low_bits: far & (PAGE_SIZE - 1),
            class,
            write,
            fetch: fetch && !walk,
            level,
        })
    }
}

/// Why the guest cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultError {
    /// No slot, or a write to a read-only one: a device access to emulate.
    NotMemory,
    /// Both a write and an instruction fetch (rule F2): we misread the syndrome.
    Impossible,
    /// A permission fault on a read (rule F3).
    UnexpectedReadPermission,
    /// Nothing usable is behind the address (rules F4, F15, F21, R1).
    BadAddress(Hva),
    /// The Realm used the shared alias of memory it has not shared.
    StillPrivate(Gfn),
    /// The Realm used memory whose RIPAS is not RAM.
    NotRam(Gfn),
    /// An instruction fetch from a device (rule F18).
    NotExecutable,
    /// Memory ran out.
    OutOfMemory,
    /// The RMM gave an answer that makes no sense here.
    Realm(RealmError),
}

impl fmt::Display for FaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMemory => f.write_str("no memory at the address"),
            Self::Impossible => f.write_str("both a write and an instruction fetch"),
            Self::UnexpectedReadPermission => f.write_str("unexpected read permission error"),
            Self::BadAddress(hva) => write!(f, "nothing behind host address {:#x}", hva.raw()),
            Self::StillPrivate(gfn) => {
                write!(
                    f,
                    "guest page {:#x} used as shared but is private",
                    gfn.raw()
                )
            }
            Self::NotRam(gfn) => write!(f, "guest page {:#x} used but is not RAM", gfn.raw()),
            Self::NotExecutable => f.write_str("instruction fetch from a device"),
            Self::OutOfMemory => f.write_str("out of memory"),
            Self::Realm(error) => write!(f, "RMM: {error:?}"),
        }
    }
}

/// What the handler did, for the summary.
#[derive(Debug, Default)]
pub struct FaultCounters {
    /// Faults handled, whatever the outcome.
    pub faults: Counter,
    /// Of these, translation faults.
    pub translation: Counter,
    /// Of these, access flag faults.
    pub access_flag: Counter,
    /// Of these, permission faults.
    pub permission: Counter,
    /// Faults that ended in a mapping.
    pub mapped: Counter,
    /// Faults that found the page mapped by somebody else, or lost a race, and retried.
    pub retried: Counter,
    /// Of the mappings: larger than a page.
    pub blocks: Counter,
    /// Of the mappings: device pages.
    pub devices: Counter,
    /// Instruction fetches from device pages, refused (rule F18).
    pub device_fetches: Counter,
    /// Pages whose dirty bit a fault has set.
    pub logged: Counter,
    /// Faults that found a poisoned page.
    pub poisoned: Counter,
    /// Faults that failed.
    pub failed: Counter,
    /// The last granularity that a backing reported and nobody knows, in bytes (rule F8).
    pub odd_granularity: AtomicU64,
    /// The last device access: full IPA without stolen bits (rule F16).
    pub last_device: AtomicU64,
}
