//! Transactions on lists and on registers against brute force.

use checkers::Verdict;

use crate::subjects::{self, Counts};

/// Histories so small are decided, but where lists have no order.
fn are_decided(counts: &Counts) {
    counts.has_at_least(counts.histories() / 50, &[Verdict::Valid, Verdict::Invalid]);
    for row in counts.rows() {
        let undecided = row.of(Verdict::Unknown);
        assert!(
            undecided == 0 || row.what() == "read-uncommitted",
            "{counts}"
        );
    }
}

#[test]
fn lists_agree_with_brute_force() {
    are_decided(&subjects::run("append", 600));
}

#[test]
fn registers_agree_with_brute_force() {
    are_decided(&subjects::run("rw-register", 600));
}
