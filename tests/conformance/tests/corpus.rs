// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Walks that once found something, shrunk. They must agree with the model for ever.

use conformance::machine::profiles;
use conformance::model::{Page, RealmSpec, Step, walk_steps};
use rmi::Command;

fn plain(command: Command) -> Step {
    Step::Call {
        registers: command.encode(),
        page: None,
        action: None,
    }
}

fn agree(steps: &[Step]) {
    let all = profiles();
    let mut plain = all
        .into_iter()
        .find(|profile| profile.name == "plain")
        .unwrap();
    plain.granules = 64;
    let failure = walk_steps(&plain, steps, 1);
    assert!(failure.is_none(), "{}", failure.unwrap().reason);
}

/// A starting table holds both halves, and memory of the Host in it is live but not counted.
#[test]
fn next_live_entry_is_in_the_other_half() {
    let (rd, root, page) = (0x8000_1000, 0x8000_2000, 0x8000_3000);
    let spec = RealmSpec {
        flags: 0,
        width: 39,
        sve_vl: 0,
        num_bps: 1,
        num_wps: 1,
        pmu_num_ctrs: 0,
        hash: 1,
        vmid: 0,
        root,
        start: 1,
        roots: 1,
    };
    let create = Command::RealmCreate {
        rd,
        params_ptr: page,
    };
    agree(&[
        plain(Command::GranuleDelegate { addr: rd }),
        plain(Command::GranuleDelegate { addr: root }),
        Step::Call {
            registers: create.encode(),
            page: Some((page, Page::Realm(spec))),
            action: None,
        },
        plain(Command::RttMapUnprotected {
            rd,
            ipa: 0x40_C000_0000,
            level: 1,
            desc: 0x4000_008C,
        }),
        plain(Command::RttDestroy {
            rd,
            ipa: 0,
            level: 3,
        }),
    ]);
}
