// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The header of an arm64 `Image` (Linux, Documentation/arch/arm64/booting.rst).

use crate::refusal::refuse;
use anyhow::Result;
use std::fs;
use std::path::Path;

const MAGIC_OFFSET: usize = 56;
const MAGIC: &[u8] = b"ARM\x64";
const TEXT_OFFSET: usize = 8;
const IMAGE_SIZE: usize = 16;
const HEADER_BYTES: usize = 64;

/// A kernel, or another program in the same wrapping.
#[derive(Debug)]
pub(crate) struct KernelImage {
    /// The file.
    pub(crate) bytes: Vec<u8>,
    /// Memory the kernel needs from its 2 MiB aligned base: offset, code, data and BSS, in bytes.
    pub(crate) memory_bytes: u64,
}

impl KernelImage {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// A refusal when there is no such file or it is not an uncompressed arm64 Image.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let bytes = fs::read(file).map_err(|error| {
            refuse(format!(
                "the guest {} cannot be read: {error}",
                file.display()
            ))
        })?;
        let memory_bytes = match header(&bytes) {
            Ok(memory_bytes) => memory_bytes,
            Err(what) => {
                return Err(refuse(format!(
                    "the guest {} is {what}; give an uncompressed arm64 Linux `Image`",
                    file.display()
                )));
            }
        };
        Ok(Self {
            bytes,
            memory_bytes,
        })
    }
}

/// Returns the memory an image needs, or what the bytes are instead.
fn header(bytes: &[u8]) -> Result<u64, &'static str> {
    let is_image = bytes.get(MAGIC_OFFSET..MAGIC_OFFSET + 4) == Some(MAGIC);
    if !is_image || bytes.len() < HEADER_BYTES {
        return Err(match bytes {
            [0x1f, 0x8b, ..] => "compressed with gzip",
            [0x28, 0xb5, 0x2f, 0xfd, ..] => "compressed with zstd",
            [0xfd, b'7', b'z', ..] => "compressed with xz",
            [0x7f, b'E', b'L', b'F', ..] => "an ELF file",
            [b'M', b'Z', ..] => "an EFI program without an arm64 Image header",
            [] => "empty",
            _ => "not an arm64 Image (its magic number is missing)",
        });
    }
    let field = |offset: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[offset..offset + 8]);
        u64::from_le_bytes(word)
    };
    let file_bytes = u64::try_from(bytes.len()).map_err(|_| "too large")?;
    // Kernels before 3.17 leave the size zero.
    field(TEXT_OFFSET)
        .checked_add(field(IMAGE_SIZE).max(file_bytes))
        .ok_or("an arm64 Image with an absurd size")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(text_offset: u64, size: u64) -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        bytes[8..16].copy_from_slice(&text_offset.to_le_bytes());
        bytes[16..24].copy_from_slice(&size.to_le_bytes());
        bytes[56..60].copy_from_slice(b"ARMd");
        bytes
    }

    #[test]
    fn header_of_images() {
        assert_eq!(header(&image(0, 0x20_0000)), Ok(0x20_0000));
        assert_eq!(header(&image(0x8_0000, 0)), Ok(0x8_1000));
        assert!(header(&image(u64::MAX, 0x1000)).is_err());
    }

    #[test]
    fn header_of_other_files() {
        assert!(header(&[]).is_err());
        assert_eq!(header(&[0x1f, 0x8b, 8, 0]), Err("compressed with gzip"));
        assert_eq!(header(b"\x7fELF"), Err("an ELF file"));
        let mut wrong = image(0, 0x1000);
        wrong[56] = b'X';
        assert!(header(&wrong).is_err());
        assert!(header(&image(0, 0x1000)[..60]).is_err());
    }
}
