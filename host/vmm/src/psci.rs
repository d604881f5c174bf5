// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Which vCPUs are on, as the host knows it.
//!
//! For a Realm the RMM decides whether a REC may run; the host only has to know when a PE should
//! wait and when it should try again. The two views differ for a moment: a vCPU that turned itself
//! off may be turned on by another before its own PE has noted that it is off. [`Power`] remembers
//! such a request, so that none is lost; one that turns out to be stale costs a single refused
//! entry.

use crate::machine::{MAX_VCPUS, VcpuSet};
use spin::Mutex;

/// The power state of every vCPU of a VM.
#[derive(Debug)]
pub struct Power {
    states: Mutex<[State; MAX_VCPUS]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Off,
    On,
    /// On, and it was asked to be on since: it may have turned itself off in between.
    OnAgain,
}

/// What becomes of a vCPU that turned itself off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterOff {
    /// It waits to be turned on.
    Wait,
    /// Another vCPU asked for it already: it is entered again, and may be refused.
    TryAgain,
}

impl Clone for Power {
    fn clone(&self) -> Self {
        Self {
            states: Mutex::new(*self.states.lock()),
        }
    }
}

impl Power {
    /// Returns the state in which only the vCPUs of `on` are on.
    pub fn new(on: VcpuSet) -> Self {
        let state = |vcpu| {
            if on.contains(vcpu) {
                State::On
            } else {
                State::Off
            }
        };
        Self {
            states: Mutex::new(core::array::from_fn(state)),
        }
    }

    /// Tells whether a vCPU is on.
    pub fn is_on(&self, vcpu: usize) -> bool {
        self.states.lock()[vcpu] != State::Off
    }

    /// Notes that a vCPU was asked to be on; tells whether its PE waits and must be interrupted.
    pub fn turn_on(&self, vcpu: usize) -> bool {
        let state = &mut self.states.lock()[vcpu];
        let was_off = *state == State::Off;
        *state = if was_off { State::On } else { State::OnAgain };
        was_off
    }

    /// Notes that a vCPU turned itself off, or that an entry was refused because it is off.
    pub fn turn_off(&self, vcpu: usize) -> AfterOff {
        let state = &mut self.states.lock()[vcpu];
        if *state == State::OnAgain {
            *state = State::On;
            AfterOff::TryAgain
        } else {
            *state = State::Off;
            AfterOff::Wait
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_follows_requests() {
        let power = Power::new(VcpuSet::only(0));
        assert!(power.is_on(0));
        assert!(!power.is_on(1));
        assert!(power.turn_on(1), "its PE waits");
        assert!(power.is_on(1));
        assert_eq!(power.turn_off(1), AfterOff::Wait);
        assert!(!power.is_on(1));
    }

    #[test]
    fn request_before_the_off_is_noted_is_not_lost() {
        let power = Power::new(VcpuSet::first(2));
        assert!(!power.turn_on(1));
        assert_eq!(power.turn_off(1), AfterOff::TryAgain);
        assert!(power.is_on(1));
        assert_eq!(
            power.turn_off(1),
            AfterOff::Wait,
            "a stale request counts once"
        );
    }
}
