// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Where the parts of the image are: the symbols of `image.ld`.

use core::ops::Range;

macro_rules! parts {
    ($($(#[$doc:meta])* $name:ident = $start:ident .. $end:ident;)+) => {
        unsafe extern "C" {
            $(
                static $start: u8;
                static $end: u8;
            )+
        }

        $(
            $(#[$doc])*
            pub(crate) fn $name() -> Range<u64> {
                (&raw const $start).addr() as u64..(&raw const $end).addr() as u64
            }
        )+
    };
}

parts! {
    /// Everything, with stacks and zeroed data.
    whole = image_start..image_end;
    /// Code.
    text = text_start..text_end;
    /// Constants.
    rodata = rodata_start..rodata_end;
    /// Variables.
    data = data_start..data_end;
    /// A slot for each PE.
    stacks = stacks_start..stacks_end;
}
