// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The bits of an exception syndrome register (Arm ARM, `ESR_ELx`).
//!
//! ```text
//!  31..26  25  24..0
//!    EC    IL   ISS
//!
//! abort ISS:  24   23..22  21   20..16  15  12..11  10   9    8     7     6    5..0
//!             ISV   SAS    SSE   SRT    SF   SET    FnV  EA   CM  S1PTW  WnR   FSC
//! SError ISS: 24 IDS, 12..10 AET, 9 EA, 5..0 DFSC
//! trapped register: 21..20 Op0, 19..17 Op2, 16..14 Op1, 13..10 CRn, 9..5 Rt, 4..1 CRm, 0 read
//! WFx: 9..5 Rn, 2 RV, 1..0 TI
//! ```

use rmi::RttLevel;

pub(crate) const EC_SHIFT: u32 = 26;
pub(crate) const EC_MASK: u64 = 0x3F << EC_SHIFT;
pub(crate) const IL: u64 = 1 << 25;

pub(crate) const ISV: u64 = 1 << 24;
pub(crate) const SAS_SHIFT: u32 = 22;
pub(crate) const SAS_MASK: u64 = 0b11 << SAS_SHIFT;
const SRT_SHIFT: u32 = 16;
pub(crate) const SF: u64 = 1 << 15;
pub(crate) const SET_SHIFT: u32 = 11;
pub(crate) const SET_MASK: u64 = 0b11 << SET_SHIFT;
pub(crate) const FNV: u64 = 1 << 10;
pub(crate) const EA: u64 = 1 << 9;
pub(crate) const CM: u64 = 1 << 8;
pub(crate) const WNR: u64 = 1 << 6;
pub(crate) const FSC_MASK: u64 = 0x3F;

pub(crate) const IDS: u64 = 1 << 24;
pub(crate) const AET_SHIFT: u32 = 10;
pub(crate) const AET_MASK: u64 = 0b111 << AET_SHIFT;
pub(crate) const ISS_MASK: u64 = (1 << 25) - 1;

pub(crate) const TRAPPED_RT_SHIFT: u32 = 5;
pub(crate) const TRAPPED_RT_MASK: u64 = 0x1F << TRAPPED_RT_SHIFT;
const TRAPPED_READ: u64 = 1;

const WFX_RV: u64 = 1 << 2;
pub(crate) const WFX_TI_MASK: u64 = 0b11;
const WFX_TIMEOUT: u64 = 0b10;

/// Exception classes that a Realm can cause at R-EL2, with AArch64 at EL1.
pub(crate) mod class {
    pub(crate) const UNKNOWN: u64 = 0x00;
    pub(crate) const WFX: u64 = 0x01;
    pub(crate) const FP_SIMD: u64 = 0x07;
    pub(crate) const HVC: u64 = 0x16;
    pub(crate) const SMC: u64 = 0x17;
    pub(crate) const SYSTEM_REGISTER: u64 = 0x18;
    pub(crate) const SVE: u64 = 0x19;
    pub(crate) const SME: u64 = 0x1D;
    pub(crate) const INSTRUCTION_ABORT_LOWER: u64 = 0x20;
    pub(crate) const INSTRUCTION_ABORT_SAME: u64 = 0x21;
    pub(crate) const DATA_ABORT_LOWER: u64 = 0x24;
    pub(crate) const DATA_ABORT_SAME: u64 = 0x25;
}

/// Fault status codes.
pub(crate) mod fault {
    pub(crate) const TRANSLATION_0: u64 = 0b00_0100;
    pub(crate) const TRANSLATION_3: u64 = 0b00_0111;
    pub(crate) const TRANSLATION_MINUS_1: u64 = 0b10_1011;
    pub(crate) const PERMISSION_0: u64 = 0b00_1100;
    pub(crate) const PERMISSION_3: u64 = 0b00_1111;
    pub(crate) const ADDRESS_SIZE_0: u64 = 0b00_0000;
    pub(crate) const ADDRESS_SIZE_MINUS_1: u64 = 0b10_1001;
    pub(crate) const EXTERNAL: u64 = 0b01_0000;
    pub(crate) const EXTERNAL_WALK_MINUS_1: u64 = 0b01_0011;
    pub(crate) const EXTERNAL_WALK_3: u64 = 0b01_0111;
    pub(crate) const PARITY: u64 = 0b01_1000;
    pub(crate) const PARITY_WALK_MINUS_1: u64 = 0b01_1011;
    pub(crate) const PARITY_WALK_3: u64 = 0b01_1111;
    pub(crate) const ASYNCHRONOUS: u64 = 0b01_0001;
}

/// The number that names no register: reads zero, ignores writes.
const ZERO_REGISTER: u8 = 31;

/// A general register as an instruction encodes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Register(u8);

impl Register {
    fn from_bits(bits: u64) -> Self {
        let [low, ..] = bits.to_le_bytes();
        Self(low & ZERO_REGISTER)
    }

    /// Reads the register; the zero register reads as zero.
    pub(crate) fn read(self, gprs: &[u64; 31]) -> u64 {
        gprs.get(usize::from(self.0)).copied().unwrap_or(0)
    }

    /// Writes the register; a write to the zero register is lost.
    pub(crate) fn write(self, gprs: &mut [u64; 31], value: u64) {
        if let Some(gpr) = gprs.get_mut(usize::from(self.0)) {
            *gpr = value;
        }
    }
}

/// Returns a class in its place.
pub(crate) const fn class_bits(class: u64) -> u64 {
    class << EC_SHIFT
}

/// The value of a syndrome register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Esr(pub(crate) u64);

impl Esr {
    pub(crate) fn class(self) -> u64 {
        (self.0 & EC_MASK) >> EC_SHIFT
    }

    pub(crate) fn has(self, bit: u64) -> bool {
        self.0 & bit != 0
    }

    pub(crate) fn fault(self) -> u64 {
        self.0 & FSC_MASK
    }

    /// Says whether the fault is a translation fault at any level.
    pub(crate) fn is_translation_fault(self) -> bool {
        let fault = self.fault();
        (fault::TRANSLATION_0..=fault::TRANSLATION_3).contains(&fault)
            || fault == fault::TRANSLATION_MINUS_1
    }

    /// Says whether the memory system refused the access, or answered it with an error.
    pub(crate) fn is_external_abort(self) -> bool {
        let fault = self.fault();
        fault == fault::EXTERNAL
            || (fault::EXTERNAL_WALK_MINUS_1..=fault::EXTERNAL_WALK_3).contains(&fault)
            || fault == fault::PARITY
            || (fault::PARITY_WALK_MINUS_1..=fault::PARITY_WALK_3).contains(&fault)
    }

    /// Says whether the fault is a permission fault at any level.
    pub(crate) fn is_permission_fault(self) -> bool {
        (fault::PERMISSION_0..=fault::PERMISSION_3).contains(&self.fault())
    }

    /// Returns how bad a synchronous external abort is.
    pub(crate) fn error_type(self) -> u64 {
        (self.0 & SET_MASK) >> SET_SHIFT
    }

    /// Returns the register of an access with [`ISV`] set.
    pub(crate) fn access_register(self) -> Register {
        Register::from_bits(self.0 >> SRT_SHIFT)
    }

    /// Returns the register of a trapped register access or, if it has one, of a WFIT or WFET.
    pub(crate) fn trapped_register(self) -> Register {
        Register::from_bits(self.0 >> TRAPPED_RT_SHIFT)
    }

    pub(crate) fn is_trapped_read(self) -> bool {
        self.has(TRAPPED_READ)
    }

    /// Returns the register with the timeout of a WFIT or WFET.
    pub(crate) fn timeout_register(self) -> Option<Register> {
        let has_timeout = self.has(WFX_TIMEOUT) && self.has(WFX_RV);
        has_timeout.then(|| self.trapped_register())
    }
}

/// Returns the fault status of a translation fault at `level`.
pub(crate) fn translation_fault(level: RttLevel) -> u64 {
    match u64::try_from(level.raw()) {
        Ok(level) => fault::TRANSLATION_0 + level,
        Err(_) => fault::TRANSLATION_MINUS_1,
    }
}

/// Returns the fault status of an address size fault at `level`.
pub(crate) fn address_size_fault(level: RttLevel) -> u64 {
    match u64::try_from(level.raw()) {
        Ok(level) => fault::ADDRESS_SIZE_0 + level,
        Err(_) => fault::ADDRESS_SIZE_MINUS_1,
    }
}
