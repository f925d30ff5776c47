//! What somebody may have meant.

/// The name among `known` that somebody may have meant.
pub(crate) fn nearest<'a>(
    wrong: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(wrong, name), name))
        .min()
        // A third of the letters wrong is a slip; more is another word.
        .filter(|(distance, name)| *distance <= name.len().div_ceil(3))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_has_a_nearest_name_and_another_word_has_none() {
        let known = ["partition", "pause", "kill", "clock"];
        assert_eq!(nearest("partiton", known), Some("partition"));
        assert_eq!(nearest("kil", known), Some("kill"));
        assert_eq!(nearest("earthquake", known), None);
    }
}
