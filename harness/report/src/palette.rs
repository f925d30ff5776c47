//! The colours of fault families. A page does not know which families there are: the first that it
//! meets has the first colour.

use std::fmt::Write;

use history::fault::Span;

/// How many colours there are, `--fam0` and so on in the style sheet; later families share
/// `--other`.
const COLOURS: usize = 7;

/// The class of everything that belongs to a family. Of its name only what a class can have.
pub fn class(family: &str) -> String {
    let plain = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
    let name: String = family.chars().filter(plain).take(40).collect();
    format!("fam-{name}")
}

/// The rules of style for the families of these faults.
pub fn rules(spans: &[Span]) -> String {
    let mut classes: Vec<String> = Vec::new();
    for class in spans.iter().map(|span| class(&span.family)) {
        // As many as are told apart: a history may name any number.
        if classes.len() < COLOURS && !classes.contains(&class) {
            classes.push(class);
        }
    }
    let mut out = String::new();
    for (i, class) in classes.iter().enumerate() {
        writeln!(out, ".{class} {{ --c: var(--fam{i}); }}").expect("a string takes all");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::svg::tests::fault;

    #[test]
    fn each_family_has_its_own_colour_in_the_order_of_its_first_fault() {
        let spans = ["kill", "disk", "kill", "x y</style>"].map(|name| fault(0, name, 0, 1));
        assert_eq!(
            rules(&spans),
            ".fam-kill { --c: var(--fam0); }\n.fam-disk { --c: var(--fam1); }\n\
             .fam-xystyle { --c: var(--fam2); }\n"
        );
    }

    #[test]
    fn there_is_a_colour_in_the_style_sheet_for_each_and_one_for_the_rest() {
        let style = include_str!("style.css");
        for i in 0..COLOURS {
            // Light and dark.
            assert_eq!(style.matches(&format!("--fam{i}:")).count(), 2, "{i}");
        }
        let many: Vec<Span> = (0..20).map(|i| fault(i, &format!("f{i}"), 0, 1)).collect();
        assert_eq!(rules(&many).lines().count(), COLOURS);
        assert!(style.contains("[class*=\"fam-\"] { --c: var(--other); }"));
    }
}
