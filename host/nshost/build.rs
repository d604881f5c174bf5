// SPDX-FileCopyrightText: Copyright The Bailey contributors.
// SPDX-License-Identifier: Apache-2.0 OR MIT

//! Chooses the linker script of the board the image is built for.

use std::env;
use std::path::Path;

fn main() {
    let board = if env::var_os("CARGO_FEATURE_BOARD_FVP").is_some() {
        "fvp"
    } else {
        "qemu_virt"
    };
    let package = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let package = Path::new(&package);
    let script = package.join("src/board").join(format!("{board}.ld"));
    println!("cargo:rustc-link-arg-bins=-L{}", package.display());
    println!("cargo:rustc-link-arg-bins=-T{}", script.display());
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=image.ld");
    println!("cargo:rerun-if-changed={}", script.display());
}
