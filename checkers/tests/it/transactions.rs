//! Transactions on lists and on registers against brute force.

use checkers::transactions::{Consistency, ListAppend, RwRegister};
use checkers::{Budget, Checker, Verdict, drawing, verify};

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

/// Half of what a transaction appended was read, and so read that it contradicts another read:
/// there is no order of appends, and nothing proves read uncommitted.
#[test]
fn a_read_of_half_a_transaction_hides_no_other_order() {
    let history = drawing::history(
        "P0 |-txn [[append 0 1] [r 0 [1]]]-| |-txn [[append 0 2] [append 0 3]]-?
         P1                                                                      |-txn [[append 0 4] [r 0 [2 3 4]]]-|
         P2                                                                      |-txn [[append 0 6] [r 0 [3 4 6]]]-|",
    );
    let found =
        ListAppend::by(Consistency::ReadUncommitted).check(&history.unwrap(), &Budget::default());
    assert_ne!(found.verdict, Verdict::Valid, "{}", found.summary);
}

/// Two appended the same element, so whose version the last one read is not known: nothing says
/// that it was the version before, half of whose transaction it missed. (Seed 41,003,686,384 of
/// lists.)
#[test]
fn a_version_of_nobody_known_is_not_the_version_before_it() {
    let history = drawing::history(
        "P0 |-txn [[append 1 1] [r 2 []]]-|                                                        |-txn [[append 1 1]]-|
         P1  |-txn [[r 1 []] [append 2 2] [r 2 [2]] [append 1 3]]-|
         P2                                                        |-txn [[r 2 []] [r 1 [3 1]]]-|",
    )
    .unwrap();
    let models = [
        Consistency::MonotonicAtomicView,
        Consistency::ReadAtomic,
        Consistency::TransactionalCausal,
    ];
    for model in models {
        let found = ListAppend::by(model).check(&history, &Budget::default());
        assert_eq!(
            found.verdict,
            Verdict::Unknown,
            "{model}: {}",
            found.summary
        );
    }
}

/// What a weaker model is held against needs no order of blind writes, and what explains them is
/// another than they returned in; a certificate has it all the same.
#[test]
fn a_weaker_model_of_blind_writes_has_a_certificate_that_holds() {
    let history = drawing::history(
        "P0 |-txn [[w 0 1]]----|
         P1  |-txn [[w 0 2]]-----|
         P2                         |-txn [[r 0 1]]-|",
    )
    .unwrap();
    for model in Consistency::ALL {
        let order = RwRegister::by(model).certify(&history, &Budget::default());
        assert_eq!(verify(&history, &order.unwrap()), Ok(()), "{model}");
    }
}
