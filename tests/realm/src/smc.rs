// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Calls to the monitor: RSI and PSCI.

use core::arch::global_asm;

use rmi::rsi::{HostCall, RealmConfig, RsiCommand};
use rmi::{GRANULE_SIZE, psci};
use test_realm::protocol::VALUES;
use zerocopy::FromZeros;

use crate::guard::Registers;

global_asm!(include_str!("smc.S"));

unsafe extern "C" {
    fn smc_call(registers: *mut Registers);
}

/// A page for the monitor to write to, aligned as it must be.
#[repr(C, align(4096))]
struct RealmConfigPage(RealmConfig);

/// A host call, aligned as it must be.
#[repr(C, align(256))]
struct HostCallBlock(HostCall);

/// A page for pieces of an attestation token, aligned as it must be.
#[repr(C, align(4096))]
pub(crate) struct TokenPage(pub(crate) [u8; PAGE as usize]);

impl TokenPage {
    /// Returns an empty page.
    pub(crate) const fn new() -> Self {
        Self([0; PAGE as usize])
    }
}

/// Makes a call with x0, x1 and so on; returns x0 to x17.
///
/// A call that makes the monitor write memory is for the functions below.
pub(crate) fn call(arguments: &[u64]) -> Registers {
    let mut registers = [0; 18];
    registers[..arguments.len()].copy_from_slice(arguments);
    // SAFETY: `registers` is a block of 18 words. The calls that write memory are made with blocks
    // that this module keeps for them, or with addresses that the monitor refuses.
    unsafe { smc_call(&mut registers) };
    registers
}

/// Makes a call of RSI.
pub(crate) fn rsi(command: RsiCommand, arguments: &[u64]) -> Registers {
    let mut all = [0; 12];
    all[0] = command.fid();
    all[1..=arguments.len()].copy_from_slice(arguments);
    call(&all)
}

/// Makes a call of PSCI; returns x0.
pub(crate) fn psci(fid: u64, arguments: &[u64]) -> u64 {
    let mut all = [0; 4];
    all[0] = fid;
    all[1..=arguments.len()].copy_from_slice(arguments);
    let [x0, ..] = call(&all);
    x0
}

/// Reads the Realm's configuration; the error is the status.
pub(crate) fn realm_config() -> Result<RealmConfig, u64> {
    let mut page = RealmConfigPage(RealmConfig::new_zeroed());
    // What the monitor leaves alone must be seen.
    page.0.rpv.fill(0xA5);
    let address = core::ptr::from_mut(&mut page) as u64;
    let [x0, ..] = rsi(RsiCommand::RealmConfig, &[address]);
    if x0 == 0 { Ok(page.0) } else { Err(x0) }
}

/// Fetches a piece of an attestation token to this place in the page; returns the status and the bytes.
pub(crate) fn token_continue(page: &mut TokenPage, offset: u64, size: u64) -> (u64, u64) {
    let address = core::ptr::from_mut(page) as u64;
    let arguments = [address, offset, size];
    let [x0, x1, ..] = rsi(RsiCommand::AttestationTokenContinue, &arguments);
    (x0, x1)
}

/// Calls the host; returns the status and its values.
pub(crate) fn host_call(imm: u16, values: &[u64; VALUES]) -> (u64, [u64; VALUES]) {
    let mut block = HostCallBlock(HostCall::default());
    block.0.imm = imm;
    block.0.gprs = *values;
    let address = core::ptr::from_mut(&mut block) as u64;
    let [x0, ..] = rsi(RsiCommand::HostCall, &[address]);
    (x0, block.0.gprs)
}

/// Turns the machine off.
pub(crate) fn system_off() -> ! {
    loop {
        psci(psci::FID_SYSTEM_OFF, &[]);
    }
}

/// Bytes of a granule.
pub(crate) const PAGE: u64 = GRANULE_SIZE;
