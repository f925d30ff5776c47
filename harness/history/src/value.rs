//! What operations carry: arguments and answers.

use std::fmt;

use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Name;

/// A value of a history. JSON's and EDN's common ground: maps keep their order and may have any
/// key.
///
/// A keyed operation (one register of many) carries `[key, value]`, as Jepsen's `independent` does;
/// a compare-and-set carries `[from, to]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    #[default]
    Nil,
    Bool(bool),
    Int(i64),
    Text(Name),
    List(Vec<Value>),
    Map(Vec<(Value, Value)>),
}

impl Value {
    pub fn text(s: impl Into<Name>) -> Value {
        Value::Text(s.into())
    }

    pub fn pair(a: impl Into<Value>, b: impl Into<Value>) -> Value {
        Value::List(vec![a.into(), b.into()])
    }

    pub fn is_nil(&self) -> bool {
        matches!(self, Value::Nil)
    }

    pub fn as_int(&self) -> Option<i64> {
        match self {
            Value::Int(n) => Some(*n),
            _ => None,
        }
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(b) => Some(*b),
            _ => None,
        }
    }

    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(s) => Some(s),
            _ => None,
        }
    }

    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// Both halves of a two-element list.
    pub fn as_pair(&self) -> Option<(&Value, &Value)> {
        match self.as_list() {
            Some([a, b]) => Some((a, b)),
            _ => None,
        }
    }

    /// Bytes that it holds beyond itself.
    pub fn bytes(&self) -> usize {
        match self {
            // Short texts are held in place; nobody need know how short.
            Value::Text(text) => text.len(),
            Value::List(items) => {
                let inner: usize = items.iter().map(Value::bytes).sum();
                items.capacity() * size_of::<Value>() + inner
            }
            Value::Map(entries) => {
                let inner = entries.iter().map(|(k, v)| k.bytes() + v.bytes());
                entries.capacity() * size_of::<(Value, Value)>() + inner.sum::<usize>()
            }
            Value::Nil | Value::Bool(_) | Value::Int(_) => 0,
        }
    }

    /// Lists and maps around its innermost part; none around what is neither.
    pub fn depth(&self) -> usize {
        match self {
            Value::List(items) => 1 + items.iter().map(Value::depth).max().unwrap_or(0),
            Value::Map(entries) => {
                let depths = entries.iter().map(|(k, v)| k.depth().max(v.depth()));
                1 + depths.max().unwrap_or(0)
            }
            _ => 0,
        }
    }

    /// Whether it could not be stored and converted: see [`edn::DEEPEST`](crate::edn::DEEPEST).
    pub fn is_too_deep(&self) -> bool {
        self.depth() > crate::edn::DEEPEST + 1
    }

    /// The entry of a map under a text key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Value::Map(entries) => entries
                .iter()
                .find(|(k, _)| k.as_text() == Some(key))
                .map(|(_, v)| v),
            _ => None,
        }
    }

    /// Any serialisable thing as a value, by way of JSON. Floats, which no checker compares, become
    /// text.
    pub fn from_serde<T: Serialize>(thing: &T) -> Result<Value, serde_json::Error> {
        Ok(serde_json::to_value(thing)?.into())
    }

    /// The reverse of [`Value::from_serde`].
    pub fn to_serde<T: de::DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_value(serde_json::to_value(self)?)
    }
}

impl From<serde_json::Value> for Value {
    fn from(json: serde_json::Value) -> Value {
        use serde_json::Value as Json;
        match json {
            Json::Null => Value::Nil,
            Json::Bool(b) => Value::Bool(b),
            Json::Number(n) => n
                .as_i64()
                .map_or_else(|| Value::text(n.to_string()), Value::Int),
            Json::String(s) => Value::text(s),
            Json::Array(items) => Value::List(items.into_iter().map(Value::from).collect()),
            Json::Object(entries) => Value::Map(
                entries
                    .into_iter()
                    .map(|(k, v)| (Value::text(k), v.into()))
                    .collect(),
            ),
        }
    }
}

impl From<i64> for Value {
    fn from(n: i64) -> Value {
        Value::Int(n)
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Value {
        Value::Bool(b)
    }
}

impl From<&str> for Value {
    fn from(s: &str) -> Value {
        Value::text(s)
    }
}

impl From<Name> for Value {
    fn from(s: Name) -> Value {
        Value::Text(s)
    }
}

impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Value {
        Value::List(items)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Nil => f.write_str("nil"),
            Value::Bool(b) => write!(f, "{b}"),
            Value::Int(n) => write!(f, "{n}"),
            Value::Text(s) => write!(f, "{s:?}"),
            Value::List(items) => {
                f.write_str("[")?;
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        f.write_str(" ")?;
                    }
                    write!(f, "{item}")?;
                }
                f.write_str("]")
            }
            Value::Map(entries) => {
                f.write_str("{")?;
                for (i, (k, v)) in entries.iter().enumerate() {
                    if i > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{k} {v}")?;
                }
                f.write_str("}")
            }
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Nil => s.serialize_unit(),
            Value::Bool(b) => s.serialize_bool(*b),
            Value::Int(n) => s.serialize_i64(*n),
            Value::Text(t) => s.serialize_str(t),
            Value::List(items) => items.serialize(s),
            Value::Map(entries) => {
                let mut map = s.serialize_map(Some(entries.len()))?;
                for (k, v) in entries {
                    // JSON has text keys only; others are written as they would be printed.
                    match k {
                        Value::Text(t) => map.serialize_entry(t, v)?,
                        other => map.serialize_entry(&other.to_string(), v)?,
                    }
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Value, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Value;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("null, true, false, a 64-bit integer, text, a list or a map")
            }
            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Nil)
            }
            fn visit_bool<E>(self, b: bool) -> Result<Value, E> {
                Ok(Value::Bool(b))
            }
            fn visit_i64<E>(self, n: i64) -> Result<Value, E> {
                Ok(Value::Int(n))
            }
            fn visit_u64<E: de::Error>(self, n: u64) -> Result<Value, E> {
                i64::try_from(n)
                    .map(Value::Int)
                    .map_err(|_| E::custom(format!("integer {n} does not fit in 64 signed bits")))
            }
            fn visit_f64<E: de::Error>(self, x: f64) -> Result<Value, E> {
                Err(E::custom(format!(
                    "{x} is not an integer: histories carry 64-bit integers, text, lists and maps"
                )))
            }
            fn visit_str<E>(self, s: &str) -> Result<Value, E> {
                Ok(Value::text(s))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut a: A) -> Result<Value, A::Error> {
                let mut items = Vec::with_capacity(a.size_hint().unwrap_or(2).min(1024));
                while let Some(item) = a.next_element()? {
                    items.push(item);
                }
                Ok(Value::List(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut a: A) -> Result<Value, A::Error> {
                // Many maps have one entry, and would have room for four.
                let mut entries = Vec::with_capacity(1);
                while let Some((k, v)) = a.next_entry::<Name, Value>()? {
                    entries.push((Value::Text(k), v));
                }
                Ok(Value::Map(entries))
            }
        }
        d.deserialize_any(V)
    }
}
