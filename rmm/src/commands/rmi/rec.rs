// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RMI_REC_AUX_COUNT`, `RMI_REC_CREATE` and `RMI_REC_DESTROY`.

use rmi::rec_params::MAX_REC_AUX;
use rmi::status::REALM_INDEX_DEFAULT;
use rmi::{GranuleAddr, RecFlags, RecParams, RecRequest, RmiError};
use rmm_granule::{Delegated, Locked};
use rmm_hal::{Hal, NsMemory};
use zerocopy::{FromZeros, IntoBytes};

use crate::boot::Monitor;
use crate::limits::MAX_RECS;
use crate::realm::{RdState, RealmState};
use crate::rec::aux::{self, AuxAddresses};
use crate::rec::context::reset;
use crate::rec::{RealmTraits, RecState, Runnable};

/// A descriptor, the granule of a new REC and its auxiliary granules.
const MAX_GRANULES: usize = 2 + MAX_REC_AUX;

/// Auxiliary granules that are not in use yet, in address order.
type NewAux<'m> = heapless::Vec<Locked<'m, Delegated>, MAX_REC_AUX>;

/// `RMI_REC_AUX_COUNT`. Fails with INPUT on `rd_align`, `rd_bound` and `rd_state`.
#[inline(never)]
pub(crate) fn aux_count<H: Hal>(
    monitor: &Monitor<'_>,
    hal: &H,
    rd: u64,
) -> Result<[u64; 1], RmiError> {
    let rd = monitor.lock::<RdState>(rd)?;
    let count = aux::count(&rd.map(hal.window()));
    Ok([u64::try_from(count).expect("a few granules")])
}

/// `RMI_REC_CREATE`. Fails with
///
/// - INPUT on `params_align`, `params_bound`, `params_pas`, `rec_align`, `rec_bound`, `rec_state`,
///   `rd_align`, `rd_bound`, `rd_state`, `aux_align`, `aux_alias`, `aux_state`;
/// - REALM on `realm_state` and `num_recs`;
/// - INPUT on `mpidr_index` and `num_aux`.
#[inline(never)]
pub(crate) fn create<H: Hal>(
    monitor: &Monitor<'_>,
    hal: &H,
    rd: u64,
    rec: u64,
    params_ptr: u64,
) -> Result<(), RmiError> {
    let params = monitor.host_granule(params_ptr)?;
    let request = read_request(hal, params)?;
    let aux_list = request.aux_list().ok_or(RmiError::Input)?;
    let New { mut rd, rec, aux } = lock_new(monitor, rd, rec, aux_list)?;
    let rec_count = rd.count();
    {
        let rd = rd.map(hal.window());
        if rd.state() != RealmState::New || rec_count == MAX_RECS {
            return Err(RmiError::Realm(REALM_INDEX_DEFAULT));
        }
        if request.mpidr.index() != rd.rec_index() || aux.len() != aux::count(&rd) {
            return Err(RmiError::Input);
        }
    }

    let owner = rd.addr();
    let traits = {
        let mut rd = rd.map_mut(hal.window());
        rd.advance_rec_index();
        if request.flags.contains(RecFlags::RUNNABLE) {
            rd.rim().extend_rec(hal.sha2(), &request);
        }
        RealmTraits::of(&rd)
    };
    rd.raise(1);
    write_rec(hal, rec.into_state(), owner, &traits, &request, &aux);
    aux::create(aux);
    Ok(())
}

/// `RMI_REC_DESTROY`. Fails with INPUT on `rec_align`, `rec_bound` and `rec_gran_state`, then with REC on
/// `rec_state`.
#[inline(never)]
pub(crate) fn destroy<H: Hal>(monitor: &Monitor<'_>, hal: &H, rec: u64) -> Result<(), RmiError> {
    let mut rec = monitor.lock::<RecState>(rec)?;
    let owner = rec.map_header(hal.window()).owner();
    let aux = aux::addresses(&*rec.map_idle(hal.window()).map_err(|_| RmiError::Rec)?);

    aux::destroy(monitor.granules(), hal.window(), &aux);
    drop(rec.wipe(hal.window()));
    // The descriptor may have the lower address, so it is locked after the REC was given back. The
    // reference that the REC holds keeps it until then.
    let mut rd = monitor
        .granules()
        .lock::<RdState>(owner.phys())
        .expect("a Realm with RECs does not go away");
    rd.lower(1);
    Ok(())
}

/// Copies the parameters once and reads them: `params_pas`, and an `mpidr` that no REC can have.
#[inline(never)]
fn read_request<H: Hal>(hal: &H, from: GranuleAddr) -> Result<RecRequest, RmiError> {
    let mut params = RecParams::new_zeroed();
    hal.ns()
        .read(from, 0, params.as_mut_bytes())
        .map_err(|_| RmiError::Input)?;
    RecRequest::try_from(&params).map_err(|_| RmiError::Input)
}

/// What a new REC is made from.
struct New<'m> {
    rd: Locked<'m, RdState>,
    rec: Locked<'m, Delegated>,
    aux: NewAux<'m>,
}

/// Locks all granules that the command names, in address order.
fn lock_new<'m>(
    monitor: &Monitor<'m>,
    rd: u64,
    rec: u64,
    aux_list: &[u64],
) -> Result<New<'m>, RmiError> {
    let mut order: heapless::Vec<u64, MAX_GRANULES> = heapless::Vec::new();
    for address in [rd, rec].iter().chain(aux_list) {
        order.push(*address).map_err(|_| RmiError::Input)?;
    }
    order.sort_unstable();
    let is_alias = order.iter().zip(order.iter().skip(1)).any(|(a, b)| a == b);
    if is_alias {
        return Err(RmiError::Input);
    }

    let (mut locked_rd, mut locked_rec) = (None, None);
    let mut aux = NewAux::new();
    for address in order {
        if address == rd {
            locked_rd = Some(monitor.lock(address)?);
        } else if address == rec {
            locked_rec = Some(monitor.lock(address)?);
        } else {
            aux.push(monitor.lock(address)?)
                .map_err(|_| RmiError::Input)?;
        }
    }
    let (Some(rd), Some(rec)) = (locked_rd, locked_rec) else {
        return Err(RmiError::Input);
    };
    Ok(New { rd, rec, aux })
}

fn write_rec<H: Hal>(
    hal: &H,
    mut rec: Locked<'_, RecState>,
    owner: GranuleAddr,
    realm: &RealmTraits,
    request: &RecRequest,
    aux: &NewAux<'_>,
) {
    let runnable = if request.flags.contains(RecFlags::RUNNABLE) {
        Runnable::Yes
    } else {
        Runnable::No
    };
    rec.map_header(hal.window())
        .init(owner, request.mpidr, runnable);
    let aux: AuxAddresses = aux.iter().map(Locked::addr).collect();
    let mut contents = rec
        .map_idle(hal.window())
        .expect("nobody uses a REC that is being created");
    contents.init(request.mpidr, realm, &aux);
    reset(&mut contents.context, request.pc, &request.gprs);
}
