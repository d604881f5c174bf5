// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! RMI calls as functions: typed arguments in, results out, nothing remembered.

use core::fmt;

use rmi::table::REGISTERS;
use rmi::{Command, Ipa, RmiError, RmiReturn, RttLevel};

use crate::addr::Pfn;
use crate::machine::Rmi;

/// Why a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The command answered with a failing status.
    Rmi(RmiError),
    /// x0 is no status of the interface: the call is not implemented, or the RMM is not an RMM.
    Unknown(u64),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rmi(error) => error.fmt(f),
            Self::Unknown(x0) => write!(f, "unknown status {x0:#x}"),
        }
    }
}

/// The level where a walk stopped, when that is why a call failed.
pub fn walk_stopped(error: CallError) -> Option<RttLevel> {
    match error {
        CallError::Rmi(RmiError::Rtt(level)) => Some(level),
        CallError::Rmi(_) | CallError::Unknown(_) => None,
    }
}

/// The answer of a command that removes something and says where to go on, even on failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removed<T> {
    /// What was removed.
    pub outcome: Result<T, CallError>,
    /// Next live entry, or the end of the table in which the walk ended.
    pub top: Ipa,
}

/// What `RMI_RTT_READ_ENTRY` says of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryRead {
    /// Level at which the walk ended.
    pub level: i64,
    /// 0 unassigned, 1 assigned, 2 table.
    pub state: u64,
    /// Output address and, for unprotected entries, attributes.
    pub descriptor: u64,
    /// 0 empty, 1 RAM, 2 destroyed.
    pub ripas: u64,
}

/// `state` of an entry that maps something.
pub const ENTRY_ASSIGNED: u64 = 1;
/// `ripas` of an address that is memory.
pub const RIPAS_RAM: u64 = 1;

/// The calls the host makes, for everything that reaches an RMM.
pub trait RmiCalls: Rmi {
    /// `RMI_VERSION`: whether the RMM speaks `requested`, and its lower and higher versions.
    fn version(&self, requested: u64) -> (Result<(), CallError>, u64, u64) {
        let reply = self.call(Command::Version { req: requested }.encode());
        (status(&reply), reply[1], reply[2])
    }

    /// `RMI_FEATURES`: the value of feature register `index`.
    fn features(&self, index: u64) -> Result<u64, CallError> {
        self.issue(Command::Features { index })
            .map(|reply| reply[1])
    }

    /// `RMI_GRANULE_DELEGATE`.
    fn granule_delegate(&self, pfn: Pfn) -> Result<(), CallError> {
        let addr = pfn.address();
        self.issue(Command::GranuleDelegate { addr }).map(drop)
    }

    /// `RMI_GRANULE_UNDELEGATE`.
    fn granule_undelegate(&self, pfn: Pfn) -> Result<(), CallError> {
        let addr = pfn.address();
        self.issue(Command::GranuleUndelegate { addr }).map(drop)
    }

    /// `RMI_REALM_CREATE`.
    fn realm_create(&self, rd: Pfn, params: Pfn) -> Result<(), CallError> {
        let (rd, params_ptr) = (rd.address(), params.address());
        self.issue(Command::RealmCreate { rd, params_ptr })
            .map(drop)
    }

    /// `RMI_REALM_ACTIVATE`.
    fn realm_activate(&self, rd: Pfn) -> Result<(), CallError> {
        let rd = rd.address();
        self.issue(Command::RealmActivate { rd }).map(drop)
    }

    /// `RMI_REALM_DESTROY`.
    fn realm_destroy(&self, rd: Pfn) -> Result<(), CallError> {
        let rd = rd.address();
        self.issue(Command::RealmDestroy { rd }).map(drop)
    }

    /// `RMI_REC_AUX_COUNT`.
    fn rec_aux_count(&self, rd: Pfn) -> Result<u64, CallError> {
        let rd = rd.address();
        self.issue(Command::RecAuxCount { rd })
            .map(|reply| reply[1])
    }

    /// `RMI_REC_CREATE`.
    fn rec_create(&self, rd: Pfn, rec: Pfn, params: Pfn) -> Result<(), CallError> {
        let (rd, rec, params_ptr) = (rd.address(), rec.address(), params.address());
        let command = Command::RecCreate {
            rd,
            rec,
            params_ptr,
        };
        self.issue(command).map(drop)
    }

    /// `RMI_REC_DESTROY`.
    fn rec_destroy(&self, rec: Pfn) -> Result<(), CallError> {
        let rec = rec.address();
        self.issue(Command::RecDestroy { rec }).map(drop)
    }

    /// `RMI_REC_ENTER`.
    fn rec_enter(&self, rec: Pfn, run: Pfn) -> Result<(), CallError> {
        let (rec, run_ptr) = (rec.address(), run.address());
        self.issue(Command::RecEnter { rec, run_ptr }).map(drop)
    }

    /// `RMI_PSCI_COMPLETE`; `answer` is the PSCI return code.
    fn psci_complete(&self, calling: Pfn, target: Pfn, answer: u64) -> Result<(), CallError> {
        let command = Command::PsciComplete {
            calling_rec: calling.address(),
            target_rec: target.address(),
            status: answer,
        };
        self.issue(command).map(drop)
    }

    /// `RMI_DATA_CREATE`; `measure` selects the content hash.
    fn data_create(
        &self,
        rd: Pfn,
        data: Pfn,
        ipa: Ipa,
        source: Pfn,
        measure: Measure,
    ) -> Result<(), CallError> {
        let command = Command::DataCreate {
            rd: rd.address(),
            data: data.address(),
            ipa: ipa.raw(),
            src: source.address(),
            flags: measure as u64,
        };
        self.issue(command).map(drop)
    }

    /// `RMI_DATA_CREATE_UNKNOWN`.
    fn data_create_unknown(&self, rd: Pfn, data: Pfn, ipa: Ipa) -> Result<(), CallError> {
        let (rd, data, ipa) = (rd.address(), data.address(), ipa.raw());
        self.issue(Command::DataCreateUnknown { rd, data, ipa })
            .map(drop)
    }

    /// `RMI_DATA_DESTROY`: the page that was mapped.
    fn data_destroy(&self, rd: Pfn, ipa: Ipa) -> Removed<Pfn> {
        let (rd, ipa) = (rd.address(), ipa.raw());
        let reply = self.call(Command::DataDestroy { rd, ipa }.encode());
        Removed {
            outcome: status(&reply).map(|()| Pfn::containing(reply[1])),
            top: Ipa::new(reply[2]),
        }
    }

    /// `RMI_RTT_CREATE`; `level` is the level of the new table.
    fn rtt_create(&self, rd: Pfn, rtt: Pfn, ipa: Ipa, level: RttLevel) -> Result<(), CallError> {
        let command = Command::RttCreate {
            rd: rd.address(),
            rtt: rtt.address(),
            ipa: ipa.raw(),
            level: level.to_register(),
        };
        self.issue(command).map(drop)
    }

    /// `RMI_RTT_DESTROY`: the granule of the table of `level`.
    fn rtt_destroy(&self, rd: Pfn, ipa: Ipa, level: RttLevel) -> Removed<Pfn> {
        let command = Command::RttDestroy {
            rd: rd.address(),
            ipa: ipa.raw(),
            level: level.to_register(),
        };
        let reply = self.call(command.encode());
        Removed {
            outcome: status(&reply).map(|()| Pfn::containing(reply[1])),
            top: Ipa::new(reply[2]),
        }
    }

    /// `RMI_RTT_FOLD`: the granule of the table of `level`.
    fn rtt_fold(&self, rd: Pfn, ipa: Ipa, level: RttLevel) -> Result<Pfn, CallError> {
        let command = Command::RttFold {
            rd: rd.address(),
            ipa: ipa.raw(),
            level: level.to_register(),
        };
        self.issue(command).map(|reply| Pfn::containing(reply[1]))
    }

    /// `RMI_RTT_MAP_UNPROTECTED`.
    fn rtt_map_unprotected(
        &self,
        rd: Pfn,
        ipa: Ipa,
        level: RttLevel,
        descriptor: u64,
    ) -> Result<(), CallError> {
        let command = Command::RttMapUnprotected {
            rd: rd.address(),
            ipa: ipa.raw(),
            level: level.to_register(),
            desc: descriptor,
        };
        self.issue(command).map(drop)
    }

    /// `RMI_RTT_UNMAP_UNPROTECTED`.
    fn rtt_unmap_unprotected(&self, rd: Pfn, ipa: Ipa, level: RttLevel) -> Removed<()> {
        let command = Command::RttUnmapUnprotected {
            rd: rd.address(),
            ipa: ipa.raw(),
            level: level.to_register(),
        };
        let reply = self.call(command.encode());
        Removed {
            outcome: status(&reply),
            top: Ipa::new(reply[1]),
        }
    }

    /// `RMI_RTT_READ_ENTRY`.
    fn rtt_read_entry(&self, rd: Pfn, ipa: Ipa, level: RttLevel) -> Result<EntryRead, CallError> {
        let command = Command::RttReadEntry {
            rd: rd.address(),
            ipa: ipa.raw(),
            level: level.to_register(),
        };
        self.issue(command).map(|reply| EntryRead {
            level: i64::from_ne_bytes(reply[1].to_ne_bytes()),
            state: reply[2],
            descriptor: reply[3],
            ripas: reply[4],
        })
    }

    /// `RMI_RTT_INIT_RIPAS`: how far it came.
    fn rtt_init_ripas(&self, rd: Pfn, base: Ipa, top: Ipa) -> Result<Ipa, CallError> {
        let (rd, base, top) = (rd.address(), base.raw(), top.raw());
        self.issue(Command::RttInitRipas { rd, base, top })
            .map(|reply| Ipa::new(reply[1]))
    }

    /// `RMI_RTT_SET_RIPAS`: how far it came.
    fn rtt_set_ripas(&self, rd: Pfn, rec: Pfn, base: Ipa, top: Ipa) -> Result<Ipa, CallError> {
        let command = Command::RttSetRipas {
            rd: rd.address(),
            rec: rec.address(),
            base: base.raw(),
            top: top.raw(),
        };
        self.issue(command).map(|reply| Ipa::new(reply[1]))
    }

    /// Makes a call whose outputs count only on success.
    fn issue(&self, command: Command) -> Result<[u64; REGISTERS], CallError> {
        let reply = self.call(command.encode());
        status(&reply).map(|()| reply)
    }
}

impl<R: Rmi + ?Sized> RmiCalls for R {}

/// Whether the contents of a page become part of the initial measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Measure {
    /// Only that there is a page.
    No = 0,
    /// The contents too.
    Contents = 1,
}

fn status(reply: &[u64; REGISTERS]) -> Result<(), CallError> {
    let answer = RmiReturn::unpack(reply[0]).ok_or(CallError::Unknown(reply[0]))?;
    answer.result().map_err(CallError::Rmi)
}
