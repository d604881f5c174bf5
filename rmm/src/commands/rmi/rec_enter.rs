// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RMI_REC_ENTER`.

use core::mem::offset_of;

use rmi::rec_run::REC_GIC_LRS;
use rmi::rsi::Response;
use rmi::status::{REALM_INDEX_NEW, REALM_INDEX_SYSTEM_OFF};
use rmi::{EnterFlags, ExitReason, GranuleAddr, RecEnter, RecExit, RmiError};
use rmm_granule::InUse;
use rmm_hal::{Hal, HostSve, NsMemory};
use zerocopy::{FromZeros, IntoBytes};

use crate::boot::Monitor;
use crate::commands::{rsi, smc};
use crate::realm::{RdState, RealmState};
use crate::rec::exit::Stop;
use crate::rec::inject::Injected;
use crate::rec::running::{Identity, Next, Running};
use crate::rec::{HostAbort, Rec, RecState, Runnable, gic, mmio};

/// Bytes of the run page that the Host has a say in.
const ENTER_BYTES: usize = offset_of!(RecEnter, gicv3_lrs) + size_of::<[u64; REC_GIC_LRS]>();

/// Offset in the run page of what the monitor writes.
const EXIT_OFFSET: usize = size_of::<RecEnter>();

/// `RMI_REC_ENTER`. Fails with
///
/// - INPUT on `run_align`, `run_bound`, `run_pas`, `rec_align`, `rec_bound`, `rec_gran_state`;
/// - REC on `rec_state`;
/// - REALM on `realm_new` and `system_off`;
/// - REC on `rec_runnable`, `rec_psci`, `rec_mmio` and `rec_gicv3`;
/// - INPUT when the exit cannot be written, although the Realm ran.
#[inline(never)]
pub(crate) fn enter<H: Hal>(
    monitor: &Monitor<'_>,
    hal: &H,
    rec: u64,
    run_ptr: u64,
    host_sve: HostSve,
) -> Result<(), RmiError> {
    let run_page = monitor.host_granule(run_ptr)?;
    let mut enter = RecEnter::new_zeroed();
    read_enter(hal, run_page, &mut enter)?;
    let rec = monitor.lock::<RecState>(rec)?;
    let mut rec = rec.pin().map_err(|_| RmiError::Rec)?;
    let identity = admit_realm(monitor, hal, &rec)?;
    let mut exit = RecExit::new_zeroed();
    run_rec(
        monitor, hal, &mut rec, identity, &enter, host_sve, &mut exit,
    )?;
    hal.ns()
        .write(run_page, EXIT_OFFSET, exit.as_bytes())
        .map_err(|_| RmiError::Input)
}

/// Copies what the Host says, once; no copy is made of the reserved bytes at the end.
fn read_enter<H: Hal>(hal: &H, from: GranuleAddr, enter: &mut RecEnter) -> Result<(), RmiError> {
    let (used, _) = enter
        .as_mut_bytes()
        .split_at_mut_checked(ENTER_BYTES)
        .expect("the fields are a part of the page");
    hal.ns().read(from, 0, used).map_err(|_| RmiError::Input)
}

/// Checks that the Realm runs and that the REC is one of its processors that is on.
fn admit_realm<H: Hal>(
    monitor: &Monitor<'_>,
    hal: &H,
    rec: &InUse<'_, RecState>,
) -> Result<Identity, RmiError> {
    let (identity, is_runnable) = {
        let header = rec.map_header(hal.window());
        let (owner, index) = (header.owner(), header.index());
        (Identity { owner, index }, header.is_runnable())
    };
    let rd = monitor
        .granules()
        .lock::<RdState>(identity.owner.phys())
        .expect("a Realm with RECs does not go away");
    let state = rd.map(hal.window()).state();
    match state {
        RealmState::New => Err(RmiError::Realm(REALM_INDEX_NEW)),
        RealmState::SystemOff => Err(RmiError::Realm(REALM_INDEX_SYSTEM_OFF)),
        RealmState::Active if !is_runnable => Err(RmiError::Rec),
        RealmState::Active => Ok(identity),
    }
}

/// Runs the REC and writes what the Host learns into `exit`, all zeroes so far.
fn run_rec<H: Hal>(
    monitor: &Monitor<'_>,
    hal: &H,
    in_use: &mut InUse<'_, RecState>,
    identity: Identity,
    enter: &RecEnter,
    host_sve: HostSve,
    exit: &mut RecExit,
) -> Result<(), RmiError> {
    let is_turned_off = {
        let mut rec = in_use.map_mut(hal.window());
        let rec = &mut *rec;
        let resolution = admit(monitor, rec, enter)?;
        let realm = rec.realm();
        let cpu = monitor.cpu();
        gic::enter(&mut rec.context.gic, enter.gicv3_hcr, &enter.gicv3_lrs, cpu);
        let controls = rec.run_controls(enter.enter_flags(), host_sve);
        let mut running = Running::load(
            monitor,
            hal,
            rec,
            &realm,
            identity,
            controls,
            &mut exit.gprs,
        );
        let stop = match complete(&mut running, resolution, enter) {
            Next::Resume => running.run(smc::serve),
            Next::Stop(stop) => stop,
        };
        let is_turned_off = running.is_turned_off;
        let is_overflow = running.save(&stop);
        report(exit, &stop);
        report_state(exit, rec, is_overflow);
        is_turned_off
    };
    if is_turned_off {
        in_use.map_header(hal.window()).set_runnable(Runnable::No);
    }
    Ok(())
}

/// What the Host decided about the data abort that ended the last run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resolution {
    /// Nothing: the Realm tries again.
    None,
    /// The access fails.
    Fail(HostAbort),
    /// The Host emulated the access.
    Emulated(HostAbort),
}

/// Checks what the Host says against the REC: `rec_psci`, `rec_mmio` and `rec_gicv3`.
///
/// A failing access is only possible after an abort at an unprotected address, has no effect otherwise,
/// and takes precedence over emulation.
fn admit(monitor: &Monitor<'_>, rec: &Rec, enter: &RecEnter) -> Result<Resolution, RmiError> {
    if rec.is_psci_pending() {
        return Err(RmiError::Rec);
    }
    let flags = enter.enter_flags();
    let is_emulated = flags.contains(EnterFlags::EMUL_MMIO);
    let resolution = match rec.host_abort() {
        Some(abort) if flags.contains(EnterFlags::INJECT_SEA) => Resolution::Fail(abort),
        Some(abort) if is_emulated && abort.is_emulatable => Resolution::Emulated(abort),
        _ if is_emulated => return Err(RmiError::Rec),
        _ => Resolution::None,
    };
    gic::check(enter.gicv3_hcr, &enter.gicv3_lrs, monitor.cpu()).map_err(|_| RmiError::Rec)?;
    Ok(resolution)
}

/// Ends what the Realm was waiting for.
fn complete<H: Hal>(
    running: &mut Running<'_, '_, H>,
    resolution: Resolution,
    enter: &RecEnter,
) -> Next {
    match resolution {
        Resolution::None => {}
        Resolution::Fail(HostAbort { esr, far, .. }) => {
            running.inject(Injected::ExternalAbort { esr, far });
        }
        Resolution::Emulated(abort) => {
            let [value, ..] = enter.gprs;
            mmio::complete(&mut running.rec.context, abort.esr, value);
        }
    }
    let request = running.rec.ripas_request();
    if request.top != 0 {
        let response = if enter.enter_flags().contains(EnterFlags::RIPAS_REJECT) {
            Response::Reject
        } else {
            Response::Accept
        };
        rsi::complete_ipa_state_set(&mut running.rec.context, request, response);
    }
    if running.rec.is_host_call_pending() {
        return rsi::complete_host_call(running, &enter.gprs);
    }
    Next::Resume
}

/// Writes why the REC stopped. The values of a call to the Host are there already.
fn report(exit: &mut RecExit, stop: &Stop) {
    let reason = match stop {
        Stop::Sync(sync) => {
            exit.esr = sync.esr;
            exit.far = sync.far;
            exit.hpfar = sync.hpfar;
            let [first, ..] = &mut exit.gprs;
            *first = sync.value;
            ExitReason::Sync
        }
        Stop::Irq => ExitReason::Irq,
        Stop::Fiq => ExitReason::Fiq,
        Stop::Psci(call) => {
            for (register, word) in exit.gprs.iter_mut().zip(call) {
                *register = *word;
            }
            ExitReason::Psci
        }
        Stop::RipasChange(request) => {
            exit.ripas_base = request.base;
            exit.ripas_top = request.top;
            exit.ripas_value = request.value.code();
            ExitReason::RipasChange
        }
        Stop::HostCall { imm } => {
            exit.imm = *imm;
            ExitReason::HostCall
        }
        Stop::SError { esr } => {
            exit.esr = *esr;
            ExitReason::Serror
        }
    };
    exit.exit_reason = reason.code();
}

/// Writes what the Host learns of every exit: interrupts, timers, counters.
fn report_state(exit: &mut RecExit, rec: &Rec, is_overflow: bool) {
    let (gic, timers) = (&rec.context.gic, &rec.context.timers);
    exit.gicv3_hcr = gic::visible_hcr(gic);
    exit.gicv3_lrs = gic.lrs;
    exit.gicv3_misr = gic.misr;
    exit.gicv3_vmcr = gic.vmcr;
    exit.cntp_ctl = timers.cntp_ctl;
    exit.cntp_cval = timers.cntp_cval;
    exit.cntv_ctl = timers.cntv_ctl;
    exit.cntv_cval = timers.cntv_cval;
    exit.pmu_ovf_status = u8::from(is_overflow);
}
