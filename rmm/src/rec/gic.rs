// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the Host may say about a REC's virtual interrupts, and what it may see of them.
//!
//! The Host fills the list registers and some of the controls; the monitor only checks that what it
//! loads is valid and can reach no physical interrupt (`ICH_LR<n>_EL2.HW` = 0).

use rmm_hal::{CpuFeatures, GicState};

/// `ICH_HCR_EL2.En`: the Realm's virtual interface works.
const HCR_EN: u64 = 1 << 0;
/// `ICH_HCR_EL2.vSGIEOICount`: deactivating a directly injected SGI does not count.
const HCR_VSGI_EOI_COUNT: u64 = 1 << 8;
/// `ICH_HCR_EL2.DVIM`: directly injected interrupts are masked; a Realm has none.
const HCR_DVIM: u64 = 1 << 15;
/// `ICH_HCR_EL2.EOIcount`.
const HCR_EOI_COUNT: u64 = 0x1F << 27;
/// What the Host may set: UIE, LRENPIE, NPIE, VGrp0EIE, VGrp0DIE, VGrp1EIE, VGrp1DIE, TDIR.
const HCR_HOST: u64 = 0xFE | 1 << 14;

/// `ICH_LR<n>_EL2` fields: State, HW, Group, NMI with three RES0 bits, Priority, pINTID, vINTID.
///
/// NMI counts as RES0 on every PE: the identification registers of a Realm show no FEAT_NMI, so in its
/// GIC interface the bit does not exist, and no interrupt of the Host gets past what the Realm masks.
const LR_STATE: u64 = 0b11 << 62;
const LR_HW: u64 = 1 << 61;
const LR_NMI_AND_RES0: u64 = 0xF << 56;
const LR_PRIORITY_SHIFT: u32 = 48;
const LR_RES0_47_45: u64 = 0b111 << 45;
/// With HW = 0 this field holds nothing but EOI, bit 41.
const LR_PINTID: u64 = 0x1FFF << 32;
const LR_EOI: u64 = 1 << 41;
const LR_VINTID: u64 = 0xFFFF_FFFF;

const PRIORITY_BITS: u8 = 8;

/// Ranges of INTIDs (GIC architecture, section 2.2): SGI, PPI and SPI; extended PPI; extended SPI; LPI.
const INTID_COMMON_LAST: u64 = 1019;
const INTID_EPPI: core::ops::RangeInclusive<u64> = 1056..=1119;
const INTID_ESPI: core::ops::RangeInclusive<u64> = 4096..=5119;
const INTID_LPI_FIRST: u64 = 8192;

/// What the Host said about the virtual interrupts is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InvalidGic;

/// Checks what the Host says of the virtual interrupts of a REC.
///
/// List registers that the machine does not have are not looked at. Where the state is Invalid nothing
/// but HW counts: the architecture gives no other field a meaning there, but A6.1 asks for HW = 0
/// whatever the state.
///
/// # Errors
///
/// [`InvalidGic`] when a control is none of the Host's or a list register is not valid.
pub(crate) fn check(hcr: u64, lrs: &[u64; 16], cpu: &CpuFeatures) -> Result<(), InvalidGic> {
    if hcr & !HCR_HOST != 0 {
        return Err(InvalidGic);
    }
    let implemented = lrs.iter().take(list_registers(cpu));
    if implemented.clone().any(|lr| lr & LR_HW != 0) {
        return Err(InvalidGic);
    }
    for (n, lr) in implemented
        .clone()
        .enumerate()
        .filter(|(_, lr)| is_live(**lr))
    {
        let mut others = implemented.clone().take(n);
        let is_repeated = others.any(|other| is_live(*other) && vintid(*other) == vintid(*lr));
        if !is_valid(*lr, cpu) || is_repeated {
            return Err(InvalidGic);
        }
    }
    Ok(())
}

/// Puts what the Host said, once checked, where the machine loads it from.
pub(crate) fn enter(gic: &mut GicState, hcr: u64, lrs: &[u64; 16], cpu: &CpuFeatures) {
    gic.hcr = hcr | HCR_EN | HCR_VSGI_EOI_COUNT | HCR_DVIM;
    gic.lrs = [0; 16];
    for (to, from) in gic.lrs.iter_mut().zip(lrs).take(list_registers(cpu)) {
        *to = *from;
    }
}

/// Returns what the Host may see of `ICH_HCR_EL2`.
pub(crate) fn visible_hcr(gic: &GicState) -> u64 {
    gic.hcr & (HCR_HOST | HCR_EOI_COUNT)
}

fn list_registers(cpu: &CpuFeatures) -> usize {
    usize::from(cpu.list_registers) + 1
}

fn is_live(lr: u64) -> bool {
    lr & LR_STATE != 0
}

fn vintid(lr: u64) -> u64 {
    lr & LR_VINTID
}

fn is_valid(lr: u64, cpu: &CpuFeatures) -> bool {
    let zero = LR_NMI_AND_RES0 | LR_RES0_47_45 | LR_PINTID & !LR_EOI | unimplemented_priority(cpu);
    lr & zero == 0 && is_intid(vintid(lr), cpu)
}

/// Returns the low bits of Priority that the virtual interface does not have.
fn unimplemented_priority(cpu: &CpuFeatures) -> u64 {
    let missing = PRIORITY_BITS.saturating_sub(cpu.priority_bits.saturating_add(1));
    ((1 << missing) - 1) << LR_PRIORITY_SHIFT
}

fn is_intid(intid: u64, cpu: &CpuFeatures) -> bool {
    let end = 1 << cpu.intid_bits;
    intid <= INTID_COMMON_LAST
        || (INTID_LPI_FIRST..end).contains(&intid)
        || cpu.extended_intids && (INTID_EPPI.contains(&intid) || INTID_ESPI.contains(&intid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rec::tests::cpu;

    const PENDING: u64 = 1 << 62;
    const ACTIVE: u64 = 1 << 63;

    fn check_one(n: usize, lr: u64, cpu: &CpuFeatures) -> Result<(), InvalidGic> {
        let mut lrs = [0; 16];
        lrs[n] = lr;
        check(0, &lrs, cpu)
    }

    #[test]
    fn hcr_accepts_exactly_the_hosts_bits() {
        for bit in 0..64 {
            let is_hosts = matches!(bit, 1..=7 | 14);
            assert_eq!(
                check(1 << bit, &[0; 16], &cpu()).is_ok(),
                is_hosts,
                "bit {bit}"
            );
        }
    }

    #[test]
    fn live_list_register_must_be_valid() {
        let cpu = cpu();
        for state in [PENDING, ACTIVE, PENDING | ACTIVE] {
            assert_eq!(check_one(0, state | 27 | 0xF8 << 48, &cpu), Ok(()));
            assert_eq!(check_one(0, state | 27 | LR_EOI | 1 << 60, &cpu), Ok(()));
            for bit in (32..=40).chain(42..=50).chain(56..=59).chain([61]) {
                let lr = state | 27 | 1 << bit;
                assert_eq!(check_one(0, lr, &cpu), Err(InvalidGic), "bit {bit}");
            }
        }
    }

    #[test]
    fn dead_list_register_must_not_name_a_physical_interrupt() {
        let cpu = cpu();
        assert_eq!(check_one(3, !(LR_STATE | LR_HW), &cpu), Ok(()));
        assert_eq!(check_one(3, LR_HW, &cpu), Err(InvalidGic));
        assert_eq!(check_one(4, LR_HW, &cpu), Ok(()));
    }

    #[test]
    fn missing_list_registers_are_not_looked_at() {
        let cpu = cpu();
        assert_eq!(check_one(3, LR_HW | PENDING, &cpu), Err(InvalidGic));
        assert_eq!(check_one(4, LR_HW | PENDING, &cpu), Ok(()));
        let mut gic = GicState::default();
        enter(&mut gic, 0x4002, &[PENDING; 16], &cpu);
        assert_eq!(gic.lrs[..4], [PENDING; 4]);
        assert_eq!(gic.lrs[4..], [0; 12]);
        assert_eq!(gic.hcr, 0xC103);
    }

    #[test]
    fn vintid_is_in_a_range_of_the_machine() {
        let mut cpu = cpu();
        let cases = [
            (0, true, true),
            (1019, true, true),
            (1020, false, false),
            (1055, false, false),
            (1056, false, true),
            (1119, false, true),
            (1120, false, false),
            (4096, false, true),
            (5119, false, true),
            (5120, false, false),
            (8191, false, false),
            (8192, true, true),
            (0xFFFF, true, true),
            (0x1_0000, false, false),
        ];
        cpu.intid_bits = 16;
        for (intid, plain, extended) in cases {
            for (is_extended, expected) in [(false, plain), (true, extended)] {
                cpu.extended_intids = is_extended;
                let result = check_one(0, PENDING | intid, &cpu);
                assert_eq!(result.is_ok(), expected, "{intid} {is_extended}");
            }
        }
        cpu.intid_bits = 24;
        assert_eq!(check_one(0, PENDING | 0xFF_FFFF, &cpu), Ok(()));
        assert_eq!(check_one(0, PENDING | 0x100_0000, &cpu), Err(InvalidGic));
    }

    #[test]
    fn vintid_is_not_repeated_in_live_list_registers() {
        let mut lrs = [0; 16];
        lrs[0] = PENDING | 27;
        lrs[2] = ACTIVE | 27;
        assert_eq!(check(0, &lrs, &cpu()), Err(InvalidGic));
        lrs[2] = 27;
        assert_eq!(check(0, &lrs, &cpu()), Ok(()));
        lrs[0] = 27;
        lrs[2] = ACTIVE | 27;
        assert_eq!(check(0, &lrs, &cpu()), Ok(()));
    }

    #[test]
    fn visible_hcr_is_the_count_and_the_hosts_bits() {
        let gic = GicState {
            hcr: u64::MAX,
            ..GicState::default()
        };
        assert_eq!(visible_hcr(&gic), 0xF800_40FE);
    }
}
