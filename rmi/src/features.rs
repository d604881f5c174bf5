// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What a monitor can do for a Realm: the feature registers of `RMI_FEATURES`.

use crate::bits::Field;

/// Index of [`FeatureRegister0`] in `RMI_FEATURES`. All other registers read as zero.
pub const FEATURE_REGISTER_0_INDEX: u64 = 0;

/// The greatest [`FeatureRegister0::s2sz`] of a monitor without LPA2, in bits.
pub const S2SZ_MAX_WITHOUT_LPA2: u8 = 48;

const S2SZ: Field = Field::new(7, 0);
const LPA2: Field = Field::new(8, 8);
const SVE_EN: Field = Field::new(9, 9);
const SVE_VL: Field = Field::new(13, 10);
const NUM_BPS: Field = Field::new(19, 14);
const NUM_WPS: Field = Field::new(25, 20);
const PMU_EN: Field = Field::new(26, 26);
const PMU_NUM_CTRS: Field = Field::new(31, 27);
const HASH_SHA_256: Field = Field::new(32, 32);
const HASH_SHA_512: Field = Field::new(33, 33);
const GICV3_NUM_LRS: Field = Field::new(37, 34);
const MAX_RECS_ORDER: Field = Field::new(41, 38);

/// The algorithm of a Realm's measurements (`RmiHashAlgorithm`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HashAlgorithm {
    /// SHA-256, with digests of 32 bytes.
    Sha256,
    /// SHA-512, with digests of 64 bytes.
    Sha512,
}

impl HashAlgorithm {
    /// Returns the algorithm with this code, if it is not reserved.
    #[must_use]
    pub const fn new(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Sha256),
            1 => Some(Self::Sha512),
            _ => None,
        }
    }

    /// Returns the code of the algorithm.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Sha256 => 0,
            Self::Sha512 => 1,
        }
    }

    /// Returns the bytes of a digest.
    #[must_use]
    pub const fn digest_bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

/// `RmiFeatureRegister0`: the greatest values that the parameters of a Realm may have.
///
/// Numbers are encoded as in the parameters, so that the two can be compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeatureRegister0(u64);

impl FeatureRegister0 {
    /// Returns a register that offers nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(0)
    }

    /// Reads the register from the output of `RMI_FEATURES`.
    #[must_use]
    pub const fn from_register(value: u64) -> Self {
        Self(value)
    }

    /// Returns the register as the output of `RMI_FEATURES`.
    #[must_use]
    pub const fn to_register(self) -> u64 {
        self.0
    }

    /// Returns the greatest width of a Realm's address space, in bits.
    #[must_use]
    pub const fn s2sz(self) -> u8 {
        S2SZ.get_u8(self.0)
    }

    /// Returns whether a Realm may have 52-bit translation tables.
    #[must_use]
    pub const fn has_lpa2(self) -> bool {
        LPA2.get(self.0) == 1
    }

    /// Returns whether a Realm may have SVE.
    #[must_use]
    pub const fn has_sve(self) -> bool {
        SVE_EN.get(self.0) == 1
    }

    /// Returns the greatest vector length, in units of 128 bits, minus one.
    #[must_use]
    pub const fn sve_vl(self) -> u8 {
        SVE_VL.get_u8(self.0)
    }

    /// Returns the number of breakpoints, minus one.
    #[must_use]
    pub const fn num_bps(self) -> u8 {
        NUM_BPS.get_u8(self.0)
    }

    /// Returns the number of watchpoints, minus one.
    #[must_use]
    pub const fn num_wps(self) -> u8 {
        NUM_WPS.get_u8(self.0)
    }

    /// Returns whether a Realm may have a performance monitor.
    #[must_use]
    pub const fn has_pmu(self) -> bool {
        PMU_EN.get(self.0) == 1
    }

    /// Returns the number of event counters of the performance monitor.
    #[must_use]
    pub const fn pmu_num_ctrs(self) -> u8 {
        PMU_NUM_CTRS.get_u8(self.0)
    }

    /// Returns whether a Realm may be measured with this algorithm.
    #[must_use]
    pub const fn has_hash(self, algorithm: HashAlgorithm) -> bool {
        Self::hash_field(algorithm).get(self.0) == 1
    }

    /// Returns the number of interrupt list registers that the Host may use, minus one.
    #[must_use]
    pub const fn gicv3_num_lrs(self) -> u8 {
        GICV3_NUM_LRS.get_u8(self.0)
    }

    /// Returns the order of the greatest number of RECs of a Realm.
    #[must_use]
    pub const fn max_recs_order(self) -> u8 {
        MAX_RECS_ORDER.get_u8(self.0)
    }

    /// Returns the greatest number of RECs of a Realm: 2^order - 1.
    #[must_use]
    pub const fn max_recs(self) -> u64 {
        (1 << self.max_recs_order()) - 1
    }

    /// Offers address spaces of up to `bits` bits.
    #[must_use]
    pub fn with_s2sz(self, bits: u8) -> Self {
        self.with(S2SZ, bits.into())
    }

    /// Says whether 52-bit translation tables are offered.
    #[must_use]
    pub fn with_lpa2(self, is_offered: bool) -> Self {
        self.with(LPA2, is_offered.into())
    }

    /// Offers SVE with vectors of up to `vl` + 1 units of 128 bits.
    #[must_use]
    pub fn with_sve(self, vl: u8) -> Self {
        self.with(SVE_EN, 1).with(SVE_VL, vl.into())
    }

    /// Offers `minus_one` + 1 breakpoints.
    #[must_use]
    pub fn with_num_bps(self, minus_one: u8) -> Self {
        self.with(NUM_BPS, minus_one.into())
    }

    /// Offers `minus_one` + 1 watchpoints.
    #[must_use]
    pub fn with_num_wps(self, minus_one: u8) -> Self {
        self.with(NUM_WPS, minus_one.into())
    }

    /// Offers a performance monitor with `counters` event counters.
    #[must_use]
    pub fn with_pmu(self, counters: u8) -> Self {
        self.with(PMU_EN, 1).with(PMU_NUM_CTRS, counters.into())
    }

    /// Offers measurements with `algorithm`.
    #[must_use]
    pub fn with_hash(self, algorithm: HashAlgorithm) -> Self {
        self.with(Self::hash_field(algorithm), 1)
    }

    /// Offers `minus_one` + 1 interrupt list registers.
    #[must_use]
    pub fn with_gicv3_num_lrs(self, minus_one: u8) -> Self {
        self.with(GICV3_NUM_LRS, minus_one.into())
    }

    /// Offers 2^`order` - 1 RECs per Realm.
    #[must_use]
    pub fn with_max_recs_order(self, order: u8) -> Self {
        self.with(MAX_RECS_ORDER, order.into())
    }

    /// Replaces a field. A value that does not fit is a mistake of the monitor.
    fn with(self, field: Field, value: u64) -> Self {
        debug_assert!(value <= field.max());
        Self(field.set(self.0, value))
    }

    /// Returns the field that offers an algorithm.
    const fn hash_field(algorithm: HashAlgorithm) -> Field {
        match algorithm {
            HashAlgorithm::Sha256 => HASH_SHA_256,
            HashAlgorithm::Sha512 => HASH_SHA_512,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn register_0_fields_are_where_section_5_1_says() {
        let new = FeatureRegister0::new;
        let cases = [
            (new().with_s2sz(0xFF), 0xFF),
            (new().with_lpa2(true), 1 << 8),
            (new().with_lpa2(true).with_lpa2(false), 0),
            (new().with_sve(0xF), 0b1_1111 << 9),
            (new().with_num_bps(0x3F), 0x3F << 14),
            (new().with_num_wps(0x3F), 0x3F << 20),
            (new().with_pmu(0x1F), 0x3F << 26),
            (new().with_hash(HashAlgorithm::Sha256), 1 << 32),
            (new().with_hash(HashAlgorithm::Sha512), 1 << 33),
            (new().with_gicv3_num_lrs(0xF), 0xF << 34),
            (new().with_max_recs_order(0xF), 0xF << 38),
        ];
        let mut all = 0;
        for (register, bits) in cases {
            assert_eq!(register.to_register(), bits);
            all |= bits;
        }
        assert_eq!(all, (1 << 42) - 1);
    }

    #[test]
    fn register_0_getters_read_what_was_set() {
        let register = FeatureRegister0::new()
            .with_s2sz(48)
            .with_sve(3)
            .with_num_bps(5)
            .with_num_wps(7)
            .with_pmu(6)
            .with_hash(HashAlgorithm::Sha512)
            .with_gicv3_num_lrs(11)
            .with_max_recs_order(9);
        let register = FeatureRegister0::from_register(register.to_register());
        assert_eq!(register.s2sz(), 48);
        assert!(!register.has_lpa2());
        assert!(register.has_sve());
        assert_eq!(register.sve_vl(), 3);
        assert_eq!(register.num_bps(), 5);
        assert_eq!(register.num_wps(), 7);
        assert!(register.has_pmu());
        assert_eq!(register.pmu_num_ctrs(), 6);
        assert!(!register.has_hash(HashAlgorithm::Sha256));
        assert!(register.has_hash(HashAlgorithm::Sha512));
        assert_eq!(register.gicv3_num_lrs(), 11);
        assert_eq!(register.max_recs(), 511);
    }

    #[test]
    fn hash_codes_round_trip() {
        for algorithm in [HashAlgorithm::Sha256, HashAlgorithm::Sha512] {
            assert_eq!(HashAlgorithm::new(algorithm.code()), Some(algorithm));
        }
        assert_eq!(HashAlgorithm::new(2), None);
    }
}
