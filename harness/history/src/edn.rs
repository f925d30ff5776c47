//! EDN, as Clojure's programs print it: Jepsen's, Knossos's and Elle's histories are written so.
//!
//! Only what a [`Value`] can hold is kept: keywords, symbols, characters and floats become text, sets
//! and sequences become lists, and a tag is passed over for what it stands before. Maps whose keys
//! are keywords, among them Jepsen's records (`#jepsen.history.Op{...}`), become maps of text.

use crate::{Budget, Exhausted, Meter, Name, Value};

/// What is wrong with a text, and where: bytes from its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub at: usize,
    pub reason: String,
    /// Whether more text could have made it right.
    pub torn: bool,
    /// Nothing is wrong but that it is too much.
    pub exhausted: Option<Exhausted>,
}

/// Deeper than anything that a history means, and as deep as the stored form can say: its parser takes
/// 127 levels, of which the event is one, and a key may add another.
pub const DEEPEST: usize = 124;

/// A symbol, keyword or number is shorter, in characters.
const LONGEST_TOKEN: usize = 1 << 16;

/// What a value may take: a list has up to twice the room that it needs, and more while it grows; then
/// it is made into words.
const VALUE_BYTES: u64 = 5 * size_of::<Value>() as u64;

/// Reads forms one after another.
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
    meter: Meter,
    /// Of the form that is being read.
    bytes: u64,
}

/// What begins at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    End,
    /// A list or vector begins.
    Open(u8),
    /// One ends.
    Close(u8),
    Form,
}

impl<'a> Reader<'a> {
    pub fn new(text: &'a str) -> Reader<'a> {
        Reader {
            text,
            at: 0,
            meter: Budget::UNLIMITED.start(),
            bytes: 0,
        }
    }

    /// Goes on under a budget, for each form what there is beside what it is asked for.
    pub fn within(self, meter: Meter) -> Reader<'a> {
        Reader { meter, ..self }
    }

    /// Fails if the form becomes too much.
    fn hold(&mut self, bytes: u64) -> Result<(), Wrong> {
        self.bytes += bytes;
        self.meter.tick(self.bytes).map_err(|why| Wrong {
            exhausted: Some(why),
            torn: false,
            ..self.wrong(self.at, why.to_string())
        })
    }

    /// Bytes read.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The line of a place, and the column, in characters; both from 1.
    pub fn line_and_column(text: &str, at: usize) -> (u64, u64) {
        let before = &text.as_bytes()[..at.min(text.len())];
        let line = before.iter().filter(|b| **b == b'\n').count();
        let from = before
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |at| at + 1);
        let column = before[from..].iter().filter(|b| **b & 0xc0 != 0x80).count();
        (line as u64 + 1, column as u64 + 1)
    }

    fn wrong(&self, at: usize, reason: impl Into<String>) -> Wrong {
        Wrong {
            at,
            reason: reason.into(),
            torn: self.at >= self.text.len(),
            exhausted: None,
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// White space, comments, and forms that are to be passed over.
    fn skip(&mut self, depth: usize) -> Result<(), Wrong> {
        while let Some(byte) = self.peek() {
            if self.at.is_multiple_of(4096) {
                self.hold(0)?;
            }
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | b',' | 0x0b | 0x0c => self.at += 1,
                b';' => {
                    self.hold(0)?;
                    let rest = self.text.as_bytes()[self.at + 1..].iter().take(1 << 20);
                    let len = rest.len();
                    // A longer comment is gone through in pieces, each as if it began anew.
                    self.at += 1 + rest.copied().position(|b| b == b'\n').unwrap_or(len);
                }
                b'#' if self.text[self.at..].starts_with("#_") => {
                    self.at += 2;
                    self.form(depth + 1)?;
                }
                _ => break,
            }
        }
        Ok(())
    }

    /// What comes next; white space before it is passed over.
    pub fn upcoming(&mut self) -> Result<Next, Wrong> {
        self.skip(0)?;
        Ok(match self.peek() {
            None => Next::End,
            Some(open @ (b'[' | b'(')) => Next::Open(open),
            Some(close @ (b']' | b')' | b'}')) => Next::Close(close),
            Some(_) => Next::Form,
        })
    }

    /// Passes over the bracket that comes next.
    pub fn bracket(&mut self) {
        self.at += 1;
    }

    /// Reads one form.
    pub fn value(&mut self) -> Result<Value, Wrong> {
        self.bytes = 0;
        self.form(0)
    }

    fn form(&mut self, depth: usize) -> Result<Value, Wrong> {
        if depth > DEEPEST {
            return Err(self.wrong(self.at, format!("nested more than {DEEPEST} deep")));
        }
        self.hold(VALUE_BYTES)?;
        self.skip(depth)?;
        let from = self.at;
        match self.peek() {
            None => Err(self.wrong(from, "the text ends where a value was expected")),
            Some(b'[') => self.list(b']', depth).map(Value::List),
            Some(b'(') => self.list(b')', depth).map(Value::List),
            Some(b'{') => self.map(depth),
            Some(b'"') => self.string(),
            Some(b'#') => {
                self.at += 1;
                match self.peek() {
                    Some(b'{') => self.list(b'}', depth).map(Value::List),
                    Some(b'#') => {
                        self.at += 1;
                        Ok(Value::text(self.token()?))
                    }
                    Some(c) if c.is_ascii_alphabetic() => {
                        self.token()?;
                        self.form(depth + 1)
                    }
                    _ => Err(self.wrong(from, "expected a set, a tag or #_ after #")),
                }
            }
            Some(b'^') => {
                self.at += 1;
                self.form(depth + 1)?;
                self.form(depth + 1)
            }
            Some(b'\'') => {
                self.at += 1;
                self.form(depth + 1)
            }
            Some(b'\\') => {
                self.at += 1;
                let one = self.text[self.at..]
                    .chars()
                    .next()
                    .map_or(0, char::len_utf8);
                let start = self.at;
                self.at += one;
                self.token()?;
                Ok(Value::text(&self.text[start..self.at]))
            }
            Some(close @ (b']' | b')' | b'}')) => {
                Err(self.wrong(from, format!("{} closes nothing", char::from(close))))
            }
            Some(_) => self.atom(),
        }
    }

    fn list(&mut self, end: u8, depth: usize) -> Result<Vec<Value>, Wrong> {
        let from = self.at;
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.skip(depth)?;
            match self.peek() {
                None => return Err(self.wrong(from, "this is never closed")),
                Some(b) if b == end => {
                    self.at += 1;
                    return Ok(items);
                }
                Some(b']' | b')' | b'}') => {
                    let expected = char::from(end);
                    return Err(self.wrong(self.at, format!("expected {expected}")));
                }
                Some(_) => items.push(self.form(depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, Wrong> {
        let from = self.at;
        let items = self.list(b'}', depth)?;
        if items.len() % 2 == 1 {
            return Err(self.wrong(from, "a map needs a value for each key"));
        }
        let mut entries = Vec::with_capacity(items.len() / 2);
        let mut items = items.into_iter();
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            entries.push((key, value));
        }
        Ok(Value::Map(entries))
    }

    fn string(&mut self) -> Result<Value, Wrong> {
        let from = self.at;
        self.at += 1;
        let mut text = String::new();
        let mut chars = self.text[self.at..].char_indices();
        while let Some((at, c)) = chars.next() {
            // The text has twice the room that it needs, and is copied.
            self.hold(4)?;
            match c {
                '"' => {
                    self.at += at + 1;
                    return Ok(Value::text(text));
                }
                '\\' => {
                    let escaped = chars.next().map(|(_, c)| c);
                    let plain = match escaped {
                        Some('n') => Some('\n'),
                        Some('t') => Some('\t'),
                        Some('r') => Some('\r'),
                        Some('b') => Some('\u{8}'),
                        Some('f') => Some('\u{c}'),
                        Some('u') => {
                            let hex: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
                            u32::from_str_radix(&hex, 16).ok().and_then(char::from_u32)
                        }
                        Some(c @ ('"' | '\\' | '\'' | '/')) => Some(c),
                        _ => None,
                    };
                    match plain {
                        Some(c) => text.push(c),
                        None => {
                            self.at += at;
                            return Err(self.wrong(self.at, "no such escape in a string"));
                        }
                    }
                }
                c => text.push(c),
            }
        }
        self.at = self.text.len();
        Err(self.wrong(from, "this string is never closed"))
    }

    /// Up to white space or a bracket.
    fn token(&mut self) -> Result<&'a str, Wrong> {
        let rest = &self.text[self.at..];
        let ends = |c: char| c.is_whitespace() || "\",;()[]{}".contains(c);
        let chars = rest.char_indices().take(LONGEST_TOKEN);
        let end = chars.clone().find(|(_, c)| ends(*c)).map(|(at, _)| at);
        let end = end.or_else(|| (chars.count() < LONGEST_TOKEN).then_some(rest.len()));
        let Some(end) = end else {
            let reason = format!("a word of {LONGEST_TOKEN} characters or more");
            return Err(self.wrong(self.at, reason));
        };
        self.at += end;
        Ok(&rest[..end])
    }

    fn atom(&mut self) -> Result<Value, Wrong> {
        let from = self.at;
        let token = self.token()?;
        if token.is_empty() {
            return Err(self.wrong(from, "expected a value"));
        }
        if let Some(keyword) = token.strip_prefix(':') {
            return match keyword.is_empty() {
                true => Err(self.wrong(from, "expected a name after :")),
                false => Ok(Value::text(keyword)),
            };
        }
        let digits = token.strip_prefix(['-', '+']).unwrap_or(token);
        if digits.starts_with(|c: char| c.is_ascii_digit()) {
            let integer = digits.strip_suffix('N').unwrap_or(digits);
            if !integer.bytes().all(|b| b.is_ascii_digit()) {
                // Floats, ratios and other bases are never compared as numbers.
                return Ok(Value::text(token));
            }
            let token = token.strip_suffix('N').unwrap_or(token);
            let token = token.strip_prefix('+').unwrap_or(token);
            return token.parse().map(Value::Int).map_err(|_| {
                self.wrong(
                    from,
                    format!("integer {token} does not fit in 64 signed bits"),
                )
            });
        }
        Ok(match token {
            "nil" => Value::Nil,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            symbol => Value::text(symbol),
        })
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Value, Wrong> {
        Reader::new(text).value()
    }

    #[test]
    #[rustfmt::skip]
    fn forms() {
        for (text, shown) in [
            ("nil",                          "nil"),
            ("-17 ; and more",               "-17"),
            ("+5N",                          "5"),
            ("1.5e3",                        "\"1.5e3\""),
            (":append",                      "\"append\""),
            ("\"a\\n\\u0041\"",              "\"a\\nA\""),
            ("[1, 2 #_ 3 (4)]",              "[1 2 [4]]"),
            ("#{1 2}",                       "[1 2]"),
            ("#jepsen.history.Op{:f :r}",    "{\"f\" \"r\"}"),
            ("#inst \"2020\"",               "\"2020\""),
            ("^{:a 1} [2]",                  "[2]"),
            ("{:a {\"b\" nil}}",             "{\"a\" {\"b\" nil}}"),
            ("\\newline",                    "\"newline\""),
        ] {
            assert_eq!(read(text).unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    #[rustfmt::skip]
    fn what_is_wrong_has_a_place() {
        for (text, at, reason, torn) in [
            ("",                       0, "the text ends where a value was expected",   true),
            ("[1 (2]",                 5, "expected )",                                 false),
            ("[1 2",                   0, "this is never closed",                       true),
            ("\"abc",                  0, "this string is never closed",                true),
            ("\"a\\qc\"",              2, "no such escape in a string",                 false),
            ("{:a}",                   0, "a map needs a value for each key",           true),
            (" 9223372036854775808 ",  1, "integer 9223372036854775808 does not fit in 64 signed bits", false),
            ("]",                      0, "] closes nothing",                           false),
        ] {
            let reason = reason.to_string();
            let exhausted = None;
            assert_eq!(read(text), Err(Wrong { at, reason, torn, exhausted }), "{text}");
        }
        let deep = "[".repeat(1_000_000);
        assert_eq!(read(&deep).unwrap_err().reason, "nested more than 124 deep");
        let deep = "#_".repeat(1_000_000);
        assert_eq!(read(&deep).unwrap_err().reason, "nested more than 124 deep");
        let long = "1".repeat(LONGEST_TOKEN);
        assert_eq!(read(&long).unwrap_err().reason, "a word of 65536 characters or more");
        assert_eq!(Reader::line_and_column("a\né x", 4), (2, 2));
    }

    #[test]
    fn a_form_takes_no_more_than_there_is() {
        let budget = |memory_bytes| Budget {
            memory_bytes,
            ..Budget::default()
        };
        for text in [
            "[1 ".repeat(50) + &"] ".repeat(50),
            format!("[{}]", "1 ".repeat(5000)),
            format!("\"{}\"", "long ".repeat(5000)),
            format!("{{{}}}", "1 2 ".repeat(5000)),
            format!("#_ ({}) 1", "1 ".repeat(5000)),
        ] {
            let held = read(&text).unwrap().bytes() as u64;
            let found = Reader::new(&text).within(budget(held).start()).value();
            let found = found.map_err(|w| w.exhausted);
            assert_eq!(found, Err(Some(Exhausted::Memory)), "{}", &text[..20]);
            let enough = budget(128 * text.len() as u64).start();
            assert!(Reader::new(&text).within(enough).value().is_ok());
        }
        let none = Budget {
            time: std::time::Duration::ZERO,
            ..Budget::default()
        };
        for text in ["1", "; comment", "   "] {
            let mut reader = Reader::new(text).within(none.start());
            let found = reader
                .upcoming()
                .map(drop)
                .and_then(|()| reader.value().map(drop));
            assert_eq!(
                found.unwrap_err().exhausted,
                Some(Exhausted::Time),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let text = "{:f :txn, :value [[:append 1 2] [\"a\\\"b\" nil true]], \"odd key\" -3}";
        let value = read(text).unwrap();
        let mut out = String::new();
        write(&value, &["txn", "append"], &mut out);
        assert_eq!(out, text);
    }
}
