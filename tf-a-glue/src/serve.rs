// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The end of a boot, and the loop that answers the Host.
//!
//! The SMC that ends a boot or a command returns with the next command on this PE, perhaps much later and
//! from another context of the Host: nothing may be held across it.

use crate::boot_args::BootError;
use crate::calls::{RMI_REQ_COMPLETE, RMM_BOOT_COMPLETE, Smc};

/// Answers commands for ever: ends the boot of this PE, then hands every command to `handle`.
///
/// `handle` gets X0 to X7 as EL3 forwards them, the SVE hint still in the function identifier, and
/// returns X0 to X7 for the Host. Interface 0 passes five of them on and interface 2 all eight.
///
/// The activation token (interface 0.7 and later) is zero: this RMM keeps nothing in it.
pub fn serve<S: Smc>(smc: &S, mut handle: impl FnMut(&[u64; 8]) -> [u64; 8]) -> ! {
    let mut registers = [RMM_BOOT_COMPLETE, 0, 0, 0, 0, 0, 0, 0, 0];
    loop {
        smc.call(&mut registers);
        let [command @ .., _] = &registers;
        let [x0, x1, x2, x3, x4, x5, x6, x7] = handle(command);
        registers = [RMI_REQ_COMPLETE, x0, x1, x2, x3, x4, x5, x6, x7];
    }
}

/// Tells EL3 why this PE cannot serve. EL3 never gives it a command.
pub fn refuse_boot<S: Smc>(smc: &S, error: BootError) {
    smc.call(&mut [
        RMM_BOOT_COMPLETE,
        error.code().cast_unsigned(),
        0,
        0,
        0,
        0,
        0,
        0,
        0,
    ]);
}

#[cfg(test)]
mod tests {
    extern crate std;

    use core::cell::RefCell;
    use std::vec::Vec;

    use super::*;
    use crate::calls::SmcRegisters;

    /// An EL3 with a list of commands; it unwinds when they run out, as `serve` never returns.
    struct FakeEl3 {
        commands: RefCell<Vec<[u64; 8]>>,
        seen: RefCell<Vec<SmcRegisters>>,
    }

    impl FakeEl3 {
        fn new(commands: &[[u64; 8]]) -> Self {
            let commands = commands.iter().rev().copied().collect();
            Self {
                commands: RefCell::new(commands),
                seen: RefCell::default(),
            }
        }
    }

    impl Smc for FakeEl3 {
        fn call(&self, registers: &mut SmcRegisters) {
            self.seen.borrow_mut().push(*registers);
            let command = self.commands.borrow_mut().pop().expect("no more commands");
            registers[..8].copy_from_slice(&command);
        }
    }

    #[test]
    fn serve_answers_each_command_with_eight_registers() {
        let el3 = FakeEl3::new(&[[0xC400_0150, 1, 2, 3, 4, 5, 6, 7], [0xC401_0151; 8]]);
        let mut handled = Vec::new();
        let serving = std::panic::AssertUnwindSafe(|| {
            serve(&el3, |command| {
                handled.push(*command);
                [10, 11, 12, 13, 14, 15, 16, 17]
            })
        });
        assert!(std::panic::catch_unwind(serving).is_err());
        assert_eq!(
            handled,
            [[0xC400_0150, 1, 2, 3, 4, 5, 6, 7], [0xC401_0151; 8]]
        );
        let seen = el3.seen.borrow();
        assert_eq!(seen[0], [0xC400_01CF, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(seen[1], [0xC400_018F, 10, 11, 12, 13, 14, 15, 16, 17]);
        assert_eq!(seen[2], seen[1]);
    }

    #[test]
    fn refusal_is_sign_extended() {
        let el3 = FakeEl3::new(&[[0; 8]]);
        refuse_boot(&el3, BootError::ManifestData);
        assert_eq!(
            el3.seen.borrow()[0][..2],
            [0xC400_01CF, 0xFFFF_FFFF_FFFF_FFF9]
        );
    }
}
