//! `spec.json` of a run's folder that may be anybody's.

#[path = "../../cli/src/spec.rs"]
#[allow(dead_code)]
mod file;

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
            let command = spec.command(Some("a b.toml"));
            assert!(plain(&command), "{command}");
        }
        Err(why) => assert!(!why.is_empty()),
    }
}

/// Whether everything outside of single quotes is a letter, a digit or a harmless sign.
fn plain(command: &str) -> bool {
    let unquoted = command.split('\'').step_by(2);
    let harmless = |c: char| c.is_alphanumeric() || "@%+=:,./-_ \\".contains(c);
    command.matches('\'').count() % 2 == 0 && unquoted.flat_map(str::chars).all(harmless)
}
