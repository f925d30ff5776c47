//! `spec.json` of a run's folder that may be anybody's.

#[path = "../../cli/src/spec.rs"]
#[allow(dead_code)]
mod file;

use std::path::Path;

use self::file::Spec;

/// What is read can be run, is written so that it is read again, and its command is of words that a
/// shell takes for nothing else.
pub fn spec(text: &[u8]) {
    match Spec::parse(text) {
        Ok(spec) => {
            let written = serde_json::to_vec_pretty(&spec).expect("only text keys");
            match Spec::parse(&written) {
                Ok(again) => assert_eq!(again, spec),
                Err(why) => panic!("{}: {why}", String::from_utf8_lossy(&written)),
            }
            assert!(spec.asks_the_same(&spec));
            assert_eq!(spec.node_names().len(), spec.nodes);
            let command = spec.command(Path::new("/a b/spec.json"), Path::new("/a b"));
            assert!(plain(&command), "{command}");
        }
        Err(why) => assert!(!why.is_empty()),
    }
}

/// Whether everything outside of single quotes is a letter, a digit, a harmless sign, or a quote
/// behind a backslash.
fn plain(command: &str) -> bool {
    let mut quoted = false;
    let mut letters = command.chars();
    while let Some(c) = letters.next() {
        let harmless = match c {
            '\'' => {
                quoted = !quoted;
                true
            }
            '\\' if !quoted => letters.next() == Some('\''),
            c => quoted || c.is_ascii_alphanumeric() || "@%+=:,./-_ ".contains(c),
        };
        if !harmless {
            return false;
        }
    }
    !quoted
}
