// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What each command does to the maps.

use rmi::Command;
use scenarios::Reply;

use super::enter::ExitExpected;
use super::measure::Algorithm;
use super::step::{EnterSpec, Page, RealmSpec, RecSpec};
use super::tree::{Entry, Found, Tree, desc_address, size};
use super::verdict::Verdict;
use super::{GRANULE, Life, Model, Pending, Realm, Rec, Request, Use};

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
                self.named(v, RD, rd, Use::Rd);
                let realm = self.realms.get(&rd)?;
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

    fn realm_create(
        &mut self,
        rd: u64,
        params_ptr: u64,
        page: Option<Page>,
        v: &mut Verdict,
    ) -> Option<Reply> {
        let names = ["params_align", "params_bound", "params_pas"];
        self.host_page(v, names, params_ptr);
        self.named(v, RD, rd, Use::Delegated);
        if v.is_empty() {
            // The walk never names a page that holds something else.
            let Some(Page::Realm(spec)) = page else {
                v.add("params_valid", Reply::input());
                return None;
            };
            self.admit_realm(rd, &spec, v);
            if v.is_empty() {
                self.make_realm(rd, &spec);
                return Some(Reply::SUCCESS);
            }
        }
        None
    }

    fn admit_realm(&self, rd: u64, spec: &RealmSpec, v: &mut Verdict) {
        let is_reserved = spec.hash > 1 || spec.num_bps == 0 || spec.num_wps == 0;
        v.input_if(is_reserved, "params_valid");
        let f = self.features;
        let has = |bit: u32| spec.flags >> bit & 1 == 1;
        let is_unsupported = (has(0) && !f.has_lpa2())
            || (has(1) && (!f.has_sve() || spec.sve_vl > f.sve_vl()))
            || (has(2)
                && (!f.has_pmu()
                    || spec.pmu_num_ctrs > f.pmu_num_ctrs()
                    || (spec.pmu_num_ctrs == 0 && !self.hpmn0)))
            || spec.width > f.s2sz()
            || spec.width < 32
            || (!has(0) && spec.width > 48)
            || spec.num_bps > f.num_bps()
            || spec.num_wps > f.num_wps();
        v.input_if(is_unsupported, "params_supp");
        let tables = roots_of(spec.width, spec.start, has(0));
        let is_start_possible = spec.start != 0 || self.pa_bits >= 44;
        let fits = tables == Some(spec.roots.into()) && is_start_possible;
        v.input_if(!fits, "rtt_num_level");
        let roots = u64::from(spec.roots);
        let alignment = roots.saturating_mul(GRANULE).max(GRANULE);
        v.input_if(!spec.root.is_multiple_of(alignment), "rtt_align");
        if roots <= 16 {
            let all = (0..roots).map(|n| spec.root.wrapping_add(n * GRANULE));
            let is_unused = |at: u64| {
                self.granules
                    .get(&at)
                    .is_some_and(|granule| granule.used == Use::Delegated)
            };
            v.input_if(all.clone().any(|at| at == rd), "alias");
            v.input_if(!all.clone().all(is_unused), "rtt_state");
        } else {
            v.add("rtt_state", Reply::input());
        }
        // Not in the specification's list; see its notes on feat_lpa2.
        v.input_if(!has(0) && spec.root >= 1 << 48, "rtt_align");
        let is_too_wide = !self.vmid16 && spec.vmid > 0xFF;
        v.input_if(is_too_wide || self.vmids.contains(&spec.vmid), "vmid_valid");
    }

    fn make_realm(&mut self, rd: u64, spec: &RealmSpec) {
        let algorithm = match spec.hash {
            0 => Algorithm::Sha256,
            _ => Algorithm::Sha512,
        };
        let roots = u64::from(spec.roots);
        for n in 0..roots {
            self.set_use(spec.root + n * GRANULE, Use::Rtt);
        }
        self.set_use(rd, Use::Rd);
        self.vmids.insert(spec.vmid);
        let mut measurements = [[0; 64]; 5];
        measurements[0] = algorithm.initial(spec);
        let is_lpa2 = spec.flags & 1 == 1;
        let tree = Tree::new(spec.width.into(), spec.start, is_lpa2, spec.root, roots);
        let realm = Realm {
            life: Life::New,
            tree,
            root: spec.root,
            roots,
            vmid: spec.vmid,
            algorithm,
            measurements,
            rec_index: 0,
            aux_count: 0,
        };
        self.realms.insert(rd, realm);
    }

    /// Takes over how many auxiliary granules the monitor wants: an implementation's choice.
    pub(super) fn learn_aux_count(&mut self, rd: u64, count: u64) {
        if let Some(realm) = self.realms.get_mut(&rd) {
            realm.aux_count = count;
        }
    }

    fn realm_activate(&mut self, rd: u64, v: &mut Verdict) -> Option<Reply> {
        self.named(v, RD, rd, Use::Rd);
        let realm = self.realms.get_mut(&rd)?;
        if realm.life != Life::New {
            v.add("realm_state", Reply::realm(0));
            return None;
        }
        realm.life = Life::Active;
        Some(Reply::SUCCESS)
    }

    fn realm_destroy(&mut self, rd: u64, v: &mut Verdict) -> Option<Reply> {
        self.named(v, RD, rd, Use::Rd);
        let realm = self.realms.get(&rd)?;
        let has_recs = self.recs.values().any(|rec| rec.rd == rd);
        if has_recs || realm.tree.is_root_live() {
            v.add("realm_live", Reply::realm(0));
            return None;
        }
        let realm = self.realms.remove(&rd)?;
        for n in 0..realm.roots {
            self.set_use(realm.root + n * GRANULE, Use::Delegated);
        }
        self.set_use(rd, Use::Delegated);
        self.vmids.remove(&realm.vmid);
        Some(Reply::SUCCESS)
    }

    fn rec_create(
        &mut self,
        rd: u64,
        rec: u64,
        params_ptr: u64,
        page: Option<Page>,
        v: &mut Verdict,
    ) -> Option<Reply> {
        let names = ["params_align", "params_bound", "params_pas"];
        self.host_page(v, names, params_ptr);
        self.named(
            v,
            ["rec_align", "rec_bound", "rec_state"],
            rec,
            Use::Delegated,
        );
        self.named(v, RD, rd, Use::Rd);
        let realm = self.realms.get(&rd)?;
        if realm.life != Life::New {
            v.add("realm_state", Reply::realm(0));
        }
        let count = self.recs.values().filter(|rec| rec.rd == rd).count() as u64;
        if count == self.features.max_recs() {
            v.add("num_recs", Reply::realm(0));
        }
        let Some(Page::Rec(spec)) = page.filter(|_| self.is_host_memory(params_ptr)) else {
            v.input_if(v.is_empty(), "mpidr_index");
            return None;
        };
        v.input_if(
            spec.mpidr != scenarios::rec_mpidr(realm.rec_index),
            "mpidr_index",
        );
        v.input_if(spec.num_aux != realm.aux_count, "num_aux");
        let count = usize::try_from(spec.num_aux).unwrap_or(usize::MAX).min(16);
        let aux = spec.aux[..count].to_vec();
        let is_unused = |at: &u64| {
            self.granules
                .get(at)
                .is_some_and(|granule| granule.used == Use::Delegated)
        };
        v.input_if(
            aux.iter().any(|at| !at.is_multiple_of(GRANULE)),
            "aux_align",
        );
        let granules = aux.iter().map(|at| at - at % GRANULE);
        v.input_if(!granules.clone().all(|at| is_unused(&at)), "aux_state");
        let mut distinct: Vec<u64> = aux.iter().copied().chain([rec]).collect();
        distinct.sort_unstable();
        distinct.dedup();
        v.input_if(distinct.len() != aux.len() + 1, "aux_alias");
        if !v.is_empty() {
            return None;
        }
        self.make_rec(rd, rec, aux, &spec);
        Some(Reply::SUCCESS)
    }

    fn make_rec(&mut self, rd: u64, rec: u64, aux: Vec<u64>, spec: &RecSpec) {
        for at in &aux {
            self.set_use(*at, Use::RecAux);
        }
        self.set_use(rec, Use::Rec);
        let realm = self.realms.get_mut(&rd).expect("checked");
        let is_runnable = spec.flags & 1 == 1;
        if is_runnable {
            realm.measurements[0] = realm.algorithm.rec(&realm.measurements[0], spec);
        }
        let made = Rec {
            rd,
            index: realm.rec_index,
            aux,
            is_runnable,
            request: Request::default(),
            psci: None,
            pending: Pending::Nothing,
            action: None,
        };
        realm.rec_index += 1;
        self.recs.insert(rec, made);
    }

    fn rec_destroy(&mut self, rec: u64, v: &mut Verdict) -> Option<Reply> {
        let names = ["rec_align", "rec_bound", "rec_gran_state"];
        self.named(v, names, rec, Use::Rec);
        let gone = self.recs.remove(&rec)?;
        for at in gone.aux {
            self.set_use(at, Use::Delegated);
        }
        self.set_use(rec, Use::Delegated);
        Some(Reply::SUCCESS)
    }

    fn psci_complete(
        &mut self,
        calling: u64,
        target: u64,
        status: u64,
        v: &mut Verdict,
    ) -> Option<Reply> {
        const CPU_ON: u64 = 0xC400_0003;
        let names = ["calling_align", "calling_bound", "calling_state"];
        self.named(v, names, calling, Use::Rec);
        let names = ["target_align", "target_bound", "target_state"];
        self.named(v, names, target, Use::Rec);
        v.input_if(calling == target, "alias");
        let (Some(from), Some(to)) = (self.recs.get(&calling), self.recs.get(&target)) else {
            return None;
        };
        v.input_if(from.psci.is_none(), "pending");
        v.input_if(from.rd != to.rd, "owner");
        let request = from.psci?;
        v.input_if(request.target != scenarios::rec_mpidr(to.index), "target");
        let is_on = to.is_runnable;
        let is_cpu_on = request.fid == CPU_ON;
        let result = match (status.cast_signed(), is_cpu_on, is_on) {
            (0, true, true) => Some(-4),
            (0, true, false) => Some(0),
            (0, false, true) => Some(0),
            (0, false, false) => Some(1),
            (-3, true, false) => Some(-3),
            _ => None,
        };
        v.input_if(result.is_none(), "status");
        if !v.is_empty() {
            return None;
        }
        let result: i64 = result?;
        if is_cpu_on && result == 0 {
            let to = self.recs.get_mut(&target)?;
            to.is_runnable = true;
        }
        let from = self.recs.get_mut(&calling)?;
        from.psci = None;
        from.pending = Pending::Answer {
            x0: Some(result.cast_unsigned()),
        };
        Some(Reply::SUCCESS)
    }

    /// Notes what is wrong with the level and address of an entry or, with `by_child`, of a table.
    fn placed(&self, v: &mut Verdict, realm: &Realm, ipa: u64, level: i64, by_child: i64) -> bool {
        let entry_level = level.checked_sub(by_child);
        let entry_level = entry_level.filter(|level| realm.tree.has_level(*level));
        let is_level = entry_level.is_some() && level <= 3;
        v.input_if(!is_level, "level_bound");
        if let Some(entry_level) = entry_level.filter(|_| is_level) {
            v.input_if(!ipa.is_multiple_of(size(entry_level)), "ipa_align");
        }
        v.input_if(ipa >= realm.tree.end(), "ipa_bound");
        is_level && ipa < realm.tree.end()
    }

    fn rtt_create(
        &mut self,
        rd: u64,
        rtt: u64,
        ipa: u64,
        level: i64,
        v: &mut Verdict,
    ) -> Option<Reply> {
        self.named(v, RD, rd, Use::Rd);
        self.named(
            v,
            ["rtt_align", "rtt_bound", "rtt_state"],
            rtt,
            Use::Delegated,
        );
        let realm = self.realms.get(&rd)?;
        v.input_if(!realm.tree.is_lpa2 && rtt >= 1 << 48, "rtt_bound2");
        if self.placed(v, realm, ipa, level, 1) {
            let found = realm.tree.walk(ipa, level - 1);
            if found.level != level - 1 {
                v.add("rtt_walk", Reply::rtt(found.level));
            } else if matches!(found.entry, Entry::Table { .. }) {
                v.add("rtte_state", Reply::rtt(found.level));
            }
        }
        if !v.is_empty() {
            return None;
        }
        self.set_use(rtt, Use::Rtt);
        self.realms.get_mut(&rd)?.tree.unfold(level, ipa, rtt);
        Some(Reply::SUCCESS)
    }

    /// Finds the table that a command takes away, or notes why there is none.
    fn child(
        &self,
        v: &mut Verdict,
        realm: &Realm,
        (ipa, level): (u64, i64),
        top: Option<usize>,
    ) -> Option<u64> {
        if !self.placed(v, realm, ipa, level, 1) {
            return None;
        }
        let found = realm.tree.walk(ipa, level - 1);
        let reply = with_top(realm, ipa, found, top);
        if found.level != level - 1 {
            v.add("rtt_walk", reply);
            return None;
        }
        match found.entry {
            Entry::Table { pa } => Some(pa),
            _ => {
                v.add("rtte_state", reply);
                None
            }
        }
    }

    fn rtt_destroy(&mut self, rd: u64, ipa: u64, level: i64, v: &mut Verdict) -> Option<Reply> {
        self.named(v, RD, rd, Use::Rd);
        let realm = self.realms.get(&rd)?;
        let pa = self.child(v, realm, (ipa, level), Some(2))?;
        if v.is_empty() && realm.tree.is_table_live(level, ipa) {
            v.add("rtt_live", Reply::rtt(level).with(2, ipa));
        }
        if !v.is_empty() {
            return None;
        }
        let entry = if realm.tree.is_protected(ipa) {
            Entry::Unassigned { ripas: 2 }
        } else {
            Entry::UnassignedNs
        };
        let tree = &mut self.realms.get_mut(&rd)?.tree;
        tree.remove(level, ipa, entry);
        let top = tree.skip_non_live(level - 1, ipa);
        self.set_use(pa, Use::Delegated);
        Some(Reply::SUCCESS.with(1, pa).with(2, top))
    }

    fn rtt_fold(&mut self, rd: u64, ipa: u64, level: i64, v: &mut Verdict) -> Option<Reply> {
        self.named(v, RD, rd, Use::Rd);
        let realm = self.realms.get(&rd)?;
        let pa = self.child(v, realm, (ipa, level), None)?;
        if !v.is_empty() {
            return None;
        }
        let Some(entry) = realm.tree.folded(level, ipa) else {
            v.add("rtt_homo", Reply::rtt(level));
            return None;
        };
        self.realms.get_mut(&rd)?.tree.remove(level, ipa, entry);
        self.set_use(pa, Use::Delegated);
        Some(Reply::SUCCESS.with(1, pa))
    }

    /// Notes what is wrong with the place of memory of the Host.
    fn placed_ns(&self, v: &mut Verdict, realm: &Realm, ipa: u64, level: i64) -> bool {
        let is_level = (1..=3).contains(&level) && realm.tree.has_level(level);
        v.input_if(!is_level, "level_bound");
        if is_level {
            v.input_if(!ipa.is_multiple_of(size(level)), "ipa_align");
        }
        let is_bound = ipa < realm.tree.end() && ipa >= realm.tree.half();
        v.input_if(!is_bound, "ipa_bound");
        is_level && is_bound
    }

    fn map(&mut self, rd: u64, ipa: u64, level: i64, desc: u64, v: &mut Verdict) -> Option<Reply> {
        self.named(v, RD, rd, Use::Rd);
        let realm = self.realms.get(&rd)?;
        let address_bits = if realm.tree.is_lpa2 {
            0x0003_FFFF_FFFF_F300
        } else {
            0x0000_FFFF_FFFF_F000
        };
        let is_valid = desc & !(address_bits | 0xDC) == 0 && desc >> 2 & 7 != 0b100;
        v.input_if(!is_valid, "attr_valid");
        if (1..=3).contains(&level) {
            v.input_if(
                !desc_address(desc).is_multiple_of(size(level)),
                "addr_align",
            );
        }
        if self.placed_ns(v, realm, ipa, level) {
            let found = realm.tree.walk(ipa, level);
            if found.level != level {
                v.add("rtt_walk", Reply::rtt(found.level));
            } else if found.entry != Entry::UnassignedNs {
                v.add("rtte_state", Reply::rtt(found.level));
            }
        }
        if !v.is_empty() {
            return None;
        }
        let tree = &mut self.realms.get_mut(&rd)?.tree;
        tree.set(level, ipa, Entry::AssignedNs { desc });
        Some(Reply::SUCCESS)
    }

    fn unmap(&mut self, rd: u64, ipa: u64, level: i64, v: &mut Verdict) -> Option<Reply> {
        self.named(v, RD, rd, Use::Rd);
        let realm = self.realms.get(&rd)?;
        if self.placed_ns(v, realm, ipa, level) {
            let found = realm.tree.walk(ipa, level);
            let reply = with_top(realm, ipa, found, Some(1));
            if found.level != level {
                v.add("rtt_walk", reply);
            } else if !matches!(found.entry, Entry::AssignedNs { .. }) {
                v.add("rtte_state", reply);
            }
        }
        if !v.is_empty() {
            return None;
        }
        let tree = &mut self.realms.get_mut(&rd)?.tree;
        tree.set(level, ipa, Entry::UnassignedNs);
        Some(Reply::SUCCESS.with(1, tree.skip_non_live(level, ipa)))
    }

    fn read_entry(&self, rd: u64, ipa: u64, level: i64, v: &mut Verdict) -> Option<Reply> {
        self.named(v, RD, rd, Use::Rd);
        let realm = self.realms.get(&rd)?;
        self.placed(v, realm, ipa, level, 0);
        if !v.is_empty() {
            return None;
        }
        let found = realm.tree.walk(ipa, level);
        let split = |pa: u64| {
            if realm.tree.is_lpa2 {
                pa & 0x0003_FFFF_FFFF_F000 | (pa >> 50 & 3) << 8
            } else {
                pa
            }
        };
        let (state, desc, ripas) = match found.entry {
            Entry::Unassigned { ripas } => (0, 0, ripas),
            Entry::Assigned { pa, ripas } => (1, split(pa), ripas),
            Entry::UnassignedNs => (0, 0, 0),
            Entry::AssignedNs { desc } => (1, desc, 0),
            Entry::Table { pa } => (2, split(pa), 0),
        };
        let reply = Reply::SUCCESS.with(1, found.level.cast_unsigned());
        Some(reply.with(2, state).with(3, desc).with(4, ripas.into()))
    }

    /// Notes what is wrong with the place of a page, and returns its RIPAS.
    fn page_place(&self, v: &mut Verdict, realm: &Realm, (data, ipa): (u64, u64)) -> Option<u8> {
        v.input_if(!realm.tree.is_lpa2 && data >= 1 << 48, "data_bound2");
        v.input_if(!ipa.is_multiple_of(GRANULE), "ipa_align");
        if !realm.tree.is_protected(ipa) {
            v.add("ipa_bound", Reply::input());
            return None;
        }
        let found = realm.tree.walk(ipa, 3);
        match found.entry {
            Entry::Unassigned { ripas } if found.level == 3 => Some(ripas),
            _ => {
                let is_page = found.level == 3;
                let name = if is_page { "rtte_state" } else { "rtt_walk" };
                v.add(name, Reply::rtt(found.level));
                None
            }
        }
    }

    fn data_create(
        &mut self,
        rd: u64,
        data: u64,
        ipa: u64,
        (src, flags, page): (u64, u64, Option<Page>),
        v: &mut Verdict,
    ) -> Option<Reply> {
        self.host_page(v, ["src_align", "src_bound", "src_pas"], src);
        self.named(
            v,
            ["data_align", "data_bound", "data_state"],
            data,
            Use::Delegated,
        );
        self.named(v, RD, rd, Use::Rd);
        let realm = self.realms.get(&rd)?;
        if realm.life != Life::New {
            v.add("realm_state", Reply::realm(0));
        }
        self.page_place(v, realm, (data, ipa));
        if !v.is_empty() {
            return None;
        }
        let Some(Page::Data(word)) = page else {
            unreachable!("a walk writes the source of each page")
        };
        let realm = self.realms.get_mut(&rd)?;
        let rim = realm
            .algorithm
            .data(&realm.measurements[0], ipa, flags, word);
        realm.measurements[0] = rim;
        realm
            .tree
            .set(3, ipa, Entry::Assigned { pa: data, ripas: 1 });
        self.set_use(data, Use::Data);
        self.fills.insert(data, word);
        Some(Reply::SUCCESS)
    }

    fn data_create_unknown(
        &mut self,
        rd: u64,
        data: u64,
        ipa: u64,
        v: &mut Verdict,
    ) -> Option<Reply> {
        self.named(
            v,
            ["data_align", "data_bound", "data_state"],
            data,
            Use::Delegated,
        );
        self.named(v, RD, rd, Use::Rd);
        let realm = self.realms.get(&rd)?;
        let ripas = self.page_place(v, realm, (data, ipa));
        if !v.is_empty() {
            return None;
        }
        let tree = &mut self.realms.get_mut(&rd)?.tree;
        let ripas = ripas?;
        tree.set(3, ipa, Entry::Assigned { pa: data, ripas });
        self.set_use(data, Use::Data);
        Some(Reply::SUCCESS)
    }

    fn data_destroy(&mut self, rd: u64, ipa: u64, v: &mut Verdict) -> Option<Reply> {
        self.named(v, RD, rd, Use::Rd);
        let realm = self.realms.get(&rd)?;
        v.input_if(!ipa.is_multiple_of(GRANULE), "ipa_align");
        v.input_if(!realm.tree.is_protected(ipa), "ipa_bound");
        if realm.tree.is_protected(ipa) {
            let found = realm.tree.walk(ipa, 3);
            let reply = with_top(realm, ipa, found, Some(2));
            if found.level != 3 {
                v.add("rtt_walk", reply);
            } else if !matches!(found.entry, Entry::Assigned { .. }) {
                v.add("rtte_state", reply);
            }
        }
        if !v.is_empty() {
            return None;
        }
        let tree = &mut self.realms.get_mut(&rd)?.tree;
        let Entry::Assigned { pa, ripas } = tree.walk(ipa, 3).entry else {
            unreachable!("checked")
        };
        let ripas = if ripas == 0 { 0 } else { 2 };
        tree.set(3, ipa, Entry::Unassigned { ripas });
        let top = tree.skip_non_live(3, ipa);
        self.set_use(pa, Use::Delegated);
        Some(Reply::SUCCESS.with(1, pa).with(2, top))
    }

    fn init_ripas(&mut self, rd: u64, base: u64, top: u64, v: &mut Verdict) -> Option<Reply> {
        self.named(v, RD, rd, Use::Rd);
        let realm = self.realms.get(&rd)?;
        v.input_if(top <= base, "size_valid");
        v.input_if(top.wrapping_sub(GRANULE) >= realm.tree.half(), "top_bound");
        v.input_if(!top.is_multiple_of(GRANULE), "top_gran_align");
        if realm.life != Life::New {
            v.add("realm_state", Reply::realm(0));
        }
        if top <= base || base >= realm.tree.half() {
            return None;
        }
        let found = realm.tree.walk(base, 3);
        let size = size(found.level);
        let rtt = Reply::rtt(found.level);
        if base != found.base {
            v.add("base_align", rtt);
        }
        if !matches!(found.entry, Entry::Unassigned { .. }) {
            v.add("rtte_state", rtt);
        }
        let row = realm.tree.row(found.level, base);
        let run = row
            .iter()
            .take_while(|entry| matches!(entry, Entry::Unassigned { .. }));
        let end = found.base + run.count() as u64 * size;
        let walk_top = end.min(top) / size * size;
        if walk_top <= base {
            v.add("no_progress", rtt);
        }
        if !v.is_empty() {
            return None;
        }
        let realm = self.realms.get_mut(&rd)?;
        let mut at = base;
        while at < walk_top {
            let rim = &mut realm.measurements[0];
            *rim = realm.algorithm.ripas(rim, at, at + size);
            realm
                .tree
                .set(found.level, at, Entry::Unassigned { ripas: 1 });
            at += size;
        }
        Some(Reply::SUCCESS.with(1, walk_top))
    }

    fn set_ripas(
        &mut self,
        rd: u64,
        rec: u64,
        base: u64,
        top: u64,
        v: &mut Verdict,
    ) -> Option<Reply> {
        self.named(v, RD, rd, Use::Rd);
        let names = ["rec_align", "rec_bound", "rec_gran_state"];
        self.named(v, names, rec, Use::Rec);
        v.input_if(top <= base, "size_valid");
        v.input_if(!top.is_multiple_of(GRANULE), "top_gran_align");
        let request = self.recs.get(&rec)?.request;
        v.input_if(base != request.base, "base_bound");
        v.input_if(top > request.top, "top_bound");
        let realm = self.realms.get(&rd)?;
        if self.recs.get(&rec)?.rd != rd {
            v.add("rec_owner", Reply::rec());
            return None;
        }
        if !v.is_empty() {
            // The walk is only defined inside the request.
            return None;
        }
        let found = realm.tree.walk(base, 3);
        let size = size(found.level);
        let is_equal = found.entry.ripas() == Some(request.value);
        let may_change = |entry: &&Entry| match entry.ripas() {
            Some(2) => request.may_change_destroyed,
            Some(_) => true,
            None => false,
        };
        let row = realm.tree.row(found.level, base);
        let run = row.iter().take_while(may_change).count() as u64;
        let end = found.base + run * size;
        let walk_top = end.min(top) / size * size;
        let rtt = Reply::rtt(found.level);
        if base != found.base && !is_equal {
            v.add("base_align", rtt);
        }
        if walk_top <= base && !is_equal {
            v.add("no_progress", rtt);
        }
        if !v.is_empty() {
            return None;
        }
        // An entry that needs no change serves as much of the request as it covers.
        let served = if walk_top > base { walk_top } else { top };
        let tree = &mut self.realms.get_mut(&rd)?.tree;
        let mut at = found.base;
        while at < walk_top {
            let entry = match tree.walk(at, found.level).entry {
                Entry::Assigned { pa, .. } => Entry::Assigned {
                    pa,
                    ripas: request.value,
                },
                _ => Entry::Unassigned {
                    ripas: request.value,
                },
            };
            tree.set(found.level, at, entry);
            at += size;
        }
        self.recs.get_mut(&rec)?.request.base = served;
        Some(Reply::SUCCESS.with(1, served))
    }

    /// `RMI_REC_ENTER`: the conditions; the rest is in `enter`.
    fn enter(
        &mut self,
        rec: u64,
        run_ptr: u64,
        page: Option<Page>,
        v: &mut Verdict,
    ) -> Option<Expected> {
        self.host_page(v, ["run_align", "run_bound", "run_pas"], run_ptr);
        let names = ["rec_align", "rec_bound", "rec_gran_state"];
        self.named(v, names, rec, Use::Rec);
        if !v.is_empty() {
            return None;
        }
        let Some(Page::Enter(spec)) = page else {
            unreachable!("a walk writes the run page of each entry")
        };
        let state = self.recs.get(&rec)?;
        match self.realms.get(&state.rd)?.life {
            Life::New => v.add("realm_new", Reply::realm(0)),
            Life::Off => v.add("system_off", Reply::realm(1)),
            Life::Active => {}
        }
        if !state.is_runnable {
            v.add("rec_runnable", Reply::rec());
        }
        if state.psci.is_some() {
            v.add("rec_psci", Reply::rec());
        }
        if is_mmio_refused(state, &spec) {
            v.add("rec_mmio", Reply::rec());
        }
        const HOST_HCR: u64 = 0b1111_1110 | 1 << 14;
        if spec.hcr & !HOST_HCR != 0 || (spec.lr >> 62 != 0 && spec.lr >> 61 & 1 == 1) {
            v.add("rec_gicv3", Reply::rec());
        }
        if !v.is_empty() {
            return None;
        }
        let exit = self.run(rec, &spec);
        Some(Expected {
            replies: vec![Reply::SUCCESS],
            conditions: Vec::new(),
            exit: Some(exit),
        })
    }
}

fn is_mmio_refused(rec: &Rec, spec: &EnterSpec) -> bool {
    let wants = |bit: u32| spec.flags >> bit & 1 == 1;
    let (is_unprotected, is_emulatable) = match rec.pending {
        Pending::Access {
            is_unprotected,
            is_emulatable,
        } => (is_unprotected, is_emulatable),
        _ => (false, false),
    };
    let is_ignored = wants(1) && is_unprotected;
    wants(0) && !is_emulatable && !is_ignored
}

fn with_top(realm: &Realm, ipa: u64, found: Found, top: Option<usize>) -> Reply {
    let reply = Reply::rtt(found.level);
    match top {
        Some(register) => reply.with(register, realm.tree.skip_non_live(found.level, ipa)),
        None => reply,
    }
}

/// The number of starting tables for a width and a starting level, if they go together.
fn roots_of(width: u8, start: i64, is_lpa2: bool) -> Option<u64> {
    let (least, one, most) = match (start, is_lpa2) {
        (-1, true) => (49, 52, 52),
        (0, false) => (40, 48, 48),
        (0, true) => (40, 48, 52),
        (1, _) => (32, 39, 43),
        (2, _) => (32, 30, 34),
        _ => return None,
    };
    (least..=most)
        .contains(&width)
        .then(|| 1 << width.saturating_sub(one))
}
