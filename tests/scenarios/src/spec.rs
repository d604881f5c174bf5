// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The failure conditions of the specification and the orders between them, by command.
//!
//! Written from the condition tables of DEN0137 1.0-rel0, B4.3, apart from the scenarios, so that a
//! scenario that is missing is found.

use alloc::vec::Vec;

use rmi::CommandId;

use crate::scenario::{Kind, all};

/// Each of `first` is reported before each of `then`.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// The conditions that are reported.
    pub first: &'static [&'static str],
    /// The conditions that are hidden by them.
    pub then: &'static [&'static str],
}

/// The contract of one command.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// The command.
    pub command: CommandId,
    /// Its failure conditions.
    pub conditions: &'static [&'static str],
    /// The orders between them.
    pub orders: &'static [Order],
}

const fn order(first: &'static [&'static str], then: &'static [&'static str]) -> Order {
    Order { first, then }
}

const RD: &[&str] = &["rd_bound", "rd_state"];
const LEVEL_IPA: &[&str] = &["level_bound", "ipa_bound"];
const WALK: &[&str] = &["rtt_walk", "rtte_state"];

/// Every command.
pub const SPEC: &[Spec] = &[
    Spec {
        command: CommandId::Version,
        conditions: &[],
        orders: &[],
    },
    Spec {
        command: CommandId::Features,
        conditions: &[],
        orders: &[],
    },
    Spec {
        command: CommandId::GranuleDelegate,
        conditions: &["gran_align", "gran_bound", "gran_state", "gran_gpt"],
        orders: &[],
    },
    Spec {
        command: CommandId::GranuleUndelegate,
        conditions: &["gran_align", "gran_bound", "gran_state"],
        orders: &[],
    },
    Spec {
        command: CommandId::RealmCreate,
        conditions: &[
            "params_align",
            "params_bound",
            "params_pas",
            "params_valid",
            "params_supp",
            "alias",
            "rd_align",
            "rd_bound",
            "rd_state",
            "rtt_align",
            "rtt_num_level",
            "rtt_state",
            "vmid_valid",
        ],
        orders: &[],
    },
    Spec {
        command: CommandId::RealmActivate,
        conditions: &["rd_align", "rd_bound", "rd_state", "realm_state"],
        orders: &[order(RD, &["realm_state"])],
    },
    Spec {
        command: CommandId::RealmDestroy,
        conditions: &["rd_align", "rd_bound", "rd_state", "realm_live"],
        orders: &[order(RD, &["realm_live"])],
    },
    Spec {
        command: CommandId::RecAuxCount,
        conditions: &["rd_align", "rd_bound", "rd_state"],
        orders: &[],
    },
    Spec {
        command: CommandId::RecCreate,
        conditions: &[
            "params_align",
            "params_bound",
            "params_pas",
            "rec_align",
            "rec_bound",
            "rec_state",
            "rd_align",
            "rd_bound",
            "rd_state",
            "realm_state",
            "num_recs",
            "mpidr_index",
            "num_aux",
            "aux_align",
            "aux_alias",
            "aux_state",
        ],
        orders: &[order(RD, &["realm_state", "num_recs"])],
    },
    Spec {
        command: CommandId::RecDestroy,
        conditions: &["rec_align", "rec_bound", "rec_gran_state", "rec_state"],
        orders: &[order(&["rec_bound", "rec_gran_state"], &["rec_state"])],
    },
    Spec {
        command: CommandId::RecEnter,
        conditions: &[
            "run_align",
            "run_bound",
            "run_pas",
            "rec_align",
            "rec_bound",
            "rec_gran_state",
            "realm_new",
            "system_off",
            "rec_state",
            "rec_runnable",
            "rec_mmio",
            "rec_gicv3",
            "rec_psci",
        ],
        orders: &[order(
            &[
                "run_align",
                "run_bound",
                "run_pas",
                "rec_align",
                "rec_bound",
                "rec_gran_state",
            ],
            &[
                "realm_new",
                "system_off",
                "rec_state",
                "rec_runnable",
                "rec_mmio",
                "rec_gicv3",
                "rec_psci",
            ],
        )],
    },
    Spec {
        command: CommandId::PsciComplete,
        conditions: &[
            "alias",
            "calling_align",
            "calling_bound",
            "calling_state",
            "target_align",
            "target_bound",
            "target_state",
            "pending",
            "owner",
            "target",
            "status",
        ],
        orders: &[],
    },
    Spec {
        command: CommandId::RttCreate,
        conditions: &[
            "rd_align",
            "rd_bound",
            "rd_state",
            "level_bound",
            "ipa_align",
            "ipa_bound",
            "rtt_align",
            "rtt_bound",
            "rtt_state",
            "rtt_bound2",
            "rtt_walk",
            "rtte_state",
        ],
        orders: &[order(RD, WALK), order(LEVEL_IPA, WALK)],
    },
    Spec {
        command: CommandId::RttDestroy,
        conditions: &[
            "rd_align",
            "rd_bound",
            "rd_state",
            "level_bound",
            "ipa_align",
            "ipa_bound",
            "rtt_walk",
            "rtte_state",
            "rtt_live",
        ],
        orders: &[
            order(RD, &["rtt_walk", "rtte_state", "rtt_live"]),
            order(LEVEL_IPA, WALK),
        ],
    },
    Spec {
        command: CommandId::RttFold,
        conditions: &[
            "rd_align",
            "rd_bound",
            "rd_state",
            "level_bound",
            "ipa_align",
            "ipa_bound",
            "rtt_walk",
            "rtte_state",
            "rtt_homo",
        ],
        orders: &[
            order(RD, &["rtt_walk", "rtte_state", "rtt_homo"]),
            order(LEVEL_IPA, WALK),
        ],
    },
    Spec {
        command: CommandId::RttMapUnprotected,
        conditions: &[
            "attr_valid",
            "rd_align",
            "rd_bound",
            "rd_state",
            "level_bound",
            "addr_align",
            "addr_bound",
            "ipa_align",
            "ipa_bound",
            "rtt_walk",
            "rtte_state",
        ],
        orders: &[order(RD, WALK), order(LEVEL_IPA, WALK)],
    },
    Spec {
        command: CommandId::RttUnmapUnprotected,
        conditions: &[
            "rd_align",
            "rd_bound",
            "rd_state",
            "level_bound",
            "ipa_align",
            "ipa_bound",
            "rtt_walk",
            "rtte_state",
        ],
        orders: &[order(RD, WALK), order(LEVEL_IPA, WALK)],
    },
    Spec {
        command: CommandId::RttReadEntry,
        conditions: &[
            "rd_align",
            "rd_bound",
            "rd_state",
            "level_bound",
            "ipa_align",
            "ipa_bound",
        ],
        orders: &[],
    },
    Spec {
        command: CommandId::DataCreate,
        conditions: &[
            "src_align",
            "src_bound",
            "src_pas",
            "data_align",
            "data_bound",
            "data_state",
            "data_bound2",
            "rd_align",
            "rd_bound",
            "rd_state",
            "ipa_align",
            "ipa_bound",
            "realm_state",
            "rtt_walk",
            "rtte_state",
        ],
        orders: &[
            order(RD, &["realm_state"]),
            order(RD, WALK),
            order(&["ipa_bound"], WALK),
        ],
    },
    Spec {
        command: CommandId::DataCreateUnknown,
        conditions: &[
            "data_align",
            "data_bound",
            "data_state",
            "data_bound2",
            "rd_align",
            "rd_bound",
            "rd_state",
            "ipa_align",
            "ipa_bound",
            "rtt_walk",
            "rtte_state",
        ],
        orders: &[order(RD, WALK), order(&["ipa_bound"], WALK)],
    },
    Spec {
        command: CommandId::DataDestroy,
        conditions: &[
            "rd_align",
            "rd_bound",
            "rd_state",
            "ipa_align",
            "ipa_bound",
            "rtt_walk",
            "rtte_state",
        ],
        orders: &[order(RD, WALK), order(&["ipa_bound"], WALK)],
    },
    Spec {
        command: CommandId::RttInitRipas,
        conditions: &[
            "rd_align",
            "rd_bound",
            "rd_state",
            "size_valid",
            "top_bound",
            "realm_state",
            "base_align",
            "rtte_state",
            "top_gran_align",
            "no_progress",
        ],
        orders: &[
            order(RD, &["realm_state"]),
            order(RD, &["base_align", "rtte_state"]),
            order(RD, &["no_progress"]),
            order(&["top_gran_align"], &["no_progress"]),
        ],
    },
    Spec {
        command: CommandId::RttSetRipas,
        conditions: &[
            "rd_align",
            "rd_bound",
            "rd_state",
            "rec_align",
            "rec_bound",
            "rec_gran_state",
            "rec_state",
            "rec_owner",
            "size_valid",
            "base_bound",
            "top_bound",
            "base_align",
            "top_gran_align",
            "no_progress",
        ],
        orders: &[
            order(RD, &["base_align"]),
            order(RD, &["no_progress"]),
            order(
                &["rec_bound", "rec_gran_state"],
                &["rec_state", "rec_owner"],
            ),
            order(&["base_bound"], &["base_align"]),
            order(&["top_gran_align"], &["no_progress"]),
        ],
    },
];

/// One cell of the table of command and condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The command.
    pub command: CommandId,
    /// What has to be proven.
    pub kind: Kind,
}

impl Spec {
    /// Returns what has to be proven of the command.
    pub fn cells(&self) -> impl Iterator<Item = Cell> + '_ {
        let command = self.command;
        let conditions = self
            .conditions
            .iter()
            .map(|condition| Kind::Condition { condition });
        let pairs = self.orders.iter().flat_map(|order| {
            let of_first = |first: &'static str| {
                order
                    .then
                    .iter()
                    .map(move |then| Kind::Order { first, then })
            };
            order.first.iter().copied().flat_map(of_first)
        });
        conditions
            .chain(pairs)
            .map(move |kind| Cell { command, kind })
    }
}

/// Returns the cells for which there is no scenario.
#[must_use]
pub fn missing() -> Vec<Cell> {
    let is_missing = |cell: &Cell| {
        !all().any(|scenario| scenario.command == cell.command && scenario.kind == cell.kind)
    };
    SPEC.iter()
        .flat_map(Spec::cells)
        .filter(is_missing)
        .collect()
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::collections::BTreeSet;
    use std::format;

    use super::*;

    #[test]
    fn every_command_has_a_contract() {
        let commands: BTreeSet<_> = SPEC.iter().map(|spec| spec.command).collect();
        assert_eq!(commands.len(), CommandId::COUNT);
        assert_eq!(SPEC.len(), CommandId::COUNT);
    }

    #[test]
    fn every_cell_has_a_scenario() {
        let missing = missing();
        assert!(missing.is_empty(), "missing: {missing:#?}");
    }

    #[test]
    fn no_scenario_is_of_an_unknown_condition() {
        let cells: std::vec::Vec<_> = SPEC.iter().flat_map(Spec::cells).collect();
        for scenario in all() {
            let cell = Cell {
                command: scenario.command,
                kind: scenario.kind,
            };
            let is_free = matches!(scenario.kind, Kind::Behaviour | Kind::Lifecycle);
            assert!(is_free || cells.contains(&cell), "{}", scenario.name);
        }
    }

    #[test]
    fn names_are_unique_and_begin_with_their_command() {
        let names: BTreeSet<_> = all().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), all().count());
        let groups = crate::rmi::GROUPS.iter().chain([&crate::beside::SCENARIOS]);
        for scenario in groups.copied().flatten() {
            let command = scenario.command.name().to_lowercase();
            let prefix = format!("{}_", command.trim_start_matches("rmi_"));
            assert!(scenario.name.starts_with(&prefix), "{}", scenario.name);
        }
    }
}
