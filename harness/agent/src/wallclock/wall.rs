//! What the wall clock is to show, and how it is made to.
//!
//! CLOCK_MONOTONIC_RAW runs as the machine's oscillator does and is touched by nothing, while
//! `adjtimex` bends CLOCK_MONOTONIC too. With the correction that the kernel applied before the
//! fault it keeps the truth: a time server's last word carried on, for as long as the fault lasts.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};

const BILLION: i128 = 1_000_000_000;
/// A tick that is neither fast nor slow, in microseconds (USER_HZ is 100 on every Linux).
const TICK_US: i64 = 10_000;
/// One microsecond more in a tick, in parts per billion.
const TICK_PPB: i64 = 100_000;
/// How far the kernel lets a tick go.
const TICK_RANGE_US: i64 = TICK_US / 10;
/// How far the kernel lets the frequency go: 500 ppm.
const FREQUENCY_PPB: i64 = 500_000;
/// `timex.freq` is in parts per million with a 16 bit fraction.
const FREQUENCY_PER_PPM: i64 = 1 << 16;
/// Set closer than this, and it need not be tried again.
const CLOSE_NS: i64 = 1_000_000;
/// How often it is tried: a machine may be put aside between the look and the deed.
const TRIES: usize = 5;
/// A wall clock so near to what is wanted shows it. Healing is to reach the truth by as much.
pub const NEAR_NS: i64 = 50_000_000;

/// The kernel's steering of its clock: what of `adjtimex` is changed, and put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timex {
    /// Parts per million, with 16 bits of fraction.
    pub frequency: i64,
    pub tick_us: i64,
    pub status: i32,
    pub max_error_us: i64,
    pub estimated_error_us: i64,
}

impl Timex {
    /// How much faster than its oscillator the clock runs, in parts per billion.
    pub fn rate_ppb(&self) -> i64 {
        (self.tick_us - TICK_US) * TICK_PPB + self.frequency * 1_000 / FREQUENCY_PER_PPM
    }

    /// The same, at this rate as far as the kernel goes; and what is left to be done by steps.
    fn at_rate(&self, rate_ppb: i64) -> (Timex, i64) {
        let tick = rate_ppb.saturating_add(TICK_PPB / 2).div_euclid(TICK_PPB);
        let tick = tick.clamp(-TICK_RANGE_US, TICK_RANGE_US);
        let rest = rate_ppb - tick * TICK_PPB;
        let fine = rest.clamp(-FREQUENCY_PPB, FREQUENCY_PPB);
        let timex = Timex {
            tick_us: TICK_US + tick,
            frequency: fine * FREQUENCY_PER_PPM / 1_000,
            ..*self
        };
        (timex, rest - fine)
    }
}

/// A machine's clocks. The real ones are [`super::kernel::Kernel`].
pub trait Machine: Send {
    fn raw_ns(&self) -> i64;
    fn wall_ns(&self) -> i64;
    fn set_wall(&mut self, ns: i64) -> io::Result<()>;
    fn timex(&self) -> io::Result<Timex>;
    fn set_timex(&mut self, timex: &Timex) -> io::Result<()>;
}

/// What the wall clock showed when it was last true, and how to carry on from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truth {
    pub wall_ns: i64,
    pub raw_ns: i64,
    pub timex: Timex,
}

impl Truth {
    /// Of a clock that nobody has touched.
    pub fn of(machine: &dyn Machine) -> io::Result<Truth> {
        let timex = machine.timex()?;
        let seen = Look::at(machine);
        Ok(Truth {
            wall_ns: seen.wall_ns,
            raw_ns: seen.raw_ns,
            timex,
        })
    }

    /// True time at an instant of the raw clock.
    pub fn at(&self, raw_ns: i64) -> i64 {
        let went = i128::from(raw_ns - self.raw_ns);
        let corrected = went + went * i128::from(self.timex.rate_ppb()) / BILLION;
        self.wall_ns + i64::try_from(corrected).unwrap_or(i64::MAX / 2)
    }

    /// Sets the clock to the truth, and steers it as before.
    pub fn restore(&self, machine: &mut dyn Machine) -> io::Result<Offset> {
        machine.set_timex(&self.timex)?;
        let offset = set(machine, |raw| self.at(raw))?;
        // Setting a clock makes the kernel forget that it was in step.
        machine.set_timex(&self.timex)?;
        Ok(offset)
    }
}

/// What a fault adds to the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    pub offset_ns: i64,
    pub rate_ppb: i64,
    pub since_raw_ns: i64,
}

impl Turn {
    fn at(&self, raw_ns: i64) -> i128 {
        let went = i128::from(raw_ns - self.since_raw_ns);
        i128::from(self.offset_ns) + went * i128::from(self.rate_ppb) / BILLION
    }
}

/// A wall clock, read between two looks at the raw one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    wall_ns: i64,
    /// In the middle of the two looks.
    raw_ns: i64,
    error_ns: i64,
}

impl Look {
    /// The closest of a few.
    fn at(machine: &dyn Machine) -> Look {
        let look = || {
            let before = machine.raw_ns();
            let wall_ns = machine.wall_ns();
            let after = machine.raw_ns();
            Look {
                wall_ns,
                raw_ns: before + (after - before) / 2,
                error_ns: (after - before) / 2 + 1,
            }
        };
        let mut best = look();
        for _ in 1..TRIES {
            let next = look();
            if next.error_ns < best.error_ns {
                best = next;
            }
        }
        best
    }
}

/// How far a clock is from where it should be, or from the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset {
    pub ns: i64,
    pub error_ns: i64,
}

impl Offset {
    pub fn is_near(&self) -> bool {
        self.ns.saturating_abs().saturating_sub(self.error_ns) <= NEAR_NS
    }
}

/// Sets the wall clock, and looks how well that went; again if the machine was put aside meanwhile.
fn set(machine: &mut dyn Machine, wanted: impl Fn(i64) -> i64) -> io::Result<Offset> {
    let mut offset = None;
    for _ in 0..TRIES {
        let now = machine.raw_ns();
        machine.set_wall(wanted(now))?;
        let seen = Look::at(machine);
        let missed = Offset {
            ns: seen.wall_ns - wanted(seen.raw_ns),
            error_ns: seen.error_ns,
        };
        offset = Some(missed);
        if missed.ns.abs() <= CLOSE_NS {
            break;
        }
    }
    Ok(offset.expect("it is tried at least once"))
}

/// A machine's wall clock under faults.
pub struct Wall {
    machine: Box<dyn Machine>,
    /// None while nothing turns it.
    truth: Option<Truth>,
    turns: BTreeMap<u64, Turn>,
    /// What of the rate the kernel cannot do, in parts per billion.
    stepped_ppb: i64,
}

impl std::fmt::Debug for Wall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wall")
            .field("truth", &self.truth)
            .field("turns", &self.turns)
            .finish_non_exhaustive()
    }
}

impl Wall {
    pub fn new(machine: Box<dyn Machine>) -> Wall {
        Wall {
            machine,
            truth: None,
            turns: BTreeMap::new(),
            stepped_ppb: 0,
        }
    }

    /// The truth from here on, if it is not kept yet: to be written down before [`Wall::turn`].
    pub fn keep_truth(&mut self) -> io::Result<Option<Truth>> {
        if self.truth.is_some() {
            return Ok(None);
        }
        let truth = Truth::of(&*self.machine)?;
        self.truth = Some(truth);
        Ok(Some(truth))
    }

    /// Adds what a fault does, or changes it, and sets the clock.
    pub fn turn(&mut self, fault: u64, offset_ns: i64, rate_ppb: i64) -> io::Result<Offset> {
        let since_raw_ns = self.machine.raw_ns();
        self.turns.insert(
            fault,
            Turn {
                offset_ns,
                rate_ppb,
                since_raw_ns,
            },
        );
        self.apply()
    }

    pub fn is_turned_by(&self, fault: u64) -> bool {
        self.turns.contains_key(&fault)
    }

    /// Takes back what a fault does. With the last one the clock is true again.
    pub fn turn_back(&mut self, fault: u64) -> io::Result<Offset> {
        let turn = self.turns.remove(&fault);
        let done = self.apply();
        if let (Err(_), Some(turn)) = (&done, turn) {
            // Still turned, so that it is tried again.
            self.turns.insert(fault, turn);
        }
        done
    }

    /// What the truth will be after [`Wall::make_up`], where it is kept: to be written down before.
    pub fn truth_later(&self, lost_ns: i64) -> Option<Truth> {
        self.truth.map(|truth| Truth {
            wall_ns: truth.wall_ns.saturating_add(lost_ns),
            ..truth
        })
    }

    /// Adds time that passed without the raw clock, which is the machine's only witness: the truth,
    /// and with it the clock, is so much later than it knows. Returns how far the clock is off now.
    pub fn make_up(&mut self, lost_ns: i64) -> io::Result<Offset> {
        match self.truth_later(lost_ns) {
            Some(later) => {
                self.truth = Some(later);
                self.step()
            }
            None => {
                let mut truth = Truth::of(&*self.machine)?;
                truth.wall_ns = truth.wall_ns.saturating_add(lost_ns);
                truth.restore(&mut *self.machine)
            }
        }
    }

    /// Whether no fault turns it.
    pub fn is_true(&self) -> bool {
        self.truth.is_none()
    }

    fn apply(&mut self) -> io::Result<Offset> {
        let truth = match self.truth {
            Some(truth) => truth,
            None => Truth::of(&*self.machine)?,
        };
        if self.turns.is_empty() {
            let offset = truth.restore(&mut *self.machine)?;
            self.truth = None;
            self.stepped_ppb = 0;
            return Ok(offset);
        }
        let rates = self.turns.values().map(|turn| turn.rate_ppb);
        let rate = rates.fold(truth.timex.rate_ppb(), i64::saturating_add);
        let (timex, stepped) = truth.timex.at_rate(rate);
        self.stepped_ppb = stepped;
        if self.machine.timex()?.rate_ppb() != timex.rate_ppb() {
            self.machine.set_timex(&timex)?;
        }
        self.step()
    }

    /// Whether the rate is more than the kernel can do, so that [`Wall::step`] is needed again and
    /// again.
    pub fn needs_steps(&self) -> bool {
        self.stepped_ppb != 0
    }

    /// Sets the clock to what is wanted now.
    pub fn step(&mut self) -> io::Result<Offset> {
        let Some(truth) = self.truth else {
            return Ok(Offset { ns: 0, error_ns: 0 });
        };
        let turns: Vec<Turn> = self.turns.values().copied().collect();
        set(&mut *self.machine, |raw| wanted(&truth, &turns, raw))
    }

    /// True time now, and how exactly it is known.
    pub fn true_ns(&self) -> (i64, i64) {
        let seen = Look::at(&*self.machine);
        match self.truth {
            Some(truth) => (truth.at(seen.raw_ns), seen.error_ns),
            None => (seen.wall_ns, seen.error_ns),
        }
    }

    /// How far the clock is from the truth, and how far from what is wanted.
    pub fn look(&self) -> (Offset, Offset) {
        let seen = Look::at(&*self.machine);
        let off = |from: i64| Offset {
            ns: seen.wall_ns.saturating_sub(from),
            error_ns: seen.error_ns,
        };
        match self.truth {
            None => (off(seen.wall_ns), off(seen.wall_ns)),
            Some(truth) => {
                let turns: Vec<Turn> = self.turns.values().copied().collect();
                (
                    off(truth.at(seen.raw_ns)),
                    off(wanted(&truth, &turns, seen.raw_ns)),
                )
            }
        }
    }
}

fn wanted(truth: &Truth, turns: &[Turn], raw_ns: i64) -> i64 {
    let apart: i128 = turns.iter().map(|turn| turn.at(raw_ns)).sum();
    let sum = i128::from(truth.at(raw_ns)) + apart;
    i64::try_from(sum).unwrap_or(i64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    const SECOND: i64 = 1_000_000_000;
    const MS: i64 = 1_000_000;
    const START: i64 = 1_700_000_000 * SECOND;

    /// An oscillator, and a wall clock that is steered as the kernel steers one. Each call takes a
    /// microsecond.
    struct State {
        raw_ns: i64,
        wall_ns: i128,
        timex: Timex,
        /// The next setting takes so long.
        delay_ns: i64,
    }

    impl State {
        fn pass(&mut self, raw: i64) {
            self.raw_ns += raw;
            let rate = i128::from(self.timex.rate_ppb());
            self.wall_ns += i128::from(raw) + i128::from(raw) * rate / BILLION;
        }
    }

    #[derive(Clone)]
    struct Fake(Arc<Mutex<State>>);

    impl Fake {
        fn new(frequency: i64) -> Fake {
            Fake(Arc::new(Mutex::new(State {
                raw_ns: 5 * SECOND,
                wall_ns: START.into(),
                timex: Timex {
                    frequency,
                    tick_us: TICK_US,
                    status: 1,
                    max_error_us: 900,
                    estimated_error_us: 80,
                },
                delay_ns: 0,
            })))
        }

        fn on<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
            let mut state = self.0.lock().expect("no panic while held");
            state.pass(1_000);
            act(&mut state)
        }

        fn pass(&self, ns: i64) {
            self.on(|state| state.pass(ns));
        }
    }

    impl Machine for Fake {
        fn raw_ns(&self) -> i64 {
            self.on(|state| state.raw_ns)
        }
        fn wall_ns(&self) -> i64 {
            self.on(|state| state.wall_ns as i64)
        }
        fn set_wall(&mut self, ns: i64) -> io::Result<()> {
            self.on(|state| {
                let delay = std::mem::take(&mut state.delay_ns);
                state.pass(delay);
                state.wall_ns = ns.into();
                // As the kernel does: it is out of step.
                state.timex.status = 64;
            });
            Ok(())
        }
        fn timex(&self) -> io::Result<Timex> {
            Ok(self.on(|state| state.timex))
        }
        fn set_timex(&mut self, timex: &Timex) -> io::Result<()> {
            assert!((9_000..=11_000).contains(&timex.tick_us), "{timex:?}");
            assert!(timex.frequency.abs() <= 32_768_000, "{timex:?}");
            self.on(|state| state.timex = *timex);
            Ok(())
        }
    }

    fn wall(frequency: i64) -> (Fake, Wall) {
        let fake = Fake::new(frequency);
        let mut wall = Wall::new(Box::new(fake.clone()));
        let truth = wall.keep_truth().expect("reads").expect("is new");
        assert_eq!(wall.keep_truth().expect("reads"), None, "{truth:?}");
        (fake, wall)
    }

    /// How far the wall clock is from the truth, in whole milliseconds.
    fn off_ms(wall: &Wall) -> i64 {
        let (truth, wanted) = wall.look();
        assert!(wanted.is_near(), "{wanted:?}");
        (truth.ns + MS / 2).div_euclid(MS)
    }

    #[test]
    fn a_jump_holds_and_healing_is_true_to_the_millisecond() {
        // 40 ppm of correction, as a time server has found them.
        let (fake, mut wall) = wall(40 << 16);
        let before = fake.timex().expect("reads");
        wall.turn(1, 3_600 * SECOND, 0).expect("sets");
        for _ in 0..10 {
            fake.pass(60 * SECOND);
            assert_eq!(off_ms(&wall), 3_600_000);
        }
        wall.turn_back(1).expect("sets");
        assert!(wall.is_true());
        // Ten minutes by the corrected oscillator.
        let went = fake.wall_ns() - START;
        let due = 600 * SECOND + 600 * 40_000;
        assert!((went - due).abs() < MS, "{went}");
        assert_eq!(fake.timex().expect("reads"), before, "in step as before");
    }

    #[test]
    fn time_that_a_machine_did_not_see_is_made_up_for_whether_its_clock_is_turned_or_not() {
        let (fake, mut wall) = wall(0);
        wall.turn(1, 10 * SECOND, 0).expect("sets");
        // Eight seconds passed while it stood still, and neither of its clocks has seen them.
        wall.make_up(8 * SECOND).expect("sets");
        assert_eq!(off_ms(&wall), 10_000, "the fault is as it was");
        wall.turn_back(1).expect("sets");
        wall.make_up(-3 * SECOND).expect("sets");
        let (raw, shown) = (fake.raw_ns() - 5 * SECOND, fake.wall_ns() - START);
        assert!((shown - raw - 5 * SECOND).abs() < MS, "{shown} after {raw}");
    }

    #[test]
    fn faults_add_up_and_are_taken_back_in_any_order() {
        let (fake, mut wall) = wall(0);
        wall.turn(1, 10 * SECOND, 0).expect("sets");
        wall.turn(2, 0, 50_000_000).expect("bends");
        fake.pass(20 * SECOND);
        assert_eq!(off_ms(&wall), 10_000 + 1_000);
        wall.turn(3, -4 * SECOND, 0).expect("sets");
        wall.turn_back(1).expect("sets");
        assert_eq!(off_ms(&wall), 1_000 - 4_000);
        fake.pass(2 * SECOND);
        assert_eq!(off_ms(&wall), 1_100 - 4_000);
        wall.turn_back(2).expect("straightens");
        fake.pass(60 * SECOND);
        assert_eq!(off_ms(&wall), -4_000);
        wall.turn_back(3).expect("sets");
        assert_eq!(off_ms(&wall), 0);
    }

    #[test]
    fn a_rate_beyond_the_kernel_is_done_by_steps() {
        for rate_ppm in [100_400, 200_000, -180_000, 1_000_000] {
            let (fake, mut wall) = wall(-30 << 16);
            let begun_ns = fake.raw_ns();
            wall.turn(1, 0, rate_ppm * 1_000).expect("bends");
            assert_eq!(wall.needs_steps(), rate_ppm.abs() > 100_470, "{rate_ppm}");
            for _ in 0..1_000 {
                fake.pass(10 * MS);
                wall.step().expect("steps");
            }
            // Looking takes time too, and that passes at the same rate.
            let went_us = (fake.raw_ns() - begun_ns) / 1_000;
            let due_ms = rate_ppm * went_us / 1_000_000_000;
            assert!((off_ms(&wall) - due_ms).abs() <= 1, "{rate_ppm}");
            wall.turn_back(1).expect("straightens");
            assert!(!wall.needs_steps());
            assert_eq!(off_ms(&wall), 0);
        }
    }

    #[test]
    fn a_machine_that_is_put_aside_in_between_is_set_again() {
        let (fake, mut wall) = wall(0);
        fake.on(|state| state.delay_ns = 300 * MS);
        let offset = wall.turn(1, SECOND, 0).expect("sets");
        assert!(offset.ns.abs() <= CLOSE_NS, "{offset:?}");
        assert_eq!(off_ms(&wall), 1_000);
    }

    #[test]
    fn rates_survive_their_way_through_adjtimex() {
        let (fake, _) = wall(0);
        let timex = fake.timex().expect("reads");
        for ppb in [0, 1_000, -1_000, 49_999_000, 100_000_000, -100_500_000] {
            let (bent, rest) = timex.at_rate(ppb);
            assert_eq!(rest, 0, "{ppb}");
            // The kernel's unit is a 65,536th of a ppm.
            assert!((bent.rate_ppb() - ppb).abs() <= 1, "{ppb}: {bent:?}");
        }
        assert_eq!(timex.at_rate(150_000_000).1, 49_500_000);
    }
}
