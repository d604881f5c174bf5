// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What becomes of RECs.

use scenarios::Reply;

use super::{Expected, RD};
use crate::model::step::{EnterSpec, Page, RecSpec};
use crate::model::verdict::Verdict;
use crate::model::{GRANULE, Life, Model, Pending, Rec, Request, Use};

impl Model {
    pub(super) fn rec_create(
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

    pub(super) fn rec_destroy(&mut self, rec: u64, v: &mut Verdict) -> Option<Reply> {
        let names = ["rec_align", "rec_bound", "rec_gran_state"];
        self.named(v, names, rec, Use::Rec);
        let gone = self.recs.remove(&rec)?;
        for at in gone.aux {
            self.set_use(at, Use::Delegated);
        }
        self.set_use(rec, Use::Delegated);
        Some(Reply::SUCCESS)
    }

    pub(super) fn psci_complete(
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

    /// `RMI_REC_ENTER`: the conditions; the rest is in `enter`.
    pub(super) fn enter(
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
        if spec.hcr & !HOST_HCR != 0 || spec.lr >> 61 & 1 == 1 {
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
