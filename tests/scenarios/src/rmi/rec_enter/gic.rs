// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The condition `rec_gicv3`, field by field: what the Host may say of virtual interrupts, and what not
//! (RMM specification A6.1; GIC architecture, `ICH_HCR_EL2` and `ICH_LR<n>_EL2`).

use rmi::{CommandId, RecExit};

use super::{base, edit_enter};
use crate::check;
use crate::contract::{Call, refuse};
use crate::outcome::{Outcome, Reply};
use crate::port::GRANULE;
use crate::world::World;

/// `ICH_HCR_EL2`: what belongs to the Host.
const HOST: u64 = 0b1111_1110 | 1 << 14;
/// `ICH_HCR_EL2.EOIcount`.
const END_COUNT: u64 = 0x1F << 27;

/// `ICH_LR<n>_EL2`: the three states of an interrupt, its group, the physical interrupt that it ends, the
/// maintenance interrupt that its end makes, and where its priority is.
const STATES: [u64; 3] = [1 << 62, 2 << 62, 3 << 62];
const GROUP1: u64 = 1 << 60;
const HW: u64 = 1 << 61;
const END: u64 = 1 << 41;
const PRIORITY_SHIFT: u32 = 48;
const PRIORITY_BITS: u8 = 8;
/// An interrupt that is everywhere.
const INTID: u64 = 27;

fn list_registers(w: &mut World<'_>) -> Outcome<usize> {
    Ok(usize::from(w.features()?.gicv3_num_lrs()) + 1)
}

/// Prepares an entry with these list registers.
fn list(w: &mut World<'_>, call: &Call, lrs: &[(usize, u64)]) -> Outcome {
    edit_enter(w, call, |enter| {
        for (slot, lr) in lrs {
            enter.gicv3_lrs[*slot] = *lr;
        }
    })
    .map(|_| ())
}

/// Requires that an entry is refused.
fn refused(w: &mut World<'_>, call: &Call, lrs: &[(usize, u64)]) -> Outcome {
    list(w, call, lrs)?;
    let reply = w.call_raw(call.registers);
    check!(reply == Reply::rec(), "{lrs:x?}: {reply:?}");
    Ok(())
}

/// Makes an entry that has to be admitted, and returns its exit.
fn admitted(w: &mut World<'_>, call: &Call) -> Outcome<RecExit> {
    let reply = w.call_raw(call.registers);
    w.check_reply(CommandId::RecEnter, reply, Reply::SUCCESS)?;
    w.read_page(call.get("run_ptr") + GRANULE / 2)
}

/// Each bit of the interrupt controls that is not the Host's is refused; each that is, is not, and comes
/// back.
pub(super) fn gicv3_hcr_bits(w: &mut World<'_>) -> Outcome {
    let call = base(w)?;
    for bit in 0..64 {
        let hcr = 1 << bit;
        edit_enter(w, &call, |enter| enter.gicv3_hcr = hcr)?;
        if HOST & hcr == 0 {
            refuse(w, &call, Reply::rec())?;
            continue;
        }
        let shown = admitted(w, &call)?.gicv3_hcr;
        check!(shown & !END_COUNT == hcr, "{hcr:#x} comes back {shown:#x}");
    }
    Ok(())
}

/// Fields that a list register must not have set: those without a meaning, the physical interrupt, and
/// priorities that are not implemented.
pub(super) fn gicv3_lr_fields(w: &mut World<'_>) -> Outcome {
    let call = base(w)?;
    let last = list_registers(w)? - 1;
    let missing = PRIORITY_BITS.saturating_sub(w.port.facts().priority_bits);
    let low_priority = PRIORITY_SHIFT..PRIORITY_SHIFT + u32::from(missing);
    let pintid = (32..45).filter(|bit| 1 << bit != END);
    let reserved = (45..48).chain(56..59);
    let bad = pintid.chain(reserved).chain(low_priority).chain([61]);
    for bit in bad {
        for state in STATES {
            for slot in [0, last] {
                let lr = state | GROUP1 | INTID | 1 << bit;
                refused(w, &call, &[(slot, lr)])?;
            }
        }
    }
    // The physical interrupt is nobody's business in any state.
    refused(w, &call, &[(last, HW)])?;
    refused(w, &call, &[(0, HW | INTID)])?;
    list(w, &call, &[(0, HW)])?;
    refuse(w, &call, Reply::rec())
}

/// Numbers that are no interrupt. Where the extended ranges are depends on the machine.
pub(super) fn gicv3_intids(w: &mut World<'_>) -> Outcome {
    let call = base(w)?;
    for intid in [
        1020,
        1021,
        1023,
        1024,
        1055,
        1120,
        2048,
        4095,
        5120,
        8191,
        1 << 24,
        1 << 31,
        0xFFFF_FFFF,
    ] {
        for state in STATES {
            refused(w, &call, &[(0, state | GROUP1 | intid)])?;
        }
    }
    Ok(())
}

/// An interrupt is in one list register at a time.
pub(super) fn gicv3_lr_repeated(w: &mut World<'_>) -> Outcome {
    let call = base(w)?;
    let count = list_registers(w)?;
    for second in 1..count {
        for first in 0..second {
            for (one, other) in [(0, 0), (0, 1), (1, 2), (2, 2)] {
                let [one, other] = [STATES[one] | INTID, STATES[other] | INTID];
                refused(w, &call, &[(first, one), (second, other)])?;
            }
        }
        // Neither is in use, or one only.
        for state in [0, STATES[1]] {
            list(w, &call, &[(0, state | INTID), (second, INTID)])?;
            admitted(w, &call)?;
        }
    }
    Ok(())
}

/// What the Host may say comes back as it was: the Realm has not run.
pub(super) fn gicv3_lr_valid(w: &mut World<'_>) -> Outcome {
    let call = base(w)?;
    let last = list_registers(w)? - 1;
    let lowest = 0x100 - (0x100 >> w.port.facts().priority_bits);
    for state in STATES {
        for fields in [0, GROUP1, END, GROUP1 | lowest << PRIORITY_SHIFT] {
            for intid in [0, 15, 16, 31, 32, 1019, 8192, 0xFFFF] {
                let lr = state | fields | intid;
                list(w, &call, &[(last, lr)])?;
                let exit = admitted(w, &call)?;
                let mut wanted = [0; 16];
                wanted[last] = lr;
                check!(exit.gicv3_lrs == wanted, "{lr:#x}: {:x?}", exit.gicv3_lrs);
            }
        }
    }
    // One that is not in use may have anything in it but HW.
    list(w, &call, &[(0, !(3 << 62 | HW))])?;
    admitted(w, &call).map(|_| ())
}
