//! Two branches, and what a node makes of the one that it does not take; and the flaws that show
//! only there.

use chain::core::block::{Op, Transaction};
use chain::core::message::{Answer, Message, Question};
use chain::flaws::Flaw;

use crate::bench::{Bench, Forest, rules};

fn put(id: &str) -> Transaction {
    Transaction {
        id: id.to_owned(),
        op: Op::Put {
            key: id.to_owned(),
            value: "1".to_owned(),
        },
    }
}

fn with(forest: &Forest, flaws: &[Flaw]) -> Bench {
    let flaws = flaws.iter().copied().collect();
    Bench::flawed(forest.rules.clone(), Vec::new(), flaws)
}

/// Transactions that wait after a block with one gave way to two without.
fn waiting_after_a_reorganisation(flaws: &[Flaw]) -> (Forest, Bench) {
    let mut forest = Forest::new(rules());
    let genesis = forest.genesis;
    let left = forest.grow(genesis, 0, vec![put("p")]);
    let taken = forest.grow(genesis, 0, Vec::new());
    let head = forest.grow(taken, 0, Vec::new());
    let mut bench = with(&forest, flaws);
    let peer = bench.peer("p", genesis);
    for hash in [left, taken, head] {
        bench.message(peer, Message::Block(forest.block(hash)));
    }
    assert_eq!(bench.core.head().hash, head);
    (forest, bench)
}

#[test]
fn what_was_in_an_abandoned_block_waits_again() {
    let (_, bench) = waiting_after_a_reorganisation(&[]);
    assert_eq!(bench.core.status().mempool, 1);
    let (_, bench) = waiting_after_a_reorganisation(&[Flaw::ForgetAbandoned]);
    assert_eq!(bench.core.status().mempool, 0);
}

#[test]
fn of_equal_branches_the_first_seen_is_kept() {
    let mut forest = Forest::new(rules());
    let (first, second) = (
        forest.grow(forest.genesis, 0, Vec::new()),
        forest.grow(forest.genesis, 0, Vec::new()),
    );
    let head = |flaws: &[Flaw]| {
        let mut bench = with(&forest, flaws);
        let peer = bench.peer("p", forest.genesis);
        for hash in [first, second] {
            bench.message(peer, Message::Block(forest.block(hash)));
        }
        bench.core.head().hash
    };
    assert_eq!(head(&[]), first);
    assert_eq!(head(&[Flaw::LastSeenWins]), second);
}

/// What one account has and another after a transfer, of a hundred each.
fn after_transfer(amount: u64, flaws: &[Flaw]) -> [u64; 2] {
    let mut forest = Forest::new(rules());
    let op = Op::Transfer {
        from: "a0".to_owned(),
        to: "a1".to_owned(),
        amount,
    };
    let id = "t".to_owned();
    let tip = forest.grow(forest.genesis, 0, vec![Transaction { id, op }]);
    let mut bench = with(&forest, flaws);
    let peer = bench.peer("p", tip);
    bench.message(peer, Message::Block(forest.block(tip)));
    assert_eq!(bench.core.head().hash, tip);
    match bench.look(Question::Balances, 1) {
        Answer::Balances(balances) => [balances[0].1, balances[1].1],
        other => panic!("balances were asked for, not {other:?}"),
    }
}

#[test]
fn a_transfer_takes_what_it_gives() {
    let flaw = [Flaw::AmountWraps];
    let wraps = (1 << 32) + 30;
    assert_eq!(after_transfer(30, &[]), [70, 130]);
    assert_eq!(after_transfer(30, &flaw), [70, 130]);
    assert_eq!(after_transfer(wraps, &[]), [100, 100]);
    assert_eq!(after_transfer(wraps, &flaw), [70, wraps + 100]);
}
