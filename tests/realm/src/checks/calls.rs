// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! RSI and other calls: what the monitor answers.

use rmi::rsi::{RsiCommand, RsiStatus};
use rmi::{SMCCC_NOT_SUPPORTED, rsi};
use test_realm::protocol::{BASE, VALUES, pattern};
use zerocopy::IntoBytes;

use super::probe::own_top;
use super::{Detail, Verdict, detail, require};
use crate::{machine, smc};

/// Statuses of RSI in x0.
const INPUT: u64 = RsiStatus::ErrorInput.to_register();
/// Immediate of a host call that this project's host does not know.
const UNKNOWN_IMM: u16 = 0x1234;

/// Negotiates the version.
pub(super) fn version() -> Verdict {
    let [status, lower, higher, ..] = smc::rsi(RsiCommand::Version, &[machine::RSI_VERSION]);
    require!(status == 0, "status {status:#x}");
    require!(
        lower >= machine::RSI_VERSION && higher >= lower,
        "{lower:#x} to {higher:#x}"
    );
    let [status, low, high, ..] = smc::rsi(RsiCommand::Version, &[0x7FFF_0000]);
    require!(
        status == INPUT && high == higher,
        "version 32767: status {status:#x}, {low:#x} to {high:#x}"
    );
    Ok(detail!("{lower:#x} to {higher:#x}"))
}

/// Reads feature registers.
pub(super) fn features() -> Verdict {
    for index in [0, 1, 100] {
        let [status, value, ..] = smc::rsi(RsiCommand::Features, &[index]);
        require!(
            status == 0 && value == 0,
            "register {index}: status {status:#x} value {value:#x}"
        );
    }
    Ok(detail!("none"))
}

/// Reads the Realm's configuration.
pub(super) fn config() -> Verdict {
    let config = smc::realm_config().map_err(|status| detail!("status {status:#x}"))?;
    let (bits, algorithm) = (config.ipa_width, config.hash_algo);
    require!((32..=52).contains(&bits), "{bits} address bits");
    require!(algorithm <= 1, "algorithm {algorithm}");
    let bytes = config.as_bytes();
    let unused = [0x9..0x200, 0x240..0x1000];
    let dirty = unused.into_iter().flatten().find(|at| bytes[*at] != 0);
    require!(dirty.is_none(), "byte {dirty:#x?} is not zero");
    refused(RsiCommand::RealmConfig, &[BASE + 0x800])?;
    refused(RsiCommand::RealmConfig, &[own_top() + BASE])?;
    Ok(detail!("{bits} address bits, hash algorithm {algorithm}"))
}

/// Requires that a call is refused because of its arguments.
pub(super) fn refused(command: RsiCommand, arguments: &[u64]) -> Result<(), Detail> {
    let [status, ..] = smc::rsi(command, arguments);
    require!(
        status == INPUT,
        "{} {arguments:#x?}: status {status:#x}",
        command.name()
    );
    Ok(())
}

/// Reads and extends measurements.
pub(super) fn measurement() -> Verdict {
    let read = |index| -> Result<[u64; 8], Detail> {
        let reply = smc::rsi(RsiCommand::MeasurementRead, &[index]);
        require!(reply[0] == 0, "read {index}: status {:#x}", reply[0]);
        let mut value = [0; 8];
        value.copy_from_slice(&reply[1..9]);
        Ok(value)
    };
    let mut before = [[0; 8]; 5];
    for (index, value) in (0..).zip(&mut before) {
        *value = read(index)?;
    }
    require!(before[0] != [0; 8], "the initial measurement is zero");
    let extend = |index: u64, size: u64| {
        let mut arguments = [0; 10];
        arguments[0] = index;
        arguments[1] = size;
        arguments[2..].copy_from_slice(&[pattern(1, index); 8]);
        let [status, ..] = smc::rsi(RsiCommand::MeasurementExtend, &arguments);
        status
    };
    for (index, size) in [(0, 32), (rsi::MEASUREMENT_SLOTS, 32), (1, 65)] {
        let status = extend(index, size);
        require!(
            status == INPUT,
            "extend {index} by {size}: status {status:#x}"
        );
    }
    let status = extend(1, 64);
    require!(status == 0, "extend 1: status {status:#x}");
    let status = extend(4, 0);
    require!(status == 0, "extend 4 by nothing: status {status:#x}");
    for (index, before) in (0..).zip(before) {
        let has_changed = read(index)? != before;
        require!(
            has_changed == [1, 4].contains(&index),
            "measurement {index} changed: {has_changed}"
        );
    }
    refused(RsiCommand::MeasurementRead, &[rsi::MEASUREMENT_SLOTS])?;
    Ok(detail!("initial {:#018x}", before[0][0].swap_bytes()))
}

/// Calls the host.
pub(super) fn host_call() -> Verdict {
    let values: [u64; VALUES] = core::array::from_fn(|n| pattern(2, n as u64));
    let (status, answer) = smc::host_call(UNKNOWN_IMM, &values);
    require!(status == 0, "status {status:#x}");
    require!(answer == values, "the host changed the values");
    refused(RsiCommand::HostCall, &[BASE + 0x80])?;
    refused(RsiCommand::HostCall, &[own_top() + BASE])?;
    Ok(detail!("{VALUES} values came back"))
}

/// Makes calls that nobody implements.
pub(super) fn unknown_calls() -> Verdict {
    let fids = [
        0x8000_0002, // SMCCC_ARCH_SOC_ID
        0x8400_0020, // after the last of PSCI
        0x8400_0190, // RSI_VERSION as SMC32
        0xC400_018F, // before the first of RSI
        0xC400_019A, // after the last of RSI
        0xC400_0150, // RMI_VERSION
        0xC400_015C, // RMI_REC_ENTER
        0xC600_0000, // a vendor's hypervisor
        0xBF00_FF01, // a trusted operating system
        0x0000_0000,
        0xFFFF_FFFF,
    ];
    for fid in fids {
        let [x0, ..] = smc::call(&[fid, BASE, BASE]);
        require!(x0 == SMCCC_NOT_SUPPORTED, "call {fid:#x} returns {x0:#x}");
    }
    let [version, ..] = smc::call(&[rmi::smccc::FID_SMCCC_VERSION]);
    require!(
        (0x1_0002..0x2_0000).contains(&version),
        "SMCCC version {version:#x}"
    );
    Ok(detail!("{} of them, SMCCC {version:#x}", fids.len()))
}
