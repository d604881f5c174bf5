// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Allocation tags of memory: that they are there and the CPU checks them, that they stay, or that
//! there are none.

use core::fmt;

use crate::failure::{Failure, expect};
use crate::system::{self, Child, Resume, SIGSEGV};
use crate::tagged::{Tagged, choose_tag, tag_of, with_tag};

/// Bytes that are tried on each CPU, and bytes that are kept.
const TRIED: usize = 1 << 20;
const KEPT: usize = 4 << 20;
/// `SIGSEGV` because a tag was wrong, told by the access itself.
const WRONG_TAG: u64 = 9;
/// Tags that `IRG` may choose: all but zero.
const CHOICE: usize = 0xFFFE;

/// What was found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Report {
    Checked { cpus: usize },
    Kept { tags: usize },
    None,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checked { cpus } => write!(
                f,
                "new memory has tag 0, and a store with another tag is refused, on {cpus} CPUs"
            ),
            Self::Kept { tags } => write!(f, "{tags} tags and what is behind them were kept"),
            Self::None => f.write_str("no tags: neither the CPU nor the kernel knows of them"),
        }
    }
}

/// Uses tags on every CPU in turn.
pub(crate) fn check() -> Result<Report, Failure> {
    enable()?;
    let mut cpus = 0;
    while system::run_on(cpus).is_some() {
        let memory = Tagged::new(TRIED)?;
        use_tags(memory)?;
        refuse_wrong(memory)?;
        cpus += 1;
    }
    match cpus {
        0 => Err(Failure::Missing("CPU to run on")),
        _ => Ok(Report::Checked { cpus }),
    }
}

/// Stores tags, waits until its input ends, and looks whether they are still there.
pub(crate) fn keep() -> Result<Report, Failure> {
    enable()?;
    let memory = Tagged::new(KEPT)?;
    for (number, granule) in memory.granules().enumerate() {
        let tagged = with_tag(granule, pattern(number));
        memory.set_tag(tagged);
        memory.write(tagged, number as u64);
    }
    system::wait_for_end_of_input()?;
    let mut tags = 0;
    for (number, granule) in memory.granules().enumerate() {
        let tag = memory.tag(granule);
        expect("a kept tag", pattern(number) as u64, tag as u64)?;
        let value = memory.read(with_tag(granule, tag));
        expect("what is behind a tag", number as u64, value)?;
        tags += 1;
    }
    Ok(Report::Kept { tags })
}

/// Finds no tags.
pub(crate) fn check_none() -> Result<Report, Failure> {
    expect("HWCAP2_MTE", 0, u64::from(system::has_tags()?))?;
    if system::enable_tags(CHOICE).is_ok() {
        return Err(Failure::Surplus("check of tags"));
    }
    match Tagged::new(TRIED) {
        Ok(_) => Err(Failure::Surplus("memory with tags")),
        Err(_) => Ok(Report::None),
    }
}

fn enable() -> Result<(), Failure> {
    expect("HWCAP2_MTE", 1, u64::from(system::has_tags()?))?;
    system::enable_tags(CHOICE)
}

/// The tag of a piece of the kept memory: every one, in an order that is no period of a page.
fn pattern(number: usize) -> usize {
    number * 7 % 17 % 16
}

/// New memory has no tags. It takes those that the CPU chooses.
fn use_tags(memory: Tagged) -> Result<(), Failure> {
    for granule in memory.granules() {
        expect("the tag of new memory", 0, memory.tag(granule) as u64)?;
        let tagged = choose_tag(granule);
        let tag = tag_of(tagged);
        if tag == 0 {
            return Err(Failure::Surplus("choice of tag 0"));
        }
        memory.set_tag(tagged);
        expect("a stored tag", tag as u64, memory.tag(granule) as u64)?;
        memory.write(tagged, granule as u64);
        expect("a stored word", granule as u64, memory.read(tagged))?;
    }
    Ok(())
}

/// A child that writes by way of a wrong tag is stopped at once.
fn refuse_wrong(memory: Tagged) -> Result<(), Failure> {
    let Some(granule) = memory.granules().last() else {
        return Err(Failure::Missing("memory"));
    };
    let wrong = with_tag(granule, memory.tag(granule) ^ 1);
    let child = Child::start(|| memory.write(wrong, 0))?;
    match child.resume(Resume::Run)? {
        Some(signal) => expect("the signal of a wrong tag", SIGSEGV, signal)?,
        None => return Err(Failure::Surplus("store with a wrong tag")),
    }
    let stop = child.stop_info()?;
    expect("its code", WRONG_TAG, stop.code as u64)?;
    let address = with_tag(stop.address as usize, 0);
    expect("its address", granule as u64, address as u64)
}
