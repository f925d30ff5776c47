#![no_main]

use history::foreign::Format;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| fuzz::reads(Format::Dbcop, text));
