// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RSI_IPA_STATE_GET` and `RSI_IPA_STATE_SET`.

use rmi::rsi::{Response, RipasChangeFlags, requested_ripas};
use rmi::{GRANULE_SIZE, Ipa, RsiStatus, RttLevel};
use rmm_hal::{Hal, RecContext};

use crate::commands::rsi::{fail, succeed};
use crate::commands::smc::set_status;
use crate::rec::RipasRequest;
use crate::rec::context::skip_instruction;
use crate::rec::exit::Stop;
use crate::rec::running::{Next, Running, is_refused};
use crate::rtt::{Start, Tree};

/// `RSI_IPA_STATE_GET`. `INPUT` on `base_align`, `end_align`, `size_valid` and `rgn_bound`.
pub(super) fn get<H: Hal>(running: &mut Running<'_, '_, H>) -> Next {
    let [_, base, top, ..] = running.rec.context.gprs;
    let tree = running.realm.tree;
    let Some((base, top)) = protected_range(&tree, base, top) else {
        return fail(running, RsiStatus::ErrorInput);
    };
    let (granules, window) = (running.monitor.granules(), running.hal.window());
    let walk = Start::lock(granules, &tree, base).descend(granules, window, RttLevel::LEVEL_3);
    let ripas = walk
        .entry()
        .ripas()
        .expect("the walk of a protected address ends at a protected entry");
    let asked = (top.raw() - walk.base().raw()).div_ceil(walk.size());
    let alike = walk.read_entries(window, |entries| entries.count_while_ripas(ripas, asked));
    let out_top = top.raw().min(walk.base().raw() + alike * walk.size());
    drop(walk);
    succeed(running, [out_top, u64::from(ripas.code())])
}

/// `RSI_IPA_STATE_SET`. `INPUT` on `base_align`, `top_align`, `size_valid`, `rgn_bound` and
/// `ripas_valid`. The Host makes the change and the Realm learns of it at the next entry.
pub(super) fn set<H: Hal>(running: &mut Running<'_, '_, H>) -> Next {
    let [_, base, top, ripas, flags, ..] = running.rec.context.gprs;
    let range = protected_range(&running.realm.tree, base, top);
    let (Some((base, top)), Some(value)) = (range, requested_ripas(ripas)) else {
        return fail(running, RsiStatus::ErrorInput);
    };
    let flags = RipasChangeFlags::from_bits_truncate(flags);
    let request = RipasRequest {
        base: base.raw(),
        top: top.raw(),
        value,
        may_change_destroyed: flags.contains(RipasChangeFlags::CHANGE_DESTROYED),
    };
    running.rec.set_ripas_request(request);
    skip_instruction(&mut running.rec.context);
    Next::Stop(Stop::RipasChange(request))
}

/// Tells the Realm how far the change it asked for was made.
pub(crate) fn complete(context: &mut RecContext, request: RipasRequest, host: Response) {
    let is_rejected = host == Response::Reject;
    let remains = request.base != request.top;
    let response = if is_refused(remains, request.value, is_rejected) {
        Response::Reject
    } else {
        Response::Accept
    };
    let outputs = [request.base, response.to_register()];
    set_status(context, RsiStatus::Success, outputs);
}

/// Admits a range of protected pages, which is not empty and may end where the protected half ends.
fn protected_range(tree: &Tree, base: u64, top: u64) -> Option<(Ipa, Ipa)> {
    let (base, top) = (Ipa::new(base), Ipa::new(top));
    let is_aligned = base.is_aligned(GRANULE_SIZE) && top.is_aligned(GRANULE_SIZE);
    (is_aligned && base < top && top <= tree.protected_end()).then_some((base, top))
}
