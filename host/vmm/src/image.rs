// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The arm64 `Image` header and what goes where in guest memory
//! (Linux, `Documentation/arch/arm64/booting.rst`).
//!
//! | offset | type | field |
//! |---|---|---|
//! | 0x08 | u64 | text offset: distance of the image from a 2 MiB boundary |
//! | 0x10 | u64 | bytes the image takes in memory, which is more than its file has |
//! | 0x18 | u64 | flags: bit 0 big-endian |
//! | 0x38 | `[u8; 4]` | magic `ARM\x64` |
//!
//! The kernel goes to the start of memory. The device tree gets the next 2 MiB block to itself, the
//! initramfs follows.

use crate::machine::RAM_BASE;
use core::fmt;
use rmi::{GRANULE_SIZE, Ipa};

/// Bytes of an image that [`KernelImage::parse`] looks at.
pub const HEADER_BYTES: usize = 64;
/// Room for the device tree in bytes, and its alignment; Linux allows no more.
pub const DEVICE_TREE_ROOM: u64 = 0x20_0000;

const TEXT_OFFSET: usize = 0x08;
const IMAGE_SIZE: usize = 0x10;
const FLAGS: usize = 0x18;
const MAGIC: usize = 0x38;
const MAGIC_BYTES: &[u8] = b"ARM\x64";
const FLAG_BIG_ENDIAN: u64 = 1;
const KERNEL_ALIGN: u64 = 0x20_0000;

/// A kernel image by its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelImage {
    text_offset: u64,
    file_bytes: u64,
    memory_bytes: u64,
}

/// A range of guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// First address.
    pub base: Ipa,
    /// Size in bytes.
    pub size_bytes: u64,
}

impl Placed {
    /// Returns the address after the last one.
    pub fn end(&self) -> Ipa {
        Ipa::new(self.base.raw().saturating_add(self.size_bytes))
    }
}

/// Where everything is in guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Where vCPU 0 starts.
    pub entry: Ipa,
    /// The bytes of the kernel's file.
    pub kernel: Placed,
    /// Where the device tree goes; there are [`DEVICE_TREE_ROOM`] bytes for it.
    pub device_tree: Ipa,
    /// The initramfs.
    pub initrd: Option<Placed>,
}

/// Why a guest cannot be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageError {
    /// The file is not an arm64 `Image`.
    NotAnImage,
    /// The kernel is big-endian.
    BigEndian,
    /// Kernel, device tree and initramfs need this many bytes of memory.
    TooLarge(u64),
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnImage => write!(f, "the guest is not an arm64 Image"),
            Self::BigEndian => write!(f, "the guest's kernel is big-endian"),
            Self::TooLarge(bytes) => {
                write!(
                    f,
                    "the guest needs more than {} MiB of memory",
                    bytes.div_ceil(1 << 20)
                )
            }
        }
    }
}

impl core::error::Error for ImageError {}

impl KernelImage {
    /// Reads the header of an image whose file has `file_bytes`.
    ///
    /// # Errors
    ///
    /// It is not an arm64 `Image`, or one that cannot run here.
    pub fn parse(header: &[u8], file_bytes: u64) -> Result<Self, ImageError> {
        let header: &[u8; HEADER_BYTES] = header.first_chunk().ok_or(ImageError::NotAnImage)?;
        let word = |offset: usize| {
            header[offset..]
                .first_chunk()
                .map_or(0, |bytes| u64::from_le_bytes(*bytes))
        };
        if !header[MAGIC..].starts_with(MAGIC_BYTES) || word(TEXT_OFFSET) >= KERNEL_ALIGN {
            return Err(ImageError::NotAnImage);
        }
        if word(FLAGS) & FLAG_BIG_ENDIAN != 0 {
            return Err(ImageError::BigEndian);
        }
        Ok(Self {
            text_offset: word(TEXT_OFFSET),
            file_bytes,
            memory_bytes: word(IMAGE_SIZE).max(file_bytes),
        })
    }

    /// Finds places for the kernel, a device tree and an initramfs of `initrd_bytes` (zero: none)
    /// in a guest of `memory_bytes`.
    ///
    /// # Errors
    ///
    /// They do not fit.
    pub fn place(&self, initrd_bytes: u64, memory_bytes: u64) -> Result<Layout, ImageError> {
        let too_large = ImageError::TooLarge(memory_bytes);
        let kernel = Ipa::new(RAM_BASE + self.text_offset);
        let kernel_end = kernel.checked_add(self.memory_bytes).ok_or(too_large)?;
        let device_tree = align_up(kernel_end, DEVICE_TREE_ROOM).ok_or(too_large)?;
        let initrd = device_tree.checked_add(DEVICE_TREE_ROOM).ok_or(too_large)?;
        let end = initrd.checked_add(initrd_bytes).ok_or(too_large)?;
        let end = align_up(end, GRANULE_SIZE).ok_or(too_large)?;
        if end.raw() - RAM_BASE > memory_bytes {
            return Err(ImageError::TooLarge(end.raw() - RAM_BASE));
        }
        Ok(Layout {
            entry: kernel,
            kernel: Placed {
                base: kernel,
                size_bytes: self.file_bytes,
            },
            device_tree,
            initrd: (initrd_bytes > 0).then_some(Placed {
                base: initrd,
                size_bytes: initrd_bytes,
            }),
        })
    }
}

fn align_up(address: Ipa, size: u64) -> Option<Ipa> {
    Some(address.checked_add(size - 1)?.align_down(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text_offset: u64, image_size: u64, flags: u64) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header[8..16].copy_from_slice(&text_offset.to_le_bytes());
        header[16..24].copy_from_slice(&image_size.to_le_bytes());
        header[24..32].copy_from_slice(&flags.to_le_bytes());
        header[56..60].copy_from_slice(b"ARMd");
        header
    }

    #[test]
    fn parts_follow_one_another() {
        let image = KernelImage::parse(&header(0, 0x2A0_0000, 0xA), 0x28C_D000).unwrap();
        let layout = image.place(0x12_3456, 0x1000_0000).unwrap();
        assert_eq!(layout.entry, Ipa::new(0x8000_0000));
        assert_eq!(layout.kernel.end(), Ipa::new(0x828C_D000));
        assert_eq!(layout.device_tree, Ipa::new(0x82A0_0000));
        let initrd = Placed {
            base: Ipa::new(0x82C0_0000),
            size_bytes: 0x12_3456,
        };
        assert_eq!(layout.initrd, Some(initrd));
    }

    #[test]
    fn text_offset_and_file_size_count() {
        let image = KernelImage::parse(&header(0x8_0000, 0, 0), 0x1000).unwrap();
        let layout = image.place(0, 0x1000_0000).unwrap();
        assert_eq!(layout.entry, Ipa::new(0x8008_0000));
        assert_eq!(layout.device_tree, Ipa::new(0x8020_0000));
        assert_eq!(layout.initrd, None);
    }

    #[test]
    fn image_must_be_one() {
        let good = header(0, 0x1000, 0);
        assert_eq!(
            KernelImage::parse(&good[..63], 63),
            Err(ImageError::NotAnImage)
        );
        let mut bad = good;
        bad[56] = b'X';
        assert_eq!(
            KernelImage::parse(&bad, 0x1000),
            Err(ImageError::NotAnImage)
        );
        let far = header(0x20_0000, 0x1000, 0);
        assert_eq!(
            KernelImage::parse(&far, 0x1000),
            Err(ImageError::NotAnImage)
        );
        let big = header(0, 0x1000, 1);
        assert_eq!(KernelImage::parse(&big, 0x1000), Err(ImageError::BigEndian));
    }

    #[test]
    fn guest_must_fit() {
        let image = KernelImage::parse(&header(0, 0x20_0000, 0), 0x1000).unwrap();
        assert!(image.place(0x20_0000, 0x60_0000).is_ok());
        assert_eq!(
            image.place(0x20_0001, 0x60_0000),
            Err(ImageError::TooLarge(0x60_1000))
        );
        let huge = KernelImage::parse(&header(0, u64::MAX, 0), 0x1000).unwrap();
        assert_eq!(huge.place(0, 0x1000), Err(ImageError::TooLarge(0x1000)));
    }
}
