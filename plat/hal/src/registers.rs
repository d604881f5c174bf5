// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Every system register that code at EL1 or EL0 can name, and what becomes of it in a Realm.
//!
//! This table is the only list: the fields of [`El1Registers`](crate::El1Registers), the code that saves
//! and loads them, the bits of the trap controls, the answers to trapped accesses and
//! `plat/hal/registers.md` are made from it. A register that is not in it and traps is undefined in a
//! Realm. What a Realm reads from the identification registers is a list of fields of its own, in the
//! rules.

mod table;
#[cfg(test)]
mod tests;

pub use table::{REGISTERS, SWITCHED};

/// Lists the EL1&0 registers that are saved and loaded with every REC, in this order.
///
/// `$callback!` receives `both { .. } realm { .. }`, each a list of
/// `field NAME [op0 op1 CRn CRm op2] feature;` as R-EL2 names the register. Those in `both` belong to
/// whoever ran last. Those in `realm` are switched between worlds by EL3 (RMM-EL3 interface, registers
/// preserved by EL3), so the Host's need no care. A feature other than `base` says that only some PEs
/// have the register.
#[macro_export]
macro_rules! switched_registers {
    ($callback:ident) => {
        $callback! {
            both {
                sp_el0 SP_EL0 [3 0 4 1 0] base;
                sp_el1 SP_EL1 [3 4 4 1 0] base;
                elr_el1 ELR_EL1 [3 0 4 0 1] base;
                spsr_el1 SPSR_EL1 [3 0 4 0 0] base;
                sctlr_el1 SCTLR_EL1 [3 0 1 0 0] base;
                actlr_el1 ACTLR_EL1 [3 0 1 0 1] base;
                cpacr_el1 CPACR_EL1 [3 0 1 0 2] base;
                ttbr0_el1 TTBR0_EL1 [3 0 2 0 0] base;
                ttbr1_el1 TTBR1_EL1 [3 0 2 0 1] base;
                tcr_el1 TCR_EL1 [3 0 2 0 2] base;
                esr_el1 ESR_EL1 [3 0 5 2 0] base;
                afsr0_el1 AFSR0_EL1 [3 0 5 1 0] base;
                afsr1_el1 AFSR1_EL1 [3 0 5 1 1] base;
                far_el1 FAR_EL1 [3 0 6 0 0] base;
                mair_el1 MAIR_EL1 [3 0 10 2 0] base;
                amair_el1 AMAIR_EL1 [3 0 10 3 0] base;
                vbar_el1 VBAR_EL1 [3 0 12 0 0] base;
                contextidr_el1 CONTEXTIDR_EL1 [3 0 13 0 1] base;
                tpidr_el0 TPIDR_EL0 [3 3 13 0 2] base;
                tpidrro_el0 TPIDRRO_EL0 [3 3 13 0 3] base;
                tpidr_el1 TPIDR_EL1 [3 0 13 0 4] base;
                cntkctl_el1 CNTKCTL_EL1 [3 0 14 1 0] base;
                csselr_el1 CSSELR_EL1 [3 2 0 0 0] base;
                par_el1 PAR_EL1 [3 0 7 4 0] base;
                vdisr_el2 VDISR_EL2 [3 4 12 1 1] ras;
                vsesr_el2 VSESR_EL2 [3 4 5 2 3] ras;
                scxtnum_el0 SCXTNUM_EL0 [3 3 13 0 7] csv2_2;
                scxtnum_el1 SCXTNUM_EL1 [3 0 13 0 7] csv2_2;
            }
            realm {
                apiakeylo_el1 APIAKeyLo_EL1 [3 0 2 1 0] pauth;
                apiakeyhi_el1 APIAKeyHi_EL1 [3 0 2 1 1] pauth;
                apibkeylo_el1 APIBKeyLo_EL1 [3 0 2 1 2] pauth;
                apibkeyhi_el1 APIBKeyHi_EL1 [3 0 2 1 3] pauth;
                apdakeylo_el1 APDAKeyLo_EL1 [3 0 2 2 0] pauth;
                apdakeyhi_el1 APDAKeyHi_EL1 [3 0 2 2 1] pauth;
                apdbkeylo_el1 APDBKeyLo_EL1 [3 0 2 2 2] pauth;
                apdbkeyhi_el1 APDBKeyHi_EL1 [3 0 2 2 3] pauth;
                apgakeylo_el1 APGAKeyLo_EL1 [3 0 2 3 0] pauth;
                apgakeyhi_el1 APGAKeyHi_EL1 [3 0 2 3 1] pauth;
            }
        }
    };
}

/// One register, or several whose encodings are neighbors.
#[derive(Clone, Copy, Debug)]
pub struct Register {
    /// Its name in the Arm ARM.
    pub name: &'static str,
    /// Its encoding.
    pub encoding: Encoding,
    /// The feature that brings it, without `FEAT_`; empty where every PE has it.
    pub feature: &'static str,
    /// What becomes of it in a Realm.
    pub treatment: Treatment,
    /// How an access comes to R-EL2, or why it cannot come through.
    pub trap: Trap,
}

/// What becomes of a register in a Realm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// It is the REC's own while it runs; with a trap, if its Realm has the feature.
    Switched(Group),
    /// It is another name, below EL2, of a register of EL2 that the monitor sets for the REC.
    Virtual(&'static str),
    /// Accesses trap and the monitor answers.
    Emulated(Emulation),
    /// It is a part of PSTATE, or reads the same for everybody.
    Shared,
    /// No Realm has it: undefined.
    Hidden,
}

/// What a register is switched with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// The EL1&0 registers of [`switched_registers!`](crate::switched_registers).
    El1,
    /// The virtual GIC CPU interface.
    Gic,
    /// The EL1 timers.
    Timers,
    /// The performance monitor.
    Pmu,
    /// SIMD, floating point and SVE.
    Simd,
}

/// How the monitor answers an access that trapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emulation {
    /// The allow-list of identification fields.
    Identification,
    /// `REVIDR_EL1` of the PE.
    Revision,
    /// Reads zero; writing is undefined.
    ReadZero,
    /// Reads zero, ignores writes.
    Zero,
    /// The Host acts on the write; reading is undefined.
    Host,
    /// Of the Realm's own self-hosted debug.
    Debug(DebugRegister),
}

/// A register of self-hosted debug. The number of a breakpoint or watchpoint is in CRm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DebugRegister {
    /// `MDSCR_EL1`.
    Control,
    /// `DBGBVR<n>_EL1`.
    BreakpointValue,
    /// `DBGBCR<n>_EL1`.
    BreakpointControl,
    /// `DBGWVR<n>_EL1`.
    WatchpointValue,
    /// `DBGWCR<n>_EL1`.
    WatchpointControl,
    /// `OSLAR_EL1`.
    OsLock,
    /// `OSLSR_EL1`.
    OsLockStatus,
    /// `DBGCLAIMSET_EL1`.
    ClaimSet,
    /// `DBGCLAIMCLR_EL1`.
    ClaimClear,
}

/// What keeps an access from coming through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// Nothing.
    None,
    /// A bit that is set.
    Set(Control, u32),
    /// A bit that stays clear.
    Clear(Control, u32),
    /// The fine-grained trap of this name, which traps while it is clear. The registers of these traps
    /// hold nothing but the bits that are set here.
    FineGrained(&'static str),
    /// Nothing below EL2 has it.
    Architecture,
}

/// A control register of R-EL2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Control {
    /// `HCR_EL2`.
    Hcr,
    /// `HCRX_EL2`.
    Hcrx,
    /// `MDCR_EL2`.
    Mdcr,
    /// `CPTR_EL2` with `HCR_EL2.E2H` clear.
    Cptr,
    /// `HDFGRTR_EL2`.
    Hdfgrtr,
    /// `MPAM2_EL2`.
    Mpam2,
}

/// An encoding: op0, and the first and last of each other field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// op0.
    pub op0: u8,
    /// op1, CRn, CRm, op2.
    pub ranges: [[u8; 2]; 4],
}

impl Encoding {
    /// Says whether an instruction with these fields names the register.
    #[must_use]
    pub fn contains(&self, [op0, rest @ ..]: [u8; 5]) -> bool {
        self.op0 == op0
            && self
                .ranges
                .iter()
                .zip(rest)
                .all(|([first, last], field)| *first <= field && field <= *last)
    }
}

/// Returns how the monitor answers an access with these fields: op0, op1, CRn, CRm, op2. Nothing where a
/// Realm has no such register.
#[must_use]
pub fn emulation(fields: [u8; 5]) -> Option<Emulation> {
    let row = EMULATED.iter().find(|row| row.0.contains(fields))?;
    Some(row.1)
}

/// The rows that the monitor answers for.
const EMULATED: [(Encoding, Emulation); emulated_count()] = emulated_rows();

const fn emulated_count() -> usize {
    let mut count = 0;
    let mut rows = REGISTERS;
    while let [row, rest @ ..] = rows {
        if matches!(row.treatment, Treatment::Emulated(_)) {
            count += 1;
        }
        rows = rest;
    }
    count
}

const fn emulated_rows() -> [(Encoding, Emulation); emulated_count()] {
    let mut emulated = [(REGISTERS[0].encoding, Emulation::Zero); emulated_count()];
    let mut next = 0;
    let mut rows = REGISTERS;
    while let [row, rest @ ..] = rows {
        if let Treatment::Emulated(emulation) = row.treatment {
            emulated[next] = (row.encoding, emulation);
            next += 1;
        }
        rows = rest;
    }
    emulated
}

/// Returns the bits of a control that are set for every Realm.
#[must_use]
pub const fn trap_bits(control: Control) -> u64 {
    let mut bits = 0;
    let mut rows = REGISTERS;
    while let [row, rest @ ..] = rows {
        if matches!(row.treatment, Treatment::Emulated(_) | Treatment::Hidden) {
            bits |= set_bit(row.trap, control);
        }
        rows = rest;
    }
    bits
}

/// Returns the bits of a control that are set for a Realm without a performance monitor.
#[must_use]
pub const fn pmu_trap_bits(control: Control) -> u64 {
    let mut bits = 0;
    let mut rows = REGISTERS;
    while let [row, rest @ ..] = rows {
        if matches!(row.treatment, Treatment::Switched(Group::Pmu)) {
            bits |= set_bit(row.trap, control);
        }
        rows = rest;
    }
    bits
}

/// Returns the bits of a control that must stay clear for every Realm.
#[must_use]
pub const fn clear_bits(control: Control) -> u64 {
    let mut bits = 0;
    let mut rows = REGISTERS;
    while let [row, rest @ ..] = rows {
        if let Trap::Clear(of, bit) = row.trap
            && of as u8 == control as u8
        {
            bits |= 1 << bit;
        }
        rows = rest;
    }
    bits
}

const fn set_bit(trap: Trap, control: Control) -> u64 {
    match trap {
        Trap::Set(of, bit) if of as u8 == control as u8 => 1 << bit,
        _ => 0,
    }
}
