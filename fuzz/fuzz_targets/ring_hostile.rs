//! A peer that writes what it likes into the ring: `cargo +nightly fuzz run ring_hostile`.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/dotpipe-ring/tests/support/hostile.rs"]
mod hostile;

fuzz_target!(|script: &[u8]| hostile::run(script));
