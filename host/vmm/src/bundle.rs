// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The guest bundle: one file that carries everything the host needs to run its guests.
//!
//! The bundle is written on the development machine and loaded into Non-secure DRAM next to the
//! host image. Its first page is the header below; kernel, initramfs and test payload follow at the
//! offsets the header names. All numbers are little-endian, unnamed bytes are zero.
//!
//! | offset | type | field |
//! |---|---|---|
//! | 0x000 | `[u8; 8]` | magic `BAILEYGB` |
//! | 0x008 | u32 | version, 1 |
//! | 0x00c | u32 | [`Mode`] |
//! | 0x010 | u32 | vCPUs of each VM, 1 to 8 |
//! | 0x014 | u32 | [`Options`] bits |
//! | 0x018 | u64 | guest memory in bytes |
//! | 0x020 | u64, u64 | kernel: offset (2 MiB aligned), size |
//! | 0x030 | u64, u64 | initramfs: offset (4 KiB aligned), size; zero when there is none |
//! | 0x040 | u64, u64 | test payload: offset, size; zero when there is none |
//! | 0x050 | u64 | size of the whole file |
//! | 0x060 | `[u8; 32]` | secret pattern of this run |
//! | 0x080 | u32, `[u8; 508]` | command line: length, UTF-8 bytes |
//! | 0x280 | u32, `[u8; 252]` | scenario filter: length, UTF-8 bytes |

use alloc::string::{String, ToString};
use core::fmt;
use core::mem::{offset_of, size_of};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, transmute, transmute_ref};

/// Size of the header in bytes; also the alignment of the initramfs in the file.
pub const HEADER_BYTES: usize = 4096;
/// Alignment of the kernel in the file, in bytes.
pub const KERNEL_ALIGN: u64 = 0x20_0000;
/// Largest number of vCPUs of one VM.
pub const MAX_VCPUS: u32 = 8;
/// Longest command line, in bytes.
pub const MAX_COMMAND_LINE: usize = 508;
/// Longest scenario filter, in bytes.
pub const MAX_FILTER: usize = 252;

const MAGIC: [u8; 8] = *b"BAILEYGB";
const VERSION: u32 = 1;
const INITRD_ALIGN: u64 = 0x1000;

/// What the host is asked to do with the bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Run the guest as a Realm.
    Realm,
    /// Run the guest as a normal VM.
    NormalVm,
    /// Run both at the same time.
    Both,
    /// Run the conformance scenarios.
    Conformance,
    /// Run the benchmark.
    Bench,
}

impl Mode {
    const ALL: [(Self, u32); 5] = [
        (Self::Realm, 0),
        (Self::NormalVm, 1),
        (Self::Both, 2),
        (Self::Conformance, 3),
        (Self::Bench, 4),
    ];

    /// Returns the number the header carries.
    pub fn code(self) -> u32 {
        match self {
            Self::Realm => 0,
            Self::NormalVm => 1,
            Self::Both => 2,
            Self::Conformance => 3,
            Self::Bench => 4,
        }
    }

    /// Returns the mode of a header's number, if there is one.
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, number)| *number == code)
            .map(|(mode, _)| *mode)
    }
}

/// Switches of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options(u32);

impl Options {
    /// The guest's memory logs dirty pages.
    pub const DIRTY_LOG: Self = Self(1 << 0);
    /// Random pieces of guest memory are invalidated while the guest runs.
    pub const INVALIDATE: Self = Self(1 << 1);
    /// The host tells more.
    pub const VERBOSE: Self = Self(1 << 2);

    /// The machine's counter counts instructions.
    pub const EXACT_TIME: Self = Self(1 << 3);
    /// The normal VM moves to other memory while it runs.
    pub const MIGRATE: Self = Self(1 << 4);
    /// Free memory has allocation tags that somebody left there.
    pub const OLD_TAGS: Self = Self(1 << 5);

    const KNOWN: u32 = 0b11_1111;

    /// Returns the options of a header word, or nothing when it has a bit without a meaning.
    pub fn from_bits(bits: u32) -> Option<Self> {
        (bits & !Self::KNOWN == 0).then_some(Self(bits))
    }

    /// Returns the header word.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// Returns these options with those of `other` added.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Tells whether every option of `other` is set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A piece of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// First byte, counted from the start of the file.
    pub offset: u64,
    /// Size in bytes, not zero.
    pub size_bytes: u64,
}

impl Part {
    /// Returns the offset of the first byte after the part.
    ///
    /// Cannot overflow for a part of a [`Bundle`] that [`parse`] or [`encode`] accepted.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.size_bytes)
    }
}

/// A validated header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// What to do.
    pub mode: Mode,
    /// vCPUs of each VM, 1 to [`MAX_VCPUS`].
    pub vcpus: u32,
    /// Switches.
    pub options: Options,
    /// Memory of each VM in bytes.
    pub memory_bytes: u64,
    /// The kernel; only conformance and benchmark runs have none.
    pub kernel: Option<Part>,
    /// The initramfs.
    pub initrd: Option<Part>,
    /// The payload that on-target tests run inside a Realm.
    pub test_payload: Option<Part>,
    /// Size of the whole file in bytes.
    pub file_bytes: u64,
    /// Pattern the guest writes into its memory and the host looks for after teardown.
    pub secret: [u8; 32],
    /// The guest kernel's command line.
    pub command_line: String,
    /// Which scenarios to run; empty means all.
    pub scenario_filter: String,
}

/// Why a header is not usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleError {
    /// The first eight bytes are not the magic.
    Magic,
    /// The version is another one.
    Version(u32),
    /// The mode has no meaning.
    Mode(u32),
    /// An option bit has no meaning.
    Options(u32),
    /// There must be one to eight vCPUs.
    Vcpus(u32),
    /// Guest memory must be a positive multiple of 4 KiB.
    Memory(u64),
    /// The kernel is misaligned, overlaps the header or ends beyond the file.
    Kernel,
    /// The mode runs a kernel and the bundle has none.
    KernelMissing,
    /// The initramfs is misaligned, overlaps the header or ends beyond the file.
    Initrd,
    /// The test payload overlaps the header or ends beyond the file.
    TestPayload,
    /// The header says another file size than there is.
    FileSize(u64),
    /// The command line is too long, or not UTF-8.
    CommandLine,
    /// The scenario filter is too long, or not UTF-8.
    Filter,
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => write!(f, "not a guest bundle"),
            Self::Version(version) => write!(f, "bundle version {version} is not {VERSION}"),
            Self::Mode(mode) => write!(f, "unknown bundle mode {mode}"),
            Self::Options(bits) => write!(f, "unknown bundle option in {bits:#x}"),
            Self::Vcpus(vcpus) => write!(f, "{vcpus} vCPUs, expected 1 to {MAX_VCPUS}"),
            Self::Memory(bytes) => write!(f, "guest memory of {bytes:#x} bytes is not usable"),
            Self::Kernel => write!(f, "the kernel is misplaced in the bundle"),
            Self::KernelMissing => write!(f, "the bundle has no kernel"),
            Self::Initrd => write!(f, "the initramfs is misplaced in the bundle"),
            Self::TestPayload => write!(f, "the test payload is misplaced in the bundle"),
            Self::FileSize(bytes) => write!(f, "the bundle's file size {bytes:#x} is wrong"),
            Self::CommandLine => write!(f, "the command line is too long or not UTF-8"),
            Self::Filter => write!(f, "the scenario filter is too long or not UTF-8"),
        }
    }
}

impl core::error::Error for BundleError {}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct WirePart {
    offset: U64,
    size: U64,
}

#[derive(Clone, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    version: U32,
    mode: U32,
    vcpus: U32,
    options: U32,
    memory: U64,
    kernel: WirePart,
    initrd: WirePart,
    test_payload: WirePart,
    file_size: U64,
    _reserved_58: [u8; 8],
    secret: [u8; 32],
    command_line_size: U32,
    command_line: [u8; MAX_COMMAND_LINE],
    filter_size: U32,
    filter: [u8; MAX_FILTER],
    _reserved_380: [u8; 0xc80],
}

const _: () = {
    assert!(size_of::<Header>() == HEADER_BYTES);
    assert!(offset_of!(Header, mode) == 0x0c);
    assert!(offset_of!(Header, memory) == 0x18);
    assert!(offset_of!(Header, file_size) == 0x50);
    assert!(offset_of!(Header, secret) == 0x60);
    assert!(offset_of!(Header, command_line_size) == 0x80);
    assert!(offset_of!(Header, filter_size) == 0x280);
};

/// Reads and validates a header.
///
/// `file_bytes` is the size of the file the header came from; pass `None` where it is not known
/// (a loader that put the file into memory does not tell).
///
/// # Errors
///
/// The first rule of the layout that the header breaks.
pub fn parse(header: &[u8; HEADER_BYTES], file_bytes: Option<u64>) -> Result<Bundle, BundleError> {
    let header: &Header = transmute_ref!(header);
    if header.magic != MAGIC {
        return Err(BundleError::Magic);
    }
    if header.version.get() != VERSION {
        return Err(BundleError::Version(header.version.get()));
    }
    let size = header.file_size.get();
    if file_bytes.is_some_and(|bytes| bytes != size) {
        return Err(BundleError::FileSize(size));
    }
    let mode = header.mode.get();
    let options = header.options.get();
    let bundle = Bundle {
        mode: Mode::from_code(mode).ok_or(BundleError::Mode(mode))?,
        vcpus: header.vcpus.get(),
        options: Options::from_bits(options).ok_or(BundleError::Options(options))?,
        memory_bytes: header.memory.get(),
        kernel: part(header.kernel),
        initrd: part(header.initrd),
        test_payload: part(header.test_payload),
        file_bytes: size,
        secret: header.secret,
        command_line: text(&header.command_line, header.command_line_size)
            .ok_or(BundleError::CommandLine)?,
        scenario_filter: text(&header.filter, header.filter_size).ok_or(BundleError::Filter)?,
    };
    check(&bundle)?;
    Ok(bundle)
}

/// Writes the header of a bundle.
///
/// # Errors
///
/// The first rule of the layout that the bundle breaks.
pub fn encode(bundle: &Bundle) -> Result<[u8; HEADER_BYTES], BundleError> {
    check(bundle)?;
    let (command_line_size, command_line) =
        wire_text(&bundle.command_line).ok_or(BundleError::CommandLine)?;
    let (filter_size, filter) = wire_text(&bundle.scenario_filter).ok_or(BundleError::Filter)?;
    Ok(transmute!(Header {
        magic: MAGIC,
        version: VERSION.into(),
        mode: bundle.mode.code().into(),
        vcpus: bundle.vcpus.into(),
        options: bundle.options.bits().into(),
        memory: bundle.memory_bytes.into(),
        kernel: wire_part(bundle.kernel),
        initrd: wire_part(bundle.initrd),
        test_payload: wire_part(bundle.test_payload),
        file_size: bundle.file_bytes.into(),
        _reserved_58: [0; 8],
        secret: bundle.secret,
        command_line_size,
        command_line,
        filter_size,
        filter,
        _reserved_380: [0; 0xc80],
    }))
}

fn check(bundle: &Bundle) -> Result<(), BundleError> {
    if !(1..=MAX_VCPUS).contains(&bundle.vcpus) {
        return Err(BundleError::Vcpus(bundle.vcpus));
    }
    let memory = bundle.memory_bytes;
    if memory == 0 || !memory.is_multiple_of(INITRD_ALIGN) {
        return Err(BundleError::Memory(memory));
    }
    check_part(bundle, bundle.kernel, KERNEL_ALIGN).ok_or(BundleError::Kernel)?;
    check_part(bundle, bundle.initrd, INITRD_ALIGN).ok_or(BundleError::Initrd)?;
    check_part(bundle, bundle.test_payload, 1).ok_or(BundleError::TestPayload)?;
    let needs_kernel = matches!(bundle.mode, Mode::Realm | Mode::NormalVm | Mode::Both);
    if needs_kernel && bundle.kernel.is_none() {
        return Err(BundleError::KernelMissing);
    }
    Ok(())
}

fn check_part(bundle: &Bundle, part: Option<Part>, align: u64) -> Option<()> {
    let Some(part) = part else {
        return Some(());
    };
    let end = part.offset.checked_add(part.size_bytes)?;
    let is_good = part.size_bytes > 0
        && part.offset >= HEADER_BYTES as u64
        && part.offset.is_multiple_of(align)
        && end <= bundle.file_bytes;
    is_good.then_some(())
}

fn part(wire: WirePart) -> Option<Part> {
    let (offset, size_bytes) = (wire.offset.get(), wire.size.get());
    (offset != 0 || size_bytes != 0).then_some(Part { offset, size_bytes })
}

fn wire_part(part: Option<Part>) -> WirePart {
    let part = part.unwrap_or(Part {
        offset: 0,
        size_bytes: 0,
    });
    WirePart {
        offset: part.offset.into(),
        size: part.size_bytes.into(),
    }
}

fn text(bytes: &[u8], size: U32) -> Option<String> {
    let used = bytes.get(..usize::try_from(size.get()).ok()?)?;
    Some(core::str::from_utf8(used).ok()?.to_string())
}

fn wire_text<const N: usize>(text: &str) -> Option<(U32, [u8; N])> {
    let mut bytes = [0; N];
    bytes
        .get_mut(..text.len())?
        .copy_from_slice(text.as_bytes());
    Some((U32::new(u32::try_from(text.len()).ok()?), bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Bundle {
        Bundle {
            mode: Mode::Realm,
            vcpus: 4,
            options: Options::VERBOSE.with(Options::DIRTY_LOG),
            memory_bytes: 0x1000_0000,
            kernel: Some(Part {
                offset: 0x20_0000,
                size_bytes: 0x280_0000,
            }),
            initrd: Some(Part {
                offset: 0x2a0_0000,
                size_bytes: 0x12345,
            }),
            test_payload: None,
            file_bytes: 0x2a1_2345,
            secret: [0xa5; 32],
            command_line: "console=ttyAMA0".to_string(),
            scenario_filter: "^rtt_".to_string(),
        }
    }

    #[test]
    fn encode_places_fields() {
        let page = encode(&sample()).unwrap();
        assert_eq!(&page[..8], b"BAILEYGB");
        assert_eq!(page[0x08..0x0c], [1, 0, 0, 0]);
        assert_eq!(page[0x10..0x14], [4, 0, 0, 0]);
        assert_eq!(page[0x14..0x18], [0b101, 0, 0, 0]);
        assert_eq!(page[0x18..0x20], 0x1000_0000_u64.to_le_bytes());
        assert_eq!(page[0x20..0x28], 0x20_0000_u64.to_le_bytes());
        assert_eq!(page[0x38..0x40], 0x12345_u64.to_le_bytes());
        assert_eq!(page[0x40..0x50], [0; 16]);
        assert_eq!(page[0x50..0x58], 0x2a1_2345_u64.to_le_bytes());
        assert_eq!(page[0x60..0x80], [0xa5; 32]);
        assert_eq!(page[0x80..0x84], [15, 0, 0, 0]);
        assert_eq!(&page[0x84..0x93], b"console=ttyAMA0");
        assert_eq!(&page[0x280..0x289], b"\x05\0\0\0^rtt_");
    }

    #[test]
    fn parse_returns_what_was_encoded() {
        let page = encode(&sample()).unwrap();
        assert_eq!(parse(&page, Some(0x2a1_2345)), Ok(sample()));
        assert_eq!(parse(&page, None), Ok(sample()));
    }

    #[test]
    fn parse_refuses_broken_headers() {
        let good = encode(&sample()).unwrap();
        let broken = |offset: usize, value: u8| {
            let mut page = good;
            page[offset] = value;
            parse(&page, Some(0x2a1_2345))
        };
        assert_eq!(broken(0, b'X'), Err(BundleError::Magic));
        assert_eq!(broken(8, 2), Err(BundleError::Version(2)));
        assert_eq!(broken(0x0c, 9), Err(BundleError::Mode(9)));
        assert_eq!(broken(0x10, 0), Err(BundleError::Vcpus(0)));
        assert_eq!(broken(0x10, 9), Err(BundleError::Vcpus(9)));
        assert_eq!(broken(0x14, 64), Err(BundleError::Options(64)));
        assert_eq!(broken(0x18, 1), Err(BundleError::Memory(0x1000_0001)));
        assert_eq!(broken(0x21, 0x10), Err(BundleError::Kernel));
        assert_eq!(broken(0x30, 1), Err(BundleError::Initrd));
        assert_eq!(broken(0x3a, 0xff), Err(BundleError::Initrd));
        assert_eq!(broken(0x40, 1), Err(BundleError::TestPayload));
        assert_eq!(broken(0x84, 0xff), Err(BundleError::CommandLine));
        assert_eq!(broken(0x81, 0x7f), Err(BundleError::CommandLine));
        assert_eq!(broken(0x281, 1), Err(BundleError::Filter));
        assert_eq!(
            parse(&good, Some(5)),
            Err(BundleError::FileSize(0x2a1_2345))
        );
    }

    #[test]
    fn kernel_is_needed_only_to_run_one() {
        let mut bundle = sample();
        bundle.kernel = None;
        assert_eq!(encode(&bundle), Err(BundleError::KernelMissing));
        bundle.mode = Mode::Conformance;
        assert!(encode(&bundle).is_ok());
    }

    #[test]
    fn mode_codes_round_trip() {
        for (mode, code) in Mode::ALL {
            assert_eq!(mode.code(), code);
            assert_eq!(Mode::from_code(code), Some(mode));
        }
        assert_eq!(Mode::from_code(5), None);
    }
}
