// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Loads and stores that the Host emulates.
//!
//! The Host learns the address, the direction, the size and the value that is stored. Which register
//! a load fills and how it is extended stays between the monitor and the Realm.

use rmi::Syndrome;
use rmm_hal::RecContext;

use crate::rec::context::skip_instruction;
use crate::rec::syndrome::Esr;

/// Returns what an emulatable access shows the Host of its registers: the value of a store, cut to
/// the size of the access; zero for a load.
pub(crate) fn visible_value(esr: u64, gprs: &[u64; 31]) -> u64 {
    let access = Syndrome::new(esr);
    if !access.is_write() {
        return 0;
    }
    truncate(Esr(esr).access_register().read(gprs), access.access_bytes())
}

/// Ends an access that the Host emulated: fills the register of a load from the value the Host gave,
/// and goes on behind the instruction.
pub(crate) fn complete(context: &mut RecContext, esr: u64, host_value: u64) {
    let access = Syndrome::new(esr);
    if !access.is_write() {
        let register = Esr(esr).access_register();
        register.write(&mut context.gprs, extend(access, host_value));
    }
    skip_instruction(context);
}

/// Extends a loaded value to the width of its register.
fn extend(access: Syndrome, value: u64) -> u64 {
    let bits = 8 * access.access_bytes();
    let value = truncate(value, access.access_bytes());
    let unused = u64::BITS.saturating_sub(u32::try_from(bits).unwrap_or(u64::BITS));
    let value = if access.is_sign_extending() {
        (value.cast_signed() << unused >> unused).cast_unsigned()
    } else {
        value
    };
    if access.is_register_64() {
        value
    } else {
        value & 0xFFFF_FFFF
    }
}

fn truncate(value: u64, bytes: usize) -> u64 {
    match bytes {
        1 => value & 0xFF,
        2 => value & 0xFFFF,
        4 => value & 0xFFFF_FFFF,
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rec::tests::context;

    const VALUE: u64 = 0x8182_8384_8586_8788;

    /// Syndrome of an access: log2 of its size, sign extension, register, 64-bit register, write.
    fn esr(sas: u64, sse: u64, srt: u64, sf: u64, wnr: u64) -> u64 {
        0x24 << 26 | 1 << 25 | 1 << 24 | sas << 22 | sse << 21 | srt << 16 | sf << 15 | wnr << 6 | 7
    }

    #[test]
    fn load_fills_its_register_as_the_instruction_would() {
        let cases = [
            (0, 0, 0, 0x88),
            (0, 0, 1, 0x88),
            (0, 1, 0, 0xFFFF_FF88),
            (0, 1, 1, 0xFFFF_FFFF_FFFF_FF88),
            (1, 0, 0, 0x8788),
            (1, 1, 0, 0xFFFF_8788),
            (1, 1, 1, 0xFFFF_FFFF_FFFF_8788),
            (2, 0, 0, 0x8586_8788),
            (2, 1, 1, 0xFFFF_FFFF_8586_8788),
            (3, 0, 1, VALUE),
        ];
        for (sas, sse, sf, expected) in cases {
            let mut context = context();
            context.pc = 0x1000;
            context.gprs = [0x55; 31];
            complete(&mut context, esr(sas, sse, 7, sf, 0), VALUE);
            assert_eq!(context.gprs[7], expected, "{sas} {sse} {sf}");
            assert_eq!(context.gprs[6], 0x55);
            assert_eq!(context.pc, 0x1004);
        }
    }

    #[test]
    fn load_sign_extends_positive_values_too() {
        let mut context = context();
        complete(&mut context, esr(0, 1, 0, 1, 0), 0xFF7F);
        assert_eq!(context.gprs[0], 0x7F);
    }

    #[test]
    fn load_into_the_zero_register_is_lost() {
        let mut context = context();
        context.gprs = [0x55; 31];
        complete(&mut context, esr(3, 0, 31, 1, 0), VALUE);
        assert_eq!(context.gprs, [0x55; 31]);
        assert_eq!(context.pc, 4);
    }

    #[test]
    fn store_changes_no_register() {
        let mut context = context();
        context.gprs = [0x55; 31];
        complete(&mut context, esr(3, 0, 7, 1, 1), VALUE);
        assert_eq!(context.gprs, [0x55; 31]);
        assert_eq!(context.pc, 4);
    }

    #[test]
    fn host_sees_what_is_stored_and_no_more() {
        let mut gprs = [0x55; 31];
        gprs[9] = VALUE;
        for (sas, expected) in [(0, 0x88), (1, 0x8788), (2, 0x8586_8788), (3, VALUE)] {
            assert_eq!(visible_value(esr(sas, 0, 9, 1, 1), &gprs), expected);
            assert_eq!(visible_value(esr(sas, 0, 9, 1, 0), &gprs), 0);
            assert_eq!(visible_value(esr(sas, 0, 31, 1, 1), &gprs), 0);
        }
    }
}
