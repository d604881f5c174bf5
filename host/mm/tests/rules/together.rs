// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Threads that work until somebody has seen enough, and end together: when one of them panics, no
//! other waits for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// What the threads of a test share.
#[derive(Default)]
pub(crate) struct Together {
    is_over: AtomicBool,
    has_failed: AtomicBool,
}

impl Together {
    /// Returns what each thread holds while it takes part.
    pub(crate) fn part(&self) -> Part<'_> {
        Part(self)
    }

    /// Whether there is still something to do.
    pub(crate) fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    /// Ends the work.
    pub(crate) fn stop(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Panics when another thread has.
    pub(crate) fn check(&self) {
        assert!(!self.has_failed.load(Ordering::Relaxed), "a thread failed");
    }
}

/// A thread's part. Dropping it while the thread panics ends the work.
pub(crate) struct Part<'a>(&'a Together);

impl Drop for Part<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.has_failed.store(true, Ordering::Relaxed);
            self.0.stop();
        }
    }
}
