// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What `ESR_EL2` says of an exception taken from R-EL2, or of an abort of a Realm (Arm ARM, ESR_EL2).

#![cfg_attr(
    not(target_os = "none"),
    allow(dead_code, reason = "used on the machine only")
)]

use core::fmt;

const EC_UNKNOWN: u64 = 0x00;
const EC_SVE: u64 = 0x19;
const EC_SME: u64 = 0x1D;
const EC_INSTRUCTION_ABORT: u64 = 0x21;
const EC_DATA_ABORT: u64 = 0x25;

const fn class(esr: u64) -> u64 {
    esr >> 26 & 0x3F
}

const fn fault_status(esr: u64) -> u64 {
    esr & 0x3F
}

/// ISS.CM of a data abort: a cache maintenance or address translation instruction made it.
const BY_MAINTENANCE: u64 = 1 << 8;
/// ISS.S1PTW: stage 2 aborted a walk of stage 1.
const ON_STAGE1_WALK: u64 = 1 << 7;

/// Says whether code in the fix-up list may go on after this exception: an external abort or a granule
/// protection fault on data, or on the tables of a Realm when its address is translated; or an
/// instruction that EL3 or the PE does not have, or not in streaming mode.
pub(crate) const fn is_survivable(esr: u64) -> bool {
    match (class(esr), fault_status(esr)) {
        (EC_UNKNOWN | EC_SVE | EC_SME, _) | (EC_DATA_ABORT, 0x10 | 0x28) => true,
        (EC_DATA_ABORT, 0x13..=0x17 | 0x1B..=0x1F | 0x23..=0x27) => esr & BY_MAINTENANCE != 0,
        _ => false,
    }
}

/// How the address of an abort of a Realm, one that stage 2 or the memory system made, is to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultAddress {
    /// It is in `HPFAR_EL2`.
    Reported,
    /// `HPFAR_EL2` is UNKNOWN; stage 1 leads from `FAR_EL2` to it.
    ByTranslation,
    /// The memory system has none for it.
    None,
}

/// Says where the address of an abort with this syndrome is (Arm ARM, HPFAR_EL2).
pub(crate) const fn fault_address(esr: u64) -> FaultAddress {
    match fault_status(esr) {
        // Address size, translation and access flag faults; granule protection faults.
        0x00..=0x0B | 0x23..=0x2B => FaultAddress::Reported,
        // External aborts and ECC errors.
        0x10 | 0x13..=0x18 | 0x1B..=0x1F => FaultAddress::None,
        // Permission faults, and rare ones: alignment, unsupported atomics, TLB conflicts.
        _ if esr & ON_STAGE1_WALK != 0 => FaultAddress::Reported,
        _ => FaultAddress::ByTranslation,
    }
}

/// The syndrome in words.
pub(crate) struct Described(pub(crate) u64);

impl fmt::Display for Described {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let esr = self.0;
        f.write_str(class_name(class(esr)))?;
        if matches!(class(esr), EC_DATA_ABORT | EC_INSTRUCTION_ABORT) {
            write!(f, ", {}", status_name(fault_status(esr)))?;
            if let Some(level) = status_level(fault_status(esr)) {
                write!(f, ", level {level}")?;
            }
        }
        if class(esr) == EC_DATA_ABORT {
            // ISS.WnR.
            f.write_str(if esr & 1 << 6 != 0 {
                ", write"
            } else {
                ", read"
            })?;
        }
        Ok(())
    }
}

const fn class_name(class: u64) -> &'static str {
    match class {
        EC_UNKNOWN => "undefined instruction",
        0x07 => "SIMD access",
        0x0E => "illegal execution state",
        0x17 => "SMC",
        0x18 => "system register access",
        EC_SVE => "SVE access",
        0x1C => "pointer authentication failure",
        EC_SME => "SME access",
        0x1E => "granule protection check",
        EC_INSTRUCTION_ABORT => "instruction abort",
        0x22 => "misaligned PC",
        EC_DATA_ABORT => "data abort",
        0x26 => "misaligned SP",
        0x2F => "SError",
        0x3C => "BRK instruction",
        _ => "unexpected class",
    }
}

const fn status_name(status: u64) -> &'static str {
    match status {
        0x00..=0x03 => "address size fault",
        0x04..=0x07 | 0x2B => "translation fault",
        0x08..=0x0B => "access flag fault",
        0x0C..=0x0F => "permission fault",
        0x10 => "external abort",
        0x11 => "tag check fault",
        0x13..=0x17 => "external abort on a walk",
        0x18 => "parity or ECC error",
        0x1B..=0x1F => "parity or ECC error on a walk",
        0x21 => "alignment fault",
        0x23..=0x27 => "granule protection fault on a walk",
        0x28 => "granule protection fault",
        0x30 => "TLB conflict",
        _ => "unexpected status",
    }
}

/// Returns the level of the walk that the status names.
const fn status_level(status: u64) -> Option<u64> {
    match status {
        0x00..=0x0F => Some(status & 3),
        0x14..=0x17 | 0x1C..=0x1F | 0x24..=0x27 => Some(status & 3),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::ToString;

    use super::*;

    #[test]
    fn survivable_is_what_another_world_can_cause() {
        // Measured under TF-A 2.12.1: nothing behind the address; a Non-secure page; EL3 says no; RDFFR in
        // streaming mode.
        for esr in [
            0x9600_0010,
            0x9600_0028,
            0x9600_0068,
            0x0200_0000,
            0x7600_0001,
        ] {
            assert!(is_survivable(esr), "{esr:#x}");
        }
        // Translating an address of a Realm, whose tables the Host may have taken away.
        for status in [0x13, 0x14, 0x17, 0x1F, 0x24, 0x27] {
            assert!(is_survivable(0x9600_0100 | status), "{status:#x}");
            assert!(!is_survivable(0x9600_0000 | status), "{status:#x}");
        }
        // Translation and permission faults, a walk that fails, BRK, instruction abort.
        for esr in [
            0x9600_0007,
            0x9600_004F,
            0x9600_0017,
            0x9600_0027,
            0xF200_0000,
            0x8600_0028,
        ] {
            assert!(!is_survivable(esr), "{esr:#x}");
        }
    }

    #[test]
    fn fault_address_is_reported_as_the_architecture_says() {
        use FaultAddress::{ByTranslation, None, Reported};
        for (status, plain, on_walk) in [
            (0x00, Reported, Reported),
            (0x07, Reported, Reported),
            (0x0B, Reported, Reported),
            (0x0C, ByTranslation, Reported),
            (0x0F, ByTranslation, Reported),
            (0x10, None, None),
            (0x14, None, None),
            (0x1F, None, None),
            (0x21, ByTranslation, Reported),
            (0x24, Reported, Reported),
            (0x28, Reported, Reported),
            (0x29, Reported, Reported),
            (0x2B, Reported, Reported),
            (0x30, ByTranslation, Reported),
            (0x35, ByTranslation, Reported),
        ] {
            for class in [0x8200_0000, 0x9200_0000] {
                assert_eq!(fault_address(class | status), plain, "{status:#x}");
                assert_eq!(
                    fault_address(class | 1 << 7 | status),
                    on_walk,
                    "{status:#x}"
                );
            }
        }
    }

    #[test]
    fn syndromes_in_words() {
        for (esr, words) in [
            (0x9600_0010, "data abort, external abort, read"),
            (0x9600_0047, "data abort, translation fault, level 3, write"),
            (0x8600_000F, "instruction abort, permission fault, level 3"),
            (
                0x9600_0025,
                "data abort, granule protection fault on a walk, level 1, read",
            ),
            (0x0200_0000, "undefined instruction"),
            (0xF200_0001, "BRK instruction"),
            (0x9A00_0000, "misaligned SP"),
        ] {
            assert_eq!(Described(esr).to_string(), words, "{esr:#x}");
        }
    }
}
