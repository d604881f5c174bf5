// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! What a run's console says, and whether that is what it should say.

use super::demux::{Line, Speaker};
use super::session::End;
use super::token::{Challenge, ShownToken};
use crate::cli::Vm;
use std::time::Duration;

/// Checks a Linux guest makes as a Realm.
const REALM_CHECKS: &[&str] = &[
    "realm", "ripas", "cpus", "memory", "debugger", "counters", "no-tags", "modules", "device",
    "cca", "token", "pattern",
];
/// Checks a Linux guest makes as a normal VM.
const NORMAL_CHECKS: &[&str] = &[
    "normal", "clock", "cpus", "memory", "debugger", "counters", "tags", "modules", "device",
    "pattern", "kept",
];

/// The checks of a normal VM that last until it has been moved: Linux's and the payload's.
const LONG_CHECK: &str = "pattern";
const PAYLOAD_LONG_CHECK: &str = "kept";

/// Checks a Linux guest makes under stress.
const STRESS_CHECKS: &[&str] = &["stress", "stalls"];

/// The stage in which a guest that was moved goes on.
const MOVED: &str = "resumed";

/// What TF-A says when it gives up, and TF-RMM when it does.
const CRASHES: &[&str] = &[
    "Unhandled Exception",
    "Unexpected exception on CPU",
    "PANIC in EL3",
    "PANIC at PC",
    "ASSERT:",
];

/// Checks the payload of the on-target tests makes as a Realm.
const PAYLOAD_REALM_CHECKS: &[&str] = &[
    "version",
    "token",
    "token-interrupted",
    "together",
    "promises",
    "write-encodings",
];
/// Checks it makes as a normal VM.
const PAYLOAD_CHECKS: &[&str] = &[
    "device-fetch",
    "psci",
    "controller",
    "vcpus",
    "together",
    "tags",
    "kept",
];

/// One check the guest made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    /// The guest that made it.
    pub(crate) by: Speaker,
    pub(crate) name: String,
    pub(crate) is_ok: bool,
    pub(crate) detail: String,
    /// The guest went on from a copy before it made the check.
    is_after_move: bool,
}

/// Everything of interest a run has said so far.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    checks: Vec<Check>,
    guests_done: u32,
    has_moved: bool,
    result: Option<Result<(), String>>,
    stage: Option<String>,
    guest_panic: Option<String>,
    crash: Option<String>,
    last_guest_line: Option<String>,
    tap: Vec<String>,
    bench: Vec<String>,
    summary: Vec<String>,
    token: ShownToken,
}

/// What must have been said for the run to be good.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expect {
    checks: Vec<(Speaker, &'static str)>,
    guests_done: u32,
    challenge: Option<Challenge>,
    long_check: &'static str,
    /// The guest that goes on from a copy, and the check it makes after that.
    after_move: Option<(Speaker, &'static str)>,
}

impl Expect {
    /// A Linux guest with our init; as a Realm it shows a token that answers `challenge`.
    pub(crate) fn linux(vm: Vm, challenge: Challenge) -> Self {
        Self {
            challenge: (vm != Vm::Normal).then_some(challenge),
            long_check: LONG_CHECK,
            ..Self::guests(vm, REALM_CHECKS, NORMAL_CHECKS)
        }
    }

    /// The same guest, or each of them, under stress.
    pub(crate) fn under_stress(mut self) -> Self {
        let mut guests: Vec<_> = self.checks.iter().map(|(by, _)| *by).collect();
        guests.dedup();
        for by in guests {
            let checks = STRESS_CHECKS.iter().map(|check| (by, *check));
            self.checks.extend(checks);
        }
        self
    }

    /// The same guests, of which the normal VM is moved before its long check ends.
    pub(crate) fn after_move(mut self, vm: Vm) -> Self {
        let by = match vm {
            Vm::Realm | Vm::Normal => Speaker::Guest,
            Vm::Both => Speaker::NormalGuest,
        };
        self.after_move = Some((by, self.long_check));
        self
    }

    /// Our own payload, whose list of checks is in `tests/realm`: some of its first and its last.
    pub(crate) fn payload(vm: Vm) -> Self {
        Self {
            long_check: PAYLOAD_LONG_CHECK,
            ..Self::guests(vm, PAYLOAD_REALM_CHECKS, PAYLOAD_CHECKS)
        }
    }

    fn guests(vm: Vm, realm: &[&'static str], normal: &[&'static str]) -> Self {
        let from = |speaker, checks: &[&'static str]| -> Vec<_> {
            checks.iter().map(|check| (speaker, *check)).collect()
        };
        let checks = match vm {
            Vm::Realm => from(Speaker::Guest, realm),
            Vm::Normal => from(Speaker::Guest, normal),
            Vm::Both => [
                from(Speaker::RealmGuest, realm),
                from(Speaker::NormalGuest, normal),
            ]
            .concat(),
        };
        Self {
            checks,
            guests_done: if vm == Vm::Both { 2 } else { 1 },
            challenge: None,
            long_check: "",
            after_move: None,
        }
    }

    /// Only the host's own result.
    pub(crate) fn result_only() -> Self {
        Self::default()
    }
}

impl Observed {
    /// Takes one line, read `_at` this time after the start.
    pub(crate) fn take(&mut self, line: &Line, _at: Duration) {
        match line.speaker {
            Speaker::Firmware => self.take_firmware(&line.text),
            Speaker::Host => self.take_host(&line.text),
            Speaker::Guest | Speaker::RealmGuest | Speaker::NormalGuest => {
                self.take_guest(line.speaker, &line.text);
            }
        }
    }

    fn take_firmware(&mut self, text: &str) {
        let is_crash = CRASHES.iter().any(|word| text.contains(word))
            || (text.starts_with("[rmm] error: PE ") && text.contains(" stops: "));
        if is_crash && self.crash.is_none() {
            self.crash = Some(text.to_string());
        }
    }

    fn take_host(&mut self, text: &str) {
        if let Some(stage) = text.strip_prefix("stage: ") {
            self.has_moved |= stage == MOVED;
            self.stage = Some(stage.to_string());
        } else if let Some(summary) = text.strip_prefix("summary: ") {
            self.summary.push(summary.to_string());
        } else if let Some(tap) = text.strip_prefix("tap: ") {
            self.tap.push(tap.to_string());
        } else if let Some(bench) = text.strip_prefix("bench: ") {
            self.bench.push(bench.to_string());
        } else if text == "result: ok" {
            self.result = Some(Ok(()));
        } else if let Some(reason) = text.strip_prefix("result: fail") {
            self.result = Some(Err(reason.trim().to_string()));
        }
    }

    fn take_guest(&mut self, by: Speaker, text: &str) {
        self.last_guest_line = Some(text.to_string());
        if text.contains("Kernel panic - not syncing") && self.guest_panic.is_none() {
            self.guest_panic = Some(text.to_string());
        }
        let Some((_, message)) = text
            .split_once("bailey-guest: ")
            .or_else(|| text.split_once("bailey-test: "))
        else {
            return;
        };
        if message.trim() == "done" {
            self.guests_done += 1;
        } else if let Some(check) = message.strip_prefix("check ") {
            let is_after_move = self.has_moved;
            let check = parse_check(by, check).map(|check| Check {
                is_after_move,
                ..check
            });
            self.checks.extend(check);
        } else if let Some(digits) = message.strip_prefix("token ")
            && by != Speaker::NormalGuest
        {
            self.token.take(digits);
        }
    }

    /// Tells whether the host has said how it went.
    pub(crate) fn has_result(&self) -> bool {
        self.result.is_some()
    }

    /// Tells whether the firmware or the guest has reported its own end.
    pub(crate) fn has_crashed(&self) -> bool {
        self.crash.is_some() || self.guest_panic.is_some()
    }

    /// The conformance lines, in order.
    pub(crate) fn tap(&self) -> &[String] {
        &self.tap
    }

    /// The lines about figures, in order.
    pub(crate) fn bench(&self) -> &[String] {
        &self.bench
    }

    /// Where the run is, for people who wait.
    pub(crate) fn position(&self) -> String {
        match (&self.stage, &self.last_guest_line) {
            (None, _) => "firmware boots".to_string(),
            (Some(stage), None) => format!("stage {stage}"),
            (Some(stage), Some(line)) => format!("stage {stage}, the guest's last line: {line}"),
        }
    }

    /// Prints the host's summary and the guest's checks.
    pub(crate) fn print(&self) {
        for line in &self.summary {
            println!("host:  {line}");
        }
        for check in &self.checks {
            let verdict = if check.is_ok { "ok  " } else { "FAIL" };
            let by = format!("{}:", check.by.name());
            println!("{by:<7} {verdict} {:<8} {}", check.name, check.detail);
        }
    }

    /// Returns why this is not what was expected, if it is not.
    pub(crate) fn judge(&self, end: End, expect: &Expect) -> Option<String> {
        if let Some(crash) = &self.crash {
            return Some(format!("a crash: {crash}"));
        }
        if end == End::Interrupted {
            return Some("interrupted".to_string());
        }
        if let Some(panic) = &self.guest_panic {
            return Some(format!("the guest panicked: {panic}"));
        }
        match &self.result {
            Some(Err(reason)) => return Some(format!("the host says: {reason}")),
            None if end == End::TimedOut => {
                return Some(format!("hung until the timeout, at {}", self.position()));
            }
            None if end == End::Silent => {
                return Some(format!("hung, silent for too long, at {}", self.position()));
            }
            None => {
                return Some(format!(
                    "the machine stopped without a result, at {}",
                    self.position()
                ));
            }
            Some(Ok(())) => {}
        }
        if let Some(bad) = self.checks.iter().find(|check| !check.is_ok) {
            return Some(format!(
                "the guest's check {} failed: {}",
                bad.name, bad.detail
            ));
        }
        let token = expect.challenge.as_ref();
        let bad_token = || token.and_then(|challenge| self.token.judge(challenge));
        let missing = self.find_missing(expect).or_else(bad_token);
        missing.or_else(|| match end {
            End::Exited(status) if status.success() => None,
            End::Exited(status) => Some(format!("QEMU ended with {status}")),
            End::Stopped => Some("the machine did not switch itself off".to_string()),
            End::TimedOut | End::Silent | End::Interrupted => Some("hung at power-off".to_string()),
        })
    }

    fn find_missing(&self, expect: &Expect) -> Option<String> {
        let mut left = self.checks.clone();
        for (by, name) in &expect.checks {
            let is_wanted = |check: &Check| check.by == *by && check.name == *name;
            match left.iter().position(is_wanted) {
                Some(index) => drop(left.remove(index)),
                None => return Some(format!("the {} did not report its check {name}", by.name())),
            }
        }
        if self.guests_done < expect.guests_done {
            return Some("the guest's init did not reach its end".to_string());
        }
        let (by, name) = expect.after_move?;
        let is_late = |check: &Check| check.by == by && check.name == name && check.is_after_move;
        let has_late = self.checks.iter().any(is_late);
        (!has_late).then(|| format!("the {} was not moved before its check {name}", by.name()))
    }
}

/// Reads `<name> ok <detail>` or `<name> fail <detail>`.
fn parse_check(by: Speaker, text: &str) -> Option<Check> {
    let mut words = text.splitn(3, ' ');
    let name = words.next()?.to_string();
    let is_ok = match words.next()? {
        "ok" => true,
        "fail" => false,
        _ => return None,
    };
    Some(Check {
        by,
        name,
        is_ok,
        detail: words.next().unwrap_or_default().trim().to_string(),
        is_after_move: false,
    })
}

#[cfg(test)]
mod tests {
    use super::super::token::tests as token;
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    fn observe(lines: &[(Speaker, &str)]) -> Observed {
        let mut observed = Observed::default();
        for (speaker, text) in lines {
            let line = Line {
                speaker: *speaker,
                text: (*text).to_string(),
            };
            observed.take(&line, Duration::ZERO);
        }
        observed
    }

    fn good_guest() -> Vec<(Speaker, &'static str)> {
        vec![
            (Speaker::Host, "stage: run"),
            (Speaker::Guest, "[ 1.0] bailey-guest: check normal ok x"),
            (Speaker::Guest, "[ 1.0] bailey-guest: check clock ok x"),
            (
                Speaker::Guest,
                "[ 1.0] bailey-guest: check cpus ok 2 online",
            ),
            (Speaker::Guest, "[ 1.0] bailey-guest: check memory ok 1"),
            (Speaker::Guest, "[ 1.0] bailey-guest: check debugger ok 1"),
            (Speaker::Guest, "[ 1.0] bailey-guest: check counters ok 1"),
            (Speaker::Guest, "[ 1.0] bailey-guest: check tags ok 1"),
            (Speaker::Guest, "[ 1.0] bailey-guest: check modules ok 1"),
            (Speaker::Guest, "[ 1.0] bailey-guest: check device ok 1"),
            (Speaker::Guest, "[ 1.0] bailey-guest: check pattern ok 1"),
            (Speaker::Guest, "[ 1.0] bailey-guest: check kept ok 1"),
            (Speaker::Guest, "[ 1.0] bailey-guest: done"),
            (Speaker::Host, "result: ok"),
        ]
    }

    fn exited(code: i32) -> End {
        End::Exited(ExitStatus::from_raw(code << 8))
    }

    #[test]
    fn judge_token_of_a_realm() {
        let mut lines = vec![(Speaker::Host, "stage: run")];
        let checks: Vec<String> = REALM_CHECKS
            .iter()
            .map(|name| format!("bailey-guest: check {name} ok"))
            .collect();
        lines.extend(checks.iter().map(|line| (Speaker::Guest, line.as_str())));
        lines.push((Speaker::Guest, "bailey-guest: done"));
        lines.push((Speaker::Host, "result: ok"));
        let judge = |lines: &[_], challenge| {
            let expect = Expect::linux(Vm::Realm, challenge);
            observe(lines).judge(exited(0), &expect)
        };
        let (shown, challenge) = token::example();
        let silent = judge(&lines, challenge);
        assert!(silent.is_some_and(|reason| reason.contains("token")));
        let shown: Vec<String> = shown
            .iter()
            .map(|line| format!("[ 1.0] bailey-guest: token {line}"))
            .collect();
        lines.extend(shown.iter().map(|line| (Speaker::Guest, line.as_str())));
        assert_eq!(judge(&lines, challenge), None);
        assert!(judge(&lines, [0; 64]).is_some());
    }

    #[test]
    fn judge_payload() {
        let mut lines = vec![(Speaker::Host, "stage: run")];
        let checks: Vec<String> = PAYLOAD_REALM_CHECKS
            .iter()
            .map(|name| format!("bailey-test: check {name} ok"))
            .collect();
        lines.extend(checks.iter().map(|line| (Speaker::Guest, line.as_str())));
        lines.push((Speaker::Guest, "bailey-test: done"));
        lines.push((Speaker::Host, "result: ok"));
        let judge = |lines: &[_]| observe(lines).judge(exited(0), &Expect::payload(Vm::Realm));
        assert_eq!(judge(&lines), None);
        lines.remove(1);
        assert!(judge(&lines).unwrap().contains("version"));
    }

    #[test]
    fn judge_two_guests_by_who_says_it() {
        let line = |name: &&str| format!("bailey-guest: check {name} ok");
        let realm: Vec<_> = REALM_CHECKS.iter().map(line).collect();
        let normal: Vec<_> = NORMAL_CHECKS.iter().map(line).collect();
        let (shown, challenge) = token::example();
        let shown: Vec<_> = shown
            .iter()
            .map(|digits| format!("bailey-guest: token {digits}"))
            .collect();
        let judge = |first, second| {
            let mut lines = vec![(Speaker::Host, "stage: run")];
            lines.extend(realm.iter().map(|line| (first, line.as_str())));
            lines.extend(normal.iter().map(|line| (second, line.as_str())));
            lines.extend(shown.iter().map(|line| (first, line.as_str())));
            lines.push((first, "bailey-guest: done"));
            lines.push((second, "bailey-guest: done"));
            lines.push((Speaker::Host, "result: ok"));
            observe(&lines).judge(exited(0), &Expect::linux(Vm::Both, challenge))
        };
        assert_eq!(judge(Speaker::RealmGuest, Speaker::NormalGuest), None);
        assert!(judge(Speaker::NormalGuest, Speaker::RealmGuest).is_some());
        assert!(judge(Speaker::RealmGuest, Speaker::RealmGuest).is_some());
    }

    fn reason(lines: &[(Speaker, &str)], end: End) -> Option<String> {
        observe(lines).judge(end, &Expect::linux(Vm::Normal, [0; 64]))
    }

    #[test]
    fn judge_good() {
        assert_eq!(reason(&good_guest(), exited(0)), None);
    }

    #[test]
    fn judge_every_missing_line() {
        for missing in 1..good_guest().len() {
            let mut lines = good_guest();
            lines.remove(missing);
            assert!(reason(&lines, exited(0)).is_some(), "{missing}");
        }
    }

    #[test]
    fn judge_move_by_what_comes_after_it() {
        let judge = |place: usize| {
            let mut lines = good_guest();
            lines.insert(place, (Speaker::Host, "stage: resumed"));
            let expect = Expect::linux(Vm::Normal, [0; 64]).after_move(Vm::Normal);
            observe(&lines).judge(exited(0), &expect)
        };
        let pattern = good_guest()
            .iter()
            .position(|(_, line)| line.contains("pattern"))
            .unwrap();
        assert_eq!(judge(pattern), None);
        let late = judge(pattern + 1).unwrap();
        assert!(late.contains("not moved before its check pattern"));
    }

    #[test]
    fn judge_failures() {
        let with = |line| {
            let mut lines = good_guest();
            lines.insert(1, line);
            reason(&lines, exited(0)).unwrap()
        };
        let failed = with((Speaker::Guest, "bailey-guest: check device fail no"));
        assert!(failed.contains("device"));
        let panic = with((Speaker::Guest, "[ 3.1] Kernel panic - not syncing: VFS"));
        assert!(panic.contains("panicked"));
        assert!(with((Speaker::Firmware, "[rmm] error: PE 1 stops: x")).contains("crash"));
        assert!(with((Speaker::Firmware, "ASSERT: lib/x.c:3")).contains("crash"));
        let foreign = with((Speaker::Firmware, "Unexpected exception on CPU #0:"));
        assert!(foreign.contains("crash"));
        let mut lines = good_guest();
        *lines.last_mut().unwrap() = (Speaker::Host, "result: fail 3 granules left");
        assert!(reason(&lines, exited(0)).unwrap().contains("3 granules"));
        assert!(reason(&good_guest(), exited(1)).is_some());
        assert!(reason(&good_guest(), End::Stopped).is_some());
        assert!(
            reason(&good_guest()[..3], End::TimedOut)
                .unwrap()
                .contains("stage run")
        );
        let silent = reason(&good_guest()[..3], End::Silent).unwrap();
        assert!(silent.contains("silent"));
    }

    #[test]
    fn take_guest_cannot_give_the_result() {
        let observed = observe(&[(Speaker::Guest, "result: ok")]);
        assert!(!observed.has_result());
    }
}
