// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The scenarios of the commands of the Host, one file per command.

mod common;
mod conditions;
mod data_create;
mod data_create_unknown;
mod data_destroy;
mod features;
mod granule_delegate;
mod granule_undelegate;
mod psci_complete;
mod realm_activate;
mod realm_create;
mod realm_destroy;
mod rec_aux_count;
mod rec_create;
mod rec_destroy;
mod rec_enter;
mod rtt_create;
mod rtt_destroy;
mod rtt_fold;
mod rtt_init_ripas;
mod rtt_map_unprotected;
mod rtt_read_entry;
mod rtt_set_ripas;
mod rtt_unmap_unprotected;
mod shapes;
mod version;
mod views;

use crate::scenario::Scenario;

/// The scenarios, command by command.
pub(crate) const GROUPS: &[&[Scenario]] = &[
    version::SCENARIOS,
    features::SCENARIOS,
    granule_delegate::SCENARIOS,
    granule_undelegate::SCENARIOS,
    realm_create::SCENARIOS,
    shapes::SCENARIOS,
    realm_activate::SCENARIOS,
    realm_destroy::SCENARIOS,
    rec_aux_count::SCENARIOS,
    rec_create::SCENARIOS,
    rec_destroy::SCENARIOS,
    rec_enter::SCENARIOS,
    psci_complete::SCENARIOS,
    rtt_create::SCENARIOS,
    rtt_destroy::SCENARIOS,
    rtt_fold::SCENARIOS,
    rtt_map_unprotected::SCENARIOS,
    rtt_unmap_unprotected::SCENARIOS,
    rtt_read_entry::SCENARIOS,
    rtt_init_ripas::SCENARIOS,
    rtt_set_ripas::SCENARIOS,
    data_create::SCENARIOS,
    data_create_unknown::SCENARIOS,
    data_destroy::SCENARIOS,
    views::SCENARIOS,
];
