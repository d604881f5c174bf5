// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The calls a normal VM makes with SMC: PSCI (Arm DEN 0022), and that there is nothing else.
//!
//! [`Cpus`] is what the RMM is for a Realm: it knows for certain which vCPU is on, and answers what
//! it can alone. Calls that turn something on or off become exits, so that the run loop can act.

use super::Registers;
use crate::machine::{GuestMap, Place, vcpu_of};
use alloc::vec::Vec;
use rmi::psci::{
    AFFINITY_LEVEL_PROCESSOR, Convention, PSCI_VERSION_1_1, PsciFunction, PsciId, PsciReturn,
    features,
};
use rmi::smccc::{FID_SMCCC_VERSION, SMCCC_NOT_SUPPORTED, fid_of};
use rmi::{Ipa, RecMpidr};
use spin::Mutex;

/// SMC Calling Convention 1.1, the first in which a caller can find out what is there.
const SMCCC_VERSION_1_1: u64 = 0x1_0001;
/// What `AFFINITY_INFO` says of a vCPU between `CPU_ON` and its first instruction.
const AFFINITY_ON_PENDING: u64 = 2;

/// Where and how a vCPU starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// First instruction.
    pub pc: u64,
    /// x0.
    pub argument: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Off,
    /// Turned on; its PE has not taken note.
    Starting(Start),
    On,
}

/// What a vCPU finds when its PE is about to enter it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It is off.
    Off,
    /// It was turned on and begins here.
    Start(Start),
    /// It goes on.
    On,
}

/// The answer to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// x0 of the caller.
    Done(u64),
    /// The run loop has to act, and completes the call.
    Complete,
    /// The run loop has to act; this is x0 of a caller that is entered again.
    Exit(u64),
}

/// The vCPUs of a normal VM, on or off.
#[derive(Debug)]
pub struct Cpus {
    map: GuestMap,
    states: Mutex<Vec<State>>,
}

impl Clone for Cpus {
    fn clone(&self) -> Self {
        Self {
            map: self.map,
            states: Mutex::new(self.states.lock().clone()),
        }
    }
}

impl Cpus {
    /// Returns the vCPUs of a machine of which the first starts and the others are off.
    pub fn new(map: GuestMap, first: Start) -> Self {
        let mut states = alloc::vec![State::Off; map.vcpus()];
        states[0] = State::Starting(first);
        Self {
            map,
            states: Mutex::new(states),
        }
    }

    /// Asks whether a vCPU may be entered; a vCPU that starts is on from then.
    pub fn arrive(&self, vcpu: usize) -> Arrival {
        let state = &mut self.states.lock()[vcpu];
        match *state {
            State::Off => Arrival::Off,
            State::Starting(start) => {
                *state = State::On;
                Arrival::Start(start)
            }
            State::On => Arrival::On,
        }
    }

    /// Completes a `CPU_ON` of the vCPU `target`, whose caller has these registers and is told the
    /// outcome in x0. `status` is the host's own opinion.
    pub fn complete(&self, target: usize, caller: &mut Registers, status: PsciReturn) {
        let [fid, _, pc, argument, ..] = caller.gprs;
        let outcome = match PsciId::from_fid(fid) {
            Some(PsciId::Known(PsciFunction::CpuOn, convention)) => {
                let start = Start {
                    pc: convention.argument(pc),
                    argument: convention.argument(argument),
                };
                self.turn_on(target, start, status)
            }
            // The run loop completes nothing else.
            _ => PsciReturn::InternalFailure,
        };
        caller.gprs[0] = outcome.to_register();
    }

    fn turn_on(&self, target: usize, start: Start, status: PsciReturn) -> PsciReturn {
        let state = &mut self.states.lock()[target];
        match *state {
            State::Off if status == PsciReturn::Success => {
                *state = State::Starting(start);
                status
            }
            State::Off => status,
            State::Starting(_) => PsciReturn::OnPending,
            State::On => PsciReturn::AlreadyOn,
        }
    }

    /// Answers a call of `vcpu` with these registers.
    pub(super) fn call(&self, vcpu: usize, gprs: &[u64; 31]) -> Answer {
        let [fid, ..] = *gprs;
        if fid_of(fid) == FID_SMCCC_VERSION {
            return Answer::Done(SMCCC_VERSION_1_1);
        }
        let Some(PsciId::Known(function, convention)) = PsciId::from_fid(fid) else {
            return Answer::Done(SMCCC_NOT_SUPPORTED);
        };
        match function {
            PsciFunction::Version => Answer::Done(PSCI_VERSION_1_1),
            PsciFunction::Features => Answer::Done(features(gprs[1]).to_register()),
            PsciFunction::CpuOn => self.check_on(gprs, convention),
            PsciFunction::AffinityInfo => Answer::Done(self.affinity_info(gprs, convention)),
            PsciFunction::CpuOff => {
                self.states.lock()[vcpu] = State::Off;
                Answer::Exit(PsciReturn::Denied.to_register())
            }
            PsciFunction::CpuSuspend => Answer::Exit(PsciReturn::Success.to_register()),
            PsciFunction::SystemOff | PsciFunction::SystemReset => {
                Answer::Exit(PsciReturn::InternalFailure.to_register())
            }
        }
    }

    /// `CPU_ON` of a vCPU that exists, at an address that does, is for the run loop.
    fn check_on(&self, gprs: &[u64; 31], convention: Convention) -> Answer {
        if self.vcpu(convention.argument(gprs[1])).is_none() {
            return Answer::Done(PsciReturn::InvalidParameters.to_register());
        }
        let pc = Ipa::new(convention.argument(gprs[2]));
        match self.map.locate(pc) {
            Place::Memory(_) => Answer::Complete,
            Place::Device(..) | Place::Hole => {
                Answer::Done(PsciReturn::InvalidAddress.to_register())
            }
        }
    }

    fn affinity_info(&self, gprs: &[u64; 31], convention: Convention) -> u64 {
        let vcpu = self.vcpu(convention.argument(gprs[1]));
        let level = convention.argument(gprs[2]);
        let (Some(vcpu), AFFINITY_LEVEL_PROCESSOR) = (vcpu, level) else {
            return PsciReturn::InvalidParameters.to_register();
        };
        match self.states.lock()[vcpu] {
            State::Off => PsciReturn::Off.to_register(),
            State::Starting(_) => AFFINITY_ON_PENDING,
            State::On => PsciReturn::ON.to_register(),
        }
    }

    fn vcpu(&self, affinity: u64) -> Option<usize> {
        vcpu_of(RecMpidr::from_affinity(affinity)?, self.map.vcpus())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::RAM_BASE;

    const FIRST: Start = Start {
        pc: RAM_BASE,
        argument: 7,
    };

    fn cpus() -> Cpus {
        Cpus::new(GuestMap::normal(40, 2, 0x1000_0000).unwrap(), FIRST)
    }

    fn registers(list: &[u64]) -> [u64; 31] {
        let mut gprs = [0; 31];
        gprs[..list.len()].copy_from_slice(list);
        gprs
    }

    fn call(cpus: &Cpus, list: &[u64]) -> Answer {
        cpus.call(0, &registers(list))
    }

    fn done(status: PsciReturn) -> Answer {
        Answer::Done(status.to_register())
    }

    #[test]
    fn first_vcpu_starts_once() {
        let cpus = cpus();
        assert_eq!(cpus.arrive(0), Arrival::Start(FIRST));
        assert_eq!(cpus.arrive(0), Arrival::On);
        assert_eq!(cpus.arrive(1), Arrival::Off);
    }

    #[test]
    fn calls_that_need_nobody_are_answered() {
        let cpus = cpus();
        assert_eq!(call(&cpus, &[0x8000_0000]), Answer::Done(0x1_0001));
        assert_eq!(call(&cpus, &[0x8400_0000]), Answer::Done(0x1_0001));
        assert_eq!(call(&cpus, &[0x8400_000A, 0x8000_0000]), Answer::Done(0));
        assert_eq!(call(&cpus, &[0x8400_0006]), Answer::Done(u64::MAX));
        // RSI_VERSION: a normal VM has no RMM.
        assert_eq!(call(&cpus, &[0xC400_0190]), Answer::Done(u64::MAX));
        assert_eq!(call(&cpus, &[0x8600_FF01]), Answer::Done(u64::MAX));
    }

    #[test]
    fn cpu_on_goes_through_its_states() {
        let cpus = cpus();
        let gprs = registers(&[0xC400_0003, 1, RAM_BASE + 0x1000, 5]);
        let info = |cpus: &Cpus| call(cpus, &[0xC400_0004, 1, 0]);
        assert_eq!(info(&cpus), done(PsciReturn::Off));
        assert_eq!(cpus.call(0, &gprs), Answer::Complete);
        let complete = |status| {
            let mut caller = Registers {
                gprs,
                ..Registers::default()
            };
            cpus.complete(1, &mut caller, status);
            PsciReturn::from_register(caller.gprs[0]).unwrap()
        };
        assert_eq!(complete(PsciReturn::Denied), PsciReturn::Denied);
        assert_eq!(complete(PsciReturn::Success), PsciReturn::Success);
        assert_eq!(info(&cpus), Answer::Done(2));
        assert_eq!(complete(PsciReturn::Success), PsciReturn::OnPending);
        let start = Start {
            pc: RAM_BASE + 0x1000,
            argument: 5,
        };
        assert_eq!(cpus.arrive(1), Arrival::Start(start));
        assert_eq!(info(&cpus), done(PsciReturn::ON));
        assert_eq!(complete(PsciReturn::Success), PsciReturn::AlreadyOn);
        let off = cpus.call(1, &registers(&[0x8400_0002]));
        assert!(matches!(off, Answer::Exit(_)));
        assert_eq!(cpus.arrive(1), Arrival::Off);
    }

    #[test]
    fn cpu_on_needs_a_vcpu_and_memory() {
        let cpus = cpus();
        let on = |target, pc| call(&cpus, &[0xC400_0003, target, pc]);
        assert_eq!(on(2, RAM_BASE), done(PsciReturn::InvalidParameters));
        assert_eq!(on(u64::MAX, RAM_BASE), done(PsciReturn::InvalidParameters));
        assert_eq!(on(1, 0x1000), done(PsciReturn::InvalidAddress));
        assert_eq!(on(1, RAM_BASE), Answer::Complete);
        let wide = [0x8400_0003, 1 << 40 | 1, 1 << 40 | RAM_BASE, 1 << 40 | 5];
        assert_eq!(call(&cpus, &wide), Answer::Complete, "SMC32 has words");
        let mut caller = Registers {
            gprs: registers(&wide),
            ..Registers::default()
        };
        cpus.complete(1, &mut caller, PsciReturn::Success);
        let start = Start {
            pc: RAM_BASE,
            argument: 5,
        };
        assert_eq!(cpus.arrive(1), Arrival::Start(start));
        assert_eq!(
            call(&cpus, &[0xC400_0004, 1, 1]),
            done(PsciReturn::InvalidParameters)
        );
    }

    #[test]
    fn ends_are_for_the_run_loop() {
        let cpus = cpus();
        for fid in [0x8400_0008, 0x8400_0009] {
            assert!(matches!(call(&cpus, &[fid]), Answer::Exit(_)));
        }
        assert_eq!(call(&cpus, &[0xC400_0001]), Answer::Exit(0), "a short wait");
    }
}
