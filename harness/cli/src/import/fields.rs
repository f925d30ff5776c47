//! What stands in the fields of compose files and of units.

use serde_json::Value as Json;

/// Values of variables, by name.
pub type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A scalar as a text.
pub fn text(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        Json::Bool(yes) => Some(yes.to_string()),
        _ => None,
    }
}

/// A command: a list of words, or a line as for a shell.
pub fn words(value: &Json) -> Result<Vec<String>, String> {
    match value {
        Json::Array(all) => all
            .iter()
            .map(|word| text(word).ok_or_else(|| "a command is a list of texts".to_string()))
            .collect(),
        Json::String(line) => {
            shlex::split(line).ok_or_else(|| "a quote or a backslash stands alone".into())
        }
        _ => Err("a command is a text or a list of texts".into()),
    }
}

/// An environment: a map, or a list of `NAME=VALUE`. What has no value is taken from the caller.
pub fn environment(value: &Json, variable: Variable<'_>) -> Result<Vec<(String, String)>, String> {
    let own =
        |name: &str| variable(name).ok_or(format!("{name} has no value: set it and try again"));
    let from_text = |text: &str| match text.split_once('=') {
        Some((name, value)) => Ok((name.to_string(), value.to_string())),
        None => Ok((text.to_string(), own(text)?)),
    };
    match value {
        Json::Object(map) => map
            .iter()
            .map(|(name, value)| match value {
                Json::Null => Ok((name.clone(), own(name)?)),
                value => match text(value) {
                    Some(text) => Ok((name.clone(), text)),
                    None => Err(format!("{name} is no text")),
                },
            })
            .collect(),
        Json::Array(all) => all
            .iter()
            .map(|item| from_text(item.as_str().ok_or("an environment is a list of texts")?))
            .collect(),
        Json::Null => Ok(Vec::new()),
        _ => Err("an environment is a map, or a list of NAME=VALUE".into()),
    }
}

/// Lines of `NAME=VALUE`, as in a file of an environment.
pub fn environment_lines(text: &str) -> Vec<(String, String)> {
    let line = |line: &str| {
        let line = line.trim();
        let (name, value) = line
            .split_once('=')
            .filter(|_| !line.starts_with(['#', ';']))?;
        let quoted = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
        let value = quoted('"').or(quoted('\'')).unwrap_or(value);
        let name = name.trim_start_matches("export ").trim();
        Some((name.to_string(), value.to_string()))
    };
    text.lines().filter_map(line).collect()
}

/// Puts values in place of `$NAME`, `${NAME}`, `${NAME:-default}` and their like, everywhere.
pub fn interpolate(value: &mut Json, variable: Variable<'_>) -> Result<(), String> {
    match value {
        Json::String(text) => {
            *text = filled(text, variable)?;
            Ok(())
        }
        Json::Array(all) => all
            .iter_mut()
            .try_for_each(|value| interpolate(value, variable)),
        Json::Object(map) => map
            .values_mut()
            .try_for_each(|value| interpolate(value, variable)),
        _ => Ok(()),
    }
}

fn filled(text: &str, variable: Variable<'_>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(inner) = after.strip_prefix('{') {
            let end = inner
                .find('}')
                .ok_or(format!("`${{` without its end in {text:?}"))?;
            out.push_str(&in_braces(&inner[..end], variable)?);
            rest = &inner[end + 1..];
        } else {
            let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let end = after.find(|c| !part(c)).unwrap_or(after.len());
            match end {
                0 => out.push('$'),
                end => out.push_str(&set(&after[..end], variable)?),
            }
            rest = &after[end..];
        }
    }
    Ok(out + rest)
}

fn set(name: &str, variable: Variable<'_>) -> Result<String, String> {
    variable(name).ok_or(format!(
        "${name} is not set, and has no default: set it and try again"
    ))
}

fn in_braces(inner: &str, variable: Variable<'_>) -> Result<String, String> {
    let end = inner.find([':', '-', '?', '+']).unwrap_or(inner.len());
    let (name, rest) = inner.split_at(end);
    let (or_empty, rest) = match rest.strip_prefix(':') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let value = variable(name).filter(|value| !(or_empty && value.is_empty()));
    match (rest.chars().next(), value) {
        (Some('-'), value) => Ok(value.unwrap_or_else(|| rest[1..].to_string())),
        (Some('+'), value) => Ok(value.map(|_| rest[1..].to_string()).unwrap_or_default()),
        (Some('?') | None, Some(value)) => Ok(value),
        _ => set(name, variable),
    }
}

/// The port within the container of one entry of `ports` or `expose`.
pub fn port(value: &Json) -> Option<u16> {
    if let Json::Object(long) = value {
        return port(long.get("target")?);
    }
    let text = text(value)?;
    let (ports, protocol) = text.split_once('/').unwrap_or((&text, "tcp"));
    let last = ports.rsplit(':').next()?;
    let first = last.split('-').next()?;
    first
        .parse()
        .ok()
        .filter(|port| protocol == "tcp" && *port > 0)
}

/// `1m30s`, `5s`, `500ms`, as seconds at least.
pub fn seconds(text: &str) -> Option<u64> {
    let mut total_ms: u64 = 0;
    let mut rest = text.trim();
    if let Ok(seconds) = rest.parse() {
        return Some(seconds);
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        let unit = &rest[digits..];
        let end = unit
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(unit.len());
        let ms = match &unit[..end] {
            "ms" => 1,
            "s" | "sec" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        total_ms = total_ms.checked_add(number.checked_mul(ms)?)?;
        rest = unit[end..].trim_start();
    }
    Some(total_ms.div_ceil(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn variable(name: &str) -> Option<String> {
        match name {
            "TAG" => Some("7".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_filled_in_as_compose_does() {
        let fill = |text: &str| filled(text, &variable);
        for (text, expected) in [
            ("a:$TAG", "a:7"),
            ("a:${TAG}-b", "a:7-b"),
            ("${NONE:-x}${EMPTY:-y}${EMPTY-z}", "xy"),
            ("${TAG:+set}${NONE+set}", "set"),
            ("${TAG:?must}", "7"),
            ("$$TAG 5$", "$TAG 5$"),
        ] {
            assert_eq!(fill(text).as_deref(), Ok(expected), "{text}");
        }
        for (text, said) in [
            ("$NONE", "$NONE is not set"),
            ("${NONE:?x}", "$NONE"),
            ("${TAG", "end"),
        ] {
            assert!(fill(text).expect_err(text).contains(said));
        }
    }

    #[test]
    fn commands_environments_and_ports_are_read_in_both_their_forms() {
        let of = |texts: &[&str]| texts.iter().map(|t| t.to_string()).collect::<Vec<_>>();
        assert_eq!(words(&json!("a 'b c' \"d\"")), Ok(of(&["a", "b c", "d"])));
        assert_eq!(words(&json!(["a", 5, true])), Ok(of(&["a", "5", "true"])));
        assert!(words(&json!("a 'b")).is_err() && words(&json!({})).is_err());
        let pair = |name: &str, value: &str| (name.to_string(), value.to_string());
        let expected = vec![pair("A", "1"), pair("TAG", "7")];
        assert_eq!(
            environment(&json!({"A": 1, "TAG": null}), &variable),
            Ok(expected.clone())
        );
        assert_eq!(environment(&json!(["A=1", "TAG"]), &variable), Ok(expected));
        assert!(environment(&json!(["NONE"]), &variable).is_err());
        for (value, expected) in [
            (json!(80), Some(80)),
            (json!("127.0.0.1:8080:80"), Some(80)),
            (json!("8080-8082:90-92/tcp"), Some(90)),
            (json!({"target": 70, "published": 1}), Some(70)),
            (json!("53:53/udp"), None),
            (json!("x"), None),
        ] {
            assert_eq!(port(&value), expected, "{value}");
        }
        for (text, expected) in [
            ("1m30s", Some(90)),
            ("500ms", Some(1)),
            ("7", Some(7)),
            ("1min 5s", Some(65)),
            ("x", None),
            ("5y", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }
}
