// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The virtual GICv3: a distributor, a redistributor per vCPU, and the list registers.
//!
//! The hardware presents interrupts to a guest from a few *list registers*. Before a vCPU is
//! entered, [`Gic::flush`] chooses the interrupts that go there; after it stopped, [`Gic::fold`]
//! takes their state back. In between the hardware alone knows whether they were taken.
//!
//! Level-sensitive interrupts carry a mark that makes the guest's end-of-interrupt raise the
//! maintenance interrupt, so that the vCPU stops and the line is looked at again.
//!
//! Affinity routing is always on, there is one Security state, no LPIs and no message-based SPIs.
//! Every method may be called on several PEs at once. Whatever changes what another vCPU should
//! see returns that vCPU in a [`VcpuSet`]: the caller interrupts the PE that runs it, whose next
//! `flush` picks the change up. Locks are taken in the order vCPU, then SPIs, and two vCPUs are
//! never locked together.

mod bank;
mod distributor;
mod lists;
mod redistributor;
mod sgi;
#[cfg(test)]
mod tests;

pub use sgi::SgiRegister;

use self::bank::{Bank, Candidate, Kind};
use crate::machine::{GICD_BYTES, GICR_BYTES, VcpuSet};
use core::sync::atomic::{AtomicU32, Ordering};
use heapless::Vec;
use spin::Mutex;

/// Number of list registers the pages of the interface have room for.
pub const MAX_LISTS: usize = 16;

/// SPIs of a VM, in banks of 32.
const SPI_BANKS: usize = 2;
/// First SPI.
const FIRST_SPI: u32 = 32;
/// Largest INTID plus one.
const INTIDS: u32 = FIRST_SPI + 32 * SPI_BANKS as u32;

const _: () = assert!(GICD_BYTES == 0x1_0000 && GICR_BYTES == 0x2_0000);

/// The interrupt controller of one VM.
#[derive(Debug)]
pub struct Gic {
    list_count: usize,
    control: AtomicU32,
    vcpus: alloc::vec::Vec<Mutex<VcpuGic>>,
    shared: Mutex<Shared>,
}

/// What belongs to one vCPU: its SGIs and PPIs, and what is in its list registers.
#[derive(Clone, Debug)]
struct VcpuGic {
    bank: Bank,
    lists: Vec<u32, MAX_LISTS>,
}

/// The SPIs.
#[derive(Clone, Debug)]
struct Shared {
    banks: [Bank; SPI_BANKS],
    routes: [Route; 32 * SPI_BANKS],
}

/// Where an SPI goes.
#[derive(Clone, Copy, Debug)]
struct Route {
    /// As `GICD_IROUTER` holds it.
    affinity: u64,
    target: Option<usize>,
    /// The vCPU whose list registers have it, or that has it active.
    holder: Option<usize>,
}

/// The copy is one state when nobody uses the original meanwhile.
impl Clone for Gic {
    fn clone(&self) -> Self {
        let vcpus = self.vcpus.iter();
        Self {
            list_count: self.list_count,
            control: AtomicU32::new(self.control.load(Ordering::Relaxed)),
            vcpus: vcpus.map(|vcpu| Mutex::new(vcpu.lock().clone())).collect(),
            shared: Mutex::new(self.shared.lock().clone()),
        }
    }
}

/// What the list registers are to hold at the next entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lists {
    /// `ICH_LR<n>_EL2` values; unused ones are zero.
    pub words: [u64; MAX_LISTS],
    /// Maintenance conditions for `ICH_HCR_EL2`.
    pub control: u64,
}

impl Gic {
    /// Builds the controller of a VM of `vcpus` on a machine with `list_count` list registers.
    pub fn new(vcpus: usize, list_count: usize) -> Self {
        let route = Route {
            affinity: 0,
            target: Some(0),
            holder: None,
        };
        let vcpu = || {
            Mutex::new(VcpuGic {
                bank: Bank::new(Kind::Private),
                lists: Vec::new(),
            })
        };
        Self {
            list_count: list_count.clamp(1, MAX_LISTS),
            control: AtomicU32::new(0),
            vcpus: (0..vcpus).map(|_| vcpu()).collect(),
            shared: Mutex::new(Shared {
                banks: [Bank::new(Kind::Shared), Bank::new(Kind::Shared)],
                routes: [route; 32 * SPI_BANKS],
            }),
        }
    }

    /// Sets the line of one of a vCPU's PPIs.
    ///
    /// Called by the PE that runs the vCPU, between `fold` and `flush`. Tells whether it rose.
    pub fn set_private_line(&self, vcpu: usize, intid: u32, is_high: bool) -> bool {
        debug_assert!((16..FIRST_SPI).contains(&intid));
        self.vcpus[vcpu].lock().bank.set_line(1 << intid, is_high)
    }

    /// Sets the line of an SPI; returns the vCPU to interrupt.
    pub fn set_shared_line(&self, intid: u32, is_high: bool) -> VcpuSet {
        let mut shared = self.shared.lock();
        let (bank, bit) = spi_position(intid);
        if !shared.banks[bank].set_line(bit, is_high) {
            return VcpuSet::EMPTY;
        }
        shared.reader_of(bank, bit)
    }

    /// Sends the SGIs that a write to one of the three registers asks for.
    ///
    /// Returns the vCPUs to interrupt; the sender may be among them and needs no interrupt.
    pub fn send_sgi(&self, sender: usize, register: SgiRegister, value: u64) -> VcpuSet {
        let request = sgi::decode(value, sender, self.vcpus.len());
        let bit = 1 << request.intid;
        let mut sent = VcpuSet::EMPTY;
        for target in request.targets.iter() {
            let mut vcpu = self.vcpus[target].lock();
            if register == SgiRegister::Group1 || !vcpu.bank.is_group_1(bit) {
                vcpu.bank.latch(bit);
                sent = sent.with(VcpuSet::only(target));
            }
        }
        sent
    }

    /// Makes an interrupt of a vCPU inactive: a write to `ICC_DIR_EL1` that trapped.
    pub fn deactivate(&self, vcpu: usize, intid: u32) -> VcpuSet {
        if intid < FIRST_SPI {
            self.vcpus[vcpu].lock().bank.deactivate(1 << intid);
        } else if intid < INTIDS {
            let (bank, bit) = spi_position(intid);
            let mut shared = self.shared.lock();
            let reader = shared.reader_of(bank, bit);
            shared.banks[bank].deactivate(bit);
            shared.release_if_idle(bank, bit);
            return reader;
        }
        VcpuSet::EMPTY
    }

    /// Chooses what the list registers of a vCPU hold at its next entry.
    ///
    /// Active interrupts come first, because their end must find them; then the pending ones by
    /// priority. When some are left over, the maintenance conditions bring the vCPU back in time.
    pub fn flush(&self, vcpu: usize) -> Lists {
        let groups = self.groups();
        let mut own = self.vcpus[vcpu].lock();
        let mut shared = self.shared.lock();
        let mut wanting: Vec<(u32, Candidate), { INTIDS as usize }> = Vec::new();
        for index in bits(own.bank.wanting(groups)) {
            // There is room for every interrupt of the VM, so nothing is refused.
            let _ = wanting.push((index as u32, own.bank.candidate(index, groups)));
        }
        for intid in shared.wanted_by(vcpu, groups) {
            let (bank, index) = spi_index(intid);
            let _ = wanting.push((intid, shared.banks[bank].candidate(index, groups)));
        }
        wanting.sort_unstable_by_key(|(intid, candidate)| {
            (!candidate.is_active, candidate.priority, *intid)
        });

        let mut lists = Lists {
            words: [0; MAX_LISTS],
            control: 0,
        };
        let (chosen, left) = wanting.split_at(wanting.len().min(self.list_count));
        own.lists.clear();
        for (word, (intid, candidate)) in lists.words.iter_mut().zip(chosen) {
            *word = lists::encode(*intid, candidate);
            // As long as the list registers themselves.
            let _ = own.lists.push(*intid);
            if *intid < FIRST_SPI {
                own.bank.list(1 << intid, candidate);
            } else {
                shared.list(*intid, candidate, vcpu);
            }
        }
        lists.control = maintenance(chosen, left);
        lists
    }

    /// Takes back the list registers and the control word that a vCPU stopped with.
    pub fn fold(&self, vcpu: usize, words: &[u64; MAX_LISTS], hcr: u64) {
        let mut own = self.vcpus[vcpu].lock();
        let mut shared = self.shared.lock();
        for _ in 0..lists::eoi_count(hcr) {
            end_unlisted(&mut own.bank, &mut shared, vcpu);
        }
        let intids = core::mem::take(&mut own.lists);
        for (intid, word) in intids.iter().zip(words) {
            let state = lists::decode(*word, *intid);
            if *intid < FIRST_SPI {
                own.bank
                    .unlist(1 << intid, state.is_active, state.is_pending);
            } else {
                shared.unlist(*intid, &state);
            }
        }
    }

    /// Returns the groups that the distributor lets through, as bits 0 and 1.
    fn groups(&self) -> u32 {
        self.control.load(Ordering::Relaxed) & distributor::CTLR_GROUPS
    }
}

impl Shared {
    /// Returns the SPIs that want a list register of a vCPU.
    fn wanted_by(&self, vcpu: usize, groups: u32) -> impl Iterator<Item = u32> {
        self.banks
            .iter()
            .enumerate()
            .flat_map(move |(bank, state)| {
                bits(state.wanting(groups))
                    .map(move |index| bank * 32 + index)
                    .filter(move |spi| self.routes[*spi].reader() == Some(vcpu))
                    .map(|spi| FIRST_SPI + spi as u32)
            })
    }

    fn list(&mut self, intid: u32, candidate: &Candidate, vcpu: usize) {
        let (bank, bit) = spi_position(intid);
        self.banks[bank].list(bit, candidate);
        self.route_mut(bank, bit).holder = Some(vcpu);
    }

    fn unlist(&mut self, intid: u32, state: &lists::Returned) {
        let (bank, bit) = spi_position(intid);
        self.banks[bank].unlist(bit, state.is_active, state.is_pending);
        self.release_if_idle(bank, bit);
    }

    /// Lets an SPI follow its route again when no vCPU has it any more.
    fn release_if_idle(&mut self, bank: usize, bit: u32) {
        if !self.banks[bank].is_active(bit) && !self.banks[bank].is_listed(bit) {
            self.route_mut(bank, bit).holder = None;
        }
    }

    /// Returns the vCPU that must look at an SPI when it changes.
    fn reader_of(&self, bank: usize, bit: u32) -> VcpuSet {
        let route = &self.routes[bank * 32 + bit.trailing_zeros() as usize];
        route.reader().map_or(VcpuSet::EMPTY, VcpuSet::only)
    }

    fn route_mut(&mut self, bank: usize, bit: u32) -> &mut Route {
        &mut self.routes[bank * 32 + bit.trailing_zeros() as usize]
    }
}

impl Route {
    fn reader(&self) -> Option<usize> {
        self.holder.or(self.target)
    }
}

/// Returns the maintenance conditions that bring a vCPU back for the interrupts `left` over.
///
/// `NPIE` must not be set when nothing that was chosen is pending, nor `UIE` when at most one entry
/// is used: the condition would hold at once and the guest would not progress.
fn maintenance(chosen: &[(u32, Candidate)], left: &[(u32, Candidate)]) -> u64 {
    if left.is_empty() {
        return 0;
    }
    let mut control = 0;
    if chosen.iter().any(|(_, candidate)| candidate.is_pending) {
        control |= lists::HCR_NO_PENDING;
    }
    if chosen.len() > 1 {
        control |= lists::HCR_UNDERFLOW;
    }
    if left.iter().any(|(_, candidate)| candidate.is_active) {
        control |= lists::HCR_NOT_PRESENT;
    }
    control
}

/// Ends the active interrupt of highest priority that had no list register.
fn end_unlisted(own: &mut Bank, shared: &mut Shared, vcpu: usize) {
    let private = bits(own.active_unlisted()).map(|i| (own.priority(i), i as u32));
    let spis = shared.banks.iter().enumerate().flat_map(|(bank, state)| {
        let routes = &shared.routes;
        bits(state.active_unlisted())
            .filter(move |i| routes[bank * 32 + i].reader() == Some(vcpu))
            .map(move |i| (state.priority(i), FIRST_SPI + (bank * 32 + i) as u32))
    });
    match private.chain(spis).min() {
        Some((_, intid)) if intid < FIRST_SPI => own.deactivate(1 << intid),
        Some((_, intid)) => {
            let (bank, bit) = spi_position(intid);
            shared.banks[bank].deactivate(bit);
            shared.release_if_idle(bank, bit);
        }
        None => {}
    }
}

/// Returns the bank of an SPI and its index there.
fn spi_index(intid: u32) -> (usize, usize) {
    debug_assert!((FIRST_SPI..INTIDS).contains(&intid));
    let spi = (intid - FIRST_SPI) as usize;
    (spi / 32, spi % 32)
}

/// Returns the bank of an SPI and its bit there.
fn spi_position(intid: u32) -> (usize, u32) {
    let (bank, index) = spi_index(intid);
    (bank, 1 << index)
}

/// Iterates over the numbers of the bits that are set.
fn bits(word: u32) -> impl Iterator<Item = usize> {
    (0..32).filter(move |bit| word >> bit & 1 != 0)
}
