// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Stage 1: fixed tables of 1 GiB blocks, the same on every vCPU.
//!
//! | virtual addresses | what is there |
//! |---|---|
//! | 0, 512 GiB | the Realm's address space, at its own addresses |
//! | [`BEYOND`], 512 GiB | the first addresses beyond the Realm's space |
//! | [`USER`], 512 GiB | the Realm's address space as EL0 sees it |
//! | [`USER_SHARED`], 512 GiB | the shared half as EL0 sees it |
//! | [`DEVICE_CODE`], 1 GiB | the devices of a normal VM, as if they were code of EL1 |
//! | [`DEVICE_USER_CODE`], 1 GiB | the same for EL0 |
//! | [`SHARED`], 512 GiB | the shared half, from its first address (`TTBR1_EL1`) |
//!
//! The lowest 2 GiB of every view are device memory, where the machine has its devices. Everything
//! else can be written and executed: a scenario may ask for any access anywhere.

use core::sync::atomic::{AtomicU64, Ordering};

use test_realm::protocol::{BEYOND_VIEW, SHARED_VIEW, USER_SHARED_VIEW, USER_VIEW};

use crate::regs::read_sysreg;
use crate::tagging;

/// First virtual address of the view beyond the Realm's address space.
pub(crate) const BEYOND: u64 = BEYOND_VIEW;
/// First virtual address of EL0's view of the Realm's own half.
pub(crate) const USER: u64 = USER_VIEW;
/// First virtual address of EL0's view of the shared half.
pub(crate) const USER_SHARED: u64 = USER_SHARED_VIEW;
/// First virtual address of the shared half.
pub(crate) const SHARED: u64 = SHARED_VIEW;

/// First virtual address of the devices as code of EL1.
pub(crate) const DEVICE_CODE: u64 = 4 << 39;
/// First virtual address of the devices as code of EL0.
pub(crate) const DEVICE_USER_CODE: u64 = DEVICE_CODE + BLOCK_BYTES;

const ENTRIES: usize = 512;
const BLOCK_BYTES: u64 = 1 << 30;
/// Blocks of device memory at the start of a view.
const DEVICE_BLOCKS: u64 = 2;
/// Widest address that a descriptor of this format holds, in bits.
const MAX_ADDRESS_BITS: u32 = 48;

/// A valid block.
const BLOCK: u64 = 0b01;
/// A valid table.
const TABLE: u64 = 0b11;
/// Attribute index 1: device.
const DEVICE: u64 = 1 << 2;
/// EL0 may access.
const EL0: u64 = 1 << 6;
/// Inner shareable.
const SHAREABLE: u64 = 0b11 << 8;
/// Accessed.
const ACCESSED: u64 = 1 << 10;
/// EL1 may not execute.
const PXN: u64 = 1 << 53;
/// EL0 may not execute.
const UXN: u64 = 1 << 54;

/// Attribute 0 is normal write-back memory, 1 is Device-nGnRE.
const MAIR: u64 = 0x04FF;
/// The same with tags.
const MAIR_TAGGED: u64 = 0x04F0;
/// 48-bit addresses in both halves, 4 KiB granules, write-back inner-shareable walks.
const TCR: u64 = 16 | 1 << 8 | 1 << 10 | 3 << 12 | 16 << 16 | 1 << 24 | 1 << 26 | 3 << 28 | 2 << 30;
/// `TCR_EL1.IPS`.
const TCR_IPS_SHIFT: u32 = 32;
/// Bits that are one, stack alignment check, caches, MMU; EL0 may use caches and `DC ZVA`.
const SCTLR: u64 = 0x30D0_0800 | 1 << 26 | 1 << 15 | 1 << 14 | 1 << 12 | 1 << 3 | 1 << 2 | 1;

#[repr(C, align(4096))]
struct Table([AtomicU64; ENTRIES]);

impl Table {
    const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; ENTRIES])
    }

    fn set(&self, index: usize, entry: u64) {
        self.0[index].store(entry, Ordering::Relaxed);
    }

    fn point_to(&self, index: usize, table: &Self) {
        self.set(index, core::ptr::from_ref(table) as u64 | TABLE);
    }

    /// Maps 512 GiB from `base`, or as much of it as a descriptor can address.
    fn map(&self, base: u64, normal: u64, device: u64) {
        for (index, block) in (0..ENTRIES as u64).enumerate() {
            let address = base + block * BLOCK_BYTES;
            if address >> MAX_ADDRESS_BITS != 0 {
                return;
            }
            let kind = if block < DEVICE_BLOCKS {
                device | DEVICE | PXN | UXN
            } else {
                normal
            };
            self.set(index, address | kind | BLOCK | SHAREABLE | ACCESSED);
        }
    }
}

static LOW_ROOT: Table = Table::new();
static HIGH_ROOT: Table = Table::new();
static OWN: Table = Table::new();
static FAR: Table = Table::new();
static USER_OWN: Table = Table::new();
static USER_ALIAS: Table = Table::new();
static ALIAS: Table = Table::new();
static CODE: Table = Table::new();

unsafe extern "C" {
    fn mmu_on(ttbr0: u64, ttbr1: u64, mair: u64, tcr: u64, sctlr: u64);
}

/// Fills the tables for an address space of `ipa_bits`, whose upper half starts at `shared`.
///
/// For a normal VM, `shared` is zero: there is one half and no alias.
pub(crate) fn build(ipa_bits: u32, shared: u64) {
    LOW_ROOT.point_to(0, &OWN);
    LOW_ROOT.point_to(1, &FAR);
    LOW_ROOT.point_to(2, &USER_OWN);
    LOW_ROOT.point_to(3, &USER_ALIAS);
    HIGH_ROOT.point_to(0, &ALIAS);
    if shared == 0 {
        // Nothing there can be fetched, whatever stage 1 says: stage 2 decides.
        LOW_ROOT.point_to(4, &CODE);
        let code = BLOCK | SHAREABLE | ACCESSED;
        CODE.set(0, code | UXN);
        CODE.set(1, code | EL0 | PXN);
    }
    OWN.map(0, UXN, 0);
    // The view beyond has no devices, but is mapped like any other.
    FAR.map(1 << ipa_bits, UXN, 0);
    USER_OWN.map(0, EL0 | PXN, EL0);
    USER_ALIAS.map(shared, EL0 | PXN, EL0);
    ALIAS.map(shared, UXN, 0);
}

/// Turns the MMU of this vCPU on. The tables are built.
pub(crate) fn enable() {
    let range = (read_sysreg!("id_aa64mmfr0_el1") & 0xF).min(5);
    let (mair, sctlr) = if tagging::is_there() {
        (MAIR_TAGGED, SCTLR | tagging::SCTLR_TAGS)
    } else {
        (MAIR, SCTLR)
    };
    let roots = [&LOW_ROOT, &HIGH_ROOT].map(|root| core::ptr::from_ref(root) as u64);
    // SAFETY: the tables map this image and its devices at the addresses they have without the MMU.
    unsafe {
        mmu_on(
            roots[0],
            roots[1],
            mair,
            TCR | range << TCR_IPS_SHIFT,
            sctlr,
        );
    }
}

/// Returns where EL0 sees an address of the Realm's own half.
pub(crate) fn user_view(address: u64) -> u64 {
    USER + address
}
