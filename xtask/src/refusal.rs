// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Errors with a meaning for the exit status: a command that cannot begin (bad input, or something
//! missing on the machine), and one whose last word is already printed.

use std::fmt;

/// One sentence that says what is wrong and what to do; the command ends with exit status 2.
#[derive(Debug)]
pub(crate) struct Refusal(String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

/// Returns the error that ends the command with exit status 2 and `sentence`.
pub(crate) fn refuse(sentence: impl Into<String>) -> anyhow::Error {
    Refusal(sentence.into()).into()
}

/// The command failed and has said so in its last line; the exit status is 1.
#[derive(Debug)]
pub(crate) struct Reported;

impl fmt::Display for Reported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the failure is reported above")
    }
}

impl std::error::Error for Reported {}
