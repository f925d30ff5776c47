//! The thread that proves work: it really hashes, but no more than so many hashes a second.
//!
//! It hashes in slices of some milliseconds and sleeps between them, so that several nodes share a
//! processor and a new template takes the place of the old one at once. How many hashes are due is
//! told by the kernel's clock, not by the process's: a harness that shifts the latter must not make
//! a node mine faster or slower. What was missed while the process was stopped is lost.

use std::io;
use std::sync::mpsc as blocking;
use std::time::Duration;

use nodekit::clocks::kernel_monotonic_ns;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use crate::core::block::{Hash, Header};
use crate::event::{Event, News};

/// Between slices.
const SLICE: Duration = Duration::from_millis(10);
/// A gap between slices counts for so much at most: what a busy machine takes a while for is made
/// up, a stop is not.
const GAP_MAX: Duration = Duration::from_millis(250);

/// What to look for a nonce for.
#[derive(Debug)]
pub struct Template {
    pub number: u64,
    pub header: Header,
}

/// Starts the thread and returns the way to give it templates; each replaces the one before.
///
/// # Errors
/// The operating system's, when it gives no thread.
pub fn start(
    hashes_per_second: u64,
    events: mpsc::Sender<Event>,
) -> io::Result<blocking::Sender<Template>> {
    let (sender, templates) = blocking::channel();
    let work = move || mine(hashes_per_second, &templates, &events);
    std::thread::Builder::new()
        .name("miner".into())
        .spawn(work)?;
    Ok(sender)
}

fn mine(rate: u64, templates: &blocking::Receiver<Template>, events: &mpsc::Sender<Event>) {
    let mut pace = Pace::new(rate, kernel_monotonic_ns());
    while let Ok(mut template) = templates.recv() {
        let mut search = Search::new(&template.header);
        loop {
            if let Some(newest) = templates.try_iter().last() {
                template = newest;
                search = Search::new(&template.header);
            }
            if let Some(nonce) = search.try_hashes(pace.due(kernel_monotonic_ns())) {
                let solved = News::Solved {
                    template: template.number,
                    nonce,
                };
                if events.blocking_send(Event::News(solved)).is_err() {
                    return;
                }
                break;
            }
            std::thread::sleep(SLICE);
        }
    }
}

/// How many hashes are due.
#[derive(Debug)]
struct Pace {
    hashes_per_second: f64,
    last_ns: u64,
    /// A part of a hash that the last slice left over.
    credit: f64,
}

impl Pace {
    fn new(hashes_per_second: u64, now_ns: u64) -> Pace {
        Pace {
            hashes_per_second: hashes_per_second as f64,
            last_ns: now_ns,
            credit: 0.0,
        }
    }

    /// How many hashes may be tried since the last time this was asked.
    fn due(&mut self, now_ns: u64) -> u64 {
        let gap = Duration::from_nanos(now_ns.saturating_sub(self.last_ns)).min(GAP_MAX);
        self.last_ns = now_ns;
        self.credit += gap.as_secs_f64() * self.hashes_per_second;
        let whole = self.credit.floor();
        self.credit -= whole;
        whole as u64
    }
}

/// The nonces of one header, from its own on.
struct Search {
    /// Has hashed what comes before the nonce.
    prefix: Sha256,
    nonce: u64,
    work: u64,
}

impl Search {
    fn new(header: &Header) -> Search {
        let bytes = header.preimage();
        let before = &bytes[..bytes.len() - size_of::<u64>()];
        Search {
            prefix: Sha256::new_with_prefix(before),
            nonce: header.nonce,
            work: header.work,
        }
    }

    /// Tries so many nonces and returns the first that proves the work.
    fn try_hashes(&mut self, count: u64) -> Option<u64> {
        for _ in 0..count {
            let nonce = self.nonce;
            self.nonce = nonce.wrapping_add(1);
            let once = self.prefix.clone().chain_update(nonce.to_le_bytes());
            let hash = Hash(Sha256::digest(once.finalize()).into());
            if hash.proves(self.work) {
                return Some(nonce);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(nonce: u64, work: u64) -> Header {
        Header {
            parent: Hash([3; 32]),
            height: 9,
            time_ms: 1_795_428_444_936,
            work,
            miner: "n1".into(),
            transactions: Hash::NONE,
            nonce,
        }
    }

    #[test]
    fn a_nonce_that_is_found_proves_the_work_and_none_before_it_does() {
        let first = header(u64::MAX - 5, 300);
        let nonce = Search::new(&first).try_hashes(1 << 20).unwrap();
        let mut candidate = first.clone();
        while candidate.nonce != nonce {
            assert!(!candidate.hash().proves(300), "{}", candidate.nonce);
            candidate.nonce = candidate.nonce.wrapping_add(1);
        }
        assert!(candidate.hash().proves(300));
    }

    #[test]
    fn a_search_goes_on_where_it_stopped() {
        let nonce = Search::new(&header(0, 1000)).try_hashes(1 << 20).unwrap();
        let mut search = Search::new(&header(0, 1000));
        let found = std::iter::repeat_with(|| search.try_hashes(7))
            .take(1 << 18)
            .flatten()
            .next();
        assert_eq!(found, Some(nonce));
    }

    proptest! {
        #[test]
        fn the_rate_is_kept_whatever_the_slices(rate in 1..100_000u64, gaps in proptest::collection::vec(0..50_000_000u64, 1..200)) {
            let mut pace = Pace::new(rate, 0);
            let (mut now, mut hashes) = (0, 0);
            for gap in gaps {
                now += gap;
                hashes += pace.due(now);
            }
            let exact = now as f64 / 1e9 * rate as f64;
            prop_assert!((hashes as f64 - exact).abs() <= 1.0 + exact * 1e-9, "{} of {}", hashes, exact);
        }

        #[test]
        fn a_stop_is_not_made_up_for(rate in 1..100_000u64, stop in any::<u64>()) {
            let mut pace = Pace::new(rate, 0);
            prop_assert!(pace.due(stop) as f64 <= rate as f64 * GAP_MAX.as_secs_f64());
        }
    }

    #[test]
    fn a_new_template_takes_the_place_of_one_that_cannot_be_solved() {
        let (sender, mut events) = mpsc::channel(8);
        let miner = start(1_000_000, sender).unwrap();
        let give = |number, work| {
            let header = header(0, work);
            miner.send(Template { number, header }).unwrap();
        };
        give(1, u64::MAX);
        give(2, u64::MAX);
        give(3, 10);
        match events.blocking_recv() {
            Some(Event::News(News::Solved { template: 3, nonce })) => {
                assert!(header(nonce, 10).hash().proves(10));
            }
            other => panic!("{other:?}"),
        }
    }
}
