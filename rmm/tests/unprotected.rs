// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Accesses of a Realm to memory of the Host that is mapped.

mod common;

use common::rec::{START, check, data_abort};
use common::{WRITE_BACK, world};
use rmi::ExitReason;

const ISV: u64 = 1 << 24;
const TRANSLATION_3: u64 = 7;

#[test]
fn access_to_mapped_memory_of_the_host_is_made_again() {
    world(|w| {
        let (realm, vcpu) = w.running();
        let at = realm.shape.shared();
        realm.tables_to(at, 3);
        let page = w.write_page(&[0; 4096]);
        assert_eq!(realm.map(at, 3, page | WRITE_BACK), Ok(()));
        // The block that the page was in is being unfolded or folded.
        for esr in [ISV | TRANSLATION_3, ISV | 6, 1 << 6 | 5] {
            let again = check(|_, context| assert_eq!(context.pc, START));
            let exit = vcpu.enter_and(vec![data_abort(esr, at + 8), again]);
            assert_eq!(exit.reason(), Some(ExitReason::Irq), "{esr:#x}");
        }
        // The Host allows less than the Realm wants, or the memory is not the Host's any more.
        for status in [0xF, 0x28] {
            let exit = vcpu.enter_and(vec![data_abort(ISV | status, at + 8)]);
            assert_eq!(exit.reason(), Some(ExitReason::Sync), "{status:#x}");
        }
        assert_eq!(realm.unmap(at, 3)[0], 0);
        let exit = vcpu.enter_and(vec![data_abort(ISV | TRANSLATION_3, at + 8)]);
        assert_eq!(exit.reason(), Some(ExitReason::Sync));
    });
}
