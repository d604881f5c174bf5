// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Writes the guest bundle, the one file the host finds in memory.

use crate::refusal::refuse;
use anyhow::{Context, Result};
use host_vmm::bundle::{self, Bundle, HEADER_BYTES, KERNEL_ALIGN, Mode, Options, Part};
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

/// Alignment of the initramfs, in bytes.
const PAGE: u64 = 4096;

/// What goes into a bundle.
#[derive(Debug)]
pub(crate) struct BundlePlan<'a> {
    pub(crate) mode: Mode,
    pub(crate) vcpus: u32,
    pub(crate) options: Options,
    /// Memory of each VM in bytes.
    pub(crate) memory_bytes: u64,
    pub(crate) kernel: Option<&'a [u8]>,
    pub(crate) initramfs: Option<&'a [u8]>,
    pub(crate) test_payload: Option<&'a [u8]>,
    pub(crate) secret: [u8; 32],
    pub(crate) command_line: String,
    pub(crate) scenario_filter: String,
}

/// Writes a bundle; returns its size in bytes.
///
/// # Errors
///
/// A refusal when a value does not fit the bundle's header.
pub(crate) fn write(plan: &BundlePlan<'_>, file: &Path) -> Result<u64> {
    let mut end = u64::try_from(HEADER_BYTES)?;
    let kernel = place(plan.kernel, KERNEL_ALIGN, &mut end)?;
    let initrd = place(plan.initramfs, PAGE, &mut end)?;
    let test_payload = place(plan.test_payload, KERNEL_ALIGN, &mut end)?;
    let header = bundle::encode(&Bundle {
        mode: plan.mode,
        vcpus: plan.vcpus,
        options: plan.options,
        memory_bytes: plan.memory_bytes,
        kernel,
        initrd,
        test_payload,
        file_bytes: end,
        secret: plan.secret,
        command_line: plan.command_line.clone(),
        scenario_filter: plan.scenario_filter.clone(),
    })
    .map_err(|error| refuse(format!("this run cannot be described to the host: {error}")))?;
    let name = || format!("cannot write {}", file.display());
    let mut out = File::create(file).with_context(name)?;
    out.write_all(&header).with_context(name)?;
    for (part, bytes) in [
        (kernel, plan.kernel),
        (initrd, plan.initramfs),
        (test_payload, plan.test_payload),
    ] {
        if let (Some(part), Some(bytes)) = (part, bytes) {
            out.seek(SeekFrom::Start(part.offset))?;
            out.write_all(bytes).with_context(name)?;
        }
    }
    Ok(end)
}

fn place(bytes: Option<&[u8]>, align: u64, end: &mut u64) -> Result<Option<Part>> {
    let Some(bytes) = bytes else {
        return Ok(None);
    };
    let part = Part {
        offset: end.next_multiple_of(align),
        size_bytes: u64::try_from(bytes.len())?,
    };
    *end = part.end();
    Ok(Some(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn write_can_be_parsed() {
        let file = std::env::temp_dir().join(format!("bailey-bundle-{}", std::process::id()));
        let plan = BundlePlan {
            mode: Mode::Realm,
            vcpus: 2,
            options: Options::default(),
            memory_bytes: 0x1000_0000,
            kernel: Some(&[0xaa; 5000]),
            initramfs: Some(&[0xbb; 10]),
            test_payload: None,
            secret: [7; 32],
            command_line: "console=ttyAMA0".to_string(),
            scenario_filter: String::new(),
        };
        let size = write(&plan, &file).unwrap();
        let bytes = std::fs::read(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(u64::try_from(bytes.len()).unwrap(), size);
        let header = bytes[..HEADER_BYTES].try_into().unwrap();
        let parsed = bundle::parse(header, Some(size)).unwrap();
        let kernel = parsed.kernel.unwrap();
        assert_eq!((kernel.offset, kernel.size_bytes), (0x20_0000, 5000));
        assert_eq!(bytes[0x20_0000], 0xaa);
        assert_eq!(parsed.initrd.unwrap().offset, 0x20_2000);
        assert_eq!(bytes[0x20_2009], 0xbb);
    }
}
