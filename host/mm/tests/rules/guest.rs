// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! A guest of a normal VM: translates addresses the way the architecture does, through a TLB that
//! never forgets by itself, and asks the host when it cannot.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use host_mm::addr::{PAGE_SIZE, Pfn};
use host_mm::fault::{Fault, FaultClass, FaultError};
use host_mm::host::Host;
use host_mm::realm::Geometry;
use host_mm::stage2::Stage2;
use host_mm::vm::{CpuFacts, Guest, VcpuMemory, Vm};
use rmi::Ipa;

use crate::machine::{FakeMachine, this_cpu};

pub(crate) const VMID: u16 = 7;

/// How long an access may take before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a fault may be served in vain: whoever takes pages away can be faster a few times.
const FRUITLESS: u32 = 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write(u64),
    Fetch,
}

/// A leaf as the walker of the MMU sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Walked {
    pub(crate) raw: u64,
    pub(crate) level: i64,
}

impl Walked {
    /// First byte of the block or page.
    pub(crate) fn output(self) -> u64 {
        self.raw & 0x0000_FFFF_FFFF_F000
    }

    fn size(self) -> u64 {
        1 << (12 + 9 * (3 - self.level))
    }

    pub(crate) fn writable(self) -> bool {
        self.raw & 1 << 7 != 0
    }

    pub(crate) fn executable(self) -> bool {
        self.raw & 1 << 54 == 0
    }
}

/// Reads the tables as the Arm ARM says, written independently of the walker under test: the leaf,
/// or the level where there was none.
pub(crate) fn walk(
    machine: &FakeMachine,
    vm: &Vm<'_, FakeMachine>,
    ipa: u64,
) -> Result<Walked, i64> {
    let root = vm.stage2().unwrap().root();
    let mut level = root.level.raw();
    let mut shift = 39 - 9 * level;
    // Concatenated starting tables: the first index has more than nine bits.
    let mut entry = root.table.address() + (ipa >> shift) * 8;
    loop {
        let raw = machine.word(entry);
        if raw & 1 == 0 {
            return Err(level);
        }
        match (level, raw & 2 != 0) {
            (3, true) => return Ok(Walked { raw, level }),
            (1 | 2, false) => return Ok(Walked { raw, level }),
            (0..=2, true) => (),
            other => panic!("reserved descriptor {raw:#x} at {other:?}"),
        }
        level += 1;
        shift -= 9;
        let table = raw & 0x0000_FFFF_FFFF_F000;
        entry = table + (ipa >> shift & 0x1FF) * 8;
    }
}

/// One access: through the TLB, else through the tables. The word accessed, or the fault.
pub(crate) fn try_access(vm: &Vm<'_, FakeMachine>, ipa: u64, access: Access) -> Result<u64, Fault> {
    let machine = vm.host().machine();
    // Held over the access: an invalidation waits for accesses under way.
    let mut tlb = machine.tlb.lock().unwrap();
    let key = (VMID, ipa / PAGE_SIZE, this_cpu());
    let fault = |class, level| Fault {
        ipa: Ipa::new(ipa).align_down(PAGE_SIZE),
        low_bits: ipa % PAGE_SIZE,
        class,
        write: matches!(access, Access::Write(_)),
        fetch: access == Access::Fetch,
        level,
    };
    let leaf = match tlb.get(&key) {
        Some((raw, level)) => Walked {
            raw: *raw,
            level: *level,
        },
        None => walk(machine, vm, ipa).map_err(|level| fault(FaultClass::Translation, level))?,
    };
    if leaf.raw & 1 << 10 == 0 {
        return Err(fault(FaultClass::AccessFlag, leaf.level));
    }
    tlb.insert(key, (leaf.raw, leaf.level));
    let allowed = match access {
        Access::Read => leaf.raw & 1 << 6 != 0,
        Access::Write(_) => leaf.writable(),
        Access::Fetch => leaf.executable(),
    };
    if !allowed {
        return Err(fault(FaultClass::Permission, leaf.level));
    }
    let address = leaf.output() + ipa % leaf.size();
    if vm.host().pages().has(Pfn::containing(address)) {
        let references = vm.host().pages().references(Pfn::containing(address));
        assert!(
            references > 0,
            "the guest reached the free page {address:#x}"
        );
        if let Access::Write(value) = access {
            machine.set_word(address & !7, value);
        }
        return Ok(machine.word(address & !7));
    }
    Ok(0)
}

/// Accesses until the host has made it possible. The host must not say again and again that it has,
/// without a race to blame it on, while it has not.
pub(crate) fn access(
    vm: &Vm<'_, FakeMachine>,
    vcpu: &mut VcpuMemory<'_>,
    ipa: u64,
    access: Access,
) -> Result<u64, FaultError> {
    // A limit of time: on a busy machine the thread that invalidates may not run for long.
    let start = Instant::now();
    let mut fruitless = 0;
    while start.elapsed() < PATIENCE {
        let retried = vm.counters().retried.get();
        match try_access(vm, ipa, access) {
            Ok(value) => return Ok(value),
            Err(fault) => vm.handle_fault(vcpu, &fault)?,
        }
        if vm.counters().retried.get() == retried {
            fruitless += 1;
            assert!(fruitless < FRUITLESS, "{ipa:#x} faults {fruitless} times");
        }
        if vm.counters().retried.get() > 0 {
            // A CPU of a machine has time; a thread of a test gives others theirs.
            std::thread::yield_now();
        }
    }
    panic!("no progress at {ipa:#x}");
}

/// Accesses on a vCPU of its own.
pub(crate) fn once(vm: &Vm<'_, FakeMachine>, ipa: u64, kind: Access) -> Result<u64, FaultError> {
    access(vm, &mut vm.new_vcpu(), ipa, kind)
}

/// A normal VM with an IPA width of 40 bits and no memory.
pub(crate) fn normal(host: &Host<FakeMachine>, cpu: CpuFacts) -> Vm<'_, FakeMachine> {
    let stage2 = Stage2::new(host, Geometry::new(40).unwrap(), VMID, cpu).unwrap();
    Vm::new(host, Guest::Normal(stage2), cpu)
}

/// The leaf that maps `ipa` now.
pub(crate) fn leaf(vm: &Vm<'_, FakeMachine>, ipa: u64) -> Option<Walked> {
    walk(vm.host().machine(), vm, ipa).ok()
}

/// The word of physical memory at `address`.
pub(crate) fn word(vm: &Vm<'_, FakeMachine>, address: u64) -> u64 {
    let index = usize::try_from(address % PAGE_SIZE / 8).unwrap();
    vm.host().machine().dram.any_words(address)[index].load(Ordering::SeqCst)
}
