// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What each command does to the maps.

mod data;
mod realm;
mod rec;
mod rtt;

use rmi::Command;
use scenarios::Reply;

use super::enter::ExitExpected;
use super::step::Page;
use super::tree::Entry;
use super::verdict::Verdict;
use super::{GRANULE, Model, Realm, Use};

/// What may come back.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    /// Any of these replies.
    pub(super) replies: Vec<Reply>,
    /// The failure conditions that these replies are of.
    pub(super) conditions: Vec<&'static str>,
    /// What is in the run page, after a REC ran.
    pub(super) exit: Option<ExitExpected>,
}

impl From<Reply> for Expected {
    fn from(reply: Reply) -> Self {
        Self {
            replies: vec![reply],
            conditions: Vec::new(),
            exit: None,
        }
    }
}

/// The names of the conditions on one granule: align, bound, state.
type Names = [&'static str; 3];

const RD: Names = ["rd_align", "rd_bound", "rd_state"];

/// `level` as the signed number that it is.
fn signed(level: u64) -> i64 {
    level.cast_signed()
}

impl Model {
    /// Says what a call may answer, and changes the state if it succeeds. `page` is what the Host wrote
    /// before, where it could.
    pub(super) fn call(&mut self, registers: &[u64; 8], page: Option<(u64, Page)>) -> Expected {
        let Some(command) = Command::decode(registers) else {
            return Reply::not_supported().into();
        };
        let mut verdict = Verdict::default();
        let done = self.serve(command, page, &mut verdict);
        match done {
            Some(done) => {
                assert!(verdict.is_empty(), "{command:x?} did something and failed");
                done
            }
            None => {
                let (conditions, replies) = verdict.allowed(command.id()).into_iter().unzip();
                Expected {
                    replies,
                    conditions,
                    exit: None,
                }
            }
        }
    }

    /// The outcome of success, or none with the conditions that hold.
    fn serve(
        &mut self,
        command: Command,
        page: Option<(u64, Page)>,
        v: &mut Verdict,
    ) -> Option<Expected> {
        let page_at = |at: u64| page.filter(|(to, _)| *to == at).map(|(_, page)| page);
        let reply = match command {
            Command::Version { req } => {
                let x0 = u64::from(req != 0x1_0000);
                Some(Reply::of(x0).with(1, 0x1_0000).with(2, 0x1_0000))
            }
            Command::Features { index: 0 } => {
                Some(Reply::SUCCESS.with(1, self.features.to_register()))
            }
            Command::Features { .. } => Some(Reply::SUCCESS),
            Command::GranuleDelegate { addr } => self.delegate(addr, v),
            Command::GranuleUndelegate { addr } => self.undelegate(addr, v),
            Command::RealmCreate { rd, params_ptr } => {
                self.realm_create(rd, params_ptr, page_at(params_ptr), v)
            }
            Command::RealmActivate { rd } => self.realm_activate(rd, v),
            Command::RealmDestroy { rd } => self.realm_destroy(rd, v),
            Command::RecAuxCount { rd } => {
                let realm = self.realm_named(v, rd)?;
                Some(Reply::SUCCESS.with(1, realm.aux_count))
            }
            Command::RecCreate {
                rd,
                rec,
                params_ptr,
            } => self.rec_create(rd, rec, params_ptr, page_at(params_ptr), v),
            Command::RecDestroy { rec } => self.rec_destroy(rec, v),
            Command::RecEnter { rec, run_ptr } => {
                return self.enter(rec, run_ptr, page_at(run_ptr), v);
            }
            Command::PsciComplete {
                calling_rec,
                target_rec,
                status,
            } => self.psci_complete(calling_rec, target_rec, status, v),
            Command::RttCreate {
                rd,
                rtt,
                ipa,
                level,
            } => self.rtt_create(rd, rtt, ipa, signed(level), v),
            Command::RttDestroy { rd, ipa, level } => self.rtt_destroy(rd, ipa, signed(level), v),
            Command::RttFold { rd, ipa, level } => self.rtt_fold(rd, ipa, signed(level), v),
            Command::RttMapUnprotected {
                rd,
                ipa,
                level,
                desc,
            } => self.map(rd, ipa, signed(level), desc, v),
            Command::RttUnmapUnprotected { rd, ipa, level } => {
                self.unmap(rd, ipa, signed(level), v)
            }
            Command::RttReadEntry { rd, ipa, level } => self.read_entry(rd, ipa, signed(level), v),
            Command::DataCreate {
                rd,
                data,
                ipa,
                src,
                flags,
            } => self.data_create(rd, data, ipa, (src, flags, page_at(src)), v),
            Command::DataCreateUnknown { rd, data, ipa } => {
                self.data_create_unknown(rd, data, ipa, v)
            }
            Command::DataDestroy { rd, ipa } => self.data_destroy(rd, ipa, v),
            Command::RttInitRipas { rd, base, top } => self.init_ripas(rd, base, top, v),
            Command::RttSetRipas { rd, rec, base, top } => self.set_ripas(rd, rec, base, top, v),
        };
        reply.map(Expected::from)
    }

    /// Notes what is wrong with a granule that the call names.
    pub(super) fn named(&self, v: &mut Verdict, [align, bound, state]: Names, at: u64, used: Use) {
        v.input_if(!at.is_multiple_of(GRANULE), align);
        match self.granule(at) {
            None => v.add(bound, Reply::input()),
            Some(granule) => v.input_if(at.is_multiple_of(GRANULE) && granule.used != used, state),
        }
    }

    /// Finds the Realm that the call names, or notes what is wrong with its `rd`.
    fn realm_named(&self, v: &mut Verdict, rd: u64) -> Option<&Realm> {
        self.named(v, RD, rd, Use::Rd);
        self.realms.get(&rd)
    }

    /// Notes what is wrong with a page of the Host that the call names.
    pub(super) fn host_page(&self, v: &mut Verdict, [align, bound, pas]: Names, at: u64) {
        v.input_if(!at.is_multiple_of(GRANULE), align);
        v.input_if(self.granule(at).is_none(), bound);
        v.input_if(self.granule(at).is_some() && !self.is_host_memory(at), pas);
    }

    fn delegate(&mut self, addr: u64, v: &mut Verdict) -> Option<Reply> {
        let names = ["gran_align", "gran_bound", "gran_state"];
        self.named(v, names, addr, Use::Undelegated);
        let is_secure = self.granule(addr).is_some_and(|granule| granule.is_secure);
        v.input_if(is_secure, "gran_gpt");
        if !v.is_empty() {
            return None;
        }
        self.set_use(addr, Use::Delegated);
        Some(Reply::SUCCESS)
    }

    fn undelegate(&mut self, addr: u64, v: &mut Verdict) -> Option<Reply> {
        let names = ["gran_align", "gran_bound", "gran_state"];
        self.named(v, names, addr, Use::Delegated);
        if !v.is_empty() {
            return None;
        }
        self.set_use(addr, Use::Undelegated);
        Some(Reply::SUCCESS)
    }
}

/// Walks to the entry at `ipa` and `level`, or notes why the walk ends above or why the entry will not do;
/// both put the end of what is not live into register `top`.
fn reach(
    v: &mut Verdict,
    realm: &Realm,
    (ipa, level): (u64, i64),
    top: Option<usize>,
    is_wanted: impl Fn(Entry) -> bool,
) -> Option<Entry> {
    let found = realm.tree.walk(ipa, level);
    let condition = if found.level != level {
        "rtt_walk"
    } else if !is_wanted(found.entry) {
        "rtte_state"
    } else {
        return Some(found.entry);
    };
    let reply = Reply::rtt(found.level);
    let with_top = top.map(|top| reply.with(top, realm.tree.skip_non_live(found.level, ipa)));
    v.add(condition, with_top.unwrap_or(reply));
    None
}
