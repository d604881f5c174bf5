// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RMI_REALM_CREATE`.

use rmi::{Command, CommandId, RealmParams};

use super::common::{self, State, wrong_granules};
use super::conditions::{params_align, params_bound, params_pas, rd_align, rd_bound};
use crate::check;
use crate::contract::{Call, contract, refuse};
use crate::cut;
use crate::outcome::{Outcome, Reply, Stop};
use crate::port::{Capabilities, GRANULE, Place};
use crate::world::{RealmPlan, World, realm_of};

/// 40 address bits from level 1 on take two starting tables.
const TWO_ROOTS: RealmPlan = RealmPlan {
    width: 40,
    start: 1,
    roots: 2,
    lpa2: false,
    sve: false,
    sve_vl: None,
    pmu: false,
    pmu_counters: None,
    breakpoints: 1,
    watchpoints: 1,
    hash: 0,
    vmid: None,
};

fn base(w: &mut World<'_>) -> Outcome<Call> {
    Ok(w.prepare_realm(&TWO_ROOTS)?.0.into())
}

fn params(w: &mut World<'_>, c: &Call) -> Outcome<RealmParams> {
    w.read_page(c.get("params_ptr"))
}

fn edit(w: &mut World<'_>, c: &Call, change: impl FnOnce(&mut RealmParams)) -> Outcome<Reply> {
    w.edit(c.get("params_ptr"), change)?;
    Ok(Reply::input())
}

fn params_valid(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    edit(w, c, |params| params.hash_algo = 2)
}

fn params_supp(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    let width = w.features()?.s2sz() + 1;
    edit(w, c, |params| params.s2sz = width)
}

fn alias(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    c.set("rd", params(w, c)?.rtt_base + GRANULE);
    Ok(Reply::input())
}

fn rd_state(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    common::not_delegated(w, c, "rd")
}

fn rtt_align(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    let first = w.delegated_run(4, 4 * GRANULE, Place::Low)?;
    edit(w, c, |params| params.rtt_base = first + GRANULE)
}

fn rtt_num_level(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    let first = w.delegated_run(4, 4 * GRANULE, Place::Low)?;
    edit(w, c, |params| {
        params.rtt_base = first;
        params.rtt_num_start = 4;
    })
}

fn rtt_state(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    let second = params(w, c)?.rtt_base + GRANULE;
    w.undelegate(second)?;
    Ok(Reply::input())
}

fn vmid_valid(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    let other = w.realm()?;
    edit(w, c, |params| params.vmid = other.vmid)
}

/// The Realm is new: empty tables, no RECs.
fn success(w: &mut World<'_>) -> Outcome {
    let (create, realm) = w.prepare_realm(&TWO_ROOTS)?;
    let reply = w.call(create);
    w.check_reply(CommandId::RealmCreate, reply, Reply::SUCCESS)?;
    w.realms.push(realm);
    for (ipa, level) in [
        (0, 1),
        (0x7F_C000_0000, 1),
        (0x80_0000_0000, 1),
        (0xFF_C000_0000, 1),
    ] {
        w.check_entry(&realm, ipa, level, [1, 0, 0, 0])?;
    }
    for granule in [realm.rd, realm.root, realm.root + GRANULE] {
        check!(!w.is_delegated(granule)?, "{granule:#x} is still unused");
    }
    w.expect(create, Reply::input())
}

/// Each reserved encoding is refused.
fn reserved_encodings(w: &mut World<'_>) -> Outcome {
    let call = base(w)?;
    let changes: [fn(&mut RealmParams); 4] = [
        |params| params.hash_algo = 2,
        |params| params.hash_algo = 0xFF,
        |params| params.num_bps = 0,
        |params| params.num_wps = 0,
    ];
    every_change_fails(w, &call, &changes)
}

/// What the features do not offer is refused, never cut down.
fn beyond_features(w: &mut World<'_>) -> Outcome {
    let call = base(w)?;
    let features = w.features()?;
    let mut bad = alloc::vec::Vec::new();
    let good = params(w, &call)?;
    let with = |change: &dyn Fn(&mut RealmParams)| {
        let mut params = good.clone();
        change(&mut params);
        params
    };
    if !features.has_lpa2() {
        bad.push(with(&|params| params.flags = 1));
    }
    if features.has_sve() {
        if features.sve_vl() < 15 {
            bad.push(with(&|params| {
                params.flags = 2;
                params.sve_vl = features.sve_vl() + 1;
            }));
        }
    } else {
        bad.push(with(&|params| params.flags = 2));
    }
    if features.has_pmu() {
        bad.push(with(&|params| {
            params.flags = 4;
            params.pmu_num_ctrs = features.pmu_num_ctrs() + 1;
        }));
        if !w.port.facts().hpmn0 {
            bad.push(with(&|params| {
                params.flags = 4;
                params.pmu_num_ctrs = 0;
            }));
        }
    } else {
        bad.push(with(&|params| params.flags = 4));
    }
    bad.push(with(&|params| params.num_bps = features.num_bps() + 1));
    bad.push(with(&|params| params.num_wps = features.num_wps() + 1));
    for s2sz in [0, 11, 31, features.s2sz() + 1, 64, 255] {
        bad.push(with(&|params| params.s2sz = s2sz));
    }
    for params in bad {
        w.write_page(call.get("params_ptr"), &params)?;
        refuse(w, &call, Reply::input())?;
    }
    w.write_page(call.get("params_ptr"), &good)?;
    create_ok(w, &call)
}

/// The features' greatest values are granted.
fn all_features(w: &mut World<'_>) -> Outcome {
    let features = w.features()?;
    let plan = RealmPlan {
        lpa2: features.has_lpa2(),
        sve: features.has_sve(),
        pmu: features.has_pmu(),
        ..RealmPlan::default()
    };
    let (create, realm) = w.prepare_realm(&plan)?;
    let Command::RealmCreate { params_ptr, .. } = create else {
        unreachable!("prepared")
    };
    w.edit::<RealmParams>(params_ptr, |params| {
        params.num_bps = features.num_bps();
        params.num_wps = features.num_wps();
    })?;
    w.ok(create)?;
    w.realms.push(realm);
    Ok(())
}

/// Shapes next to the table's are refused.
fn bad_shapes(w: &mut World<'_>) -> Outcome {
    let call = base(w)?;
    let roots = w.delegated_run(16, 16 * GRANULE, Place::Low)?;
    let good = params(w, &call)?;
    for (width, start, tables) in [
        (35, 2, 32),
        (35, 2, 16),
        (34, 2, 8),
        (32, 3, 16),
        (32, 2, 1),
        (39, 1, 2),
        (40, 1, 1),
        (44, 1, 16),
        (44, 1, 32),
        (39, 0, 1),
        (48, -1, 1),
        (49, 0, 2),
        (49, 0, 1),
        (39, 1, 0),
        (39, 4, 1),
        (39, -2, 1),
        (39, i64::MIN, 1),
        (39, i64::MAX, 1),
        (39, 1, u32::MAX),
    ] {
        let mut params = good.clone();
        params.s2sz = width;
        params.rtt_base = roots;
        params.rtt_level_start = start;
        params.rtt_num_start = tables;
        w.write_page(call.get("params_ptr"), &params)?;
        refuse(w, &call, Reply::input())?;
    }
    Ok(())
}

/// A VMID that the machine does not have is refused.
fn vmid_too_large(w: &mut World<'_>) -> Outcome {
    if w.port.facts().vmid_bits > 8 {
        return Err(Stop::Skipped("VMIDs have 16 bits".into()));
    }
    let call = base(w)?;
    edit(w, &call, |params| params.vmid = 0x100)?;
    refuse(w, &call, Reply::input())?;
    edit(w, &call, |params| params.vmid = 0xFF)?;
    create_ok(w, &call)
}

/// VMID 0 is one like the others, and so is the greatest.
fn vmid_ends(w: &mut World<'_>) -> Outcome {
    let greatest = match w.port.facts().vmid_bits {
        8 => 0xFF,
        _ => u16::MAX,
    };
    for vmid in [0, greatest] {
        let plan = RealmPlan {
            vmid: Some(vmid),
            ..RealmPlan::default()
        };
        w.realm_with(&plan)?;
    }
    Ok(())
}

/// A failure does not keep the VMID.
fn failure_frees_vmid(w: &mut World<'_>) -> Outcome {
    let call = base(w)?;
    let mut bad = call;
    bad.set("rd", params(w, &call)?.rtt_base);
    refuse(w, &bad, Reply::input())?;
    create_ok(w, &call)
}

/// The descriptor must not be one of the starting tables, the first or the last.
fn alias_of_each_root(w: &mut World<'_>) -> Outcome {
    let call = base(w)?;
    let root = params(w, &call)?.rtt_base;
    for rd in [root, root + GRANULE] {
        let mut bad = call;
        bad.set("rd", rd);
        refuse(w, &bad, Reply::input())?;
    }
    Ok(())
}

/// The descriptor next to the starting tables, on either side, is fine.
fn rd_beside_roots(w: &mut World<'_>) -> Outcome {
    for rd in [1_u64, 4] {
        let run = w.delegated_run(8, 8 * GRANULE, Place::Low)?;
        let call = base(w)?;
        edit(w, &call, |params| params.rtt_base = run + 2 * GRANULE)?;
        let mut call = call;
        call.set("rd", run + rd * GRANULE);
        create_ok(w, &call)?;
    }
    Ok(())
}

/// The page of parameters can go away halfway through the copy.
fn params_pas_halfway(w: &mut World<'_>) -> Outcome {
    if !w.can_cut() {
        return cut::realm_create(w);
    }
    let call = base(w)?;
    crate::Snapshot::take(w, crate::snapshot::Depth::Calls)?;
    for bytes in [0, 8, 0x808, 4088] {
        w.port.fault_after(Some(bytes));
        let reply = w.call_raw(call.registers);
        w.port.fault_after(None);
        w.check_reply(call.id, reply, Reply::input())?;
    }
    create_ok(w, &call)
}

/// A starting table that 48-bit descriptors cannot name is refused.
fn rtt_above_48_bits(w: &mut World<'_>) -> Outcome {
    w.need(Capabilities::HIGH_MEMORY, "no memory above 2^48")?;
    let call = base(w)?;
    let high = w.delegated_run(2, 2 * GRANULE, Place::High)?;
    edit(w, &call, |params| params.rtt_base = high)?;
    refuse(w, &call, Reply::input())
}

/// The descriptor must be an unused granule.
fn wrong_rd(w: &mut World<'_>) -> Outcome {
    wrong_granules(w, base, "rd", State::Delegated)
}

/// Starting tables must be unused granules.
fn wrong_rtt(w: &mut World<'_>) -> Outcome {
    let call = base(w)?;
    let other = w.realm()?;
    let beyond = w.port.beyond_memory();
    let not_delegable = w.port.not_delegable();
    for root in [
        other.rd,
        other.root,
        beyond,
        not_delegable,
        0xFFFF_FFFF_FFFF_E000,
    ] {
        edit(w, &call, |params| {
            params.s2sz = 39;
            params.rtt_num_start = 1;
            params.rtt_base = root;
        })?;
        refuse(w, &call, Reply::input())?;
    }
    Ok(())
}

fn every_change_fails(w: &mut World<'_>, call: &Call, changes: &[fn(&mut RealmParams)]) -> Outcome {
    let good = params(w, call)?;
    for change in changes {
        let mut bad = good.clone();
        change(&mut bad);
        w.write_page(call.get("params_ptr"), &bad)?;
        refuse(w, call, Reply::input())?;
    }
    w.write_page(call.get("params_ptr"), &good)?;
    create_ok(w, call)
}

/// The call as it is now succeeds.
fn create_ok(w: &mut World<'_>, call: &Call) -> Outcome {
    let params = params(w, call)?;
    let reply = w.call_raw(call.registers);
    w.check_reply(call.id, reply, Reply::SUCCESS)?;
    w.realms.push(realm_of(call.get("rd"), &params));
    Ok(())
}

contract! {
    RealmCreate, "realm_create", base;
    conditions {
        params_align params_bound params_pas params_valid params_supp alias rd_align rd_bound rd_state
        rtt_align rtt_num_level rtt_state vmid_valid
    }
    orders {}
    others {
        success reserved_encodings beyond_features all_features bad_shapes vmid_too_large
        vmid_ends failure_frees_vmid alias_of_each_root rd_beside_roots params_pas_halfway
        rtt_above_48_bits wrong_rd wrong_rtt
    }
}
