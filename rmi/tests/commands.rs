// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The command table, compared with the list in DEN0137, typed a second time.

use rmi::{Command, CommandId};

/// Identifier, name, inputs and outputs, separated by spaces.
const DOCUMENT: [(u64, &str, &str, &str); 23] = [
    (0xC400_0150, "RMI_VERSION", "req", "lower higher"),
    (0xC400_0151, "RMI_GRANULE_DELEGATE", "addr", ""),
    (0xC400_0152, "RMI_GRANULE_UNDELEGATE", "addr", ""),
    (0xC400_0153, "RMI_DATA_CREATE", "rd data ipa src flags", ""),
    (0xC400_0154, "RMI_DATA_CREATE_UNKNOWN", "rd data ipa", ""),
    (0xC400_0155, "RMI_DATA_DESTROY", "rd ipa", "data top"),
    (0xC400_0157, "RMI_REALM_ACTIVATE", "rd", ""),
    (0xC400_0158, "RMI_REALM_CREATE", "rd params_ptr", ""),
    (0xC400_0159, "RMI_REALM_DESTROY", "rd", ""),
    (0xC400_015A, "RMI_REC_CREATE", "rd rec params_ptr", ""),
    (0xC400_015B, "RMI_REC_DESTROY", "rec", ""),
    (0xC400_015C, "RMI_REC_ENTER", "rec run_ptr", ""),
    (0xC400_015D, "RMI_RTT_CREATE", "rd rtt ipa level", ""),
    (0xC400_015E, "RMI_RTT_DESTROY", "rd ipa level", "rtt top"),
    (
        0xC400_015F,
        "RMI_RTT_MAP_UNPROTECTED",
        "rd ipa level desc",
        "",
    ),
    (
        0xC400_0161,
        "RMI_RTT_READ_ENTRY",
        "rd ipa level",
        "walk_level state desc ripas",
    ),
    (
        0xC400_0162,
        "RMI_RTT_UNMAP_UNPROTECTED",
        "rd ipa level",
        "top",
    ),
    (
        0xC400_0164,
        "RMI_PSCI_COMPLETE",
        "calling_rec target_rec status",
        "",
    ),
    (0xC400_0165, "RMI_FEATURES", "index", "value"),
    (0xC400_0166, "RMI_RTT_FOLD", "rd ipa level", "rtt"),
    (0xC400_0167, "RMI_REC_AUX_COUNT", "rd", "count"),
    (0xC400_0168, "RMI_RTT_INIT_RIPAS", "rd base top", "out_top"),
    (
        0xC400_0169,
        "RMI_RTT_SET_RIPAS",
        "rd rec base top",
        "out_top",
    ),
];

/// The bit of SMCCC 1.3 that is a hint and no part of the identifier.
const SVE_HINT: u64 = 0x1_0000;

#[test]
fn table_equals_the_document() {
    assert_eq!(CommandId::COUNT, DOCUMENT.len());
    for (command, (fid, name, inputs, outputs)) in CommandId::ALL.iter().zip(DOCUMENT) {
        assert_eq!(command.fid(), fid);
        assert_eq!(command.name(), name);
        assert_eq!(command.inputs().join(" "), inputs, "{name}");
        assert_eq!(command.outputs().join(" "), outputs, "{name}");
    }
}

#[test]
fn from_fid_knows_exactly_the_document() {
    for fid in 0xC400_0140..0xC400_0200 {
        let expected = DOCUMENT.iter().find(|entry| entry.0 == fid);
        let expected = expected.map(|entry| entry.1);
        assert_eq!(CommandId::from_fid(fid).map(CommandId::name), expected);
        let hinted = CommandId::from_fid(fid | SVE_HINT);
        assert_eq!(hinted.map(CommandId::name), expected);
    }
    for fid in [0, 0x8400_0150, 0x4400_0150, 0xC402_0150, u64::MAX] {
        assert_eq!(CommandId::from_fid(fid), None, "{fid:#x}");
    }
}

#[test]
fn decode_takes_arguments_in_the_order_of_the_inputs() {
    let registers = [0xC401_0153, 11, 12, 13, 14, 15, 16, 17];
    let expected = Command::DataCreate {
        rd: 11,
        data: 12,
        ipa: 13,
        src: 14,
        flags: 15,
    };
    assert_eq!(Command::decode(&registers), Some(expected));
    let registers = [0xC400_0169, 11, 12, 13, 14, 15, 16, 17];
    let expected = Command::RttSetRipas {
        rd: 11,
        rec: 12,
        base: 13,
        top: 14,
    };
    assert_eq!(Command::decode(&registers), Some(expected));
    assert_eq!(Command::decode(&[0xC400_0156, 0, 0, 0, 0, 0, 0, 0]), None);
}

#[test]
fn encode_is_the_reverse_of_decode() {
    for (fid, name, inputs, _) in DOCUMENT {
        let arity = inputs.split_whitespace().count();
        let mut registers = [fid, 11, 12, 13, 14, 15, 16, 17];
        let command = Command::decode(&registers).unwrap();
        assert_eq!(command.id().name(), name);
        registers[1 + arity..].fill(0);
        assert_eq!(command.encode(), registers, "{name}");
    }
}

#[test]
fn index_counts_the_commands() {
    for (index, command) in CommandId::ALL.iter().enumerate() {
        assert_eq!(command.index(), index);
    }
}
