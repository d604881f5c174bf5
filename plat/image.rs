// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the images of all boards share: from EL3's entry to the loop that answers the Host.
//!
//! Each board's `main.rs` includes this file next to its own `board.rs`.

use core::sync::atomic::AtomicU64;

use log::{LevelFilter, error, info, warn};
use rmi::{GRANULE_BYTES, GRANULE_SIZE, GranuleAddr};
use rmm::Monitor;
use rmm::attest::Attestation;
use rmm::attest::sign::Comb;
use rmm::limits::PLATFORM_TOKEN_BYTES;
use rmm_aarch64::{
    ColdBoot, Console, NoMemory, Pe, PeSlot, SharedPage, WarmBoot, park, read_features, smc,
};
use rmm_granule::{Bank, GranuleTable, GranuleWord};
use rmm_hal::CpuFeatures;
use spin::Once;
use tf_a_glue::{
    AttestationCalls, BootError, ColdArgs, ConsoleList, Manifest, SharedBuffer, Smc, SmcRegisters,
    TfA, WarmArgs, refuse_boot, serve,
};

use crate::board;

/// One bit for each of 65,536 VMIDs.
const VMID_WORDS: usize = 65_536 / 64;
/// The most address bits a window can show (the monitor's own map has 48-bit descriptors).
const WINDOW_BITS: u8 = 48;

static CONSOLE: Console = Console::new();
static FIRMWARE: Once<Firmware> = Once::new();
static ATTESTATION: Once<Attestation<'static>> = Once::new();

rmm_aarch64::image!(cold: cold_boot, warm: warm_boot);

/// What all PEs share.
struct Firmware {
    monitor: Monitor<'static>,
    cpu_count: u64,
}

/// The SMC instruction.
#[derive(Clone, Copy)]
struct Conduit;

impl Smc for Conduit {
    fn call(&self, registers: &mut SmcRegisters) {
        smc(registers);
    }
}

/// The page shared with EL3, and its address.
struct Buffer(SharedPage, GranuleAddr);

impl SharedBuffer for Buffer {
    fn address(&self) -> GranuleAddr {
        self.1
    }

    fn read(&self, into: &mut [u8]) {
        self.0.read(into);
    }

    fn fill(&mut self, start: &[u8]) {
        self.0.fill(start);
    }
}

fn cold_boot(mut boot: ColdBoot) -> ! {
    CONSOLE.install(LevelFilter::Info);
    if let Ok(uart) = boot.map_console(board::CONSOLE, board::CONSOLE_PAGES) {
        CONSOLE.attach_at(uart, board::CONSOLE_CLOCK_HZ, board::CONSOLE_BAUD);
    }
    match start(&mut boot) {
        Ok(firmware) => answer(FIRMWARE.call_once(|| firmware), boot.slot),
        Err(error) => refuse(error),
    }
}

fn warm_boot(boot: WarmBoot) -> ! {
    let Some(firmware) = FIRMWARE.get() else {
        refuse(BootError::Unspecified);
    };
    let own_index = board::linear_index(boot.slot.mpidr());
    match WarmArgs::check(boot.x0, own_index, firmware.cpu_count) {
        Ok(args) => {
            if args.is_mixed_up {
                info!(
                    "PE {own_index}: EL3 says index {}, which is another PE's",
                    boot.x0
                );
            }
            answer(firmware, boot.slot)
        }
        Err(error) => refuse(error),
    }
}

/// Builds the monitor out of what EL3 says of the platform.
fn start(boot: &mut ColdBoot) -> Result<Firmware, BootError> {
    info!("Bailey {} on {}", env!("CARGO_PKG_VERSION"), board::NAME);
    let args = ColdArgs::check(boot.registers, boot.pe_limit())?;
    let shared = boot
        .map_shared_page(args.shared)
        .map_err(|_| BootError::SharedBuffer)?;
    let mut page = [0; GRANULE_BYTES];
    shared.read(&mut page);
    let cpu = read_features();
    let manifest = Manifest::check(&page, args.shared, cpu.pa_bits.min(WINDOW_BITS))?;
    info!(
        "interface {}, manifest {}, {} PEs at most",
        args.interface, manifest.version, args.cpu_count
    );
    choose_console(boot, &manifest.consoles);
    log_features(&cpu);

    let granules = granule_table(boot, &manifest).map_err(|error| {
        error!("granule table: {error}");
        BootError::Unspecified
    })?;
    granules.exclude(args.shared, 1);
    let vmids = boot
        .spare
        .take(VMID_WORDS, |_| AtomicU64::new(0))
        .map_err(|error| {
            error!("VMIDs: {error}");
            BootError::Unspecified
        })?;
    let monitor = Monitor::new(cpu, granules, vmids);
    Ok(Firmware {
        monitor: match attestation(boot, Buffer(shared, args.shared)) {
            Some(attestation) => monitor.with_attestation(attestation),
            None => monitor,
        },
        cpu_count: args.cpu_count,
    })
}

/// Asks EL3 for what Realms are proved with. A monitor without it serves Realms that need no proof.
fn attestation(boot: &mut ColdBoot, buffer: Buffer) -> Option<&'static Attestation<'static>> {
    let mut calls = AttestationCalls::new(Conduit, buffer);
    let memory = boot.spare.take(1, |_| Comb::new());
    let (Ok([comb]), Ok(room)) = (memory, boot.spare.take(PLATFORM_TOKEN_BYTES, |_| 0)) else {
        warn!("no memory for attestation");
        return None;
    };
    match Attestation::obtain(&mut calls, comb, room) {
        Ok(attestation) => Some(ATTESTATION.call_once(|| attestation)),
        Err(error) => {
            warn!("Realms get no attestation tokens: {error}");
            None
        }
    }
}

/// Goes over to the manifest's console when it is another one than the board's.
fn choose_console(boot: &mut ColdBoot, consoles: &ConsoleList<'_>) {
    if let ConsoleList::Broken { sum } = consoles {
        match sum {
            Some(sum) => warn!("the manifest's console list sums to {sum:#x} and is not used"),
            None => warn!("the manifest's console list leaves its page and is not used"),
        }
    }
    let Some(console) = consoles
        .first_pl011()
        .filter(|other| other.base != board::CONSOLE)
    else {
        return;
    };
    info!("going on at the console at {}", console.base);
    match boot.map_console(console.base, console.pages) {
        Ok(uart) => CONSOLE.attach_at(uart, console.clock_hz, console.baud),
        Err(error) => warn!("the console stays: {error}"),
    }
}

/// Makes a word for every granule of the manifest's memory, with the monitor's own taken out.
fn granule_table(
    boot: &mut ColdBoot,
    manifest: &Manifest<'_>,
) -> Result<GranuleTable<'static>, NoMemory> {
    let count = manifest.banks().len();
    let banks = boot.spare.take(count, |_| Bank::new(board::CONSOLE, &[]))?;
    for (bank, found) in banks.iter_mut().zip(manifest.banks()) {
        let granules = usize::try_from(found.granules).map_err(|_| NoMemory)?;
        *bank = Bank::new(
            found.base,
            boot.spare.take(granules, |_| GranuleWord::new())?,
        );
        info!(
            "memory {} + {} MiB, {} KiB of metadata",
            found.base,
            (found.granules * GRANULE_SIZE) >> 20,
            (size_of::<GranuleWord>() * granules) >> 10
        );
    }
    let table = GranuleTable::new(banks);
    let (first, granules) = boot.own_memory();
    table.exclude(first, granules);
    Ok(table)
}

fn log_features(cpu: &CpuFeatures) {
    info!(
        "PE: {} bits of address, LPA2 {}, SVE {}, SME {}, PMU {}, {} list registers",
        cpu.pa_bits,
        if cpu.lpa2 { "yes" } else { "no" },
        cpu.sve_vq.map_or(0, |vq| (u32::from(vq) + 1) * 128),
        if cpu.sme { "yes" } else { "no" },
        cpu.pmu_counters.map_or(0, u32::from),
        cpu.list_registers + 1
    );
}

/// Answers the Host on this PE for ever.
fn answer(firmware: &'static Firmware, slot: PeSlot) -> ! {
    let pe = Pe::new(slot, firmware.monitor.cpu(), TfA(Conduit));
    serve(&Conduit, |command| firmware.monitor.handle(&pe, command))
}

/// Tells EL3 that this PE cannot serve; EL3 then never comes back.
fn refuse(error: BootError) -> ! {
    error!("boot fails with {}: {error:?}", error.code());
    refuse_boot(&Conduit, error);
    park()
}
