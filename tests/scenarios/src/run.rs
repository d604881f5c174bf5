// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Running scenarios and reporting them.

use alloc::string::String;

use crate::outcome::{Outcome, Stop};
use crate::port::RmiPort;
use crate::scenario::{Scenario, all, on_machine};
use crate::world::World;

/// Realms of the first scenario have greater VMIDs.
const FIRST_VMID: u16 = 1;

/// What came of one scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Passed,
    /// It does not hold.
    Failed(String),
    /// It could not be tried.
    Skipped(String),
}

/// How many scenarios came to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// They hold.
    pub passed: usize,
    /// They do not.
    pub failed: usize,
    /// They could not be tried.
    pub skipped: usize,
}

/// Hears of each scenario as it ends.
pub trait Report {
    /// So many scenarios are going to run.
    fn plan(&mut self, count: usize);
    /// The `number`th of them, counted from 1, ended.
    fn done(&mut self, number: usize, scenario: &Scenario, verdict: &Verdict);
}

/// Which scenarios to run: alternatives behind `|`; each is a part of the name, `^` binds it to the
/// beginning and `$` to the end. Empty means all. `name>` in front leaves out everything up to the
/// scenario of that name.
#[derive(Clone, Copy, Debug)]
pub struct Filter<'a>(pub &'a str);

impl<'a> Filter<'a> {
    /// Picks the scenarios that are to run, in their order.
    pub fn pick(
        self,
        scenarios: impl Iterator<Item = &'static Scenario> + 'a,
    ) -> impl Iterator<Item = &'static Scenario> + 'a {
        let (last_left_out, filter) = match self.0.split_once('>') {
            Some((name, rest)) => (Some(name), Self(rest)),
            None => (None, self),
        };
        let mut is_left_out = last_left_out.is_some();
        scenarios.filter(move |scenario| {
            let is_picked = !is_left_out && filter.admits(scenario.name);
            is_left_out &= last_left_out != Some(scenario.name);
            is_picked
        })
    }

    fn admits(&self, name: &str) -> bool {
        self.0.split('|').any(|part| {
            let (part, at_start) = match part.strip_prefix('^') {
                Some(rest) => (rest, true),
                None => (part, false),
            };
            let (part, at_end) = match part.strip_suffix('$') {
                Some(rest) => (rest, true),
                None => (part, false),
            };
            match (at_start, at_end) {
                (true, true) => name == part,
                (true, false) => name.starts_with(part),
                (false, true) => name.ends_with(part),
                (false, false) => name.contains(part),
            }
        })
    }
}

/// Runs the scenarios that the filter admits, one after another on the same machine. Those that need
/// the payload are among them if the port has it.
pub fn run_all(port: &mut dyn RmiPort, filter: Filter<'_>, report: &mut dyn Report) -> Summary {
    let has_payload = !port.payload().is_empty();
    let picked = || filter.pick(all().chain(on_machine().filter(move |_| has_payload)));
    report.plan(picked().count());
    let mut summary = Summary::default();
    let mut greatest_vmid = FIRST_VMID;
    for (number, scenario) in picked().enumerate() {
        let verdict = run_beside(port, scenario, &mut greatest_vmid);
        match verdict {
            Verdict::Passed => summary.passed += 1,
            Verdict::Failed(_) => summary.failed += 1,
            Verdict::Skipped(_) => summary.skipped += 1,
        }
        report.done(number + 1, scenario, &verdict);
    }
    summary
}

/// Runs one scenario and takes down what it made.
pub fn run_one(port: &mut dyn RmiPort, scenario: &Scenario) -> Verdict {
    run_beside(port, scenario, &mut { FIRST_VMID })
}

/// The same beside the Realms that failed scenarios may have left, whose VMIDs are not above this one.
fn run_beside(port: &mut dyn RmiPort, scenario: &Scenario, greatest_vmid: &mut u16) -> Verdict {
    match in_world_beside(port, greatest_vmid, scenario.run) {
        Ok(()) => Verdict::Passed,
        Err(Stop::Failed(reason)) => Verdict::Failed(reason),
        Err(Stop::Skipped(reason)) => Verdict::Skipped(reason),
    }
}

/// Does something in an empty world and takes down what it made. What is wrong then is a failure, unless
/// there was one before.
pub(crate) fn in_world<T>(
    port: &mut dyn RmiPort,
    run: impl FnOnce(&mut World<'_>) -> Outcome<T>,
) -> Outcome<T> {
    in_world_beside(port, &mut { FIRST_VMID }, run)
}

fn in_world_beside<T>(
    port: &mut dyn RmiPort,
    greatest_vmid: &mut u16,
    run: impl FnOnce(&mut World<'_>) -> Outcome<T>,
) -> Outcome<T> {
    let mut world = World::beside(port, *greatest_vmid);
    let outcome = run(&mut world).and_then(|value| audit(&mut world).map(|()| value));
    let teardown = world.teardown();
    let outcome = match (outcome, teardown) {
        (Err(Stop::Failed(reason)), _) => Err(Stop::Failed(reason)),
        (_, Err(Stop::Failed(reason) | Stop::Skipped(reason))) => Err(Stop::Failed(reason)),
        (outcome, Ok(())) => outcome,
    };
    if matches!(outcome, Err(Stop::Failed(_))) && !world.sweep() {
        *greatest_vmid = world.last_vmid();
    }
    outcome
}

fn audit(world: &mut World<'_>) -> Outcome {
    world.port.audit().map_err(Stop::Failed)
}

#[cfg(test)]
mod tests {
    use super::{Filter, all};
    use alloc::vec::Vec;

    #[test]
    fn filter_picks_what_follows_a_name() {
        fn names(filter: &str) -> Vec<&'static str> {
            let picked = Filter(filter).pick(all());
            picked.map(|scenario| scenario.name).collect()
        }
        let all = names("");
        assert_eq!(names("version_success>"), all[1..]);
        let last = all.last().expect("there are scenarios");
        assert!(names(&alloc::format!("{last}>")).is_empty());
        let some = names("granule_delegate_gran_align>^granule_delegate");
        assert!(some.contains(&"granule_delegate_gran_bound"));
        assert!(some.iter().all(|name| name.starts_with("granule_delegate")));
        assert!(!some.contains(&"granule_delegate_gran_align"));
    }

    #[test]
    fn filter_admits_parts_and_ends() {
        assert!(Filter("").admits("rtt_fold_success"));
        assert!(Filter("fold").admits("rtt_fold_success"));
        assert!(!Filter("^fold").admits("rtt_fold_success"));
        assert!(Filter("^data|success$").admits("rtt_fold_success"));
        assert!(!Filter("^rtt_fold$").admits("rtt_fold_success"));
    }
}
