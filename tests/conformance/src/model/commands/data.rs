// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What becomes of pages and of RIPAS.

use scenarios::Reply;

use super::{RD, reach};
use crate::model::step::Page;
use crate::model::tree::{Entry, size};
use crate::model::verdict::Verdict;
use crate::model::{GRANULE, Life, Model, Realm, Use};

impl Model {
    /// Notes what is wrong with the place of a page, and returns its RIPAS.
    fn page_place(&self, v: &mut Verdict, realm: &Realm, (data, ipa): (u64, u64)) -> Option<u8> {
        v.input_if(!realm.tree.is_lpa2 && data >= 1 << 48, "data_bound2");
        v.input_if(!ipa.is_multiple_of(GRANULE), "ipa_align");
        if !realm.tree.is_protected(ipa) {
            v.add("ipa_bound", Reply::input());
            return None;
        }
        let is_free = |entry| matches!(entry, Entry::Unassigned { .. });
        reach(v, realm, (ipa, 3), None, is_free)?.ripas()
    }

    pub(super) fn data_create(
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
        let realm = self.realm_named(v, rd)?;
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

    pub(super) fn data_create_unknown(
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
        let realm = self.realm_named(v, rd)?;
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

    pub(super) fn data_destroy(&mut self, rd: u64, ipa: u64, v: &mut Verdict) -> Option<Reply> {
        let realm = self.realm_named(v, rd)?;
        v.input_if(!ipa.is_multiple_of(GRANULE), "ipa_align");
        v.input_if(!realm.tree.is_protected(ipa), "ipa_bound");
        if realm.tree.is_protected(ipa) {
            let is_page = |entry| matches!(entry, Entry::Assigned { .. });
            reach(v, realm, (ipa, 3), Some(2), is_page);
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

    pub(super) fn init_ripas(
        &mut self,
        rd: u64,
        base: u64,
        top: u64,
        v: &mut Verdict,
    ) -> Option<Reply> {
        let realm = self.realm_named(v, rd)?;
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

    pub(super) fn set_ripas(
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
}
