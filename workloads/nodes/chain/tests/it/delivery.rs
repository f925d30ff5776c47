//! Whatever tree of blocks comes in whatever order: the state is that of the most-work chain
//! replayed from genesis.

use chain::core::block::{Hash, Op, Transaction};
use chain::core::message::{Message, Question};
use proptest::prelude::*;

use crate::bench::{Bench, Forest, rules};
use crate::judge::{Model, validity};

/// A block to grow: on which of those before it, how late, and with which of the transactions.
type Sapling = (prop::sample::Index, u64, Vec<(u8, Op)>);

fn op() -> impl Strategy<Value = Op> {
    let key = || prop::sample::select(vec!["k", "l", "m"]).prop_map(str::to_owned);
    let number = || (0..4u8).prop_map(|n| n.to_string());
    let account = || (0..4u8).prop_map(|n| format!("a{n}"));
    prop_oneof![
        (key(), number()).prop_map(|(key, value)| Op::Put { key, value }),
        (key(), prop::option::of(number()), number()).prop_map(|(key, from, to)| Op::Cas {
            key,
            from,
            to
        }),
        (key(), number()).prop_map(|(key, element)| Op::Append { key, element }),
        (key(), Just("[1,2]".to_owned())).prop_map(|(key, value)| Op::Put { key, value }),
        key().prop_map(|key| Op::Delete { key }),
        key().prop_map(|key| Op::Get { key }),
        (account(), account(), 0..120u64).prop_map(|(from, to, amount)| Op::Transfer {
            from,
            to,
            amount
        }),
        Just(Op::Balances),
    ]
}

/// A forest, and its blocks in the order of growth. Transactions have few names, so that one is
/// often on several branches; it is left out where its branch has it already.
pub fn forest() -> impl Strategy<Value = (Forest, Vec<Hash>)> {
    let transactions = prop::collection::vec((any::<u8>(), op()), 0..4);
    let sapling = (any::<prop::sample::Index>(), 0..5000u64, transactions);
    prop::collection::vec(sapling, 1..24).prop_map(|saplings: Vec<Sapling>| {
        let mut forest = Forest::new(rules());
        let mut hashes = vec![forest.genesis];
        for (index, later_ms, transactions) in saplings {
            // Mostly upon one of the last, so that branches become long.
            let recent = &hashes[hashes.len().saturating_sub(4)..];
            let parent = *index.get(recent);
            let chain = forest.chain(parent);
            let mut names: Vec<String> = chain
                .iter()
                .flat_map(|(_, block)| &block.transactions)
                .map(|transaction| transaction.id.clone())
                .collect();
            let mut fresh = Vec::new();
            for (name, op) in transactions {
                let id = format!("t{}", name % 32);
                if !names.contains(&id) {
                    names.push(id.clone());
                    fresh.push(Transaction { id, op });
                }
            }
            hashes.push(forest.grow(parent, later_ms, fresh));
        }
        hashes.remove(0);
        (forest, hashes)
    })
}

/// The core's chain is one of most work of these, and its state, now and at any depth, that
/// chain's.
pub fn is_most_work(bench: &mut Bench, forest: &Forest, hashes: &[Hash]) {
    let most = hashes.iter().map(|&hash| forest.total_work(hash)).max();
    let head = bench.core.head();
    assert_eq!(Some(head.total_work), most, "the head is not of most work");
    let mut chain = bench.core.blocks(None, usize::MAX).unwrap();
    chain.reverse();
    assert_eq!(chain, forest.chain(head.hash));
    let wrong = validity(&forest.rules, &chain);
    assert!(wrong.is_empty(), "{wrong:?}");
    let mut model = Model::new(&forest.rules);
    for (height, (_, block)) in chain.iter().enumerate() {
        for transaction in &block.transactions {
            model.apply(&transaction.op);
        }
        let confirmations = (chain.len() - height) as u64;
        let entries = bench.look(crate::sim::everything(), confirmations);
        assert_eq!(entries, model.entries(), "at height {height}");
        let balances = bench.look(Question::Balances, confirmations);
        assert_eq!(balances, model.balances(), "at height {height}");
        for key in ["k", "l", "m"] {
            let op = Op::Get {
                key: key.to_owned(),
            };
            let value = bench.look(Question::Get(key.to_owned()), confirmations);
            assert_eq!(value, model.apply(&op), "{key} at height {height}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_any_tree_ends_in_the_most_work(
        (forest, hashes) in forest(),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..30),
        shuffled in any::<u64>(),
    ) {
        let mut bench = Bench::new(forest.rules.clone());
        let genesis = forest.genesis;
        let peers = [bench.peer("p", genesis), bench.peer("q", genesis)];
        // Some come early, and perhaps again; then all in one more order.
        let mut deliveries: Vec<Hash> = order.iter().map(|index| *index.get(&hashes)).collect();
        let mut rest = hashes.clone();
        rest.sort_by_key(|hash| u64::from_be_bytes(hash.0[..8].try_into().unwrap()).wrapping_mul(shuffled | 1));
        deliveries.extend(rest);
        for (number, hash) in deliveries.into_iter().enumerate() {
            bench.message(peers[number % 2], Message::Block(forest.block(hash)));
        }
        prop_assert_eq!(bench.dropped(peers[0]), None);
        prop_assert_eq!(bench.dropped(peers[1]), None);
        prop_assert_eq!(bench.core.status().orphans, 0);
        is_most_work(&mut bench, &forest, &hashes);

        // The store has them in the order in which they were taken in; any order that has parents
        // first will do.
        let mut stored = hashes.clone();
        stored.sort_by_key(|&hash| forest.block(hash).header.height);
        let stored = stored.iter().map(|&hash| forest.block(hash)).collect();
        let mut bench = Bench::restarted(forest.rules.clone(), stored);
        is_most_work(&mut bench, &forest, &hashes);
    }
}
