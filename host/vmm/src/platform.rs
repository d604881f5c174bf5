// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the host reads from the device tree of the machine it runs on.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;
use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::{Node, Property};

/// Bytes from the start of a flattened device tree that say its size.
pub const SIZE_BYTES: usize = 8;

const MAGIC: [u8; 4] = [0xD0, 0x0D, 0xFE, 0xED];

/// The machine. Addresses are physical.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// Name of the machine.
    pub model: String,
    /// Memory, in ascending order.
    pub dram: Vec<Range<u64>>,
    /// Memory that belongs to firmware: never touched, not even mapped.
    pub no_map: Vec<Range<u64>>,
    /// Memory with contents to keep.
    pub reserved: Vec<Range<u64>>,
    /// Affinities of the CPUs, as `MPIDR_EL1` holds them.
    pub cpus: Vec<u64>,
    /// Registers of the interrupt distributor.
    pub gicd: u64,
    /// Registers of the first redistributor.
    pub gicr: u64,
}

/// Why a device tree is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlatformError {
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

impl core::error::Error for PlatformError {}

/// Returns the size in bytes of the device tree that starts with `head`, if one does.
pub fn tree_bytes(head: &[u8; SIZE_BYTES]) -> Option<usize> {
    let (magic, size) = head.split_first_chunk::<4>()?;
    let size = u32::from_be_bytes(*size.first_chunk()?);
    (*magic == MAGIC).then(|| usize::try_from(size).ok())?
}

impl Platform {
    /// Reads a flattened device tree.
    ///
    /// # Errors
    ///
    /// [`PlatformError`].
    pub fn parse(tree: &[u8]) -> Result<Self, PlatformError> {
        let tree = Fdt::new(tree).map_err(|_| PlatformError::Malformed)?;
        let root = tree.root();
        let mut dram: Vec<_> = root.children().filter(is_memory).flat_map(ranges).collect();
        dram.sort_by_key(|range| range.start);
        let (no_map, mut reserved) = reservations(&root);
        reserved.extend(
            tree.memory_reservations()
                .map(|entry| entry.address()..entry.address().saturating_add(entry.size())),
        );
        let gic = find_compatible(&root, "arm,gic-v3");
        let mut frames = gic.into_iter().flat_map(ranges);
        let gicd = frames.next().ok_or(PlatformError::Missing("GICv3"))?;
        let gicr = frames
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
    pub fn dram_bytes(&self) -> u64 {
        self.dram.iter().map(|range| range.end - range.start).sum()
    }

    /// Returns the memory that the host may map, in ascending order.
    pub fn mappable(&self) -> Vec<Range<u64>> {
        subtract(&self.dram, &self.no_map)
    }
}

/// Returns `whole` without `holes`, in the order of `whole`.
pub fn subtract(whole: &[Range<u64>], holes: &[Range<u64>]) -> Vec<Range<u64>> {
    holes.iter().fold(whole.to_vec(), |ranges, hole| {
        let parts = ranges.into_iter().flat_map(|range| {
            let (start, end) = (range.start, range.end);
            let before = start..hole.start.clamp(start, end);
            let after = hole.end.clamp(before.end, end)..end;
            [before, after]
        });
        parts.filter(|part| !part.is_empty()).collect()
    })
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

/// Returns the address ranges of a node's `reg`, without empty ones.
fn ranges(node: FdtNode<'_>) -> Vec<Range<u64>> {
    let entries = node.reg().ok().flatten().into_iter().flatten();
    entries
        .filter_map(|entry| {
            let start: u64 = entry.address().ok()?;
            let size: u64 = entry.size().ok()?;
            (size > 0).then(|| start..start.saturating_add(size))
        })
        .collect()
}

/// Returns the reserved memory that must not even be mapped, and the rest.
fn reservations(root: &FdtNode<'_>) -> (Vec<Range<u64>>, Vec<Range<u64>>) {
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
        .filter_map(|node| node.reg().ok()??.next()?.address().ok())
        .collect()
}

fn find_compatible<'a>(node: &FdtNode<'a>, name: &str) -> Option<FdtNode<'a>> {
    node.children().find(|child| {
        child
            .compatible()
            .is_some_and(|mut names| names.any(|other| other == name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fdt::GuestTree;
    use crate::machine::{GICD_BASE, GICR_BASE, GuestMap, RAM_BASE};
    use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};

    /// A guest's tree is one of a whole machine, too.
    fn guest_tree() -> Vec<u8> {
        let map = GuestMap::normal(40, 3, 0x1000_0000).unwrap();
        let tree = GuestTree {
            map: &map,
            command_line: "",
            initrd: None,
            seed: None,
            has_entropy: false,
        };
        tree.to_bytes().unwrap()
    }

    fn cells(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    /// Adds reserved memory as TF-A and a boot loader describe it.
    fn with_reservations(tree: &[u8]) -> Vec<u8> {
        let mut tree = DeviceTree::from_fdt(&Fdt::new(tree).unwrap());
        let node = |name: &str, base: u32| {
            DeviceTreeNode::builder(name)
                .unwrap()
                .property(DeviceTreeProperty::new("reg", cells(&[0, base, 0, 0x1000])).unwrap())
        };
        let no_map = DeviceTreeProperty::new("no-map", [0_u8; 0]).unwrap();
        let parent = DeviceTreeNode::builder("reserved-memory")
            .unwrap()
            .property(DeviceTreeProperty::new("#address-cells", 2_u32).unwrap())
            .property(DeviceTreeProperty::new("#size-cells", 2_u32).unwrap())
            .child(node("rmm@80100000", 0x8010_0000).property(no_map).build())
            .child(node("blob@80200000", 0x8020_0000).build());
        tree.root.add_child(parent.build());
        tree.to_dtb()
    }

    #[test]
    fn platform_is_what_the_tree_says() {
        let platform = Platform::parse(&guest_tree()).unwrap();
        let ram = RAM_BASE..RAM_BASE + 0x1000_0000;
        assert_eq!(platform.dram, [ram]);
        assert_eq!(platform.dram_bytes(), 0x1000_0000);
        assert_eq!(platform.cpus, [0, 1, 2]);
        assert_eq!((platform.gicd, platform.gicr), (GICD_BASE, GICR_BASE));
        assert_eq!(platform.mappable(), platform.dram);
    }

    #[test]
    fn firmware_memory_is_not_mappable() {
        let platform = Platform::parse(&with_reservations(&guest_tree())).unwrap();
        let (firmware, blob) = (0x8010_0000..0x8010_1000, 0x8020_0000..0x8020_1000);
        assert_eq!(platform.no_map, [firmware]);
        assert_eq!(platform.reserved, [blob]);
        let mappable = [0x8000_0000..0x8010_0000, 0x8010_1000..0x9000_0000];
        assert_eq!(platform.mappable(), mappable);
    }

    #[test]
    fn tree_must_be_one() {
        assert_eq!(Platform::parse(&[0; 64]), Err(PlatformError::Malformed));
        let tree = DeviceTree::new().to_dtb();
        assert_eq!(Platform::parse(&tree), Err(PlatformError::Missing("GICv3")));
        assert_eq!(tree_bytes(tree.first_chunk().unwrap()), Some(tree.len()));
        assert_eq!(tree_bytes(&[0; SIZE_BYTES]), None);
    }

    fn range(start: u64, end: u64) -> Range<u64> {
        start..end
    }

    #[test]
    fn subtract_leaves_what_is_outside_every_hole() {
        let whole = [0x10..0x20, 0x30..0x40];
        let around = [0..0x10, 0x20..0x30, 0x40..0x50];
        assert_eq!(subtract(&whole, &around), whole);
        let inside = [range(0x14, 0x18)];
        assert_eq!(
            subtract(&whole, &inside),
            [0x10..0x14, 0x18..0x20, 0x30..0x40]
        );
        let across = [0x1F..0x31, 0x3F..0x99];
        assert_eq!(subtract(&whole, &across), [0x10..0x1F, 0x31..0x3F]);
        let all = [range(0, 0x99)];
        assert_eq!(subtract(&whole, &all), []);
    }
}
