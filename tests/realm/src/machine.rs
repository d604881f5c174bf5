// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The machine that a Host of this project gives its guests (`host/vmm`, `machine.rs`).
//!
//! In a Realm every device is in the shared half of the address space.

use core::num::NonZero;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

use rmi::rsi::RsiCommand;

use crate::{mmu, smc};

/// The interrupt distributor.
pub(crate) const GICD: u64 = 0x0800_0000;
/// The redistributors.
pub(crate) const GICR: u64 = 0x080A_0000;
/// The PL011.
pub(crate) const UART: u64 = 0x0900_0000;
/// The PL031 of a normal VM.
pub(crate) const CLOCK: u64 = 0x0901_0000;
/// INTID of the virtual timer.
pub(crate) const VIRTUAL_TIMER: u32 = 27;
/// INTID of the physical timer.
pub(crate) const PHYSICAL_TIMER: u32 = 30;

/// The RSI version that the payload speaks: 1.0.
pub(crate) const RSI_VERSION: u64 = 1 << 16;
/// Room that the host keeps for a device tree.
const TREE_BYTES: usize = 0x1_0000;
/// Address bits of a machine that is no Realm.
const NORMAL_IPA_BITS: u64 = 40;

/// Bits of a Realm's addresses; zero in a normal VM.
static IPA_BITS: AtomicU64 = AtomicU64::new(0);

/// Address of the device tree.
static DEVICE_TREE: AtomicU64 = AtomicU64::new(0);

/// Finds out what runs this payload and builds the tables for it. MMU off. `device_tree` is where the
/// device tree is, or zero.
pub(crate) fn discover(device_tree: u64) {
    DEVICE_TREE.store(device_tree, Ordering::Relaxed);
    let [status, ..] = smc::rsi(RsiCommand::Version, &[RSI_VERSION]);
    let bits = if status == 0 {
        smc::realm_config().map_or(0, |config| config.ipa_width)
    } else {
        0
    };
    IPA_BITS.store(bits, Ordering::Relaxed);
    let width = if bits == 0 { NORMAL_IPA_BITS } else { bits };
    mmu::build(width as u32, shared_base());
}

/// Tells whether this is a Realm.
pub(crate) fn is_realm() -> bool {
    ipa_bits() != 0
}

/// Returns the bits of a Realm's addresses.
pub(crate) fn ipa_bits() -> u64 {
    IPA_BITS.load(Ordering::Relaxed)
}

/// Returns the number behind a word of the command line, if the device tree has it.
pub(crate) fn option(word: &str) -> Option<u64> {
    let tree: NonNull<u8> = own(DEVICE_TREE.load(Ordering::Relaxed))?;
    // SAFETY: a device tree of at most this size is there, and nobody writes it.
    let bytes = unsafe { core::slice::from_raw_parts(tree.as_ptr(), TREE_BYTES) };
    let at = bytes
        .windows(word.len())
        .position(|part| part == word.as_bytes())?;
    let digits = bytes[at + word.len()..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// Returns a place in the payload's own half; nothing at zero.
fn own<T>(address: u64) -> Option<NonNull<T>> {
    NonZero::new(address as usize).map(NonNull::with_exposed_provenance)
}

/// Returns the first address of the shared half; zero in a normal VM.
pub(crate) fn shared_base() -> u64 {
    ipa_bits().checked_sub(1).map_or(0, |bit| 1 << bit)
}

/// Returns where a device, or the shared alias of memory, is mapped.
pub(crate) fn shared<T>(ipa: u64) -> NonNull<T> {
    let address = (mmu::SHARED + ipa) as usize;
    NonNull::with_exposed_provenance(address.try_into().expect("the view is not at zero"))
}
