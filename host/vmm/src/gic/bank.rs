// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The state of 32 interrupts, one bit of each word per interrupt.
//!
//! An interrupt is *pending* when its latch is set (an edge came, or software said so) or, for a
//! level-sensitive one, while its line is high. While it sits in a list register the hardware owns
//! its pending and active state: it is *listed*, and a latch that went along is kept aside until
//! the list register comes back.

/// Priority bits that exist (GICv3 virtual interfaces have at least five).
const PRIORITY_MASK: u8 = 0xF8;

/// A register of a bank that the guest can see, as it appears in both GIC frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Register {
    Group,
    SetEnable,
    ClearEnable,
    SetPending,
    ClearPending,
    SetActive,
    ClearActive,
    /// Eight words of four priorities; the number is the word.
    Priority(usize),
    /// Two words of sixteen interrupts; the number is the word.
    Configuration(usize),
}

impl Register {
    /// Finds the register at an offset, and the bank it belongs to.
    ///
    /// The offsets are those of the distributor; a redistributor's SGI frame uses the same ones for
    /// its single bank.
    pub(super) fn at(offset: u64) -> Option<(usize, Self)> {
        let index = (offset & 0x7F) as usize / 4;
        let register = match offset & !0x7F {
            0x080 => (index, Self::Group),
            0x100 => (index, Self::SetEnable),
            0x180 => (index, Self::ClearEnable),
            0x200 => (index, Self::SetPending),
            0x280 => (index, Self::ClearPending),
            0x300 => (index, Self::SetActive),
            0x380 => (index, Self::ClearActive),
            0x400..0x800 => {
                let word = (offset - 0x400) as usize / 4;
                (word / 8, Self::Priority(word % 8))
            }
            0xC00..0xD00 => {
                let word = (offset - 0xC00) as usize / 4;
                (word / 2, Self::Configuration(word % 2))
            }
            _ => return None,
        };
        Some(register)
    }
}

/// The interrupts of a bank that have their configuration fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// SGIs, which are edges, and PPIs, which are levels.
    Private,
    /// SPIs, which software configures.
    Shared,
}

#[derive(Clone, Debug)]
pub(super) struct Bank {
    kind: Kind,
    group: u32,
    enabled: u32,
    latched: u32,
    line: u32,
    active: u32,
    edge: u32,
    priority: [u8; 32],
    listed: u32,
    listed_latch: u32,
    deactivated: u32,
}

/// One interrupt as it goes into a list register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) is_active: bool,
    pub(super) is_pending: bool,
    pub(super) is_edge: bool,
    pub(super) is_group_1: bool,
    pub(super) priority: u8,
}

impl Bank {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            group: 0,
            enabled: 0,
            latched: 0,
            line: 0,
            active: 0,
            edge: match kind {
                Kind::Private => 0xFFFF,
                Kind::Shared => 0,
            },
            priority: [0; 32],
            listed: 0,
            listed_latch: 0,
            deactivated: 0,
        }
    }

    /// Reads a register.
    pub(super) fn read(&self, register: Register) -> u32 {
        match register {
            Register::Group => self.group,
            Register::SetEnable | Register::ClearEnable => self.enabled,
            Register::SetPending | Register::ClearPending => self.pending() | self.listed_latch,
            Register::SetActive | Register::ClearActive => self.active,
            Register::Priority(word) => (0..4).fold(0, |value, i| {
                value | u32::from(self.priority[word * 4 + i]) << (8 * i)
            }),
            Register::Configuration(word) => {
                let edge = self.edge >> (16 * word);
                (0..16).fold(0, |value, i| value | (edge >> i & 1) << (2 * i + 1))
            }
        }
    }

    /// Writes the bytes of a register that `mask` covers.
    ///
    /// Returns the interrupts whose delivery may be affected.
    pub(super) fn write(&mut self, register: Register, value: u32, mask: u32) -> u32 {
        let bits = value & mask;
        match register {
            Register::Group => {
                let old = self.group;
                self.group = old & !mask | bits;
                old ^ self.group
            }
            Register::SetEnable => {
                self.enabled |= bits;
                bits
            }
            Register::ClearEnable => {
                self.enabled &= !bits;
                bits
            }
            Register::SetPending => {
                self.latched |= bits;
                bits
            }
            Register::ClearPending => {
                self.latched &= !bits;
                self.listed_latch &= !bits;
                bits
            }
            Register::SetActive => {
                self.active |= bits;
                self.deactivated &= !bits;
                bits
            }
            Register::ClearActive => {
                self.deactivate(bits);
                bits
            }
            Register::Priority(word) => {
                for i in 0..4 {
                    if mask >> (8 * i) & 0xFF != 0 {
                        self.priority[word * 4 + i] = (value >> (8 * i)) as u8 & PRIORITY_MASK;
                    }
                }
                0
            }
            Register::Configuration(word) => {
                if self.kind == Kind::Shared {
                    for i in 0..16 {
                        let (bit, field) = (1 << (16 * word + i), 2 << (2 * i));
                        if bits & field != 0 {
                            self.edge |= bit;
                        } else if mask & field != 0 {
                            self.edge &= !bit;
                        }
                    }
                }
                0
            }
        }
    }

    /// Sets the line of an interrupt; tells whether that makes it newly pending.
    ///
    /// Only a level-sensitive interrupt follows its line; an edge-triggered one latches a rise.
    pub(super) fn set_line(&mut self, bit: u32, is_high: bool) -> bool {
        let was_high = self.line & bit != 0;
        if is_high {
            self.line |= bit;
        } else {
            self.line &= !bit;
        }
        let has_risen = is_high && !was_high;
        if has_risen {
            self.latched |= bit & self.edge;
        }
        has_risen
    }

    /// Latches interrupts as pending.
    pub(super) fn latch(&mut self, bits: u32) {
        self.latched |= bits;
    }

    /// Makes interrupts inactive, also where a list register still says active.
    pub(super) fn deactivate(&mut self, bits: u32) {
        self.active &= !bits;
        self.deactivated |= bits & self.listed;
    }

    pub(super) fn is_group_1(&self, bit: u32) -> bool {
        self.group & bit != 0
    }

    pub(super) fn is_active(&self, bit: u32) -> bool {
        self.active & bit != 0
    }

    pub(super) fn is_listed(&self, bit: u32) -> bool {
        self.listed & bit != 0
    }

    pub(super) fn priority(&self, index: usize) -> u8 {
        self.priority[index]
    }

    /// Returns the active interrupts that no list register holds.
    pub(super) fn active_unlisted(&self) -> u32 {
        self.active & !self.listed
    }

    /// Returns the interrupts that want a list register: active ones, and deliverable ones.
    ///
    /// `groups` selects by group: bit 0 lets group 0 through, bit 1 group 1.
    pub(super) fn wanting(&self, groups: u32) -> u32 {
        (self.active | self.deliverable(groups)) & !self.listed
    }

    /// Describes an interrupt for a list register.
    pub(super) fn candidate(&self, index: usize, groups: u32) -> Candidate {
        let bit = 1 << index;
        let is_active = self.active & bit != 0;
        let is_edge = self.edge & bit != 0;
        // A level that is active and pending at once would be taken again at the end of the
        // handler without looking at the line; it is sampled again instead.
        let may_pend = is_edge || !is_active;
        Candidate {
            is_active,
            is_pending: self.deliverable(groups) & bit != 0 && may_pend,
            is_edge,
            is_group_1: self.group & bit != 0,
            priority: self.priority[index],
        }
    }

    /// Records that an interrupt goes into a list register.
    pub(super) fn list(&mut self, bit: u32, candidate: &Candidate) {
        self.listed |= bit;
        self.deactivated &= !bit;
        if candidate.is_pending {
            self.listed_latch |= self.latched & bit;
            self.latched &= !bit;
        }
    }

    /// Takes an interrupt back from a list register.
    pub(super) fn unlist(&mut self, bit: u32, is_active: bool, is_pending: bool) {
        if is_active && self.deactivated & bit == 0 {
            self.active |= bit;
        } else {
            self.active &= !bit;
        }
        if is_pending {
            self.latched |= self.listed_latch & bit;
        }
        self.listed &= !bit;
        self.listed_latch &= !bit;
        self.deactivated &= !bit;
    }

    fn pending(&self) -> u32 {
        self.latched | self.line & !self.edge
    }

    fn deliverable(&self, groups: u32) -> u32 {
        let group_0 = if groups & 1 != 0 { !self.group } else { 0 };
        let group_1 = if groups & 2 != 0 { self.group } else { 0 };
        self.pending() & self.enabled & (group_0 | group_1)
    }
}
