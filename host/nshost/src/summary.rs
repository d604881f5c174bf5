// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What a run amounted to, and whether everything is as it was before.

use alloc::format;
use alloc::string::String;

use host_mm::addr::PAGE_SIZE;
use host_mm::host::{Counter, Host};
use host_mm::pages::{PageStats, PageUse};
use host_mm::realm::MappingSizes;
use host_mm::vm::{Guest, Vm as MemoryVm};
use host_vmm::vm::Vm;
use log::info;

use crate::machine::Machine;
use crate::timer;

/// The state of memory before a VM.
pub(crate) struct Before {
    stats: PageStats,
}

impl Before {
    /// Notes the state of memory.
    pub(crate) fn take(host: &Host<Machine>) -> Self {
        Self {
            stats: host.pages().stats(),
        }
    }
}

/// Uses of pages that are the RMM's own records of Realms.
const METADATA: [PageUse; 4] = [PageUse::Rd, PageUse::Rtt, PageUse::Rec, PageUse::RecAux];

/// How a VM's memory was mapped in the end.
pub(crate) struct Mapped(MappingSizes);

impl Mapped {
    /// Looks at a VM that has stopped.
    pub(crate) fn of(memory: &MemoryVm<'_, Machine>) -> Self {
        Self(match memory.guest() {
            Guest::Realm(realm) => realm.mapping_sizes(),
            Guest::Normal(stage2) => stage2.mapping_sizes(),
        })
    }
}

/// Reports everything that was counted about a VM, each line with `prefix`.
pub(crate) fn report(prefix: &str, vm: &Vm, memory: &MemoryVm<'_, Machine>, mapped: &Mapped) {
    let rate = timer::ticks_per_second();
    vm.counters()
        .report(rate, |line| info!("summary: {prefix}{line}"));
    let counts = |kind: &str, counts: &[(&str, &Counter)]| {
        for (name, counter) in counts {
            info!("summary: {prefix}{kind}-{name} {}", counter.get());
        }
    };
    let faults = memory.counters();
    counts(
        "faults",
        &[
            ("handled", &faults.faults),
            ("translation", &faults.translation),
            ("permission", &faults.permission),
            ("access-flag", &faults.access_flag),
            ("served", &faults.mapped),
            ("served-with-block", &faults.blocks),
            ("served-with-device", &faults.devices),
            ("refused-fetch-from-device", &faults.device_fetches),
            ("pages-logged", &faults.logged),
            ("retried", &faults.retried),
            ("failed", &faults.failed),
        ],
    );
    match memory.guest() {
        Guest::Realm(realm) => {
            let counters = realm.counters();
            counts(
                "realm",
                &[
                    ("pages-populated", &counters.populated),
                    ("pages-created", &counters.created),
                    ("pages-shared", &counters.shared),
                    ("pages-unshared", &counters.unshared),
                    ("pages-destroyed", &counters.destroyed),
                    ("tables-created", &counters.tables),
                    ("folds", &counters.folds),
                    ("folds-refused", &counters.folds_refused),
                    ("unfolds", &counters.unfolds),
                    ("ripas-steps", &counters.ripas_steps),
                    ("table-races", &counters.table_races),
                    ("page-races", &counters.page_races),
                ],
            );
        }
        Guest::Normal(stage2) => {
            let counters = stage2.counters();
            counts(
                "stage2",
                &[
                    ("installed", &counters.installed),
                    ("broken", &counters.broken),
                    ("tables", &counters.tables),
                    ("collapsed", &counters.collapsed),
                    ("relaxed", &counters.relaxed),
                    ("write-protected", &counters.protected),
                    ("removed", &counters.removed),
                ],
            );
        }
    }
    let MappingSizes {
        pages,
        blocks_2m,
        blocks_1g,
    } = mapped.0;
    info!("summary: {prefix}mapped-at-end 4KiB {pages} 2MiB {blocks_2m} 1GiB {blocks_1g}");
}

/// Reports who used how much memory; the VM is gone.
pub(crate) fn report_pages(host: &Host<Machine>) {
    let pages = host.pages();
    for used_for in PageUse::ALL {
        let gauge = pages.usage(used_for);
        if gauge.peak() > 0 {
            let name = used_for.name();
            info!(
                "summary: granules {name} peak {} after {}",
                gauge.peak(),
                gauge.now()
            );
        }
    }
    let metadata: u64 = METADATA
        .iter()
        .map(|used_for| pages.usage(*used_for).peak())
        .sum();
    info!("summary: rmm-metadata-bytes {}", metadata * PAGE_SIZE);
    let (stats, returns) = (pages.stats(), host.returns());
    info!(
        "summary: delegated peak {} after {}",
        stats.delegated_peak, stats.delegated
    );
    info!("summary: returned {}", returns.returned.get());
    info!("summary: returned-uneven {}", returns.uneven.get());
    info!("summary: returned-with-secret {}", returns.tainted.get());
    info!("summary: leaked {}", returns.leaked.get());
}

/// Checks that the Realm world has given everything back, and nothing with it.
///
/// # Errors
/// What is not as it should be.
pub(crate) fn check(host: &Host<Machine>, before: &Before) -> Result<(), String> {
    let after = host.pages().stats();
    let returns = host.returns();
    if after.delegated != before.stats.delegated {
        let left = after.delegated.saturating_sub(before.stats.delegated);
        return Err(format!("{left} granules are still delegated"));
    }
    if returns.leaked.get() > 0 {
        return Err(format!("{} granules were lost", returns.leaked.get()));
    }
    if returns.tainted.get() > 0 {
        return Err(format!(
            "{} pages came back with guest data",
            returns.tainted.get()
        ));
    }
    if after.free_delegable + after.free_other
        != before.stats.free_delegable + before.stats.free_other
    {
        let free = |stats: &PageStats| stats.free_delegable + stats.free_other;
        let lost = free(&before.stats).saturating_sub(free(&after));
        return Err(format!("{lost} pages of the host were not freed"));
    }
    Ok(())
}
