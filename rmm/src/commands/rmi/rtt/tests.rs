// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RMI_RTT_SET_RIPAS` on a REC that was never run: the request is written by hand.

extern crate std;

use std::sync::atomic::AtomicU64;
use std::vec::Vec;

use rmi::{Command, PhysAddr, RealmParams, RecMpidr};
use rmm_fake::{FakeMachine, FakePe, default_features};
use rmm_granule::GranuleTable;
use zerocopy::IntoBytes;

use super::*;
use crate::rec::{RipasRequest, Runnable};

const PAGE: u64 = GRANULE_SIZE;
const BLOCK: u64 = 0x20_0000;
const RAM: u64 = 1;

/// Granules of the fake machine, by what the test uses them for.
const RD: usize = 0;
const ROOT: usize = 1;
const PARAMS: usize = 2;
const REC: usize = 3;
const TABLES: usize = 4;
const OTHER_RD: usize = 8;

struct Host<'m> {
    monitor: &'m Monitor<'m>,
    pe: FakePe<'m>,
}

impl Host<'_> {
    fn at(&self, n: usize) -> u64 {
        self.pe.machine().granule(n).raw()
    }

    fn run(&self, command: Command) {
        let [status, ..] = self.monitor.handle(&self.pe, &command.encode());
        assert_eq!(status, 0, "{command:?}");
    }

    fn delegate(&self, n: usize) -> u64 {
        let addr = self.at(n);
        self.run(Command::GranuleDelegate { addr });
        addr
    }

    fn create_realm(&self, rd: usize, root: usize, vmid: u16) {
        let rtt_base = self.delegate(root);
        let mut params = RealmParams::default();
        params.s2sz = 40;
        params.num_bps = 1;
        params.num_wps = 1;
        params.vmid = vmid;
        params.rtt_base = rtt_base;
        params.rtt_num_start = 1;
        let machine = self.pe.machine();
        machine
            .host_write(machine.granule(PARAMS), 0, params.as_bytes())
            .unwrap();
        let (rd, params_ptr) = (self.delegate(rd), self.at(PARAMS));
        self.run(Command::RealmCreate { rd, params_ptr });
    }

    /// Makes a REC of the Realm that asks for a change.
    fn create_rec(&self, request: RipasRequest) {
        let mut rec = self
            .monitor
            .lock::<Delegated>(self.delegate(REC))
            .unwrap()
            .into_state::<RecState>();
        let owner = self.pe.machine().granule(RD);
        let mpidr = RecMpidr::from_index(0).unwrap();
        rec.map_header(&self.pe).init(owner, mpidr, Runnable::Yes);
        rec.map_idle(&self.pe).unwrap().set_ripas_request(request);
    }

    fn create_tables(&self) {
        for (n, level) in (TABLES..).zip(1..=3) {
            let (rd, rtt) = (self.at(RD), self.delegate(n));
            self.run(Command::RttCreate {
                rd,
                rtt,
                ipa: 0,
                level,
            });
        }
    }

    fn set(&self, base: u64, top: u64) -> Result<u64, RmiError> {
        let (rd, rec) = (self.at(RD), self.at(REC));
        set_ripas(self.monitor, &self.pe, rd, rec, base, top).map(|[out]| out)
    }

    fn ripas(&self, ipa: u64) -> u64 {
        let [_, _, _, ripas] = read_entry(self.monitor, &self.pe, self.at(RD), ipa, 3).unwrap();
        ripas
    }
}

fn with_rec(request: RipasRequest, test: impl FnOnce(&Host<'_>)) {
    let base = rmi::GranuleAddr::new(0x8000_0000).unwrap();
    let machine = FakeMachine::new(base, 16, default_features());
    let banks = [machine.bank()];
    let vmids: Vec<AtomicU64> = (0..1024).map(|_| AtomicU64::new(0)).collect();
    let granules = GranuleTable::new(&banks);
    let monitor = Monitor::new(default_features(), granules, &vmids);
    let host = Host {
        monitor: &monitor,
        pe: FakePe::new(&machine),
    };
    host.create_realm(RD, ROOT, 1);
    host.create_tables();
    host.create_rec(request);
    test(&host);
}

fn request(base: u64, top: u64, value: Ripas) -> RipasRequest {
    RipasRequest {
        base,
        top,
        value,
        may_change_destroyed: false,
    }
}

#[test]
fn set_ripas_serves_the_request_step_by_step() {
    with_rec(request(PAGE, 2 * BLOCK, Ripas::Ram), |host| {
        assert_eq!(host.set(PAGE, 3 * PAGE), Ok(3 * PAGE));
        assert_eq!(host.set(PAGE, 3 * PAGE), Err(RmiError::Input));
        assert_eq!(host.set(3 * PAGE, 2 * BLOCK), Ok(BLOCK));
        assert_eq!(host.ripas(PAGE), RAM);
        assert_eq!(host.ripas(0), 0);
        assert_eq!(host.set(BLOCK, 2 * BLOCK + PAGE), Err(RmiError::Input));
        assert_eq!(host.set(BLOCK, 2 * BLOCK), Ok(2 * BLOCK));
        assert_eq!(host.ripas(2 * BLOCK - PAGE), RAM);
        assert_eq!(host.set(2 * BLOCK, 2 * BLOCK), Err(RmiError::Input));
    });
}

#[test]
fn set_ripas_base_align_and_no_progress() {
    with_rec(request(BLOCK + PAGE, 3 * BLOCK, Ripas::Ram), |host| {
        let level_2 = Err(RmiError::Rtt(RttLevel::LEVEL_2));
        assert_eq!(host.set(BLOCK + PAGE, 3 * BLOCK), level_2);
        assert_eq!(host.set(BLOCK + PAGE + 8, 3 * BLOCK), Err(RmiError::Input));
        assert_eq!(host.set(BLOCK + PAGE, 2 * BLOCK + 8), Err(RmiError::Input));
    });
    with_rec(request(BLOCK, BLOCK + PAGE, Ripas::Ram), |host| {
        let level_2 = Err(RmiError::Rtt(RttLevel::LEVEL_2));
        assert_eq!(host.set(BLOCK, BLOCK + PAGE), level_2);
    });
    with_rec(request(BLOCK, BLOCK + PAGE, Ripas::Empty), |host| {
        assert_eq!(host.set(BLOCK, BLOCK + PAGE), Ok(BLOCK + PAGE));
    });
}

#[test]
fn set_ripas_makes_memory_appear_and_vanish() {
    with_rec(request(0, PAGE, Ripas::Ram), |host| {
        let data = host.delegate(12);
        let rd = host.at(RD);
        host.run(Command::DataCreateUnknown { rd, data, ipa: 0 });
        assert_eq!(host.set(0, PAGE), Ok(PAGE));
        let root = tables_of(&host.monitor.lock(rd).unwrap(), &host.pe).stage2;
        let seen = || host.pe.translate(&root, Ipa::new(0)).map(|page| page.raw());
        assert_eq!(seen(), Some(data));
        let mut rec = host.monitor.lock::<RecState>(host.at(REC)).unwrap();
        let back = request(0, PAGE, Ripas::Empty);
        rec.map_idle(&host.pe).unwrap().set_ripas_request(back);
        drop(rec);
        assert_eq!(host.set(0, PAGE), Ok(PAGE));
        assert_eq!(seen(), None);
        let table = host
            .monitor
            .granules()
            .peek(PhysAddr::new(host.at(TABLES + 2)));
        assert_eq!(table.map(|(_, count)| count), Some(1));
    });
}

#[test]
fn set_ripas_refuses_in_order() {
    with_rec(request(0, BLOCK, Ripas::Ram), |host| {
        let call = |rd, rec, base, top| set_ripas(host.monitor, &host.pe, rd, rec, base, top);
        let (rd, rec) = (host.at(RD), host.at(REC));
        for (rd, rec, base, top) in [
            (rd, rec, PAGE, PAGE),
            (rd, rec, PAGE, 0),
            (rd, rec, 0, 8),
            (rd, rd, 0, PAGE),
            (rec, rec, 0, PAGE),
            (rd + 8, rec, 0, PAGE),
            (rd, rec + 8, 0, PAGE),
            (rd, 0, 0, PAGE),
        ] {
            assert_eq!(call(rd, rec, base, top), Err(RmiError::Input));
        }
        host.create_realm(OTHER_RD, OTHER_RD + 1, 2);
        let other = host.at(OTHER_RD);
        assert_eq!(call(other, rec, 0, PAGE), Err(RmiError::Rec));
        assert_eq!(call(other, rec, 0, 8), Err(RmiError::Input));
        let in_use = host.monitor.lock::<RecState>(rec).unwrap().pin().unwrap();
        assert_eq!(call(rd, rec, 8, PAGE), Err(RmiError::Rec));
        drop(in_use);
        assert_eq!(call(rd, rec, 8, PAGE), Err(RmiError::Input));
        assert_eq!(call(rd, rec, 0, PAGE), Ok([PAGE]));
    });
}
