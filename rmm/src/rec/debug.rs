// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Self-hosted debug as a Realm sees it: its own breakpoints, watchpoints and software step.
//!
//! Every access traps, so that a Realm reaches exactly the breakpoints and watchpoints it was made with
//! (`num_bps`, `num_wps`) and nothing of external debug: not the communication channel, whose registers
//! are one per PE, not power requests, and of `MDSCR_EL1` only what belongs to self-hosted debug.

use rmm_hal::DebugState;
use rmm_hal::registers::DebugRegister;

use crate::rec::object::RealmTraits;

/// `MDSCR_EL1` fields of self-hosted debug: SS, TDCC, KDE, MDE.
const MDSCR: u64 = DebugState::MDSCR_SS | 1 << 12 | 1 << 13 | DebugState::MDSCR_MDE;
/// `DBGBCR<n>_EL1` fields: E, PMC, BAS, HMC, SSC, LBN, BT.
const BREAKPOINT_CONTROL: u64 = 0x00FF_E1E7;
/// `DBGWCR<n>_EL1` fields: E, PAC, LSC, BAS, HMC, SSC, LBN, WT, MASK.
const WATCHPOINT_CONTROL: u64 = 0x1F1F_FFFF;
/// `DBGWVR<n>_EL1`: the address of a word.
const WATCHPOINT_VALUE: u64 = !0b11;
/// `OSLAR_EL1.OSLK`.
const OSLAR_OSLK: u64 = 1;
/// `OSLSR_EL1.OSLM`: the OS lock is implemented; its own bit is next to it.
const OSLSR_OSLM: u64 = 1 << 3;
const OSLSR_OSLK_SHIFT: u32 = 1;
/// The claim tags of the architecture.
const CLAIM: u64 = 0xFF;

/// Returns what the Realm reads from a register; `n` is the number of the breakpoint or watchpoint.
/// Nothing if it has none such.
pub(crate) fn read(
    register: DebugRegister,
    n: u8,
    state: &DebugState,
    realm: &RealmTraits,
) -> Option<u64> {
    match register {
        DebugRegister::Control => Some(state.mdscr),
        DebugRegister::BreakpointValue => numbered(&state.bvr, n, realm.breakpoints),
        DebugRegister::BreakpointControl => numbered(&state.bcr, n, realm.breakpoints),
        DebugRegister::WatchpointValue => numbered(&state.wvr, n, realm.watchpoints),
        DebugRegister::WatchpointControl => numbered(&state.wcr, n, realm.watchpoints),
        DebugRegister::OsLock => None,
        DebugRegister::OsLockStatus => Some(OSLSR_OSLM | state.os_lock << OSLSR_OSLK_SHIFT),
        DebugRegister::ClaimSet => Some(CLAIM),
        DebugRegister::ClaimClear => Some(state.claim),
    }
}

/// Writes a register for the Realm. Nothing if it has none such.
pub(crate) fn write(
    register: DebugRegister,
    n: u8,
    value: u64,
    state: &mut DebugState,
    realm: &RealmTraits,
) -> Option<()> {
    match register {
        DebugRegister::Control => state.mdscr = value & MDSCR,
        DebugRegister::BreakpointValue => {
            *numbered_mut(&mut state.bvr, n, realm.breakpoints)? = value;
        }
        DebugRegister::BreakpointControl => {
            *numbered_mut(&mut state.bcr, n, realm.breakpoints)? = value & BREAKPOINT_CONTROL;
        }
        DebugRegister::WatchpointValue => {
            *numbered_mut(&mut state.wvr, n, realm.watchpoints)? = value & WATCHPOINT_VALUE;
        }
        DebugRegister::WatchpointControl => {
            *numbered_mut(&mut state.wcr, n, realm.watchpoints)? = value & WATCHPOINT_CONTROL;
        }
        DebugRegister::OsLock => state.os_lock = value & OSLAR_OSLK,
        DebugRegister::OsLockStatus => return None,
        DebugRegister::ClaimSet => state.claim |= value & CLAIM,
        DebugRegister::ClaimClear => state.claim &= !value,
    }
    Some(())
}

fn numbered(registers: &[u64; 16], n: u8, last: u8) -> Option<u64> {
    registers.get(usize::from(n)).copied().filter(|_| n <= last)
}

fn numbered_mut(registers: &mut [u64; 16], n: u8, last: u8) -> Option<&mut u64> {
    registers.get_mut(usize::from(n)).filter(|_| n <= last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rec::tests::realm_traits;

    fn realm() -> RealmTraits {
        let mut realm = realm_traits();
        (realm.breakpoints, realm.watchpoints) = (2, 1);
        realm
    }

    fn written(register: DebugRegister, n: u8, value: u64) -> Option<DebugState> {
        let mut state = DebugState::default();
        write(register, n, value, &mut state, &realm()).map(|()| state)
    }

    #[test]
    fn breakpoints_and_watchpoints_end_where_the_realm_was_told() {
        use DebugRegister::{
            BreakpointControl, BreakpointValue, WatchpointControl, WatchpointValue,
        };
        for (register, last) in [
            (BreakpointValue, 2),
            (BreakpointControl, 2),
            (WatchpointValue, 1),
            (WatchpointControl, 1),
        ] {
            for n in 0..16 {
                let state = written(register, n, 1 << 2);
                assert_eq!(state.is_some(), n <= last, "{register:?} {n}");
                let state = state.unwrap_or_default();
                let value = (n <= last).then_some(1 << 2);
                assert_eq!(read(register, n, &state, &realm()), value);
            }
        }
    }

    #[test]
    fn fields_of_external_debug_do_not_stick() {
        let state = written(DebugRegister::Control, 2, u64::MAX).unwrap();
        assert_eq!(state.mdscr, 1 << 15 | 1 << 13 | 1 << 12 | 1);
        assert_eq!(
            read(DebugRegister::Control, 2, &state, &realm()),
            Some(0xB001)
        );
        let control = |register| {
            let state = written(register, 0, u64::MAX).unwrap();
            read(register, 0, &state, &realm())
        };
        assert_eq!(control(DebugRegister::BreakpointControl), Some(0x00FF_E1E7));
        assert_eq!(control(DebugRegister::WatchpointControl), Some(0x1F1F_FFFF));
        assert_eq!(control(DebugRegister::WatchpointValue), Some(!0b11));
        assert_eq!(control(DebugRegister::BreakpointValue), Some(u64::MAX));
    }

    #[test]
    fn os_lock_is_taken_and_left_by_its_access_register() {
        let mut state = DebugState::default();
        for (value, status) in [(1, 0b1010), (0, 0b1000), (u64::MAX, 0b1010)] {
            let lock = DebugRegister::OsLock;
            assert!(write(lock, 4, value, &mut state, &realm()).is_some());
            let seen = read(DebugRegister::OsLockStatus, 4, &state, &realm());
            assert_eq!(seen, Some(status));
        }
        assert_eq!(read(DebugRegister::OsLock, 4, &state, &realm()), None);
        assert!(written(DebugRegister::OsLockStatus, 4, 0).is_none());
    }

    #[test]
    fn claim_tags_are_set_and_cleared_one_by_one() {
        let mut state = DebugState::default();
        write(
            DebugRegister::ClaimSet,
            8,
            u64::MAX << 4,
            &mut state,
            &realm(),
        );
        write(DebugRegister::ClaimClear, 9, 0x30, &mut state, &realm());
        let tags = read(DebugRegister::ClaimClear, 9, &state, &realm());
        assert_eq!(tags, Some(0xC0));
        let possible = read(DebugRegister::ClaimSet, 8, &state, &realm());
        assert_eq!(possible, Some(0xFF));
    }
}
