// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Writes cpio archives in the `newc` format, the one a Linux kernel unpacks as its initramfs.
//!
//! Every field of an entry's header is eight hexadecimal digits; names and contents are padded to
//! four bytes (Linux, Documentation/driver-api/early-userspace/buffer-format.rst). Times, owners and
//! inode numbers are fixed, so that equal contents give equal bytes.

const MAGIC: &str = "070701";
const TRAILER: &str = "TRAILER!!!";
const TYPE_FOLDER: u32 = 0o040_000;
const TYPE_FILE: u32 = 0o100_000;
const TYPE_LINK: u32 = 0o120_000;
const TYPE_CHARACTER_DEVICE: u32 = 0o020_000;

/// An archive being written.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Begins an empty archive.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a folder; its parents must be there already.
    pub(crate) fn folder(&mut self, name: &str) {
        self.entry(name, TYPE_FOLDER | 0o755, (0, 0), &[]);
    }

    /// Adds a file with these permissions.
    pub(crate) fn file(&mut self, name: &str, permissions: u32, contents: &[u8]) {
        self.entry(name, TYPE_FILE | permissions, (0, 0), contents);
    }

    /// Adds a symbolic link.
    pub(crate) fn link(&mut self, name: &str, target: &str) {
        self.entry(name, TYPE_LINK | 0o777, (0, 0), target.as_bytes());
    }

    /// Adds a character device with its major and minor numbers.
    pub(crate) fn character_device(&mut self, name: &str, numbers: (u32, u32)) {
        self.entry(name, TYPE_CHARACTER_DEVICE | 0o600, numbers, &[]);
    }

    /// Ends the archive and returns its bytes.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entries = 0;
        self.header(TRAILER, 0, (0, 0), 0);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), contents: &[u8]) {
        self.entries += 1;
        self.header(name, mode, device, contents.len());
        self.bytes.extend_from_slice(contents);
        self.pad();
    }

    fn header(&mut self, name: &str, mode: u32, device: (u32, u32), size: usize) {
        let links = 1;
        let fields: [u64; 13] = [
            self.entries.into(),
            mode.into(),
            0,
            0,
            links,
            0,
            u64::try_from(size).expect("a file in memory has a size of at most 64 bits"),
            0,
            0,
            device.0.into(),
            device.1.into(),
            u64::try_from(name.len() + 1).expect("a name in memory is short"),
            0,
        ];
        self.bytes.extend_from_slice(MAGIC.as_bytes());
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_bytes() {
        let mut archive = Archive::new();
        archive.file("init", 0o755, b"hello");
        let expected = "070701\
                        00000001000081ED0000000000000000000000010000000000000005\
                        000000000000000000000000000000000000000500000000\
                        init\0\0hello\0\0\0\
                        070701\
                        00000000000000000000000000000000000000010000000000000000\
                        000000000000000000000000000000000000000B00000000\
                        TRAILER!!!\0\0\0\0";
        assert_eq!(String::from_utf8(archive.finish()).unwrap(), expected);
    }

    #[test]
    fn character_device_has_its_numbers() {
        let mut archive = Archive::new();
        archive.character_device("dev/console", (5, 1));
        let bytes = archive.finish();
        assert_eq!(&bytes[14..22], b"00002180");
        assert_eq!(&bytes[78..94], b"0000000500000001");
    }

    #[test]
    fn every_entry_is_aligned() {
        for length in 0..9 {
            let mut archive = Archive::new();
            archive.file("abc", 0o644, &vec![b'x'; length]);
            archive.link("l", "abc");
            assert_eq!(archive.bytes.len() % 4, 0);
        }
    }
}
