// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RSI_VERSION`, `RSI_FEATURES`, `RSI_REALM_CONFIG`, and calls that nobody answers.

use rmi::{Command, HashAlgorithm, RsiCommand, SMCCC_NOT_SUPPORTED};

use super::{
    ASSIGNED, DESTROYED, EMPTY, INPUT, SUCCESS, UNASSIGNED, call, load, refused, require,
    require_end, require_missing, require_missing_at, stage, stage_with, store,
};
use crate::check;
use crate::outcome::Outcome;
use crate::port::GRANULE;
use crate::realm::row;
use crate::scenario::Scenario;
use crate::world::{RealmPlan, Runnable, World, entry_bytes};

/// What these scenarios prove.
pub(super) const SCENARIOS: &[Scenario] = &[
    row("rsi_version_negotiated", version),
    row("rsi_features_none", features),
    row("rsi_realm_config_success", config),
    row("rsi_realm_config_addr", config_addr),
    row("rsi_realm_config_missing", config_missing),
    row("rsi_realm_config_destroyed", config_destroyed),
    row("rsi_realm_config_missing_table", config_missing_table),
    row("rsi_realm_config_in_block", config_in_block),
    row("rsi_unknown_calls", unknown),
    row("rsi_smccc_version", smccc_version),
];

const VERSION: u64 = RsiCommand::Version.fid();
const CONFIG: u64 = RsiCommand::RealmConfig.fid();

/// The version is 1.0; any other is refused with the range that there is.
fn version(w: &mut World<'_>) -> Outcome {
    let (_, rec) = stage(w)?;
    for fid in [VERSION, VERSION | 1 << 16, VERSION | 7 << 32] {
        require(
            w,
            &rec,
            &[fid, 0x1_0000, 3, 4, 5],
            &[SUCCESS, 0x1_0000, 0x1_0000],
        )?;
    }
    for request in [0, 0xFFFF, 0x2_0000, 0x7FFF_0000] {
        require(w, &rec, &[VERSION, request], &[INPUT, 0x1_0000, 0x1_0000])?;
    }
    Ok(())
}

/// No feature register has anything in it, and each can be read.
fn features(w: &mut World<'_>) -> Outcome {
    let (_, rec) = stage(w)?;
    for index in [0, 1, 2, u64::MAX] {
        require(w, &rec, &[RsiCommand::Features.fid(), index], &[SUCCESS, 0])?;
    }
    Ok(())
}

/// The page has the width, the hash algorithm and the personalization value, and zero everywhere else.
fn config(w: &mut World<'_>) -> Outcome {
    for hash in [HashAlgorithm::Sha256, HashAlgorithm::Sha512] {
        let plan = RealmPlan {
            hash: hash.code(),
            ..RealmPlan::default()
        };
        let (realm, rec) = stage_with(w, &plan)?;
        let words = [0x0, 0x8, 0x10, 0x1F8, 0x200, 0x238, 0x240, 0xFF8];
        for offset in words {
            store(w, &rec, ASSIGNED + offset, u64::MAX)?;
        }
        require(w, &rec, &[CONFIG, ASSIGNED], &[SUCCESS])?;
        for offset in words {
            let wanted = match offset {
                0x0 => u64::from(realm.width),
                0x8 => u64::from(hash.code()),
                0x200 | 0x238 => 0x5A5A_5A5A_5A5A_5A5A,
                _ => 0,
            };
            let found = load(w, &rec, ASSIGNED + offset)?;
            check!(found == wanted, "word {offset:#x} is {found:#x}");
        }
    }
    Ok(())
}

/// The page has to be one of the Realm's own.
fn config_addr(w: &mut World<'_>) -> Outcome {
    let (realm, rec) = stage(w)?;
    let half = realm.unprotected();
    store(w, &rec, ASSIGNED, 0x99)?;
    for addr in [
        ASSIGNED + 8,
        ASSIGNED + 0x800,
        half,
        half + ASSIGNED,
        realm.end(),
        realm.end() + ASSIGNED,
        !0xFFF,
        EMPTY,
    ] {
        refused(w, &rec, &[CONFIG, addr])?;
    }
    let found = load(w, &rec, ASSIGNED)?;
    check!(found == 0x99, "a refused call wrote {found:#x}");
    Ok(())
}

/// A page that the Host has to provide ends the run, and the call is made again.
fn config_missing(w: &mut World<'_>) -> Outcome {
    let (realm, rec) = stage(w)?;
    let call = [CONFIG, UNASSIGNED];
    require_missing(w, &rec, &call, UNASSIGNED)?;
    w.data_unknown(&realm, UNASSIGNED)?;
    require_end(w, &rec, &call, &[SUCCESS])?;
    let width = load(w, &rec, UNASSIGNED)?;
    check!(width == u64::from(realm.width), "width {width}");
    Ok(())
}

/// A page that the Host took away ends the run too.
fn config_destroyed(w: &mut World<'_>) -> Outcome {
    let (_, rec) = stage(w)?;
    require_missing(w, &rec, &[CONFIG, DESTROYED], DESTROYED)
}

/// Without a table for its page the call ends the run as an access does: at the level where the walk ends.
fn config_missing_table(w: &mut World<'_>) -> Outcome {
    let realm = w.realm()?;
    w.load_program(&realm)?;
    let at = [1, 2].map(|level| (entry_bytes(level), level.unsigned_abs()));
    for (bytes, _) in at {
        w.init_ripas(&realm, 2 * bytes, 3 * bytes)?;
    }
    let rec = w.rec(&realm, Runnable::Yes)?;
    w.activate(&realm)?;
    for (bytes, level) in at {
        let page = 2 * bytes + 5 * GRANULE;
        let call = [CONFIG, page];
        require_missing_at(w, &rec, &call, page, level)?;
        w.tables(&realm, page, 3)?;
        w.data_unknown(&realm, page)?;
        require_end(w, &rec, &call, &[SUCCESS])?;
    }
    Ok(())
}

/// In a block of memory the call reaches its own page and no other.
fn config_in_block(w: &mut World<'_>) -> Outcome {
    let realm = w.realm()?;
    w.load_program(&realm)?;
    let block = 2 * entry_bytes(2);
    w.init_ripas(&realm, block, block + entry_bytes(2))?;
    w.assign_block(&realm, block)?;
    let (rd, ipa, level) = (realm.rd, block, 3);
    w.ok(Command::RttFold { rd, ipa, level })?;
    w.tables.retain(|known| known.ipa != block);
    let rec = w.rec(&realm, Runnable::Yes)?;
    w.activate(&realm)?;
    let page = block + 300 * GRANULE;
    for at in [page - 8, page, page + GRANULE] {
        store(w, &rec, at, 0x77)?;
    }
    require(w, &rec, &[CONFIG, page], &[SUCCESS])?;
    for (at, wanted) in [
        (page - 8, 0x77),
        (page, u64::from(realm.width)),
        (page + GRANULE, 0x77),
    ] {
        let found = load(w, &rec, at)?;
        check!(found == wanted, "{at:#x} holds {found:#x}");
    }
    Ok(())
}

/// Calls that are nobody's do not leave the Realm, whoever else would answer them.
fn unknown(w: &mut World<'_>) -> Outcome {
    let (_, rec) = stage(w)?;
    for fid in [
        0x8000_0001, // SMCCC_ARCH_FEATURES
        0x8000_0002, // SMCCC_ARCH_SOC_ID
        0x8000_8000, // SMCCC_ARCH_WORKAROUND_1
        0x8100_0000, // calls of the CPU, the platform, its maker: in every range of owners
        0x8200_0000,
        0x8300_0000,
        0xC000_0000,
        0xC100_0000,
        0xC200_0000,
        0xC300_0000,
        0x8400_0020, // after the last of PSCI
        0xC400_0020,
        0x8400_0050, // TRNG_VERSION
        0xC400_0053, // TRNG_RND
        0x8400_0063, // FFA_VERSION
        0x8400_FF01, // whose the standard calls are
        0xC402_0190, // RSI_VERSION with another bit than the hint
        0x8400_0190, // RSI_VERSION as SMC32
        0x8400_0199, // RSI_HOST_CALL as SMC32
        0xC400_018F, // before the first of RSI
        0xC400_019A, // after the last of RSI
        0xC400_0150, // RMI_VERSION
        0xC400_0151, // RMI_GRANULE_DELEGATE
        0xC400_015C, // RMI_REC_ENTER
        0xC400_0164, // RMI_PSCI_COMPLETE
        0xC400_01B0, // calls to EL3
        0xC400_01B3,
        0xC400_01CF,
        0x8500_0000, // a hypervisor's standard
        0xC500_0001,
        0xB000_0000, // trusted applications, a trusted system
        0xB200_0000,
        0xBF00_FF01,
        0x8600_FF01, // a hypervisor
        0x0000_0000,
        0xFFFF_FFFF,
    ] {
        let registers = [fid, ASSIGNED, ASSIGNED, 3, 4, 5, 6, 7, 8, 9, 10];
        require(w, &rec, &registers, &[SMCCC_NOT_SUPPORTED])?;
    }
    Ok(())
}

/// Software asks for the version of the calling convention first.
fn smccc_version(w: &mut World<'_>) -> Outcome {
    let (_, rec) = stage(w)?;
    let [version, ..] = call(w, &rec, &[0x8000_0000], 0)?;
    check!((0x1_0002..0x2_0000).contains(&version), "{version:#x}");
    Ok(())
}
