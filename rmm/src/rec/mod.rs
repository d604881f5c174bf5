// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Realm execution contexts: what one virtual processor of a Realm is, and what happens to it.
//!
//! Nothing here knows a function identifier or an argument register of the Host's interface: the
//! commands read and write those.

mod object;

pub(crate) use object::{
    HostAbort, RealmTraits, Rec, RecAuxState, RecHeader, RecState, RipasRequest, Runnable,
};
