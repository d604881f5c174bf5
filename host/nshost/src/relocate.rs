// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Moving a normal VM to other memory while its guest runs, as a migration to another host does: its
//! memory is copied round by round until few pages are left, the guest is paused, the rest is
//! copied, all of it compared, and the guest goes on from the copy.

use alloc::format;
use alloc::string::String;

use host_mm::addr::PAGE_SIZE;
use host_mm::vm::{Copied, Copying, MemoryError, Vm as MemoryVm};
use host_vmm::vm::Vm;
use log::info;
use spin::Mutex;

use crate::machine::Machine;
use crate::timer;

/// The guest is paused when a round has copied at most this many pages.
const FEW_PAGES: u64 = 128;
/// It is paused after so many rounds in any case: it may write faster than it can be copied.
const MOST_ROUNDS: usize = 16;
/// The first round begins when this part of the guest's memory is in use: one in so many pages.
const PART_IN_USE: u64 = 3;

/// A guest that is being moved.
pub(crate) struct Relocation<'a, 'h> {
    vm: &'a Vm,
    from: &'a MemoryVm<'h, Machine>,
    to: &'a MemoryVm<'h, Machine>,
    /// Nothing before the first round.
    progress: Mutex<Option<Progress<'a, 'h>>>,
}

type Progress<'a, 'h> = Result<Copying<'a, 'h, Machine>, MemoryError>;

/// What a step has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing: it is too early.
    Waiting,
    /// A round.
    Copying,
    /// The guest is to be paused now.
    Ready,
}

impl<'a, 'h> Relocation<'a, 'h> {
    /// Returns the move of the guest with the devices `vm` from one memory to another.
    pub(crate) fn new(
        vm: &'a Vm,
        from: &'a MemoryVm<'h, Machine>,
        to: &'a MemoryVm<'h, Machine>,
    ) -> Self {
        Self {
            vm,
            from,
            to,
            progress: Mutex::default(),
        }
    }

    /// Tells whether the memory of this guest is being copied, which needs its log.
    pub(crate) fn is_copying(&self, vm: &Vm) -> bool {
        core::ptr::eq(self.vm, vm) && self.progress.lock().is_some()
    }

    /// Copies a round when it is time.
    pub(crate) fn step(&self) -> Step {
        let began = timer::milliseconds();
        let mut progress = self.progress.lock();
        let next = match progress.take() {
            None if self.is_early() => return Step::Waiting,
            None => Copying::begin(self.from, self.to),
            Some(Ok(mut copying)) => copying.round().map(|_| copying),
            Some(failed) => failed,
        };
        let step = next.as_ref().map_or(Step::Ready, |copying| {
            judge(copying.rounds(), timer::milliseconds() - began)
        });
        *progress = Some(next);
        step
    }

    fn is_early(&self) -> bool {
        let pages = self.vm.map().memory_bytes() / PAGE_SIZE;
        self.from.filled_pages() * PART_IN_USE < pages
    }

    /// Copies the rest and compares, when every vCPU has left its loop.
    ///
    /// # Errors
    /// A sentence that says why the guest cannot go on from the copy.
    pub(crate) fn finish(self) -> Result<(), String> {
        let copying = match self.progress.into_inner() {
            Some(copying) if self.vm.stopped().is_none() => copying,
            _ => return Err("the normal VM stopped before it was moved".into()),
        };
        let copied = copying
            .and_then(Copying::finish)
            .map_err(|e| format!("the normal VM cannot be copied: {e:?}"))?;
        report(&copied);
        match copied.different.first() {
            None => Ok(()),
            Some(first) => Err(format!(
                "{} pages of the copy differ, the first is guest page {:#x}",
                copied.different.len(),
                first.raw()
            )),
        }
    }
}

/// Decides after a round whether there is another one.
fn judge(rounds: &[u64], milliseconds: u64) -> Step {
    let pages = rounds.last().copied().unwrap_or_default();
    let number = rounds.len();
    info!("migrate: round {number}, {pages} pages in {milliseconds} ms");
    if pages <= FEW_PAGES || number >= MOST_ROUNDS {
        Step::Ready
    } else {
        Step::Copying
    }
}

fn report(copied: &Copied) {
    for (number, pages) in copied.rounds.iter().enumerate() {
        info!("summary: migrate round {} pages {pages}", number + 1);
    }
    info!(
        "summary: migrate rounds {} left {} compared {} different {}",
        copied.rounds.len(),
        copied.left,
        copied.compared,
        copied.different.len()
    );
}
