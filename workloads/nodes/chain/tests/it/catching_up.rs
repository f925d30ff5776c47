//! A node that was away comes back, whoever helps it and whoever does not.

use std::time::Duration;

use chain::core::block::Op;
use chain::core::message::{Answer, Effect, Message, Reply};

use chain::flaws::{Flaw, Flaws};

use crate::bench::{BEGIN_MS, Bench, Forest, prove, rules};

/// Answers whatever a peer that has the whole of `hashes` is asked, but for blocks if it withholds
/// them.
fn serve(
    bench: &mut Bench,
    forest: &Forest,
    hashes: &[chain::core::block::Hash],
    peer: u64,
    blocks: bool,
) -> usize {
    let mut served = 0;
    loop {
        let messages = bench.sent(peer);
        if messages.is_empty() {
            return served;
        }
        for message in messages {
            match message {
                Message::GetHeaders { locator } => {
                    let after = locator
                        .iter()
                        .find_map(|hash| hashes.iter().position(|h| h == hash));
                    let from = after.map_or(0, |index| index + 1);
                    let to = hashes.len().min(from + 2000);
                    let headers = forest.headers(&hashes[from..to]);
                    bench.message(peer, Message::Headers(headers));
                }
                Message::GetBlocks(wanted) if blocks => {
                    for hash in wanted {
                        served += 1;
                        bench.message(peer, Message::Block(forest.block(hash)));
                    }
                }
                _ => {}
            }
        }
    }
}

#[test]
fn a_node_thousands_of_blocks_behind_catches_up_headers_first() {
    let mut forest = Forest::new(chain::core::Rules {
        retarget_every: 0,
        ..rules()
    });
    let line = forest.line(forest.genesis, 2500);
    let mut bench = Bench::new(forest.rules.clone());
    let peer = bench.peer("p", *line.last().unwrap());
    assert_eq!(serve(&mut bench, &forest, &line, peer, true), 2500);
    assert_eq!(bench.core.head().hash, *line.last().unwrap());
}

#[test]
fn blocks_are_asked_of_all_who_have_them_and_again_elsewhere_when_one_stalls() {
    let mut forest = Forest::new(rules());
    let line = forest.line(forest.genesis, 60);
    let mut bench = Bench::new(forest.rules.clone());
    let (fast, stalls) = (bench.peer("fast", line[59]), bench.peer("stalls", line[59]));
    // Both tell their headers; then one goes silent about blocks, though it still answers pings.
    let headers = forest.headers(&line);
    bench.message(fast, Message::Headers(headers.clone()));
    bench.message(stalls, Message::Headers(headers));
    let asked = bench.asked(stalls);
    assert!(!asked.is_empty(), "nothing was asked of the second peer");
    let served = serve_asked(&mut bench, &forest, fast);
    assert!(
        served < 60 && bench.core.head().height < 60,
        "the other's share is missing"
    );
    for _ in 0..20 {
        bench.pass(Duration::from_secs(1));
        bench.message(stalls, Message::Pong(0));
        bench.message(fast, Message::Pong(0));
        serve_asked(&mut bench, &forest, fast);
    }
    assert_eq!(bench.core.head().hash, line[59]);
}

fn serve_asked(bench: &mut Bench, forest: &Forest, peer: u64) -> usize {
    let mut served = 0;
    loop {
        let asked = bench.asked(peer);
        if asked.is_empty() {
            return served;
        }
        served += asked.len();
        for hash in asked {
            bench.message(peer, Message::Block(forest.block(hash)));
        }
    }
}

#[test]
fn headers_whose_blocks_are_withheld_keep_nobody_else_away() {
    let mut forest = Forest::new(rules());
    let withheld = forest.line(forest.genesis, 40);
    let honest = forest.line(forest.genesis, 20);
    let mut bench = Bench::new(forest.rules.clone());
    let hostile = bench.peer("hostile", withheld[39]);
    bench.message(hostile, Message::Headers(forest.headers(&withheld)));
    let good = bench.peer("good", honest[19]);
    assert_eq!(serve(&mut bench, &forest, &honest, good, true), 20);
    assert_eq!(bench.core.head().hash, honest[19]);
}

#[test]
fn a_peer_that_never_sends_what_it_has_is_given_up() {
    let mut forest = Forest::new(rules());
    let line = forest.line(forest.genesis, 60);
    let mut bench = Bench::new(forest.rules.clone());
    let peer = bench.peer("p", line[59]);
    bench.message(peer, Message::Headers(forest.headers(&line)));
    for _ in 0..30 {
        bench.pass(Duration::from_secs(1));
        bench.message(peer, Message::Pong(0));
    }
    let closed = |effect: &Effect| matches!(effect, Effect::Close(id, reason) if *id == peer && reason.contains("do not come"));
    assert!(bench.effects.iter().any(closed));
}

#[test]
fn a_silent_peer_is_given_up_and_one_that_answers_is_not() {
    let mut bench = Bench::new(rules());
    let genesis = bench.genesis();
    let (silent, alive) = (bench.peer("silent", genesis), bench.peer("alive", genesis));
    for _ in 0..10 {
        bench.pass(Duration::from_secs(1));
        bench.message(alive, Message::Pong(0));
    }
    let closed = |peer| {
        bench
            .effects
            .iter()
            .any(|effect| matches!(effect, Effect::Close(id, _) if *id == peer))
    };
    assert!(closed(silent));
    assert!(!closed(alive));
}

#[test]
fn a_block_from_the_future_is_refused_now_and_taken_when_its_time_has_come() {
    let mut forest = Forest::new(rules());
    let early = forest.grow(forest.genesis, 600_000 + 7_200_000 + 5_000, Vec::new());
    assert_eq!(forest.block(early).header.time_ms, BEGIN_MS + 7_205_000);
    let mut bench = Bench::new(forest.rules.clone());
    let peer = bench.peer("p", early);
    serve(&mut bench, &forest, &[early], peer, true);
    assert_eq!(bench.core.head().height, 0);
    for _ in 0..3 {
        bench.pass(Duration::from_secs(1));
        bench.message(peer, Message::Pong(0));
        serve(&mut bench, &forest, &[early], peer, true);
    }
    assert_eq!(bench.core.head().height, 0);
    let status = bench.core.status();
    assert_eq!(
        status.refused["time-too-new"], 1,
        "offered again is not counted again"
    );
    assert!(status.last_refused[0].reason.starts_with("time-too-new: "));
    assert_eq!(status.last_refused[0].from, "p");
    for _ in 0..5 {
        bench.pass(Duration::from_secs(1));
        bench.message(peer, Message::Pong(0));
        serve(&mut bench, &forest, &[early], peer, true);
    }
    assert_eq!(bench.core.head().hash, early);
    assert_eq!(bench.dropped(peer), None);
}

/// The split that a fast clock makes must end when the clocks agree again, however long it was.
#[test]
fn a_peer_whose_chain_is_from_the_future_is_not_dropped_for_what_it_builds_upon_it() {
    let mut forest = Forest::new(chain::core::Rules {
        retarget_every: 0,
        ..rules()
    });
    let early = forest.grow(forest.genesis, 600_000 + 7_200_000 + 100_000, Vec::new());
    let mut chain = vec![early];
    for n in 1..=150 {
        let parent = chain[chain.len() - 1];
        chain.push(forest.grow_at(parent, BEGIN_MS + 7_300_000 + n, Vec::new()));
    }
    let mut bench = Bench::new(forest.rules.clone());
    let peer = bench.peer("p", forest.genesis);
    for length in 1..=chain.len() {
        bench.pass(Duration::from_millis(500));
        let newest = chain[length - 1];
        bench.message(peer, Message::HaveBlocks(vec![newest]));
        serve(&mut bench, &forest, &chain[..length], peer, true);
        assert_eq!(bench.dropped(peer), None);
    }
    assert_eq!(bench.core.head().height, 0);
    for _ in 0..60 {
        bench.pass(Duration::from_secs(1));
        bench.message(peer, Message::Pong(0));
        serve(&mut bench, &forest, &chain, peer, true);
    }
    assert_eq!(bench.core.head().hash, chain[150]);
}

#[test]
fn a_request_moves_with_its_transaction_to_the_branch_that_wins() {
    let mut forest = Forest::new(rules());
    let put = |value: &str| Op::Put {
        key: "k".to_owned(),
        value: value.to_owned(),
    };
    let swap = Op::Cas {
        key: "k".to_owned(),
        from: Some("1".to_owned()),
        to: "2".to_owned(),
    };
    let named = |id: &str, op: &Op| chain::core::block::Transaction {
        id: id.to_owned(),
        op: op.clone(),
    };
    // On one branch k is 1 when the swap comes, on the other it is 7.
    let genesis = forest.genesis;
    let a1 = forest.grow(
        genesis,
        1000,
        vec![named("p", &put("1")), named("s", &swap)],
    );
    let b1 = forest.grow(genesis, 1000, vec![named("q", &put("7"))]);
    let b2 = forest.grow(b1, 1000, vec![named("s", &swap)]);
    let b3 = forest.grow(b2, 1000, Vec::new());
    let mut bench = Bench::new(forest.rules.clone());
    let peer = bench.peer("p", genesis);
    assert_eq!(bench.submit("s", swap.clone(), 2), None);
    bench.message(peer, Message::Block(forest.block(a1)));
    assert_eq!(bench.replied(), None, "one confirmation is not two");
    for hash in [b1, b2] {
        bench.message(peer, Message::Block(forest.block(hash)));
        assert_eq!(bench.replied(), None);
    }
    assert_eq!(bench.core.head().hash, b2);
    bench.message(peer, Message::Block(forest.block(b3)));
    let Some(Reply::Done(answer, Some(place))) = bench.replied() else {
        panic!("two confirmations are enough");
    };
    let actual = Some("7".to_owned());
    assert_eq!(
        answer,
        Answer::Swapped {
            swapped: false,
            actual
        }
    );
    assert_eq!((place.block, place.height, place.position), (b2, 2, 0));
    // The put of the branch that lost waits again, and its answer from the mempool is what it would
    // do.
    assert_eq!(bench.core.status().mempool, 1);
    assert_eq!(
        bench.submit("p", put("1"), 0),
        Some(Reply::Done(Answer::Done, None))
    );
    assert_eq!(
        bench.submit(
            "g",
            Op::Get {
                key: "k".to_owned()
            },
            0
        ),
        Some(Reply::Done(Answer::Value(Some("1".to_owned())), None))
    );
    // A name stands for one transaction only.
    assert!(matches!(
        bench.submit("s", put("3"), 1),
        Some(Reply::Refused(_))
    ));
    assert!(matches!(
        bench.submit("p", put("3"), 0),
        Some(Reply::Refused(_))
    ));
}

#[test]
fn what_is_not_on_the_disk_is_nowhere() {
    let mut forest = Forest::new(rules());
    let first = forest.grow(forest.genesis, 1000, Vec::new());
    let bench = &mut Bench::new(forest.rules.clone());
    let peer = bench.peer("p", forest.genesis);
    bench.effects.clear();
    let now = chain::core::message::Now {
        monotonic_ns: 1,
        wall_ms: BEGIN_MS,
    };
    let block = Message::Block(forest.block(first));
    bench
        .core
        .step(now, chain::core::message::Input::Message(peer, block));
    let effects = bench.core.effects();
    let [Effect::Persist { number, .. }] = effects[..] else {
        panic!("nothing but storing is due: {effects:?}");
    };
    assert_eq!(bench.core.head().height, 0);
    assert_eq!(bench.core.blocks(Some(first), 1), None);
    bench
        .core
        .step(now, chain::core::message::Input::Durable(number));
    assert_eq!(bench.core.head().hash, first);
    assert!(
        bench
            .core
            .effects()
            .iter()
            .any(|effect| matches!(effect, Effect::Mine { header, .. } if header.parent == first))
    );
}

#[test]
fn a_solved_template_is_a_block_once_it_is_stored() {
    let mut bench = Bench::new(rules());
    bench.submit(
        "t",
        Op::Put {
            key: "k".to_owned(),
            value: "1".to_owned(),
        },
        1,
    );
    bench.pass(Duration::from_millis(500));
    let newest = bench.effects.iter().rev().find_map(|effect| match effect {
        Effect::Mine { template, header } => Some((*template, header.clone())),
        _ => None,
    });
    let (template, mut header) = newest.expect("there is always something to look for");
    prove(&mut header);
    let nonce = header.nonce;
    bench.input(chain::core::message::Input::Solved { template, nonce });
    assert_eq!(bench.core.head().hash, header.hash());
    assert!(
        matches!(bench.replied(), Some(Reply::Done(Answer::Done, Some(place))) if place.height == 1)
    );
    // Found twice is found once: that template's parent is the head no more.
    bench.input(chain::core::message::Input::Solved {
        template,
        nonce: nonce + 1,
    });
    assert_eq!(
        (bench.core.head().height, bench.core.status().mined),
        (1, 1)
    );
}

#[test]
fn a_node_comes_back_on_the_branch_that_it_had_changed_to_however_long() {
    let mut forest = Forest::new(chain::core::Rules {
        retarget_every: 0,
        ..rules()
    });
    // More than may be kept beside the active chain, in the order in which a node stored them.
    let left = forest.line(forest.genesis, 2_100);
    let active = forest.line(forest.genesis, 2_110);
    let stored = || left.iter().chain(&active).map(|hash| forest.block(*hash));
    let bench = Bench::restarted(forest.rules.clone(), stored().collect());
    assert_eq!(bench.core.head().hash, *active.last().unwrap());
    // With the flaw it is the one that it had left.
    let flaws = Flaws::from_iter([Flaw::PruneOnReplay]);
    let bench = Bench::flawed(forest.rules.clone(), stored().collect(), flaws);
    assert_eq!(bench.core.head().hash, *left.last().unwrap());
}
