// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What becomes of Realms.

use scenarios::Reply;

use super::RD;
use crate::model::measure::Algorithm;
use crate::model::step::{Page, RealmSpec};
use crate::model::tree::Tree;
use crate::model::verdict::Verdict;
use crate::model::{GRANULE, Life, Model, Realm, Use};

impl Model {
    pub(super) fn realm_create(
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
    pub(in crate::model) fn learn_aux_count(&mut self, rd: u64, count: u64) {
        if let Some(realm) = self.realms.get_mut(&rd) {
            realm.aux_count = count;
        }
    }

    pub(super) fn realm_activate(&mut self, rd: u64, v: &mut Verdict) -> Option<Reply> {
        self.named(v, RD, rd, Use::Rd);
        let realm = self.realms.get_mut(&rd)?;
        if realm.life != Life::New {
            v.add("realm_state", Reply::realm(0));
            return None;
        }
        realm.life = Life::Active;
        Some(Reply::SUCCESS)
    }

    pub(super) fn realm_destroy(&mut self, rd: u64, v: &mut Verdict) -> Option<Reply> {
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
