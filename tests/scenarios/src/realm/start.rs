// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What a REC finds in its registers when it starts, at first or because another turned it on, and how it
//! is named.
//!
//! The RECs run a few words of code of their own, which show every general register before one is used,
//! then system registers, and then make the call that the Host names.

use alloc::vec::Vec;

use rmi::psci;
use rmi::{Command, ExitReason, RecEnter, RecParams, RsiCommand};
use test_realm::instructions::{SMC, SystemRegister};

use super::row;
use crate::check;
use crate::outcome::{Outcome, Reply};
use crate::port::{Capabilities, GRANULE, pattern};
use crate::realm::PROGRAM_BASE;
use crate::scenario::Scenario;
use crate::world::{RealmPlan, Rec, Runnable, World, rec_mpidr};

/// What these scenarios prove.
pub(super) const SCENARIOS: &[Scenario] = &[
    row("realm_start_first", first),
    row("realm_start_turned_on", turned_on),
    row("realm_start_turned_on_again", turned_on_again),
    row("realm_start_in_another_cluster", in_another_cluster),
];

/// What the Host's registers hold while RECs start.
const SECRET: u64 = 0x57A2_7ED0;

/// Where in its page the code has the structures of its host calls.
const GENERAL: u64 = 0x800;
const SYSTEM: u64 = 0x900;

const fn register(op0: u32, op1: u32, crn: u32, crm: u32, op2: u32) -> SystemRegister {
    SystemRegister::new(op0, op1, crn, crm, op2)
}

const SCTLR: SystemRegister = register(3, 0, 1, 0, 0);
const TPIDRRO: SystemRegister = register(3, 3, 13, 0, 3);

/// `SCTLR_EL1`: what is one without a feature that says otherwise; caches and MMU; EE; nTWI.
const SCTLR_ONES: u64 = 1 << 29 | 1 << 28 | 1 << 23 | 1 << 22 | 1 << 20 | 1 << 11;
const SCTLR_ON: u64 = 1 << 12 | 1 << 2 | 1;
const SCTLR_EE: u64 = 1 << 25;
const SCTLR_NTWI: u64 = 1 << 16;

/// The system registers that are shown, which bits of them count, and what they hold then.
const SHOWN: [(&str, SystemRegister, u64, u64); 31] = {
    const ALL: u64 = u64::MAX;
    [
        (
            "SCTLR_EL1",
            SCTLR,
            SCTLR_ONES | SCTLR_ON | SCTLR_EE | SCTLR_NTWI,
            SCTLR_ONES,
        ),
        ("MPIDR_EL1", register(3, 0, 0, 0, 5), 0, 0),
        ("CurrentEL", register(3, 0, 4, 2, 2), ALL, 1 << 2),
        ("SPSel", register(3, 0, 4, 2, 0), ALL, 1),
        ("DAIF", register(3, 3, 4, 2, 1), ALL, 0xF << 6),
        ("NZCV", register(3, 3, 4, 2, 0), ALL, 0),
        ("MDSCR_EL1", register(2, 0, 0, 2, 2), ALL, 1 << 12),
        ("CNTV_CTL_EL0", register(3, 3, 14, 3, 1), 0b11, 0),
        ("CNTP_CTL_EL0", register(3, 3, 14, 2, 1), 0b11, 0),
        ("CNTV_CVAL_EL0", register(3, 3, 14, 3, 2), ALL, 0),
        ("CNTP_CVAL_EL0", register(3, 3, 14, 2, 2), ALL, 0),
        ("CPACR_EL1", register(3, 0, 1, 0, 2), ALL, 0),
        ("TTBR0_EL1", register(3, 0, 2, 0, 0), ALL, 0),
        ("TTBR1_EL1", register(3, 0, 2, 0, 1), ALL, 0),
        ("TCR_EL1", register(3, 0, 2, 0, 2), ALL, 0),
        ("ESR_EL1", register(3, 0, 5, 2, 0), ALL, 0),
        ("FAR_EL1", register(3, 0, 6, 0, 0), ALL, 0),
        ("ELR_EL1", register(3, 0, 4, 0, 1), ALL, 0),
        ("SPSR_EL1", register(3, 0, 4, 0, 0), ALL, 0),
        ("SP_EL0", register(3, 0, 4, 1, 0), ALL, 0),
        ("MAIR_EL1", register(3, 0, 10, 2, 0), ALL, 0),
        ("VBAR_EL1", register(3, 0, 12, 0, 0), ALL, 0),
        ("CONTEXTIDR_EL1", register(3, 0, 13, 0, 1), ALL, 0),
        ("TPIDR_EL0", register(3, 3, 13, 0, 2), ALL, 0),
        ("TPIDR_EL1", register(3, 0, 13, 0, 4), ALL, 0),
        ("CNTKCTL_EL1", register(3, 0, 14, 1, 0), ALL, 0),
        ("APIAKeyLo_EL1", register(3, 0, 2, 1, 0), ALL, 0),
        ("APGAKeyHi_EL1", register(3, 0, 2, 3, 1), ALL, 0),
        ("ICC_PMR_EL1", register(3, 0, 4, 6, 0), ALL, 0),
        ("ICC_RPR_EL1", register(3, 0, 12, 11, 3), 0xFF, 0xFF),
        ("ICC_IGRPEN1_EL1", register(3, 0, 12, 12, 7), ALL, 0),
    ]
};
/// Which of them is `MPIDR_EL1`.
const MPIDR: usize = 1;

/// Instructions by their encoding (Arm ARM, chapter C4). Offsets are multiples of eight.
const fn str_x(rt: u32, rn: u32, offset: u32) -> u32 {
    0xF900_0000 | (offset / 8) << 10 | rn << 5 | rt
}
const fn ldr_x(rt: u32, rn: u32, offset: u32) -> u32 {
    0xF940_0000 | (offset / 8) << 10 | rn << 5 | rt
}
const fn movz(rd: u32, value: u32) -> u32 {
    0xD280_0000 | value << 5 | rd
}
const fn movk_high(rd: u32, value: u32) -> u32 {
    0xF2A0_0000 | value << 5 | rd
}
const ISB: u32 = 0xD503_3FDF;

/// The code of a REC, one page.
struct Code(Vec<u32>);

impl Code {
    fn new() -> Self {
        let mut code = Self(Vec::new());
        code.show_general();
        code.show_system();
        code.host_call(GENERAL);
        code.host_call(SYSTEM);
        code.make_call();
        code
    }

    fn page(&self) -> [u8; 4096] {
        let mut page = [0; 4096];
        for (bytes, word) in page.chunks_exact_mut(4).zip(&self.0) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        page
    }

    /// `adr x<rd>, <offset in the page>`.
    fn adr(&mut self, rd: u32, offset: u64) {
        let here = 4 * self.0.len() as i64;
        let distance = (offset as i64 - here) as u32;
        let (low, high) = (distance & 0b11, distance >> 2 & 0x7_FFFF);
        self.0.push(0x1000_0000 | low << 29 | high << 5 | rd);
    }

    /// Stores x0 to x30 as the values of a host call. `TPIDRRO_EL0` holds x30 meanwhile.
    fn show_general(&mut self) {
        self.0.push(TPIDRRO.write_x0() | 30);
        self.adr(30, GENERAL);
        self.0.extend((0..30).map(|n| str_x(n, 30, 8 + 8 * n)));
        self.0.push(TPIDRRO.read_x0());
        self.0.push(str_x(0, 30, 8 + 8 * 30));
    }

    fn show_system(&mut self) {
        self.adr(30, SYSTEM);
        for (at, (_, register, ..)) in (8..).step_by(8).zip(SHOWN) {
            self.0.extend([register.read_x0(), str_x(0, 30, at)]);
        }
    }

    fn host_call(&mut self, structure: u64) {
        let fid = RsiCommand::HostCall.fid() as u32;
        self.0
            .extend([movz(0, fid & 0xFFFF), movk_high(0, fid >> 16)]);
        self.adr(1, structure);
        self.0.push(SMC);
    }

    /// Makes the call of the first four values that the Host gave to the first host call, with the fifth
    /// in `SCTLR_EL1`, and goes back to the start with the sixth there.
    fn make_call(&mut self) {
        self.adr(30, GENERAL);
        self.0.extend((0..6).map(|n| ldr_x(n, 30, 8 + 8 * n)));
        self.0.extend([SCTLR.write_x0() | 4, ISB, SMC]);
        self.0.extend([SCTLR.write_x0() | 5, ISB]);
        let back = (-(self.0.len() as i32)) as u32 & 0x3FF_FFFF;
        self.0.push(0x1400_0000 | back);
    }
}

/// A Realm of RECs, each with a page of code.
struct Starters {
    recs: Vec<Rec>,
}

/// Where the code of a REC is.
fn code_of(index: u64) -> u64 {
    PROGRAM_BASE + index * GRANULE
}

impl Starters {
    fn new(w: &mut World<'_>, count: u64, change: impl Fn(u64, &mut RecParams)) -> Outcome<Self> {
        w.need(Capabilities::REGISTERS, "registers of its own")?;
        let realm = w.realm_with(&RealmPlan::default())?;
        w.tables(&realm, PROGRAM_BASE, 3)?;
        let mut recs = Vec::new();
        for index in 0..count {
            w.data(&realm, code_of(index), &Code::new().page())?;
            let runnable = if index == 0 {
                Runnable::Yes
            } else {
                Runnable::No
            };
            let mut params = w.rec_params(&realm, index, runnable)?;
            params.pc = code_of(index);
            change(index, &mut params);
            recs.push(w.rec_with(&realm, index, &params)?);
        }
        w.activate(&realm)?;
        Ok(Self { recs })
    }

    /// Enters a REC that makes a host call, and returns its values.
    fn show(&self, w: &mut World<'_>, index: usize, enter: &RecEnter) -> Outcome<[u64; 31]> {
        let (reply, exit) = w.enter_with(&self.recs[index], enter)?;
        check!(reply == Reply::SUCCESS, "entry: {reply:?}");
        check!(
            exit.reason() == Some(ExitReason::HostCall),
            "exit {}, esr {:#x}, hpfar {:#x}",
            exit.exit_reason,
            exit.esr,
            exit.hpfar
        );
        Ok(exit.gprs)
    }

    /// Lets a REC that has just started show its general registers; it waits then. The Host's registers are
    /// full of something else.
    fn start(&self, w: &mut World<'_>, index: usize) -> Outcome<[u64; 31]> {
        w.port.fill_registers(SECRET);
        let general = self.show(w, index, &RecEnter::default());
        let is_kept = super::sweep::check_host(w);
        is_kept?;
        general
    }

    /// Gives a REC that waits a call to make with this `SCTLR_EL1` and one afterwards, and lets it show its
    /// system registers before.
    fn system(
        &self,
        w: &mut World<'_>,
        index: usize,
        call: [u64; 4],
        sctlr: [u64; 2],
    ) -> Outcome<[u64; 31]> {
        let mut enter = RecEnter::default();
        enter.gprs[..4].copy_from_slice(&call);
        enter.gprs[4..6].copy_from_slice(&sctlr);
        self.show(w, index, &enter)
    }

    /// Lets a REC make the call that it was given, which names a processor or turns itself off.
    fn make_call(&self, w: &mut World<'_>, index: usize, shown: &[u64]) -> Outcome {
        let (reply, exit) = w.enter_with(&self.recs[index], &RecEnter::default())?;
        check!(reply == Reply::SUCCESS, "entry: {reply:?}");
        check!(
            exit.reason() == Some(ExitReason::Psci),
            "exit {}, esr {:#x}",
            exit.exit_reason,
            exit.esr
        );
        let mut gprs = [0; 31];
        gprs[..shown.len()].copy_from_slice(shown);
        check!(exit.gprs == gprs, "registers {:x?}", exit.gprs);
        Ok(())
    }

    /// Lets REC 0, which waits, turn another one on.
    fn turn_on(
        &self,
        w: &mut World<'_>,
        target: usize,
        call: [u64; 4],
        sctlr: [u64; 2],
    ) -> Outcome<[u64; 31]> {
        let system = self.system(w, 0, call, sctlr)?;
        self.make_call(w, 0, &call[..2])?;
        w.ok(Command::PsciComplete {
            calling_rec: self.recs[0].rec,
            target_rec: self.recs[target].rec,
            status: 0,
        })?;
        Ok(system)
    }
}

/// Compares system registers with those of a processor after reset; `ee` is the endianness that it was
/// given.
fn check_system(found: &[u64; 31], mpidr: u64, ee: u64) -> Outcome {
    for ((name, _, mask, wanted), value) in SHOWN.into_iter().zip(found) {
        let wanted = if name == "SCTLR_EL1" {
            wanted | ee
        } else {
            wanted
        };
        check!(value & mask == wanted, "{name} is {value:#x}");
    }
    let told = found[MPIDR];
    check!(told == mpidr | 1 << 31, "MPIDR_EL1 is {told:#x}");
    Ok(())
}

fn check_general(found: &[u64; 31], first: &[u64]) -> Outcome {
    let mut wanted = [0; 31];
    wanted[..first.len()].copy_from_slice(first);
    check!(*found == wanted, "{found:x?} instead of {wanted:x?}");
    Ok(())
}

/// A REC starts as a processor after reset, with the eight registers that the Host gave.
fn first(w: &mut World<'_>) -> Outcome {
    let given: [u64; 8] = core::array::from_fn(|n| pattern(1, n as u64));
    let starters = Starters::new(w, 1, |_, params| params.gprs = given)?;
    let general = starters.start(w, 0)?;
    check_general(&general, &given)?;
    let system = starters.system(w, 0, [0; 4], [0; 2])?;
    check_system(&system, 0, 0)
}

/// The context of a call, of which all or the lower half comes through.
const CONTEXT: u64 = 0x8182_8384_F5F6_F7F8;

/// A REC that another turned on starts where that one says, with its one value and its endianness, and with
/// nothing that the Host gave.
fn turned_on(w: &mut World<'_>) -> Outcome {
    for (fid, context) in [
        (psci::FID_CPU_ON_64, CONTEXT),
        (psci::FID_CPU_ON_32, CONTEXT & 0xFFFF_FFFF),
    ] {
        for ee in [0, SCTLR_EE] {
            let starters = Starters::new(w, 2, |index, params| {
                params.gprs = [0x4057; 8];
                if index == 1 {
                    params.pc = 0;
                }
            })?;
            starters.start(w, 0)?;
            let call = [fid, 1, code_of(1), CONTEXT];
            let sctlr = [SCTLR_ONES | ee, SCTLR_ONES];
            starters.turn_on(w, 1, call, sctlr)?;
            let general = starters.start(w, 1)?;
            check_general(&in_order(general, ee), &[context])?;
            let system = starters.system(w, 1, [0; 4], [0; 2])?;
            check_system(&in_order(system, ee), 1, ee)?;
            // The caller goes on behind its call, and succeeds.
            let [x0, x1, x2, x3, ..] = starters.show(w, 0, &RecEnter::default())?;
            check!([x0, x1, x2, x3] == [0; 4], "{:x?}", [x0, x1, x2, x3]);
        }
    }
    Ok(())
}

/// Values as a REC wrote them that has its data the other way round.
fn in_order(values: [u64; 31], ee: u64) -> [u64; 31] {
    values.map(|value| if ee == 0 { value } else { value.swap_bytes() })
}

/// A REC that turned itself off starts anew, without the registers it had.
fn turned_on_again(w: &mut World<'_>) -> Outcome {
    let starters = Starters::new(w, 2, |_, _| {})?;
    starters.start(w, 0)?;
    let on = [psci::FID_CPU_ON_64, 1, code_of(1), CONTEXT];
    let plain = [SCTLR_ONES; 2];
    for _ in 0..2 {
        starters.turn_on(w, 1, on, plain)?;
        let general = starters.start(w, 1)?;
        check_general(&general, &[CONTEXT])?;
        let off = [psci::FID_CPU_OFF, 0x11, 0x22, 0x33];
        let system = starters.system(w, 1, off, [SCTLR_ONES | SCTLR_NTWI; 2])?;
        check_system(&system, 1, 0)?;
        starters.make_call(w, 1, &off[..1])?;
        starters.show(w, 0, &RecEnter::default())?;
    }
    Ok(())
}

/// The seventeenth REC is the first of the next cluster, for itself, for others and for the Host.
fn in_another_cluster(w: &mut World<'_>) -> Outcome {
    const INDEX: u64 = 16;
    const AFFINITY: u64 = 0x100;
    let starters = Starters::new(w, INDEX + 1, |_, _| {})?;
    check!(rec_mpidr(INDEX) == AFFINITY, "{:#x}", rec_mpidr(INDEX));
    starters.start(w, 0)?;
    let call = [psci::FID_CPU_ON_64, AFFINITY, code_of(INDEX), CONTEXT];
    starters.system(w, 0, call, [SCTLR_ONES; 2])?;
    starters.make_call(w, 0, &call[..2])?;
    let target = INDEX as usize;
    // Another REC is not the one.
    for (wrong, wanted) in [(1, Reply::input()), (target, Reply::SUCCESS)] {
        let complete = Command::PsciComplete {
            calling_rec: starters.recs[0].rec,
            target_rec: starters.recs[wrong].rec,
            status: 0,
        };
        w.expect(complete, wanted)?;
    }
    starters.start(w, target)?;
    let system = starters.system(w, target, [0; 4], [0; 2])?;
    check_system(&system, AFFINITY, 0)
}
