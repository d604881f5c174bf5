// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Allocation tags of a normal VM's memory: none at first, whatever others left there, and then its
//! own, whatever its host does with the pages.

use test_realm::instructions::LDR_W0;
use test_realm::protocol::{BASE, Timer, pattern};

use super::probe::{alias, load, poke};
use super::{Detail, Verdict, detail, require};
use crate::smc::PAGE;
use crate::{machine, smp, tagging, timer};

/// Memory that has not been used when the checks begin, in blocks that stage 2 can map at once.
const FIRST: u64 = BASE + 0x400_0000;
const BLOCK: u64 = 0x20_0000;
/// Blocks that get tags at once, and those that follow one after another.
const BLOCKS: u64 = 36;
const MORE_BLOCKS: u64 = 24;
/// Which pattern the tags are, and which the registers.
const TAGS: u64 = 0x7A65;
const REGISTERS: u64 = 0x7A66;

/// Pages that are written in one step, and steps in which one more block is used.
const STEP_PAGES: u64 = 32;
const STEPS_OF_A_BLOCK: u64 = 8;
/// Accesses to a device in one step.
const STEP_EXITS: u64 = 64;
/// Steps in a second.
const STEPS_OF_A_SECOND: u64 = 25;

/// New memory has no tags. It gets some.
pub(super) fn fresh() -> Verdict {
    require!(tagging::is_there(), "the CPU has none");
    take(0, BLOCKS)?;
    compare(0, BLOCKS)?;
    let (count, bytes) = ((BLOCKS * BLOCK) >> 20, tagging::block_bytes());
    Ok(detail!(
        "{count} MiB had tag 0 and keep others, {bytes} bytes at a time"
    ))
}

/// Tags and registers stay while the host disturbs this VM or moves it, as long as it says; more new
/// memory has no tags either.
pub(super) fn kept() -> Verdict {
    let seconds = machine::option("bailey.hold=").unwrap_or(0);
    let mut registers = tagging::REGISTER_BITS;
    for (index, register) in (0..).zip(&mut registers) {
        *register &= pattern(REGISTERS, index);
    }
    tagging::write_registers(&registers);
    let verdict = hold(seconds);
    let found = tagging::read_registers();
    tagging::write_registers(&[0; 4]);
    let blocks = verdict?;
    require!(
        found == registers,
        "registers {found:x?}, not {registers:x?}"
    );
    compare(0, blocks)?;
    Ok(detail!("{} MiB for {seconds} s", (blocks * BLOCK) >> 20))
}

/// Writes memory and uses more of it for so many seconds; returns how many blocks have tags.
fn hold(seconds: u64) -> Result<u64, Detail> {
    let mut blocks = BLOCKS;
    let pause = timer::frequency() / STEPS_OF_A_SECOND;
    let end = timer::now(Timer::Virtual) + seconds * timer::frequency();
    for step in 0.. {
        if timer::now(Timer::Virtual) > end {
            break;
        }
        for page in step * STEP_PAGES..(step + 1) * STEP_PAGES {
            let at = FIRST + page % (blocks * BLOCK / PAGE) * PAGE;
            poke(at, page)?;
        }
        for _ in 0..STEP_EXITS {
            let read = load(LDR_W0, alias(machine::UART + 0x18));
            require!(read.is_ok(), "the console: {read:x?}");
        }
        if step % STEPS_OF_A_BLOCK == 0 && blocks < BLOCKS + MORE_BLOCKS {
            take(blocks, blocks + 1)?;
            blocks += 1;
        }
        let looked_at = step % blocks;
        compare(looked_at, looked_at + 1)?;
        smp::wait_until(pause, || false);
    }
    Ok(blocks)
}

/// Finds no tags in blocks, and gives them some.
fn take(first: u64, end: u64) -> Result<(), Detail> {
    for_each_tag_block(first, end, |at| {
        let found = tagging::load(at);
        require!(found == 0, "new memory at {at:#x} has tags {found:#x}");
        Ok(())
    })?;
    for_each_tag_block(first, end, |at| {
        tagging::store(at, own(at));
        Ok(())
    })
}

/// Finds the tags of blocks as [`take`] has left them.
fn compare(first: u64, end: u64) -> Result<(), Detail> {
    for_each_tag_block(first, end, |at| {
        let found = tagging::load(at);
        require!(
            found == own(at),
            "tags at {at:#x}: {found:#x}, not {:#x}",
            own(at)
        );
        Ok(())
    })
}

/// The tags of this VM at an address.
fn own(at: u64) -> u64 {
    // A smaller block holds only a part of a register's tags.
    let bytes = tagging::block_bytes();
    let bits = bytes / 4;
    let mask = u64::MAX >> (64 - bits);
    (pattern(TAGS, at) & mask) << (at % 256 / bytes * bits)
}

fn for_each_tag_block(
    first: u64,
    end: u64,
    each: impl FnMut(u64) -> Result<(), Detail>,
) -> Result<(), Detail> {
    let step = tagging::block_bytes() as usize;
    let range = FIRST + first * BLOCK..FIRST + end * BLOCK;
    range.step_by(step).try_for_each(each)
}
