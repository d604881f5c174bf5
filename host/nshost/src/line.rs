// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A level that a guest's own device raises on the PE that runs it: a timer, the performance monitor.
//!
//! Its physical interrupt ends the guest's run, and then has said all it can say: the virtual one is
//! pending, and stays so while the level is high. Left alone it would end every further run at once.
//! So it is held back until the level is low again. The guest's end of the virtual interrupt is a trap,
//! at which the level is looked at again.

use crate::{gic, pe};

/// The private interrupt of one guest device. Whoever takes the guest out of its PE says that the level is
/// low.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    intid: u32,
    is_held_back: bool,
}

impl Line {
    /// Returns the line of the private peripheral interrupt `intid`, which is let through.
    pub(crate) fn new(intid: u32) -> Self {
        Self {
            intid,
            is_held_back: false,
        }
    }

    /// Says what the level is, on the PE whose interrupt it is.
    pub(crate) fn note(&mut self, is_high: bool) {
        if self.is_held_back != is_high {
            gic::enable_private(pe::current(), self.intid, !is_high);
            self.is_held_back = is_high;
        }
    }
}
