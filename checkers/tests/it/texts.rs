//! Texts that grow.

use checkers::linearizable::Texts;
use checkers::{Budget, Checker, Verdict, drawing};

use crate::subjects;

#[test]
fn agrees_with_brute_force() {
    subjects::run("kv", 1_000).has_at_least(100, &[Verdict::Valid, Verdict::Invalid]);
}

#[test]
fn what_is_wrong_is_said() {
    let history = drawing::history("P0 |-put 1-|").unwrap();
    let found = Texts::single().check(&history, &Budget::default());
    assert_eq!(found.verdict, Verdict::Unknown);
    let why = "operation 0 cannot be read: 1 is no text";
    assert!(found.summary.ends_with(why), "{}", found.summary);
    // A read that is no text hides no other's answer.
    let history = drawing::history("P0 |-put a-| |-get b-| |-get 1-|").unwrap();
    let found = Texts::single().check(&history, &Budget::default());
    assert_eq!(found.verdict, Verdict::Invalid, "{found:#?}");
    // Whose only question was lost has asked nothing.
    let history = drawing::history("P0 |-get nil-?").unwrap();
    let found = Texts::single().check(&history, &Budget::default());
    assert_eq!(found.verdict, Verdict::Vacuous);
}

#[test]
fn nothing_is_what_a_text_is_at_the_start() {
    let verdict = |texts: Texts, drawn: &str| {
        let history = drawing::history(drawn).unwrap();
        texts.check(&history, &Budget::default()).verdict
    };
    let drawn = "P0 |-read nil-| |-append b-| |-read b-|";
    assert_eq!(verdict(Texts::single(), drawn), Verdict::Valid);
    // It is known to have begun as something.
    let begun = Texts::single().with_initial("a".into());
    assert_eq!(
        verdict(begun.clone(), "P0 |-read nil-| |-append b-| |-read ab-|"),
        Verdict::Unknown
    );
    assert_eq!(verdict(begun, drawn), Verdict::Invalid);
    let drawn = "P0 |-append b-| |-read nil-|";
    assert_eq!(verdict(Texts::single(), drawn), Verdict::Invalid);
}
