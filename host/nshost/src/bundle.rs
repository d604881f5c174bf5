// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The guest bundle in memory: where the loader put it, and its parts.

use alloc::format;
use alloc::string::String;
use core::ops::Range;

use host_mm::addr::Pfn;
use host_vmm::bundle::{self, Bundle, HEADER_BYTES, Part};

use crate::{board, memory};

/// The bundle and where it is.
#[derive(Debug)]
pub(crate) struct LoadedBundle {
    /// What its header says.
    pub(crate) header: Bundle,
    range: Range<u64>,
}

impl LoadedBundle {
    /// Finds the bundle where the board says, within `dram`.
    ///
    /// # Safety
    /// The board's bundle address must be mapped as far as `dram` goes, and what the loader put
    /// there must stay as it is.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub(crate) unsafe fn find(dram: &[Range<u64>]) -> Result<Self, String> {
        let base = board::BUNDLE_BASE;
        let room = dram
            .iter()
            .find(|range| range.contains(&base))
            .map_or(0, |range| range.end - base);
        if room < HEADER_BYTES as u64 {
            return Err(format!(
                "there is no memory at {base:#x}, where the bundle belongs"
            ));
        }
        // SAFETY: there is memory for a header, mapped by the caller's word.
        let header = unsafe { memory::bytes(base..base + HEADER_BYTES as u64) };
        let header = header.first_chunk().expect("it has the size of a header");
        let header = bundle::parse(header, None).map_err(|e| format!("bundle: {e}"))?;
        let size = header.file_bytes;
        if size > room {
            return Err(format!(
                "the bundle of {size:#x} bytes does not fit into memory"
            ));
        }
        Ok(Self {
            header,
            range: base..base + size,
        })
    }

    /// Returns where the bundle is.
    pub(crate) fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// Returns the page where a part starts that is page aligned in the file.
    pub(crate) fn first_page(&self, part: &Part) -> Pfn {
        Pfn::containing(self.range.start + part.offset)
    }

    /// Returns the contents of a part.
    pub(crate) fn contents(&self, part: &Part) -> &[u8] {
        let start = self.range.start;
        // SAFETY: the parser has checked that the part lies in the file, and `find` that the file
        // lies in mapped memory; its caller keeps it unchanged.
        unsafe { memory::bytes(start + part.offset..start + part.end()) }
    }
}
