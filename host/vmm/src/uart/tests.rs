// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The device as Linux's AMBA bus and PL011 driver use it.

use super::*;
use std::string::{String, ToString};
use std::vec::Vec;

/// The driver's start-up: FIFO on, half-full triggers, receive interrupts unmasked.
fn started() -> Uart {
    let mut uart = Uart::new();
    uart.write(ICR, 0x7FF);
    uart.write(IFLS, 0x12);
    uart.write(IBRD, 13);
    uart.write(FBRD, 1);
    uart.write(LCR_H, 0x70);
    uart.write(CR, 0x301);
    uart.write(ICR, 0x50);
    uart.write(IMSC, 0x50);
    uart
}

#[test]
fn ids_match_the_amba_driver() {
    let mut uart = Uart::new();
    let id = |uart: &mut Uart, base: u64| {
        (0..4).fold(0_u64, |id, i| {
            id | (uart.read(base + 4 * i) & 0xFF) << (8 * i)
        })
    };
    assert_eq!(id(&mut uart, 0xFE0) & 0x000F_FFFF, 0x0004_1011);
    assert_eq!(
        id(&mut uart, 0xFE0) >> 20 & 0xF,
        3,
        "revision r1p5: deep FIFO"
    );
    assert_eq!(id(&mut uart, 0xFF0), 0xB105_F00D);
}

#[test]
fn configuration_reads_back() {
    let mut uart = started();
    assert_eq!(uart.read(IBRD), 13);
    assert_eq!(uart.read(FBRD), 1);
    assert_eq!(uart.read(LCR_H), 0x70);
    assert_eq!(uart.read(CR), 0x301);
    assert_eq!(uart.read(IMSC), 0x50);
    assert_eq!(uart.read(IFLS), 0x12);
}

#[test]
fn early_console_writes_without_set_up() {
    let mut uart = Uart::new();
    assert_eq!(uart.read(FR) & (1 << 5), 0, "transmit FIFO is not full");
    assert_eq!(uart.write(DR, 0x100 | u64::from(b'x')), Some(b'x'));
    assert_eq!(uart.read(FR) & (1 << 3), 0, "not busy");
    assert!(!uart.is_interrupting());
}

#[test]
fn transmit_interrupt_follows_its_mask() {
    let mut uart = started();
    // The first bytes of a burst are written before the interrupt is unmasked.
    assert_eq!(uart.write(DR, u64::from(b'a')), Some(b'a'));
    assert!(!uart.is_interrupting());
    uart.write(IMSC, 0x70);
    assert!(uart.is_interrupting());
    assert_eq!(uart.read(MIS), 0x20);
    // The driver writes more and masks it when it has nothing left.
    assert_eq!(uart.write(DR, u64::from(b'b')), Some(b'b'));
    uart.write(IMSC, 0x50);
    assert!(!uart.is_interrupting());
    uart.write(ICR, 0x20);
    assert_eq!(uart.read(RIS), 0);
}

#[test]
fn few_bytes_raise_the_time_out() {
    let mut uart = started();
    assert_eq!(uart.receive(b"hi"), 2);
    assert_eq!(uart.read(MIS), 0x40);
    assert_eq!(uart.read(FR) & (1 << 4), 0);
    // The driver clears what it saw, then reads until the FIFO is empty.
    uart.write(ICR, 0x40);
    assert_eq!(uart.read(DR), u64::from(b'h'));
    assert_eq!(uart.read(DR), u64::from(b'i'));
    assert_ne!(uart.read(FR) & (1 << 4), 0);
    assert!(!uart.is_interrupting());
}

#[test]
fn many_bytes_raise_the_trigger_and_leave_nothing_behind() {
    let mut uart = started();
    let sent: Vec<u8> = (0..100).collect();
    assert_eq!(uart.receive(&sent), 100);
    assert_ne!(uart.read(FR) & (1 << 6), 0, "full");
    let mut got = Vec::new();
    while uart.is_interrupting() {
        let status = uart.read(MIS);
        uart.write(ICR, status & !0x70);
        assert_ne!(status & 0x50, 0);
        while uart.read(FR) & (1 << 4) == 0 {
            got.push(uart.read(DR) as u8);
        }
    }
    assert_eq!(got, sent);
    assert_eq!(uart.read(RIS), 0);
}

#[test]
fn reading_below_the_trigger_leaves_the_time_out() {
    let mut uart = started();
    uart.receive(&[7; 16]);
    assert_eq!(uart.read(MIS), 0x10);
    uart.read(DR);
    assert_eq!(uart.read(MIS), 0x40, "15 bytes still wait");
}

#[test]
fn disabled_receiver_keeps_bytes_back() {
    let mut uart = Uart::new();
    assert_eq!(uart.receive(b"early"), 5);
    assert_ne!(uart.read(FR) & (1 << 4), 0);
    uart.write(CR, 0x301);
    assert_eq!(uart.read(DR), u64::from(b'e'), "one byte deep without FIFO");
    assert_eq!(uart.read(DR), u64::from(b'a'));
    assert_eq!(
        uart.receive(&[0; 300]),
        QUEUE_BYTES - 2,
        "the queue is bounded"
    );
}

fn assembled(bytes: &[u8]) -> (LineAssembler, Vec<String>) {
    let mut assembler = LineAssembler::default();
    let mut lines = Vec::new();
    for byte in bytes {
        assembler.push(*byte, 10, |line| lines.push(line.to_string()));
    }
    (assembler, lines)
}

#[test]
fn lines_end_at_line_feeds() {
    let (mut assembler, lines) = assembled(b"one\r\n\r\ntw");
    assert_eq!(lines, ["one", ""]);
    let mut rest = Vec::new();
    assembler.flush_older(14, 5, |line| rest.push(line.to_string()));
    assert!(rest.is_empty(), "too young");
    assembler.flush_older(15, 5, |line| rest.push(line.to_string()));
    assembler.flush_older(99, 5, |line| rest.push(line.to_string()));
    assert_eq!(rest, ["tw"]);
}

#[test]
fn slow_lines_are_not_cut() {
    let (mut assembler, _) = assembled(b"t");
    assembler.push(b'w', 14, |line| panic!("{line}"));
    assembler.flush_older(18, 5, |line| panic!("{line}"));
    let mut rest = Vec::new();
    assembler.flush_older(19, 5, |line| rest.push(line.to_string()));
    assert_eq!(rest, ["tw"]);
}

#[test]
fn lines_carry_no_control_characters() {
    let (_, lines) = assembled(b"\x1b[1;31mred\x1b[0m\x07 a\tb \xFF\xC3\xA9\n\x1b7x\n\x1b[3\nz\n");
    assert_eq!(lines, ["red a\tb ?\u{e9}", "x", "", "z"]);
}

#[test]
fn long_lines_are_cut() {
    let (_, lines) = assembled(&[b'x'; 2 * LINE_BYTES + 1]);
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0].len(), LINE_BYTES);
}
