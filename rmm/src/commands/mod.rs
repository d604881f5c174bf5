// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! From the registers of a call to those of its reply.

mod psci;
mod reply;
pub mod rmi;
mod rsi;
mod smc;

use ::rmi::smccc::has_sve_hint;
use ::rmi::table::REGISTERS;
use ::rmi::{Command, CommandId, LogPolicy};
use log::{debug, trace};
use rmm_hal::{Hal, HostSve};

use crate::boot::Monitor;
use crate::commands::rmi::{
    data, features, granule, psci_complete, realm, rec, rec_enter, rtt, version,
};
pub(crate) use reply::Reply;

impl Monitor<'_> {
    /// Serves one call of the Host on this PE: x0 to x7 of the call in, x0 to x7 of the reply out.
    #[must_use]
    pub fn handle<H: Hal>(&self, hal: &H, registers: &[u64; REGISTERS]) -> [u64; REGISTERS] {
        let Some(command) = Command::decode(registers) else {
            let [fid, ..] = registers;
            debug!("unknown function {fid:#x}");
            return Reply::NOT_SUPPORTED.registers_after(registers, 0);
        };
        let [x0, ..] = registers;
        let host_sve = HostSve::of_hint(has_sve_hint(*x0));
        let reply = self.serve(hal, command, host_sve);
        log_command(command.id(), registers, &reply);
        reply.registers_after(registers, command.id().outputs().len())
    }

    fn serve<H: Hal>(&self, hal: &H, command: Command, host_sve: HostSve) -> Reply {
        match command {
            Command::Version { req } => version::version(req),
            Command::Features { index } => features::features(self, index),
            Command::GranuleDelegate { addr } => granule::delegate(self, hal, addr).into(),
            Command::GranuleUndelegate { addr } => granule::undelegate(self, hal, addr).into(),
            Command::RealmCreate { rd, params_ptr } => {
                realm::create(self, hal, rd, params_ptr).into()
            }
            Command::RealmActivate { rd } => realm::activate(self, hal, rd).into(),
            Command::RealmDestroy { rd } => realm::destroy(self, hal, rd).into(),
            Command::DataCreate {
                rd,
                data,
                ipa,
                src,
                flags,
            } => data::create(self, hal, [rd, data, ipa, src, flags]).into(),
            Command::DataCreateUnknown { rd, data, ipa } => {
                data::create_unknown(self, hal, rd, data, ipa).into()
            }
            Command::DataDestroy { rd, ipa } => data::destroy(self, hal, rd, ipa).into(),
            Command::RttCreate {
                rd,
                rtt,
                ipa,
                level,
            } => rtt::create(self, hal, rd, rtt, ipa, level).into(),
            Command::RttDestroy { rd, ipa, level } => {
                rtt::destroy(self, hal, rd, ipa, level).into()
            }
            Command::RttFold { rd, ipa, level } => rtt::fold(self, hal, rd, ipa, level).into(),
            Command::RttReadEntry { rd, ipa, level } => {
                rtt::read_entry(self, hal, rd, ipa, level).into()
            }
            Command::RttMapUnprotected {
                rd,
                ipa,
                level,
                desc,
            } => rtt::map_unprotected(self, hal, rd, ipa, level, desc).into(),
            Command::RttUnmapUnprotected { rd, ipa, level } => {
                rtt::unmap_unprotected(self, hal, rd, ipa, level).into()
            }
            Command::RttInitRipas { rd, base, top } => {
                rtt::init_ripas(self, hal, rd, base, top).into()
            }
            Command::RttSetRipas { rd, rec, base, top } => {
                rtt::set_ripas(self, hal, rd, rec, base, top).into()
            }
            Command::RecAuxCount { rd } => rec::aux_count(self, hal, rd).into(),
            Command::RecCreate {
                rd,
                rec,
                params_ptr,
            } => rec::create(self, hal, rd, rec, params_ptr).into(),
            Command::RecDestroy { rec } => rec::destroy(self, hal, rec).into(),
            Command::RecEnter { rec, run_ptr } => {
                rec_enter::enter(self, hal, rec, run_ptr, host_sve).into()
            }
            Command::PsciComplete {
                calling_rec,
                target_rec,
                status,
            } => psci_complete::complete(self, hal, calling_rec, target_rec, status).into(),
        }
    }
}

/// Writes the one line of the log that a command has.
fn log_command(id: CommandId, call: &[u64; REGISTERS], reply: &Reply) {
    let is_step = match id.log_policy() {
        LogPolicy::Always => true,
        LogPolicy::Failure => !reply.is_success(),
    };
    let level = if is_step {
        log::Level::Debug
    } else {
        log::Level::Trace
    };
    if level <= log::STATIC_MAX_LEVEL && level <= log::max_level() {
        write_line(level, id, call, reply);
    }
}

#[cold]
fn write_line(level: log::Level, id: CommandId, call: &[u64; REGISTERS], reply: &Reply) {
    let [_, inputs @ ..] = call;
    let inputs = inputs.get(..id.inputs().len()).unwrap_or(inputs);
    let name = id.name();
    match level {
        log::Level::Debug => debug!("{name}{} > {reply}", Words(inputs)),
        _ => trace!("{name}{} > {reply}", Words(inputs)),
    }
}

/// Register values of a log line, each behind a space.
struct Words<'a>(&'a [u64]);

impl core::fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|word| write!(f, " {word:#x}"))
    }
}
