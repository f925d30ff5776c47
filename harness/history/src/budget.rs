//! Hard limits of time and memory.

use std::time::{Duration, Instant};

use thiserror::Error;

/// How much work may cost: reading a history, judging it. Past either limit the answer is unknown.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    pub time: Duration,
    /// Bytes that may be held at once: by a history that is read, by a checker beyond the history.
    pub memory_bytes: u64,
}

impl Default for Budget {
    /// A minute and a gigabyte: what a laptop and a CI job can spare.
    fn default() -> Budget {
        Budget {
            time: Duration::from_secs(60),
            memory_bytes: 1 << 30,
        }
    }
}

impl Budget {
    /// For what is known to be harmless.
    pub const UNLIMITED: Budget = Budget {
        time: Duration::MAX,
        memory_bytes: u64::MAX,
    };

    /// Starts the clock.
    pub fn start(&self) -> Meter {
        Meter {
            deadline: Instant::now().checked_add(self.time),
            memory_bytes: self.memory_bytes,
            steps: u64::MAX,
            ticks: 0,
        }
    }
}

/// A running budget. A search calls [`Meter::tick`] in its innermost loop.
#[derive(Clone, Debug)]
pub struct Meter {
    /// None: a limit too far off to be a moment in time.
    deadline: Option<Instant>,
    memory_bytes: u64,
    steps: u64,
    ticks: u32,
}

/// Which limit was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Exhausted {
    #[error("the time limit was reached")]
    Time,
    #[error("the memory limit was reached")]
    Memory,
    #[error("the limit on steps was reached")]
    Steps,
}

impl Meter {
    /// The same limits and one on steps, which the same history always meets at the same place:
    /// for work whose result should not depend on the machine's speed.
    pub fn with_steps(&self, steps: u64) -> Meter {
        Meter {
            steps,
            ..self.clone()
        }
    }

    /// The same moment, and a part of the memory: for one of `parts` threads.
    pub fn share(&self, parts: usize) -> Meter {
        Meter {
            memory_bytes: self.memory_bytes / parts.max(1) as u64,
            ..self.clone()
        }
    }

    /// The same, with so many bytes less: what is held all the while by the work that is measured.
    pub fn without(&self, bytes: u64) -> Meter {
        Meter {
            memory_bytes: self.memory_bytes.saturating_sub(bytes),
            ..self.clone()
        }
    }

    /// What is left, for a checker that is asked by another.
    pub fn left(&self) -> Budget {
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        Budget {
            time: self.deadline.map_or(Duration::MAX, left),
            memory_bytes: self.memory_bytes,
        }
    }

    /// Steps that are left.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Fails once a limit is passed. `bytes` is what the search holds now. The clock is read every
    /// 256th time: a step of a search takes about a microsecond, reading the clock a tenth of that.
    #[inline]
    pub fn tick(&mut self, bytes: u64) -> Result<(), Exhausted> {
        if bytes > self.memory_bytes {
            return Err(Exhausted::Memory);
        }
        self.steps = self.steps.checked_sub(1).ok_or(Exhausted::Steps)?;
        self.ticks = self.ticks.wrapping_add(1);
        match self.ticks % 256 {
            1 => self.look(0),
            _ => Ok(()),
        }
    }

    /// The same, and the clock is read: for work in pieces that are not longer than some
    /// milliseconds.
    pub fn look(&self, bytes: u64) -> Result<(), Exhausted> {
        if bytes > self.memory_bytes {
            return Err(Exhausted::Memory);
        }
        match self.deadline.is_some_and(|d| Instant::now() >= d) {
            true => Err(Exhausted::Time),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_has_its_name() {
        let budget = Budget {
            time: Duration::MAX,
            memory_bytes: 100,
        };
        let mut meter = budget.start();
        assert_eq!(meter.tick(100), Ok(()));
        assert_eq!(meter.tick(101), Err(Exhausted::Memory));
        assert_eq!(meter.share(3).tick(34), Err(Exhausted::Memory));
        assert_eq!(meter.without(90).tick(11), Err(Exhausted::Memory));
        let mut few = meter.with_steps(2);
        assert_eq!((few.tick(0), few.tick(0)), (Ok(()), Ok(())));
        assert_eq!(few.tick(0), Err(Exhausted::Steps));
        assert_eq!(few.steps(), 0);
        let none = Budget {
            time: Duration::ZERO,
            ..budget
        };
        assert_eq!(none.start().tick(0), Err(Exhausted::Time));
        assert_eq!(none.start().look(0), Err(Exhausted::Time));
    }
}
