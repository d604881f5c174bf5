// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The run page of `RMI_REC_ENTER`: what the Host tells a REC, and what the REC tells the Host.
//!
//! The Host owns the page and may keep it from one entry to the next. The monitor reads all of
//! [`RecEnter`] once at entry and writes all of [`RecExit`] once at exit.

use bitflags::bitflags;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::addr::Ipa;
use crate::bits::Field;
use crate::rtt::Ripas;
use crate::syndrome::Syndrome;
use crate::wire::assert_layout;

/// General-purpose registers: x0 to x30.
pub const REC_GPRS: usize = 31;

/// Interrupt list registers in the page, however many the machine has.
pub const REC_GIC_LRS: usize = 16;

/// Bytes of each half of the page.
pub const REC_RUN_HALF_BYTES: usize = 0x800;

/// The faulting page in `HPFAR_EL2`.
const HPFAR_FIPA: Field = Field::new(47, 4);
/// Bits that an address loses on its way into the field above.
const HPFAR_FIPA_PAGE_BITS: u32 = 12;
/// The offset in its page of an address in `FAR_EL2`.
const FAR_PAGE_OFFSET: Field = Field::new(11, 0);

bitflags! {
    /// What the Host decided since the last exit (`RmiRecEnterFlags`).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct EnterFlags: u64 {
        /// The Host has emulated the access that caused the last exit.
        const EMUL_MMIO = 1 << 0;
        /// The access that caused the last exit ends in a Synchronous External Abort.
        const INJECT_SEA = 1 << 1;
        /// `WFI` and `WFIT` cause an exit.
        const TRAP_WFI = 1 << 2;
        /// `WFE` and `WFET` cause an exit.
        const TRAP_WFE = 1 << 3;
        /// The change of address state that caused the last exit is refused.
        const RIPAS_REJECT = 1 << 4;
    }
}

/// Why a REC stopped (`RmiRecExitReason`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExitReason {
    /// A synchronous exception that the Host has to resolve.
    Sync,
    /// A physical interrupt.
    Irq,
    /// A physical fast interrupt.
    Fiq,
    /// A PSCI call.
    Psci,
    /// A request to change the state of addresses.
    RipasChange,
    /// A call to the Host.
    HostCall,
    /// An asynchronous external abort.
    Serror,
}

impl ExitReason {
    /// Every reason, in the order of its code.
    pub const ALL: [Self; 7] = [
        Self::Sync,
        Self::Irq,
        Self::Fiq,
        Self::Psci,
        Self::RipasChange,
        Self::HostCall,
        Self::Serror,
    ];

    /// Returns the reason with this code, if RMI 1.0 has it.
    #[must_use]
    pub const fn new(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Sync),
            1 => Some(Self::Irq),
            2 => Some(Self::Fiq),
            3 => Some(Self::Psci),
            4 => Some(Self::RipasChange),
            5 => Some(Self::HostCall),
            6 => Some(Self::Serror),
            _ => None,
        }
    }

    /// Returns the code of the reason.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Sync => 0,
            Self::Irq => 1,
            Self::Fiq => 2,
            Self::Psci => 3,
            Self::RipasChange => 4,
            Self::HostCall => 5,
            Self::Serror => 6,
        }
    }

    /// Returns the name that the specification gives to the reason.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sync => "RMI_EXIT_SYNC",
            Self::Irq => "RMI_EXIT_IRQ",
            Self::Fiq => "RMI_EXIT_FIQ",
            Self::Psci => "RMI_EXIT_PSCI",
            Self::RipasChange => "RMI_EXIT_RIPAS_CHANGE",
            Self::HostCall => "RMI_EXIT_HOST_CALL",
            Self::Serror => "RMI_EXIT_SERROR",
        }
    }
}

/// `RmiRecEnter`: the first half of the page, from the Host.
#[derive(Clone, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RecEnter {
    /// [`EnterFlags`], and bits that should be zero.
    pub flags: u64,
    _reserved_flags: [u8; 0x1f8],
    /// Values for x0 to x30, where the last exit asked for some.
    pub gprs: [u64; REC_GPRS],
    _reserved_gprs: [u8; 8],
    /// `ICH_HCR_EL2`, the part that the Host may choose.
    pub gicv3_hcr: u64,
    /// `ICH_LR<n>_EL2`.
    pub gicv3_lrs: [u64; REC_GIC_LRS],
    _reserved_end: [u8; 0x478],
}

assert_layout!(RecEnter, 0x800, {
    flags: 0x0,
    gprs: 0x200,
    gicv3_hcr: 0x300,
    gicv3_lrs: 0x308,
});

impl Default for RecEnter {
    fn default() -> Self {
        Self::new_zeroed()
    }
}

impl RecEnter {
    /// Returns what the Host decided; bits that should be zero have no meaning.
    #[must_use]
    pub const fn enter_flags(&self) -> EnterFlags {
        EnterFlags::from_bits_truncate(self.flags)
    }

    /// Says what the Host decided.
    pub const fn set_enter_flags(&mut self, flags: EnterFlags) {
        self.flags = flags.bits();
    }

    /// Forgets the decisions and register values of the last entry; interrupts stay.
    pub const fn reset(&mut self) {
        self.flags = 0;
        self.gprs = [0; REC_GPRS];
    }

    /// Completes the load that caused the last exit, with the value that the device answered.
    pub fn complete_mmio_read(&mut self, value: u64) {
        self.flags |= EnterFlags::EMUL_MMIO.bits();
        let [x0, ..] = &mut self.gprs;
        *x0 = value;
    }

    /// Completes the store that caused the last exit.
    pub fn complete_mmio_write(&mut self) {
        self.flags |= EnterFlags::EMUL_MMIO.bits();
    }

    /// Fails the access that caused the last exit.
    pub fn inject_sea(&mut self) {
        self.flags |= EnterFlags::INJECT_SEA.bits();
    }

    /// Refuses what remains of the change of address state that caused the last exit.
    pub fn reject_ripas_change(&mut self) {
        self.flags |= EnterFlags::RIPAS_REJECT.bits();
    }
}

/// `RmiRecExit`: the second half of the page, from the monitor.
///
/// Offsets in the specification count from the start of this half.
#[derive(Clone, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RecExit {
    /// Code of an [`ExitReason`].
    pub exit_reason: u8,
    _reserved_exit_reason: [u8; 0xff],
    /// What the Host may know of `ESR_EL2`.
    pub esr: u64,
    /// What the Host may know of `FAR_EL2`.
    pub far: u64,
    /// What the Host may know of `HPFAR_EL2`.
    pub hpfar: u64,
    _reserved_hpfar: [u8; 0xe8],
    /// Values of x0 to x30 that the reason lets the Host see.
    pub gprs: [u64; REC_GPRS],
    _reserved_gprs: [u8; 8],
    /// `ICH_HCR_EL2`, the part that the Host may know.
    pub gicv3_hcr: u64,
    /// `ICH_LR<n>_EL2`.
    pub gicv3_lrs: [u64; REC_GIC_LRS],
    /// `ICH_MISR_EL2`.
    pub gicv3_misr: u64,
    /// `ICH_VMCR_EL2`.
    pub gicv3_vmcr: u64,
    _reserved_gicv3_vmcr: [u8; 0x68],
    /// `CNTP_CTL_EL0`.
    pub cntp_ctl: u64,
    /// `CNTP_CVAL_EL0`.
    pub cntp_cval: u64,
    /// `CNTV_CTL_EL0`.
    pub cntv_ctl: u64,
    /// `CNTV_CVAL_EL0`.
    pub cntv_cval: u64,
    _reserved_cntv_cval: [u8; 0xe0],
    /// First address of a requested change of address state.
    pub ripas_base: u64,
    /// End address of a requested change of address state.
    pub ripas_top: u64,
    /// Code of the requested [`Ripas`].
    pub ripas_value: u8,
    _reserved_ripas_value: [u8; 0xef],
    /// Immediate value of a call to the Host.
    pub imm: u16,
    _reserved_imm: [u8; 0xfe],
    /// Whether a counter of the performance monitor has overflowed: 0 or 1.
    pub pmu_ovf_status: u8,
    _reserved_end: [u8; 0xff],
}

assert_layout!(RecExit, 0x800, {
    exit_reason: 0x0,
    esr: 0x100,
    far: 0x108,
    hpfar: 0x110,
    gprs: 0x200,
    gicv3_hcr: 0x300,
    gicv3_lrs: 0x308,
    gicv3_misr: 0x388,
    gicv3_vmcr: 0x390,
    cntp_ctl: 0x400,
    cntp_cval: 0x408,
    cntv_ctl: 0x410,
    cntv_cval: 0x418,
    ripas_base: 0x500,
    ripas_top: 0x508,
    ripas_value: 0x510,
    imm: 0x600,
    pmu_ovf_status: 0x700,
});

impl Default for RecExit {
    fn default() -> Self {
        Self::new_zeroed()
    }
}

/// A change of address state that a Realm asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RipasChange {
    /// The first address.
    pub base: Ipa,
    /// The address after the last one.
    pub top: Ipa,
    /// The state that the addresses shall have.
    pub ripas: Ripas,
}

impl RecExit {
    /// Returns why the REC stopped, or nothing if the code is none of RMI 1.0.
    #[must_use]
    pub const fn reason(&self) -> Option<ExitReason> {
        ExitReason::new(self.exit_reason)
    }

    /// Returns the syndrome of a synchronous exception or an asynchronous abort.
    #[must_use]
    pub const fn syndrome(&self) -> Syndrome {
        Syndrome::new(self.esr)
    }

    /// Returns the address that an abort is about: exact if emulatable, otherwise its page.
    #[must_use]
    pub const fn fault_ipa(&self) -> Ipa {
        let page = HPFAR_FIPA.get(self.hpfar) << HPFAR_FIPA_PAGE_BITS;
        Ipa::new(page | FAR_PAGE_OFFSET.get(self.far))
    }

    /// Returns the page that holds `ipa` as `HPFAR_EL2` spells it.
    #[must_use]
    pub const fn hpfar_of(ipa: Ipa) -> u64 {
        HPFAR_FIPA.set(0, ipa.raw() >> HPFAR_FIPA_PAGE_BITS)
    }

    /// Returns the value that an emulatable store writes, up to the size of the access.
    #[must_use]
    pub const fn mmio_write_value(&self) -> u64 {
        let [x0, ..] = self.gprs;
        x0
    }

    /// Returns the function identifier and the three arguments of a PSCI call.
    #[must_use]
    pub const fn psci_call(&self) -> [u64; 4] {
        let [x0, x1, x2, x3, ..] = self.gprs;
        [x0, x1, x2, x3]
    }

    /// Returns the requested change of address state, or nothing if its state is reserved.
    #[must_use]
    pub fn ripas_change(&self) -> Option<RipasChange> {
        Some(RipasChange {
            base: Ipa::new(self.ripas_base),
            top: Ipa::new(self.ripas_top),
            ripas: Ripas::new(self.ripas_value)?,
        })
    }

    /// Returns whether a counter of the performance monitor has overflowed.
    #[must_use]
    pub const fn has_pmu_overflow(&self) -> bool {
        self.pmu_ovf_status != 0
    }
}

/// `RmiRecRun`: the whole page.
#[derive(Clone, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RecRun {
    /// From the Host.
    pub enter: RecEnter,
    /// From the monitor.
    pub exit: RecExit,
}

assert_layout!(RecRun, 0x1000, { enter: 0x0, exit: 0x800 });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_reason_codes_round_trip() {
        for (code, reason) in (0..).zip(ExitReason::ALL) {
            assert_eq!(reason.code(), code);
            assert_eq!(ExitReason::new(code), Some(reason));
        }
        assert_eq!(ExitReason::new(7), None);
    }

    #[test]
    fn exit_joins_the_fault_address() {
        let exit = RecExit {
            hpfar: 0x80_0009_0000,
            far: 0x018,
            ..RecExit::default()
        };
        assert_eq!(exit.fault_ipa(), Ipa::new(0x8000_0900_0018));
        assert_eq!(RecExit::hpfar_of(Ipa::new(0x8000_0900_0FFF)), exit.hpfar);
    }

    #[test]
    fn exit_ripas_change_needs_a_known_state() {
        let mut exit = RecExit {
            ripas_base: 0x1000,
            ripas_top: 0x3000,
            ripas_value: 1,
            ..RecExit::default()
        };
        let change = RipasChange {
            base: Ipa::new(0x1000),
            top: Ipa::new(0x3000),
            ripas: Ripas::Ram,
        };
        assert_eq!(exit.ripas_change(), Some(change));
        exit.ripas_value = 3;
        assert_eq!(exit.ripas_change(), None);
    }

    #[test]
    fn enter_records_each_decision() {
        let mut enter = RecEnter::default();
        enter.complete_mmio_read(0xAB);
        assert_eq!(enter.enter_flags(), EnterFlags::EMUL_MMIO);
        assert_eq!(enter.gprs[0], 0xAB);
        enter.inject_sea();
        enter.reject_ripas_change();
        assert_eq!(enter.flags, 0b10011);
        enter.gicv3_hcr = 2;
        enter.reset();
        assert_eq!(
            enter,
            RecEnter {
                gicv3_hcr: 2,
                ..RecEnter::default()
            }
        );
        enter.flags = 1 << 5;
        assert_eq!(enter.enter_flags(), EnterFlags::empty());
    }
}
