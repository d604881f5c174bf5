// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RMI_FEATURES`.

use rmi::{Command, CommandId, HashAlgorithm};

use crate::check;
use crate::contract::{Call, contract};
use crate::outcome::{Outcome, Reply};
use crate::world::World;

fn base(_: &mut World<'_>) -> Outcome<Call> {
    Ok(Command::Features { index: 0 }.into())
}

/// Register 0 describes a monitor that can make a Realm.
fn success(w: &mut World<'_>) -> Outcome {
    let call = base(w)?;
    let reply = w.call_raw(call.registers);
    let features = w.features()?;
    w.check_reply(
        call.id,
        reply,
        Reply::SUCCESS.with(1, features.to_register()),
    )?;
    check!(features.to_register() >> 42 == 0, "bits 63:42 are not zero");
    check!(
        (32..=52).contains(&features.s2sz()),
        "S2SZ {}",
        features.s2sz()
    );
    check!(
        features.has_lpa2() || features.s2sz() <= 48,
        "addresses of more than 48 bits without LPA2"
    );
    check!(
        features.num_bps() > 0 && features.num_wps() > 0,
        "a reserved value"
    );
    let hashes = [HashAlgorithm::Sha256, HashAlgorithm::Sha512];
    check!(
        hashes.iter().any(|hash| features.has_hash(*hash)),
        "no hash"
    );
    Ok(())
}

/// There are no other registers, and they read as zero.
fn other_indices(w: &mut World<'_>) -> Outcome {
    for index in [1, 2, 0x100, u64::MAX] {
        let reply = w.call(Command::Features { index });
        w.check_reply(CommandId::Features, reply, Reply::SUCCESS)?;
    }
    Ok(())
}

contract! {
    Features, "features", base;
    conditions {}
    orders {}
    others { success other_indices }
}
