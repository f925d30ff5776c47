//! Files of every format, of clients of any name, against the rules of what they mean.

use checkers::Verdict;

use crate::subjects;
use crate::subjects::files::{Rule, agree};

#[test]
fn files_are_judged_by_the_rules() {
    let counts = subjects::run("files", 4_000);
    counts.has_at_least(counts.histories() / 50, &[Verdict::Valid, Verdict::Invalid]);
}

/// With any rule taken out of what is held to be right, the histories tell.
#[test]
fn each_rule_is_needed() {
    for rule in Rule::ALL {
        let first = (0..100_000).find(|seed| agree(*seed, Some(rule)).is_err());
        println!("without {rule:?}, seed {first:?} is the first to go wrong");
        let agrees = first.map(|seed| agree(seed, None).is_ok());
        assert_eq!(agrees, Some(true), "{rule:?}");
    }
}
