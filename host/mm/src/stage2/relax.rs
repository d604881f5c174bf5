// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Rule W5 and access flag faults: small changes to an entry that is there.

use core::sync::atomic::Ordering;

use rmi::{Ipa, RttLevel};

use super::Stage2;
use super::entry::{self, Entry};
use super::walk::{Next, Step, Visit, Visitor, WalkError};
use crate::machine::Machine;
use crate::perms::Permissions;

impl<M: Machine> Stage2<'_, M> {
    /// Adds `permissions` to the leaf of `level` at `ipa` (rule W5); removes none, never changes
    /// the address.
    ///
    /// Only this CPU forgets the old entry. Another one that still has it takes a fault that
    /// finds the permissions added, and forgets it then: that is rare, and interrupting all
    /// CPUs for each page of a log is not.
    ///
    /// # Errors
    ///
    /// [`WalkError::Again`] when there is no such leaf any more.
    pub fn relax(
        &self,
        ipa: Ipa,
        level: RttLevel,
        permissions: Permissions,
    ) -> Result<(), WalkError> {
        let mut relaxer = Relaxer {
            stage2: self,
            level: Some(level),
            permissions,
            done: false,
        };
        self.walk(ipa.raw()..ipa.raw() + 1, &mut relaxer)?;
        if !relaxer.done {
            return Err(WalkError::Again);
        }
        let base = ipa.align_down(level.block_size());
        let machine = self.host.machine();
        machine.publish();
        machine.invalidate_ipa_here(self.vmid, base, level.block_size());
        self.counters.relaxed.bump();
        Ok(())
    }

    /// Sets the access flag of the leaf at `ipa`, after an access flag fault. Entries without it
    /// are not cached, so nothing is invalidated.
    ///
    /// # Errors
    ///
    /// [`WalkError::Again`] when there is no leaf any more.
    pub fn mark_young(&self, ipa: Ipa) -> Result<(), WalkError> {
        let mut relaxer = Relaxer {
            stage2: self,
            level: None,
            permissions: Permissions::empty(),
            done: false,
        };
        self.walk(ipa.raw()..ipa.raw() + 1, &mut relaxer)?;
        self.host.machine().publish();
        if relaxer.done {
            Ok(())
        } else {
            Err(WalkError::Again)
        }
    }
}

/// The visitor that adds.
struct Relaxer<'a, 'h, M> {
    stage2: &'a Stage2<'h, M>,
    /// The level the leaf must have, if that matters.
    level: Option<RttLevel>,
    permissions: Permissions,
    done: bool,
}

impl<M: Machine> Visitor for Relaxer<'_, '_, M> {
    fn wants(&self, visit: Visit) -> bool {
        visit == Visit::Leaf
    }

    fn visit(&mut self, step: &Step<'_>) -> Result<Next, WalkError> {
        let Entry::Leaf(leaf) = step.entry else {
            return Err(WalkError::Again);
        };
        if self.level.is_some_and(|level| level != step.level) {
            return Err(WalkError::Again);
        }
        if self.permissions.contains(Permissions::EXECUTE)
            && !leaf.permissions.contains(Permissions::EXECUTE)
        {
            let size = step.level.block_size();
            self.stage2.prepare(leaf.pfn, size, self.permissions);
        }
        let wanted = entry::with_added(step.raw, self.permissions);
        step.slot
            .compare_exchange(step.raw, wanted, Ordering::AcqRel, Ordering::Acquire)
            .map_err(|_| WalkError::Again)?;
        self.done = true;
        Ok(Next::Skip)
    }
}
