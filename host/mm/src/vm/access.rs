// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Guest memory as the VMM fills, reads and writes it.

use core::ops::Range;

use rmi::Ipa;

use super::{MemoryError, VcpuMemory, Vm};
use crate::addr::{Gfn, PAGE_BYTES, PAGE_SHIFT, PAGE_SIZE, Pfn};
use crate::backing::{Fill, NoPage};
use crate::client::Measure;
use crate::machine::Machine;
use crate::memslot::MemSlot;
use crate::pages::{PageFlags, to_u64, to_usize};
use crate::realm::Source;

impl<M: Machine> Vm<'_, M> {
    /// Gives the Realm `bytes` of initial contents at `base`, read from `source` on, page by page;
    /// the last page is padded with zeros. `base` and `source` are page aligned.
    ///
    /// # Errors
    ///
    /// Why a page could not be given; earlier ones have been.
    pub fn populate(
        &self,
        vcpu: &mut VcpuMemory<'_>,
        base: Ipa,
        source: Pfn,
        bytes: u64,
        measure: Measure,
    ) -> Result<(), MemoryError> {
        for page in 0..bytes / PAGE_SIZE {
            let ipa = Ipa::new(base.raw() + page * PAGE_SIZE);
            self.populate_page(vcpu, ipa, source.offset(page), measure)?;
        }
        let rest = to_usize(bytes % PAGE_SIZE);
        if rest == 0 {
            return Ok(());
        }
        let mut tail = [0; PAGE_BYTES];
        let done = bytes - bytes % PAGE_SIZE;
        let machine = self.host.machine();
        machine.read(source.address() + done, &mut tail[..rest]);
        self.populate_bytes(vcpu, Ipa::new(base.raw() + done), &tail[..rest], measure)
    }

    /// Gives the Realm `bytes` of initial contents at the page-aligned `base`, padded with zeros.
    ///
    /// # Errors
    ///
    /// As [`Vm::populate`].
    pub fn populate_bytes(
        &self,
        vcpu: &mut VcpuMemory<'_>,
        base: Ipa,
        bytes: &[u8],
        measure: Measure,
    ) -> Result<(), MemoryError> {
        for (page, chunk) in bytes.chunks(PAGE_BYTES).enumerate() {
            let source = self
                .host
                .page_with(chunk)
                .ok_or(MemoryError::Page(NoPage::OutOfMemory))?;
            let ipa = Ipa::new(base.raw() + to_u64(page) * PAGE_SIZE);
            self.populate_page(vcpu, ipa, source.pfn(), measure)?;
        }
        Ok(())
    }

    fn populate_page(
        &self,
        vcpu: &mut VcpuMemory<'_>,
        ipa: Ipa,
        source: Pfn,
        measure: Measure,
    ) -> Result<(), MemoryError> {
        let realm = self.realm().ok_or(MemoryError::NoMemory)?;
        let gfn = self.gfn(ipa);
        let slot = self.slot(gfn).ok_or(MemoryError::NoMemory)?;
        let hva = slot.hva_of(gfn);
        let area = self.space.find(hva).ok_or(MemoryError::NoMemory)?;
        if !vcpu.cache.fill(realm.geometry().tables_per_mapping()) {
            return Err(MemoryError::Page(NoPage::OutOfMemory));
        }
        let machine = self.host.machine();
        let _lock = self.mmu.read_settled();
        let found = area
            .object
            .page(
                area.index_of(hva),
                Fill::Unneeded,
                self.host.pages(),
                machine,
            )
            .map_err(MemoryError::Page)?;
        let pfn = found.page.pfn();
        let source = Source::Page(source, measure);
        let contiguous = found.contiguous.is_some();
        realm
            .create_page(ipa, pfn, source, contiguous, &mut vcpu.cache)
            .map(drop)
            .map_err(MemoryError::Realm)
    }

    /// Reads guest memory for the VMM; pages that nobody has written read as zero.
    ///
    /// # Errors
    ///
    /// [`MemoryError::NoMemory`] outside the slots, [`MemoryError::Private`] for what the guest
    /// has not shared.
    pub fn read(&self, ipa: Ipa, bytes: &mut [u8]) -> Result<(), MemoryError> {
        self.for_each_page(ipa, bytes.len(), |address, range, _| {
            self.host.machine().read(address, &mut bytes[range]);
        })
    }

    /// Writes guest memory for the VMM, and logs that as a write of the guest's would be.
    ///
    /// # Errors
    ///
    /// As [`Vm::read`].
    pub fn write(&self, ipa: Ipa, bytes: &[u8]) -> Result<(), MemoryError> {
        self.for_each_page(ipa, bytes.len(), |address, range, page| {
            self.host.machine().write(address, &bytes[range]);
            self.host.pages().mark(page.pfn, PageFlags::DIRTY);
            page.slot.log_dirty(page.gfn);
        })
    }

    /// Copies guest page `gfn` to the same page of `to`, with its allocation tags.
    ///
    /// # Errors
    ///
    /// As [`Vm::read`], on either side.
    pub(super) fn copy_page(&self, gfn: Gfn, to: &Self) -> Result<(), MemoryError> {
        let ipa = Ipa::new(gfn.raw() << PAGE_SHIFT);
        let (machine, pages) = (self.host.machine(), self.host.pages());
        let mut copied = Ok(());
        self.for_each_page(ipa, PAGE_BYTES, |_, _, source| {
            copied = to.for_each_page(ipa, PAGE_BYTES, |_, _, target| {
                machine.copy_page(source.pfn, target.pfn);
                // What somebody left on a page that the guest has not had yet is cleared there too.
                let tags = pages.flags(source.pfn) & PageFlags::TAGS_CLEARED;
                if tags.is_empty() {
                    pages.unmark(target.pfn, PageFlags::TAGS_CLEARED);
                }
                pages.mark(target.pfn, PageFlags::DIRTY | tags);
                target.slot.log_dirty(gfn);
            });
        })?;
        copied
    }

    /// Calls `each` with the physical address, the range of bytes and the page of every piece of
    /// `length` bytes at `ipa`, pinned and with the MMU lock held.
    fn for_each_page(
        &self,
        ipa: Ipa,
        length: usize,
        mut each: impl FnMut(u64, Range<usize>, &Piece<'_>),
    ) -> Result<(), MemoryError> {
        let mut done = 0;
        while done < length {
            let at = Ipa::new(ipa.raw() + to_u64(done));
            let offset = at.raw() & (PAGE_SIZE - 1);
            let piece = to_usize(PAGE_SIZE - offset).min(length - done);
            let gfn = self.gfn(at);
            let slot = self.slot(gfn).ok_or(MemoryError::NoMemory)?;
            let hva = slot.hva_of(gfn);
            let area = self.space.find(hva).ok_or(MemoryError::NoMemory)?;
            let pages = self.host.pages();
            // Nobody moves the page elsewhere between looking it up and touching it.
            let _lock = self.mmu.read_settled();
            let found = area
                .object
                .page(
                    area.index_of(hva),
                    Fill::Contents,
                    pages,
                    self.host.machine(),
                )
                .map_err(MemoryError::Page)?;
            let pfn = found.page.pfn();
            let _pin = pages.pin(pfn).ok_or(MemoryError::Private)?;
            let slot = &slot;
            let page = Piece { slot, gfn, pfn };
            each(pfn.address() + offset, done..done + piece, &page);
            done += piece;
        }
        Ok(())
    }
}

/// The page that a piece of guest memory lies in.
struct Piece<'a> {
    slot: &'a MemSlot,
    gfn: Gfn,
    pfn: Pfn,
}
