// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The command table: every RMI command with its number, its name, its inputs and its outputs.
//!
//! One table is expanded into [`CommandId`], which names a command, and [`Command`], which is a
//! call with its arguments. The arguments are register values and nothing has been checked about
//! them. Inputs are in x1 and up, outputs too, with the status in x0.

use crate::smccc::fid_of;

/// The number of registers that carry a call and its reply: x0 to x7.
pub const REGISTERS: usize = 8;

/// When a call of a command is worth a line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogPolicy {
    /// Each call: it is a step in the life of a Realm.
    Always,
    /// Only a call that fails: a Host makes as many as there are pages or exits.
    Failure,
}

/// Expands the table into the two enums and their conversions.
macro_rules! commands {
    ($(
        $(#[doc = $doc:literal])+
        $variant:ident = $fid:literal, $name:literal,
        ($($input:ident),*) -> ($($output:ident),*), $log:ident;
    )+) => {
        /// The name of a command.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum CommandId {
            $(
                $(#[doc = $doc])+
                $variant,
            )+
        }

        impl CommandId {
            /// Every command, in the order of the function identifiers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The number of commands.
            pub const COUNT: usize = Self::ALL.len();

            /// Returns the command that `x0` calls, whatever its SVE hint.
            #[must_use]
            pub const fn from_fid(x0: u64) -> Option<Self> {
                match fid_of(x0) {
                    $($fid => Some(Self::$variant),)+
                    _ => None,
                }
            }

            /// Returns the position of the command in [`Self::ALL`], for tables of counters.
            #[must_use]
            pub fn index(self) -> usize {
                let position = Self::ALL.iter().position(|command| *command == self);
                position.expect("the list has every command")
            }

            /// Returns the function identifier.
            #[must_use]
            pub const fn fid(self) -> u64 {
                match self {
                    $(Self::$variant => $fid,)+
                }
            }

            /// Returns the name that the specification gives to the command.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// Returns the names of the inputs, from x1 up.
            #[must_use]
            pub const fn inputs(self) -> &'static [&'static str] {
                match self {
                    $(Self::$variant => &[$(stringify!($input)),*],)+
                }
            }

            /// Returns the names of the outputs, from x1 up.
            #[must_use]
            pub const fn outputs(self) -> &'static [&'static str] {
                match self {
                    $(Self::$variant => &[$(stringify!($output)),*],)+
                }
            }

            /// Returns which calls are worth a line of the log.
            #[must_use]
            pub const fn log_policy(self) -> LogPolicy {
                match self {
                    $(Self::$variant => LogPolicy::$log,)+
                }
            }
        }

        /// A call of a command, with the register values of its arguments.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "the fields are named and explained by the specification")]
        pub enum Command {
            $(
                $(#[doc = $doc])+
                $variant { $($input: u64),* },
            )+
        }

        impl Command {
            /// Reads a call from x0 to x7, or returns nothing if it is of no known command.
            #[must_use]
            pub const fn decode(registers: &[u64; REGISTERS]) -> Option<Self> {
                let [x0, ..] = *registers;
                let Some(id) = CommandId::from_fid(x0) else {
                    return None;
                };
                Some(match id {
                    $(CommandId::$variant => {
                        let [_, $($input,)* ..] = *registers;
                        Self::$variant { $($input),* }
                    })+
                })
            }

            /// Returns the call as the values of x0 to x7.
            #[must_use]
            pub fn encode(&self) -> [u64; REGISTERS] {
                let mut registers = [0; REGISTERS];
                match *self {
                    $(Self::$variant { $($input),* } => {
                        let words = [$fid, $($input),*];
                        for (register, word) in registers.iter_mut().zip(words) {
                            *register = word;
                        }
                    })+
                }
                registers
            }

            /// Returns the name of the command.
            #[must_use]
            pub const fn id(&self) -> CommandId {
                match *self {
                    $(Self::$variant { .. } => CommandId::$variant,)+
                }
            }
        }
    };
}

commands! {
    /// Negotiates the version of the interface.
    Version = 0xC400_0150, "RMI_VERSION", (req) -> (lower, higher), Always;
    /// Gives a granule of the Host to the Realm world.
    GranuleDelegate = 0xC400_0151, "RMI_GRANULE_DELEGATE", (addr) -> (), Failure;
    /// Takes an unused granule back for the Host.
    GranuleUndelegate = 0xC400_0152, "RMI_GRANULE_UNDELEGATE", (addr) -> (), Failure;
    /// Adds a measured or unmeasured page with contents from the Host to a new Realm.
    DataCreate = 0xC400_0153, "RMI_DATA_CREATE", (rd, data, ipa, src, flags) -> (), Failure;
    /// Adds a page without defined contents to a Realm.
    DataCreateUnknown = 0xC400_0154, "RMI_DATA_CREATE_UNKNOWN", (rd, data, ipa) -> (), Failure;
    /// Removes a page from a Realm.
    DataDestroy = 0xC400_0155, "RMI_DATA_DESTROY", (rd, ipa) -> (data, top), Failure;
    /// Freezes the initial measurement of a Realm and lets it run.
    RealmActivate = 0xC400_0157, "RMI_REALM_ACTIVATE", (rd) -> (), Always;
    /// Creates a Realm.
    RealmCreate = 0xC400_0158, "RMI_REALM_CREATE", (rd, params_ptr) -> (), Always;
    /// Destroys a Realm that owns nothing any more.
    RealmDestroy = 0xC400_0159, "RMI_REALM_DESTROY", (rd) -> (), Always;
    /// Creates a REC: a virtual processor of a Realm.
    RecCreate = 0xC400_015A, "RMI_REC_CREATE", (rd, rec, params_ptr) -> (), Always;
    /// Destroys a REC.
    RecDestroy = 0xC400_015B, "RMI_REC_DESTROY", (rec) -> (), Always;
    /// Runs a REC until it needs the Host.
    RecEnter = 0xC400_015C, "RMI_REC_ENTER", (rec, run_ptr) -> (), Failure;
    /// Adds a translation table.
    RttCreate = 0xC400_015D, "RMI_RTT_CREATE", (rd, rtt, ipa, level) -> (), Failure;
    /// Removes a translation table.
    RttDestroy = 0xC400_015E, "RMI_RTT_DESTROY", (rd, ipa, level) -> (rtt, top), Failure;
    /// Maps memory of the Host at an unprotected address.
    RttMapUnprotected = 0xC400_015F, "RMI_RTT_MAP_UNPROTECTED",
        (rd, ipa, level, desc) -> (), Failure;
    /// Reads what a translation table says of an address.
    RttReadEntry = 0xC400_0161, "RMI_RTT_READ_ENTRY",
        (rd, ipa, level) -> (walk_level, state, desc, ripas), Failure;
    /// Removes the mapping of an unprotected address.
    RttUnmapUnprotected = 0xC400_0162, "RMI_RTT_UNMAP_UNPROTECTED",
        (rd, ipa, level) -> (top), Failure;
    /// Answers a PSCI call that names another REC.
    PsciComplete = 0xC400_0164, "RMI_PSCI_COMPLETE",
        (calling_rec, target_rec, status) -> (), Failure;
    /// Reads a feature register.
    Features = 0xC400_0165, "RMI_FEATURES", (index) -> (value), Always;
    /// Replaces a uniform translation table by one entry of its parent.
    RttFold = 0xC400_0166, "RMI_RTT_FOLD", (rd, ipa, level) -> (rtt), Failure;
    /// Reads how many auxiliary granules a REC of a Realm needs.
    RecAuxCount = 0xC400_0167, "RMI_REC_AUX_COUNT", (rd) -> (count), Always;
    /// Declares addresses of a new Realm to be memory.
    RttInitRipas = 0xC400_0168, "RMI_RTT_INIT_RIPAS", (rd, base, top) -> (out_top), Failure;
    /// Applies a change of address state that a Realm asked for.
    RttSetRipas = 0xC400_0169, "RMI_RTT_SET_RIPAS", (rd, rec, base, top) -> (out_top), Failure;
}
