// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The stages of a run, for whoever watches it.

use alloc::vec::Vec;

use log::info;
use spin::Mutex;

use crate::timer;

/// Names of the stages so far, and when they began in milliseconds.
static STAGES: Mutex<Vec<(&'static str, u64)>> = Mutex::new(Vec::new());

/// Says that a stage begins.
pub(crate) fn enter(name: &'static str) {
    info!("stage: {name}");
    STAGES.lock().push((name, timer::milliseconds()));
}

/// Reports how long each stage took; the present one ends now.
pub(crate) fn report() {
    let stages = STAGES.lock();
    let ends = stages
        .iter()
        .skip(1)
        .map(|(_, start)| *start)
        .chain([timer::milliseconds()]);
    for ((name, start), end) in stages.iter().zip(ends) {
        info!("summary: stage {name} milliseconds {}", end - start);
    }
}
