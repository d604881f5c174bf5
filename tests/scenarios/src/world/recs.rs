// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! RECs in particular states.

use rmi::psci;
use rmi::{Command, EnterFlags, ExitReason, RecEnter, RsiCommand};

use super::{Realm, RealmPlan, Rec, Runnable, World};
use crate::check;
use crate::outcome::Outcome;
use crate::realm::RealmAction;

impl World<'_> {
    /// Lets a REC turn its Realm off.
    pub fn system_off(&mut self, rec: &Rec) -> Outcome {
        let exit = self.act_exit(rec, RealmAction::smc(&[psci::FID_SYSTEM_OFF]))?;
        check!(
            exit.reason() == Some(ExitReason::Psci),
            "exit {}",
            exit.exit_reason
        );
        Ok(())
    }

    /// Lets a REC ask for another to be turned on; the request is pending afterwards.
    pub fn cpu_on(&mut self, rec: &Rec, target: u64, entry: u64, context: u64) -> Outcome {
        let call = [psci::FID_CPU_ON_64, target, entry, context];
        let exit = self.act_exit(rec, RealmAction::smc(&call))?;
        check!(
            exit.reason() == Some(ExitReason::Psci),
            "exit {}",
            exit.exit_reason
        );
        Ok(())
    }

    /// Lets a REC ask for a change of RIPAS; the request is pending afterwards.
    pub fn ripas_request(
        &mut self,
        rec: &Rec,
        base: u64,
        top: u64,
        ripas: u64,
        flags: u64,
    ) -> Outcome {
        let call = [RsiCommand::IpaStateSet.fid(), base, top, ripas, flags];
        let exit = self.act_exit(rec, RealmAction::smc(&call))?;
        check!(
            exit.reason() == Some(ExitReason::RipasChange),
            "exit {}",
            exit.exit_reason
        );
        let request = (exit.ripas_base, exit.ripas_top, u64::from(exit.ripas_value));
        check!(request == (base, top, ripas), "the exit says {request:x?}");
        Ok(())
    }

    /// Serves a pending change of RIPAS from `base` to `top` as far as the tables allow in one go each,
    /// and lets the REC see the answer: the address it came to.
    pub fn serve_ripas(&mut self, realm: &Realm, rec: &Rec, base: u64, top: u64) -> Outcome<u64> {
        let mut base = base;
        while base < top {
            let reply = self.ok(Command::RttSetRipas {
                rd: realm.rd,
                rec: rec.rec,
                base,
                top,
            })?;
            check!(reply.output(1) > base, "RTT_SET_RIPAS makes no progress");
            base = reply.output(1);
        }
        self.ripas_answer(rec, EnterFlags::empty())
            .map(|(_, new_base, _)| new_base)
    }

    /// Lets the REC see what came of its request: status, new base, response.
    pub fn ripas_answer(&mut self, rec: &Rec, flags: EnterFlags) -> Outcome<(u64, u64, u64)> {
        let mut enter = RecEnter::default();
        enter.set_enter_flags(flags);
        match self.resume(rec, &enter)? {
            super::Step::Done(result) => {
                let [status, base, response, ..] = result.registers;
                Ok((status, base, response))
            }
            super::Step::Exit(exit) => super::fail_exit(RealmAction::Hvc, &exit),
        }
    }

    /// Has the Realm change RIPAS from `base` to `top`, in one or several requests.
    pub fn change_ripas(
        &mut self,
        realm: &Realm,
        rec: &Rec,
        base: u64,
        top: u64,
        ripas: u64,
    ) -> Outcome {
        self.ripas_request(rec, base, top, ripas, 1)?;
        let reached = self.serve_ripas(realm, rec, base, top)?;
        check!(reached == top, "RIPAS changed up to {reached:#x} only");
        Ok(())
    }

    /// Returns the auxiliary granule of some REC, if any kind of REC needs one.
    pub(crate) fn aux_granule(&mut self) -> Outcome<Option<u64>> {
        let features = self.features()?;
        let plan = RealmPlan {
            sve: features.has_sve(),
            pmu: features.has_pmu(),
            ..RealmPlan::default()
        };
        let realm = self.realm_with(&plan)?;
        let count = self.ok(Command::RecAuxCount { rd: realm.rd })?.output(1);
        if count == 0 {
            self.destroy_realm(&realm)?;
            return Ok(None);
        }
        let params = self.rec_params(&realm, 0, Runnable::No)?;
        let (rec, run) = (self.delegated()?, self.granule()?);
        let params_ptr = self.page(&params)?;
        let rd = realm.rd;
        self.ok(Command::RecCreate {
            rd,
            rec,
            params_ptr,
        })?;
        self.note_rec(rd, Rec { rec, run, index: 0 });
        Ok(params.aux.first().copied())
    }
}

/// A Realm that runs, with its first REC.
pub(crate) type Running = (Realm, Rec);

impl World<'_> {
    /// Creates an active Realm with a REC that runs the program of scenarios and one that is off.
    pub(crate) fn two_rec_realm(&mut self) -> Outcome<(Running, Rec)> {
        let (running, one, _) = self.recs_realm(2)?;
        Ok((running, one))
    }

    /// The same with two that are off.
    pub(crate) fn three_rec_realm(&mut self) -> Outcome<(Running, Rec, Rec)> {
        self.recs_realm(3)
    }

    fn recs_realm(&mut self, count: u64) -> Outcome<(Running, Rec, Rec)> {
        let realm = self.realm()?;
        self.load_program(&realm)?;
        let first = self.rec(&realm, Runnable::Yes)?;
        let second = self.rec(&realm, Runnable::No)?;
        let mut last = second;
        for _ in 2..count {
            last = self.rec(&realm, Runnable::No)?;
        }
        self.activate(&realm)?;
        Ok(((realm, first), second, last))
    }

    /// Prepares the run page of a REC for an entry that does nothing and returns the call.
    pub(crate) fn enter_call(&mut self, rec: &Rec) -> Outcome<[u64; 8]> {
        let page = self.granule()?;
        self.write_page(page, &RecEnter::default())?;
        let call = Command::RecEnter {
            rec: rec.rec,
            run_ptr: page,
        };
        Ok(call.encode())
    }
}
