// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The guest's machine: where things are in its address space, and how its vCPUs are named.
//!
//! The addresses are the host's own choice and the same on every board; the guest learns them from
//! its device tree. In a Realm the top bit of an IPA is not part of the address: it selects the
//! *shared alias*, memory and devices that the host can see. A Realm reaches every emulated device
//! through that alias. [`GuestMap::locate`] is the one place that takes the bit off, so that
//! nothing else in this crate asks whether a VM is a Realm.

use rmi::{Ipa, RecMpidr};

/// First address of guest memory.
pub const RAM_BASE: u64 = 0x8000_0000;
/// First address of the interrupt distributor.
pub const GICD_BASE: u64 = 0x0800_0000;
/// Size of the distributor's registers in bytes.
pub const GICD_BYTES: u64 = 0x1_0000;
/// First address of the redistributor of vCPU 0; the others follow.
pub const GICR_BASE: u64 = 0x080A_0000;
/// Size of one redistributor in bytes: the RD frame and the SGI frame.
pub const GICR_BYTES: u64 = 0x2_0000;
/// First address of the PL011.
pub const UART_BASE: u64 = 0x0900_0000;
/// Size of the PL011's registers in bytes.
pub const UART_BYTES: u64 = 0x1000;

/// First address of the source of random numbers.
pub const ENTROPY_BASE: u64 = 0x0A00_0000;
/// Size of its registers in bytes.
pub const ENTROPY_BYTES: u64 = 0x200;

/// Where a normal VM has the board's own clock, a PL031, if it is given it.
pub const CLOCK_BASE: u64 = 0x0901_0000;
/// Size of its registers in bytes.
pub const CLOCK_BYTES: u64 = 0x1000;

/// Interrupt of the PL011: SPI 1.
pub const UART_INTID: u32 = 33;
/// Interrupt of the source of random numbers: SPI 2.
pub const ENTROPY_INTID: u32 = 34;
/// Interrupt of the performance monitor: PPI 7 (Arm BSA).
pub const PMU_INTID: u32 = 23;
/// Interrupt of the GIC CPU interface's maintenance signal: PPI 9.
pub const MAINTENANCE_INTID: u32 = 25;
/// Interrupt of the virtual timer: PPI 11.
pub const VIRTUAL_TIMER_INTID: u32 = 27;
/// Interrupt of the physical timer: PPI 14.
pub const PHYSICAL_TIMER_INTID: u32 = 30;

/// Largest number of vCPUs of a VM.
pub const MAX_VCPUS: usize = crate::bundle::MAX_VCPUS as usize;

/// Returns the name of a vCPU: that of the REC with the same index.
pub fn mpidr_of(vcpu: usize) -> RecMpidr {
    u64::try_from(vcpu)
        .ok()
        .and_then(RecMpidr::from_index)
        .unwrap_or_default()
}

/// Returns the vCPU of a name in a VM of `vcpus`, if it has one.
pub fn vcpu_of(mpidr: RecMpidr, vcpus: usize) -> Option<usize> {
    usize::try_from(mpidr.index())
        .ok()
        .filter(|vcpu| *vcpu < vcpus)
}

/// A set of vCPUs of one VM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VcpuSet(u32);

impl VcpuSet {
    /// No vCPU.
    pub const EMPTY: Self = Self(0);

    /// Returns the set of one vCPU.
    pub fn only(vcpu: usize) -> Self {
        Self(1 << vcpu)
    }

    /// Returns the set of vCPUs `0..count`.
    pub fn first(count: usize) -> Self {
        (0..count).fold(Self::EMPTY, |set, vcpu| set.with(Self::only(vcpu)))
    }

    /// Returns the union of two sets.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns this set without one vCPU.
    #[must_use]
    pub fn without(self, vcpu: usize) -> Self {
        Self(self.0 & !(1 << vcpu))
    }

    /// Tells whether the set holds a vCPU.
    pub fn contains(self, vcpu: usize) -> bool {
        self.0 & 1 << vcpu != 0
    }

    /// Tells whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Iterates over the vCPUs of the set in ascending order.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..MAX_VCPUS).filter(move |vcpu| self.contains(*vcpu))
    }
}

/// Which half of a Realm's address space an access used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// The Realm's own half; for a normal VM, the whole space.
    Protected,
    /// The half the host can see.
    Shared,
}

/// What the guest has at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Memory, or a page of a device that is mapped; the address without the alias bit.
    Memory(Ipa),
    /// A device register.
    Device(Device, u64),
    /// Nothing.
    Hole,
}

/// An emulated device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// The interrupt distributor.
    Distributor,
    /// The redistributor of a vCPU.
    Redistributor(usize),
    /// The console.
    Uart,
    /// The source of random numbers.
    Entropy,
}

/// The address space of one VM.
#[derive(Clone, Copy, Debug)]
pub struct GuestMap {
    ipa_bits: u32,
    is_realm: bool,
    vcpus: usize,
    memory_bytes: u64,
    has_clock: bool,
    has_pmu: bool,
}

impl GuestMap {
    /// Describes a Realm: addresses of `ipa_bits` bits, the top one being the alias bit.
    ///
    /// Returns nothing when the vCPUs are not 1 to [`MAX_VCPUS`] or the memory does not fit.
    pub fn realm(ipa_bits: u32, vcpus: usize, memory_bytes: u64) -> Option<Self> {
        Self::new(ipa_bits, true, vcpus, memory_bytes)
    }

    /// Describes a normal VM with addresses of `ipa_bits` bits.
    ///
    /// Returns nothing when the vCPUs are not 1 to [`MAX_VCPUS`] or the memory does not fit.
    pub fn normal(ipa_bits: u32, vcpus: usize, memory_bytes: u64) -> Option<Self> {
        Self::new(ipa_bits, false, vcpus, memory_bytes)
    }

    fn new(ipa_bits: u32, is_realm: bool, vcpus: usize, memory_bytes: u64) -> Option<Self> {
        let map = Self {
            ipa_bits,
            is_realm,
            vcpus,
            memory_bytes,
            has_clock: false,
            has_pmu: false,
        };
        let space = 1_u64.checked_shl(ipa_bits.checked_sub(u32::from(is_realm))?)?;
        let end = RAM_BASE.checked_add(memory_bytes)?;
        let is_good = (1..=MAX_VCPUS).contains(&vcpus) && memory_bytes > 0 && end <= space;
        is_good.then_some(map)
    }

    /// Returns the same machine with the board's clock, a page that is mapped and not emulated.
    #[must_use]
    pub fn with_clock(self) -> Self {
        Self {
            has_clock: true,
            ..self
        }
    }

    /// Tells whether the VM has the board's clock.
    pub fn has_clock(&self) -> bool {
        self.has_clock
    }

    /// Returns the same machine with a performance monitor in its vCPUs.
    #[must_use]
    pub fn with_pmu(self) -> Self {
        Self {
            has_pmu: true,
            ..self
        }
    }

    /// Tells whether the vCPUs have a performance monitor.
    pub fn has_pmu(&self) -> bool {
        self.has_pmu
    }

    /// Tells whether the VM is a Realm.
    pub fn is_realm(&self) -> bool {
        self.is_realm
    }

    /// Returns the number of vCPUs.
    pub fn vcpus(&self) -> usize {
        self.vcpus
    }

    /// Returns the size of guest memory in bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// Returns where the host-visible alias of an address is; for a normal VM, the same address.
    pub fn shared_alias(&self, ipa: Ipa) -> Ipa {
        Ipa::new(ipa.raw() | self.alias_bit())
    }

    /// Returns the half that an address is in.
    pub fn half(&self, ipa: Ipa) -> Half {
        if ipa.raw() & self.alias_bit() == 0 {
            Half::Protected
        } else {
            Half::Shared
        }
    }

    /// Returns what is at an address, whichever half names it.
    pub fn locate(&self, ipa: Ipa) -> Place {
        let address = ipa.raw() & !self.alias_bit();
        let is_clock = self.has_clock && contains(CLOCK_BASE, CLOCK_BYTES, address);
        if is_clock || contains(RAM_BASE, self.memory_bytes, address) {
            Place::Memory(Ipa::new(address))
        } else if contains(GICD_BASE, GICD_BYTES, address) {
            Place::Device(Device::Distributor, address - GICD_BASE)
        } else if contains(GICR_BASE, GICR_BYTES * self.vcpus as u64, address) {
            let offset = address - GICR_BASE;
            let vcpu = (offset / GICR_BYTES) as usize;
            Place::Device(Device::Redistributor(vcpu), offset % GICR_BYTES)
        } else if contains(UART_BASE, UART_BYTES, address) {
            Place::Device(Device::Uart, address - UART_BASE)
        } else if contains(ENTROPY_BASE, ENTROPY_BYTES, address) {
            Place::Device(Device::Entropy, address - ENTROPY_BASE)
        } else {
            Place::Hole
        }
    }

    fn alias_bit(&self) -> u64 {
        if self.is_realm {
            1 << (self.ipa_bits - 1)
        } else {
            0
        }
    }
}

fn contains(base: u64, size_bytes: u64, address: u64) -> bool {
    address
        .checked_sub(base)
        .is_some_and(|offset| offset < size_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_vcpus_agree() {
        assert_eq!(mpidr_of(17).raw(), 0x101);
        assert_eq!(vcpu_of(mpidr_of(3), 4), Some(3));
        assert_eq!(vcpu_of(mpidr_of(4), 4), None);
    }

    #[test]
    fn vcpu_set_holds_what_was_put_in() {
        let set = VcpuSet::first(4).without(2).with(VcpuSet::only(7));
        assert!(set.iter().eq([0, 1, 3, 7]));
        assert!(!set.contains(2));
        assert!(VcpuSet::EMPTY.is_empty());
    }

    #[test]
    fn locate_strips_the_alias_of_a_realm_only() {
        let realm = GuestMap::realm(40, 2, 0x1000_0000).unwrap();
        let uart = Ipa::new(0x80_0900_0018);
        assert_eq!(realm.locate(uart), Place::Device(Device::Uart, 0x18));
        assert_eq!(realm.half(uart), Half::Shared);
        assert_eq!(
            realm.locate(Ipa::new(0x0900_0018)),
            Place::Device(Device::Uart, 0x18)
        );
        assert_eq!(
            realm.shared_alias(Ipa::new(0x0900_0000)),
            Ipa::new(0x80_0900_0000)
        );
        let normal = GuestMap::normal(40, 2, 0x1000_0000).unwrap();
        assert_eq!(normal.locate(uart), Place::Hole);
        assert_eq!(normal.half(uart), Half::Protected);
    }

    #[test]
    fn locate_knows_every_device_and_its_end() {
        let map = GuestMap::realm(40, 2, 0x1000_0000).unwrap();
        let at = |address| map.locate(Ipa::new(address));
        assert_eq!(at(0x0800_6000), Place::Device(Device::Distributor, 0x6000));
        assert_eq!(at(0x0801_0000), Place::Hole);
        assert_eq!(at(0x080C_0008), Place::Device(Device::Redistributor(1), 8));
        assert_eq!(
            at(0x080B_0100),
            Place::Device(Device::Redistributor(0), 0x1_0100)
        );
        assert_eq!(at(0x080E_0000), Place::Hole);
        assert_eq!(at(0x0A00_01FC), Place::Device(Device::Entropy, 0x1FC));
        assert_eq!(at(0x0A00_0200), Place::Hole);
        assert_eq!(at(0x8FFF_FFFF), Place::Memory(Ipa::new(0x8FFF_FFFF)));
        assert_eq!(at(0x9000_0000), Place::Hole);
    }

    #[test]
    fn clock_is_mapped_where_there_is_one() {
        let map = GuestMap::normal(40, 1, 0x1000_0000).unwrap();
        let registers = Ipa::new(0x0901_0FE0);
        assert_eq!(map.locate(registers), Place::Hole);
        let map = map.with_clock();
        assert_eq!(map.locate(registers), Place::Memory(registers));
        assert_eq!(map.locate(Ipa::new(0x0901_1000)), Place::Hole);
    }

    #[test]
    fn realm_must_fit_its_half() {
        assert!(GuestMap::realm(33, 1, 0x8000_0000).is_some());
        assert!(GuestMap::realm(33, 1, 0x8000_1000).is_none());
        assert!(GuestMap::realm(40, 0, 0x1000).is_none());
        assert!(GuestMap::realm(40, MAX_VCPUS + 1, 0x1000).is_none());
    }
}
