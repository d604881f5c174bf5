// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RMI_VERSION`.

use rmi::version::RMI_VERSIONS;
use rmi::{RMI_SUCCESS, RmiError};

use crate::commands::Reply;

/// `RMI_VERSION`: both versions are outputs whether the requested one is supported or not.
pub(crate) fn version(req: u64) -> Reply {
    let answer = RMI_VERSIONS.negotiate(req);
    let status = if answer.is_supported {
        RMI_SUCCESS
    } else {
        RmiError::Input.pack()
    };
    let versions = [answer.lower.to_register(), answer.higher.to_register()];
    Reply::new(status, versions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_1_0_is_the_only_one() {
        let registers = |req| version(req).registers_after(&[0; 8], 2);
        let versions = |status| [status, 0x1_0000, 0x1_0000, 0, 0, 0, 0, 0];
        assert_eq!(registers(0x1_0000), versions(0));
        for req in [
            0,
            1,
            0xFFFF,
            0x1_0001,
            0x2_0000,
            u64::MAX,
            1 << 63 | 0x1_0000,
        ] {
            assert_eq!(registers(req), versions(1), "{req:#x}");
        }
    }
}
