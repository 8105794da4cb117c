//! See `weir_h3::fuzzing::capsules`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| weir_h3::fuzzing::capsules(data));
