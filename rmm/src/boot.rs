// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! From what the image found out at boot to a [`Monitor`].

use core::sync::atomic::AtomicU64;

use rmi::FeatureRegister0;
use rmm_granule::GranuleTable;
use rmm_hal::CpuFeatures;

use crate::attest::Attestation;
use crate::commands::rmi::features;
use crate::realm::Vmids;

/// The whole state of the monitor, shared by all PEs.
#[derive(Debug)]
pub struct Monitor<'m> {
    granules: GranuleTable<'m>,
    vmids: Vmids<'m>,
    cpu: CpuFeatures,
    offer: FeatureRegister0,
    attestation: Option<&'m Attestation<'m>>,
}

impl<'m> Monitor<'m> {
    /// Returns a monitor of a machine with these features and this delegable memory.
    ///
    /// `vmids` has one bit per VMID, all of them zero; 1024 words are enough for any machine.
    #[must_use]
    pub fn new(cpu: CpuFeatures, granules: GranuleTable<'m>, vmids: &'m [AtomicU64]) -> Self {
        let vmids = Vmids::new(vmids, cpu.vmid16);
        let offer = features::offer(&cpu);
        Self {
            granules,
            vmids,
            cpu,
            offer,
            attestation: None,
        }
    }

    /// Returns the monitor with something to prove its Realms with; without, they get no tokens.
    #[must_use]
    pub fn with_attestation(self, attestation: &'m Attestation<'m>) -> Self {
        Self {
            attestation: Some(attestation),
            ..self
        }
    }

    /// Returns the table of delegable granules.
    #[must_use]
    pub fn granules(&self) -> &GranuleTable<'m> {
        &self.granules
    }

    /// Returns what the PEs can do.
    #[must_use]
    pub fn cpu(&self) -> &CpuFeatures {
        &self.cpu
    }

    /// Returns what the monitor can do for a Realm.
    #[must_use]
    pub fn offer(&self) -> FeatureRegister0 {
        self.offer
    }

    /// Returns what Realms are proved with, if the platform gave it.
    pub(crate) fn attestation(&self) -> Option<&'m Attestation<'m>> {
        self.attestation
    }

    /// Returns the reservations of VMIDs.
    pub(crate) fn vmids(&self) -> &Vmids<'m> {
        &self.vmids
    }
}
