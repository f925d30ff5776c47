#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    if let Ok(said) = std::str::from_utf8(text) {
        harness::cluster::ssh::fuzzed::printed(said);
    }
});
