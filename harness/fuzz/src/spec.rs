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
            let words = shlex::split(&command).expect("a shell reads it");
            assert_eq!(words[..2], ["schism", "run"]);
            // Nothing that a shell does something for stands outside of quotes.
            assert!(plain(&command), "{command}");
        }
        Err(why) => assert!(!why.is_empty()),
    }
}

/// Whether everything outside of quotes is a letter, a digit or a harmless sign, and everything in
/// double quotes is nothing that a shell puts something else for.
fn plain(command: &str) -> bool {
    let mut quote = None;
    let mut signs = command.chars();
    while let Some(sign) = signs.next() {
        match (quote, sign) {
            (None, '\'' | '"') => quote = Some(sign),
            (Some(open), sign) if open == sign => quote = None,
            (None | Some('"'), '\\') => {
                signs.next();
            }
            (None, sign) if !sign.is_alphanumeric() && !"@%+=:,./-_ ".contains(sign) => return false,
            (Some('"'), '$' | '`') => return false,
            _ => {}
        }
    }
    quote.is_none()
}
