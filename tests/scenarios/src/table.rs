// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The table of what is proven where, from the names of the scenarios.

use alloc::format;
use alloc::string::String;

use crate::scenario::{Kind, Scenario, all};
use crate::spec::{Cell, SPEC, Spec};

/// Scenarios of conditions and orders that QEMU's machine under TF-A cannot try, and why.
const NOT_ON_TARGET: &[(&str, &str)] = &[
    (
        "granule_delegate_gran_gpt",
        "the Host cannot give granules to the Secure world",
    ),
    ("rtt_create_rtt_bound2", "no memory above 2^48"),
    ("data_create_data_bound2", "no memory above 2^48"),
    ("data_create_unknown_data_bound2", "no memory above 2^48"),
];

/// Returns why the scenario of a condition or an order need not run on target.
#[must_use]
pub fn reason_not_on_target(name: &str) -> Option<&'static str> {
    let row = NOT_ON_TARGET.iter().find(|(known, _)| *known == name);
    row.map(|(_, reason)| *reason)
}

/// Says whether a scenario of this name proves a condition or an order, which every run has to.
#[must_use]
pub fn is_cell(name: &str) -> bool {
    let mut known = all().filter(|scenario| scenario.name == name);
    known.any(|scenario| matches!(scenario.kind, Kind::Condition { .. } | Kind::Order { .. }))
}

fn scenario_of(cell: Cell) -> Option<&'static Scenario> {
    all().find(|scenario| scenario.command == cell.command && scenario.kind == cell.kind)
}

/// Returns the table as Markdown: what is proven in-process, on every kind of machine that can, and on
/// target.
#[must_use]
pub fn table() -> String {
    let mut text = String::from(
        "# What is proven\n\n\
         Written by `cargo xtask conformance --table`; `cargo xtask check` compares. Each failure condition of the\n\
         specification has the scenario `<command>_<condition>`, each ordered pair\n\
         `<command>_<condition>_before_<condition>`. In-process every one holds on some machine of\n\
         `tests/conformance`, or the run fails; on target each holds, unless a reason is given.\n\n\
         | command | condition | in-process | on target |\n|---|---|---|---|\n",
    );
    for spec in SPEC {
        add_rows(spec, &mut text);
    }
    text
}

fn add_rows(spec: &Spec, text: &mut String) {
    let name = spec.command.name();
    for cell in spec.cells() {
        if let Kind::Condition { condition } = cell.kind {
            let (here, there) = proof(cell);
            text.push_str(&format!("| {name} | {condition} | {here} | {there} |\n"));
        }
    }
    let orders = || {
        let cells = spec.cells();
        cells.filter(|cell| matches!(cell.kind, Kind::Order { .. }))
    };
    let (all, proven) = (
        orders().count(),
        orders().filter(|cell| proof(*cell).0 == "yes"),
    );
    if all > 0 {
        let here = proven.count();
        let there = orders().filter(|cell| proof(*cell).1 == "yes").count();
        let row = format!("| {name} | ordered pairs | {here} of {all} | {there} of {all} |\n");
        text.push_str(&row);
    }
    if spec.conditions.is_empty() {
        text.push_str(&format!("| {name} | (it cannot fail on one) | | |\n"));
    }
}

/// Returns the two last columns of a cell.
fn proof(cell: Cell) -> (&'static str, &'static str) {
    match scenario_of(cell) {
        None => ("MISSING", "MISSING"),
        Some(scenario) => ("yes", reason_not_on_target(scenario.name).unwrap_or("yes")),
    }
}
