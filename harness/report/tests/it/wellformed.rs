//! A tiny check that a page is well formed: tags balance, attributes are quoted, text is escaped.

/// Elements that have no end.
const VOID: [&str; 5] = ["meta", "link", "input", "br", "hr"];

/// Elements whose content is not markup.
const RAW: [&str; 2] = ["script", "style"];

/// Panics with the surroundings of the first thing that is wrong.
pub fn check(page: &str) {
    let mut rest = page
        .strip_prefix("<!DOCTYPE html>")
        .expect("a page begins with its type");
    let mut open: Vec<&str> = Vec::new();
    let mut ids: Vec<&str> = Vec::new();
    while let Some(at) = rest.find('<') {
        text(&rest[..at]);
        rest = &rest[at + 1..];
        let here: String = rest.chars().take(80).collect();
        if let Some(tag) = rest.strip_prefix('/') {
            let (name, after) = tag.split_once('>').expect("an end tag ends");
            assert_eq!(open.pop(), Some(name), "near </{here}");
            rest = after;
            continue;
        }
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric())
            .expect("a name ends");
        let name = &rest[..end];
        assert!(!name.is_empty(), "a bare < near {here}");
        rest = &rest[end..];
        let closed = loop {
            rest = rest.trim_start();
            if let Some(after) = rest.strip_prefix("/>") {
                rest = after;
                break true;
            }
            if let Some(after) = rest.strip_prefix('>') {
                rest = after;
                break VOID.contains(&name);
            }
            let end = rest
                .find(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
                .expect("an attribute ends");
            assert!(end > 0, "no attribute's name near {here}");
            let attribute = &rest[..end];
            rest = &rest[end..];
            if let Some(value) = rest.strip_prefix("=\"") {
                let (value, after) = value.split_once('"').expect("a value ends");
                text(value);
                assert!(
                    !value.contains("NaN") && !value.contains("inf "),
                    "{attribute}={value:?} near {here}"
                );
                if attribute == "id" {
                    assert!(!ids.contains(&value), "two elements have the id {value}");
                    ids.push(value);
                }
                rest = after;
            }
        };
        if closed {
            continue;
        }
        open.push(name);
        if RAW.contains(&name) {
            let stop = format!("</{name}>");
            rest = &rest[rest.find(&stop).expect("raw text ends")..];
        }
    }
    assert_eq!(open, Vec::<&str>::new(), "elements left open");
}

/// Text has no stray markup, and its ampersands are escapes.
fn text(text: &str) {
    assert!(!text.contains('>'), "a bare > in {text:?}");
    for (at, _) in text.match_indices('&') {
        let known = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"];
        assert!(
            known.iter().any(|k| text[at..].starts_with(k)),
            "a bare & in {:?}",
            text[at..].chars().take(60).collect::<String>()
        );
    }
}

/// The contents of every element `<name ..>..</name>` without markup inside of it, unescaped enough
/// to compare.
pub fn json<'a>(page: &'a str, id: &str) -> serde_json::Value {
    let start = format!("<script type=\"application/json\" id=\"{id}\">");
    let from = page.find(&start).unwrap_or_else(|| panic!("no data {id}")) + start.len();
    let text: &'a str = &page[from..];
    let text = &text[..text.find("</script>").expect("data ends")];
    serde_json::from_str(text).unwrap_or_else(|e| panic!("data {id}: {e}"))
}
