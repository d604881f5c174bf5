// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! PEs as threads, hammering the same granules, Realms and RECs.
//!
//! There is no model of what happens in which order. What must hold: nothing panics, every reply is one
//! of RMI, and at every quiet point the monitor's state has no contradiction.

use std::sync::Barrier;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use conformance::audit::audit;
use conformance::machine::{Profile, Site, profiles, with_site};
use conformance::model::Rng;
use conformance::port::InProcess;
use rmi::psci::{self, PsciReturn};
use rmi::{Command, PhysAddr, RecEnter, RmiReturn};
use rmm::rtt::RttState;
use rmm_granule::StateCode;
use scenarios::realm::RealmAction;
use scenarios::{RealmPlan, Rec, RmiPort, Runnable, Step, World};
use zerocopy::IntoBytes;

const PAGE: u64 = 0x1000;
const BLOCK: u64 = 0x20_0000;

/// PEs.
const THREADS: usize = 4;

/// Calls of a PE between two quiet points.
const CALLS: usize = 3_000;

/// Quiet points.
const ROUNDS: u64 = 6;

/// Times that two PEs wait for the same table.
const RACES: usize = 400;

fn machine() -> Profile {
    let mut profile = profiles().remove(1);
    profile.granules = 512;
    profile
}

fn all(site: &Site<'_>) -> Vec<u64> {
    let granules = 1..site.machine.granules();
    granules.map(|n| site.machine.granule(n).raw()).collect()
}

/// Makes a call and says whether it took effect; any other answer than one of RMI is an error.
fn call(port: &mut InProcess<'_>, command: Command) -> bool {
    let reply = port.call(command.encode());
    let result = RmiReturn::unpack(reply[0]);
    let result = result.unwrap_or_else(|| panic!("{command:x?} gave {reply:x?}"));
    result.is_success()
}

/// Runs `work` on every PE for some rounds and audits after each. A `port` belongs to one PE. `work`
/// says whether what it tried took effect; that has to happen now and then, or nothing was tried.
fn hammer(site: Site<'_>, seed: u64, work: impl Fn(&mut InProcess<'_>, &mut Rng) -> bool + Sync) {
    let done = AtomicUsize::new(0);
    for round in 0..ROUNDS {
        let start = Barrier::new(THREADS);
        std::thread::scope(|scope| {
            for thread in 0..THREADS as u64 {
                let (start, work, done) = (&start, &work, &done);
                scope.spawn(move || {
                    let mut port = InProcess::new(site);
                    let mut rng = Rng::new(seed << 32 | round << 8 | thread);
                    start.wait();
                    for _ in 0..CALLS {
                        let is_done = work(&mut port, &mut rng);
                        done.fetch_add(is_done.into(), Ordering::Relaxed);
                    }
                });
            }
        });
        let granules = all(&site);
        if let Err(reason) = audit(&site, granules.iter().copied()) {
            panic!("seed {seed}, round {round}: {reason}");
        }
    }
    let (done, tried) = (done.into_inner(), ROUNDS as usize * THREADS * CALLS);
    println!("seed {seed}: {done} of {tried} took effect");
    assert!(done > tried / 50, "only {done} of {tried} took effect");
}

/// Builds something with the scenarios' builders on this thread.
fn build<R>(site: Site<'_>, make: impl FnOnce(&mut World<'_>) -> scenarios::Outcome<R>) -> R {
    let mut port = InProcess::new(site);
    let mut world = World::new(&mut port);
    make(&mut world).unwrap()
}

/// The last granules of the machine, which the builders do not use, all delegated.
fn pool(site: &Site<'_>, count: usize) -> Vec<u64> {
    let all = all(site);
    let pool = all[all.len() - count..].to_vec();
    let mut port = InProcess::new(*site);
    for addr in &pool {
        assert!(call(&mut port, Command::GranuleDelegate { addr: *addr }));
    }
    pool
}

#[test]
fn granules_change_hands_one_at_a_time() {
    with_site(&machine(), |site| {
        let granules: Vec<u64> = all(&site).into_iter().take(6).collect();
        let balance: Vec<AtomicI64> = granules.iter().map(|_| AtomicI64::new(0)).collect();
        hammer(site, 1, |port, rng| {
            let n = rng.below(granules.len() as u64) as usize;
            let addr = granules[n];
            if rng.percent(50) {
                let is_done = call(port, Command::GranuleDelegate { addr });
                balance[n].fetch_add(is_done.into(), Ordering::SeqCst);
                is_done
            } else {
                let is_done = call(port, Command::GranuleUndelegate { addr });
                balance[n].fetch_sub(is_done.into(), Ordering::SeqCst);
                is_done
            }
        });
        for (addr, balance) in granules.iter().zip(&balance) {
            let state = site.table.peek(PhysAddr::new(*addr)).unwrap().0;
            let wanted = i64::from(state == StateCode::Delegated);
            assert_eq!(balance.load(Ordering::SeqCst), wanted, "{addr:#x}");
        }
    });
}

#[test]
fn tables_and_pages_of_one_realm() {
    with_site(&machine(), |site| {
        let realm = build(site, |w| w.realm());
        let pool = pool(&site, 48);
        hammer(site, 2, |port, rng| {
            tables_and_pages(port, rng, &realm, &pool)
        });
    });
}

/// One random command about the tables of a Realm.
fn tables_and_pages(
    port: &mut InProcess<'_>,
    rng: &mut Rng,
    realm: &scenarios::Realm,
    pool: &[u64],
) -> bool {
    let rd = realm.rd;
    let half = if rng.percent(70) {
        0
    } else {
        realm.unprotected()
    };
    let block = half + rng.below(3) * BLOCK;
    let page = block + rng.below(4) * PAGE;
    let spare = rng.pick(pool).unwrap();
    let level = 2 + rng.below(2);
    let table = if level == 2 { half } else { block };
    let command = match rng.below(10) {
        0..3 => Command::RttCreate {
            rd,
            rtt: spare,
            ipa: table,
            level,
        },
        3 => Command::RttDestroy {
            rd,
            ipa: table,
            level,
        },
        4 => Command::RttFold {
            rd,
            ipa: table,
            level,
        },
        5 | 6 if half == 0 => Command::DataCreateUnknown {
            rd,
            data: spare,
            ipa: page,
        },
        5 | 6 => Command::RttMapUnprotected {
            rd,
            ipa: page,
            level: 3,
            desc: spare | scenarios::desc::READ_WRITE_BACK,
        },
        7 | 8 if half == 0 => Command::DataDestroy { rd, ipa: page },
        7 | 8 => Command::RttUnmapUnprotected {
            rd,
            ipa: page,
            level: 3,
        },
        _ => Command::RttReadEntry {
            rd,
            ipa: page,
            level: 3,
        },
    };
    call(port, command)
}

#[test]
fn realms_come_and_go() {
    with_site(&machine(), |site| {
        let pool = pool(&site, 12);
        let params: Vec<u64> = all(&site).into_iter().take(THREADS * 2).collect();
        let next = AtomicUsize::new(0);
        hammer(site, 3, |port, rng| {
            // Pages of parameters may be shared: what a page holds is one valid request or another.
            let params_ptr = params[next.fetch_add(1, Ordering::Relaxed) % params.len()];
            let rd = rng.pick(&pool).unwrap();
            match rng.below(8) {
                0..4 => {
                    let root = rng.pick(&pool).unwrap();
                    let features = site.monitor.offer();
                    let vmid = 1 + rng.below(3) as u16;
                    let plan = RealmPlan::default().params(features, vmid, root);
                    let bytes = plan.as_bytes().to_vec();
                    port.write(params_ptr, &bytes).unwrap();
                    call(port, Command::RealmCreate { rd, params_ptr })
                }
                4..7 => call(port, Command::RealmDestroy { rd }),
                _ => call(port, Command::RealmActivate { rd }),
            }
        });
    });
}

/// A walk holds a table until it has the next one, so that one cannot go away in between.
#[test]
fn walk_waits_for_a_table_that_is_about_to_go() {
    with_site(&machine(), |site| {
        let rd = build(site, |w| w.realm()).rd;
        let rtt = pool(&site, 1)[0];
        let mut port = InProcess::new(site);
        for _ in 0..RACES {
            let (ipa, level) = (0, 2);
            let create = Command::RttCreate {
                rd,
                rtt,
                ipa,
                level,
            };
            assert!(call(&mut port, create));
            let walk = Command::RttReadEntry { rd, ipa, level: 3 };
            race_for(site, rtt, walk, Command::RttDestroy { rd, ipa, level });
        }
    });
}

/// The same of a Realm's descriptor and its starting tables.
#[test]
fn walk_waits_for_a_realm_that_is_about_to_go() {
    with_site(&machine(), |site| {
        let granules = pool(&site, 2);
        let (rd, root) = (granules[0], granules[1]);
        let params_ptr = all(&site)[0];
        let params = RealmPlan::default().params(site.monitor.offer(), 1, root);
        let mut port = InProcess::new(site);
        port.write(params_ptr, params.as_bytes()).unwrap();
        let (ipa, level) = (0, 3);
        let walks = [
            Command::RttReadEntry { rd, ipa, level },
            Command::DataDestroy { rd, ipa },
        ];
        for n in 0..RACES {
            assert!(call(&mut port, Command::RealmCreate { rd, params_ptr }));
            let walk = walks[n % walks.len()];
            race_for(site, root, walk, Command::RealmDestroy { rd });
        }
    });
}

/// Has two PEs wait for a table, one to walk through it, one to take it away, which must succeed.
fn race_for(site: Site<'_>, table: u64, walk: Command, removal: Command) {
    let table = site.table.lock::<RttState>(PhysAddr::new(table)).unwrap();
    let start = Barrier::new(3);
    let on_a_pe = |command| {
        let mut port = InProcess::new(site);
        start.wait();
        call(&mut port, command)
    };
    std::thread::scope(|scope| {
        let walker = scope.spawn(|| on_a_pe(walk));
        let remover = scope.spawn(|| on_a_pe(removal));
        start.wait();
        // Time to get as far as they can. If it is too short, nothing is proven this time.
        std::thread::sleep(Duration::from_micros(200));
        drop(table);
        // The walker is late when the Realm is gone already.
        let _is_served = walker.join().unwrap();
        assert!(remover.join().unwrap());
    });
}

#[test]
fn recs_run_on_one_pe_at_a_time() {
    with_site(&machine(), |site| {
        let (realm, recs) = build(site, |w| {
            let realm = w.realm()?;
            w.load_program(&realm)?;
            let recs = [w.rec(&realm, Runnable::Yes)?, w.rec(&realm, Runnable::Yes)?];
            w.activate(&realm)?;
            Ok((realm, recs))
        });
        let pool = pool(&site, 32);
        let runs: Vec<u64> = all(&site)[100..100 + 2 * THREADS].to_vec();
        let next = AtomicUsize::new(0);
        hammer(site, 4, |port, rng| {
            if rng.percent(50) {
                return tables_and_pages(port, rng, &realm, &pool);
            }
            let run_ptr = runs[next.fetch_add(1, Ordering::Relaxed) % runs.len()];
            let rec = rng.pick(&recs).unwrap().rec;
            let ipa = rng.below(3) * BLOCK + rng.below(4) * PAGE;
            let action = match rng.below(4) {
                0 => RealmAction::Load { ipa },
                1 => RealmAction::Store { ipa, value: 1 },
                2 => RealmAction::smc(&[0xC400_0198, ipa, ipa + PAGE]),
                _ => RealmAction::smc(&[0xC400_0197, ipa, ipa + PAGE, rng.below(2), 1]),
            };
            port.set_action(&mut RecEnter::default(), action);
            let is_done = call(port, Command::RecEnter { rec, run_ptr });
            let (base, top) = (ipa, ipa + PAGE);
            let rd = realm.rd;
            call(port, Command::RttSetRipas { rd, rec, base, top });
            is_done
        });
    });
}

#[test]
fn recs_are_destroyed_while_others_enter_them() {
    with_site(&machine(), |site| {
        for _ in 0..20 {
            let (realm, recs) = build(site, |w| {
                let realm = w.realm()?;
                let recs: Vec<_> = (0..8)
                    .map(|_| w.rec(&realm, Runnable::Yes))
                    .collect::<Result<_, _>>()?;
                w.activate(&realm)?;
                Ok((realm, recs))
            });
            let destroyed = AtomicUsize::new(0);
            std::thread::scope(|scope| {
                for thread in 0..THREADS as u64 {
                    let (recs, destroyed) = (&recs, &destroyed);
                    scope.spawn(move || {
                        let mut port = InProcess::new(site);
                        let mut rng = Rng::new(thread);
                        for _ in 0..64 {
                            let rec = recs[rng.below(recs.len() as u64) as usize];
                            let (rec, run_ptr) = (rec.rec, rec.run);
                            call(&mut port, Command::RecEnter { rec, run_ptr });
                            if rng.percent(10) && call(&mut port, Command::RecDestroy { rec }) {
                                destroyed.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    });
                }
            });
            let mut port = InProcess::new(site);
            for rec in &recs {
                if call(&mut port, Command::RecDestroy { rec: rec.rec }) {
                    destroyed.fetch_add(1, Ordering::Relaxed);
                }
            }
            assert_eq!(destroyed.into_inner(), recs.len());
            assert!(call(&mut port, Command::RealmDestroy { rd: realm.rd }));
            for addr in all(&site) {
                call(&mut port, Command::GranuleUndelegate { addr });
            }
        }
    });
}

/// What a Realm learns of its processors does not depend on entries that the Host tries meanwhile.
#[test]
fn processor_is_off_while_entries_of_it_fail() {
    for _ in 0..10 {
        with_site(&machine(), |site| {
            let (caller, targets) = build(site, |w| {
                let realm = w.realm()?;
                w.load_program(&realm)?;
                let caller = w.rec(&realm, Runnable::Yes)?;
                let targets: Vec<_> = (1..16)
                    .map(|_| w.rec(&realm, Runnable::No))
                    .collect::<Result<_, _>>()?;
                w.activate(&realm)?;
                Ok((caller, targets))
            });
            turn_on_while_entering(site, &caller, &targets);
        });
    }
}

/// Has the Realm look at each target and turn it on, while another PE tries to enter that one.
fn turn_on_while_entering(site: Site<'_>, caller: &Rec, targets: &[Rec]) {
    let current = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let asker = scope.spawn(|| {
            let off = PsciReturn::Off.to_register();
            for (n, target) in targets.iter().enumerate() {
                current.store(n, Ordering::Relaxed);
                for _ in 0..CALLS / 50 {
                    let info = ask(site, caller, target, psci::FID_AFFINITY_INFO_64);
                    assert_eq!(info, off, "AFFINITY_INFO");
                }
                let result = ask(site, caller, target, psci::FID_CPU_ON_64);
                assert_eq!(result, 0, "CPU_ON");
            }
        });
        let mut port = InProcess::new(site);
        while !asker.is_finished() {
            let Rec { rec, run, .. } = targets[current.load(Ordering::Relaxed)];
            let run_ptr = run;
            call(&mut port, Command::RecEnter { rec, run_ptr });
        }
        asker.join().unwrap();
    });
}

/// Lets the Realm ask for or about a processor, and returns its answer.
fn ask(site: Site<'_>, caller: &Rec, target: &Rec, fid: u64) -> u64 {
    let answer = build(site, |w| {
        w.act_exit(caller, RealmAction::smc(&[fid, target.index, 0]))?;
        w.ok(Command::PsciComplete {
            calling_rec: caller.rec,
            target_rec: target.rec,
            status: 0,
        })?;
        w.resume(caller, &RecEnter::default())
    });
    match answer {
        Step::Done(result) => result.registers[0],
        Step::Exit(exit) => panic!("exit {}", exit.exit_reason),
    }
}
