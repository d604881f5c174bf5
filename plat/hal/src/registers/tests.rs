// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

extern crate std;

use std::fmt::Write;
use std::string::String;
use std::vec::Vec;
use std::{env, format, fs};

use super::*;

fn everything() -> impl Iterator<Item = &'static Register> {
    SWITCHED.iter().chain(REGISTERS)
}

fn overlaps(one: &Encoding, other: &Encoding) -> bool {
    one.op0 == other.op0
        && one
            .ranges
            .iter()
            .zip(&other.ranges)
            .all(|([first, last], [from, to])| first <= to && from <= last)
}

#[test]
fn every_encoding_has_one_row() {
    let rows: Vec<_> = everything().collect();
    for (n, row) in rows.iter().enumerate() {
        for [first, last] in row.encoding.ranges {
            assert!(first <= last, "{}", row.name);
        }
        for other in &rows[n + 1..] {
            let both = overlaps(&row.encoding, &other.encoding);
            assert!(!both, "{} and {}", row.name, other.name);
        }
    }
}

#[test]
fn emulation_is_that_of_the_row() {
    for (fields, expected) in [
        ([3, 0, 0, 1, 0], Some(Emulation::Identification)),
        ([3, 0, 0, 7, 7], Some(Emulation::Identification)),
        ([3, 0, 0, 0, 6], Some(Emulation::Revision)),
        ([3, 0, 12, 11, 5], Some(Emulation::Host)),
        (
            [2, 0, 0, 15, 4],
            Some(Emulation::Debug(DebugRegister::BreakpointValue)),
        ),
        ([2, 3, 0, 5, 0], Some(Emulation::Zero)),
        // An unallocated one, one beyond a range, a hidden one, a switched one.
        ([3, 0, 0, 0, 1], None),
        ([3, 0, 0, 8, 0], None),
        ([3, 1, 0, 0, 6], None),
        ([3, 3, 9, 12, 0], None),
    ] {
        assert_eq!(emulation(fields), expected, "{fields:?}");
    }
}

/// The bits, a second time from the Arm ARM.
#[test]
fn trap_bits_are_those_of_the_architecture() {
    let hcr = 1 << 4 | 1 << 16 | 1 << 18 | 1 << 20 | 1 << 35 | 1 << 36 | 1 << 58;
    assert_eq!(trap_bits(Control::Hcr), hcr);
    let mdcr = 1 << 9 | 1 << 10 | 1 << 11 | 1 << 14 | 1 << 19;
    assert_eq!(trap_bits(Control::Mdcr), mdcr);
    assert_eq!(pmu_trap_bits(Control::Mdcr), 1 << 5 | 1 << 6);
    assert_eq!(clear_bits(Control::Mdcr), 0b11 << 12 | 1 << 15 | 0b11 << 24);
    assert_eq!(trap_bits(Control::Hdfgrtr), 1 << 51 | 1 << 63);
    assert_eq!(trap_bits(Control::Mpam2), 1 << 48 | 1 << 49 | 1 << 58);
    for control in [Control::Hcr, Control::Hcrx, Control::Mdcr, Control::Mpam2] {
        assert_eq!(trap_bits(control) & clear_bits(control), 0, "{control:?}");
    }
}

/// `plat/hal/registers.md` is this table. `WRITE_REGISTERS=1 cargo test -p rmm-hal` writes it.
#[test]
fn document_is_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/registers.md");
    let document = document();
    if env::var_os("WRITE_REGISTERS").is_some() {
        fs::write(path, &document).unwrap();
    }
    let written = fs::read_to_string(path).unwrap();
    assert!(
        written == document,
        "{path} is not the table: WRITE_REGISTERS=1 cargo test -p rmm-hal"
    );
}

fn document() -> String {
    let mut text = String::from(
        "<!-- SPDX-FileCopyrightText: Copyright The Bailey contributors. -->\n\
         <!-- SPDX-License-Identifier: Apache-2.0 OR MIT -->\n\n\
         # The system registers of a Realm\n\n\
         Made from `src/registers/table.rs` by a test; do not edit. Encodings are op0, op1, CRn, CRm,\n\
         op2. What is not here is undefined.\n\n\
         | register | encoding | feature | in a Realm | by |\n|---|---|---|---|---|\n",
    );
    for row in everything() {
        let name = row.name.replace('*', "\\*");
        let feature = match row.feature {
            "" => String::new(),
            feature => format!("FEAT_{feature}"),
        };
        let (encoding, treatment) = (show_encoding(&row.encoding), show_treatment(row));
        let trap = show_trap(row.trap);
        writeln!(
            text,
            "| {name} | {encoding} | {feature} | {treatment} | {trap} |"
        )
        .unwrap();
    }
    text
}

fn show_encoding(encoding: &Encoding) -> String {
    let mut text = format!("{}", encoding.op0);
    for [first, last] in encoding.ranges {
        if first == last {
            write!(text, " {first}").unwrap();
        } else {
            write!(text, " {first}-{last}").unwrap();
        }
    }
    text
}

fn show_treatment(row: &Register) -> String {
    match row.treatment {
        Treatment::Switched(group) => match group {
            Group::El1 => "its own".into(),
            Group::Gic => "its own, with the GIC interface".into(),
            Group::Timers => "its own, with the timers".into(),
            Group::Pmu => "its own, if it has a PMU".into(),
            Group::Simd if row.feature.is_empty() => "its own, with SIMD".into(),
            Group::Simd => "its own, if it has SVE".into(),
        },
        Treatment::Virtual(of) => format!("its own: {of}"),
        Treatment::Emulated(emulation) => match emulation {
            Emulation::Identification => "the allow-list of fields".into(),
            Emulation::Revision => "as the PE has it".into(),
            Emulation::ReadZero => "zero, read only".into(),
            Emulation::Zero => "zero, writes ignored".into(),
            Emulation::Host => "written by way of the Host".into(),
            Emulation::Debug(_) => "its own, emulated".into(),
        },
        Treatment::Shared => "as the PE has it".into(),
        Treatment::Hidden => "undefined".into(),
    }
}

fn show_trap(trap: Trap) -> String {
    match trap {
        Trap::None => String::new(),
        Trap::Set(control, bit) => format!("{}[{bit}] = 1", show_control(control)),
        Trap::Clear(control, bit) => format!("{}[{bit}] = 0", show_control(control)),
        Trap::FineGrained(name) => format!("fine-grained {name} = 0"),
        Trap::Architecture => "not at EL1".into(),
    }
}

fn show_control(control: Control) -> &'static str {
    match control {
        Control::Hcr => "HCR_EL2",
        Control::Hcrx => "HCRX_EL2",
        Control::Mdcr => "MDCR_EL2",
        Control::Cptr => "CPTR_EL2",
        Control::Hdfgrtr => "HDFGRTR_EL2",
        Control::Mpam2 => "MPAM2_EL2",
    }
}
