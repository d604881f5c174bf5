// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Failure conditions that several commands have in common, each by the specification's name: what
//! makes it hold for the call, and the reply to it.

use super::common::{
    BLOCK_2M, PAGE, first_realm, misalign, not_delegated, not_host, out_of_bound, unused,
};
use crate::contract::Call;
use crate::outcome::{Outcome, Reply};
use crate::port::Capabilities;
use crate::world::World;

pub(super) fn rd_align(_: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    Ok(misalign(c, "rd"))
}

pub(super) fn rd_bound(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    Ok(out_of_bound(w, c, "rd"))
}

pub(super) fn rd_state(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    unused(w, c, "rd")
}

pub(super) fn rec_align(_: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    Ok(misalign(c, "rec"))
}

pub(super) fn rec_bound(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    Ok(out_of_bound(w, c, "rec"))
}

pub(super) fn rec_gran_state(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    unused(w, c, "rec")
}

/// The REC runs on another PE.
pub(super) fn rec_state(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    w.need(Capabilities::SECOND_PE, "no call during a run")?;
    let (_, rec) = w.running_realm()?;
    c.set("rec", rec.rec);
    c.during = Some(w.enter_call(&rec)?);
    Ok(Reply::rec())
}

pub(super) fn params_align(_: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    Ok(misalign(c, "params_ptr"))
}

pub(super) fn params_bound(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    Ok(out_of_bound(w, c, "params_ptr"))
}

pub(super) fn params_pas(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    not_host(w, c, "params_ptr")
}

pub(super) fn realm_state(w: &mut World<'_>, _: &mut Call) -> Outcome<Reply> {
    let realm = first_realm(w)?;
    w.activate(&realm)?;
    Ok(Reply::realm(0))
}

pub(super) fn level_bound(_: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    c.set("level", 4);
    Ok(Reply::input())
}

pub(super) fn ipa_bound(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
    c.set("ipa", first_realm(w)?.end());
    Ok(Reply::input())
}

/// A condition of the level 3 table at 2 MiB.
pub(super) mod table {
    use super::*;

    pub(in crate::rmi) fn ipa_align(_: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
        c.set("ipa", BLOCK_2M + PAGE);
        Ok(Reply::input())
    }
}

/// Conditions of a page of data at a protected address.
pub(super) mod data {
    use super::*;

    pub(in crate::rmi) fn ipa_align(_: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
        Ok(misalign(c, "ipa"))
    }

    pub(in crate::rmi) fn ipa_bound(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
        c.set("ipa", first_realm(w)?.unprotected());
        Ok(Reply::input())
    }

    pub(in crate::rmi) fn data_align(_: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
        Ok(misalign(c, "data"))
    }

    pub(in crate::rmi) fn data_bound(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
        Ok(out_of_bound(w, c, "data"))
    }

    pub(in crate::rmi) fn data_state(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
        not_delegated(w, c, "data")
    }

    pub(in crate::rmi) fn data_bound2(w: &mut World<'_>, c: &mut Call) -> Outcome<Reply> {
        let high = w.high_delegated()?;
        c.set("data", high);
        Ok(Reply::input())
    }
}
