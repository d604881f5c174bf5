// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Why a vCPU stopped, as a value.
//!
//! The exit half of the run page (RMM specification, "REC exit") is decoded once, here. A normal
//! VM's port fills the same page from its own system registers, so that one run loop serves both.

use crate::gic::SgiRegister;
use rmi::psci::{PsciFunction, PsciId};
use rmi::syndrome::{EC_SYSREG, EC_WFX};
use rmi::{ExitReason, Ipa, RecExit, RipasChange, Syndrome};

/// Why a vCPU stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// A data access, with the part that can be emulated when the syndrome tells enough.
    DataAbort(MemoryFault, Option<Mmio>),
    /// An instruction fetch.
    InstructionAbort(MemoryFault),
    /// The memory system failed an access.
    ExternalAbort(Syndrome),
    /// A system register access.
    SystemRegister(SystemRegister),
    /// A `WFI` or `WFE` that traps.
    Wait,
    /// A physical interrupt, or a change of a timer's output.
    Interrupt,
    /// A PSCI call.
    Psci(PsciCall),
    /// A request to change the state of addresses.
    RipasChange(RipasChange),
    /// A call to the host with this immediate.
    HostCall(u16),
    /// An asynchronous external abort.
    Serror(Syndrome),
    /// Something this host does not know.
    Unknown,
}

/// An access that stage 2 did not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryFault {
    /// The address: exact for an emulatable access, else its page. Includes the alias bit.
    pub ipa: Ipa,
    /// What the access was.
    pub access: AccessKind,
    /// Why the walk failed.
    pub class: FaultClass,
    /// Level of the entry where it failed, -1 to 3.
    pub level: i8,
}

/// What an access was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessKind {
    /// A data read, or one whose direction is not reported (a Realm's own memory).
    Read,
    /// A data write.
    Write,
    /// An instruction fetch.
    Fetch,
}

/// Why a stage-2 walk failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultClass {
    /// Nothing is mapped.
    Translation,
    /// The access flag is clear.
    AccessFlag,
    /// The mapping does not allow the access.
    Permission,
}

impl FaultClass {
    /// Every class.
    pub const ALL: [Self; 3] = [Self::Translation, Self::AccessFlag, Self::Permission];

    /// Returns its place in [`FaultClass::ALL`].
    pub fn index(self) -> usize {
        match self {
            Self::Translation => 0,
            Self::AccessFlag => 1,
            Self::Permission => 2,
        }
    }

    /// Returns its name in a summary.
    pub fn name(self) -> &'static str {
        match self {
            Self::Translation => "translation",
            Self::AccessFlag => "access-flag",
            Self::Permission => "permission",
        }
    }
}

/// An access to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mmio {
    /// Exact address, with the alias bit.
    pub ipa: Ipa,
    /// 1, 2, 4 or 8.
    pub size_bytes: u64,
    /// What to do.
    pub operation: MmioOperation,
}

/// The two things to do with a device register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MmioOperation {
    /// Read it. The answer is cut to the size; whoever enters the guest extends it into the
    /// register (for a Realm, the RMM).
    Read,
    /// Write this value, already cut to the size.
    Write(u64),
}

/// A system register access that traps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemRegister {
    /// A write to one of the registers that send interrupts.
    SendSgi(SgiRegister, u64),
    /// A write of an INTID to `ICC_DIR_EL1`.
    Deactivate(u32),
    /// Any other; the instruction's syndrome.
    Other(u32),
}

/// A PSCI call that the host takes part in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PsciCall {
    /// The function.
    pub function: PsciFunction,
    /// Its first three arguments, cut to the width of the calling convention.
    pub arguments: [u64; 3],
}

/// Direction bit of a system register access: set for a read.
const SYSREG_READ: u32 = 1;
/// Bits of the syndrome that name the register: Op0, Op2, Op1, CRn, CRm.
const SYSREG_NAME: u32 = 0x3F_FC1E;
const ICC_DIR_EL1: u32 = sysreg_name(3, 0, 12, 11, 1);
const ICC_SGI1R_EL1: u32 = sysreg_name(3, 0, 12, 11, 5);
const ICC_ASGI1R_EL1: u32 = sysreg_name(3, 0, 12, 11, 6);
const ICC_SGI0R_EL1: u32 = sysreg_name(3, 0, 12, 11, 7);

/// Fault status: translation fault at level -1 (only with 52-bit addresses).
const FSC_TRANSLATION_MINUS_1: u8 = 0x2B;

impl Exit {
    /// Decodes the exit half of a run page.
    pub fn decode(exit: &RecExit) -> Self {
        match exit.reason() {
            Some(ExitReason::Sync) => Self::decode_sync(exit),
            Some(ExitReason::Irq | ExitReason::Fiq) => Self::Interrupt,
            Some(ExitReason::Psci) => decode_psci(exit).map_or(Self::Unknown, Self::Psci),
            Some(ExitReason::RipasChange) => {
                exit.ripas_change().map_or(Self::Unknown, Self::RipasChange)
            }
            Some(ExitReason::HostCall) => Self::HostCall(exit.imm),
            Some(ExitReason::Serror) => Self::Serror(exit.syndrome()),
            None => Self::Unknown,
        }
    }

    fn decode_sync(exit: &RecExit) -> Self {
        let syndrome = exit.syndrome();
        if syndrome.is_data_abort() || syndrome.is_instruction_abort() {
            return Self::decode_abort(exit, syndrome);
        }
        match syndrome.class() {
            EC_WFX => Self::Wait,
            EC_SYSREG => Self::SystemRegister(decode_sysreg(exit)),
            _ => Self::Unknown,
        }
    }

    fn decode_abort(exit: &RecExit, syndrome: Syndrome) -> Self {
        let Some((class, level)) = fault_class(syndrome.fault_status()) else {
            return match syndrome.fault_status() {
                0x10 | 0x13..=0x17 => Self::ExternalAbort(syndrome),
                _ => Self::Unknown,
            };
        };
        let access = if syndrome.is_table_walk() {
            // A walk only writes when it updates a descriptor that it may not write.
            match class {
                FaultClass::Permission => AccessKind::Write,
                FaultClass::Translation | FaultClass::AccessFlag => AccessKind::Read,
            }
        } else if syndrome.is_instruction_abort() {
            AccessKind::Fetch
        } else if syndrome.is_write() {
            AccessKind::Write
        } else {
            AccessKind::Read
        };
        let fault = MemoryFault {
            ipa: exit.fault_ipa(),
            access,
            class,
            level,
        };
        if syndrome.is_instruction_abort() {
            Self::InstructionAbort(fault)
        } else {
            Self::DataAbort(fault, decode_mmio(exit, syndrome))
        }
    }
}

/// Returns the value that a load puts into its register, from what the device answered.
///
/// The answer is cut to the access size, sign-extended if the instruction asks for it, and then cut
/// to the width of the register. For a Realm the RMM does this; a normal VM's port does it with
/// this function.
pub fn loaded_value(syndrome: Syndrome, answer: u64) -> u64 {
    let size_bytes = syndrome.access_bytes() as u64;
    let value = cut(answer, size_bytes);
    let sign = 1_u64 << (8 * size_bytes - 1);
    let extended = if syndrome.is_sign_extending() && value & sign != 0 {
        value | !(sign | (sign - 1))
    } else {
        value
    };
    if syndrome.is_register_64() {
        extended
    } else {
        cut(extended, 4)
    }
}

/// Cuts a value to a size in bytes.
pub fn cut(value: u64, size_bytes: u64) -> u64 {
    if size_bytes >= 8 {
        value
    } else {
        value & ((1 << (8 * size_bytes)) - 1)
    }
}

fn decode_mmio(exit: &RecExit, syndrome: Syndrome) -> Option<Mmio> {
    if !syndrome.has_instruction() {
        return None;
    }
    let size_bytes = syndrome.access_bytes() as u64;
    let operation = if syndrome.is_write() {
        MmioOperation::Write(cut(exit.mmio_write_value(), size_bytes))
    } else {
        MmioOperation::Read
    };
    Some(Mmio {
        ipa: exit.fault_ipa(),
        size_bytes,
        operation,
    })
}

fn decode_sysreg(exit: &RecExit) -> SystemRegister {
    let [value, ..] = exit.gprs;
    let iss = exit.syndrome().raw() as u32 & 0x1FF_FFFF;
    if iss & SYSREG_READ != 0 {
        return SystemRegister::Other(iss);
    }
    match iss & SYSREG_NAME {
        ICC_SGI0R_EL1 => SystemRegister::SendSgi(SgiRegister::Group0, value),
        ICC_SGI1R_EL1 => SystemRegister::SendSgi(SgiRegister::Group1, value),
        ICC_ASGI1R_EL1 => SystemRegister::SendSgi(SgiRegister::OtherGroup1, value),
        ICC_DIR_EL1 => SystemRegister::Deactivate(value as u32 & 0xFF_FFFF),
        _ => SystemRegister::Other(iss),
    }
}

fn decode_psci(exit: &RecExit) -> Option<PsciCall> {
    let [fid, first, second, third] = exit.psci_call();
    match PsciId::from_fid(fid)? {
        PsciId::Known(function, convention) => Some(PsciCall {
            function,
            arguments: [first, second, third].map(|value| convention.argument(value)),
        }),
        PsciId::Unknown => None,
    }
}

fn fault_class(status: u8) -> Option<(FaultClass, i8)> {
    let level = (status & 0b11) as i8;
    match status {
        FSC_TRANSLATION_MINUS_1 => Some((FaultClass::Translation, -1)),
        0x04..=0x07 => Some((FaultClass::Translation, level)),
        0x08..=0x0B => Some((FaultClass::AccessFlag, level)),
        0x0C..=0x0F => Some((FaultClass::Permission, level)),
        _ => None,
    }
}

/// Returns the bits of a trapped access's syndrome that name a register.
const fn sysreg_name(op0: u32, op1: u32, crn: u32, crm: u32, op2: u32) -> u32 {
    op0 << 20 | op2 << 17 | op1 << 14 | crn << 10 | crm << 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use rmi::Ripas;

    const SHARED: u64 = 0x80_0000_0000;

    fn sync(esr: u64, ipa: u64) -> RecExit {
        let mut exit = RecExit::default();
        exit.esr = esr;
        exit.hpfar = RecExit::hpfar_of(Ipa::new(ipa));
        exit.far = ipa & 0xFFF;
        exit
    }

    fn with_reason(code: u8) -> RecExit {
        let mut exit = RecExit::default();
        exit.exit_reason = code;
        exit
    }

    /// A data abort at level 3 with a described instruction of `1 << sas` bytes.
    fn access(sas: u64, is_write: bool) -> u64 {
        0x24 << 26 | 1 << 24 | sas << 22 | u64::from(is_write) << 6 | 0x07
    }

    #[test]
    fn mmio_read_of_each_size() {
        for (sas, size_bytes) in [(0, 1), (1, 2), (2, 4), (3, 8)] {
            let exit = sync(access(sas, false), SHARED | 0x0900_0018);
            let ipa = Ipa::new(SHARED | 0x0900_0018);
            let fault = MemoryFault {
                ipa,
                access: AccessKind::Read,
                class: FaultClass::Translation,
                level: 3,
            };
            let mmio = Mmio {
                ipa,
                size_bytes,
                operation: MmioOperation::Read,
            };
            assert_eq!(Exit::decode(&exit), Exit::DataAbort(fault, Some(mmio)));
        }
    }

    #[test]
    fn mmio_write_is_cut_to_its_size() {
        for (sas, expected) in [
            (0, 0xEF),
            (1, 0xCDEF),
            (2, 0x89AB_CDEF),
            (3, 0x0123_4567_89AB_CDEF),
        ] {
            let mut exit = sync(access(sas, true), SHARED | 0x0900_0000);
            exit.gprs[0] = 0x0123_4567_89AB_CDEF;
            let Exit::DataAbort(fault, Some(mmio)) = Exit::decode(&exit) else {
                panic!("not an access");
            };
            assert_eq!(fault.access, AccessKind::Write);
            assert_eq!(mmio.operation, MmioOperation::Write(expected));
        }
    }

    #[test]
    fn realm_memory_fault_has_no_emulation() {
        let exit = sync(0x24 << 26 | 0x06, 0x8012_3000);
        let fault = MemoryFault {
            ipa: Ipa::new(0x8012_3000),
            access: AccessKind::Read,
            class: FaultClass::Translation,
            level: 2,
        };
        assert_eq!(Exit::decode(&exit), Exit::DataAbort(fault, None));
        let exit = sync(0x20 << 26 | 0x0F, 0x8012_3000);
        let fault = MemoryFault {
            access: AccessKind::Fetch,
            class: FaultClass::Permission,
            level: 3,
            ..fault
        };
        assert_eq!(Exit::decode(&exit), Exit::InstructionAbort(fault));
    }

    #[test]
    fn walk_of_the_guests_own_tables_reads_or_updates_them() {
        const WALK: u64 = 1 << 7;
        for (class, status, access) in [
            (0x24, 0x07, AccessKind::Read),
            (0x20, 0x07, AccessKind::Read),
            (0x24, 0x0F, AccessKind::Write),
            (0x20, 0x0F, AccessKind::Write),
        ] {
            let exit = sync(class << 26 | WALK | status, 0x8012_3000);
            let (Exit::DataAbort(fault, None) | Exit::InstructionAbort(fault)) =
                Exit::decode(&exit)
            else {
                panic!("not a memory fault");
            };
            assert_eq!(fault.access, access, "{class:#x} {status:#x}");
        }
    }

    #[test]
    fn abort_classes_come_from_the_status() {
        let class = |status: u8| fault_class(status);
        assert_eq!(class(0x2B), Some((FaultClass::Translation, -1)));
        assert_eq!(class(0x04), Some((FaultClass::Translation, 0)));
        assert_eq!(class(0x09), Some((FaultClass::AccessFlag, 1)));
        assert_eq!(class(0x0E), Some((FaultClass::Permission, 2)));
        assert_eq!(class(0x00), None);
        let exit = sync(0x24 << 26 | 0x10, 0);
        assert!(matches!(Exit::decode(&exit), Exit::ExternalAbort(_)));
        let exit = sync(0x24 << 26 | 0x21, 0);
        assert_eq!(Exit::decode(&exit), Exit::Unknown);
    }

    #[test]
    fn load_is_extended_as_the_instruction_asks() {
        let load = |sas: u64, sign: u64, wide: u64| {
            Syndrome::new(access(sas, false) | sign << 21 | wide << 15)
        };
        let answer = 0xFFFF_FFFF_8070_F0F1;
        assert_eq!(loaded_value(load(0, 0, 0), answer), 0xF1);
        assert_eq!(loaded_value(load(0, 1, 0), answer), 0xFFFF_FFF1);
        assert_eq!(loaded_value(load(0, 1, 1), answer), 0xFFFF_FFFF_FFFF_FFF1);
        assert_eq!(loaded_value(load(1, 1, 1), answer), 0xFFFF_FFFF_FFFF_F0F1);
        assert_eq!(loaded_value(load(1, 1, 1), 0x70F1), 0x70F1);
        assert_eq!(loaded_value(load(2, 1, 1), answer), 0xFFFF_FFFF_8070_F0F1);
        assert_eq!(loaded_value(load(2, 0, 1), answer), 0x8070_F0F1);
        assert_eq!(loaded_value(load(3, 0, 1), answer), answer);
    }

    #[test]
    fn sgi_registers_are_told_apart() {
        // msr ICC_SGI1R_EL1, x5: EC 0x18, IL, Op0 3, Op2 5, CRn 12, Rt 5, CRm 11.
        let mut exit = sync(0x623A_30B6, 0);
        exit.gprs[0] = 0x1234;
        let expected = SystemRegister::SendSgi(SgiRegister::Group1, 0x1234);
        assert_eq!(Exit::decode(&exit), Exit::SystemRegister(expected));
        for (op2, register) in [(7, SgiRegister::Group0), (6, SgiRegister::OtherGroup1)] {
            exit.esr = 0x18 << 26 | u64::from(sysreg_name(3, 0, 12, 11, op2));
            let expected = SystemRegister::SendSgi(register, 0x1234);
            assert_eq!(Exit::decode(&exit), Exit::SystemRegister(expected));
        }
        exit.esr = 0x18 << 26 | u64::from(sysreg_name(3, 0, 12, 11, 1));
        exit.gprs[0] = 27;
        let expected = SystemRegister::Deactivate(27);
        assert_eq!(Exit::decode(&exit), Exit::SystemRegister(expected));
        exit.esr = 0x623A_30B7;
        let read = SystemRegister::Other(0x3A_30B7);
        assert_eq!(Exit::decode(&exit), Exit::SystemRegister(read));
    }

    #[test]
    fn other_reasons_decode() {
        let exit = |reason: ExitReason| with_reason(reason.code());
        assert_eq!(Exit::decode(&exit(ExitReason::Irq)), Exit::Interrupt);
        assert_eq!(Exit::decode(&exit(ExitReason::Fiq)), Exit::Interrupt);
        let mut call = exit(ExitReason::HostCall);
        call.imm = 0x42;
        assert_eq!(Exit::decode(&call), Exit::HostCall(0x42));
        let mut change = exit(ExitReason::RipasChange);
        (change.ripas_base, change.ripas_top, change.ripas_value) = (0x1000, 0x2000, 1);
        let request = RipasChange {
            base: Ipa::new(0x1000),
            top: Ipa::new(0x2000),
            ripas: Ripas::Ram,
        };
        assert_eq!(Exit::decode(&change), Exit::RipasChange(request));
        change.ripas_value = 9;
        assert_eq!(Exit::decode(&change), Exit::Unknown);
        let unknown = with_reason(7);
        assert_eq!(Exit::decode(&unknown), Exit::Unknown);
        assert_eq!(Exit::decode(&sync(0x01 << 26, 0)), Exit::Wait);
        assert_eq!(Exit::decode(&sync(0x3C << 26, 0)), Exit::Unknown);
    }

    #[test]
    fn psci_arguments_have_the_width_of_the_convention() {
        let mut exit = with_reason(ExitReason::Psci.code());
        exit.gprs[..4].copy_from_slice(&[0xC400_0003, 1 << 32 | 1, 2, 3]);
        let call = |arguments| {
            Exit::Psci(PsciCall {
                function: PsciFunction::CpuOn,
                arguments,
            })
        };
        assert_eq!(Exit::decode(&exit), call([1 << 32 | 1, 2, 3]));
        exit.gprs[0] = 0x8400_0003;
        assert_eq!(Exit::decode(&exit), call([1, 2, 3]));
        exit.gprs[0] = 0x8400_0010;
        assert_eq!(Exit::decode(&exit), Exit::Unknown);
    }
}
