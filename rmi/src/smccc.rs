// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The few things that RMI, RSI and PSCI share because all are SMC Calling Convention calls.

/// x0 of a call whose function identifier nobody implements: -1.
pub const SMCCC_NOT_SUPPORTED: u64 = u64::MAX;

/// Function identifier of `SMCCC_VERSION`.
pub const FID_SMCCC_VERSION: u64 = 0x8000_0000;

/// The hint of SMCCC 1.3 that the caller has no live SVE state. It is not part of the identifier.
pub const FID_SVE_HINT: u64 = 1 << 16;

/// The register bits that hold a function identifier: w0.
const FID_BITS: u64 = 0xFFFF_FFFF;

/// Returns the function identifier in `x0`: the low word without the SVE hint.
#[must_use]
pub const fn fid_of(x0: u64) -> u64 {
    x0 & FID_BITS & !FID_SVE_HINT
}

/// Says whether the caller of the function in `x0` has no live SVE state: bits of Z registers above 128,
/// P registers and FFR need not be preserved.
#[must_use]
pub const fn has_sve_hint(x0: u64) -> bool {
    x0 & FID_SVE_HINT != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fid_ignores_the_hint_and_the_high_word() {
        assert_eq!(fid_of(0xC401_0150), 0xC400_0150);
        assert_eq!(fid_of(0xFFFF_FFFF_C400_0150), 0xC400_0150);
        assert_eq!(fid_of(0xC402_0150), 0xC402_0150);
    }

    #[test]
    fn hint_is_bit_16() {
        assert!(has_sve_hint(0xC401_0150));
        assert!(!has_sve_hint(0xFFFF_FFFF_FFFE_FFFF));
    }
}
