//! Transactions on lists and on registers against brute force.

use checkers::Verdict;

use crate::subjects::{self, Counts};

/// The most that may be left undecided, in per cent.
fn decides_all_but(counts: &Counts, undecided: u64) {
    counts.has_at_least(counts.histories() / 8, &[Verdict::Valid, Verdict::Invalid]);
    for row in counts.rows() {
        let decided = row.of(Verdict::Valid) + row.of(Verdict::Invalid);
        assert!(
            row.of(Verdict::Unknown) * 100 <= undecided * decided,
            "{counts}"
        );
    }
}

#[test]
fn lists_agree_with_brute_force() {
    decides_all_but(&subjects::run("append", 600), 1);
}

#[test]
fn registers_agree_with_brute_force() {
    decides_all_but(&subjects::run("rw-register", 600), 10);
}
