// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! `RMI_VERSION`.

use rmi::Command;

use crate::check;
use crate::contract::{Call, contract};
use crate::outcome::{Outcome, Reply};
use crate::world::World;

const VERSION_1_0: u64 = 0x1_0000;

fn base(_: &mut World<'_>) -> Outcome<Call> {
    Ok(Command::Version { req: VERSION_1_0 }.into())
}

/// 1.0 is supported by any monitor these scenarios are for.
fn success(w: &mut World<'_>) -> Outcome {
    let call = base(w)?;
    let reply = w.call_raw(call.registers);
    check!(reply.is_success(), "{reply:?}");
    check!(reply.output(1) == VERSION_1_0, "lower is {reply:?}");
    check!(reply.output(2) >= VERSION_1_0, "higher is {reply:?}");
    let rest = Reply(reply.0).with(1, 0).with(2, 0);
    w.check_reply(call.id, rest, Reply::SUCCESS)
}

/// What is not supported fails, and says what is: the greatest below the request, else the greatest.
fn unsupported(w: &mut World<'_>) -> Outcome {
    let greatest = w.call(Command::Version { req: VERSION_1_0 }).output(2);
    for req in [0, 1, 0xFFFF, 0x7FFF_0000, 0x7FFF_FFFF] {
        let reply = w.call(Command::Version { req });
        let wanted = Reply::input().with(1, greatest).with(2, greatest);
        w.check_reply(rmi::CommandId::Version, reply, wanted)?;
    }
    Ok(())
}

/// A number of the range that is no command is answered as SMCCC says, and changes nothing else.
fn unknown_function(w: &mut World<'_>) -> Outcome {
    for fid in [
        0xC400_0156,
        0xC400_0160,
        0xC400_0163,
        0xC400_018E,
        // What the monitor itself says to EL3 behind a command.
        0xC400_018F,
    ] {
        let reply = w.call_raw([fid, 1, 2, 3, 4, 5, 6, 7]);
        w.check_reply(rmi::CommandId::Version, reply, Reply::not_supported())?;
    }
    Ok(())
}

/// Bit 16 of the function identifier is a hint about SVE and no part of the number.
fn sve_hint(w: &mut World<'_>) -> Outcome {
    let plain = w.call(Command::Version { req: VERSION_1_0 });
    let hinted = w.call_raw([0xC401_0150, VERSION_1_0, 0, 0, 0, 0, 0, 0]);
    w.check_reply(rmi::CommandId::Version, hinted, plain)
}

/// Registers that are no inputs do not matter.
fn unused_inputs(w: &mut World<'_>) -> Outcome {
    let plain = w.call(Command::Version { req: VERSION_1_0 });
    let reply = w.call_raw([0xC400_0150, VERSION_1_0, 9, 9, 9, 9, 9, 9]);
    w.check_reply(rmi::CommandId::Version, reply, plain)
}

contract! {
    Version, "version", base;
    conditions {}
    orders {}
    others { success unsupported unknown_function sve_hint unused_inputs }
}
