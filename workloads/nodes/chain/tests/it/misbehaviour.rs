//! Peers that mean harm: they are dropped with the reason, cost bounded memory, and change nothing.

use std::sync::Arc;

use chain::core::block::{Block, Hash, Header, Op, Transaction};
use chain::core::message::{Answer, Input, Message, PeerId, Question};
use chain::flaws::{Flaw, Flaws};
use proptest::prelude::*;

use crate::bench::{Bench, Forest, prove, rules};
use crate::delivery::{forest, is_most_work};

fn made_up(number: u64) -> Hash {
    Hash::of(&number.to_le_bytes())
}

/// A block upon a parent that nobody has, with its work done.
fn orphan(forest: &mut Forest, number: u64) -> Block {
    let hash = forest.grow(forest.genesis, number, Vec::new());
    let mut block = Block::clone(&forest.block(hash));
    block.header.parent = made_up(number);
    prove(&mut block.header);
    block
}

#[test]
fn a_flood_of_orphans_is_bounded_and_ends_the_conversation() {
    let mut forest = Forest::new(rules());
    let mut bench = Bench::new(forest.rules.clone());
    let peers: Vec<PeerId> = (0..4)
        .map(|n| bench.peer(&format!("p{n}"), forest.genesis))
        .collect();
    for number in 0..400 {
        let block = Arc::new(orphan(&mut forest, number));
        bench.message(peers[number as usize % 4], Message::Block(block));
        assert!(bench.core.status().orphans <= 64);
    }
    for peer in peers {
        assert_eq!(bench.dropped(peer), Some("blocks whose parents never come"));
    }
    assert_eq!(bench.core.head().height, 0);
}

#[test]
fn equal_forks_for_ever_are_forgotten_from_the_least_work_on() {
    let mut forest = Forest::new(chain::core::Rules {
        first_work: 1,
        ..rules()
    });
    let mut bench = Bench::new(forest.rules.clone());
    let peer = bench.peer("p", forest.genesis);
    let line = forest.line(forest.genesis, 3);
    for &hash in &line {
        bench.message(peer, Message::Block(forest.block(hash)));
    }
    for _ in 0..3000 {
        let fork = forest.grow(forest.genesis, 7, Vec::new());
        bench.message(peer, Message::Block(forest.block(fork)));
    }
    let tips = bench.core.tips();
    assert!(tips.len() <= 2049, "{} branches are kept", tips.len());
    assert!(tips[0].active && tips[0].hash == line[2]);
    // What was forgotten comes back with a branch that is worth it.
    let fork = forest.grow(forest.genesis, 9, Vec::new());
    let branch = forest.line(fork, 6);
    bench.message(peer, Message::Block(forest.block(fork)));
    for &hash in &branch {
        bench.message(peer, Message::Block(forest.block(hash)));
    }
    assert_eq!(bench.core.head().hash, branch[5]);
}

#[test]
fn a_flood_of_transactions_is_bounded() {
    let mut bench = Bench::new(rules());
    let genesis = bench.genesis();
    let peer = bench.peer("p", genesis);
    for batch in 0..40 {
        let transactions = (0..500).map(|n| {
            Arc::new(Transaction {
                id: format!("t{batch}.{n}"),
                op: Op::Get {
                    key: "k".to_owned(),
                },
            })
        });
        bench.message(peer, Message::Transactions(transactions.collect()));
    }
    assert_eq!(bench.core.status().mempool, 16_384);
    let refused = bench.submit("mine", Op::Balances, 1);
    assert_eq!(refused, Some(chain::core::message::Reply::Overloaded));
}

#[test]
fn each_kind_of_nonsense_has_its_reason() {
    let mut forest = Forest::new(rules());
    let line = forest.line(forest.genesis, 14);
    let tip = line[13];
    let fresh = forest.grow(tip, 0, Vec::new());
    let good = Block::clone(&forest.block(fresh));
    let mined = |change: &dyn Fn(&mut Header)| {
        let mut block = good.clone();
        change(&mut block.header);
        prove(&mut block.header);
        Message::Block(Arc::new(block))
    };
    let unproven = {
        let mut block = good.clone();
        while block.header.hash().proves(block.header.work) {
            block.header.nonce += 1;
        }
        Message::Block(Arc::new(block))
    };
    let other_body = {
        let mut block = good.clone();
        let op = Op::Balances;
        block.transactions.push(Arc::new(Transaction {
            id: "x".to_owned(),
            op,
        }));
        Message::Block(Arc::new(block))
    };
    let with = |transactions: &[(&str, Op)]| {
        let mut block = good.clone();
        block.transactions = transactions
            .iter()
            .map(|(id, op)| {
                Arc::new(Transaction {
                    id: (*id).to_owned(),
                    op: op.clone(),
                })
            })
            .collect();
        block.header.transactions = Block::transactions_hash(&block.transactions);
        prove(&mut block.header);
        Message::Block(Arc::new(block))
    };
    let work = good.header.work;
    let put = |value: &str| Op::Put {
        key: "k".to_owned(),
        value: value.to_owned(),
    };
    let cases = [
        ("low-work", unproven),
        ("bad-work", mined(&|header| header.work = work / 2)),
        ("bad-work", mined(&|header| header.work = work + 1)),
        ("bad-parent", mined(&|header| header.height += 1)),
        ("time-too-old", mined(&|header| header.time_ms -= 1)),
        ("malformed", mined(&|header| header.miner = String::new())),
        ("malformed", mined(&|header| header.miner = "m".repeat(65))),
        ("malformed", other_body),
        ("malformed", with(&[("", Op::Balances)])),
        ("malformed", with(&[("t", put("{"))])),
        ("malformed", with(&[("t", put("1 "))])),
        (
            "duplicate-transaction",
            with(&[("t", Op::Balances), ("t", Op::Balances)]),
        ),
    ];
    for (reason, message) in cases {
        let mut bench = Bench::new(forest.rules.clone());
        let peer = bench.peer("p", forest.genesis);
        for &hash in &line {
            bench.message(peer, Message::Block(forest.block(hash)));
        }
        bench.message(peer, message);
        let dropped = bench.dropped(peer).unwrap_or("not at all");
        assert!(
            dropped.starts_with(reason),
            "dropped because of {dropped} and not {reason}"
        );
        let status = bench.core.status();
        assert_eq!(status.refused[reason], 1);
        assert_eq!((status.head.hash, status.last_refused.len()), (tip, 1));
        // Somebody else has the real one.
        let other = bench.peer("q", tip);
        bench.message(other, Message::Block(Arc::new(good.clone())));
        assert_eq!(bench.core.head().height, 15, "after {reason}");
    }
}

/// A node with a planted bug, and a peer that sends it a block.
fn flawed_node_hears(flaw: Flaw, forest: &Forest, block: &Block) -> (Bench, u64) {
    let flaws = Flaws::from_iter([flaw]);
    let mut bench = Bench::flawed(forest.rules.clone(), Vec::new(), flaws);
    let peer = bench.peer("p", forest.genesis);
    bench.message(peer, Message::Block(Arc::new(block.clone())));
    (bench, peer)
}

#[test]
fn a_planted_bug_takes_a_transaction_twice_from_one_block() {
    let mut forest = Forest::new(rules());
    let pay = Transaction {
        id: "pay".to_owned(),
        op: Op::Transfer {
            from: "a0".to_owned(),
            to: "a1".to_owned(),
            amount: 30,
        },
    };
    let tip = forest.grow(forest.genesis, 0, vec![pay.clone(), pay]);
    let block = forest.block(tip);
    let (mut bench, peer) = flawed_node_hears(Flaw::TwiceInBlock, &forest, &block);
    assert_eq!(bench.dropped(peer), None);
    let Answer::Balances(balances) = bench.look(Question::Balances, 1) else {
        panic!("balances were asked for");
    };
    assert_eq!(
        balances[..2],
        [("a0".to_owned(), 40), ("a1".to_owned(), 160)]
    );
    let found = crate::judge::validity(&forest.rules, &forest.chain(tip));
    assert!(found.iter().any(|text| text.contains("pay is there twice")));
}

#[test]
fn a_planted_bug_refuses_a_good_block_after_a_mutated_copy() {
    let mut forest = Forest::new(rules());
    let tip = forest.grow(forest.genesis, 0, Vec::new());
    let good = forest.block(tip);
    let mut mutated = Block::clone(&good);
    mutated.transactions.push(Arc::new(Transaction {
        id: "x".to_owned(),
        op: Op::Balances,
    }));
    let (mut bench, peer) = flawed_node_hears(Flaw::MutatedCopyBans, &forest, &mutated);
    assert!(bench.dropped(peer).is_some());
    let honest = bench.peer("q", tip);
    bench.message(honest, Message::Block(good));
    assert_eq!(
        bench.core.head().hash,
        forest.genesis,
        "the clean twin is in the test above"
    );
    assert!(bench.dropped(honest).is_some());
}

#[test]
fn who_does_not_keep_to_the_protocol_is_dropped() {
    let genesis = rules().genesis().header.hash();
    let hello = |genesis, node: &str| Message::Hello {
        genesis,
        node: node.to_owned(),
        head: genesis,
        height: 0,
    };
    let header = rules().genesis().header;
    let apart = vec![
        Header {
            height: 1,
            ..header.clone()
        };
        2
    ];
    let cases: Vec<(&str, Vec<Message>)> = vec![
        ("another network", vec![hello(made_up(1), "p")]),
        ("malformed: no hello", vec![Message::Ping(1)]),
        (
            "malformed: a second hello",
            vec![hello(genesis, "p"), hello(genesis, "p")],
        ),
        ("malformed: the peer's name", vec![hello(genesis, "")]),
        (
            "malformed: too many hashes",
            vec![hello(genesis, "p"), Message::HaveBlocks(vec![genesis; 65])],
        ),
        (
            "malformed: too many hashes",
            vec![hello(genesis, "p"), Message::GetBlocks(vec![genesis; 65])],
        ),
        (
            "malformed: too long a locator",
            vec![
                hello(genesis, "p"),
                Message::GetHeaders {
                    locator: vec![genesis; 81],
                },
            ],
        ),
        (
            "malformed: too many headers",
            vec![hello(genesis, "p"), Message::Headers(vec![header; 2001])],
        ),
        (
            "blocks whose parents never come",
            std::iter::once(hello(genesis, "p"))
                .chain((0..70).map(|_| Message::Headers(apart.clone())))
                .collect(),
        ),
        (
            "malformed: too many names",
            vec![
                hello(genesis, "p"),
                Message::GetTransactions(vec!["t".to_owned(); 1001]),
            ],
        ),
        (
            "malformed: too many or too long names",
            vec![
                hello(genesis, "p"),
                Message::HaveTransactions(vec!["t".repeat(129)]),
            ],
        ),
    ];
    for (reason, messages) in cases {
        let mut bench = Bench::new(rules());
        bench.input(Input::PeerUp(1));
        for message in messages {
            bench.message(1, message);
        }
        assert_eq!(
            bench.dropped(1).map(|text| text.starts_with(reason)),
            Some(true),
            "{reason}: {:?}",
            bench.dropped(1)
        );
        // What still comes over the connection concerns nobody.
        bench.effects.clear();
        bench.message(1, Message::Ping(7));
        assert!(bench.sent(1).is_empty());
    }
}

/// A change to a valid block, and whether work is done for the result.
#[derive(Clone, Debug)]
enum Mutation {
    Parent(u64),
    Height(i64),
    Time(i64),
    Work(u64),
    Miner(String),
    Body(Vec<(String, String)>),
    Nonce(u64),
    Repeat,
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        (0..8u64).prop_map(Mutation::Parent),
        prop_oneof![-2..3i64, any::<i64>()].prop_map(Mutation::Height),
        prop_oneof![-5000..5000i64, any::<i64>()].prop_map(Mutation::Time),
        prop_oneof![0..40u64, any::<u64>()].prop_map(Mutation::Work),
        ".{0,80}".prop_map(Mutation::Miner),
        prop::collection::vec(("t?[0-9]{0,2}", ".{0,3}"), 0..3).prop_map(Mutation::Body),
        any::<u64>().prop_map(Mutation::Nonce),
        Just(Mutation::Repeat),
    ]
}

fn mutate(block: &mut Block, mutation: &Mutation) {
    let header = &mut block.header;
    match mutation {
        Mutation::Parent(number) => header.parent = made_up(*number),
        Mutation::Height(by) => header.height = header.height.wrapping_add_signed(*by),
        Mutation::Time(by) => header.time_ms = header.time_ms.wrapping_add_signed(*by),
        Mutation::Work(work) => header.work = *work,
        Mutation::Miner(miner) => header.miner.clone_from(miner),
        Mutation::Nonce(nonce) => header.nonce = *nonce,
        Mutation::Body(puts) => {
            let puts = puts.iter().map(|(id, value)| Transaction {
                id: id.clone(),
                op: Op::Append {
                    key: "k".to_owned(),
                    element: value.clone(),
                },
            });
            block.transactions = puts.map(Arc::new).collect();
        }
        Mutation::Repeat => {
            let again = block.transactions.clone();
            block.transactions.extend(again);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Mutated blocks and headers, mined or not, between the valid ones: no panic, bounded memory,
    /// no valid block kept away, and the state is that of a valid chain.
    #[test]
    fn mutated_blocks_change_nothing(
        (forest, hashes) in forest(),
        mutants in prop::collection::vec(
            (any::<prop::sample::Index>(), prop::collection::vec(mutation(), 1..3), any::<[bool; 3]>()),
            1..40,
        ),
    ) {
        let mut bench = Bench::new(forest.rules.clone());
        let mut peer = bench.peer("hostile", forest.genesis);
        for (index, mutations, [mine, commit, headers]) in &mutants {
            let mut block = Block::clone(&forest.block(*index.get(&hashes)));
            mutations.iter().for_each(|mutation| mutate(&mut block, mutation));
            if *commit {
                block.header.transactions = Block::transactions_hash(&block.transactions);
            }
            // Nobody has the time to do more work than this.
            if *mine && block.header.work < 100 {
                prove(&mut block.header);
            }
            let message = if *headers {
                Message::Headers(vec![block.header])
            } else {
                Message::Block(Arc::new(block))
            };
            bench.message(peer, message);
            if bench.dropped(peer).is_some() {
                peer = bench.peer("hostile", forest.genesis);
            }
            prop_assert!(bench.core.status().orphans <= 64);
        }
        let good = bench.peer("good", forest.genesis);
        for &hash in &hashes {
            bench.message(good, Message::Block(forest.block(hash)));
        }
        prop_assert_eq!(bench.dropped(good), None);
        for &hash in &hashes {
            prop_assert!(bench.core.blocks(Some(hash), 1).is_some(), "a valid block was refused");
        }
        // A mutant may have been valid, and then it counts.
        let best = bench.core.head();
        let most = hashes.iter().map(|&hash| forest.total_work(hash)).max();
        prop_assert!(Some(best.total_work) >= most);
        if Some(best.total_work) == most && hashes.contains(&best.hash) {
            is_most_work(&mut bench, &forest, &hashes);
        }
    }
}
