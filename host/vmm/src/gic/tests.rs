// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The controller as a guest's driver and a run loop use it.

use super::*;

const CTLR: u64 = 0x0000;
const GICD_ENABLE: u64 = 0b11;
const SGI_FRAME: u64 = 0x1_0000;
const IGROUPR: u64 = 0x080;
const ISENABLER: u64 = 0x100;
const ICENABLER: u64 = 0x180;
const ISPENDR: u64 = 0x200;
const ICPENDR: u64 = 0x280;
const ISACTIVER: u64 = 0x300;
const ICACTIVER: u64 = 0x380;
const IPRIORITYR: u64 = 0x400;
const ICFGR: u64 = 0xC00;
const IROUTER: u64 = 0x6000;

const PENDING: u64 = 1 << 62;
const ACTIVE: u64 = 1 << 63;
const GROUP_1: u64 = 1 << 60;
const EOI: u64 = 1 << 41;
const HW: u64 = 1 << 61;

/// A controller set up as Linux does: everything in group 1 at priority 0xA0, all SGIs, the timer
/// PPIs and SPI 1 enabled, SPIs level-sensitive and routed to vCPU 0.
fn ready(vcpus: usize, list_count: usize) -> Gic {
    let gic = Gic::new(vcpus, list_count);
    gic.write_distributor(CTLR, 4, 0);
    gic.write_distributor(IGROUPR + 4, 4, u64::from(u32::MAX));
    gic.write_distributor(IGROUPR + 8, 4, u64::from(u32::MAX));
    for word in 8..24 {
        gic.write_distributor(IPRIORITYR + 4 * word, 4, 0xA0A0_A0A0);
    }
    gic.write_distributor(ISENABLER + 4, 4, 0b10);
    gic.write_distributor(CTLR, 4, 0x13);
    for vcpu in 0..vcpus {
        gic.write_redistributor(vcpu, SGI_FRAME + IGROUPR, 4, u64::from(u32::MAX));
        for word in 0..8 {
            gic.write_redistributor(vcpu, SGI_FRAME + IPRIORITYR + 4 * word, 4, 0xA0A0_A0A0);
        }
        gic.write_redistributor(vcpu, SGI_FRAME + ISENABLER, 4, 0x4800_FFFF);
    }
    gic
}

fn listed(lists: &Lists) -> std::vec::Vec<u32> {
    lists
        .words
        .iter()
        .filter(|word| **word != 0)
        .map(|word| *word as u32)
        .collect()
}

fn fold(gic: &Gic, vcpu: usize, words: &[u64]) {
    let mut all = [0; MAX_LISTS];
    all[..words.len()].copy_from_slice(words);
    gic.fold(vcpu, &all, 0);
}

#[test]
fn distributor_describes_itself() {
    let gic = Gic::new(2, 4);
    let typer = gic.read_distributor(4, 4);
    assert_eq!(typer & 0x1F, 2, "96 interrupts");
    assert_eq!(typer >> 19 & 0x1F, 9, "ten bits of INTID");
    assert_eq!(
        typer & (1 << 16 | 1 << 17 | 1 << 26),
        0,
        "no MBIS, LPIS, RSS"
    );
    assert_eq!(gic.read_distributor(0xFFE8, 4) >> 4 & 0xF, 3, "GICv3");
    assert_eq!(gic.read_distributor(0, 4), 0x50, "ARE and DS are fixed");
    gic.write_distributor(0, 4, 0x13);
    assert_eq!(gic.read_distributor(0, 4), 0x53);
    gic.write_distributor(0, 1, 0x02);
    assert_eq!(gic.read_distributor(0, 4), 0x52);
}

#[test]
fn redistributors_name_their_vcpu_and_the_last() {
    let gic = Gic::new(3, 4);
    assert_eq!(gic.read_redistributor(0, 8, 8), 0);
    assert_eq!(gic.read_redistributor(1, 8, 8), 1 << 32 | 1 << 8);
    assert_eq!(gic.read_redistributor(2, 8, 8), 2 << 32 | 2 << 8 | 1 << 4);
    assert_eq!(gic.read_redistributor(2, 12, 4), 2);
    assert_eq!(gic.read_redistributor(0, 0xFFE8, 4) >> 4 & 0xF, 3);
    gic.write_redistributor(0, 0x14, 4, 0b10);
    assert_eq!(gic.read_redistributor(0, 0x14, 4), 0, "never asleep");
}

#[test]
fn enable_registers_set_and_clear_single_bits() {
    let gic = Gic::new(1, 4);
    gic.write_distributor(ISENABLER + 4, 4, 0xF0);
    gic.write_distributor(ICENABLER + 4, 4, 0x30);
    assert_eq!(gic.read_distributor(ISENABLER + 4, 4), 0xC0);
    assert_eq!(gic.read_distributor(ICENABLER + 4, 4), 0xC0);
    gic.write_distributor(ISENABLER, 4, 0xFF);
    assert_eq!(
        gic.read_distributor(ISENABLER, 4),
        0,
        "private ones are not here"
    );
    gic.write_redistributor(0, SGI_FRAME + ISENABLER, 4, 0xFF);
    assert_eq!(gic.read_redistributor(0, SGI_FRAME + ISENABLER, 4), 0xFF);
    gic.write_distributor(ISENABLER + 12, 4, 0xFF);
    assert_eq!(
        gic.read_distributor(ISENABLER + 12, 4),
        0,
        "no such interrupts"
    );
}

#[test]
fn registers_take_every_access_size() {
    let gic = Gic::new(1, 4);
    gic.write_distributor(IPRIORITYR + 33, 1, 0xFF);
    assert_eq!(
        gic.read_distributor(IPRIORITYR + 32, 4),
        0xF800,
        "five priority bits"
    );
    gic.write_distributor(IPRIORITYR + 34, 2, 0x1020);
    assert_eq!(gic.read_distributor(IPRIORITYR + 32, 8), 0x1020_F800);
    assert_eq!(gic.read_distributor(IPRIORITYR + 35, 1), 0x10);
    gic.write_distributor(ISENABLER, 8, 0x1_0000_0002);
    assert_eq!(gic.read_distributor(ISENABLER + 4, 4), 1);
    gic.write_distributor(ISENABLER + 4, 8, 0x2_0000_0002);
    assert_eq!(gic.read_distributor(ISENABLER + 4, 4), 1, "misaligned");
    assert_eq!(gic.read_distributor(ISENABLER + 5, 4), 0, "misaligned");
    gic.write_distributor(ISENABLER + 6, 2, 0x8000);
    assert_eq!(gic.read_distributor(ISENABLER + 4, 4), 0x8000_0001);
}

#[test]
fn configuration_is_free_for_shared_and_fixed_for_private() {
    let gic = Gic::new(1, 4);
    gic.write_distributor(ICFGR + 8, 4, 0x0000_0008);
    assert_eq!(gic.read_distributor(ICFGR + 8, 4), 0x8, "SPI 1 is an edge");
    gic.write_distributor(ICFGR + 8, 4, 0);
    assert_eq!(gic.read_distributor(ICFGR + 8, 4), 0);
    assert_eq!(gic.read_redistributor(0, SGI_FRAME + ICFGR, 4), 0xAAAA_AAAA);
    gic.write_redistributor(0, SGI_FRAME + ICFGR, 4, 0);
    assert_eq!(gic.read_redistributor(0, SGI_FRAME + ICFGR, 4), 0xAAAA_AAAA);
    gic.write_redistributor(0, SGI_FRAME + ICFGR + 4, 4, u64::MAX);
    assert_eq!(gic.read_redistributor(0, SGI_FRAME + ICFGR + 4, 4), 0);
}

#[test]
fn route_decides_who_is_interrupted() {
    let gic = ready(2, 4);
    assert_eq!(gic.set_shared_line(33, true), VcpuSet::only(0));
    let readers = gic.write_distributor(IROUTER + 8 * 33, 8, 1);
    assert_eq!(readers, VcpuSet::only(0).with(VcpuSet::only(1)));
    assert_eq!(gic.read_distributor(IROUTER + 8 * 33, 8), 1);
    assert!(listed(&gic.flush(0)).is_empty());
    assert_eq!(listed(&gic.flush(1)), [33]);
    gic.write_distributor(IROUTER + 8 * 34, 8, 0x99);
    gic.write_distributor(ISENABLER + 4, 4, 0b100);
    assert_eq!(
        gic.set_shared_line(34, true),
        VcpuSet::EMPTY,
        "no such vCPU"
    );
    gic.write_distributor(IROUTER + 8, 8, 1);
    assert_eq!(
        gic.read_distributor(IROUTER + 8, 8),
        0,
        "private ones have no route"
    );
}

#[test]
fn list_register_never_has_hardware_bit() {
    let gic = ready(1, 4);
    gic.set_private_line(0, 27, true);
    gic.send_sgi(0, SgiRegister::Group1, 1 | 3 << 24);
    let lists = gic.flush(0);
    assert_eq!(lists.words[0], PENDING | GROUP_1 | 0xA0 << 48 | 3);
    assert_eq!(lists.words[1], PENDING | GROUP_1 | 0xA0 << 48 | EOI | 27);
    assert!(lists.words.iter().all(|word| word & HW == 0));
    assert_eq!(lists.control, 0);
}

#[test]
fn disabled_or_group_off_is_not_listed() {
    let gic = ready(1, 4);
    gic.set_private_line(0, 27, true);
    gic.write_redistributor(0, SGI_FRAME + ICENABLER, 4, 1 << 27);
    assert!(listed(&gic.flush(0)).is_empty());
    fold(&gic, 0, &[]);
    gic.write_redistributor(0, SGI_FRAME + ISENABLER, 4, 1 << 27);
    gic.write_distributor(CTLR, 4, 1);
    assert!(listed(&gic.flush(0)).is_empty(), "group 1 is off");
    fold(&gic, 0, &[]);
    assert_eq!(
        gic.write_distributor(CTLR, 4, GICD_ENABLE),
        VcpuSet::only(0)
    );
    assert_eq!(listed(&gic.flush(0)), [27]);
}

#[test]
fn level_is_sampled_again_after_its_end() {
    let gic = ready(1, 4);
    assert!(gic.set_private_line(0, 27, true));
    let lists = gic.flush(0);
    // Taken: the entry is active, and the line still high must not make it pending too.
    fold(&gic, 0, &[lists.words[0] & !PENDING | ACTIVE]);
    assert!(!gic.set_private_line(0, 27, true));
    let lists = gic.flush(0);
    assert_eq!(lists.words[0], ACTIVE | GROUP_1 | 0xA0 << 48 | EOI | 27);
    // Ended with the line high: pending again.
    fold(&gic, 0, &[lists.words[0] & !ACTIVE]);
    assert_eq!(
        gic.flush(0).words[0],
        PENDING | GROUP_1 | 0xA0 << 48 | EOI | 27
    );
    // Ended with the line low: gone.
    fold(&gic, 0, &[EOI | 27]);
    gic.set_private_line(0, 27, false);
    assert!(listed(&gic.flush(0)).is_empty());
}

#[test]
fn level_that_falls_before_it_is_taken_is_withdrawn() {
    let gic = ready(1, 4);
    gic.set_shared_line(33, true);
    let lists = gic.flush(0);
    fold(&gic, 0, &lists.words);
    assert_eq!(gic.set_shared_line(33, false), VcpuSet::EMPTY);
    assert!(listed(&gic.flush(0)).is_empty());
}

#[test]
fn edge_survives_until_it_is_taken_and_comes_again() {
    let gic = ready(1, 4);
    gic.send_sgi(0, SgiRegister::Group1, 1);
    let lists = gic.flush(0);
    fold(&gic, 0, &lists.words);
    let lists = gic.flush(0);
    assert_eq!(lists.words[0], PENDING | GROUP_1 | 0xA0 << 48);
    // Taken, and a second one comes while it is active: both at once.
    gic.send_sgi(0, SgiRegister::Group1, 1);
    fold(&gic, 0, &[lists.words[0] & !PENDING | ACTIVE]);
    let lists = gic.flush(0);
    assert_eq!(lists.words[0], PENDING | ACTIVE | GROUP_1 | 0xA0 << 48);
    fold(&gic, 0, &[0]);
    assert!(listed(&gic.flush(0)).is_empty());
}

#[test]
fn shared_edge_latches_rises_only() {
    let gic = ready(1, 4);
    gic.write_distributor(ICFGR + 8, 4, 0x8);
    assert_eq!(gic.set_shared_line(33, true), VcpuSet::only(0));
    assert_eq!(gic.set_shared_line(33, true), VcpuSet::EMPTY);
    assert_eq!(gic.set_shared_line(33, false), VcpuSet::EMPTY);
    let lists = gic.flush(0);
    assert_eq!(lists.words[0] & (PENDING | EOI), PENDING);
    fold(&gic, 0, &[0]);
    assert!(listed(&gic.flush(0)).is_empty());
}

#[test]
fn shared_interrupt_stays_with_its_holder() {
    let gic = ready(2, 4);
    gic.set_shared_line(33, true);
    let lists = gic.flush(0);
    assert!(listed(&gic.flush(1)).is_empty());
    gic.write_distributor(IROUTER + 8 * 33, 8, 1);
    assert!(listed(&gic.flush(1)).is_empty(), "vCPU 0 has it");
    fold(&gic, 0, &[lists.words[0] & !PENDING | ACTIVE]);
    assert!(listed(&gic.flush(1)).is_empty(), "vCPU 0 handles it");
    let lists = gic.flush(0);
    fold(&gic, 0, &[lists.words[0] & !ACTIVE]);
    assert_eq!(listed(&gic.flush(1)), [33], "it follows its route");
}

#[test]
fn pending_registers_latch_and_clear() {
    let gic = ready(1, 4);
    assert_eq!(
        gic.write_distributor(ISPENDR + 4, 4, 0b10),
        VcpuSet::only(0)
    );
    assert_eq!(gic.read_distributor(ISPENDR + 4, 4), 0b10);
    gic.write_distributor(ICPENDR + 4, 4, 0b10);
    assert_eq!(gic.read_distributor(ISPENDR + 4, 4), 0);
    gic.set_shared_line(33, true);
    gic.write_distributor(ICPENDR + 4, 4, 0b10);
    assert_eq!(
        gic.read_distributor(ISPENDR + 4, 4),
        0b10,
        "the line is high"
    );
    gic.set_shared_line(33, false);
    // Cleared while in a list register: it does not come back from there.
    gic.write_distributor(ISPENDR + 4, 4, 0b10);
    let lists = gic.flush(0);
    assert_eq!(gic.read_distributor(ISPENDR + 4, 4), 0b10);
    gic.write_distributor(ICPENDR + 4, 4, 0b10);
    fold(&gic, 0, &lists.words);
    assert!(listed(&gic.flush(0)).is_empty());
}

#[test]
fn active_registers_set_and_clear() {
    let gic = ready(1, 4);
    gic.write_redistributor(0, SGI_FRAME + ISACTIVER, 4, 1 << 27);
    assert_eq!(gic.read_redistributor(0, SGI_FRAME + ICACTIVER, 4), 1 << 27);
    let lists = gic.flush(0);
    assert_eq!(lists.words[0] & (ACTIVE | PENDING), ACTIVE);
    gic.write_redistributor(0, SGI_FRAME + ICACTIVER, 4, 1 << 27);
    fold(&gic, 0, &lists.words);
    assert!(listed(&gic.flush(0)).is_empty(), "cleared while listed");
    gic.write_redistributor(0, SGI_FRAME + ISACTIVER, 4, 1 << 27);
    gic.deactivate(0, 27);
    assert!(listed(&gic.flush(0)).is_empty());
}

#[test]
fn more_than_fit_are_chosen_by_priority() {
    let gic = ready(1, 2);
    gic.write_redistributor(0, SGI_FRAME + IPRIORITYR + 5, 1, 0x80);
    for intid in [3, 4, 5] {
        gic.send_sgi(0, SgiRegister::Group1, 1 | intid << 24);
    }
    let lists = gic.flush(0);
    assert_eq!(listed(&lists), [5, 3].map(|i: u32| i));
    assert_eq!(lists.control, 1 << 3 | 1 << 1, "NPIE and UIE");
    // Both taken, one ended: the rest comes in.
    fold(&gic, 0, &[0, lists.words[1] & !PENDING | ACTIVE]);
    let lists = gic.flush(0);
    assert_eq!(listed(&lists), [3, 4]);
    assert_eq!(lists.control, 0);
}

#[test]
fn full_of_active_ones_does_not_ask_for_no_pending() {
    let gic = ready(1, 2);
    gic.write_redistributor(0, SGI_FRAME + ISACTIVER, 4, 0b111);
    gic.send_sgi(0, SgiRegister::Group1, 1 | 9 << 24);
    let lists = gic.flush(0);
    assert_eq!(listed(&lists), [0, 1]);
    assert_eq!(lists.control, 1 << 1 | 1 << 2, "UIE and LRENPIE");
    // The one without a list register is ended: the count says so.
    let mut words = [0; MAX_LISTS];
    words[..2].copy_from_slice(&lists.words[..2]);
    gic.fold(0, &words, 1 << 27);
    assert_eq!(gic.read_redistributor(0, SGI_FRAME + ISACTIVER, 4), 0b11);
}

#[test]
fn sgi_reaches_targets_of_its_group() {
    let gic = ready(3, 4);
    let everyone_else = 1 << 40 | 2 << 24;
    assert!(
        gic.send_sgi(1, SgiRegister::Group1, everyone_else)
            .iter()
            .eq([0, 2])
    );
    assert_eq!(listed(&gic.flush(0)), [2]);
    assert!(listed(&gic.flush(1)).is_empty());
    assert_eq!(listed(&gic.flush(2)), [2]);
    assert!(
        gic.send_sgi(1, SgiRegister::Group0, everyone_else)
            .is_empty()
    );
    gic.write_redistributor(0, SGI_FRAME + IGROUPR, 4, 0xFFFF_FFFB);
    assert_eq!(
        gic.send_sgi(1, SgiRegister::Group0, everyone_else),
        VcpuSet::only(0)
    );
    assert_eq!(
        gic.send_sgi(1, SgiRegister::OtherGroup1, everyone_else),
        VcpuSet::only(0)
    );
}

#[test]
fn disabling_tells_the_vcpu_that_holds_it() {
    let gic = ready(2, 4);
    gic.set_shared_line(33, true);
    gic.flush(0);
    gic.write_distributor(IROUTER + 8 * 33, 8, 1);
    assert_eq!(
        gic.write_distributor(ICENABLER + 4, 4, 0b10),
        VcpuSet::only(0)
    );
    let away = gic.write_redistributor(1, SGI_FRAME + ISENABLER, 4, 1);
    assert_eq!(away, VcpuSet::only(1));
}

#[test]
fn vcpus_on_several_pes_lose_no_interrupt() {
    use core::sync::atomic::AtomicBool;
    const ROUNDS: u32 = 2000;
    let gic = ready(2, 4);
    let taken = AtomicU32::new(0);
    let is_armed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..ROUNDS {
                while is_armed.load(Ordering::Acquire) {
                    std::thread::yield_now();
                }
                is_armed.store(true, Ordering::Release);
                gic.send_sgi(0, SgiRegister::Group1, 0b10);
            }
        });
        scope.spawn(|| {
            while taken.load(Ordering::Relaxed) < ROUNDS {
                let lists = gic.flush(1);
                let words = lists.words.map(|_| 0);
                gic.fold(1, &words, 0);
                if listed(&lists) == [0] {
                    taken.fetch_add(1, Ordering::Relaxed);
                    is_armed.store(false, Ordering::Release);
                }
                std::thread::yield_now();
            }
        });
    });
    assert_eq!(taken.load(Ordering::Relaxed), ROUNDS);
}
