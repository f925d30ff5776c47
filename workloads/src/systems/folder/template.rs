//! Texts with names in braces: `--listen={address}:{port}`.
//!
//! A name is letters, digits and `.-_`, begins with a letter, and has braces right around it. Every
//! other brace is a brace, so that JSON and most configuration files need no escapes; where a brace
//! before a name is meant, it is written twice.

use crate::params::hint;
use harness::nearest::nearest;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Name(String),
}

/// What is wrong with a template, and at which of its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub at: usize,
    pub message: String,
}

impl Template {
    /// Reads a template in which these names may stand.
    ///
    /// # Errors
    /// The first name that is none of them, with the nearest that is.
    pub fn parse(text: &str, known: &[String]) -> Result<Template, Wrong> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut at = 0;
        while let Some(found) = text[at..].find('{') {
            let brace = at + found;
            plain.push_str(&text[at..brace]);
            let rest = &text[brace + 1..];
            if rest.starts_with('{') {
                plain.push('{');
                at = brace + 2;
                continue;
            }
            let Some(name) = name(rest) else {
                plain.push('{');
                at = brace + 1;
                continue;
            };
            if !known.iter().any(|k| k == name) {
                return Err(unknown(brace, name, known));
            }
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Name(name.into()));
            at = brace + name.len() + 2;
        }
        plain.push_str(&text[at..]);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Template { pieces })
    }

    /// The text with a value for each name.
    pub fn fill(&self, value: impl Fn(&str) -> String) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Name(name) => value(name),
        };
        self.pieces.iter().map(piece).collect()
    }
}

/// The name that a text after a brace begins with, if the other brace follows it.
fn name(rest: &str) -> Option<&str> {
    let name = &rest[..rest.find('}')?];
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic());
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    (begins && name.chars().all(plain)).then_some(name)
}

fn unknown(at: usize, name: &str, known: &[String]) -> Wrong {
    let near = nearest(name, known.iter().map(String::as_str)).map(str::to_string);
    let listed: Vec<String> = known.iter().map(|name| format!("{{{name}}}")).collect();
    Wrong {
        at,
        message: format!(
            "there is no {{{name}}} here{} (there are {}; for the text itself write {{{{{name}}})",
            hint(&near),
            listed.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Vec<String> {
        ["name", "address", "param.sync"].map(String::from).to_vec()
    }

    fn filled(text: &str) -> String {
        let template = Template::parse(text, &known()).expect("its names are known");
        template.fill(|name| name.to_uppercase())
    }

    #[test]
    fn names_are_filled_in_and_other_braces_stay() {
        assert_eq!(filled("--as={name},{param.sync}"), "--as=NAME,PARAM.SYNC");
        assert_eq!(filled(r#"{"a": {"b":{name}}}"#), r#"{"a": {"b":NAME}}"#);
        assert_eq!(filled("a { b } {} {1} {name"), "a { b } {} {1} {name");
        assert_eq!(filled("{{name} {{{name}"), "{name} {NAME");
        assert_eq!(filled(""), "");
    }

    #[test]
    fn an_unknown_name_is_answered_with_its_place_and_the_nearest() {
        let wrong = Template::parse("ü {adress}", &known()).unwrap_err();
        assert_eq!(wrong.at, "ü ".len());
        assert!(
            wrong.message.contains("did you mean \"address\""),
            "{wrong:?}"
        );
        assert!(wrong.message.contains("{param.sync}"), "{wrong:?}");
    }
}
