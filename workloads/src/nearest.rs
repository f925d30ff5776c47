//! The name that a person may have meant.

/// The known name that is most like `name`, if any is alike at all.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    known
        .into_iter()
        .map(|k| (strsim::jaro_winkler(name, k), k))
        // Below this the two have hardly more in common than a few letters.
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, k)| k.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_are_understood_and_nonsense_is_not() {
        let known = ["register", "cas-register", "set", "append"];
        assert_eq!(nearest("regster", known).as_deref(), Some("register"));
        assert_eq!(
            nearest("cas_register", known).as_deref(),
            Some("cas-register")
        );
        assert_eq!(nearest("apend", known).as_deref(), Some("append"));
        assert_eq!(nearest("xyzzy", known), None);
    }
}
