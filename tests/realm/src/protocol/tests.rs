// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Commands and reports survive a host call.

use super::*;

fn registers() -> [u64; REGISTERS] {
    core::array::from_fn(|n| pattern(9, n as u64))
}

#[test]
fn commands_survive_a_host_call() {
    let commands = [
        Command::Nothing,
        Command::Run {
            instruction: 0xD503_201F,
            registers: registers(),
        },
        Command::RunUser {
            instruction: 1,
            registers: registers(),
        },
        Command::Call {
            address: u64::MAX,
            registers: registers(),
        },
        Command::RunAll {
            instruction: 2,
            seed: 3,
            first: [4, 5, 6],
        },
        Command::Fill(Bank::Vectors, 1),
        Command::Check(Bank::Scalable),
        Command::Check(Bank::System),
        Command::Residue(Bank::Vectors),
        Command::FillMemory {
            address: 8,
            words: 9,
            seed: 10,
        },
        Command::CheckMemory {
            address: 8,
            words: 9,
            seed: 10,
        },
        Command::Interrupts(true),
        Command::SetTimer {
            timer: Timer::Physical,
            ticks: 4,
            again: 5,
        },
        Command::WaitInterrupts { count: 1, ticks: 2 },
        Command::StartVcpu(3),
        Command::Sequence { seed: 1, rounds: 2 },
        Command::Stretch(Stretch::Scalable, 3),
        Command::SendSgis {
            sgi: 1,
            targets: 2,
            count: 3,
            ticks: 4,
        },
        Command::Sweep {
            class: [3, 7, 15],
            writes: true,
            secret: 4,
        },
    ];
    for command in commands {
        assert_eq!(Command::decode(&command.encode()), Some(command));
    }
    assert_eq!(Command::decode(&[18; VALUES]), None);
    assert_eq!(Command::decode(&[5; VALUES]), None);
}

#[test]
fn reports_survive_a_host_call() {
    let fault = Fault::from_words([1, 2, 3, 4, 5, 6]);
    for outcome in [Outcome::Done, Outcome::Fault(fault), Outcome::NotUnderstood] {
        let report = Report {
            outcome,
            registers: registers(),
            vcpu: 5,
            interrupts: 6,
            serrors: 7,
        };
        assert_eq!(Report::decode(&report.encode()), Some(report));
    }
    assert_eq!(Report::decode(&[3; VALUES]), None);
}

#[test]
fn patterns_differ() {
    assert_ne!(pattern(1, 0), pattern(1, 1));
    assert_ne!(pattern(1, 0), pattern(2, 0));
    assert_ne!(sequence(1, 10), sequence(1, 11));
}
