// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Scenarios from the failure conditions of a command.

use rmi::{Command, CommandId};

use crate::check;
use crate::outcome::{Outcome, Reply};
use crate::snapshot::{Depth, Snapshot};
use crate::world::World;

/// A call that is about to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The command.
    pub id: CommandId,
    /// x0 to x7.
    pub registers: [u64; 8],
    /// The entry of a REC that runs on another PE meanwhile.
    pub during: Option<[u64; 8]>,
}

impl From<Command> for Call {
    fn from(command: Command) -> Self {
        Self {
            id: command.id(),
            registers: command.encode(),
            during: None,
        }
    }
}

impl Call {
    fn register(&self, input: &str) -> usize {
        let position = self.id.inputs().iter().position(|name| *name == input);
        1 + position.expect("a scenario names an input of its command")
    }

    /// Returns an input by the specification's name.
    #[must_use]
    pub fn get(&self, input: &str) -> u64 {
        self.registers[self.register(input)]
    }

    /// Changes an input.
    pub fn set(&mut self, input: &str, value: u64) {
        let register = self.register(input);
        self.registers[register] = value;
    }
}

/// Builds a call that succeeds, and all it needs.
pub(crate) type Base = fn(&mut World<'_>) -> Outcome<Call>;

/// Makes one failure condition hold and returns the reply that follows from it.
pub(crate) type Break = fn(&mut World<'_>, &mut Call) -> Outcome<Reply>;

/// The base breaks in one respect.
pub(crate) fn fails(world: &mut World<'_>, base: Base, condition: Break) -> Outcome {
    let mut call = base(world)?;
    let wanted = condition(world, &mut call)?;
    refuse(world, &call, wanted)
}

/// The base breaks in two respects, and the specification says which one is reported.
pub(crate) fn fails_first(world: &mut World<'_>, base: Base, first: Break, then: Break) -> Outcome {
    let mut call = base(world)?;
    let hidden = then(world, &mut call)?;
    let wanted = first(world, &mut call)?;
    check!(
        hidden.x0() != wanted.x0(),
        "both conditions give {wanted:?}: the scenario proves nothing"
    );
    refuse(world, &call, wanted)
}

/// Makes a call that must fail in this way and change nothing.
pub(crate) fn refuse(world: &mut World<'_>, call: &Call, wanted: Reply) -> Outcome {
    // A REC that runs meanwhile changes, so only what calls show is compared then.
    let depth = match call.during {
        Some(_) => Depth::Calls,
        None => Depth::Everything,
    };
    let before = Snapshot::take(world, depth)?;
    let reply = make(world, call)?;
    world.check_reply(call.id, reply, wanted)?;
    let after = Snapshot::take(world, depth)?;
    check!(
        before == after,
        "{} failed with {reply:?} and changed something",
        call.id.name()
    );
    Ok(())
}

/// Makes a call that succeeds and gives its reply.
pub(crate) fn make(world: &mut World<'_>, call: &Call) -> Outcome<Reply> {
    let Some(enter) = call.during else {
        return Ok(world.call_raw(call.registers));
    };
    world.need(
        crate::Capabilities::SECOND_PE,
        "no call can be made while a REC runs",
    )?;
    let during = world.port.call_during(enter, call.registers);
    let Some(during) = during else {
        check!(false, "the REC did not run");
        unreachable!("checked")
    };
    let entered = Reply(during.enter).without_kept(&enter);
    world.check_reply(CommandId::RecEnter, entered, Reply::SUCCESS)?;
    let reply = Reply(during.call).without_kept(&call.registers);
    world.account(&call.registers, reply);
    Ok(reply)
}

/// Makes the list of a command's scenarios from functions of the module.
macro_rules! contract {
    (
        $id:ident, $prefix:literal, $base:path;
        conditions { $($condition:ident)* }
        orders { $($first:ident < $then:ident)* }
        others { $($other:ident)* }
    ) => {
        /// The scenarios of this command.
        pub(crate) const SCENARIOS: &[$crate::Scenario] = &[
            $($crate::Scenario {
                name: concat!($prefix, "_", stringify!($condition)),
                command: ::rmi::CommandId::$id,
                kind: $crate::Kind::Condition { condition: stringify!($condition) },
                run: |world| $crate::contract::fails(world, $base, $condition),
            },)*
            $($crate::Scenario {
                name: concat!($prefix, "_", stringify!($first), "_before_", stringify!($then)),
                command: ::rmi::CommandId::$id,
                kind: $crate::Kind::Order {
                    first: stringify!($first),
                    then: stringify!($then),
                },
                run: |world| $crate::contract::fails_first(world, $base, $first, $then),
            },)*
            $($crate::Scenario {
                name: concat!($prefix, "_", stringify!($other)),
                command: ::rmi::CommandId::$id,
                kind: $crate::Kind::Behaviour,
                run: $other,
            },)*
        ];
    };
}
pub(crate) use contract;
