//! Repeated values: two engines take turns, and the first answer wins.
//!
//! ```text
//! search      one order after another, depth first     says yes at once if few choices are wrong
//! frontier    all orders at once, breadth first
//!   beam      the most promising only                  says yes
//!   window    from just before the place where         says no
//!             the others are stuck
//! ```
//!
//! They take turns on one thread, a number of steps each, so that the same history is always
//! decided by the same engine.

use super::Engine;
use super::frontier::{Death, Start, Sweep, Swept};
use super::model::Register;
use super::search::{Found, GaveUp, NEVER, Search};
use super::window::{Reach, Window};
use super::zones::Op;
use crate::{Exhausted, Meter};

/// What was found, and by which engine.
pub struct Decided {
    pub engine: Engine,
    pub found: Result<Outcome, GaveUp>,
}

/// A verdict.
pub enum Outcome {
    /// The order, if it was asked for or cost nothing.
    Order(Option<Vec<u32>>),
    /// There is an order for everything up to any earlier return, but none up to this one's; and
    /// how far a window had to reach to show it, if one did.
    Blocked(u32, Option<Reach>),
}

/// Steps of the search in the first turn: at least so many, and so many for each operation.
const FEWEST_STEPS: u64 = 10_000;
const STEPS_AN_OP: u64 = 4;

/// Steps of a sweep are so much shorter.
const SWEEP_STEPS: u64 = 4;

/// Each turn is so many times as long as the one before.
const LONGER: u64 = 2;

/// Configurations of the first beam: more do not help where the same operations can be lost in many
/// ways.
const FIRST_WIDTH: usize = 128;
const FIRST_WIDTH_IF_LOST: usize = 16;

/// How many times wider the next one is, and where the sweep gets exact instead.
const WIDER: usize = 4;
const WIDEST: usize = 32_768;

/// Decides by one engine, or by both.
pub fn decide(
    ops: &[Op],
    values: usize,
    engine: Option<Engine>,
    certify: bool,
    meter: &Meter,
) -> Decided {
    let by = engine.unwrap_or(Engine::Search);
    let search = match Search::new(&Register, ops, meter) {
        Ok(search) => search,
        Err(why) => {
            return Decided {
                engine: by,
                found: Err(GaveUp::at_once(why)),
            };
        }
    };
    let mut race = Race {
        ops,
        values,
        certify,
        by_ret: search.by_ret().to_vec(),
        gave_up: search.gave_up(Exhausted::Memory),
        search: (engine != Some(Engine::Frontier)).then_some(search),
        beam: None,
        explained: 0,
        before: 0,
        next: (usize::MAX, None),
    };
    match race.run(engine, meter) {
        Ok(decided) => decided,
        Err(why) => Decided {
            engine: by,
            found: Err(GaveUp {
                why,
                explained: race.explained,
                ..race.gave_up
            }),
        },
    }
}

struct Race<'a> {
    ops: &'a [Op],
    values: usize,
    certify: bool,
    by_ret: Vec<u32>,
    /// What the search has to say if nothing comes of it.
    gave_up: GaveUp,
    /// None once it met the limit of memory, or if it was not asked.
    search: Option<Search<'a, Register>>,
    /// None likewise.
    beam: Option<Beam<'a>>,
    /// The first so many operations to return have an order.
    explained: usize,
    /// The same at the end of the last turn.
    before: usize,
    /// The return at which windows were tried, and what to try there next; none if nothing can be
    /// proved there.
    next: (usize, Option<Reach>),
}

/// A sweep under way.
struct Beam<'a> {
    sweep: Sweep<'a>,
    width: usize,
    foresees: bool,
}

impl<'a> Race<'a> {
    /// Turn by turn, until there is an answer.
    fn run(&mut self, engine: Option<Engine>, meter: &Meter) -> Result<Decided, Exhausted> {
        if engine != Some(Engine::Search) {
            let width = match self.ops.iter().any(|op| op.ret == NEVER) {
                false => FIRST_WIDTH,
                true => FIRST_WIDTH_IF_LOST,
            };
            self.beam = self.begin(width, true, meter)?;
        }
        let mut steps = FEWEST_STEPS.max(STEPS_AN_OP * self.ops.len() as u64);
        loop {
            if let Some(decided) = self.turn(steps, meter)? {
                return Ok(decided);
            }
            steps = steps.saturating_mul(LONGER);
        }
    }

    /// None if too many operations are open at once.
    fn begin(
        &self,
        width: usize,
        foresees: bool,
        meter: &Meter,
    ) -> Result<Option<Beam<'a>>, Exhausted> {
        let sweep = Sweep::new(self.ops, self.values, Start::INITIAL, width, meter)?;
        let Some(mut sweep) = sweep else {
            return Ok(None);
        };
        if foresees {
            sweep = sweep.with_foresight();
        }
        if self.certify {
            sweep = sweep.with_order();
        }
        Ok(Some(Beam {
            sweep,
            width,
            foresees,
        }))
    }

    /// Lets each engine make so many steps.
    fn turn(&mut self, steps: u64, meter: &Meter) -> Result<Option<Decided>, Exhausted> {
        // While there are two, each may have half of the memory.
        let both = self.search.is_some() && self.beam.is_some();
        let shared = meter.share(1 + usize::from(both));
        if let Some(beam) = self.beam.take() {
            let mut left = shared.with_steps(SWEEP_STEPS * steps);
            if let Some(decided) = self.sweep(beam, &mut left)? {
                return Ok(Some(decided));
            }
            // Who gets on has met nothing that is impossible.
            let is_stuck = self.explained == self.before;
            if is_stuck && let Some(decided) = self.windows(SWEEP_STEPS * steps, &shared)? {
                return Ok(Some(decided));
            }
        }
        if let Some(search) = &mut self.search {
            let answer = search.run(steps, &mut shared.clone());
            self.explained = self.explained.max(search.explained());
            self.gave_up = search.gave_up(Exhausted::Memory);
            match answer {
                Ok(Some(found)) => {
                    let found = match found {
                        Found::Order(order) => Outcome::Order(Some(order)),
                        Found::Blocked(op) => Outcome::Blocked(op, None),
                    };
                    return Ok(Some(Decided::by(Engine::Search, found)));
                }
                Ok(None) => {}
                Err(Exhausted::Memory) => self.search = None,
                Err(why) => return Err(why),
            }
        }
        self.before = self.explained;
        match self.search.is_none() && self.beam.is_none() {
            true => Err(Exhausted::Memory),
            false => Ok(None),
        }
    }

    /// Sweeps with wider and wider beams, and at last exactly, until the steps are used up.
    fn sweep(
        &mut self,
        mut beam: Beam<'a>,
        left: &mut Meter,
    ) -> Result<Option<Decided>, Exhausted> {
        loop {
            let swept = beam.sweep.run(usize::MAX, left);
            self.explained = self.explained.max(beam.sweep.explained());
            match swept {
                Ok(Swept::Through(order)) => {
                    let found = Outcome::Order(order);
                    return Ok(Some(Decided::by(Engine::Frontier, found)));
                }
                Ok(Swept::Died {
                    op,
                    by: Death::Exact,
                }) => {
                    let found = Outcome::Blocked(op, None);
                    return Ok(Some(Decided::by(Engine::Frontier, found)));
                }
                Ok(Swept::Died { .. }) => {}
                Err(Exhausted::Steps) => {
                    self.beam = Some(beam);
                    return Ok(None);
                }
                // The memory is for the search, then.
                Err(Exhausted::Memory) => return Ok(None),
                Err(why) => return Err(why),
            }
            let next = match (beam.foresees, beam.width) {
                (true, width) => self.begin(width, false, left),
                (false, WIDEST..) => self.begin(usize::MAX, false, left),
                (false, width) => self.begin(width * WIDER, true, left),
            };
            let Some(next) = next? else {
                return Ok(None);
            };
            beam = next;
            match self.windows(left.steps() / 4, left) {
                Ok(None) => {}
                decided => return decided,
            }
        }
    }

    /// Looks whether the operation at which all are stuck is impossible for a reason close by.
    fn windows(&mut self, steps: u64, meter: &Meter) -> Result<Option<Decided>, Exhausted> {
        let at = self.explained;
        if at >= self.by_ret.len() {
            return Ok(None);
        }
        if self.next.0 != at {
            self.next = (at, Some(Reach::SHORTEST));
        }
        let mut meter = meter.with_steps(steps);
        while let Some(reach) = self.next.1 {
            let window = Window::new(self.ops, &self.by_ret, at, reach, &meter)?;
            match window.is_impossible(None, &mut meter) {
                Ok(true) => {
                    let found = Outcome::Blocked(self.by_ret[at], Some(reach));
                    return Ok(Some(Decided::by(Engine::Frontier, found)));
                }
                Ok(false) => self.next.1 = (!window.is_exact()).then(|| reach.more(at)),
                Err(Exhausted::Steps | Exhausted::Memory) => break,
                Err(why) => return Err(why),
            }
        }
        Ok(None)
    }
}

impl Decided {
    fn by(engine: Engine, found: Outcome) -> Decided {
        Decided {
            engine,
            found: Ok(found),
        }
    }
}
