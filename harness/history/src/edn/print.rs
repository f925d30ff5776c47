//! Values as Jepsen prints them.

use crate::{Name, Value};

/// Writes a value as Jepsen would; text is a string, and `keywords` are the names that are not.
pub fn write(value: &Value, keywords: &[&str], to: &mut String) {
    match value {
        Value::Text(text) if keywords.contains(&text.as_str()) => {
            to.push(':');
            to.push_str(text);
        }
        Value::Text(text) => {
            to.push('"');
            for c in text.chars() {
                match c {
                    '"' | '\\' => to.extend(['\\', c]),
                    '\n' => to.push_str("\\n"),
                    '\t' => to.push_str("\\t"),
                    '\r' => to.push_str("\\r"),
                    c => to.push(c),
                }
            }
            to.push('"');
        }
        Value::List(items) => {
            to.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    to.push(' ');
                }
                write(item, keywords, to);
            }
            to.push(']');
        }
        Value::Map(entries) => {
            to.push('{');
            for (i, (key, value)) in entries.iter().enumerate() {
                if i > 0 {
                    to.push_str(", ");
                }
                match key {
                    Value::Text(name) => write_name(name, to),
                    key => write(key, keywords, to),
                }
                to.push(' ');
                write(value, keywords, to);
            }
            to.push('}');
        }
        plain => to.push_str(&plain.to_string()),
    }
}

/// Writes a name as a keyword where it can be one, or else as a string.
pub fn write_name(name: &Name, to: &mut String) {
    match is_keyword(name) {
        true => {
            to.push(':');
            to.push_str(name);
        }
        false => write(&Value::Text(name.clone()), &[], to),
    }
}

fn is_keyword(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.?!*/".contains(c);
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(plain)
}
