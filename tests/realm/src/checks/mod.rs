// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The self-test: a list of checks, each of which ends with a line on the console.

mod calls;
mod instructions;
mod interrupts;
mod memory;
mod power;
mod probe;
mod registers;
mod tags;
mod token;
mod uart;

use core::fmt::{self, Write};

use heapless::String;

use crate::console;
use crate::{machine, smc};

/// Longest detail of a check in bytes; what is longer is cut.
const DETAIL_BYTES: usize = 112;

/// What a check says about its result.
pub(crate) type Detail = String<DETAIL_BYTES>;

/// The result of a check: what was found, or what is wrong.
pub(crate) type Verdict = Result<Detail, Detail>;

/// Returns a detail from a format string and its arguments.
macro_rules! detail {
    ($($text:tt)+) => {
        $crate::checks::to_detail(format_args!($($text)+))
    };
}

/// Ends a check unless the condition holds; the rest says what is wrong.
macro_rules! require {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err($crate::checks::to_detail(format_args!($($text)+)));
        }
    };
}

/// Writes a line that is no verdict.
macro_rules! tell {
    ($($text:tt)+) => {
        $crate::console::line(format_args!("bailey-test: {}", format_args!($($text)+)))
    };
}

pub(crate) use {detail, require, tell};

/// Where a check makes sense.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    Anywhere,
    RealmOnly,
    NormalOnly,
}

/// A check: its name, where it makes sense, and what it does.
type Check = (&'static str, Where, fn() -> Verdict);

/// Every check, in order.
const CHECKS: &[Check] = &[
    ("version", Where::RealmOnly, calls::version),
    ("features", Where::RealmOnly, calls::features),
    ("config", Where::RealmOnly, calls::config),
    ("measurement", Where::RealmOnly, calls::measurement),
    ("token", Where::RealmOnly, token::token),
    ("host-call", Where::RealmOnly, calls::host_call),
    ("unknown-calls", Where::RealmOnly, calls::unknown_calls),
    ("ipa-state", Where::RealmOnly, memory::ipa_state),
    ("empty", Where::RealmOnly, memory::empty),
    ("shared", Where::RealmOnly, memory::shared),
    ("execute", Where::RealmOnly, memory::execute),
    ("hole", Where::RealmOnly, memory::hole),
    ("beyond", Where::RealmOnly, memory::beyond),
    ("device-loads", Where::Anywhere, uart::loads),
    ("device-stores", Where::Anywhere, uart::stores),
    ("device-other", Where::RealmOnly, uart::not_described),
    ("device-fetch", Where::NormalOnly, memory::device_fetch),
    ("psci", Where::Anywhere, power::psci_calls),
    ("controller", Where::Anywhere, interrupts::controller),
    ("virtual-timer", Where::Anywhere, interrupts::virtual_timer),
    (
        "physical-timer",
        Where::Anywhere,
        interrupts::physical_timer,
    ),
    (
        "token-interrupted",
        Where::RealmOnly,
        token::token_interrupted,
    ),
    ("wait", Where::Anywhere, interrupts::wait),
    ("vcpus", Where::Anywhere, power::vcpus),
    ("sgis", Where::Anywhere, power::sgis),
    ("together", Where::Anywhere, power::together),
    ("tags", Where::NormalOnly, tags::fresh),
    ("kept", Where::NormalOnly, tags::kept),
    ("general-registers", Where::RealmOnly, registers::general),
    ("system-registers", Where::RealmOnly, registers::system),
    ("vectors", Where::RealmOnly, registers::vectors),
    ("scalable", Where::RealmOnly, registers::scalable),
    ("undefined", Where::RealmOnly, instructions::undefined),
    ("id-registers", Where::RealmOnly, instructions::id_registers),
    ("promises", Where::RealmOnly, instructions::promises),
    (
        "pointer-authentication",
        Where::RealmOnly,
        instructions::pointer_authentication,
    ),
    ("hints", Where::RealmOnly, instructions::hints),
    (
        "system-instructions",
        Where::RealmOnly,
        instructions::system_instructions,
    ),
    (
        "read-encodings",
        Where::RealmOnly,
        instructions::read_encodings,
    ),
    (
        "write-encodings",
        Where::RealmOnly,
        instructions::write_encodings,
    ),
];

/// Returns a detail; what is too long is cut.
pub(crate) fn to_detail(text: fmt::Arguments<'_>) -> Detail {
    let mut detail = Detail::new();
    let _ = detail.write_fmt(text);
    detail
}

/// Runs every check and turns the machine off.
pub(crate) fn run() -> ! {
    for (name, place, check) in CHECKS {
        let makes_sense = match place {
            Where::Anywhere => true,
            Where::RealmOnly => machine::is_realm(),
            Where::NormalOnly => !machine::is_realm(),
        };
        if !makes_sense {
            continue;
        }
        match check() {
            Ok(detail) => console::line(format_args!("bailey-test: check {name} ok {detail}")),
            Err(detail) => console::line(format_args!("bailey-test: check {name} fail {detail}")),
        }
    }
    console::line(format_args!("bailey-test: done"));
    smc::system_off()
}

/// What a vCPU does that a check has turned on.
pub(crate) fn secondary(vcpu: u64) -> ! {
    power::secondary(vcpu as usize)
}
