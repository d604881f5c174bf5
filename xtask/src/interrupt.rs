// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Ctrl-C and termination: remembered, so that every loop can end its children and leave.

use anyhow::{Context, Result, bail};
use std::sync::atomic::{AtomicBool, Ordering};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Begins to remember Ctrl-C, SIGTERM and SIGHUP instead of dying from them at once.
///
/// # Errors
///
/// When the handler cannot be installed.
pub(crate) fn install() -> Result<()> {
    ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::SeqCst))
        .context("cannot install the Ctrl-C handler")
}

/// Tells whether the user asked to stop.
pub(crate) fn is_set() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Returns an error when the user asked to stop.
///
/// # Errors
///
/// After Ctrl-C, SIGTERM or SIGHUP.
pub(crate) fn check() -> Result<()> {
    if is_set() {
        bail!("interrupted");
    }
    Ok(())
}
