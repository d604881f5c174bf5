// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! How far a change of RIPAS goes.
//!
//! A command covers entries of one table: from the entry at `base` on, up to the first one that it may
//! not change, the end of the table, or `top`, whichever comes first, rounded down to whole entries.
//! Nothing here touches a granule; the functions look at entries in ascending order.

use rmi::{Ipa, Ripas};

use crate::rtt::entry::Rtte;

/// Nothing can be changed at `base`: it is inside an entry, or `top` is, or the entry is not one that
/// may be changed. The Host makes the tables finer and tries again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoProgress;

/// The part of a requested range that lies in one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First address of the request.
    pub base: Ipa,
    /// End of the request, above `base`.
    pub top: Ipa,
    /// First address of the entry that translates `base`.
    pub first: Ipa,
    /// Bytes per entry.
    pub size: u64,
}

/// What to do about addresses whose contents the Host has destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destroyed {
    /// Stop there.
    Keep,
    /// Change them too.
    Change,
}

/// How far a change goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The entries below this address are changed.
    pub changed: Ipa,
    /// The request is served up to this address.
    pub served: Ipa,
}

impl Span {
    /// Returns `walk_top`: where the run of entries ends for which `belongs` holds.
    fn walk_top(&self, entries: impl Iterator<Item = Rtte>, belongs: impl Fn(Rtte) -> bool) -> Ipa {
        let mut end = self.first;
        for entry in entries {
            if end >= self.top || !belongs(entry) {
                break;
            }
            end = end
                .checked_add(self.size)
                .expect("no address space is wider than 52 bits");
        }
        end.min(self.top).align_down(self.size)
    }
}

/// Returns how far the Host can declare addresses of a new Realm to be memory.
///
/// The specification's formula stops only at tables, and its list of dependencies asks for
/// UNASSIGNED. Stopping at any entry that is not UNASSIGNED keeps measured pages from being measured a
/// second time as something else. What UNASSIGNED entries say now does not matter, DESTROYED included:
/// the Realm has not run, and the measurement tells what was declared.
///
/// # Errors
///
/// [`NoProgress`] for the conditions `base_align`, `rtte_state` and `no_progress`.
pub fn init_top(span: Span, entries: impl Iterator<Item = Rtte>) -> Result<Ipa, NoProgress> {
    let top = span.walk_top(entries, |entry| matches!(entry, Rtte::Unassigned { .. }));
    if span.base == span.first && top > span.base {
        Ok(top)
    } else {
        Err(NoProgress)
    }
}

/// Returns how far the addresses of a Realm can become what it asked for.
///
/// An entry that is as requested already asks for no alignment. Where it covers the whole rest of the
/// request, `walk_top` rounded down to the entry would say that nothing was served, while all of it
/// is: the request is served up to `top`.
///
/// # Errors
///
/// [`NoProgress`] for the conditions `base_align` and `no_progress`.
pub fn set_top(
    span: Span,
    entries: impl Iterator<Item = Rtte> + Clone,
    requested: Ripas,
    destroyed: Destroyed,
) -> Result<Reach, NoProgress> {
    let first = entries.clone().next().and_then(Rtte::ripas);
    let is_served = first == Some(requested);
    let changed = span.walk_top(entries, |entry| match entry.ripas() {
        Some(Ripas::Destroyed) => destroyed == Destroyed::Change,
        Some(Ripas::Empty | Ripas::Ram) => true,
        None => false,
    });
    let is_aligned = span.base == span.first;
    if changed > span.base && (is_aligned || is_served) {
        let served = changed;
        Ok(Reach { changed, served })
    } else if is_served {
        let (changed, served) = (span.first, span.top);
        Ok(Reach { changed, served })
    } else {
        Err(NoProgress)
    }
}

#[cfg(test)]
mod tests;
