// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The end of a payload that cannot go on.

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, Ordering};

use heapless::String;
use test_realm::protocol::{DIED_IMM, VALUES};

use crate::{console, smc};

/// Whether a Host drives the payload: then it hears of the end, else the console does.
static IS_DRIVEN: AtomicBool = AtomicBool::new(false);

/// Remembers that a Host drives the payload.
pub(crate) fn set_driven() {
    IS_DRIVEN.store(true, Ordering::Relaxed);
}

/// Tells whether a Host drives the payload.
pub(crate) fn is_driven() -> bool {
    IS_DRIVEN.load(Ordering::Relaxed)
}

/// Says what happened and stops.
pub(crate) fn fail(reason: fmt::Arguments<'_>) -> ! {
    if IS_DRIVEN.load(Ordering::Relaxed) {
        // The sentence, eight bytes in each value.
        let mut text: String<{ 8 * VALUES }> = String::new();
        let _ = text.write_fmt(reason);
        let mut values = [0; VALUES];
        for (value, bytes) in values.iter_mut().zip(text.as_bytes().chunks(8)) {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            *value = u64::from_le_bytes(word);
        }
        smc::host_call(DIED_IMM, &values);
    } else {
        console::line(format_args!("bailey-test: check payload fail {reason}"));
    }
    smc::system_off()
}
