//! Sorting what is nearly in order, under a budget.
//!
//! Histories are recorded as time goes by, so what is made of them is out of order only locally:
//! runs that fit into a cache are sorted by themselves, and then merged two by two, where they
//! overlap. Between runs, and within merges, the budget is asked, which it cannot be while the
//! standard library sorts.

use crate::{Exhausted, Meter};

const RUN: usize = 4096;

/// Sorts by `key`; what is equal keeps its order.
pub fn sort_within<T: Copy, K: Ord>(
    items: &mut [T],
    key: impl Fn(&T) -> K,
    meter: &mut Meter,
) -> Result<(), Exhausted> {
    for run in items.chunks_mut(RUN) {
        run.sort_by_key(&key);
        meter.tick(0)?;
    }
    let mut buffer = Vec::new();
    let mut sorted = RUN;
    while sorted < items.len() {
        for pair in items.chunks_mut(2 * sorted) {
            merge(pair, sorted, &key, &mut buffer, meter)?;
        }
        sorted *= 2;
    }
    Ok(())
}

/// Sorts by `key` what is spread evenly: by `number`, which must not fall where the key rises.
/// Items are dealt out by number, and then only those that came together are sorted. What is equal
/// keeps its order.
pub fn sort_spread_within<T: Copy, K: Ord>(
    mut items: Vec<T>,
    number: impl Fn(&T) -> u64,
    key: impl Fn(&T) -> K,
    meter: &mut Meter,
) -> Result<Vec<T>, Exhausted> {
    if items.len() <= RUN {
        sort_within(&mut items, key, meter)?;
        return Ok(items);
    }
    let (mut least, mut most) = (u64::MAX, 0);
    for item in &items {
        meter.tick(0)?;
        let number = number(item);
        (least, most) = (least.min(number), most.max(number));
    }
    // About as many places as items.
    let shift = ((most - least) / items.len() as u64).max(1).ilog2();
    let place = |item: &T| ((number(item) - least) >> shift) as usize;
    let mut ends = vec![0u32; ((most - least) >> shift) as usize + 2];
    meter.look((size_of_val(&ends[..]) + size_of_val(&items[..])) as u64)?;
    for item in &items {
        meter.tick(0)?;
        ends[place(item) + 1] += 1;
    }
    for at in 1..ends.len() {
        ends[at] += ends[at - 1];
    }
    meter.look(0)?;
    let mut sorted = items.clone();
    meter.look(0)?;
    for item in &items {
        meter.tick(0)?;
        let end = &mut ends[place(item)];
        sorted[*end as usize] = *item;
        *end += 1;
    }
    drop(items);
    let mut from = 0;
    for end in ends {
        meter.tick(0)?;
        let together = &mut sorted[from..end as usize];
        if together.len() > 1 {
            sort_within(together, &key, meter)?;
        }
        from = end as usize;
    }
    Ok(sorted)
}

/// Merges what is before `middle` with what is behind it.
fn merge<T: Copy, K: Ord>(
    items: &mut [T],
    middle: usize,
    key: &impl Fn(&T) -> K,
    buffer: &mut Vec<T>,
    meter: &mut Meter,
) -> Result<(), Exhausted> {
    let Some((first, last)) = items.get(middle).zip(items.get(middle.wrapping_sub(1))) else {
        return Ok(());
    };
    let (first, last) = (key(first), key(last));
    // Only these have to move.
    let from = items[..middle].partition_point(|item| key(item) <= first);
    let until = middle + items[middle..].partition_point(|item| key(item) < last);
    buffer.clear();
    buffer.extend_from_slice(&items[from..middle]);
    let (mut left, mut right) = (0, middle);
    for at in from..until {
        meter.tick(size_of_val(&buffer[..]) as u64)?;
        let takes_left =
            left < buffer.len() && (right == until || key(&buffer[left]) <= key(&items[right]));
        items[at] = match takes_left {
            true => buffer[left],
            false => items[right],
        };
        match takes_left {
            true => left += 1,
            false => right += 1,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Budget;
    use proptest::prelude::*;
    use std::time::Duration;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn as_the_standard_library_sorts(
            len in prop::sample::select(vec![0, 1, RUN - 1, RUN, RUN + 1, 3 * RUN + 17, 5 * RUN]),
            spread in prop::sample::select(vec![0u64, 3, 200, 10_000, u64::MAX / 2]),
            slope in 0..3u64,
            seed: u64,
        ) {
            let mut state = seed;
            let mut items: Vec<(u64, usize)> = (0..len)
                .map(|i| {
                    state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    (slope * i as u64 + (state >> 1) % (spread + 1), i)
                })
                .collect();
            let mut expected = items.clone();
            expected.sort_by_key(|item| item.0);
            let meter = &mut Budget::default().start();
            let unsorted = items.clone();
            sort_within(&mut items, |item| item.0, meter).unwrap();
            prop_assert_eq!(&items, &expected);
            let spread = sort_spread_within(unsorted, |item| item.0, |item| item.0, meter);
            prop_assert_eq!(spread.unwrap(), expected);
        }
    }

    #[test]
    fn it_stops_when_the_budget_ends() {
        let mut items: Vec<u32> = (0..10 * RUN as u32).rev().collect();
        let none = Budget {
            time: Duration::ZERO,
            ..Budget::default()
        };
        let found = sort_within(&mut items, |n| *n, &mut none.start());
        assert_eq!(found, Err(Exhausted::Time));
        let small = Budget {
            memory_bytes: 4 * RUN as u64 - 1,
            ..Budget::default()
        };
        let found = sort_within(&mut items, |n| *n, &mut small.start());
        assert_eq!(found, Err(Exhausted::Memory));
    }
}
