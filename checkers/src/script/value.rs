//! Values of a history as a script has them, and back.
//!
//! | history | script |
//! | --- | --- |
//! | nil, true and false, numbers, text, lists | the same |
//! | a map | an object map; a key that is not text is written as text, as in JSON |
//!
//! What comes back is canonical: two states are the same if they are equal as values of a history,
//! and maps are sorted by their keys. Floating-point numbers do not exist on either side, so
//! nothing depends on rounding. Other things of the language (functions, ranges, single characters)
//! cannot be part of a state.

use history::Value;
use rhai::{Array, Dynamic, ImmutableString, Map};

/// Lists and maps around the innermost part of a state. The language has no limit of its own.
pub const DEEPEST: usize = 64;

/// An answer that nobody knows. It equals nothing, not even itself.
#[derive(Clone, Copy, Debug)]
pub struct Unknown;

/// # Errors
/// That two keys of a map are the same as text.
pub fn to_script(value: &Value) -> Result<Dynamic, String> {
    Ok(match value {
        Value::Nil => Dynamic::UNIT,
        Value::Bool(b) => (*b).into(),
        Value::Int(n) => (*n).into(),
        Value::Text(text) => ImmutableString::from(text.as_str()).into(),
        Value::List(items) => {
            let items: Result<Array, String> = items.iter().map(to_script).collect();
            Dynamic::from_array(items?)
        }
        Value::Map(entries) => {
            let mut map = Map::new();
            for (key, value) in entries {
                let key = match key {
                    Value::Text(text) => text.to_string(),
                    other => other.to_string(),
                };
                if map.insert(key.as_str().into(), to_script(value)?).is_some() {
                    return Err(format!("{key} is twice among the keys of a map"));
                }
            }
            Dynamic::from_map(map)
        }
    })
}

/// # Errors
/// What of it is no value of a history.
pub fn from_script(value: &Dynamic) -> Result<Value, String> {
    within(value, DEEPEST)
}

fn within(value: &Dynamic, depth: usize) -> Result<Value, String> {
    if value.is_unit() {
        return Ok(Value::Nil);
    }
    if let Ok(b) = value.as_bool() {
        return Ok(Value::Bool(b));
    }
    if let Ok(n) = value.as_int() {
        return Ok(Value::Int(n));
    }
    if let Ok(text) = value.as_immutable_string_ref() {
        return Ok(Value::text(text.as_str()));
    }
    let deeper = || {
        let deepest = || format!("lists and maps stand more than {DEEPEST} deep in each other");
        depth.checked_sub(1).ok_or_else(deepest)
    };
    if let Ok(items) = value.as_array_ref() {
        let depth = deeper()?;
        let items: Result<_, String> = items.iter().map(|item| within(item, depth)).collect();
        return Ok(Value::List(items?));
    }
    if let Ok(map) = value.as_map_ref() {
        let depth = deeper()?;
        let mut entries = Vec::with_capacity(map.len());
        for (key, value) in map.iter() {
            entries.push((Value::text(key.as_str()), within(value, depth)?));
        }
        return Ok(Value::Map(entries));
    }
    Err(format!(
        "{} can be no part of it; numbers, text, true and false, (), lists and maps can",
        kind(value)
    ))
}

/// Whether two would be equal as values of a history.
///
/// # Errors
/// What of them is no such value.
pub fn equal(a: &Dynamic, b: &Dynamic) -> Result<bool, String> {
    if let (Ok(a), Ok(b)) = (a.as_int(), b.as_int()) {
        return Ok(a == b);
    }
    if let (Ok(a), Ok(b)) = (a.as_array_ref(), b.as_array_ref()) {
        for (a, b) in a.iter().zip(b.iter()) {
            if !equal(a, b)? {
                return Ok(false);
            }
        }
        return Ok(a.len() == b.len());
    }
    Ok(from_script(a)? == from_script(b)?)
}

/// What it is, in words.
pub fn kind(value: &Dynamic) -> String {
    match value.type_name() {
        "()" => "()".into(),
        "bool" => "true or false".into(),
        "i64" => "a number".into(),
        "string" => "text".into(),
        "array" => "a list".into(),
        "map" => "a map".into(),
        "char" => "a single character (to_string() makes text of it)".into(),
        "Fn" => "a function".into(),
        name if name.ends_with("Unknown") => "an answer that nobody knows".into(),
        name => format!("a {}", name.rsplit("::").next().unwrap_or(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_went() {
        let map = |entries: &[(Value, Value)]| Value::Map(entries.to_vec());
        for value in [
            Value::Nil,
            true.into(),
            i64::MIN.into(),
            "a".into(),
            vec![Value::Nil, vec![Value::Int(1)].into()].into(),
            map(&[("a".into(), 1.into()), ("b".into(), Value::Nil)]),
        ] {
            assert_eq!(from_script(&to_script(&value).unwrap()), Ok(value));
        }
        // Sorted by its keys, which are text.
        let mixed = map(&[("b".into(), 1.into()), (7.into(), 2.into())]);
        let sorted = map(&[("7".into(), 2.into()), ("b".into(), 1.into())]);
        assert_eq!(from_script(&to_script(&mixed).unwrap()), Ok(sorted));
        let twice = map(&[("7".into(), 1.into()), (7.into(), 2.into())]);
        let why = to_script(&twice).unwrap_err();
        assert_eq!(why, "7 is twice among the keys of a map");
    }

    #[test]
    fn what_is_no_value_is_named() {
        let why = |value: Dynamic| from_script(&value).unwrap_err();
        assert!(why('c'.into()).starts_with("a single character (to_string() makes text of it)"));
        assert!(why(Dynamic::from(Unknown)).starts_with("an answer that nobody knows"));
        let mut deep = Dynamic::UNIT;
        for _ in 0..=DEEPEST {
            deep = Dynamic::from_array(vec![deep]);
        }
        assert!(why(deep).contains("more than 64 deep"));
    }
}
