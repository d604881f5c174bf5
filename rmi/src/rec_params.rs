// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The parameters of `RMI_REC_CREATE`: a page on the wire, and the request it makes.

use bitflags::bitflags;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::mpidr::RecMpidr;
use crate::wire::{BadEncoding, assert_layout};

/// Registers that the Host chooses: x0 to x7.
pub const REC_CREATE_GPRS: usize = 8;

/// The greatest number of auxiliary granules of a REC.
pub const MAX_REC_AUX: usize = 16;

bitflags! {
    /// How a REC starts its life (`RmiRecCreateFlags`).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct RecFlags: u64 {
        /// The REC may be entered without another REC turning it on.
        const RUNNABLE = 1 << 0;
    }
}

/// `RmiRecParams` as the Host writes it: one granule.
#[derive(Clone, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RecParams {
    /// [`RecFlags`], and bits that should be zero.
    pub flags: u64,
    _reserved_flags: [u8; 0xf8],
    /// An `RmiRecMpidr`.
    pub mpidr: u64,
    _reserved_mpidr: [u8; 0xf8],
    /// Virtual address of the first instruction.
    pub pc: u64,
    _reserved_pc: [u8; 0xf8],
    /// Initial x0 to x7.
    pub gprs: [u64; REC_CREATE_GPRS],
    _reserved_gprs: [u8; 0x4c0],
    /// Number of auxiliary granules.
    pub num_aux: u64,
    /// Physical addresses of the auxiliary granules.
    pub aux: [u64; MAX_REC_AUX],
    _reserved_aux: [u8; 0x778],
}

assert_layout!(RecParams, 0x1000, {
    flags: 0x0,
    mpidr: 0x100,
    pc: 0x200,
    gprs: 0x300,
    num_aux: 0x800,
    aux: 0x808,
});

impl Default for RecParams {
    fn default() -> Self {
        Self::new_zeroed()
    }
}

/// What a Host asks of `RMI_REC_CREATE`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecRequest {
    /// How the REC starts its life.
    pub flags: RecFlags,
    /// The identity of the REC.
    pub mpidr: RecMpidr,
    /// Virtual address of the first instruction.
    pub pc: u64,
    /// Initial x0 to x7.
    pub gprs: [u64; REC_CREATE_GPRS],
    /// Number of auxiliary granules, as claimed.
    pub num_aux: u64,
    /// Physical addresses of the auxiliary granules. Those past the number have no meaning.
    pub aux: [u64; MAX_REC_AUX],
}

impl RecRequest {
    /// Returns the addresses that the Host means, or nothing if it claims more than a page holds.
    #[must_use]
    pub fn aux_list(&self) -> Option<&[u64]> {
        let count = usize::try_from(self.num_aux).ok()?;
        self.aux.get(..count)
    }

    /// Sets the auxiliary granules, and returns whether there is room for that many.
    #[must_use]
    pub fn set_aux_list(&mut self, list: &[u64]) -> bool {
        let Some(slots) = self.aux.get_mut(..list.len()) else {
            return false;
        };
        slots.copy_from_slice(list);
        let Ok(count) = u64::try_from(list.len()) else {
            return false;
        };
        self.num_aux = count;
        true
    }
}

/// Reads a request. An `mpidr` that no REC can have is refused. Flags that should be zero are kept,
/// as they are measured.
impl TryFrom<&RecParams> for RecRequest {
    type Error = BadEncoding;

    fn try_from(params: &RecParams) -> Result<Self, BadEncoding> {
        let Some(mpidr) = RecMpidr::new(params.mpidr) else {
            return Err(BadEncoding { field: "mpidr" });
        };
        Ok(Self {
            flags: RecFlags::from_bits_retain(params.flags),
            mpidr,
            pc: params.pc,
            gprs: params.gprs,
            num_aux: params.num_aux,
            aux: params.aux,
        })
    }
}

/// Writes a request, with zeros in all other bytes.
impl From<&RecRequest> for RecParams {
    fn from(request: &RecRequest) -> Self {
        Self {
            flags: request.flags.bits(),
            mpidr: request.mpidr.raw(),
            pc: request.pc,
            gprs: request.gprs,
            num_aux: request.num_aux,
            aux: request.aux,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> RecRequest {
        let mut request = RecRequest {
            flags: RecFlags::RUNNABLE,
            mpidr: RecMpidr::from_index(17).unwrap(),
            pc: 0x8000_0000,
            gprs: [1, 2, 3, 4, 5, 6, 7, 8],
            ..RecRequest::default()
        };
        assert!(request.set_aux_list(&[0x1000, 0x2000, 0x3000]));
        request
    }

    #[test]
    fn request_survives_the_wire() {
        let params = RecParams::from(&request());
        assert_eq!(RecRequest::try_from(&params), Ok(request()));
    }

    #[test]
    fn params_with_impossible_mpidr_are_refused() {
        let mut params = RecParams::from(&request());
        params.mpidr |= 0x10;
        let refusal = BadEncoding { field: "mpidr" };
        assert_eq!(RecRequest::try_from(&params), Err(refusal));
    }

    #[test]
    fn aux_list_is_bounded_by_the_page() {
        let mut request = request();
        assert_eq!(request.aux_list().unwrap(), [0x1000, 0x2000, 0x3000]);
        request.num_aux = 16;
        assert_eq!(request.aux_list().unwrap().len(), 16);
        for num_aux in [17, u64::MAX] {
            request.num_aux = num_aux;
            assert_eq!(request.aux_list(), None);
        }
        assert!(!request.set_aux_list(&[0; 17]));
    }
}
