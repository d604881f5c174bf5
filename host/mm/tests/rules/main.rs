// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The rules of the host's memory, each with a test of its name, on a machine of ordinary memory.

mod areas;
mod copying;
mod faults;
mod guest;
mod machine;
mod model;
mod names;
mod realm;
mod rmm;
mod threads;
mod together;
mod walker;
