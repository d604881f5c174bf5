// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Instructions and registers that a Realm has or has not.
//!
//! What it has not must be undefined, whatever the machine has, and must never hang or end the Realm.

use test_realm::instructions::{
    AUTIA_X0_X2, CASAL_X0_X2, DC_ZVA_X1, DCPS1, HLT, HVC, LD64B_X0, LDXR_X0, PACIA_X0_X2, RDSVL_X0,
    RDVL_X0, SMSTART, SystemRegister, UDF, WFET_X0, WFIT_X0, XPACI_X0,
};
use test_realm::protocol::{Fault, pattern};
use test_realm::registers;

use super::probe::{EMPTY, RAM, SCRATCH, Shown, poke, set_state, try_run};
use super::{Detail, Verdict, detail, require};
use crate::regs::{isb, read_sysreg, write_sysreg};
use crate::smc;
use crate::smc::PAGE;

/// `SCTLR_EL1.EnIA`.
const ENABLE_IA: u64 = 1 << 31;

/// Executes what no Realm has.
pub(super) fn undefined() -> Verdict {
    let cases = [
        ("udf", UDF),
        ("hvc", HVC),
        ("rdsvl", RDSVL_X0),
        ("smstart", SMSTART),
        ("hlt", HLT),
        ("dcps1", DCPS1),
        ("ld64b", LD64B_X0),
    ];
    for (what, instruction) in cases {
        let result = try_run(instruction, 0, SCRATCH);
        require!(is_undefined(&result), "{what}: {result:x?}");
    }
    Ok(detail!("{} instructions", cases.len()))
}

fn is_undefined<T>(result: &Result<T, Fault>) -> bool {
    matches!(result, Err(fault) if fault.is_undefined())
}

/// An identification field and what is there exactly if it is not zero.
struct Promise {
    what: &'static str,
    /// Encoding of the identification register, and the field's lowest bit.
    id: ([u32; 5], u32),
    /// An instruction that belongs to the feature.
    instruction: u32,
}

const fn register(
    what: &'static str,
    id: ([u32; 5], u32),
    [op0, op1, crn, crm, op2]: [u32; 5],
) -> Promise {
    let instruction = SystemRegister::new(op0, op1, crn, crm, op2).read_x0();
    Promise {
        what,
        id,
        instruction,
    }
}

const PFR0: [u32; 5] = [3, 0, 0, 4, 0];
const PFR1: [u32; 5] = [3, 0, 0, 4, 1];
const DFR0: [u32; 5] = [3, 0, 0, 5, 0];
const DFR1: [u32; 5] = [3, 0, 0, 5, 1];
const ISAR0: [u32; 5] = [3, 0, 0, 6, 0];
const ISAR1: [u32; 5] = [3, 0, 0, 6, 1];
const ISAR2: [u32; 5] = [3, 0, 0, 6, 2];
const MMFR3: [u32; 5] = [3, 0, 0, 7, 3];

/// Features whose identification must agree with what works (Arm ARM, D24.2).
const PROMISES: &[Promise] = &[
    register("AMU", (PFR0, 44), [3, 3, 13, 2, 0]),
    register("MPAM", (PFR0, 40), [3, 0, 10, 5, 0]),
    register("RAS", (PFR0, 28), [3, 0, 12, 1, 1]),
    register("SVE", (PFR0, 32), [3, 0, 1, 2, 0]),
    register("MTE", (PFR1, 8), [3, 0, 1, 0, 6]),
    register("SME", (PFR1, 24), [3, 3, 4, 2, 2]),
    register("GCS", (PFR1, 44), [3, 0, 2, 5, 0]),
    register("SSBS", (PFR1, 4), [3, 3, 4, 2, 6]),
    register("PMU", (DFR0, 8), [3, 3, 9, 12, 0]),
    register("SPE", (DFR0, 32), [3, 0, 9, 9, 0]),
    register("trace", (DFR0, 4), [2, 1, 0, 1, 0]),
    register("trace filter", (DFR0, 40), [3, 0, 1, 2, 1]),
    register("TRBE", (DFR0, 44), [3, 0, 9, 11, 0]),
    register("BRBE", (DFR0, 52), [2, 1, 9, 0, 0]),
    register("ITE", (DFR1, 32), [3, 0, 1, 2, 3]),
    register("RNDR", (ISAR0, 60), [3, 3, 2, 4, 0]),
    register("TCR2", (MMFR3, 0), [3, 0, 2, 0, 3]),
    register("SCTLR2", (MMFR3, 4), [3, 0, 1, 0, 3]),
    register("S1PIE", (MMFR3, 8), [3, 0, 10, 2, 3]),
    register("S1POE", (MMFR3, 16), [3, 0, 10, 2, 4]),
    // Only writes of `ALLINT` can be trapped.
    Promise {
        what: "NMI",
        id: (PFR1, 36),
        instruction: SystemRegister::new(3, 0, 4, 3, 0).write_x0(),
    },
    Promise {
        what: "LS64",
        id: (ISAR1, 60),
        instruction: LD64B_X0,
    },
    Promise {
        what: "SVE instructions",
        id: (PFR0, 32),
        instruction: RDVL_X0,
    },
    Promise {
        what: "LSE",
        id: (ISAR0, 20),
        instruction: CASAL_X0_X2,
    },
    Promise {
        what: "WFIT",
        id: (ISAR2, 0),
        instruction: WFIT_X0,
    },
    Promise {
        what: "WFET",
        id: (ISAR2, 0),
        instruction: WFET_X0,
    },
];

/// Compares identification registers with what works.
pub(super) fn promises() -> Verdict {
    set_state(SCRATCH, SCRATCH + PAGE, RAM)?;
    let mut present = 0;
    let mut broken: Option<Detail> = None;
    let mut count = 0;
    for promise in PROMISES {
        let ([op0, op1, crn, crm, op2], shift) = promise.id;
        let id = try_run(SystemRegister::new(op0, op1, crn, crm, op2).read_x0(), 0, 0);
        let id = id.map_err(|fault| detail!("{}: id {}", promise.what, Shown(&fault)))?;
        let field = id[0] >> shift & 0xF;
        let result = try_run(promise.instruction, 0, SCRATCH);
        let keeps = if field == 0 {
            is_undefined(&result)
        } else {
            result.is_ok()
        };
        present += u32::from(field != 0);
        if !keeps {
            count += 1;
            let shown = result.map(|registers| registers[0]);
            broken.get_or_insert(detail!("{}: field {field} but {shown:x?}", promise.what));
        }
    }
    set_state(SCRATCH, SCRATCH + PAGE, EMPTY)?;
    match broken {
        Some(first) => Err(detail!("{count} broken, first {first}")),
        None => Ok(detail!("{present} of {} features", PROMISES.len())),
    }
}

/// Reads the whole space of identification registers.
pub(super) fn id_registers() -> Verdict {
    let mut nonzero = 0;
    for crm in 0..8 {
        for op2 in 0..8 {
            // Of CRm 0, only op2 0, 5 and 6 are registers.
            if crm == 0 && ![0, 5, 6].contains(&op2) {
                continue;
            }
            let result = try_run(SystemRegister::new(3, 0, 0, crm, op2).read_x0(), 0, 0);
            match result {
                Ok(registers) => nonzero += u32::from(registers[0] != 0),
                Err(fault) => return Err(detail!("S3_0_C0_C{crm}_{op2}: {}", Shown(&fault))),
            }
        }
    }
    let mpidr = read_sysreg!("mpidr_el1");
    require!(
        mpidr >> 31 & 1 == 1 && mpidr & 0xFF_7FFF_FFF0 == 0,
        "MPIDR_EL1 {mpidr:#x} of the first vCPU"
    );
    let level = read_sysreg!("id_aa64pfr0_el1") >> 12 & 0xF;
    require!(level == 0 || level == 1, "EL3 field {level}");
    Ok(detail!("{nonzero} are not zero"))
}

/// What came of trying many encodings.
#[derive(Default)]
struct Tally {
    done: u32,
    undefined: u32,
    odd: Option<([u32; 5], Fault)>,
}

impl Tally {
    fn take<T>(&mut self, register: SystemRegister, result: Result<T, Fault>) {
        match result {
            Ok(_) => self.done += 1,
            Err(fault) if registers::is_undefined(register, &fault) => self.undefined += 1,
            Err(fault) => self.odd = self.odd.or(Some((register.parts(), fault))),
        }
    }

    fn verdict(self) -> Verdict {
        match self.odd {
            Some((parts, fault)) => Err(detail!("S{parts:?}: {}", Shown(&fault))),
            None => Ok(detail!("{} work, {} undefined", self.done, self.undefined)),
        }
    }
}

/// Calls a function with every encoding of an `op0`.
fn for_each_encoding(op0: u32, mut each: impl FnMut(SystemRegister)) {
    for op1 in 0..8 {
        for crn in 0..16 {
            for crm in 0..16 {
                for op2 in 0..8 {
                    each(SystemRegister::new(op0, op1, crn, crm, op2));
                }
            }
        }
    }
}

/// Reads every encoding of a system register.
pub(super) fn read_encodings() -> Verdict {
    let mut tally = Tally::default();
    for op0 in [2, 3] {
        for_each_encoding(op0, |register| {
            tally.take(register, try_run(register.read_x0(), 0, 0));
        });
    }
    tally.verdict()
}

/// Writes every encoding of a system register: what it holds, or zero if it cannot be read.
pub(super) fn write_encodings() -> Verdict {
    let mut tally = Tally::default();
    for op0 in [2, 3] {
        for_each_encoding(op0, |register| {
            let value = try_run(register.read_x0(), 0, 0).map_or(0, |registers| registers[0]);
            tally.take(register, try_run(register.write_x0(), value, 0));
        });
    }
    tally.verdict()
}

/// Executes every system instruction on a page that holds nothing.
pub(super) fn system_instructions() -> Verdict {
    set_state(SCRATCH, SCRATCH + PAGE, RAM)?;
    poke(SCRATCH, pattern(1, 1))?;
    let mut tally = Tally::default();
    for_each_encoding(1, |register| {
        tally.take(register, try_run(register.write_x0(), SCRATCH, 0));
        tally.take(register, try_run(register.read_x0(), SCRATCH, 0));
    });
    set_state(SCRATCH, SCRATCH + PAGE, EMPTY)?;
    tally.verdict()
}

/// Executes every hint but those that wait.
pub(super) fn hints() -> Verdict {
    for number in (0..128).filter(|number| ![2, 3].contains(number)) {
        let result = try_run(0xD503_201F | number << 5, 0, 0);
        // Some hints belong to features that may trap to EL1 or be undefined; none may hang.
        if let Err(fault) = result
            && !fault.is_undefined()
        {
            return Err(detail!("hint {number}: {}", Shown(&fault)));
        }
    }
    for (what, instruction) in [("ldxr", LDXR_X0), ("dc zva", DC_ZVA_X1)] {
        set_state(SCRATCH, SCRATCH + PAGE, RAM)?;
        let result = try_run(instruction, 0, SCRATCH);
        require!(result.is_ok(), "{what}: {result:x?}");
        set_state(SCRATCH, SCRATCH + PAGE, EMPTY)?;
    }
    Ok(detail!("126 hints"))
}

/// Signs a pointer, leaves the Realm, and checks the signature.
pub(super) fn pointer_authentication() -> Verdict {
    let fields =
        read_sysreg!("id_aa64isar1_el1") >> 4 & 0xFF | read_sysreg!("id_aa64isar2_el1") >> 12 & 0xF;
    if fields == 0 {
        return Ok(detail!("not there"));
    }
    write_sysreg!("S3_0_C2_C1_0", pattern(11, 0));
    write_sysreg!("S3_0_C2_C1_1", pattern(11, 1));
    let control = read_sysreg!("sctlr_el1");
    write_sysreg!("sctlr_el1", control | ENABLE_IA);
    isb();
    let verdict = sign_and_check();
    write_sysreg!("sctlr_el1", control);
    isb();
    verdict
}

fn sign_and_check() -> Verdict {
    let pointer = 0x0000_7654_3210_1230;
    let run = |instruction, x0| {
        try_run(instruction, x0, 0)
            .map(|registers| registers[0])
            .map_err(|fault| detail!("{instruction:#x}: {}", Shown(&fault)))
    };
    let signed = run(PACIA_X0_X2, pointer)?;
    require!(signed != pointer, "the signature is empty");
    let (status, _) = smc::host_call(1, &[0; 31]);
    require!(status == 0, "host call: status {status:#x}");
    let checked = run(AUTIA_X0_X2, signed)?;
    require!(
        checked == pointer,
        "{signed:#x} checks as {checked:#x} after an exit"
    );
    let stripped = run(XPACI_X0, signed)?;
    require!(stripped == pointer, "{signed:#x} strips to {stripped:#x}");
    // A wrong one either faults or gives an address that is none.
    let forged = try_run(AUTIA_X0_X2, signed ^ 1 << 52, 0).map(|registers| registers[0]);
    require!(forged != Ok(pointer), "a forged signature is taken");
    Ok(detail!("{signed:#x}"))
}
