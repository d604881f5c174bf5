// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Which stage 1 table of a Realm led beyond its address space.
//!
//! The hardware finds addresses that are wider than the machine's or than the Realm's `TCR_EL1.IPS`,
//! and reports the level of the table they came from. An address that only the width of this Realm
//! rules out reaches stage 2 and traps, without that level. So the monitor repeats the walk (Arm ARM
//! D8.2). The Realm may change its tables meanwhile; then it gets a level that is true of one of them.

use rmi::{Ipa, RttLevel};
use rmm_hal::TranslationControls;

/// `SCTLR_EL1.M`: stage 1 is on.
const SCTLR_M: u64 = 1 << 0;
/// `SCTLR_EL1.EE`: table entries are big-endian.
const SCTLR_EE: u64 = 1 << 25;

/// `TCR_EL1.DS`: 52-bit descriptors with granules of 4 and 16 KiB.
const TCR_DS: u64 = 1 << 59;
const TCR_T0SZ_SHIFT: u32 = 0;
const TCR_T1SZ_SHIFT: u32 = 16;
const TCR_TG0_SHIFT: u32 = 14;
const TCR_TG1_SHIFT: u32 = 30;
const TCR_TXSZ_MASK: u64 = 0x3F;
const TCR_TG_MASK: u64 = 0b11;

/// The bit of a virtual address that chooses between the two table bases.
const VA_UPPER: u64 = 1 << 55;

/// Table bases in `TTBR<n>_EL1`: in place, and bits 51:48 in bits 5:2 where addresses are that wide.
const TTBR_BASE: u64 = 0x0000_FFFF_FFFF_FFC0;
const TTBR_HIGH: u64 = 0b1111 << 2;
const TTBR_HIGH_TO: u32 = 46;

const ENTRY_VALID: u64 = 1 << 0;
const ENTRY_TABLE: u64 = 1 << 1;
const ENTRY_BYTES: u64 = 8;

/// Bits of one table's index, less than the bits of its granule.
const ENTRY_BITS: u32 = 3;

/// How the tables that translate one half of the virtual addresses are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Regime {
    base: u64,
    /// Bits of an address that the tables translate.
    va_bits: u32,
    /// Bits of an address inside a granule: 12, 14 or 16.
    granule_bits: u32,
    /// Descriptors hold 52 bits of an address.
    is_wide: bool,
}

/// Returns the level at which the walk of `va` leaves an address space of `ipa_bits`.
///
/// `read` reads a word of the Realm's memory; where it cannot, the answer is the level of that table.
/// A walk that stays inside ends at its last level.
pub(crate) fn level_outside(
    controls: &TranslationControls,
    va: u64,
    ipa_bits: u8,
    read: impl Fn(Ipa) -> Option<u64>,
) -> RttLevel {
    if controls.sctlr & SCTLR_M == 0 {
        return RttLevel::LEVEL_0;
    }
    let regime = Regime::of(controls, va);
    let (mut level, mut table) = (regime.start(), regime.base);
    if table >> ipa_bits != 0 {
        return RttLevel::LEVEL_0;
    }
    loop {
        let Some(word) = read(Ipa::new(table + regime.index(level, va) * ENTRY_BYTES)) else {
            return level;
        };
        let entry = if controls.sctlr & SCTLR_EE != 0 {
            word.swap_bytes()
        } else {
            word
        };
        let output = regime.output(entry);
        let is_table = entry & (ENTRY_VALID | ENTRY_TABLE) == ENTRY_VALID | ENTRY_TABLE;
        let Some(child) = level
            .child()
            .filter(|_| is_table && output >> ipa_bits == 0)
        else {
            return level;
        };
        (level, table) = (child, output);
    }
}

impl Regime {
    fn of(controls: &TranslationControls, va: u64) -> Self {
        let tcr = controls.tcr;
        let is_upper = va & VA_UPPER != 0;
        let (base, size_shift) = if is_upper {
            (controls.ttbr1, TCR_T1SZ_SHIFT)
        } else {
            (controls.ttbr0, TCR_T0SZ_SHIFT)
        };
        let granule_bits = granule_bits(tcr, is_upper);
        let is_wide = tcr & TCR_DS != 0 || granule_bits == 16;
        let size = (tcr >> size_shift) & TCR_TXSZ_MASK;
        // The architecture has 16 to 48 here, 12 with the widest addresses.
        let size = u32::try_from(size).unwrap_or(0).clamp(12, 48);
        let high = if is_wide {
            (base & TTBR_HIGH) << TTBR_HIGH_TO
        } else {
            0
        };
        Self {
            base: base & TTBR_BASE | high,
            va_bits: 64 - size,
            granule_bits,
            is_wide,
        }
    }

    fn bits_per_level(&self) -> u32 {
        self.granule_bits - ENTRY_BITS
    }

    /// Returns the level at which walks start.
    fn start(&self) -> RttLevel {
        let levels = (self.va_bits - self.granule_bits).div_ceil(self.bits_per_level());
        RttLevel::new(4 - i64::from(levels.max(1))).unwrap_or(RttLevel::LEVEL_MINUS_1)
    }

    /// Returns the index of the entry for `va` in a table of `level`.
    fn index(&self, level: RttLevel, va: u64) -> u64 {
        let below = u32::try_from(3 - level.raw()).unwrap_or(0);
        let shift = self.granule_bits + below * self.bits_per_level();
        let bits = self
            .va_bits
            .saturating_sub(shift)
            .min(self.bits_per_level());
        va.checked_shr(shift).unwrap_or(0) & ((1 << bits) - 1)
    }

    /// Returns the address in a descriptor, of a table or of memory.
    fn output(&self, entry: u64) -> u64 {
        let granule = !((1 << self.granule_bits) - 1);
        match (self.granule_bits, self.is_wide) {
            // Bits 51:48 are in bits 15:12.
            (16, _) => entry & 0x0000_FFFF_FFFF_0000 | (entry & 0xF000) << 36,
            // Bits 51:50 are in bits 9:8.
            (_, true) => entry & 0x0003_FFFF_FFFF_FFFF & granule | (entry & 0x300) << 42,
            (_, false) => entry & 0x0000_FFFF_FFFF_FFFF & granule,
        }
    }
}

/// Returns the bits of an address inside a granule. The two halves encode them differently.
fn granule_bits(tcr: u64, is_upper: bool) -> u32 {
    if is_upper {
        match (tcr >> TCR_TG1_SHIFT) & TCR_TG_MASK {
            0b01 => 14,
            0b11 => 16,
            _ => 12,
        }
    } else {
        match (tcr >> TCR_TG0_SHIFT) & TCR_TG_MASK {
            0b01 => 16,
            0b10 => 14,
            _ => 12,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IPA_BITS: u8 = 40;
    const OUTSIDE: u64 = 1 << 40;
    const TABLE: u64 = 0b11;
    const BLOCK: u64 = 0b01;

    /// 4 KiB, 48 bits in both halves.
    const TCR_4K: u64 = 16 | 16 << 16 | 0b10 << 30;

    fn controls(tcr: u64) -> TranslationControls {
        TranslationControls {
            sctlr: SCTLR_M,
            tcr,
            ttbr0: 0x1_0000,
            ttbr1: 0x2_0000,
        }
    }

    /// Walks memory that holds these words and is absent elsewhere.
    fn walk(controls: &TranslationControls, va: u64, memory: &[(u64, u64)]) -> i64 {
        let read = |ipa: Ipa| {
            memory
                .iter()
                .find(|row| row.0 == ipa.raw())
                .map(|row| row.1)
        };
        level_outside(controls, va, IPA_BITS, read).raw()
    }

    /// Four tables of 4 KiB on the way to `va`, whose last entry is `leaf`.
    fn four_levels(base: u64, va: u64, leaf: u64) -> [(u64, u64); 4] {
        let index = |shift: u32| (va >> shift & 0x1FF) * 8;
        [
            (base + index(39), 0x3_0000 | TABLE),
            (0x3_0000 + index(30), 0x4_0000 | TABLE),
            (0x4_0000 + index(21), 0x5_0000 | TABLE),
            (0x5_0000 + index(12), leaf),
        ]
    }

    #[test]
    fn level_is_0_without_stage_1() {
        let mut off = controls(TCR_4K);
        off.sctlr = 0;
        assert_eq!(walk(&off, OUTSIDE, &[]), 0);
    }

    #[test]
    fn level_is_that_of_the_entry() {
        let controls = controls(TCR_4K);
        for (base, va) in [
            (0x1_0000, 0x1234_5678_9000),
            (0x2_0000, 0xFFFF_8234_5678_9000),
        ] {
            let mut memory = four_levels(base, va, OUTSIDE | TABLE);
            assert_eq!(walk(&controls, va, &memory), 3);
            for level in [2, 1] {
                memory[level].1 = OUTSIDE | BLOCK;
                assert_eq!(walk(&controls, va, &memory), i64::try_from(level).unwrap());
            }
            memory[1].1 = OUTSIDE | TABLE;
            assert_eq!(walk(&controls, va, &memory), 1);
            memory[0].1 = OUTSIDE | TABLE;
            assert_eq!(walk(&controls, va, &memory), 0);
        }
    }

    #[test]
    fn level_is_0_for_the_base_of_the_tables() {
        let mut controls = controls(TCR_4K);
        controls.ttbr0 = OUTSIDE;
        assert_eq!(walk(&controls, 0, &[]), 0);
    }

    #[test]
    fn walk_starts_where_the_width_says() {
        let start = |tcr| Regime::of(&controls(tcr), 0).start().raw();
        let (g16, g64) = (0b10 << 14, 0b01 << 14);
        // Width, 4 KiB, 16 KiB, 64 KiB.
        for (width, levels) in [
            (48, [0, 0, 1]),
            (47, [0, 1, 1]),
            (39, [1, 1, 2]),
            (36, [1, 2, 2]),
            (25, [2, 3, 3]),
            (16, [3, 3, 3]),
        ] {
            let size = 64 - width;
            assert_eq!(
                [start(size), start(size | g16), start(size | g64)],
                levels,
                "{width}"
            );
        }
        assert_eq!(start(12 | TCR_DS), -1);
        assert_eq!(start(12 | TCR_DS | g16), 0);
        assert_eq!(start(12 | g64), 1);
    }

    #[test]
    fn wide_descriptors_hold_high_bits_elsewhere() {
        let regime = |tcr| Regime::of(&controls(tcr), 0);
        assert_eq!(regime(16).output(u64::MAX), 0x0000_FFFF_FFFF_F000);
        assert_eq!(regime(12 | TCR_DS).output(u64::MAX), 0x000F_FFFF_FFFF_F000);
        assert_eq!(regime(12 | TCR_DS).output(0x100), 1 << 50);
        assert_eq!(
            regime(12 | 0b01 << 14).output(u64::MAX),
            0x000F_FFFF_FFFF_0000
        );
        assert_eq!(regime(12 | 0b01 << 14).output(0x1000), 1 << 48);
        assert_eq!(
            regime(16 | 0b10 << 14).output(u64::MAX),
            0x0000_FFFF_FFFF_C000
        );
        let mut controls = controls(12 | TCR_DS);
        controls.ttbr0 = 0x3C | 0x1_0000 | 1;
        assert_eq!(Regime::of(&controls, 0).base, 0x000F_0000_0001_0000);
    }

    #[test]
    fn big_endian_tables_are_read_as_such() {
        let mut controls = controls(TCR_4K);
        controls.sctlr |= SCTLR_EE;
        let memory =
            four_levels(0x1_0000, 0, OUTSIDE | TABLE).map(|(at, word)| (at, word.swap_bytes()));
        assert_eq!(walk(&controls, 0, &memory), 3);
    }

    #[test]
    fn walk_ends_whatever_the_realm_wrote() {
        for bits in 0..64 {
            let tcr = u64::MAX << bits;
            for va in [0, u64::MAX, 0x55AA_55AA_55AA_55AA] {
                let level = level_outside(&controls(tcr), va, IPA_BITS, |_| Some(TABLE));
                assert_eq!(level, RttLevel::LEVEL_3);
                let level = level_outside(&controls(!tcr), va, IPA_BITS, |_| Some(u64::MAX));
                assert!(level <= RttLevel::LEVEL_3);
            }
        }
    }
}
