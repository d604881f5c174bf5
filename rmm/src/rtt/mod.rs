// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Realm Translation Tables.
//!
//! - [`tree`]: where a Realm's tables are and what shape they have;
//! - [`entry`]: one entry, as a value and as a word;
//! - [`table`]: the granule of entries, and the words that fill it;
//! - [`plan`]: what replaces an entry by a table, or a table by an entry, without touching memory;
//! - [`walk`]: from the root to an entry, and the changes to it;
//! - [`ripas`]: how far a change of contents goes.
//!
//! A walk locks hand over hand: the next table before it lets go of the last. The entry it ends at
//! stays as it is while the walk lives, also for the hardware of other PEs.

pub mod entry;
pub mod plan;
pub mod ripas;
pub mod table;
pub mod tree;
pub mod walk;

pub use entry::{BadEntry, Rtte};
pub use table::{RTT_ENTRIES, RttState, TableEntries};
pub use tree::{BadShape, Tree};
pub use walk::{Start, Walk};
