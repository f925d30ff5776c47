//! What the ledger answers, against a replay of the branch that the answer is from.

use super::*;

/// What a transaction answers, if it can be compared with what a client is told.
#[derive(Debug)]
enum Answer {
    One(Value),
    Many(Vec<Value>),
    Swapped(bool),
    Nothing,
}

/// Replays the chain up to the transaction, from an empty ledger.
fn answer(story: &Story, block: usize, name: &str) -> Answer {
    let mut state: BTreeMap<String, Value> = BTreeMap::new();
    for above in story.path(block) {
        for transaction in &story.blocks[above].transactions {
            let parts = transaction.as_list().unwrap();
            let text = |at: usize| parts[at].as_text().unwrap();
            let key = text(2).to_string();
            let now = state.get(&key).cloned().unwrap_or_default();
            let answer = match text(1) {
                "put" => {
                    state.insert(key, parts[3].clone());
                    Answer::Nothing
                }
                "delete" => {
                    state.remove(&key);
                    Answer::Nothing
                }
                "cas" if now == parts[3] => {
                    state.insert(key, parts[4].clone());
                    Answer::Swapped(true)
                }
                "cas" => Answer::Swapped(false),
                "append" => {
                    // To what is no list nothing is appended.
                    let list = match now {
                        Value::Nil => Some(vec![]),
                        other => other.as_list().map(<[Value]>::to_vec),
                    };
                    if let Some(mut list) = list {
                        list.push(parts[3].clone());
                        state.insert(key, Value::List(list));
                    }
                    Answer::Nothing
                }
                "get" => Answer::One(now),
                _ => {
                    let inside = state.iter().filter(|(k, _)| k.starts_with(&key));
                    Answer::Many(inside.map(|(_, value)| value.clone()).collect())
                }
            };
            if parts[0].as_text() == Some(name) {
                return answer;
            }
        }
    }
    panic!("{name} is in the block")
}

/// A tree with a ledger of registers and lists, each transaction in one block or several that are
/// not on one branch; every one is asked for, and answered, rightly or not. The number of answers
/// that can be compared, and of those that are wrong.
fn ledger(random: &mut Random) -> (Story, usize, usize) {
    let mut story = Story::default();
    story.block(None, "");
    for _ in 0..3 + random.below(9) {
        let last = story.blocks.len() - 1;
        let parent = match random.percent(60) {
            true => last,
            false => random.below(last as u64 + 1) as usize,
        };
        story.block(Some(parent), "n1");
    }
    let mut asked = Vec::new();
    for number in 0..4 + random.below(14) {
        let name = format!("t{number}");
        let key = *random.pick(&["l0", "l0", "l1", "r0", "r0", "r1"]);
        let value = Value::Int(100 + number as i64);
        let list = key.starts_with('l') != random.percent(5);
        let tail: Vec<Value> = match (random.below(8), list) {
            (0..3, true) => vec!["append".into(), key.into(), value],
            (0..2, false) => vec!["put".into(), key.into(), value],
            (2, false) => {
                let from = Value::Int(100 + random.below(number + 1) as i64);
                vec!["cas".into(), key.into(), from, value]
            }
            (3, _) => vec!["delete".into(), key.into()],
            (4, _) => vec!["range".into(), (*random.pick(&["", "l", "r", "r1"])).into()],
            _ => vec!["get".into(), key.into()],
        };
        let mut inside: Vec<usize> = Vec::new();
        for _ in 0..1 + random.below(3) {
            let block = random.below(story.blocks.len() as u64) as usize;
            let apart =
                |a: usize, b: usize| !story.path(a).contains(&b) && !story.path(b).contains(&a);
            if inside.iter().all(|other| apart(*other, block)) {
                let parts = [Value::text(&name)].into_iter().chain(tail.clone());
                story.blocks[block]
                    .transactions
                    .push(Value::List(parts.collect()));
                inside.push(block);
            }
        }
        asked.push((name, tail, *random.pick(&inside)));
    }
    // All of the tree is seen.
    let parents: Vec<usize> = story.blocks.iter().filter_map(|b| b.parent).collect();
    let leaves = (0..story.blocks.len()).filter(|block| !parents.contains(block));
    for (second, leaf) in leaves.collect::<Vec<_>>().into_iter().enumerate() {
        story.look("n1", second as f64, leaf);
    }
    let (mut compared, mut wrong) = (0, 0);
    for (name, tail, block) in asked {
        let (f, input, right) = told(&story, &name, &tail, block);
        let lies = random.percent(25);
        let output = match (&right, lies) {
            (None, _) | (Some(Value::Bool(_)), _) => input.clone(),
            (Some(right), false) => right.clone(),
            (Some(Value::List(parts)), true) => lie(f, parts),
            (Some(_), true) => unreachable!("answers are lists, or whether it swapped"),
        };
        compared += usize::from(right.is_some());
        wrong += match right {
            None => 0,
            // A client says that it did.
            Some(Value::Bool(swapped)) => usize::from(!swapped),
            Some(_) => usize::from(lies),
        };
        let call = 20 * SECOND + story.asked.len() as u64;
        story.asked.push(Asked {
            node: "n1",
            call,
            ret: call + SECOND,
            kind: Kind::Ok,
            f,
            input,
            output,
            at: Some((block, name)),
            told: (None, None),
        });
    }
    (story, compared, wrong)
}

/// How a client asks it, and what it should be told: none if that cannot be compared.
fn told(
    story: &Story,
    name: &str,
    tail: &[Value],
    block: usize,
) -> (&'static str, Value, Option<Value>) {
    let answer = answer(story, block, name);
    let key = tail[1].as_text().unwrap();
    let micro =
        |what: &str, value| Value::List(vec![Value::List(vec![what.into(), key.into(), value])]);
    match (tail[0].as_text().unwrap(), answer) {
        ("get", Answer::One(value)) => match value.as_list() {
            Some(_) => ("txn", micro("r", Value::Nil), Some(micro("r", value))),
            None => (
                "read",
                Value::pair(key, Value::Nil),
                Some(Value::pair(key, value)),
            ),
        },
        ("range", Answer::Many(mut values)) => {
            // In whatever order.
            values.reverse();
            ("read", Value::Nil, Some(Value::List(values)))
        }
        ("cas", Answer::Swapped(swapped)) => {
            let both = Value::pair(tail[2].clone(), tail[3].clone());
            ("cas", Value::pair(key, both), Some(swapped.into()))
        }
        ("append", _) => ("txn", micro("append", tail[2].clone()), None),
        ("put", _) => ("write", Value::pair(key, tail[2].clone()), None),
        _ => ("write", Value::pair(key, Value::Nil), None),
    }
}

/// Another answer of the same shape.
fn lie(f: &str, right: &[Value]) -> Value {
    let mut parts = right.to_vec();
    match (f, &mut parts[..]) {
        ("txn", [Value::List(micro)]) => match &mut micro[2] {
            Value::List(list) => list.push(Value::Int(999)),
            other => *other = Value::List(vec![Value::Int(999)]),
        },
        ("read", [Value::Text(_), found]) => *found = Value::Int(999),
        _ => parts.push(Value::Int(999)),
    }
    Value::List(parts)
}

#[test]
fn answers_are_held_against_a_replay_of_their_branch() {
    let (mut all, mut lies) = (0, 0);
    for seed in seeds(800) {
        let (story, compared, wrong) = ledger(&mut Random::new(seed));
        let history = story.history();
        let found = chain().check(&history, &Budget::default());
        let say = || say(seed, &story, &history, &found);
        assert_eq!(
            figure(&found, "answers held against the ledger"),
            &json!(compared),
            "{}",
            say()
        );
        let kinds = found_of(&found, &["answer not of the ledger"]);
        assert_eq!(
            kinds,
            expected(&[("answer not of the ledger", wrong)]),
            "{}",
            say()
        );
        all += compared;
        lies += wrong;
    }
    assert!(lies > 500 && all > 2 * lies, "{all} {lies}");
}
