// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A monitor on the fake machine, and a Host that calls it.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod rec;

use std::cell::Cell;
use std::sync::LazyLock;
use std::sync::atomic::AtomicU64;

use rmi::{
    AddressFormat, Command, GRANULE_SIZE, GranuleAddr, Ipa, RealmParams, RmiError, RmiReturn,
    RttLevel,
};
use rmm::Monitor;
use rmm::attest::Attestation;
use rmm::attest::sign::Comb;
use rmm::limits::PLATFORM_TOKEN_BYTES;
use rmm::realm::stage2::stage2_root;
use rmm::rtt::Tree;
use rmm_fake::{FakeMachine, FakePe, FakePlatform, default_features};
use rmm_granule::{GranuleTable, StateCode};
use rmm_hal::CpuFeatures;
use zerocopy::IntoBytes;

pub(crate) const GRANULES: usize = 2048;
pub(crate) const MEMORY: u64 = 0x8000_0000;

/// The monitor, its machine, and the Host's idea of which granules are free.
pub(crate) struct World<'m> {
    pub(crate) monitor: &'m Monitor<'m>,
    pub(crate) pe: FakePe<'m>,
    next: Cell<usize>,
}

/// Runs `test` on a machine with these features and nothing to prove Realms with.
pub(crate) fn with_features(cpu: CpuFeatures, test: impl FnOnce(&World<'_>)) {
    with_attestation(cpu, None, test);
}

/// Runs `test` on the default machine, for which this platform vouches.
pub(crate) fn vouched_for(mut platform: FakePlatform, test: impl FnOnce(&World<'_>)) {
    static COMB: LazyLock<Comb> = LazyLock::new(Comb::new);
    let mut room = [0; PLATFORM_TOKEN_BYTES];
    let attestation = Attestation::obtain(&mut platform, &COMB, &mut room).unwrap();
    with_attestation(default_features(), Some(&attestation), test);
}

fn with_attestation(
    cpu: CpuFeatures,
    attestation: Option<&Attestation<'_>>,
    test: impl FnOnce(&World<'_>),
) {
    let machine = FakeMachine::new(GranuleAddr::new(MEMORY).unwrap(), GRANULES, cpu);
    let banks = [machine.bank()];
    let vmids: Vec<AtomicU64> = (0..1024).map(|_| AtomicU64::new(0)).collect();
    let granules = GranuleTable::new(&banks);
    let monitor = Monitor::new(machine.features().clone(), granules, &vmids);
    let monitor = match attestation {
        Some(attestation) => monitor.with_attestation(attestation),
        None => monitor,
    };
    test(&World {
        monitor: &monitor,
        pe: FakePe::new(&machine),
        next: Cell::new(1024),
    });
}

/// Runs `test` on the default machine.
pub(crate) fn world(test: impl FnOnce(&World<'_>)) {
    with_features(default_features(), test);
}

impl<'m> World<'m> {
    pub(crate) fn machine(&self) -> &'m FakeMachine {
        self.pe.machine()
    }

    /// Returns the registers of the reply.
    pub(crate) fn registers(&self, command: Command) -> [u64; 8] {
        let reply = self.monitor.handle(&self.pe, &command.encode());
        assert_eq!(self.pe.views(), 0, "{command:?} leaves a granule mapped");
        reply
    }

    /// Returns the outputs, or the failure. Of the other registers x1 to x3 are zero, the rest is kept.
    pub(crate) fn call<const N: usize>(&self, command: Command) -> Result<[u64; N], RmiError> {
        let reply = self.registers(command);
        let kept = command.encode();
        for n in N + 1..8 {
            assert_eq!(reply[n], if n < 4 { 0 } else { kept[n] }, "x{n}");
        }
        let outputs = reply[1..=N].try_into().unwrap();
        RmiReturn::unpack(reply[0])
            .unwrap()
            .result()
            .map(|()| outputs)
    }

    /// Calls a command without outputs.
    pub(crate) fn run(&self, command: Command) -> Result<(), RmiError> {
        self.call::<0>(command).map(|_| ())
    }

    /// Returns a granule that nobody uses.
    pub(crate) fn fresh(&self) -> GranuleAddr {
        let n = self.next.get();
        self.next.set(n + 1);
        self.machine().granule(n)
    }

    /// Delegates a granule.
    pub(crate) fn delegate(&self, granule: GranuleAddr) -> u64 {
        let addr = granule.raw();
        self.run(Command::GranuleDelegate { addr }).unwrap();
        addr
    }

    /// Returns a delegated granule.
    pub(crate) fn delegated(&self) -> u64 {
        self.delegate(self.fresh())
    }

    /// Returns the state and the count of a granule.
    pub(crate) fn state(&self, at: u64) -> (StateCode, u16) {
        let at = GranuleAddr::new(at).unwrap();
        self.monitor.granules().peek(at.phys()).unwrap()
    }

    /// Asserts that a granule is unused and wiped.
    pub(crate) fn assert_delegated(&self, at: u64) {
        assert_eq!(self.state(at), (StateCode::Delegated, 0));
        assert!(self.machine().is_zero(GranuleAddr::new(at).unwrap()));
    }

    /// Writes a Host page.
    pub(crate) fn write_page(&self, bytes: &[u8]) -> u64 {
        let page = self.fresh();
        self.machine().host_write(page, 0, bytes).unwrap();
        page.raw()
    }

    /// Creates a Realm and returns it.
    pub(crate) fn realm(&self, shape: Shape) -> Realm<'_, 'm> {
        let rd = self.delegated();
        self.realm_at(rd, shape).unwrap()
    }

    /// Creates a Realm whose descriptor is at `rd`.
    pub(crate) fn realm_at(&self, rd: u64, shape: Shape) -> Result<Realm<'_, 'm>, RmiError> {
        let tables = usize::try_from(shape.tables).unwrap();
        self.next
            .set(self.next.get().next_multiple_of(tables.max(1)));
        let roots: Vec<u64> = (0..tables).map(|_| self.delegated()).collect();
        let params = shape.params(roots[0]);
        let params_ptr = self.write_page(params.as_bytes());
        self.run(Command::RealmCreate { rd, params_ptr })?;
        Ok(Realm {
            world: self,
            rd,
            roots,
            shape,
        })
    }
}

/// What a test Realm looks like.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) flags: u64,
    pub(crate) s2sz: u8,
    pub(crate) start: i64,
    pub(crate) tables: u32,
    pub(crate) vmid: u16,
}

impl Shape {
    pub(crate) const DEFAULT: Self = Self {
        flags: 0,
        s2sz: 40,
        start: 0,
        tables: 1,
        vmid: 1,
    };

    pub(crate) fn params(self, rtt_base: u64) -> RealmParams {
        let mut params = RealmParams::default();
        params.flags = self.flags;
        params.s2sz = self.s2sz;
        params.num_bps = 5;
        params.num_wps = 3;
        if self.flags & 0b100 != 0 {
            params.pmu_num_ctrs = 6;
        }
        params.rpv = [0x42; 64];
        params.vmid = self.vmid;
        params.rtt_base = rtt_base;
        params.rtt_level_start = self.start;
        params.rtt_num_start = self.tables;
        params
    }

    /// The first unprotected address.
    pub(crate) fn shared(self) -> u64 {
        1 << (self.s2sz - 1)
    }
}

/// A Realm under construction.
pub(crate) struct Realm<'w, 'm> {
    pub(crate) world: &'w World<'m>,
    pub(crate) rd: u64,
    pub(crate) roots: Vec<u64>,
    pub(crate) shape: Shape,
}

impl Realm<'_, '_> {
    /// Creates the tables for `ipa` from below the start down to `level`; returns them, root first.
    pub(crate) fn tables_to(&self, ipa: u64, level: i64) -> Vec<u64> {
        (self.shape.start + 1..=level)
            .map(|level| self.table(ipa, level))
            .collect()
    }

    /// Creates one table.
    pub(crate) fn table(&self, ipa: u64, level: i64) -> u64 {
        let rtt = self.world.delegated();
        let parent = RttLevel::new(level - 1).unwrap();
        let ipa = ipa & !(parent.block_size() - 1);
        let rd = self.rd;
        let level = level.cast_unsigned();
        let create = Command::RttCreate {
            rd,
            rtt,
            ipa,
            level,
        };
        self.world.run(create).unwrap();
        rtt
    }

    /// Adds a page of unknown contents.
    pub(crate) fn page(&self, ipa: u64) -> u64 {
        let data = self.world.delegated();
        let rd = self.rd;
        self.world
            .run(Command::DataCreateUnknown { rd, data, ipa })
            .unwrap();
        data
    }

    /// Reads an entry.
    pub(crate) fn entry(&self, ipa: u64, level: i64) -> [u64; 4] {
        let (rd, level) = (self.rd, level.cast_unsigned());
        self.world
            .call(Command::RttReadEntry { rd, ipa, level })
            .unwrap()
    }

    /// Declares memory.
    pub(crate) fn init_ripas(&self, base: u64, top: u64) -> Result<u64, RmiError> {
        let rd = self.rd;
        let [out] = self.world.call(Command::RttInitRipas { rd, base, top })?;
        Ok(out)
    }

    /// Returns the shape of the Realm's tables.
    pub(crate) fn tree(&self) -> Tree {
        let shape = self.shape;
        let base = GranuleAddr::new(self.roots[0]).unwrap();
        let start = RttLevel::new(shape.start).unwrap();
        let format = if shape.flags & 1 != 0 {
            AddressFormat::Bits52
        } else {
            AddressFormat::Bits48
        };
        Tree::new(base, start, shape.tables, shape.s2sz, format, 52).unwrap()
    }

    /// Returns where the hardware of a running Realm would get to, through the TLB.
    pub(crate) fn translate(&self, ipa: u64) -> Option<u64> {
        let cpu = self.world.monitor.cpu();
        let root = stage2_root(&self.tree(), self.shape.vmid, cpu);
        let page = self.world.pe.translate(&root, Ipa::new(ipa));
        page.map(GranuleAddr::raw)
    }

    /// Makes a table of consecutive pages, so that it can be folded; returns the first.
    pub(crate) fn block_of_pages(&self, ipa: u64) -> u64 {
        let first = self.world.machine().granule(512).raw();
        for n in 0..512 {
            let granule = self.world.machine().granule(512 + n);
            let data = self.world.delegate(granule);
            let ipa = ipa + u64::try_from(n).unwrap() * PAGE;
            let rd = self.rd;
            let create = Command::DataCreateUnknown { rd, data, ipa };
            self.world.run(create).unwrap();
        }
        first
    }

    /// Removes a table.
    pub(crate) fn destroy_table(&self, ipa: u64, level: i64) -> [u64; 8] {
        let (rd, level) = (self.rd, level.cast_unsigned());
        self.world.registers(Command::RttDestroy { rd, ipa, level })
    }

    /// Folds a table.
    pub(crate) fn fold(&self, ipa: u64, level: i64) -> Result<u64, RmiError> {
        let (rd, level) = (self.rd, level.cast_unsigned());
        let [rtt] = self.world.call(Command::RttFold { rd, ipa, level })?;
        Ok(rtt)
    }

    /// Maps memory of the Host.
    pub(crate) fn map(&self, ipa: u64, level: i64, desc: u64) -> Result<(), RmiError> {
        let rd = self.rd;
        let level = level.cast_unsigned();
        self.world.run(Command::RttMapUnprotected {
            rd,
            ipa,
            level,
            desc,
        })
    }

    /// Unmaps memory of the Host; returns the registers.
    pub(crate) fn unmap(&self, ipa: u64, level: i64) -> [u64; 8] {
        let (rd, level) = (self.rd, level.cast_unsigned());
        let unmap = Command::RttUnmapUnprotected { rd, ipa, level };
        self.world.registers(unmap)
    }

    pub(crate) fn activate(&self) {
        let rd = self.rd;
        self.world.run(Command::RealmActivate { rd }).unwrap();
    }

    pub(crate) fn destroy(&self) -> Result<(), RmiError> {
        let rd = self.rd;
        self.world.run(Command::RealmDestroy { rd })
    }
}

/// `RMI_ERROR_RTT` at a level.
pub(crate) fn rtt(level: i64) -> RmiError {
    RmiError::Rtt(RttLevel::new(level).unwrap())
}

/// x0 of `RMI_ERROR_RTT` at a level.
pub(crate) fn rtt_status(level: i64) -> u64 {
    rtt(level).pack()
}

/// The attributes of ordinary memory of the Host in a descriptor.
pub(crate) const WRITE_BACK: u64 = 0b110 << 2 | 0b11 << 6;

pub(crate) const PAGE: u64 = GRANULE_SIZE;
pub(crate) const L2: u64 = 0x20_0000;
pub(crate) const L1: u64 = 0x4000_0000;
