//! Values in eight bytes, for histories of millions of operations.
//!
//! ```text
//! payload (61 bits)                          tag (3 bits)
//! 0, 1, 2                                    CONST   nil, false, true
//! integer                                    INT
//! integer (24 bits)   | integer (37 bits)    PAIR    [3 17]: the value of one key
//! integer                                    FIRST   [3 nil]: a read of one key
//! bytes (56 bits) | length (5 bits)          TEXT    at most seven bytes
//! place in the arena                         SPILT   everything else
//! ```
//!
//! What is not spilt is equal iff its words are equal. What is spilt begins, in the arena, with a
//! word that tells its kind and length; then come its parts.

use crate::{Name, Value};

/// A value, or where in an [`Arena`] it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Word(u64);

const CONST: u64 = 0;
const INT: u64 = 1;
const PAIR: u64 = 2;
const FIRST: u64 = 3;
const TEXT: u64 = 4;
const SPILT: u64 = 5;

const LIST: u64 = 0;
const MAP: u64 = 1;
const LONG_TEXT: u64 = 2;
const LONG_INT: u64 = 3;

const SHORT: usize = 7;

impl Word {
    pub const NIL: Word = Word(CONST);

    fn new(tag: u64, payload: u64) -> Word {
        Word(payload << 3 | tag)
    }

    #[inline]
    fn tag(self) -> u64 {
        self.0 & 7
    }

    #[inline]
    fn payload(self) -> u64 {
        self.0 >> 3
    }

    pub fn bool(b: bool) -> Word {
        Word::new(CONST, 1 + u64::from(b))
    }

    /// Whether equal words are equal values, and different ones different.
    #[inline]
    pub fn is_whole(self) -> bool {
        self.tag() != SPILT
    }

    /// The word as a number that differs for different words.
    #[inline]
    pub fn bits(self) -> u64 {
        self.0
    }

    /// The reverse of [`Word::bits`].
    #[inline]
    pub fn from_bits(bits: u64) -> Word {
        Word(bits)
    }

    /// Of an integer that is not negative and not spilt.
    #[inline]
    pub fn as_index(self) -> Option<usize> {
        let n = self.as_short_int()?;
        usize::try_from(n).ok()
    }

    #[inline]
    fn short_int(n: i64) -> Option<Word> {
        (n << 3 >> 3 == n).then_some(Word((n as u64) << 3 | INT))
    }

    /// Of an integer that is not spilt.
    #[inline]
    fn as_short_int(self) -> Option<i64> {
        (self.tag() == INT).then_some(self.0 as i64 >> 3)
    }

    #[inline]
    fn short_pair(first: Word, second: Word) -> Option<Word> {
        let a = first.as_short_int()?;
        if second == Word::NIL {
            return Some(Word((a as u64) << 3 | FIRST));
        }
        let b = second.as_short_int()?;
        let fits = (a << 40 >> 40 == a) && (b << 27 >> 27 == b);
        fits.then_some(Word(
            (a as u64) << 40 | (b as u64 & ((1 << 37) - 1)) << 3 | PAIR,
        ))
    }

    fn short_text(text: &str) -> Option<Word> {
        let bytes = text.as_bytes();
        if bytes.len() > SHORT {
            return None;
        }
        let mut le = [0; 8];
        le[1..=bytes.len()].copy_from_slice(bytes);
        Some(Word(
            u64::from_le_bytes(le) | (bytes.len() as u64) << 3 | TEXT,
        ))
    }
}

/// Where spilt values lie.
#[derive(Clone, Debug, Default)]
pub struct Arena(Vec<u64>);

impl Arena {
    /// Bytes allocated.
    pub fn bytes(&self) -> usize {
        self.0.capacity() * 8
    }

    pub fn shrink(&mut self) {
        self.0.shrink_to_fit();
    }

    /// How far it is filled.
    pub fn mark(&self) -> usize {
        self.0.len()
    }

    /// Forgets what was stored since.
    pub fn back_to(&mut self, mark: usize) {
        self.0.truncate(mark);
    }

    fn spill(&mut self, kind: u64, len: usize, words: impl IntoIterator<Item = u64>) -> Word {
        let at = self.0.len() as u64;
        self.0.push((len as u64) << 2 | kind);
        self.0.extend(words);
        Word::new(SPILT, at)
    }

    #[inline]
    pub fn int(&mut self, n: i64) -> Word {
        Word::short_int(n).unwrap_or_else(|| self.spill(LONG_INT, 1, [n as u64]))
    }

    pub fn text(&mut self, text: &str) -> Word {
        if let Some(word) = Word::short_text(text) {
            return word;
        }
        let words = text.as_bytes().chunks(8).map(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_le_bytes(word)
        });
        self.spill(LONG_TEXT, text.len(), words)
    }

    /// A list of what is in this arena already.
    #[inline]
    pub fn list(&mut self, items: &[Word]) -> Word {
        if let [a, b] = items
            && let Some(word) = Word::short_pair(*a, *b)
        {
            return word;
        }
        self.spill(LIST, items.len(), items.iter().map(|w| w.0))
    }

    /// A map: keys and values in turn.
    pub fn map(&mut self, entries: &[Word]) -> Word {
        self.spill(MAP, entries.len(), entries.iter().map(|w| w.0))
    }

    pub fn value(&mut self, value: &Value) -> Word {
        match value {
            Value::Nil => Word::NIL,
            Value::Bool(b) => Word::bool(*b),
            Value::Int(n) => self.int(*n),
            Value::Text(text) => self.text(text),
            Value::List(items) => match &items[..] {
                [a, b] => {
                    let pair = [self.value(a), self.value(b)];
                    self.list(&pair)
                }
                items => {
                    let words: Vec<Word> = items.iter().map(|v| self.value(v)).collect();
                    self.list(&words)
                }
            },
            Value::Map(entries) => {
                let words: Vec<Word> = entries
                    .iter()
                    .flat_map(|(k, v)| [self.value(k), self.value(v)])
                    .collect();
                self.map(&words)
            }
        }
    }

    #[inline]
    pub fn get(&self, word: Word) -> Stored<'_> {
        Stored {
            word,
            arena: &self.0,
        }
    }
}

/// A stored value, read in place.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'h> {
    word: Word,
    arena: &'h [u64],
}

impl<'h> Stored<'h> {
    /// The word alone; it says everything if [`Word::is_whole`].
    #[inline]
    pub fn word(self) -> Word {
        self.word
    }

    #[inline]
    pub fn is_nil(self) -> bool {
        self.word == Word::NIL
    }

    /// Kind and parts of a spilt value.
    #[inline]
    fn spilt(self) -> Option<(u64, usize, &'h [u64])> {
        if self.word.tag() != SPILT {
            return None;
        }
        let at = self.word.payload() as usize;
        let (kind, len) = (self.arena[at] & 3, (self.arena[at] >> 2) as usize);
        let words = match kind {
            LONG_TEXT => len.div_ceil(8),
            _ => len,
        };
        Some((kind, len, &self.arena[at + 1..at + 1 + words]))
    }

    #[inline]
    pub fn as_int(self) -> Option<i64> {
        match self.spilt() {
            None => self.word.as_short_int(),
            Some((LONG_INT, _, words)) => Some(words[0] as i64),
            Some(_) => None,
        }
    }

    pub fn as_text(self) -> Option<Name> {
        let name =
            |bytes: &[u8]| Name::new(std::str::from_utf8(bytes).expect("it was stored as text"));
        match self.spilt() {
            None if self.word.tag() == TEXT => {
                let bytes = self.word.0.to_le_bytes();
                Some(name(&bytes[1..=(self.word.0 >> 3 & 31) as usize]))
            }
            Some((LONG_TEXT, len, words)) => {
                let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
                Some(name(&bytes[..len]))
            }
            _ => None,
        }
    }

    /// Whether this is that text, without making one.
    pub fn is_text(self, text: &str) -> bool {
        match Word::short_text(text) {
            Some(word) => self.word == word,
            None => self.as_text().is_some_and(|t| t == text),
        }
    }

    /// Another word from where this one is.
    #[inline]
    pub fn beside(self, word: Word) -> Stored<'h> {
        Stored { word, ..self }
    }

    /// Both halves of a two-element list.
    #[inline]
    pub fn as_pair(self) -> Option<(Stored<'h>, Stored<'h>)> {
        let (first, second) = self.halves()?;
        Some((self.beside(first), self.beside(second)))
    }

    /// The same as words, which lie where this one does.
    #[inline]
    pub fn halves(self) -> Option<(Word, Word)> {
        let bits = self.word.0;
        match self.word.tag() {
            PAIR => {
                let first = (bits as i64 >> 40) as u64;
                let second = (bits as i64) << 24 >> 27;
                Some((Word(first << 3 | INT), Word((second as u64) << 3 | INT)))
            }
            FIRST => Some((Word(bits & !7 | INT), Word::NIL)),
            SPILT => self.spilt_halves(),
            _ => None,
        }
    }

    fn spilt_halves(self) -> Option<(Word, Word)> {
        match self.spilt() {
            Some((LIST, 2, words)) => Some((Word(words[0]), Word(words[1]))),
            _ => None,
        }
    }

    /// The items of a list that is not a pair of small numbers (for which see [`Stored::as_pair`]).
    fn parts(self, of: u64) -> Option<impl ExactSizeIterator<Item = Stored<'h>> + Clone> {
        match self.spilt() {
            Some((kind, _, words)) if kind == of => {
                Some(words.iter().map(move |w| self.beside(Word(*w))))
            }
            _ => None,
        }
    }

    /// The items of a list.
    pub fn items(self) -> Option<Items<'h>> {
        match self.as_pair() {
            Some((a, b)) => Some(Items::Pair([a, b], 0)),
            None => match self.spilt() {
                Some((LIST, _, words)) => Some(Items::Words(self, words.iter())),
                _ => None,
            },
        }
    }

    pub fn to_value(self) -> Value {
        if let Some(n) = self.as_int() {
            return Value::Int(n);
        }
        if let Some(items) = self.items() {
            return Value::List(items.map(Stored::to_value).collect());
        }
        if let Some(text) = self.as_text() {
            return Value::Text(text);
        }
        if let Some(mut parts) = self.parts(MAP) {
            let mut entries = Vec::with_capacity(parts.len() / 2);
            while let (Some(k), Some(v)) = (parts.next(), parts.next()) {
                entries.push((k.to_value(), v.to_value()));
            }
            return Value::Map(entries);
        }
        match self.word.payload() {
            0 => Value::Nil,
            b => Value::Bool(b == 2),
        }
    }
}

/// Items of a stored list.
#[derive(Clone, Debug)]
pub enum Items<'h> {
    Pair([Stored<'h>; 2], usize),
    Words(Stored<'h>, std::slice::Iter<'h, u64>),
}

impl<'h> Iterator for Items<'h> {
    type Item = Stored<'h>;

    fn next(&mut self) -> Option<Stored<'h>> {
        match self {
            Items::Pair(pair, at) => {
                let item = pair.get(*at).copied();
                *at += 1;
                item
            }
            Items::Words(list, words) => words.next().map(|w| list.beside(Word(*w))),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = match self {
            Items::Pair(_, at) => 2usize.saturating_sub(*at),
            Items::Words(_, words) => words.len(),
        };
        (len, Some(len))
    }
}

impl ExactSizeIterator for Items<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values() -> impl Strategy<Value = Value> {
        let edge = prop::sample::select(vec![
            0,
            -1,
            (1 << 23) - 1,
            1 << 23,
            -(1 << 23),
            -(1 << 23) - 1,
            (1 << 36) - 1,
            1 << 36,
            -(1 << 36),
            -(1 << 36) - 1,
            (1 << 60) - 1,
            1 << 60,
            -(1 << 60),
            -(1 << 60) - 1,
            i64::MIN,
            i64::MAX,
        ]);
        let leaf = prop_oneof![
            Just(Value::Nil),
            any::<bool>().prop_map(Value::Bool),
            (-9i64..9).prop_map(Value::Int),
            edge.prop_map(Value::Int),
            "[a-zé]{0,9}".prop_map(|s| Value::text(s.as_str())),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                (inner.clone(), inner.clone()).prop_map(|(a, b)| Value::pair(a, b)),
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
                prop::collection::vec((inner.clone(), inner), 0..3).prop_map(Value::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_stored_is_read(a in values(), b in values()) {
            let mut arena = Arena::default();
            let (x, y) = (arena.value(&a), arena.value(&b));
            prop_assert_eq!(arena.get(x).to_value(), a.clone());
            prop_assert_eq!(arena.get(y).to_value(), b.clone());
            prop_assert_eq!(arena.get(x).as_int(), a.as_int());
            prop_assert_eq!(arena.get(x).is_nil(), a.is_nil());
            let pair = arena.get(x).as_pair().map(|(p, q)| (p.to_value(), q.to_value()));
            prop_assert_eq!(pair, a.as_pair().map(|(p, q)| (p.clone(), q.clone())));
            prop_assert_eq!(arena.get(x).items().map(|i| i.len()), a.as_list().map(<[Value]>::len));
            // Equal values, stored apart, have equal words unless they are spilt, and then both
            // are.
            let mut other = Arena::default();
            other.text("something in front");
            let again = other.value(&a);
            prop_assert_eq!(x.is_whole(), again.is_whole());
            if x.is_whole() {
                prop_assert_eq!(x, again);
            }
            if x.is_whole() && y.is_whole() {
                prop_assert_eq!(x == y, a == b);
            }
        }
    }
}
