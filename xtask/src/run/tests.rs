// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Bad input is refused before anything is built.

use super::*;
use crate::guest::KernelImage;
use crate::refusal::Refusal;

fn args() -> RunArgs {
    RunArgs::of(GuestKind::Linux, Vm::Realm)
}

fn table() -> BoardTable {
    BoardTable {
        tfa_platform: "qemu".to_string(),
        tfa_options: Vec::new(),
        rmm_base: 0x1000,
        rmm_end: 0x2000,
        bl33_base: 0x3000,
        bundle_base: 0x4000,
        dram_base: 0,
        dram_end: 3 << 30,
    }
}

fn is_refused(result: &Result<impl Sized>) -> bool {
    result
        .as_ref()
        .is_err_and(|error| error.downcast_ref::<Refusal>().is_some())
}

#[test]
fn check_numbers_absurd() {
    assert_eq!(check_numbers(&args()).unwrap(), 2);
    for change in [
        |args: &mut RunArgs| args.cpus = 0,
        |args: &mut RunArgs| args.cpus = 9,
        |args: &mut RunArgs| args.mem = 0,
        |args: &mut RunArgs| args.mem = 4096,
        |args: &mut RunArgs| args.timeout = 0,
        |args: &mut RunArgs| args.stress = Some(0),
        |args: &mut RunArgs| args.stress = Some(600),
        |args: &mut RunArgs| {
            args.stress = Some(1);
            args.guest = GuestKind::Test;
        },
        |args: &mut RunArgs| args.timeout = u64::MAX,
        |args: &mut RunArgs| args.smp = Some(1),
        |args: &mut RunArgs| args.dirty_log = true,
        |args: &mut RunArgs| args.migrate = true,
        |args: &mut RunArgs| args.smp = Some(1000),
        |args: &mut RunArgs| args.cpu_opts = "x; rm".to_string(),
    ] {
        let mut bad = args();
        change(&mut bad);
        assert!(is_refused(&check_numbers(&bad)), "{bad:?}");
    }
}

#[test]
fn check_numbers_gives_each_vcpu_a_cpu() {
    let mut one = args();
    one.cpus = 1;
    assert_eq!(check_numbers(&one).unwrap(), 2);
    one.cpus = 8;
    assert_eq!(check_numbers(&one).unwrap(), 8);
    one.vm = Vm::Both;
    assert!(is_refused(&check_numbers(&one)), "the host has 8 CPUs");
    one.cpus = 3;
    assert_eq!(check_numbers(&one).unwrap(), 6);
    (one.dirty_log, one.invalidate) = (true, true);
    assert_eq!(check_numbers(&one).unwrap(), 7, "one disturbs the guests");
}

#[test]
fn check_fit_both_ways() {
    let guest = Guest {
        kernel: KernelImage {
            bytes: vec![0; 64],
            memory_bytes: 44 << 20,
        },
        initramfs: Some(vec![0; 2 << 20]),
    };
    let mut args = args();
    assert!(check_fit(&args, &guest, &table()).is_ok());
    args.mem = 32 << 20;
    assert!(is_refused(&check_fit(&args, &guest, &table())));
    args.mem = 4 << 30;
    assert!(is_refused(&check_fit(&args, &guest, &table())));
    args.mem = 2 << 30;
    assert!(check_fit(&args, &guest, &table()).is_ok());
    args.vm = Vm::Both;
    assert!(is_refused(&check_fit(&args, &guest, &table())));
    (args.vm, args.migrate) = (Vm::Normal, true);
    assert!(
        is_refused(&check_fit(&args, &guest, &table())),
        "a copy needs as much again"
    );
}

#[test]
fn command_line_leaves_the_kind_to_the_host() {
    let line = command_line(&args(), &[0xa5; 32], &[0xc4; 64]);
    assert!(line.starts_with("console=ttyAMA0 "));
    assert!(!line.contains("bailey.vm"));
    assert!(line.contains(" bailey.cpus=2 bailey.mem=256 bailey.secret=a5a5"));
    assert!(line.contains(" bailey.challenge=c4c4"));
    assert!(line.len() < host_vmm::bundle::MAX_COMMAND_LINE);
}
