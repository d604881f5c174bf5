// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What the log says of the commands of the Host. One test: a process has one log.

mod common;

use std::sync::Mutex;

use common::world;
use log::{Level, LevelFilter, Log, Metadata, Record};
use rmi::Command;

/// Keeps the lines of the log.
struct Lines(Mutex<Vec<(Level, String)>>);

static LINES: Lines = Lines(Mutex::new(Vec::new()));

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = (record.level(), record.args().to_string());
        self.0.lock().unwrap().push(line);
    }

    fn flush(&self) {}
}

/// Returns what was written since the last look.
fn lines() -> Vec<(Level, String)> {
    std::mem::take(&mut *LINES.0.lock().unwrap())
}

#[test]
fn each_command_writes_one_line() {
    log::set_logger(&LINES).unwrap();
    log::set_max_level(LevelFilter::Trace);
    world(|w| {
        let line_of = |registers: [u64; 8]| {
            let _reply = w.monitor.handle(&w.pe, &registers);
            lines()
        };
        let one = |level, text: &str| vec![(level, text.to_owned())];
        let addr = w.fresh().raw();
        let delegate = Command::GranuleDelegate { addr }.encode();
        let text = format!("RMI_GRANULE_DELEGATE {addr:#x} > RMI_SUCCESS");
        assert_eq!(line_of(delegate), one(Level::Trace, &text));
        let text = format!("RMI_GRANULE_DELEGATE {addr:#x} > RMI_ERROR_INPUT");
        assert_eq!(line_of(delegate), one(Level::Debug, &text));

        let version = Command::Version { req: 0x1_0000 }.encode();
        let text = "RMI_VERSION 0x10000 > RMI_SUCCESS 0x10000 0x10000";
        assert_eq!(line_of(version), one(Level::Debug, text));
        let text = "unknown function 0xc4000156";
        assert_eq!(line_of([0xC400_0156; 8]), one(Level::Debug, text));

        // What a busy Host does all the time is only told on request.
        log::set_max_level(LevelFilter::Debug);
        let addr = w.fresh().raw();
        let delegate = Command::GranuleDelegate { addr }.encode();
        assert_eq!(line_of(delegate), []);
        assert_eq!(line_of(version).len(), 1);
    });
}
