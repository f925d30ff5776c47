//! What somebody may have meant.

/// The name among `known` that somebody may have meant.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (distance(wrong, name), name))
        .min()
        // A third of the letters wrong is a slip; more is another word.
        .filter(|(distance, name)| *distance <= name.len().div_ceil(3))
        .map(|(_, name)| name)
}

/// By how many slips they differ. Whoever wrote the beginning of a name and no more made one.
fn distance(wrong: &str, name: &str) -> usize {
    match name.starts_with(wrong) && wrong.len() > 2 {
        true => 1,
        false => strsim::damerau_levenshtein(wrong, name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_has_a_nearest_name_and_another_word_has_none() {
        let known = [
            "partition",
            "pause",
            "kill",
            "clock",
            "cas-register",
            "append",
        ];
        assert_eq!(nearest("partiton", known), Some("partition"));
        assert_eq!(nearest("kil", known), Some("kill"));
        assert_eq!(nearest("cas_register", known), Some("cas-register"));
        assert_eq!(nearest("apend", known), Some("append"));
        assert_eq!(nearest("part", known), Some("partition"));
        assert_eq!(nearest("earthquake", known), None);
        assert_eq!(nearest("xyzzy", known), None);
    }
}
