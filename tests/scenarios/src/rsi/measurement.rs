// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RSI_MEASUREMENT_READ` and `RSI_MEASUREMENT_EXTEND`.

use rmi::rsi::bytes_of_registers;
use rmi::{HashAlgorithm, RsiCommand};

use super::{INPUT, SUCCESS, call, refused, stage_with};
use crate::check;
use crate::measured::Measured;
use crate::outcome::Outcome;
use crate::port::pattern;
use crate::realm::row;
use crate::scenario::Scenario;
use crate::world::{RealmPlan, Rec, World};

/// What these scenarios prove.
pub(super) const SCENARIOS: &[Scenario] = &[
    row("rsi_measurement_read_index", read_index),
    row("rsi_measurement_read_width", read_width),
    row("rsi_measurement_extend_index_and_size", extend_bounds),
    row("rsi_measurement_extend_success", extend),
    row("rsi_measurement_extend_value", extend_value),
];

const READ: u64 = RsiCommand::MeasurementRead.fid();
const EXTEND: u64 = RsiCommand::MeasurementExtend.fid();
/// The initial measurement and four that the Realm extends.
const SLOTS: u64 = 5;

fn realm(w: &mut World<'_>, hash: HashAlgorithm) -> Outcome<Rec> {
    let plan = RealmPlan {
        hash: hash.code(),
        ..RealmPlan::default()
    };
    stage_with(w, &plan).map(|(_, rec)| rec)
}

fn read(w: &mut World<'_>, rec: &Rec, index: u64) -> Outcome<[u64; 8]> {
    let [status, value @ ..] = call(w, rec, &[READ, index], 8)?;
    check!(status == SUCCESS, "measurement {index}: {status:#x}");
    check!(value[8..] == [0; 2], "measurement {index}: {value:x?}");
    let mut measurement = [0; 8];
    measurement.copy_from_slice(&value[..8]);
    Ok(measurement)
}

fn read_all(w: &mut World<'_>, rec: &Rec) -> Outcome<[[u64; 8]; 5]> {
    let mut all = [[0; 8]; 5];
    for (index, value) in (0..).zip(&mut all) {
        *value = read(w, rec, index)?;
    }
    Ok(all)
}

/// Extends a measurement by the first `size` of these bytes.
fn extend_by(index: u64, size: u64, words: [u64; 8]) -> [u64; 11] {
    let mut registers = [0; 11];
    registers[..3].copy_from_slice(&[EXTEND, index, size]);
    registers[3..].copy_from_slice(&words);
    registers
}

/// There are five measurements.
fn read_index(w: &mut World<'_>) -> Outcome {
    let rec = realm(w, HashAlgorithm::Sha256)?;
    let [initial, extensible @ ..] = read_all(w, &rec)?;
    check!(initial != [0; 8], "the initial measurement is zero");
    check!(extensible == [[0; 8]; 4], "{extensible:x?}");
    for index in [SLOTS, SLOTS + 1, 1 << 32, u64::MAX] {
        refused(w, &rec, &[READ, index])?;
    }
    Ok(())
}

/// A measurement fills as many registers as its algorithm has bytes.
fn read_width(w: &mut World<'_>) -> Outcome {
    for (hash, registers) in [(HashAlgorithm::Sha256, 4), (HashAlgorithm::Sha512, 8)] {
        let rec = realm(w, hash)?;
        let [status, ..] = call(w, &rec, &extend_by(2, 8, [1; 8]), 0)?;
        check!(status == SUCCESS, "status {status:#x}");
        for index in [0, 2] {
            let value = read(w, &rec, index)?;
            check!(
                value[..registers].iter().all(|word| *word != 0)
                    && value[registers..].iter().all(|word| *word == 0),
                "measurement {index}: {value:x?}"
            );
        }
    }
    Ok(())
}

/// Neither the initial measurement nor one that is not there can be extended, nor by more than 64 bytes.
fn extend_bounds(w: &mut World<'_>) -> Outcome {
    let rec = realm(w, HashAlgorithm::Sha256)?;
    let before = read_all(w, &rec)?;
    for (index, size) in [
        (0, 32),
        (SLOTS, 32),
        (u64::MAX, 32),
        (1 << 32 | 1, 32),
        (1, 65),
        (1, 1 << 32),
        (1, u64::MAX),
    ] {
        let [status, ..] = call(w, &rec, &extend_by(index, size, [1; 8]), 0)?;
        check!(status == INPUT, "{index} by {size}: {status:#x}");
    }
    let after = read_all(w, &rec)?;
    check!(before == after, "{before:x?} became {after:x?}");
    Ok(())
}

/// The bytes behind the size do not count, none is enough, and the other measurements stay.
fn extend(w: &mut World<'_>) -> Outcome {
    let rec = realm(w, HashAlgorithm::Sha256)?;
    let before = read_all(w, &rec)?;
    let one = [0x1122_3344_5566_7788, 0, 0, 0, 0, 0, 0, 0];
    let longer = [0xFFFF_3344_5566_7788, 1, 2, 3, 4, 5, 6, 7];
    for registers in [
        extend_by(1, 6, one),
        extend_by(2, 6, longer),
        extend_by(3, 64, longer),
    ] {
        let [status, ..] = call(w, &rec, &registers, 0)?;
        check!(status == SUCCESS, "{registers:x?}: {status:#x}");
    }
    let after = read_all(w, &rec)?;
    check!(after[0] == before[0] && after[4] == before[4], "{after:x?}");
    check!(after[1] == after[2] && after[1] != after[3], "{after:x?}");
    let [status, ..] = call(w, &rec, &extend_by(4, 0, longer), 0)?;
    check!(status == SUCCESS, "no bytes: {status:#x}");
    check!(read(w, &rec, 4)? != before[4], "no bytes extend nothing");
    Ok(())
}

/// Each measurement becomes what a verifier computes, whatever the number of bytes.
fn extend_value(w: &mut World<'_>) -> Outcome {
    for hash in [HashAlgorithm::Sha256, HashAlgorithm::Sha512] {
        let rec = realm(w, hash)?;
        for index in 1..SLOTS {
            let mut measured = Measured::extensible(hash);
            for size in [0, 1, 7, 8, 9, 31, 32, 33, 47, 63, 64] {
                let words = core::array::from_fn(|n| pattern(index << 8 | size, n as u64));
                let [status, ..] = call(w, &rec, &extend_by(index, size, words), 0)?;
                check!(status == SUCCESS, "{index} by {size}: {status:#x}");
                let bytes = bytes_of_registers(words);
                measured.extend(&bytes[..usize::try_from(size).expect("at most 64")]);
            }
            let (value, expected) = (read(w, &rec, index)?, measured.registers());
            check!(
                value == expected,
                "{index}: {value:x?} instead of {expected:x?}"
            );
        }
    }
    Ok(())
}
