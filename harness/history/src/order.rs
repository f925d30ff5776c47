//! The place in a file of events is their order.
//!
//! Jepsen, Knossos and Elle order events by their index, whatever the times say: clocks are coarse,
//! and some recorders stamp an event before they queue for the place where it is written. So a time
//! that is not later than the one before is raised to just behind it, and no two events share a
//! time.
//!
//! Files of operations, with call and return, have no such order: there, equal times overlap.

/// What was done to times so that they agree with the order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Raised {
    /// Events with the latest time so far.
    pub equal: u64,
    /// Events with a time before that.
    pub back: u64,
    /// The farthest that one of these was behind.
    pub most: u64,
}

/// Raises times, event after event.
#[derive(Clone, Copy, Debug, Default)]
pub struct Placing {
    next: u64,
    latest: u64,
    begun: bool,
    pub raised: Raised,
}

impl Placing {
    /// The time of the next event, for which this one was told, if any was.
    #[inline]
    pub fn place(&mut self, told: Option<u64>) -> u64 {
        let time = told.unwrap_or(self.next).max(self.next);
        if let Some(told) = told.filter(|told| self.begun && *told <= self.latest) {
            match self.latest - told {
                0 => self.raised.equal += 1,
                behind => {
                    self.raised.back += 1;
                    self.raised.most = self.raised.most.max(behind);
                }
            }
        }
        self.latest = self.latest.max(told.unwrap_or(time));
        self.begun = true;
        self.next = time.saturating_add(1);
        time
    }
}

impl Raised {
    /// What there is to say of it, of so many events.
    pub fn note(&self, events: usize) -> Option<String> {
        let back = format!(
            "of {} the time is before that of an earlier event, by at most {}",
            self.back, self.most
        );
        let equal = format!("{} have the time of the event before", self.equal);
        let what = match (self.back, self.equal) {
            (0, 0) => return None,
            (0, _) => equal,
            (_, 0) => back,
            _ => format!("{back}, and {equal}"),
        };
        Some(format!(
            "of {events} events {what}: the place in the file is the order, and these times were raised to it"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_raised_to_the_order_of_the_file() {
        let mut placing = Placing::default();
        let told = [0, 0, 0, 10, 7, 7, 10, 11, 20].map(Some);
        let times = told.map(|t| placing.place(t));
        assert_eq!(times, [0, 1, 2, 10, 11, 12, 13, 14, 20]);
        let raised = Raised {
            equal: 3,
            back: 2,
            most: 3,
        };
        assert_eq!(placing.raised, raised);
        let mut untold = Placing::default();
        assert_eq!([None, None].map(|t| untold.place(t)), [0, 1]);
        assert_eq!(untold.raised.note(2), None);
        assert_eq!(
            raised.note(9).unwrap(),
            "of 9 events of 2 the time is before that of an earlier event, by at most 3, and 3 have the time of the \
             event before: the place in the file is the order, and these times were raised to it"
        );
    }
}
