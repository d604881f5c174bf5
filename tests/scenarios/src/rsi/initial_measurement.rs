// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The Realm Initial Measurement that the Realm reads, compared with what its owner computes from how the
//! Realm was to be built.

use rmi::{Command, HashAlgorithm, RealmParams, RecParams, RsiCommand};

use super::{SUCCESS, call};
use crate::check;
use crate::measured::Measured;
use crate::outcome::{Outcome, Stop};
use crate::port::{GRANULE, pattern};
use crate::realm::{PROGRAM_BASE, row};
use crate::scenario::Scenario;
use crate::world::{Realm, RealmPlan, Rec, Runnable, World, entry_bytes};

/// What these scenarios prove.
pub(super) const SCENARIOS: &[Scenario] = &[
    row("rsi_measurement_initial_params", params),
    row("rsi_measurement_initial_data", data),
    row("rsi_measurement_initial_recs", recs),
    row("rsi_measurement_initial_ripas", ripas),
    row("rsi_measurement_initial_not_measured", not_measured),
];

const HASHES: [HashAlgorithm; 2] = [HashAlgorithm::Sha256, HashAlgorithm::Sha512];
/// Pages below the program, in its table.
const PAGE: u64 = 0x4000;

/// A Realm that is being built, and what its measurement has to be.
struct Builder {
    realm: Realm,
    measured: Measured,
    recs: u64,
}

impl Builder {
    /// Begins a Realm with the program in it.
    fn new(w: &mut World<'_>, plan: &RealmPlan, hash: HashAlgorithm) -> Outcome<Self> {
        let plan = RealmPlan {
            hash: hash.code(),
            ..*plan
        };
        let (command, realm) = w.prepare_realm(&plan)?;
        let Command::RealmCreate { params_ptr, .. } = command else {
            return Err(Stop::Failed("no call that creates a Realm".into()));
        };
        let params: RealmParams = w.read_page(params_ptr)?;
        w.ok(command)?;
        w.realms.push(realm);
        w.load_program(&realm)?;
        let mut measured = Measured::initial(hash, &params);
        let program = w.port.program().to_vec();
        for (ipa, part) in (PROGRAM_BASE..).step_by(4096).zip(program.chunks(4096)) {
            let mut page = [0; 4096];
            page[..part.len()].copy_from_slice(part);
            measured.data(ipa, 1, &page);
        }
        Ok(Self {
            realm,
            measured,
            recs: 0,
        })
    }

    /// Gives a page whose contents `seed` names.
    fn data(&mut self, w: &mut World<'_>, ipa: u64, flags: u64, seed: u64) -> Outcome {
        let mut page = [0; 4096];
        for (n, word) in (0..).zip(page.chunks_exact_mut(8)) {
            word.copy_from_slice(&pattern(seed, n).to_le_bytes());
        }
        let (data, src) = (w.delegated()?, w.page(&page)?);
        w.ok(Command::DataCreate {
            rd: self.realm.rd,
            data,
            ipa,
            src,
            flags,
        })?;
        self.measured.data(ipa, flags, &page);
        Ok(())
    }

    /// Declares memory, whose entries are of this size.
    fn ripas(&mut self, w: &mut World<'_>, base: u64, top: u64, bytes: u64) -> Outcome {
        w.init_ripas(&self.realm, base, top)?;
        self.measured.ripas(base, top, bytes);
        Ok(())
    }

    /// Creates the next REC with other parameters than usual.
    fn rec(
        &mut self,
        w: &mut World<'_>,
        runnable: Runnable,
        change: impl FnOnce(&mut RecParams),
    ) -> Outcome<Rec> {
        let mut params = w.rec_params(&self.realm, self.recs, runnable)?;
        change(&mut params);
        let rec = w.rec_with(&self.realm, self.recs, &params)?;
        self.recs += 1;
        self.measured.rec(&params);
        Ok(rec)
    }

    /// Lets the Realm read its measurement.
    fn check(mut self, w: &mut World<'_>) -> Outcome {
        let rec = self.rec(w, Runnable::Yes, |_| {})?;
        self.check_by(w, &rec)
    }

    fn check_by(self, w: &mut World<'_>, rec: &Rec) -> Outcome {
        w.activate(&self.realm)?;
        let read = [RsiCommand::MeasurementRead.fid(), 0];
        let [status, value @ ..] = call(w, rec, &read, 8)?;
        let (value, _) = value.split_at(8);
        let expected = self.measured.registers();
        check!(
            status == SUCCESS && value == expected,
            "status {status:#x}, {value:x?} instead of {expected:x?}"
        );
        Ok(())
    }
}

fn begin(w: &mut World<'_>, hash: HashAlgorithm) -> Outcome<Builder> {
    Builder::new(w, &RealmPlan::default(), hash)
}

/// What a Realm is made with counts, but not where the Host has it.
fn params(w: &mut World<'_>) -> Outcome {
    let features = w.features()?;
    let plain = RealmPlan::default();
    let plans = [
        plain,
        RealmPlan {
            breakpoints: features.num_bps(),
            watchpoints: features.num_wps(),
            ..plain
        },
        RealmPlan {
            sve: features.has_sve(),
            pmu: features.has_pmu(),
            ..plain
        },
        plain.shaped(40, 1, 2),
    ];
    for plan in plans.iter().filter(|plan| plan.is_possible(features)) {
        for hash in HASHES {
            Builder::new(w, plan, hash)?.check(w)?;
        }
    }
    Ok(())
}

/// Pages count by address, flags and order; their contents if the Host says so.
fn data(w: &mut World<'_>) -> Outcome {
    for hash in HASHES {
        for order in [[0, 1, 2], [2, 1, 0]] {
            let mut builder = begin(w, hash)?;
            for n in order {
                // The middle one without its contents.
                let flags = (n + 1) & 1;
                builder.data(w, PAGE + n * GRANULE, flags, n)?;
            }
            builder.check(w)?;
        }
    }
    Ok(())
}

/// RECs that can run count by where and with what they start, the others do not.
fn recs(w: &mut World<'_>) -> Outcome {
    for hash in HASHES {
        let mut builder = begin(w, hash)?;
        let first = builder.rec(w, Runnable::Yes, |params| params.gprs = [7; 8])?;
        builder.rec(w, Runnable::No, |params| params.gprs = [1; 8])?;
        builder.rec(w, Runnable::Yes, |params| {
            params.pc = PAGE + 4;
            params.gprs = core::array::from_fn(|n| pattern(9, n as u64));
        })?;
        builder.rec(w, Runnable::No, |params| params.pc = 0)?;
        builder.check_by(w, &first)?;
    }
    Ok(())
}

/// Every entry that is declared memory counts, however large, again if it is declared again.
fn ripas(w: &mut World<'_>) -> Outcome {
    let block = entry_bytes(2);
    for hash in HASHES {
        let mut builder = begin(w, hash)?;
        builder.ripas(w, PAGE, PAGE + 3 * GRANULE, GRANULE)?;
        builder.ripas(w, PAGE + GRANULE, PAGE + 2 * GRANULE, GRANULE)?;
        builder.ripas(w, 2 * block, 4 * block, block)?;
        builder.ripas(w, 2 * entry_bytes(1), 3 * entry_bytes(1), entry_bytes(1))?;
        builder.check(w)?;
    }
    Ok(())
}

/// Tables, pages without contents and what is taken away again do not count.
fn not_measured(w: &mut World<'_>) -> Outcome {
    for hash in HASHES {
        let mut builder = begin(w, hash)?;
        let (rd, block) = (builder.realm.rd, 3 * entry_bytes(2));
        w.data_unknown(&builder.realm, PAGE)?;
        w.ok(Command::DataDestroy { rd, ipa: PAGE })?;
        w.data_unknown(&builder.realm, PAGE + GRANULE)?;
        builder.data(w, PAGE + 2 * GRANULE, 1, 3)?;
        w.ok(Command::DataDestroy {
            rd,
            ipa: PAGE + 2 * GRANULE,
        })?;
        let table = w.table(&builder.realm, block, 3)?;
        let (ipa, level) = (block, 3);
        let folded = w.ok(Command::RttFold { rd, ipa, level })?;
        check!(folded.output(1) == table, "{folded:?}");
        w.tables.retain(|known| known.ipa != block);
        let shared = builder.realm.unprotected() + entry_bytes(1);
        w.map(&builder.realm, shared, 1, 0)?;
        builder.check(w)?;
    }
    Ok(())
}
