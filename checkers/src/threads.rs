//! Work that is dealt out to threads.

use std::sync::Mutex;
use std::thread;

/// How many threads are worth their start for so many items, if one should have `at_least` of them.
pub fn for_items(items: usize, at_least: usize) -> usize {
    let most = items / at_least;
    if most <= 1 {
        // To ask how many cores there are takes longer than to judge a short history.
        return 1;
    }
    let cores = thread::available_parallelism().map_or(1, |n| n.get());
    cores.min(most)
}

/// What `work` makes of each item, in the order of the items. One thread is the caller's own.
pub fn map<T, R, I>(threads: usize, items: I, work: impl Fn(T) -> R + Sync) -> Vec<R>
where
    T: Send,
    R: Send,
    I: IntoIterator<Item = T, IntoIter: Send>,
{
    if threads <= 1 {
        return items.into_iter().map(work).collect();
    }
    let items = Mutex::new(items.into_iter().enumerate());
    let work = || {
        let mut done = Vec::new();
        loop {
            // Not in the loop's condition, which would hold the lock while the item is worked on.
            let next = items.lock().expect("iterators do not panic").next();
            match next {
                Some((at, item)) => done.push((at, work(item))),
                None => return done,
            }
        }
    };
    let mut done: Vec<(usize, R)> = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        for other in others {
            match other.join() {
                Ok(more) => done.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, made)| made).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_stand_in_the_order_of_their_items() {
        for threads in [1, 2, 7] {
            let squares = map(threads, 0..100u64, |n| n * n);
            assert_eq!(squares, (0..100).map(|n| n * n).collect::<Vec<_>>());
            assert!(map(threads, Vec::<u64>::new(), |n| n).is_empty());
        }
    }

    #[test]
    #[should_panic(expected = "seven")]
    fn a_panic_reaches_the_caller() {
        map(3, 0..100, |n| assert!(n != 7, "seven"));
    }
}
