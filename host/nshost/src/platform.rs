// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the device tree says about the machine.

use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::{Node, Property};

/// Bytes from the start of a device tree blob that say its size.
const SIZE_OFFSET: usize = 4;

/// The machine.
#[derive(Debug)]
pub(crate) struct Platform {
    /// Name of the machine.
    pub(crate) model: alloc::string::String,
    /// Memory, in ascending order.
    pub(crate) dram: Vec<Range<usize>>,
    /// Memory that belongs to firmware: never touched, not even mapped.
    pub(crate) no_map: Vec<Range<usize>>,
    /// Memory with contents to keep, the device tree among it.
    pub(crate) reserved: Vec<Range<usize>>,
    /// Affinities of the CPUs.
    pub(crate) cpus: Vec<u64>,
    /// Registers of the interrupt distributor.
    pub(crate) gicd: usize,
    /// Registers of the first redistributor.
    pub(crate) gicr: usize,
}

/// Why a device tree is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlatformError {
    /// It is not a device tree.
    Malformed,
    /// It does not say what the host has to know.
    Missing(&'static str),
}

impl fmt::Display for PlatformError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => write!(f, "there is no device tree where the board says"),
            Self::Missing(what) => write!(f, "the device tree names no {what}"),
        }
    }
}

impl Platform {
    /// Reads the device tree at `address`.
    ///
    /// # Safety
    /// `address` must be the start of a page of mapped memory, with a device tree or something
    /// else in it, that nobody changes meanwhile.
    ///
    /// # Errors
    /// [`PlatformError`].
    pub(crate) unsafe fn read(address: usize) -> Result<Self, PlatformError> {
        // SAFETY: the caller vouches for a page of memory.
        let head = unsafe { bytes(address, SIZE_OFFSET + 4) };
        let size = u32::from_be_bytes(head[SIZE_OFFSET..].try_into().expect("four bytes"));
        if !head.starts_with(&[0xD0, 0x0D, 0xFE, 0xED]) {
            return Err(PlatformError::Malformed);
        }
        // SAFETY: what starts with a device tree's magic has the size it says.
        let blob = unsafe { bytes(address, size as usize) };
        let tree = Fdt::new(blob).map_err(|_| PlatformError::Malformed)?;
        let mut platform = Self::from_tree(tree)?;
        platform.reserved.push(address..address + blob.len());
        Ok(platform)
    }

    fn from_tree(tree: Fdt<'_>) -> Result<Self, PlatformError> {
        let root = tree.root();
        let mut dram: Vec<_> = root.children().filter(is_memory).flat_map(ranges).collect();
        dram.sort_by_key(|range| range.start);
        let (no_map, mut reserved) = reservations(&root);
        reserved.extend(tree.memory_reservations().map(|reservation| {
            let start = reservation.address() as usize;
            start..start + reservation.size() as usize
        }));
        let gic = find_compatible(&root, "arm,gic-v3");
        let mut gic_ranges = gic.into_iter().flat_map(ranges);
        let gicd = gic_ranges.next().ok_or(PlatformError::Missing("GICv3"))?;
        let gicr = gic_ranges
            .next()
            .ok_or(PlatformError::Missing("GICv3 redistributor"))?;
        let cpus = cpus(&root);
        if dram.is_empty() {
            return Err(PlatformError::Missing("memory"));
        }
        if cpus.is_empty() {
            return Err(PlatformError::Missing("CPU"));
        }
        Ok(Self {
            model: root.model().ok().flatten().unwrap_or("unknown").into(),
            dram,
            no_map,
            reserved,
            cpus,
            gicd: gicd.start,
            gicr: gicr.start,
        })
    }

    /// Returns the size of all memory in bytes.
    pub(crate) fn dram_bytes(&self) -> usize {
        self.dram.iter().map(Range::len).sum()
    }
}

/// # Safety
/// `len` bytes at `address` must be mapped memory that nobody changes.
unsafe fn bytes(address: usize, len: usize) -> &'static [u8] {
    let start = core::ptr::with_exposed_provenance(address);
    // SAFETY: the caller vouches for the memory.
    unsafe { core::slice::from_raw_parts(start, len) }
}

fn text<'a>(node: &FdtNode<'a>, property: &str) -> Option<&'a str> {
    node.property(property)?.value_as::<&str>().ok()
}

/// Returns the children of the child `name` of `node`.
fn children<'a>(node: &FdtNode<'a>, name: &str) -> Vec<FdtNode<'a>> {
    let child = node
        .children()
        .find(|child| child.name_without_address() == name);
    child.map_or(Vec::new(), |child| child.children().collect())
}

fn is_memory(node: &FdtNode<'_>) -> bool {
    text(node, "device_type") == Some("memory") && is_enabled(node)
}

fn is_enabled(node: &FdtNode<'_>) -> bool {
    matches!(text(node, "status"), None | Some("okay" | "ok"))
}

/// Returns the address ranges of a node's `reg`.
fn ranges(node: FdtNode<'_>) -> Vec<Range<usize>> {
    let entries = node.reg().ok().flatten().into_iter().flatten();
    entries
        .filter_map(|entry| {
            let start: u64 = entry.address().ok()?;
            let size: u64 = entry.size().ok()?;
            (size > 0).then_some(start as usize..start as usize + size as usize)
        })
        .collect()
}

/// Returns the reserved memory that must not even be mapped, and the rest.
fn reservations(root: &FdtNode<'_>) -> (Vec<Range<usize>>, Vec<Range<usize>>) {
    let (mut no_map, mut reserved) = (Vec::new(), Vec::new());
    for node in children(root, "reserved-memory") {
        let list = match node.property("no-map") {
            Some(_) => &mut no_map,
            None => &mut reserved,
        };
        list.extend(ranges(node));
    }
    (no_map, reserved)
}

fn cpus(root: &FdtNode<'_>) -> Vec<u64> {
    children(root, "cpus")
        .into_iter()
        .filter(|node| text(node, "device_type") == Some("cpu") && is_enabled(node))
        .filter_map(|node| {
            let entry = node.reg().ok()??.next()?;
            entry.address().ok()
        })
        .collect()
}

fn find_compatible<'a>(node: &FdtNode<'a>, name: &str) -> Option<FdtNode<'a>> {
    node.children().find(|child| {
        child
            .compatible()
            .is_some_and(|mut names| names.any(|n| n == name))
    })
}
