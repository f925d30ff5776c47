//! Leases and total queues, which are judged without an order, against what they promise.

use checkers::Verdict;

use crate::subjects;

#[test]
fn leases_agree_with_every_two_of_them() {
    subjects::run("lease", 4_000).has_at_least(500, &[Verdict::Valid, Verdict::Invalid]);
}

#[test]
fn total_queues_agree_with_what_they_promise() {
    let verdicts = [Verdict::Valid, Verdict::Invalid, Verdict::Unknown];
    subjects::run("total-queue", 4_000).has_at_least(300, &verdicts);
}
