// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Which replies the specification allows.

use rmi::CommandId;
use scenarios::Reply;
use scenarios::spec::SPEC;

/// The failure conditions of one call that hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict(Vec<(&'static str, Reply)>);

impl Verdict {
    /// Notes a condition.
    pub(super) fn add(&mut self, condition: &'static str, reply: Reply) {
        self.0.push((condition, reply));
    }

    /// Notes a condition that gives INPUT, if it holds.
    pub(super) fn input_if(&mut self, holds: bool, condition: &'static str) {
        if holds {
            self.add(condition, Reply::input());
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the conditions that no other one hides, and their replies.
    pub(super) fn allowed(&self, command: CommandId) -> Vec<(&'static str, Reply)> {
        let spec = SPEC.iter().find(|spec| spec.command == command);
        let orders = spec.map_or(&[][..], |spec| spec.orders);
        let holds = |name: &str| self.0.iter().any(|(condition, _)| *condition == name);
        let is_hidden = |condition: &str| {
            orders.iter().any(|order| {
                order.then.contains(&condition) && order.first.iter().any(|f| holds(f))
            })
        };
        self.0
            .iter()
            .filter(|(condition, _)| !is_hidden(condition))
            .copied()
            .collect()
    }
}
