//! What was found, and how an anomaly's sentence is written.

use checkers::{Analysis, Anomaly};
use maud::{Markup, html};

use crate::Run;
use crate::text::clip;

/// Every anomaly with the checker that found it, the checkers in their order.
pub fn findings<'a>(run: &Run<'a>) -> Vec<(&'a Analysis, &'a Anomaly)> {
    run.input
        .analyses
        .iter()
        .flat_map(|analysis| {
            analysis
                .anomalies
                .iter()
                .map(move |anomaly| (analysis, anomaly))
        })
        .collect()
}

/// All anomalies, those among them that no checker shows.
pub fn found(run: &Run) -> usize {
    run.input.analyses.iter().map(Analysis::found).sum()
}

/// An anomaly's sentence, in which `op 12` is the number that its timeline gives the operation.
pub fn reason(anomaly: &Anomaly, max: usize) -> Markup {
    let sentence = capital(&clip(&anomaly.reason, max));
    let mut rest = sentence.as_str();
    let mut parts = Vec::new();
    while let Some((before, index, after)) = mention(rest) {
        parts.push((before, index));
        rest = after;
    }
    let ends = sentence.is_empty() || sentence.ends_with(['.', '…', '!', '?']);
    html! {
        @for (before, index) in parts {
            (before)
            @match anomaly.ops.iter().position(|op| *op == index) {
                Some(at) => a href={ "#op-" (index) } data-jump=(index) title={ "op " (index) } {
                    b.badge { (at + 1) }
                },
                None => { "op " (index) }
            }
        }
        (rest)
        @if !ends { "." }
    }
}

/// The first `op 12` of a text: what stands before it, the index, and what follows.
fn mention(text: &str) -> Option<(&str, u64, &str)> {
    // A sentence may begin with one.
    text.match_indices("p ").find_map(|(end, _)| {
        let at = end.checked_sub(1)?;
        if !["o", "O"].contains(&text.get(at..end)?) {
            return None;
        }
        let digits = &text[at + 3..];
        let end = digits
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(digits.len());
        let alone = !text[..at].ends_with(char::is_alphanumeric);
        let index = digits[..end].parse().ok().filter(|_| alone)?;
        Some((&text[..at], index, &digits[end..]))
    })
}

/// The name of a node stays as it is.
pub fn capital(text: &str) -> String {
    let first = text.split(' ').next().unwrap_or_default();
    if first.contains(|c: char| c.is_ascii_digit()) {
        return text.to_string();
    }
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_in_a_sentence_are_found() {
        assert_eq!(
            mention("write 5 (op 12) and"),
            Some(("write 5 (", 12, ") and"))
        );
        assert_eq!(mention("op 7"), Some(("", 7, "")));
        assert_eq!(mention("Op 7 and op 8"), Some(("", 7, " and op 8")));
        for none in [
            "p 5",
            "up 5",
            "stop 5",
            "op x",
            "op ",
            "",
            "op 99999999999999999999999",
        ] {
            assert_eq!(mention(none), None, "{none}");
        }
    }

    #[test]
    fn an_operation_that_the_anomaly_names_becomes_its_number() {
        let anomaly = Anomaly {
            kind: "k".into(),
            object: None,
            ops: vec![40, 12],
            reason: "read of <1> (op 12) after op 3".into(),
            ..Anomaly::default()
        };
        let text = reason(&anomaly, 100).into_string();
        assert!(
            text.starts_with("Read of &lt;1&gt; (<a href=\"#op-12\""),
            "{text}"
        );
        assert!(text.contains("<b class=\"badge\">2</b>"), "{text}");
        assert!(text.ends_with(") after op 3."), "{text}");
    }

    #[test]
    fn sentences_begin_with_a_capital() {
        assert_eq!(capital("stale read"), "Stale read");
        assert_eq!(capital("öl"), "Öl");
        assert_eq!(capital(""), "");
    }
}
