// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What a running Realm sees when the Host changes its tables.
//!
//! The Realm touches an address, so that a TLB has it, then the tables change, then the Realm touches it
//! again. What keeps the view must not disturb it, and what ends it must end it at once.

use rmi::{Command, CommandId, RecEnter};

use super::common::{BLOCK_1G, BLOCK_2M, PAGE};
use crate::check;
use crate::outcome::Outcome;
use crate::port::Place;
use crate::realm::RealmAction;
use crate::scenario::{Kind, Scenario};
use crate::world::{Realm, Rec, Runnable, Step, World, level_argument};

/// What these scenarios prove.
pub(super) const SCENARIOS: &[Scenario] = &[
    row("rtt_fold_keeps_view", CommandId::RttFold, fold),
    row(
        "rtt_fold_keeps_view_of_host",
        CommandId::RttFold,
        fold_of_host,
    ),
    row(
        "rtt_create_keeps_view",
        CommandId::RttCreate,
        destroy_in_block,
    ),
    row(
        "rtt_set_ripas_ends_view_of_block",
        CommandId::RttSetRipas,
        empty_block,
    ),
    row(
        "rtt_unmap_unprotected_ends_view",
        CommandId::RttUnmapUnprotected,
        unmap,
    ),
    row(
        "rtt_map_unprotected_changes_view",
        CommandId::RttMapUnprotected,
        remap,
    ),
    row(
        "rtt_destroy_ends_view_of_pages",
        CommandId::RttDestroy,
        destroy_pages,
    ),
    row(
        "rtt_destroy_ends_view_of_blocks",
        CommandId::RttDestroy,
        destroy_blocks,
    ),
];

/// Pages of a block that a scenario looks at.
const LOOKED_AT: [u64; 3] = [0, 300 * PAGE, 511 * PAGE];
/// Where the block is in its half.
const BLOCK: u64 = 3 * BLOCK_1G + BLOCK_2M;
const EMPTY: u64 = 0;

const fn row(
    name: &'static str,
    command: CommandId,
    run: fn(&mut World<'_>) -> Outcome,
) -> Scenario {
    Scenario {
        name,
        command,
        kind: Kind::Behaviour,
        run,
    }
}

/// A Realm that runs, and a block of memory in it of which each page holds its address.
struct View {
    realm: Realm,
    rec: Rec,
    block: u64,
}

impl View {
    /// A block of the Realm's own memory, as pages or as a block.
    fn of_realm(w: &mut World<'_>, level: i64) -> Outcome<Self> {
        let realm = w.realm()?;
        w.load_program(&realm)?;
        w.tables(&realm, BLOCK, 2)?;
        w.init_ripas(&realm, BLOCK, BLOCK + BLOCK_2M)?;
        w.assign_block(&realm, BLOCK)?;
        let view = Self::start(w, realm, BLOCK)?;
        for offset in LOOKED_AT {
            let ipa = view.block + offset;
            let value = ipa;
            w.act_done(&view.rec, RealmAction::Store { ipa, value })?;
        }
        if level == 2 {
            view.fold(w)?;
        }
        Ok(view)
    }

    /// A block of the Host's memory in the unprotected half, as pages or as a block.
    fn of_host(w: &mut World<'_>, level: i64) -> Outcome<Self> {
        let realm = w.realm()?;
        w.load_program(&realm)?;
        let block = realm.unprotected() + BLOCK;
        let memory = w.granules(512, BLOCK_2M, Place::Low)?;
        for offset in LOOKED_AT {
            w.write_page(memory + offset, &(block + offset))?;
        }
        w.tables(&realm, block, level)?;
        let size = crate::entry_bytes(level);
        for offset in (0..BLOCK_2M).step_by(usize::try_from(size).expect("at most 2 MiB")) {
            w.map(&realm, block + offset, level, memory + offset)?;
        }
        Self::start(w, realm, block)
    }

    fn start(w: &mut World<'_>, realm: Realm, block: u64) -> Outcome<Self> {
        let rec = w.rec(&realm, Runnable::Yes)?;
        w.activate(&realm)?;
        Ok(Self { realm, rec, block })
    }

    fn fold(&self, w: &mut World<'_>) -> Outcome {
        w.ok(Command::RttFold {
            rd: self.realm.rd,
            ipa: self.block,
            level: 3,
        })?;
        Ok(())
    }

    /// The Realm sees the page `offset` bytes into the block.
    fn require(&self, w: &mut World<'_>, offset: u64) -> Outcome {
        self.require_value(w, offset, self.block + offset)
    }

    fn require_value(&self, w: &mut World<'_>, offset: u64, value: u64) -> Outcome {
        let ipa = self.block + offset;
        let result = w.act_done(&self.rec, RealmAction::Load { ipa })?;
        check!(
            result.exception.is_none() && result.registers[0] == value,
            "the Realm sees {result:x?} at {ipa:#x} instead of {value:#x}"
        );
        Ok(())
    }

    fn require_all(&self, w: &mut World<'_>) -> Outcome {
        LOOKED_AT
            .iter()
            .try_for_each(|offset| self.require(w, *offset))
    }

    /// The Realm does not see that page: the Host is told of the access.
    fn require_gone(&self, w: &mut World<'_>, offset: u64) -> Outcome {
        let ipa = self.block + offset;
        let exit = w.act_exit(&self.rec, RealmAction::Load { ipa })?;
        check!(
            exit.syndrome().is_data_abort() && exit.hpfar == ipa >> 8,
            "esr {:#x} hpfar {:#x} after {ipa:#x}",
            exit.esr,
            exit.hpfar
        );
        Ok(())
    }

    /// The same where the Host may end the access, which it does.
    fn require_gone_of_host(&self, w: &mut World<'_>, offset: u64) -> Outcome {
        self.require_gone(w, offset)?;
        let mut enter = RecEnter::default();
        enter.inject_sea();
        let step = w.resume(&self.rec, &enter)?;
        let is_ended = matches!(&step, Step::Done(result) if result.exception.is_some());
        check!(is_ended, "{step:x?}");
        Ok(())
    }
}

/// Folding memory of the Realm, and unfolding it again, changes nothing for the Realm.
fn fold(w: &mut World<'_>) -> Outcome {
    let view = View::of_realm(w, 3)?;
    view.require_all(w)?;
    view.fold(w)?;
    view.require_all(w)?;
    w.table(&view.realm, view.block, 3)?;
    view.require_all(w)
}

/// The same with memory of the Host.
fn fold_of_host(w: &mut World<'_>) -> Outcome {
    let view = View::of_host(w, 3)?;
    view.require_all(w)?;
    view.fold(w)?;
    view.require_all(w)?;
    w.table(&view.realm, view.block, 3)?;
    view.require_all(w)
}

/// A page of a block goes away once the block is unfolded; its neighbours stay.
fn destroy_in_block(w: &mut World<'_>) -> Outcome {
    let view = View::of_realm(w, 2)?;
    view.require_all(w)?;
    w.table(&view.realm, view.block, 3)?;
    let [first, middle, last] = LOOKED_AT;
    w.ok(Command::DataDestroy {
        rd: view.realm.rd,
        ipa: view.block + middle,
    })?;
    view.require(w, first)?;
    view.require(w, last)?;
    view.require_gone(w, middle)
}

/// A block that the Realm gives up is empty from end to end.
fn empty_block(w: &mut World<'_>) -> Outcome {
    let view = View::of_realm(w, 2)?;
    view.require_all(w)?;
    let top = view.block + BLOCK_2M;
    w.change_ripas(&view.realm, &view.rec, view.block, top, EMPTY)?;
    for offset in LOOKED_AT {
        let ipa = view.block + offset;
        let result = w.act_done(&view.rec, RealmAction::Load { ipa })?;
        check!(result.exception.is_some(), "{ipa:#x} is {result:x?}");
    }
    Ok(())
}

/// A page and a block of the Host are gone once they are unmapped.
fn unmap(w: &mut World<'_>) -> Outcome {
    for level in [3, 2] {
        let view = View::of_host(w, level)?;
        view.require_all(w)?;
        w.ok(Command::RttUnmapUnprotected {
            rd: view.realm.rd,
            ipa: view.block,
            level: level_argument(level),
        })?;
        let [first, middle, last] = LOOKED_AT;
        view.require_gone_of_host(w, first)?;
        if level == 3 {
            view.require(w, middle)?;
            view.require(w, last)?;
        } else {
            view.require_gone_of_host(w, middle)?;
            view.require_gone_of_host(w, last)?;
        }
    }
    Ok(())
}

/// Other memory of the Host at the same address is what the Realm sees then.
fn remap(w: &mut World<'_>) -> Outcome {
    let view = View::of_host(w, 3)?;
    view.require_all(w)?;
    let other = w.page(&0x1234_5678_u64)?;
    w.ok(Command::RttUnmapUnprotected {
        rd: view.realm.rd,
        ipa: view.block,
        level: 3,
    })?;
    w.map(&view.realm, view.block, 3, other)?;
    view.require_value(w, 0, 0x1234_5678)
}

/// All pages of a table of the unprotected half are gone with the table.
fn destroy_pages(w: &mut World<'_>) -> Outcome {
    destroy(w, 3, 3)
}

/// All blocks of a table of the unprotected half are gone with the table.
fn destroy_blocks(w: &mut World<'_>) -> Outcome {
    destroy(w, 2, 2)
}

fn destroy(w: &mut World<'_>, mapped: i64, table: i64) -> Outcome {
    let view = View::of_host(w, mapped)?;
    view.require_all(w)?;
    let size = crate::entry_bytes(table - 1);
    w.ok(Command::RttDestroy {
        rd: view.realm.rd,
        ipa: view.block & !(size - 1),
        level: level_argument(table),
    })?;
    for offset in LOOKED_AT {
        view.require_gone_of_host(w, offset)?;
    }
    Ok(())
}
