// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Links the image with this board's script.

use std::env;

fn main() {
    let board = env::var("CARGO_MANIFEST_DIR").expect("cargo sets the manifest directory");
    println!("cargo:rerun-if-changed=rmm.ld");
    println!("cargo:rerun-if-changed=../aarch64/rmm-image.ld");
    println!("cargo:rustc-link-arg-bins=-T{board}/rmm.ld");
    println!("cargo:rustc-link-arg-bins=-L{board}/../aarch64");
}
