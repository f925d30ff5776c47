//! Answers from the mempool: what a transaction gives if all that wait before it come into a block
//! with it.

use chain::core::block::{Op, Transaction};
use chain::core::message::{Message, Reply};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::bench::{Bench, Forest, rules};
use crate::judge::Model;

fn draw(rng: &mut ChaCha8Rng, number: usize) -> Op {
    let key = format!("k{}", rng.random_range(0..3));
    let list = || format!("l{}", number % 2);
    let value = number.to_string();
    match rng.random_range(0..9) {
        0 => Op::Put { key, value },
        1 => Op::Delete { key },
        2 => Op::Get { key },
        3 => {
            let from = (!number.is_multiple_of(4)).then(|| (number - number % 4).to_string());
            Op::Cas {
                key,
                from,
                to: value,
            }
        }
        4 => Op::Range {
            prefix: "k".to_owned(),
            after: number.is_multiple_of(2).then(|| "k0".to_owned()),
        },
        5 => Op::Transfer {
            from: "a0".to_owned(),
            to: format!("a{}", number % 4),
            amount: number as u64 % 50,
        },
        6 => Op::Balances,
        7 => Op::Get { key: list() },
        _ => Op::Append {
            key: list(),
            element: value,
        },
    }
}

#[test]
fn an_answer_from_the_mempool_is_that_of_all_before_it() {
    let mut rng = ChaCha8Rng::seed_from_u64(17);
    let mut forest = Forest::new(rules());
    let mut bench = Bench::new(forest.rules.clone());
    let peer = bench.peer("p", forest.genesis);
    let (mut tip, mut confirmed, mut waiting) = (forest.genesis, Vec::new(), Vec::new());
    for number in 0..600 {
        // Now and then a block takes the first of those that wait, and now and then somebody asks
        // again.
        if rng.random_ratio(1, 25) {
            let half: Vec<Transaction> = waiting.drain(..waiting.len() / 2).collect();
            tip = forest.grow(tip, 0, half.clone());
            confirmed.extend(half);
            bench.message(peer, Message::Block(forest.block(tip)));
            assert_eq!(bench.core.head().hash, tip);
        }
        let asked = if rng.random_ratio(1, 10) && !waiting.is_empty() {
            rng.random_range(0..waiting.len())
        } else {
            let (id, op) = (format!("t{number}"), draw(&mut rng, number));
            waiting.push(Transaction { id, op });
            waiting.len() - 1
        };
        let mut model = Model::new(&forest.rules);
        let before = confirmed.iter().chain(&waiting[..asked]);
        before.for_each(|transaction| drop(model.apply(&transaction.op)));
        let Transaction { id, op } = &waiting[asked];
        let expected = Some(Reply::Done(model.apply(op), None));
        assert_eq!(
            bench.submit(id, op.clone(), 0),
            expected,
            "{number}: {op:?}"
        );
    }
    let held = confirmed.len();
    assert!(held > 100 && waiting.len() > 1, "{held} came into blocks");
}
