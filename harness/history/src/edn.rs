//! EDN, as Clojure's programs print it: Jepsen's, Knossos's and Elle's histories are written so.
//!
//! Only what a [`Value`] can hold is kept: keywords, symbols, characters and floats become text,
//! sets and sequences become lists, and a tag is passed over for what it stands before. Maps whose
//! keys are keywords, among them Jepsen's records (`#jepsen.history.Op{...}`), become maps of text.
//!
//! JSON is read by the same reader: [`Reader::json`] passes over colons as it does over commas, and
//! calls nil `null`.

mod print;
mod string;
mod token;

use std::borrow::Cow;

use self::token::ends_token;
use crate::word::{Arena, Word};
use crate::{Budget, Exhausted, Meter, Value};

pub use print::{write, write_name};

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

/// Deeper than anything that a history means, and as deep as the stored form can say: its parser
/// takes 127 levels, of which the event is one, and a key may add another.
pub const DEEPEST: usize = 124;

/// A symbol, keyword or number is shorter, in characters.
const LONGEST_TOKEN: usize = 1 << 16;

/// What a value may take: a list has up to twice the room that it needs, and more while it grows;
/// then it is made into words.
const VALUE_BYTES: u64 = 5 * size_of::<Value>() as u64;

/// What a word may take on the stack and in the arena, both of which grow by doubling.
const WORD_BYTES: u64 = 6 * size_of::<Word>() as u64;

/// Reads forms one after another.
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
    meter: Meter,
    /// Of the form that is being read.
    bytes: u64,
    json: bool,
    /// Whether `null` is nil.
    null: bool,
    /// Whether numbers of any size are taken, as text: nobody will compare them.
    any_number: bool,
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
            json: false,
            null: false,
            any_number: false,
        }
    }

    /// Of forms of JSON.
    pub fn json(text: &'a str) -> Reader<'a> {
        Reader {
            json: true,
            null: true,
            ..Reader::new(text)
        }
    }

    /// Calls nil `null` as well.
    pub fn with_null(self) -> Reader<'a> {
        Reader { null: true, ..self }
    }

    /// Goes on under a budget, for each form what there is beside what it is asked for.
    pub fn within(self, meter: Meter) -> Reader<'a> {
        Reader { meter, ..self }
    }

    /// The same, between two forms.
    pub fn goes_on_within(&mut self, meter: Meter) {
        self.meter = meter;
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

    /// Fails if there is no room for a copy of this text.
    pub fn hold_text(&mut self, text: &str) -> Result<(), Wrong> {
        self.hold(2 * text.len() as u64)
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
    #[inline]
    fn skip(&mut self, depth: usize) -> Result<(), Wrong> {
        // Mostly there is one space, or none.
        if self.peek() == Some(b' ') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'!'..=b'"' | b'$'..=b'+' | b'-'..=b'9' | b'<'..=b'~') => Ok(()),
            Some(b':') if !self.json => Ok(()),
            _ => self.skip_all(depth),
        }
    }

    fn skip_all(&mut self, depth: usize) -> Result<(), Wrong> {
        while let Some(byte) = self.peek() {
            if self.at.is_multiple_of(4096) {
                self.hold(0)?;
            }
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | b',' | 0x0b | 0x0c => self.at += 1,
                b':' if self.json => self.at += 1,
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

    /// Passes over one form, in which there may be what no [`Value`] can hold.
    pub fn pass(&mut self) -> Result<(), Wrong> {
        self.bytes = 0;
        self.any_number = true;
        let form = self.form(0);
        self.any_number = false;
        form.map(drop)
    }

    /// Passes over this byte if it comes next, and tells whether it did.
    pub fn eat(&mut self, byte: u8) -> Result<bool, Wrong> {
        self.skip(0)?;
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        Ok(there)
    }

    /// Passes over tags and metadata before a form.
    pub fn tags(&mut self) -> Result<(), Wrong> {
        loop {
            self.skip(0)?;
            let rest = &self.text.as_bytes()[self.at..];
            match rest {
                [b'^', ..] => {
                    self.at += 1;
                    self.pass()?;
                }
                [b'#', c, ..] if c.is_ascii_alphabetic() => {
                    self.at += 1;
                    self.token()?;
                }
                _ => return Ok(()),
            }
        }
    }

    /// Reads one form as text: a name or what it is printed as; none if it is nil.
    pub fn text(&mut self) -> Result<Option<Cow<'a, str>>, Wrong> {
        self.bytes = 0;
        self.skip(0)?;
        match self.peek() {
            Some(b':') if !self.json => {
                let from = self.at;
                let name = &self.token()?[1..];
                match name.is_empty() {
                    true => return Err(self.wrong(from, "expected a name after :")),
                    false => return Ok(Some(name.into())),
                }
            }
            Some(b'"') => {
                if let Some(plain) = self.plain_string() {
                    return Ok(Some(plain.into()));
                }
            }
            _ => {}
        }
        self.any_number = true;
        let form = self.form(0);
        self.any_number = false;
        Ok(match form? {
            Value::Nil => None,
            Value::Text(name) => Some(String::from(name).into()),
            other => Some(other.to_string().into()),
        })
    }

    /// Reads one form into an arena; what it consists of is kept on the stack meanwhile.
    pub fn word(&mut self, arena: &mut Arena, stack: &mut Vec<Word>) -> Result<Word, Wrong> {
        self.bytes = 0;
        self.word_at(arena, stack, 0)
    }

    /// Reads one form that will be half of a pair of key and value. The pair is a level more, and
    /// must be no deeper than any other form.
    pub fn half(&mut self, arena: &mut Arena, stack: &mut Vec<Word>) -> Result<Word, Wrong> {
        self.bytes = 0;
        self.word_at(arena, stack, 1)
    }

    fn word_at(
        &mut self,
        arena: &mut Arena,
        stack: &mut Vec<Word>,
        depth: usize,
    ) -> Result<Word, Wrong> {
        if depth > DEEPEST {
            return Err(self.wrong(self.at, format!("nested more than {DEEPEST} deep")));
        }
        self.hold(WORD_BYTES)?;
        self.skip(depth)?;
        let from = self.at;
        match self.peek() {
            Some(b'0'..=b'9' | b'-') => {
                if let Some(n) = self.short_integer() {
                    return Ok(arena.int(n));
                }
            }
            Some(b':') if !self.json => {
                let name = &self.token()?[1..];
                if !name.is_empty() {
                    self.hold(2 * name.len() as u64)?;
                    return Ok(arena.text(name));
                }
                self.at = from;
            }
            Some(b'"') => {
                if let Some(text) = self.plain_string() {
                    self.hold(2 * text.len() as u64)?;
                    return Ok(arena.text(text));
                }
            }
            Some(open @ (b'[' | b'(' | b'{')) => {
                let end = match open {
                    b'[' => b']',
                    b'(' => b')',
                    _ => b'}',
                };
                let base = stack.len();
                self.words(end, arena, stack, depth)?;
                let word = match (open, stack.len() - base) {
                    (b'{', odd) if odd % 2 == 1 => {
                        return Err(self.wrong(from, "a map needs a value for each key"));
                    }
                    (b'{', _) => arena.map(&stack[base..]),
                    _ => arena.list(&stack[base..]),
                };
                stack.truncate(base);
                return Ok(word);
            }
            Some(b'n') => {
                let nil: &[u8] = if self.json { b"null" } else { b"nil" };
                let rest = &self.text.as_bytes()[from..];
                if rest.starts_with(nil) && rest.get(nil.len()).is_none_or(|b| ends_token(*b)) {
                    self.at += nil.len();
                    return Ok(Word::NIL);
                }
            }
            _ => {}
        }
        let value = self.form(depth)?;
        self.hold(2 * value.bytes() as u64)?;
        Ok(arena.value(&value))
    }

    fn words(
        &mut self,
        end: u8,
        arena: &mut Arena,
        stack: &mut Vec<Word>,
        depth: usize,
    ) -> Result<(), Wrong> {
        let from = self.at;
        self.at += 1;
        loop {
            self.skip(depth)?;
            match self.peek() {
                None => return Err(self.wrong(from, "this is never closed")),
                Some(b) if b == end => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b']' | b')' | b'}') => {
                    let expected = char::from(end);
                    return Err(self.wrong(self.at, format!("expected {expected}")));
                }
                Some(_) => {
                    let word = self.word_at(arena, stack, depth + 1)?;
                    stack.push(word);
                }
            }
        }
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
                    Some(b'"') => self.regex(),
                    // A map whose keys are of one namespace, which is not said again.
                    Some(b':') => {
                        self.token()?;
                        self.form(depth + 1)
                    }
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
