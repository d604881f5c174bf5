// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A scenario that fails is in nobody's way: what it made, even by a call that it expected to fail, is
//! gone before the next one begins.

use conformance::machine::{profiles, with_site};
use conformance::port::InProcess;
use rmi::{Command, CommandId};
use rmm_granule::StateCode;
use scenarios::realm::RealmAction;
use scenarios::{Kind, Outcome, RealmPlan, Runnable, Scenario, Stop, Verdict, World, run_one};

fn scenario(name: &'static str, run: fn(&mut World<'_>) -> Outcome) -> Scenario {
    Scenario {
        name,
        command: CommandId::Version,
        kind: Kind::Behaviour,
        run,
    }
}

/// Makes a running Realm and another that nobody expected, and gives up.
fn leaves_everything(w: &mut World<'_>) -> Outcome {
    let (realm, rec) = w.running_realm()?;
    w.map(&realm, realm.unprotected(), 1, 0)?;
    w.act_done(&rec, RealmAction::smc(&[0xC400_0190, 0x1_0000]))?;
    let (create, surprise) = w.prepare_realm(&RealmPlan::default())?;
    w.call(create);
    let rtt = w.delegated()?;
    let (rd, ipa, level) = (surprise.rd, 0, 2);
    let table = Command::RttCreate {
        rd,
        rtt,
        ipa,
        level,
    };
    w.call(table);
    let params = w.rec_params(&surprise, 0, Runnable::No)?;
    let (rec, params_ptr) = (w.delegated()?, w.page(&params)?);
    let create = Command::RecCreate {
        rd,
        rec,
        params_ptr,
    };
    w.call(create);
    w.call(Command::GranuleDelegate {
        addr: w.port.not_delegable(),
    });
    let addr = w.granule()?;
    w.call(Command::GranuleDelegate { addr });
    Err(Stop::Failed("as it should".to_string()))
}

/// Makes a Realm with the VMID of the one that was a surprise.
fn needs_the_same(w: &mut World<'_>) -> Outcome {
    let first = w.realm()?;
    let second = w.realm()?;
    for realm in [first, second] {
        w.rec(&realm, Runnable::Yes)?;
    }
    Ok(())
}

#[test]
fn a_failed_scenario_leaves_nothing() {
    let profiles = profiles();
    let profile = profiles.first().expect("there is one");
    with_site(profile, |site| {
        let mut port = InProcess::new(site);
        for _ in 0..3 {
            let bad = run_one(&mut port, &scenario("leaves", leaves_everything));
            assert_eq!(bad, Verdict::Failed("as it should".to_string()));
            for n in 1..site.machine.granules() {
                let granule = site.machine.granule(n);
                let (state, _) = site
                    .table
                    .peek(granule.phys())
                    .expect("it can be delegated");
                assert_eq!(state, StateCode::Undelegated, "{granule:?}");
            }
            let good = run_one(&mut port, &scenario("needs", needs_the_same));
            assert_eq!(good, Verdict::Passed);
        }
    });
}
