//! Which cells are whose, where a night is split over several machines.
//!
//! Every machine deals for itself, from the same file, and comes to the same: whoever has the least
//! to do gets the longest cell that is left (Graham, "Bounds on multiprocessing timing anomalies",
//! 1969).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::exit::Failure;

/// The variables that schedulers set, with who does: its number, the first number there is, how
/// many.
const SCHEDULERS: &[(&str, &str, First, &str)] = &[
    ("GitLab", "CI_NODE_INDEX", First::Is(1), "CI_NODE_TOTAL"),
    (
        "Buildkite",
        "BUILDKITE_PARALLEL_JOB",
        First::Is(0),
        "BUILDKITE_PARALLEL_JOB_COUNT",
    ),
    (
        "Slurm",
        "SLURM_ARRAY_TASK_ID",
        First::In("SLURM_ARRAY_TASK_MIN"),
        "SLURM_ARRAY_TASK_COUNT",
    ),
    // How many completions there are, Kubernetes does not say: the Job's file does.
    (
        "Kubernetes",
        "JOB_COMPLETION_INDEX",
        First::Is(0),
        "SCHISM_SHARDS",
    ),
    // GitHub sets none; the workflow's file does, from `strategy`.
    (
        "GitHub",
        "SCHISM_SHARD_INDEX",
        First::Is(0),
        "SCHISM_SHARDS",
    ),
];

enum First {
    Is(usize),
    In(&'static str),
}

/// Which shard this is, of how many; from 1.
pub fn shard(
    text: Option<&str>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(usize, usize), Failure> {
    let wrong = |text: &str| {
        Failure::Usage(format!(
            "--shard {text}: write it as i/n, with i from 1 to n: `--shard 2/3`; or `auto`"
        ))
    };
    match text {
        None => Ok((1, 1)),
        Some("auto") => auto(variable),
        Some(text) => {
            let (i, n) = text.split_once('/').ok_or_else(|| wrong(text))?;
            match (i.trim().parse(), n.trim().parse()) {
                (Ok(i), Ok(n)) if (1..=n).contains(&i) => Ok((i, n)),
                _ => Err(wrong(text)),
            }
        }
    }
}

fn auto(variable: impl Fn(&str) -> Option<String>) -> Result<(usize, usize), Failure> {
    let number = |name: &str| -> Result<usize, Failure> {
        let text = variable(name).ok_or_else(|| {
            Failure::Usage(format!(
                "--shard auto: {name} is not set, which says how many there are"
            ))
        })?;
        text.trim().parse().map_err(|_| {
            Failure::Usage(format!(
                "--shard auto: {name} is {text:?}, which is no number"
            ))
        })
    };
    for (who, index, first, count) in SCHEDULERS {
        if variable(index).is_none() {
            continue;
        }
        let first = match first {
            First::Is(first) => *first,
            // Arrays need not begin at one.
            First::In(name) => number(name)?,
        };
        let (i, n) = (number(index)?, number(count)?);
        return match i.checked_sub(first) {
            Some(place) if place < n => Ok((place + 1, n)),
            _ => Err(Failure::Usage(format!(
                "--shard auto: {who} says {index}={i} of {count}={n}, counted from {first}: there is no such shard"
            ))),
        };
    }
    let all: Vec<&str> = SCHEDULERS.iter().map(|(_, index, ..)| *index).collect();
    Err(Failure::Usage(format!(
        "--shard auto: none of {} is set: write it as i/n",
        all.join(", ")
    )))
}

/// For each item its shard, from 0; `takes` is what each item takes.
pub fn deal(takes: &[Duration], shards: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..takes.len()).collect();
    // Stable: what takes as long stays in its order.
    order.sort_by_key(|item| Reverse(takes[*item]));
    let mut least: BinaryHeap<Reverse<(Duration, usize)>> = (0..shards)
        .map(|shard| Reverse((Duration::ZERO, shard)))
        .collect();
    let mut dealt = vec![0; takes.len()];
    for item in order {
        let Some(Reverse((sum, shard))) = least.pop() else {
            break;
        };
        dealt[item] = shard;
        least.push(Reverse((sum + takes[item], shard)));
    }
    dealt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_given_or_told_by_a_scheduler() {
        let none = |_: &str| None;
        assert_eq!(shard(None, none).unwrap(), (1, 1));
        assert_eq!(shard(Some("2/3"), none).unwrap(), (2, 3));
        for wrong in ["0/3", "4/3", "3", "a/b", "1/0", "-1/3", ""] {
            assert!(shard(Some(wrong), none).is_err(), "{wrong}");
        }
        let says = |pairs: &'static [(&str, &str)]| {
            move |name: &str| {
                let found = pairs.iter().find(|(k, _)| *k == name);
                found.map(|(_, v)| v.to_string())
            }
        };
        for (pairs, wanted) in [
            (
                &[("CI_NODE_INDEX", "2"), ("CI_NODE_TOTAL", "4")][..],
                Some((2, 4)),
            ),
            (
                &[
                    ("BUILDKITE_PARALLEL_JOB", "0"),
                    ("BUILDKITE_PARALLEL_JOB_COUNT", "4"),
                ],
                Some((1, 4)),
            ),
            (
                &[
                    ("SLURM_ARRAY_TASK_ID", "7"),
                    ("SLURM_ARRAY_TASK_MIN", "5"),
                    ("SLURM_ARRAY_TASK_COUNT", "3"),
                ],
                Some((3, 3)),
            ),
            (
                &[("JOB_COMPLETION_INDEX", "3"), ("SCHISM_SHARDS", "4")],
                Some((4, 4)),
            ),
            (
                &[("SCHISM_SHARD_INDEX", "0"), ("SCHISM_SHARDS", "3")],
                Some((1, 3)),
            ),
            (
                &[("JOB_COMPLETION_INDEX", "4"), ("SCHISM_SHARDS", "4")],
                None,
            ),
            (&[("JOB_COMPLETION_INDEX", "3")], None),
            (&[("CI_NODE_INDEX", "0"), ("CI_NODE_TOTAL", "4")], None),
            (&[("CI_NODE_INDEX", "x"), ("CI_NODE_TOTAL", "4")], None),
            (&[], None),
        ] {
            assert_eq!(shard(Some("auto"), says(pairs)).ok(), wanted, "{pairs:?}");
        }
    }

    #[test]
    fn everything_is_dealt_once_and_evenly() {
        let takes: Vec<Duration> = (0..1000u64)
            .map(|n| Duration::from_secs(20 + n * n % 97))
            .collect();
        let dealt = deal(&takes, 7);
        let sum = |shard| -> Duration {
            let own = dealt.iter().zip(&takes).filter(|(s, _)| **s == shard);
            own.map(|(_, t)| *t).sum()
        };
        let sums: Vec<Duration> = (0..7).map(sum).collect();
        let (least, most) = (sums.iter().min().unwrap(), sums.iter().max().unwrap());
        assert!(most.as_secs_f64() / least.as_secs_f64() < 1.05, "{sums:?}");
        assert_eq!(sums.iter().sum::<Duration>(), takes.iter().sum());
        // More shards than cells: some have nothing to do.
        assert_eq!(deal(&takes[..2], 5), [1, 0]);
    }
}
