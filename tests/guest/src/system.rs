// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! The system calls of arm64 Linux that the checks make (numbers and layouts: its uapi headers).

use core::arch::asm;
use core::mem::{offset_of, size_of};
use core::ptr::{from_mut, from_ref};

use crate::failure::Failure;

const FCNTL: usize = 25;
const IOCTL: usize = 29;
const OPENAT: usize = 56;
const CLOSE: usize = 57;
const READ: usize = 63;
const WRITE: usize = 64;
const EXIT_GROUP: usize = 94;
const CLOCK_GETTIME: usize = 113;
const PTRACE: usize = 117;
const SCHED_SETAFFINITY: usize = 122;
const KILL: usize = 129;
const RT_SIGPROCMASK: usize = 135;
const RT_SIGTIMEDWAIT: usize = 137;
const PRCTL: usize = 167;
const GETPID: usize = 172;
const CLONE: usize = 220;
const MMAP: usize = 222;
const MPROTECT: usize = 226;
const PERF_EVENT_OPEN: usize = 241;
const WAIT4: usize = 260;

/// Signals.
pub(crate) const SIGTRAP: u64 = 5;
pub(crate) const SIGSEGV: u64 = 11;
const SIGKILL: usize = 9;
const SIGCHLD: usize = 17;
const SIGSTOP: usize = 19;
const SIGIO: usize = 29;

const STANDARD_INPUT: usize = 0;
const STANDARD_OUTPUT: usize = 1;
const CLOCK_MONOTONIC: usize = 1;

const PTRACE_TRACEME: usize = 0;
const PTRACE_CONT: usize = 7;
const PTRACE_SINGLESTEP: usize = 9;
const PTRACE_GETSIGINFO: usize = 0x4202;
const PTRACE_GETREGSET: usize = 0x4204;
const PTRACE_SETREGSET: usize = 0x4205;
const NT_PRSTATUS: usize = 1;

const F_SETFL: usize = 4;
const F_SETOWN: usize = 8;
const O_ASYNC: usize = 0x2000;
const PERF_EVENT_IOC_ENABLE: usize = 0x2400;
const PERF_EVENT_IOC_DISABLE: usize = 0x2401;
const SIG_BLOCK: usize = 0;
const EAGAIN: isize = 11;
const EINTR: isize = 4;

const AT_FDCWD: isize = -100;
/// Entry of the auxiliary vector with more features of the CPU, and the one of allocation tags.
const AT_HWCAP2: u64 = 26;
const HWCAP2_MTE: u64 = 1 << 18;
const PR_SET_TAGGED_ADDR_CTRL: usize = 55;
const PR_TAGGED_ADDR_ENABLE: usize = 1 << 0;
const PR_MTE_TCF_SYNC: usize = 1 << 1;
const PR_MTE_TAG_SHIFT: u32 = 3;
/// Read and write; the same with tags.
const PROT_PLAIN: usize = 0x1 | 0x2;
const PROT_TAGGED: usize = PROT_PLAIN | 0x20;
/// Private and anonymous.
const MAP_OWN: usize = 0x2 | 0x20;

/// Makes a system call; returns what the kernel puts into x0.
///
/// # Safety
/// What the kernel reads or writes by this call must be the caller's to give.
unsafe fn call(number: usize, arguments: [usize; 6]) -> isize {
    let [x0, x1, x2, x3, x4, x5] = arguments;
    let result;
    // SAFETY: the kernel changes x0, and the memory that the caller vouches for.
    unsafe {
        asm!(
            "svc #0",
            in("x8") number,
            inlateout("x0") x0 => result,
            in("x1") x1,
            in("x2") x2,
            in("x3") x3,
            in("x4") x4,
            in("x5") x5,
            options(nostack)
        );
    }
    result
}

/// Makes a system call that touches no memory of this program.
fn plain(
    name: &'static str,
    number: usize,
    [x0, x1, x2, x3]: [usize; 4],
) -> Result<usize, Failure> {
    // SAFETY: none of the arguments that this module passes here is an address.
    let result = unsafe { call(number, [x0, x1, x2, x3, 0, 0]) };
    checked(name, result)
}

fn checked(name: &'static str, result: isize) -> Result<usize, Failure> {
    usize::try_from(result).map_err(|_| Failure::Refused(name, -result))
}

/// Prints bytes.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let place = bytes.as_ptr().addr();
    let arguments = [STANDARD_OUTPUT, place, bytes.len(), 0, 0, 0];
    // SAFETY: the kernel reads the bytes, which are borrowed.
    checked("write", unsafe { call(WRITE, arguments) }).map(drop)
}

/// Ends the program.
pub(crate) fn exit(status: usize) -> ! {
    loop {
        let _ = plain("exit_group", EXIT_GROUP, [status, 0, 0, 0]);
    }
}

/// Returns a clock that only goes forward, in nanoseconds.
pub(crate) fn nanoseconds() -> u64 {
    let mut time = [0_u64; 2];
    let arguments = [CLOCK_MONOTONIC, from_mut(&mut time).addr(), 0, 0, 0, 0];
    // SAFETY: the kernel writes seconds and nanoseconds, which `time` has room for.
    unsafe { call(CLOCK_GETTIME, arguments) };
    time[0] * 1_000_000_000 + time[1]
}

/// A child that this program debugs. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Child(usize);

/// What a stopped child says of its stop.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct StopInfo {
    signal: i32,
    _error: i32,
    /// The kind of trap.
    pub(crate) code: i32,
    _padding: i32,
    /// Where, or what the trapped access was to.
    pub(crate) address: u64,
    _rest: [u64; 13],
}

const _: () = assert!(offset_of!(StopInfo, address) == 16 && size_of::<StopInfo>() == 128);

/// How a child goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Resume {
    /// Until something stops it.
    Run,
    /// For one instruction.
    Step,
}

/// The registers of a child as the kernel hands them out: x0 to x30, SP, PC, PSTATE.
type Registers = [u64; 34];
const PC: usize = 32;

impl Child {
    /// Starts a child that runs `work`, a copy of this program, and waits until it has stopped before it.
    pub(crate) fn start(work: impl FnOnce()) -> Result<Self, Failure> {
        let pid = plain("clone", CLONE, [SIGCHLD, 0, 0, 0])?;
        if pid == 0 {
            if trace_me().is_err() {
                exit(1);
            }
            work();
            exit(0);
        }
        let child = Self(pid);
        match child.wait()? {
            Some(_) => Ok(child),
            None => Err(Failure::Missing("child to debug")),
        }
    }

    /// Lets the child go on and waits until it stops again; returns the signal. Nothing when it has ended.
    pub(crate) fn resume(&self, how: Resume) -> Result<Option<u64>, Failure> {
        let request = match how {
            Resume::Run => PTRACE_CONT,
            Resume::Step => PTRACE_SINGLESTEP,
        };
        plain("ptrace (resume)", PTRACE, [request, self.0, 0, 0])?;
        self.wait()
    }

    fn wait(&self) -> Result<Option<u64>, Failure> {
        let mut status = 0_u32;
        loop {
            let arguments = [self.0, from_mut(&mut status).addr(), 0, 0, 0, 0];
            // SAFETY: the kernel writes the status, which is borrowed.
            let result = unsafe { call(WAIT4, arguments) };
            if result != -EINTR {
                checked("wait4", result)?;
                // Bits 7 to 0 say that it is stopped, bits 15 to 8 by which signal.
                return Ok((status & 0xFF == 0x7F).then_some(u64::from(status >> 8 & 0xFF)));
            }
        }
    }

    /// Returns why the child is stopped.
    pub(crate) fn stop_info(&self) -> Result<StopInfo, Failure> {
        let mut info = StopInfo {
            signal: 0,
            _error: 0,
            code: 0,
            _padding: 0,
            address: 0,
            _rest: [0; 13],
        };
        let arguments = [
            PTRACE_GETSIGINFO,
            self.0,
            0,
            from_mut(&mut info).addr(),
            0,
            0,
        ];
        // SAFETY: the kernel writes its 128 bytes, of which all are borrowed and any value is one.
        checked("ptrace (siginfo)", unsafe { call(PTRACE, arguments) })?;
        Ok(info)
    }

    /// Returns where the child is stopped.
    pub(crate) fn program_counter(&self) -> Result<u64, Failure> {
        let mut registers: Registers = [0; 34];
        self.read_set(NT_PRSTATUS, &mut registers)?;
        Ok(registers[PC])
    }

    /// Reads a set of registers into words; the kernel says how many.
    pub(crate) fn read_set(&self, kind: usize, words: &mut [u64]) -> Result<usize, Failure> {
        let mut vector = [words.as_mut_ptr().addr(), size_of_val(words)];
        let vector_at = from_mut(&mut vector).addr();
        let arguments = [PTRACE_GETREGSET, self.0, kind, vector_at, 0, 0];
        // SAFETY: the kernel writes the words and how many bytes it used; both are borrowed.
        checked("ptrace (read registers)", unsafe {
            call(PTRACE, arguments)
        })?;
        Ok(vector[1] / size_of::<u64>())
    }

    /// Writes the first registers of a set.
    pub(crate) fn write_set(&self, kind: usize, words: &[u64]) -> Result<(), Failure> {
        let vector = [words.as_ptr().addr(), size_of_val(words)];
        let arguments = [
            PTRACE_SETREGSET,
            self.0,
            kind,
            from_ref(&vector).addr(),
            0,
            0,
        ];
        // SAFETY: the kernel reads the words by way of the vector; both are borrowed.
        checked("ptrace (write registers)", unsafe {
            call(PTRACE, arguments)
        })
        .map(drop)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = plain("kill", KILL, [self.0, SIGKILL, 0, 0]);
        let _ = self.wait();
    }
}

/// Stops this process for its parent to debug.
fn trace_me() -> Result<(), Failure> {
    plain("ptrace (trace me)", PTRACE, [PTRACE_TRACEME, 0, 0, 0])?;
    let own = plain("getpid", GETPID, [0; 4])?;
    plain("kill", KILL, [own, SIGSTOP, 0, 0]).map(drop)
}

/// Moves this program to one CPU. Nothing when there is no such CPU.
pub(crate) fn run_on(cpu: usize) -> Option<()> {
    let mask = 1_u64.checked_shl(u32::try_from(cpu).ok()?)?;
    let arguments = [0, size_of_val(&mask), from_ref(&mask).addr(), 0, 0, 0];
    // SAFETY: the kernel reads the mask, which is borrowed.
    let result = unsafe { call(SCHED_SETAFFINITY, arguments) };
    (result == 0).then_some(())
}

/// What a counter counts (`perf_event_attr`, its first published size).
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct CounterRequest {
    kind: u32,
    size_bytes: u32,
    event: u64,
    /// Events from one overflow to the next; zero for none.
    pub(crate) period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup: u32,
    breakpoint_type: u32,
    more: u64,
}

const _: () = assert!(size_of::<CounterRequest>() == 64);

impl CounterRequest {
    /// Cycles of this program, in the hardware's own counter; off at first.
    pub(crate) fn cycles(period: u64) -> Self {
        Self {
            size_bytes: size_of::<Self>() as u32,
            period,
            flags: 1,
            ..Self::default()
        }
    }
}

/// An open file. Dropping it closes it.
#[derive(Debug)]
struct File(usize);

impl Drop for File {
    fn drop(&mut self) {
        let _ = plain("close", CLOSE, [self.0, 0, 0, 0]);
    }
}

/// An open counter of this program on any CPU.
#[derive(Debug)]
pub(crate) struct Counter(File);

impl Counter {
    /// Opens a counter.
    pub(crate) fn open(request: &CounterRequest) -> Result<Self, Failure> {
        let any = usize::MAX;
        let arguments = [from_ref(request).addr(), 0, any, any, 0, 0];
        // SAFETY: the kernel reads the request, whose size is in it and which is borrowed.
        checked("perf_event_open", unsafe {
            call(PERF_EVENT_OPEN, arguments)
        })
        .map(|number| Self(File(number)))
    }

    /// Has the kernel send this program a signal at every overflow.
    pub(crate) fn signal_overflows(&self) -> Result<(), Failure> {
        let own = plain("getpid", GETPID, [0; 4])?;
        let file = self.0.0;
        plain("fcntl (owner)", FCNTL, [file, F_SETOWN, own, 0])?;
        plain("fcntl (flags)", FCNTL, [file, F_SETFL, O_ASYNC, 0]).map(drop)
    }

    /// Turns the counter on.
    pub(crate) fn enable(&self) -> Result<(), Failure> {
        plain("ioctl (on)", IOCTL, [self.0.0, PERF_EVENT_IOC_ENABLE, 0, 0]).map(drop)
    }

    /// Turns the counter off.
    pub(crate) fn disable(&self) -> Result<(), Failure> {
        plain(
            "ioctl (off)",
            IOCTL,
            [self.0.0, PERF_EVENT_IOC_DISABLE, 0, 0],
        )
        .map(drop)
    }

    /// Reads the counter.
    pub(crate) fn read(&self) -> Result<u64, Failure> {
        let mut count = 0_u64;
        let arguments = [
            self.0.0,
            from_mut(&mut count).addr(),
            size_of::<u64>(),
            0,
            0,
            0,
        ];
        // SAFETY: the kernel writes the count, which is borrowed.
        checked("read", unsafe { call(READ, arguments) })?;
        Ok(count)
    }
}

const OVERFLOW_SIGNALS: u64 = 1 << (SIGIO - 1);

/// Keeps the signals of overflows back, for [`take_overflow`].
pub(crate) fn hold_overflows() -> Result<(), Failure> {
    let set = OVERFLOW_SIGNALS;
    let arguments = [SIG_BLOCK, from_ref(&set).addr(), 0, size_of_val(&set), 0, 0];
    // SAFETY: the kernel reads the set, which is borrowed.
    checked("sigprocmask", unsafe { call(RT_SIGPROCMASK, arguments) }).map(drop)
}

/// Tells whether an overflow has been signalled since the last time.
pub(crate) fn take_overflow() -> Result<bool, Failure> {
    let (set, no_time) = (OVERFLOW_SIGNALS, [0_u64; 2]);
    let (set_at, time_at) = (from_ref(&set).addr(), from_ref(&no_time).addr());
    let arguments = [set_at, 0, time_at, size_of_val(&set), 0, 0];
    // SAFETY: the kernel reads the set and the time, which are borrowed.
    match unsafe { call(RT_SIGTIMEDWAIT, arguments) } {
        result if result == -EAGAIN => Ok(false),
        result => checked("sigtimedwait", result).map(|_| true),
    }
}

/// Tells whether the kernel says that the CPU has allocation tags.
pub(crate) fn has_tags() -> Result<bool, Failure> {
    let path = c"/proc/self/auxv".as_ptr().addr();
    let arguments = [AT_FDCWD.cast_unsigned(), path, 0, 0, 0, 0];
    // SAFETY: the kernel reads the path, which is a constant.
    let file = File(checked("openat", unsafe { call(OPENAT, arguments) })?);
    let mut entries = [[0_u64; 2]; 64];
    let arguments = [
        file.0,
        from_mut(&mut entries).addr(),
        size_of_val(&entries),
        0,
        0,
        0,
    ];
    // SAFETY: the kernel writes entries, which are borrowed.
    checked("read", unsafe { call(READ, arguments) })?;
    let features = entries.iter().find(|[kind, _]| *kind == AT_HWCAP2);
    let [_, features] = features.ok_or(Failure::Missing("HWCAP2"))?;
    Ok(features & HWCAP2_MTE != 0)
}

/// Has this program's accesses checked against tags, at once, and lets `IRG` choose tags of a mask.
pub(crate) fn enable_tags(choice: usize) -> Result<(), Failure> {
    let control = PR_TAGGED_ADDR_ENABLE | PR_MTE_TCF_SYNC | choice << PR_MTE_TAG_SHIFT;
    let arguments = [PR_SET_TAGGED_ADDR_CTRL, control, 0, 0];
    plain("prctl (tags)", PRCTL, arguments).map(drop)
}

/// Maps new memory with tags; returns where. A kernel that has none refuses only the second call: the
/// first ignores what it does not know.
pub(crate) fn map_tagged(bytes: usize) -> Result<usize, Failure> {
    let none = usize::MAX;
    let arguments = [0, bytes, PROT_PLAIN, MAP_OWN, none, 0];
    // SAFETY: the kernel chooses addresses that are not in use.
    let base = checked("mmap", unsafe { call(MMAP, arguments) })?;
    let arguments = [base, bytes, PROT_TAGGED, 0, 0, 0];
    // SAFETY: nobody uses the memory yet.
    checked("mprotect (tags)", unsafe { call(MPROTECT, arguments) })?;
    Ok(base)
}

/// Waits until nobody can write to the standard input any more.
pub(crate) fn wait_for_end_of_input() -> Result<(), Failure> {
    let mut byte = 0_u8;
    let arguments = [STANDARD_INPUT, from_mut(&mut byte).addr(), 1, 0, 0, 0];
    // SAFETY: the kernel writes the byte, which is borrowed.
    while checked("read", unsafe { call(READ, arguments) })? != 0 {}
    Ok(())
}
