//! Texts that grow, against brute force.

use checkers::linearizable::Texts;
use checkers::{Budget, Checker, Verdict, verify};
use history::{History, Kind, Value};

use super::Counts;
use crate::brute;
use crate::random::{Random, Recorder, show};

/// Plays processes against real texts, and then spoils some answers.
pub fn history(random: &mut Random) -> History {
    let wrong = *random.pick(&[0, 60, 95]);
    let lost = *random.pick(&[0, 15]);
    // Pieces that are told apart, or few.
    let unique = random.percent(50);
    let mut recorder = Recorder::any(random, 9);
    let mut texts = [String::new(), String::new()];
    let mut past = vec![String::new()];
    // Function, key and text of what is open, and its answer if it has happened.
    type Open = (&'static str, usize, String, Option<String>);
    let mut open: Vec<Option<Open>> = vec![None; 3];
    let mut names = [0, 1, 2];
    let mut left = 3 + random.below(6);
    while left > 0 || open.iter().any(Option::is_some) {
        recorder.advance(random.below(3));
        let who = random.below(3) as usize;
        let keyed = |key: usize, text: &str| Value::pair(key as i64, Value::text(text));
        match open[who].take() {
            None if left > 0 => {
                left -= 1;
                let f = *random.pick(&["get", "get", "append", "put"]);
                let (key, text) = (random.below(2) as usize, *random.pick(&["a", "b", "ab"]));
                let text = match unique {
                    true => format!("{text}{left}."),
                    false => text.to_string(),
                };
                let asked = match f {
                    "get" => Value::pair(key as i64, Value::Nil),
                    _ => keyed(key, &text),
                };
                recorder.record(names[who], Kind::Invoke, f, asked);
                open[who] = Some((f, key, text, None));
            }
            None => {}
            Some((f, key, text, _)) if random.percent(lost) => {
                recorder.record(names[who], Kind::Info, f, keyed(key, &text));
                names[who] = names.iter().max().expect("three") + 1;
            }
            Some((f, key, text, None)) => {
                if !random.percent(wrong / 4) {
                    match f {
                        "put" => texts[key] = text.clone(),
                        "append" => texts[key] += &text,
                        _ => {}
                    }
                    past.push(texts[key].clone());
                }
                open[who] = Some((f, key, text, Some(texts[key].clone())));
            }
            Some((f, key, text, Some(answer))) => {
                let answer = match f {
                    "get" if random.percent(wrong) => random.pick(&past).clone(),
                    "get" => answer,
                    _ => text,
                };
                recorder.record(names[who], Kind::Ok, f, keyed(key, &answer));
            }
        }
    }
    recorder.history()
}

/// Judges the history of a seed, replays the order that explains it, and panics where brute force
/// says something else, or finds an order of the operations that an anomaly names.
pub fn judge(seed: u64, counts: &mut Counts) {
    let history = history(&mut Random::new(seed));
    let say = || show(&history);
    let right = (0..2).all(|key| brute::linearizable_text(&history, key, None, None));
    let budget = Budget::default();
    let found = Texts::keyed().check(&history, &budget);
    counts.add("kv", found.verdict);
    match (found.verdict, right) {
        (Verdict::Valid, true) => {
            let order = Texts::keyed()
                .certify(&history, &budget)
                .expect("it was valid");
            verify(&history, &order).unwrap_or_else(|e| panic!("{e}: {order:?}\n{}", say()));
        }
        (Verdict::Invalid, false) => {
            for anomaly in &found.anomalies {
                let key = anomaly.object.as_ref().expect("a key");
                let key = key.parse().expect("a number");
                let last = anomaly.stretch.map(|stretch| stretch.until);
                let ops = Some(&anomaly.ops[..]);
                assert!(
                    !brute::linearizable_text(&history, key, ops, last),
                    "{anomaly:?} can be ordered\n{}",
                    say()
                );
            }
        }
        (Verdict::Vacuous, _) => {}
        (verdict, right) => panic!("{verdict:?}, but it is {right}: {found:?}\n{}", say()),
    }
}
