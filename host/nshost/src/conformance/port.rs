// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The machine as the scenarios ask for it.

use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use aarch64_cpu::registers::{ICH_VTR_EL2, ID_AA64DFR0_EL1, ID_AA64MMFR1_EL1, Readable};
use host_mm::addr::{BLOCK_1G, PAGE_SIZE, Pfn};
use host_mm::host::Host;
use host_mm::machine::{PhysMemory, Rmi};
use host_mm::pages::{MAX_ORDER, PageUse, Wish};
use host_vmm::bundle::Options;
use host_vmm::platform::Platform;
use rmi::rec_run::REC_RUN_HALF_BYTES;
use rmi::{Command, CommandId, ExitReason, RMI_SUCCESS, RecEnter, RecExit};
use scenarios::port::{Beside, During, Keeper, Midst, Race, Tags, Then};
use scenarios::realm::{RealmAction, RealmResult};
use scenarios::vectors::HostVectors;
use scenarios::{Capabilities, Facts, Fault, Place, RmiPort};
use spin::Mutex;
use zerocopy::{FromZeros, IntoBytes};

use super::program;
use super::registers::Filled;
use super::simd::Simd;
use crate::machine::Machine;
use crate::{gic, guarded, pe, tags, timer, turns};

/// Registers of a reply that EL3 passes on: x0 to x4. It restores the others.
const REPLY_REGISTERS: usize = 5;
/// `ID_AA64DFR0_EL1.HPMN0` is the topmost field.
const HPMN0_SHIFT: u32 = 60;

/// How long a REC that another PE enters gets before it is taken to be running.
const ENTER_MILLISECONDS: u64 = 20;

/// Instructions of a turn beyond those of the call that it ends in. The other PE's call ends its own turn
/// where it invalidates TLBs; what is left of the round is enough for the call of this PE to end in one
/// more turn, so that the instructions in between are as many each time.
const SPARE: u64 = 32768;

/// The Host's side of this machine.
pub(super) struct TargetPort<'a> {
    host: &'a Host<Machine>,
    payload: &'a [u8],
    simd: Simd,
    alarm_ticks: Option<u64>,
    not_delegable: u64,
    beyond_memory: u64,
    has_exact_time: bool,
    filled: Option<Filled>,
    /// How long the last call took.
    ticks: u64,
}

impl<'a> TargetPort<'a> {
    /// Returns the port of the machine that `platform` and the run's options describe; `payload` may be
    /// empty.
    pub(super) fn new(
        host: &'a Host<Machine>,
        platform: &Platform,
        payload: &'a [u8],
        options: Options,
    ) -> Self {
        let end = platform.dram.iter().map(|range| range.end).max();
        Self {
            host,
            payload,
            simd: Simd::new(),
            alarm_ticks: None,
            not_delegable: platform.gicd,
            beyond_memory: end.unwrap_or(0).next_multiple_of(BLOCK_1G),
            has_exact_time: options.contains(Options::EXACT_TIME),
            filled: None,
            ticks: 0,
        }
    }

    /// Makes a call; one that enters a new REC is made again when the program has started.
    fn issue(&mut self, registers: [u64; 8]) -> [u64; 8] {
        loop {
            let (reply, ticks) = self.host.machine().call_timed(registers);
            self.ticks = ticks;
            let has_run = reply[0] == RMI_SUCCESS
                && CommandId::from_fid(registers[0]) == Some(CommandId::RecEnter);
            if !has_run || !program::has_just_started(&read_exit(registers)) {
                return reply;
            }
        }
    }

    /// Enters the REC on PE 1 and makes the call on this one meanwhile.
    fn call_beside(&self, enter: [u64; 8], call: [u64; 8]) -> During {
        let is_entering = AtomicBool::new(false);
        let (entered, answered) = (Mutex::new([0; 8]), Mutex::new([0; 8]));
        let machine = self.host.machine();
        pe::on_each(2, &|pe| {
            if pe == 1 {
                is_entering.store(true, Ordering::Release);
                *entered.lock() = machine.call(enter);
            } else {
                while !is_entering.load(Ordering::Acquire) {
                    core::hint::spin_loop();
                }
                timer::wait_milliseconds(ENTER_MILLISECONDS);
                *answered.lock() = machine.call(call);
                pe::kick(1);
            }
        });
        During {
            call: answered.into_inner(),
            enter: entered.into_inner(),
        }
    }
}

/// Returns the exit half of the run page that an entry was made with.
fn read_exit(enter: [u64; 8]) -> RecExit {
    let mut exit = RecExit::new_zeroed();
    if let Some(Command::RecEnter { run_ptr, .. }) = Command::decode(&enter) {
        // A page that has gone has nothing to say.
        let _ = guarded::read(run_ptr + REC_RUN_HALF_BYTES as u64, exit.as_mut_bytes());
    }
    exit
}

/// Enters a REC on this PE until it exits for something that no other entry can change; returns the
/// last reply and the number of entries.
fn enter_often(
    machine: &Machine,
    enter: [u64; 8],
    is_entering: &AtomicBool,
    is_over: &AtomicBool,
) -> ([u64; 8], usize) {
    for entries in 1.. {
        let was_over = is_over.load(Ordering::Acquire);
        is_entering.store(true, Ordering::Release);
        let reply = machine.call(enter);
        // The kick that gave this PE its work, if it was late.
        while gic::acknowledge().is_some() {}
        let exit = read_exit(enter);
        let is_again = match exit.reason() {
            Some(ExitReason::Irq) => true,
            Some(ExitReason::Sync) => !was_over,
            _ => program::has_just_started(&exit),
        };
        if reply[0] != RMI_SUCCESS || !is_again {
            return (reply, entries);
        }
    }
    unreachable!("nobody counts that far")
}

/// Enters a REC on this PE as its keeper says; returns the last reply.
fn keep_entering(machine: &Machine, enter: [u64; 8], keeper: &mut Keeper<'_>) -> [u64; 8] {
    let Some(Command::RecEnter { run_ptr, .. }) = Command::decode(&enter) else {
        return [0; 8];
    };
    loop {
        let reply = machine.call(enter);
        if reply[0] != RMI_SUCCESS {
            return reply;
        }
        // Before the keeper looks for what other PEs left it: a kick after that is for the next entry.
        while gic::acknowledge().is_some() {}
        let mut next = RecEnter::new_zeroed();
        match keeper(&read_exit(enter), &mut next) {
            Then::Again => {}
            Then::Kick(pes) => {
                (0..pe::count())
                    .filter(|pe| pes >> pe & 1 == 1)
                    .for_each(pe::kick);
            }
            Then::End => return reply,
        }
        // SAFETY: the scenario gave the run page from a granule that `obtain` gave it.
        let written = unsafe { guarded::write(run_ptr, next.as_bytes()) };
        written.expect("the run page is the Host's");
    }
}

impl RmiPort for TargetPort<'_> {
    fn call(&mut self, registers: [u64; 8]) -> [u64; 8] {
        let Some(ticks) = self.alarm_ticks.take() else {
            return self.issue(registers);
        };
        timer::set_alarm(timer::now() + ticks);
        let reply = self.issue(registers);
        timer::clear_alarm();
        while gic::acknowledge().is_some() {}
        reply
    }

    fn ticks(&self) -> Option<u64> {
        Some(self.ticks)
    }

    fn call_during(&mut self, enter: [u64; 8], call: [u64; 8]) -> Option<During> {
        let Some(Command::RecEnter { run_ptr, .. }) = Command::decode(&enter) else {
            return None;
        };
        // The program may be about to start; then it is told to compute.
        self.issue(enter);
        let mut spin = RecEnter::default();
        program::set_spin(&mut spin);
        self.write(run_ptr, spin.as_bytes()).ok()?;
        Some(self.call_beside(enter, call))
    }

    fn calls_beside(&mut self, enter: [u64; 8], calls: &[[u64; 8]], stop: u64) -> Option<Beside> {
        let (is_entering, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
        let (last, replies) = (Mutex::new(([0; 8], 0)), Mutex::new(Vec::new()));
        let machine = self.host.machine();
        pe::on_each(2, &|pe| {
            if pe == 1 {
                *last.lock() = enter_often(machine, enter, &is_entering, &is_over);
                return;
            }
            while !is_entering.load(Ordering::Acquire) {
                core::hint::spin_loop();
            }
            timer::wait_milliseconds(ENTER_MILLISECONDS);
            let made = calls.iter().map(|call| machine.call(*call)).collect();
            *replies.lock() = made;
            // SAFETY: the scenario gave a word of a granule that `obtain` gave it.
            let written = unsafe { guarded::write(stop, &1_u64.to_le_bytes()) };
            written.expect("the word is the Host's");
            is_over.store(true, Ordering::Release);
        });
        let (enter, entries) = last.into_inner();
        Some(Beside {
            calls: replies.into_inner(),
            enter,
            entries,
        })
    }

    fn race(&mut self, ours: &[[u64; 8]], theirs: &[[u64; 8]]) -> Option<Race> {
        let machine = self.host.machine();
        let ready = AtomicUsize::new(0);
        let replies = [const { Mutex::new(Vec::new()) }; 2];
        pe::on_each(2, &|pe| {
            ready.fetch_add(1, Ordering::AcqRel);
            while ready.load(Ordering::Acquire) < 2 {
                core::hint::spin_loop();
            }
            let calls = if pe == 0 { ours } else { theirs };
            let made = calls.iter().map(|call| machine.call(*call)).collect();
            *replies[pe].lock() = made;
        });
        Some(replies.map(Mutex::into_inner))
    }

    fn interleave(&mut self, ours: [u64; 8], ticks: u64, theirs: [u64; 8]) -> Option<Midst> {
        if !self.capabilities().contains(Capabilities::TURNS) {
            return None;
        }
        let machine = self.host.machine();
        let (is_ready, is_due) = (AtomicBool::new(false), AtomicBool::new(false));
        // When a PE's call began, its reply, the ticks it took.
        let calls = [const { Mutex::new((0, [0; 8], 0)) }; 2];
        let make = |pe: usize, registers| {
            let began = timer::now();
            let (reply, ticks) = machine.call_timed(registers);
            *calls[pe].lock() = (began, reply, ticks);
        };
        pe::on_each(2, &|pe| {
            if pe == 1 {
                is_ready.store(true, Ordering::Release);
                while !is_due.load(Ordering::Acquire) {
                    turns::give_way();
                }
                make(pe, theirs);
            } else {
                while !is_ready.load(Ordering::Acquire) {
                    turns::give_way();
                }
                turns::begin(SPARE + ticks);
                is_due.store(true, Ordering::Release);
                turns::spend(SPARE);
                make(pe, ours);
                turns::end();
            }
        });
        let [(began, ours, ticks), (other_began, theirs, _)] = calls.map(Mutex::into_inner);
        Some(Midst {
            ours,
            theirs,
            before: other_began.saturating_sub(began),
            ticks,
        })
    }

    fn run_together(
        &mut self,
        enters: &[[u64; 8]],
        keepers: &mut [&mut Keeper<'_>],
    ) -> Option<Vec<[u64; 8]>> {
        let pes = enters.len();
        if pe::count() < pes || keepers.len() != pes {
            return None;
        }
        let machine = self.host.machine();
        let kept = keepers
            .iter_mut()
            .map(|keeper| Mutex::new((keeper, [0; 8])));
        let kept: Vec<_> = kept.collect();
        pe::on_each(pes, &|pe| {
            let (keeper, reply) = &mut *kept[pe].lock();
            *reply = keep_entering(machine, enters[pe], keeper);
        });
        Some(kept.into_iter().map(|kept| kept.into_inner().1).collect())
    }

    fn obtain(&mut self, granules: usize, align: u64, place: Place) -> Option<u64> {
        if place == Place::High {
            return None;
        }
        let wanted = granules.max(usize::try_from(align / PAGE_SIZE).ok()?);
        let order = (0..=MAX_ORDER).find(|order| 1 << order >= wanted)?;
        let (pages, machine) = (self.host.pages(), self.host.machine());
        let first = pages.allocate_block(order, PageUse::Host, Wish::Delegable)?;
        for (number, pfn) in (0..1_u64 << order).map(|page| (page, first.offset(page))) {
            if number < granules as u64 {
                machine.zero_page(pfn);
                // Tags that no Realm may see, and that the RMM must not trip over.
                if tags::are_usable() {
                    tags::fill(pfn, 1 + pfn.raw() % tags::MOST);
                }
            } else {
                pages.put(pfn);
            }
        }
        Some(first.address())
    }

    fn give_back(&mut self, first: u64, granules: usize) {
        let first = Pfn::containing(first);
        (0..granules as u64).for_each(|page| self.host.pages().put(first.offset(page)));
    }

    fn not_delegable(&self) -> u64 {
        self.not_delegable
    }

    fn beyond_memory(&self) -> u64 {
        self.beyond_memory
    }

    fn read(&mut self, from: u64, into: &mut [u8]) -> Result<(), Fault> {
        guarded::read(from, into).map_err(|_| Fault)
    }

    fn write(&mut self, to: u64, from: &[u8]) -> Result<(), Fault> {
        // SAFETY: scenarios write only granules that `obtain` gave them.
        unsafe { guarded::write(to, from) }.map_err(|_| Fault)
    }

    fn make_secure(&mut self, _granule: u64) {}

    fn make_non_secure(&mut self, _granule: u64) {}

    fn fault_after(&mut self, _bytes: Option<usize>) {}

    fn facts(&self) -> Facts {
        let has_wide_vmids = ID_AA64MMFR1_EL1.read(ID_AA64MMFR1_EL1::VMIDBits) != 0;
        Facts {
            vmid_bits: if has_wide_vmids { 16 } else { 8 },
            reply_registers: REPLY_REGISTERS,
            hpmn0: ID_AA64DFR0_EL1.get() >> HPMN0_SHIFT != 0,
            priority_bits: ICH_VTR_EL2.read(ICH_VTR_EL2::PRIbits) as u8 + 1,
        }
    }

    fn capabilities(&self) -> Capabilities {
        let mut all = Capabilities::SAFE_READ | Capabilities::RUN | Capabilities::REGISTERS;
        if pe::count() > 1 {
            all = all | Capabilities::SECOND_PE;
        }
        if self.has_exact_time {
            all = all | Capabilities::EXACT_TIME;
        }
        if self.has_exact_time && pe::count() == 2 {
            all = all | Capabilities::TURNS;
        }
        all
    }

    fn program(&self) -> &[u8] {
        program::bytes()
    }

    fn payload(&self) -> &[u8] {
        self.payload
    }

    fn fill_registers(&mut self, seed: u64) {
        self.filled = Some(Filled::fill(seed));
    }

    fn changed_registers(&mut self) -> Vec<&'static str> {
        let filled = self.filled.take();
        filled.map_or_else(Vec::new, |filled| filled.changed())
    }

    fn tags(&mut self, granule: u64) -> Option<Tags> {
        tags::are_usable().then(|| tags::of_page(Pfn::containing(granule)))
    }

    fn set_action(&mut self, enter: &mut RecEnter, action: RealmAction) {
        program::set_action(enter, action);
    }

    fn take_result(&mut self, exit: &RecExit) -> Option<RealmResult> {
        program::result(exit)
    }

    fn set_alarm(&mut self, ticks: u64) {
        self.alarm_ticks = Some(ticks);
    }

    fn hold_back(&mut self, intid: u32, is_held: bool) {
        gic::enable_private(pe::current(), intid, !is_held);
    }

    fn mask_interrupts(&mut self, is_masked: bool) {
        gic::mask_all(is_masked);
    }

    fn fill_vectors(&mut self, state: HostVectors, seed: u64) -> bool {
        self.simd.fill(state, seed)
    }

    fn check_vectors(&mut self, foreign_seed: u64) -> Option<String> {
        self.simd.check(foreign_seed)
    }

    fn audit(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn fingerprint(&mut self) -> Option<u64> {
        None
    }
}
