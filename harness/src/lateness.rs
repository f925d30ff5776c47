//! How far a run has been moved back because the machine was late.
//!
//! A machine that has too much to do injects and heals faults late. The rest of the schedule then
//! moves back by as much, and the end of the main phase with it: faults keep their order, their
//! lengths and the gaps between them, and a late machine makes a late run and not an empty one. How
//! far is bounded.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;

/// A run may be moved back by as much as its main phase is long, and a short one by this.
const LEAST_BOUND: Duration = Duration::from_secs(30);

/// A handle; clones are of the same run.
#[derive(Clone)]
pub struct Lateness {
    by: Arc<watch::Sender<Duration>>,
    most: Duration,
    /// What the history was told.
    told: Arc<Mutex<Duration>>,
}

impl Lateness {
    /// Of a run whose main phase is to be so long.
    pub fn of(time_limit: Duration) -> Lateness {
        Lateness {
            by: Arc::new(watch::channel(Duration::ZERO).0),
            most: time_limit.max(LEAST_BOUND),
            told: Arc::default(),
        }
    }

    pub fn by(&self) -> Duration {
        *self.by.borrow()
    }

    /// The most that it may come to.
    pub fn most(&self) -> Duration {
        self.most
    }

    /// Moves everything back by at least so much, and says whether that is further than before.
    pub fn raise(&self, by: Duration) -> bool {
        let by = by.min(self.most);
        self.by.send_if_modified(|now| {
            let further = by > *now;
            *now = by.max(*now);
            further
        })
    }

    /// How far it is, if that is further than when somebody asked for news before.
    pub fn news(&self) -> Option<Duration> {
        let by = self.by();
        let mut told = self.told.lock().expect("no panic while held");
        let is_news = by > *told;
        *told = by.max(*told);
        is_news.then_some(by)
    }

    /// Waits until it is no longer `known`.
    pub async fn other_than(&self, known: Duration) {
        let mut by = self.by.subscribe();
        let _ = by.wait_for(|by| *by != known).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_only_grows_and_has_a_bound() {
        let seconds = Duration::from_secs;
        let lateness = Lateness::of(seconds(60));
        assert!(lateness.raise(seconds(2)) && !lateness.raise(seconds(1)));
        assert_eq!(lateness.by(), seconds(2));
        assert_eq!((lateness.news(), lateness.news()), (Some(seconds(2)), None));
        assert!(lateness.raise(seconds(100)) && !lateness.raise(seconds(101)));
        assert_eq!(lateness.by(), seconds(60));
        assert_eq!(Lateness::of(seconds(1)).most(), LEAST_BOUND);
    }
}
