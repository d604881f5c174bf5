// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! One UART, three speakers: takes the console apart into lines of firmware, host and guest.

/// Who wrote a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Speaker {
    /// EL3 or the RMM.
    Firmware,
    /// The Non-secure host.
    Host,
    /// The guest, forwarded by the host.
    Guest,
    /// The Realm, where there are two guests.
    RealmGuest,
    /// The normal VM, where there are two guests.
    NormalGuest,
}

impl Speaker {
    /// The name in front of a line on the terminal.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Firmware => "el3+rmm",
            Self::Host => "host",
            Self::Guest => "guest",
            Self::RealmGuest => "realm",
            Self::NormalGuest => "normal",
        }
    }

    /// What the host puts in front of a line; nothing for those whose lines come as they are.
    fn tag(self) -> Option<&'static str> {
        match self {
            Self::Firmware => None,
            Self::Host => Some("[host] "),
            Self::Guest => Some("[guest] "),
            Self::RealmGuest => Some("[guest-realm] "),
            Self::NormalGuest => Some("[guest-normal] "),
        }
    }

    /// Tells whether a guest chose the words.
    fn is_guest(self) -> bool {
        match self {
            Self::Firmware | Self::Host => false,
            Self::Guest | Self::RealmGuest | Self::NormalGuest => true,
        }
    }
}

/// A line without its prefix and its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) speaker: Speaker,
    pub(crate) text: String,
}

const TAGGED: [Speaker; 4] = [
    Speaker::Host,
    Speaker::Guest,
    Speaker::RealmGuest,
    Speaker::NormalGuest,
];
const RMM: &str = "[rmm] ";

/// Collects bytes until they are lines.
#[derive(Debug, Default)]
pub(crate) struct Demux {
    pending: Vec<u8>,
}

impl Demux {
    /// Takes bytes of the console; returns the lines that became complete.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        for byte in bytes {
            if *byte == b'\n' {
                lines.extend(self.flush());
            } else {
                self.pending.push(*byte);
            }
        }
        lines
    }

    /// Returns what there is of an unfinished line, for a console that has fallen silent.
    pub(crate) fn flush(&mut self) -> Vec<Line> {
        let bytes = std::mem::take(&mut self.pending);
        split(clean(&bytes).trim_end())
    }
}

/// Makes text of bytes that anyone may have written: no control characters.
fn clean(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .filter(|c| *c != '\r')
        .map(|c| if c.is_control() && c != '\t' { '.' } else { c })
        .collect()
}

/// Splits a console line where another world began to write in the middle of it.
///
/// A guest's line is never split: what stands in it is the guest's choice.
fn split(mut text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    while !text.is_empty() {
        let (speaker, body) = speaker_of(text);
        let tags = TAGGED.iter().filter_map(|speaker| speaker.tag());
        let next = tags
            .chain([RMM])
            .filter_map(|tag| text.get(1..)?.find(tag).map(|at| at + 1))
            .min()
            .filter(|_| !speaker.is_guest());
        let skipped = text.len() - body.len();
        let end = next.unwrap_or(text.len());
        lines.push(Line {
            speaker,
            text: text.get(skipped..end).unwrap_or_default().to_string(),
        });
        text = text.get(end..).unwrap_or_default();
    }
    lines
}

/// Firmware lines keep their prefix: it tells the RMM from EL3.
fn speaker_of(text: &str) -> (Speaker, &str) {
    for speaker in TAGGED {
        let tag = speaker.tag().unwrap_or_default();
        if let Some(body) = text.strip_prefix(tag) {
            return (speaker, body);
        }
        // An empty line has lost the space at its end.
        if text == tag.trim_end() {
            return (speaker, "");
        }
    }
    (Speaker::Firmware, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(speaker: Speaker, text: &str) -> Line {
        Line {
            speaker,
            text: text.to_string(),
        }
    }

    #[test]
    fn push_by_prefix_and_in_pieces() {
        let mut demux = Demux::default();
        assert!(demux.push(b"NOTICE: BL1\r").is_empty());
        assert_eq!(
            demux.push(b"\n[rmm] up\n[host] boot\r\n[guest] [    0.0] Boo"),
            [
                line(Speaker::Firmware, "NOTICE: BL1"),
                line(Speaker::Firmware, "[rmm] up"),
                line(Speaker::Host, "boot"),
            ]
        );
        assert_eq!(
            demux.push(b"ting\n"),
            [line(Speaker::Guest, "[    0.0] Booting")]
        );
        assert!(demux.push(b"\n\n").is_empty());
    }

    #[test]
    fn push_worlds_in_one_line() {
        let mut demux = Demux::default();
        assert_eq!(
            demux.push(b"[host] stage[rmm] warn\n"),
            [
                line(Speaker::Host, "stage"),
                line(Speaker::Firmware, "[rmm] warn")
            ]
        );
    }

    #[test]
    fn push_guest_cannot_speak_for_the_host() {
        let mut demux = Demux::default();
        assert_eq!(
            demux.push(b"[guest] x[host] result: ok\n"),
            [line(Speaker::Guest, "x[host] result: ok")]
        );
    }

    #[test]
    fn push_two_guests() {
        let mut demux = Demux::default();
        assert_eq!(
            demux.push(b"[guest-realm] a\n[guest-normal] b\n[guest-normal] \n[guest-x] c\n"),
            [
                line(Speaker::RealmGuest, "a"),
                line(Speaker::NormalGuest, "b"),
                line(Speaker::NormalGuest, ""),
                line(Speaker::Firmware, "[guest-x] c"),
            ]
        );
    }

    #[test]
    fn push_control_characters() {
        let mut demux = Demux::default();
        assert_eq!(
            demux.push(b"[guest] \x1b[2Ja\xffb\x07\n"),
            [line(Speaker::Guest, ".[2Ja\u{fffd}b.")]
        );
    }

    #[test]
    fn flush_an_unfinished_line() {
        let mut demux = Demux::default();
        assert!(demux.push(b"[guest] login: ").is_empty());
        assert_eq!(demux.flush(), [line(Speaker::Guest, "login:")]);
        assert!(demux.flush().is_empty());
    }
}
