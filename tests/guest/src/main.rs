// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `probe <what>`: what a Linux guest's user space can make of the debug and counter registers of its
//! CPUs, and of the allocation tags of its memory. See `README.md`.

#![no_std]
#![no_main]

mod counters;
mod debugger;
mod failure;
mod system;
mod tagged;
mod tags;

use core::arch::global_asm;
use core::ffi::{CStr, c_char};
use core::fmt::{self, Write};
use core::panic::PanicInfo;

use crate::failure::Failure;

global_asm!(include_str!("entry.S"));

/// Status of a program that found something wrong, and of one that was not told what to do.
const WRONG: usize = 1;
const USAGE: usize = 2;

/// Does what the argument says, if there is one; called from `entry.S`.
#[unsafe(no_mangle)]
extern "C" fn probe_main(argument: *const c_char) -> ! {
    let wanted = if argument.is_null() {
        c""
    } else {
        // SAFETY: the kernel ends each argument with a zero byte. Nobody changes it.
        unsafe { CStr::from_ptr(argument) }
    };
    match wanted.to_bytes() {
        b"debugger" => finish(debugger::check()),
        b"counters" => finish(counters::check()),
        b"tags" => finish(tags::check()),
        b"kept-tags" => finish(tags::keep()),
        b"no-tags" => finish(tags::check_none()),
        _ => {
            say(format_args!(
                "usage: probe debugger|counters|tags|kept-tags|no-tags"
            ));
            system::exit(USAGE)
        }
    }
}

fn finish(outcome: Result<impl fmt::Display, Failure>) -> ! {
    match outcome {
        Ok(report) => {
            say(format_args!("{report}"));
            system::exit(0)
        }
        Err(failure) => {
            say(format_args!("{failure}"));
            system::exit(WRONG)
        }
    }
}

/// Prints a line.
fn say(text: fmt::Arguments<'_>) {
    // There is nobody to tell that the output does not take it.
    let _ = writeln!(Output, "{text}");
}

struct Output;

impl Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        system::print(text.as_bytes()).map_err(|_| fmt::Error)
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    say(format_args!("{info}"));
    system::exit(WRONG)
}
