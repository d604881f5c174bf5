// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What calls made, whether a scenario wanted it or not.
//!
//! A monitor that grants what it has to refuse fails one scenario. Without this account its Realm,
//! VMID and granules would be in the way of all that follow.

use alloc::vec::Vec;

use rmi::{Command, RealmParams};
use zerocopy::{FromZeros, IntoBytes};

use super::{Realm, World};
use crate::outcome::Reply;
use crate::port::{Capabilities, GRANULE};

/// What successful calls made and no successful call took away.
#[derive(Clone, Debug, Default)]
pub(super) struct Made {
    realms: Vec<Realm>,
    recs: Vec<u64>,
    granules: Vec<u64>,
}

impl World<'_> {
    /// Takes account of a call that was made.
    pub(crate) fn account(&mut self, registers: &[u64; 8], reply: Reply) {
        let Some(command) = Command::decode(registers).filter(|_| reply.is_success()) else {
            return;
        };
        let made = &mut self.made;
        match command {
            Command::GranuleDelegate { addr } => made.granules.push(addr),
            Command::GranuleUndelegate { addr } => made.granules.retain(|at| *at != addr),
            Command::RecCreate { rec, .. } => made.recs.push(rec),
            Command::RecDestroy { rec } => made.recs.retain(|at| *at != rec),
            Command::RealmDestroy { rd } => made.realms.retain(|realm| realm.rd != rd),
            Command::RealmCreate { rd, params_ptr } => {
                let mut params = RealmParams::new_zeroed();
                // Who takes the page away at once has to know what was in it.
                if self.port.read(params_ptr, params.as_mut_bytes()).is_ok() {
                    self.made.realms.push(realm_of(rd, &params));
                }
            }
            _ => {}
        }
    }

    /// Takes account of calls whose order nobody knows: whatever they may have left behind.
    pub(crate) fn account_unordered(&mut self, registers: &[u64; 8], reply: Reply) {
        let is_taken_away = matches!(
            Command::decode(registers),
            Some(
                Command::GranuleUndelegate { .. }
                    | Command::RecDestroy { .. }
                    | Command::RealmDestroy { .. }
            )
        );
        if !is_taken_away {
            self.account(registers, reply);
        }
    }

    /// After a failure: takes away what is left as far as the monitor lets it, and returns memory that
    /// is the Host's again. Says whether all Realms are gone.
    pub(crate) fn sweep(&mut self) -> bool {
        self.witness = None;
        for rec in core::mem::take(&mut self.made.recs) {
            self.call(Command::RecDestroy { rec });
        }
        let mut is_clean = true;
        for realm in core::mem::take(&mut self.made.realms) {
            // What cannot be emptied cannot be destroyed either, and what is no Realm is gone.
            let _ = self.destroy_realm(&realm);
            let gone = self.call(Command::RealmDestroy { rd: realm.rd });
            is_clean &= gone == Reply::input();
        }
        for addr in core::mem::take(&mut self.made.granules) {
            if !self.call(Command::GranuleUndelegate { addr }).is_success() {
                self.made.granules.push(addr);
            }
        }
        for (first, count) in core::mem::take(&mut self.runs) {
            for n in 0..count as u64 {
                let granule = first + n * GRANULE;
                if self.is_host_granule(granule) {
                    self.port.give_back(granule, 1);
                }
            }
        }
        is_clean
    }

    fn is_host_granule(&mut self, granule: u64) -> bool {
        if self.port.capabilities().contains(Capabilities::SAFE_READ) {
            self.port.read(granule, &mut [0; 8]).is_ok()
        } else {
            !self.made.granules.contains(&granule)
        }
    }
}

/// Returns the Realm that these parameters are of.
pub(crate) fn realm_of(rd: u64, params: &RealmParams) -> Realm {
    Realm {
        rd,
        root: params.rtt_base,
        roots: params.rtt_num_start.into(),
        start: params.rtt_level_start,
        width: params.s2sz.into(),
        vmid: params.vmid,
    }
}
