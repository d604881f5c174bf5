// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The guest's device tree: the machine of [`machine`](crate::machine) in Linux's words.
//!
//! Devices are listed at their plain addresses, in a Realm too: its kernel finds out by itself that
//! they are not its own memory and uses their shared alias. Only an early console, which runs
//! before that, needs the alias spelled out on the command line.

use crate::image::{DEVICE_TREE_ROOM, Placed};
use crate::machine::{
    CLOCK_BASE, CLOCK_BYTES, ENTROPY_BASE, ENTROPY_BYTES, ENTROPY_INTID, GICD_BASE, GICD_BYTES,
    GICR_BASE, GICR_BYTES, GuestMap, MAINTENANCE_INTID, PHYSICAL_TIMER_INTID, PMU_INTID, RAM_BASE,
    UART_BASE, UART_BYTES, UART_INTID, VIRTUAL_TIMER_INTID, mpidr_of,
};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use dtoolkit::ToPropertyValue;
use dtoolkit::error::ModelError;
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeNodeBuilder, DeviceTreeProperty};

/// The interrupt controller's and the UART clock's handles.
const GIC_HANDLE: u32 = 1;
const CLOCK_HANDLE: u32 = 2;

/// First cell of an interrupt: which kind.
const KIND_SPI: u32 = 0;
const KIND_PPI: u32 = 1;
/// Third cell: active high level.
const LEVEL_HIGH: u32 = 4;
const FIRST_PPI: u32 = 16;
const FIRST_SPI: u32 = 32;
/// The secure and the hypervisor's timers, which the binding lists and no guest has.
const SECURE_TIMER_INTID: u32 = 29;
const HYPERVISOR_TIMER_INTID: u32 = 26;

const UART_CLOCK_HZ: u32 = 24_000_000;

/// What a tree says besides the machine.
#[derive(Clone, Copy, Debug)]
pub struct GuestTree<'a> {
    /// The machine.
    pub map: &'a GuestMap,
    /// The kernel's command line.
    pub command_line: &'a str,
    /// Where the initramfs is.
    pub initrd: Option<Placed>,
    /// Random bytes for the guest's generator and its address space, if there are any.
    pub seed: Option<Seed>,
    /// The host has random numbers for the guest's device.
    pub has_entropy: bool,
}

/// Random bytes for a guest. They come from the host, so a Realm mixes them in without trusting
/// them.
#[derive(Clone, Copy)]
pub struct Seed {
    /// For the random number generator.
    pub generator: [u8; 32],
    /// For the place of the kernel in its address space.
    pub address_space: u64,
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed { .. }")
    }
}

/// Why a tree could not be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TreeError {
    /// A name or value is not allowed: the command line holds a zero byte.
    BadText,
    /// The tree has more bytes than there is room for.
    TooLarge(usize),
}

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadText => write!(f, "the command line holds a zero byte"),
            Self::TooLarge(bytes) => write!(f, "the device tree has {bytes} bytes"),
        }
    }
}

impl core::error::Error for TreeError {}

impl From<ModelError> for TreeError {
    fn from(_: ModelError) -> Self {
        Self::BadText
    }
}

impl GuestTree<'_> {
    /// Writes the tree as a flattened device tree.
    ///
    /// # Errors
    ///
    /// The command line is not a text, or too long.
    pub fn to_bytes(&self) -> Result<Vec<u8>, TreeError> {
        if self.command_line.contains('\0') {
            return Err(TreeError::BadText);
        }
        let mut tree = DeviceTree::new();
        let root = Node::new("")?
            .with("#address-cells", 2_u32)?
            .with("#size-cells", 2_u32)?
            .with("interrupt-parent", GIC_HANDLE)?
            .with("compatible", "linux,dummy-virt")?
            .with("model", "bailey,guest")?
            .child(self.chosen()?)
            .child(self.memory()?)
            .child(self.cpus()?)
            .child(psci()?)
            .child(timer()?)
            .child(self.interrupt_controller()?)
            .child(clock()?)
            .child(uart()?);
        let root = if self.map.has_clock() {
            root.child(board_clock()?)
        } else {
            root
        };
        let root = if self.map.has_pmu() {
            root.child(pmu()?)
        } else {
            root
        };
        let root = if self.has_entropy {
            root.child(entropy()?)
        } else {
            root
        };
        tree.root = root.build();
        let bytes = tree.to_dtb();
        if bytes.len() as u64 > DEVICE_TREE_ROOM {
            return Err(TreeError::TooLarge(bytes.len()));
        }
        Ok(bytes)
    }

    fn chosen(&self) -> Result<Node, TreeError> {
        let uart = format!("/{}", uart_name());
        let mut node = Node::new("chosen")?
            .with("bootargs", self.command_line)?
            .with("stdout-path", uart.as_str())?;
        if let Some(initrd) = self.initrd {
            node = node
                .with("linux,initrd-start", initrd.base.raw())?
                .with("linux,initrd-end", initrd.end().raw())?;
        }
        if let Some(seed) = self.seed {
            node = node
                .with("rng-seed", seed.generator)?
                .with("kaslr-seed", seed.address_space)?;
        }
        Ok(node)
    }

    fn memory(&self) -> Result<Node, TreeError> {
        Node::new(&format!("memory@{RAM_BASE:x}"))?
            .with("device_type", "memory")?
            .with("reg", reg(&[(RAM_BASE, self.map.memory_bytes())]))
    }

    fn cpus(&self) -> Result<Node, TreeError> {
        let mut cpus = Node::new("cpus")?
            .with("#address-cells", 2_u32)?
            .with("#size-cells", 0_u32)?;
        for vcpu in 0..self.map.vcpus() {
            let affinity = mpidr_of(vcpu).affinity();
            let cpu = Node::new(&format!("cpu@{affinity:x}"))?
                .with("device_type", "cpu")?
                .with("compatible", "arm,armv8")?
                .with("enable-method", "psci")?
                .with("reg", affinity)?;
            cpus = cpus.child(cpu);
        }
        Ok(cpus)
    }

    fn interrupt_controller(&self) -> Result<Node, TreeError> {
        let redistributors = GICR_BYTES * self.map.vcpus() as u64;
        Node::new(&format!("interrupt-controller@{GICD_BASE:x}"))?
            .with("compatible", "arm,gic-v3")?
            .with("#address-cells", 0_u32)?
            .with("#interrupt-cells", 3_u32)?
            .flag("interrupt-controller")?
            .with(
                "reg",
                reg(&[(GICD_BASE, GICD_BYTES), (GICR_BASE, redistributors)]),
            )?
            .with("#redistributor-regions", 1_u32)?
            .with("interrupts", ppi(MAINTENANCE_INTID))?
            .with("phandle", GIC_HANDLE)
    }
}

fn psci() -> Result<Node, TreeError> {
    Node::new("psci")?
        .with("compatible", strings(&["arm,psci-1.0", "arm,psci-0.2"]))?
        .with("method", "smc")
}

fn timer() -> Result<Node, TreeError> {
    let interrupts = [
        SECURE_TIMER_INTID,
        PHYSICAL_TIMER_INTID,
        VIRTUAL_TIMER_INTID,
        HYPERVISOR_TIMER_INTID,
    ];
    let interrupts: Vec<u32> = interrupts.into_iter().flat_map(ppi).collect();
    Node::new("timer")?
        .with("compatible", "arm,armv8-timer")?
        .with("interrupts", interrupts.as_slice())?
        .flag("always-on")
}

fn pmu() -> Result<Node, TreeError> {
    Node::new("pmu")?
        .with("compatible", "arm,armv8-pmuv3")?
        .with("interrupts", ppi(PMU_INTID))
}

fn clock() -> Result<Node, TreeError> {
    Node::new("clock")?
        .with("compatible", "fixed-clock")?
        .with("#clock-cells", 0_u32)?
        .with("clock-frequency", UART_CLOCK_HZ)?
        .with("phandle", CLOCK_HANDLE)
}

fn uart() -> Result<Node, TreeError> {
    Node::new(&uart_name())?
        .with("compatible", strings(&["arm,pl011", "arm,primecell"]))?
        .with("reg", reg(&[(UART_BASE, UART_BYTES)]))?
        .with("interrupts", [KIND_SPI, UART_INTID - FIRST_SPI, LEVEL_HIGH])?
        .with("clocks", [CLOCK_HANDLE, CLOCK_HANDLE])?
        .with("clock-names", strings(&["uartclk", "apb_pclk"]))
}

fn board_clock() -> Result<Node, TreeError> {
    Node::new(&format!("rtc@{CLOCK_BASE:x}"))?
        .with("compatible", strings(&["arm,pl031", "arm,primecell"]))?
        .with("reg", reg(&[(CLOCK_BASE, CLOCK_BYTES)]))?
        .with("clocks", CLOCK_HANDLE)?
        .with("clock-names", "apb_pclk")
}

/// The device's accesses to memory are coherent with the guest's caches.
fn entropy() -> Result<Node, TreeError> {
    Node::new(&format!("virtio_mmio@{ENTROPY_BASE:x}"))?
        .with("compatible", "virtio,mmio")?
        .with("reg", reg(&[(ENTROPY_BASE, ENTROPY_BYTES)]))?
        .with(
            "interrupts",
            [KIND_SPI, ENTROPY_INTID - FIRST_SPI, LEVEL_HIGH],
        )?
        .flag("dma-coherent")
}

fn uart_name() -> String {
    format!("pl011@{UART_BASE:x}")
}

fn ppi(intid: u32) -> [u32; 3] {
    [KIND_PPI, intid - FIRST_PPI, LEVEL_HIGH]
}

/// Encodes ranges of two cells of address and two of size.
fn reg(ranges: &[(u64, u64)]) -> Vec<u8> {
    let words = ranges
        .iter()
        .flat_map(|(base, size_bytes)| [*base, *size_bytes]);
    words.flat_map(u64::to_be_bytes).collect()
}

/// Encodes a list of strings.
fn strings(list: &[&str]) -> Vec<u8> {
    list.iter()
        .flat_map(|text| text.bytes().chain([0]))
        .collect()
}

/// A node being built.
struct Node(DeviceTreeNodeBuilder);

impl Node {
    fn new(name: &str) -> Result<Self, TreeError> {
        Ok(Self(DeviceTreeNode::builder(name)?))
    }

    fn with(self, name: &str, value: impl ToPropertyValue) -> Result<Self, TreeError> {
        Ok(Self(self.0.property(DeviceTreeProperty::new(name, value)?)))
    }

    fn flag(self, name: &str) -> Result<Self, TreeError> {
        self.with(name, [0_u8; 0])
    }

    fn child(self, child: Self) -> Self {
        Self(self.0.child(child.0.build()))
    }

    fn build(self) -> DeviceTreeNode {
        self.0.build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dtoolkit::fdt::{Fdt, FdtNode};
    use dtoolkit::standard::NodeStandard;
    use dtoolkit::{Node as _, Property};
    use rmi::Ipa;

    fn sample(command_line: &str) -> Result<Vec<u8>, TreeError> {
        let map = GuestMap::realm(40, 3, 0x1000_0000).unwrap();
        let initrd = Placed {
            base: Ipa::new(0x8300_0000),
            size_bytes: 0x1234,
        };
        let seed = Seed {
            generator: [7; 32],
            address_space: 9,
        };
        let tree = GuestTree {
            map: &map,
            command_line,
            initrd: Some(initrd),
            seed: Some(seed),
            has_entropy: true,
        };
        tree.to_bytes()
    }

    fn words(node: FdtNode<'_>, name: &str) -> Vec<u32> {
        node.property(name).unwrap().value_as::<Vec<u32>>().unwrap()
    }

    fn text<'a>(node: FdtNode<'a>, name: &str) -> &'a str {
        node.property(name).unwrap().value_as::<&str>().unwrap()
    }

    fn ranges(node: FdtNode<'_>) -> Vec<(u64, u64)> {
        let reg = node.reg().unwrap().unwrap();
        reg.map(|range| (range.address().unwrap(), range.size().unwrap()))
            .collect()
    }

    #[test]
    fn tree_describes_the_machine() {
        let bytes = sample("console=ttyAMA0").unwrap();
        let tree = Fdt::new(&bytes).unwrap();
        let memory = tree.find_node("/memory@80000000").unwrap();
        assert_eq!(ranges(memory), [(0x8000_0000, 0x1000_0000)]);
        let gic = tree.find_node("/interrupt-controller@8000000").unwrap();
        assert!(gic.is_compatible("arm,gic-v3"));
        assert_eq!(
            ranges(gic),
            [(0x0800_0000, 0x1_0000), (0x080A_0000, 0x6_0000)]
        );
        assert_eq!(words(gic, "interrupts"), [1, 9, 4]);
        let timer = tree.find_node("/timer").unwrap();
        assert_eq!(
            words(timer, "interrupts"),
            [1, 13, 4, 1, 14, 4, 1, 11, 4, 1, 10, 4]
        );
        let psci = tree.find_node("/psci").unwrap();
        assert!(psci.is_compatible("arm,psci-0.2"));
        assert_eq!(text(psci, "method"), "smc");
    }

    #[test]
    fn tree_lists_every_cpu() {
        let bytes = sample("").unwrap();
        let tree = Fdt::new(&bytes).unwrap();
        let cpus = tree.cpus().unwrap();
        let ids: Vec<u64> = cpus
            .cpus()
            .map(|cpu| cpu.ids().unwrap().next().unwrap())
            .map(to_u64)
            .collect();
        assert_eq!(ids, [0, 1, 2]);
        assert!(cpus.cpus().all(|cpu| text(*cpu, "enable-method") == "psci"));
    }

    fn to_u64(cells: dtoolkit::Cells<'_>) -> u64 {
        dtoolkit::ToCellInt::to_int(cells).unwrap()
    }

    #[test]
    fn console_has_clocks_and_interrupt() {
        let bytes = sample("").unwrap();
        let tree = Fdt::new(&bytes).unwrap();
        let uart = tree.find_node("/pl011@9000000").unwrap();
        assert!(uart.is_compatible("arm,pl011") && uart.is_compatible("arm,primecell"));
        assert_eq!(ranges(uart), [(0x0900_0000, 0x1000)]);
        assert_eq!(words(uart, "interrupts"), [0, 1, 4]);
        let clock = tree.find_node("/clock").unwrap();
        let handle = clock.phandle().unwrap().unwrap();
        assert_eq!(words(uart, "clocks"), [handle, handle]);
        assert_eq!(
            uart.property("clock-names").unwrap().value(),
            b"uartclk\0apb_pclk\0"
        );
        let gic = tree.find_node("/interrupt-controller@8000000").unwrap();
        let parent = words(tree.root(), "interrupt-parent");
        assert_eq!(parent, [gic.phandle().unwrap().unwrap()]);
    }

    #[test]
    fn random_numbers_come_from_a_coherent_device() {
        let bytes = sample("").unwrap();
        let tree = Fdt::new(&bytes).unwrap();
        let device = tree.find_node("/virtio_mmio@a000000").unwrap();
        assert!(device.is_compatible("virtio,mmio"));
        assert_eq!(ranges(device), [(0x0A00_0000, 0x200)]);
        assert_eq!(words(device, "interrupts"), [0, 2, 4]);
        assert!(device.property("dma-coherent").is_some());
    }

    #[test]
    fn chosen_carries_the_start_up_values() {
        let bytes = sample("console=ttyAMA0 quiet").unwrap();
        let tree = Fdt::new(&bytes).unwrap();
        let chosen = tree.find_node("/chosen").unwrap();
        assert_eq!(text(chosen, "bootargs"), "console=ttyAMA0 quiet");
        assert_eq!(text(chosen, "stdout-path"), "/pl011@9000000");
        assert_eq!(words(chosen, "linux,initrd-start"), [0, 0x8300_0000]);
        assert_eq!(words(chosen, "linux,initrd-end"), [0, 0x8300_1234]);
        assert_eq!(chosen.property("rng-seed").unwrap().value(), [7; 32]);
        assert_eq!(words(chosen, "kaslr-seed"), [0, 9]);
    }

    #[test]
    fn what_not_every_machine_has_is_there_when_it_has_it() {
        let bytes = sample("").unwrap();
        let tree = Fdt::new(&bytes).unwrap();
        assert!(tree.find_node("/rtc@9010000").is_none());
        assert!(tree.find_node("/pmu").is_none());
        let map = GuestMap::normal(40, 1, 0x1000_0000).unwrap();
        let tree = GuestTree {
            map: &map.with_clock().with_pmu(),
            command_line: "",
            initrd: None,
            seed: None,
            has_entropy: false,
        };
        let bytes = tree.to_bytes().unwrap();
        let tree = Fdt::new(&bytes).unwrap();
        let clock = tree.find_node("/rtc@9010000").unwrap();
        assert!(clock.is_compatible("arm,pl031"));
        assert_eq!(ranges(clock), [(0x0901_0000, 0x1000)]);
        let pmu = tree.find_node("/pmu").unwrap();
        assert!(pmu.is_compatible("arm,armv8-pmuv3"));
        assert_eq!(words(pmu, "interrupts"), [1, 7, 4]);
    }

    #[test]
    fn command_line_must_be_a_text() {
        assert_eq!(sample("a\0b"), Err(TreeError::BadText));
    }

    #[test]
    fn seed_is_not_shown() {
        let seed = Seed {
            generator: [0xAB; 32],
            address_space: 0xCD,
        };
        assert_eq!(format!("{seed:?}"), "Seed { .. }");
    }
}
