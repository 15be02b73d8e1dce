#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pitwall_sidecar::fuzz::optimizations(bytes));
