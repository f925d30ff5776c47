//! Clock faults on the machine's own clock, where it has one that may be set
//! ([`crate::wallclock`]).
//!
//! ```text
//!   inject: stop those who keep the clock right ─▶ write the truth down ─▶ set, bend ─▶ look
//!   heal:   set by the truth, as the raw clock has kept it ─▶ look ─▶ let them run again
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result, doing};
use crate::journal::{Left, Record};
use crate::mechanism::{Mechanism, anothers};
use crate::nursery::Nursery;
use crate::protocol::{ClockFault, Clocks, Evidence, Fault};
use crate::site::{Site, failpoint};
use crate::wallclock::kernel::Kernel;
use crate::wallclock::sync::{self, Keepers};
use crate::wallclock::wall::{Machine, Offset, Wall};

/// How often a rate that the kernel cannot do is made up for by a step.
const STEP: Duration = Duration::from_millis(10);

/// The machine's wall clock, and who was stopped for it.
#[derive(Debug)]
pub(crate) struct Turned {
    /// Which kernel the controller runs on: see [`crate::wallclock::may_set`].
    controller_boot: String,
    wall: Arc<Mutex<Wall>>,
    keepers: Keepers,
}

impl Turned {
    /// # Errors
    /// Why this machine's clock may not be set.
    pub fn open(controller_boot: &str) -> Result<Turned, String> {
        let kernel = Kernel::open(controller_boot)?;
        Ok(Turned::with(controller_boot, Box::new(kernel)))
    }

    fn with(controller_boot: &str, machine: Box<dyn Machine>) -> Turned {
        Turned {
            controller_boot: controller_boot.into(),
            wall: Arc::new(Mutex::new(Wall::new(machine))),
            keepers: Keepers::default(),
        }
    }

    /// Evidence: the wall clock, read between two looks at the raw one.
    fn turn(&mut self, site: &mut Site, fault: u64, how: &ClockFault) -> Result<Evidence> {
        let mut evidence = self.stop_keepers(site)?;
        let wall = self.wall.clone();
        let controller_boot = self.controller_boot.clone();
        let kept = lock(&wall).keep_truth().map_err(doing("read the clock"))?;
        if let Some(truth) = kept {
            site.write(Record::Turning {
                controller_boot,
                truth,
            })?;
            failpoint("wall:turning");
        }
        let (offset_ns, rate_ppb) = match how {
            ClockFault::Jump { delta_ns } | ClockFault::Strobe { delta_ns, .. } => (*delta_ns, 0),
            ClockFault::Drift { ppb } => (0, *ppb),
            ClockFault::Freeze { .. } => unreachable!("see takes"),
        };
        let done = lock(&wall).turn(fault, offset_ns, rate_ppb);
        done.map_err(doing("set the machine's clock"))?;
        failpoint("wall:turned");
        let (from_truth, from_wanted) = lock(&wall).look();
        evidence.push(shown(from_truth));
        match how {
            ClockFault::Strobe { period_us, .. } => {
                let period = Duration::from_micros(*period_us);
                again(&wall, period, move |wall, round| {
                    match wall.is_turned_by(fault) {
                        true => {
                            let now = if round % 2 == 0 { 0 } else { offset_ns };
                            wall.turn(fault, now, 0).is_ok()
                        }
                        false => false,
                    }
                })?;
            }
            _ if lock(&wall).needs_steps() => {
                evidence.push(format!(
                    "the kernel bends a clock by a tenth at most: the rest is stepped every {} ms",
                    STEP.as_millis()
                ));
                again(&wall, STEP, move |wall, _| {
                    wall.is_turned_by(fault) && wall.step().is_ok()
                })?;
            }
            _ => {}
        }
        Ok(Evidence {
            void: Vec::new(),
            held: from_wanted.is_near(),
            evidence,
        })
    }

    /// What a machine does not know of itself: it stood still for so long.
    fn set_forward(&mut self, site: &mut Site, lost_ns: i64) -> Result<Evidence> {
        let wall = self.wall.clone();
        let controller_boot = self.controller_boot.clone();
        let later = lock(&wall).truth_later(lost_ns);
        if let Some(truth) = later {
            site.write(Record::Turning {
                controller_boot,
                truth,
            })?;
        }
        let mut wall = lock(&wall);
        let off = wall
            .make_up(lost_ns)
            .map_err(doing("set the machine's clock"))?;
        Ok(Evidence {
            void: Vec::new(),
            held: off.is_near(),
            evidence: vec![format!(
                "the machine's wall clock was set forward by {lost_ns} ns"
            )],
        })
    }

    /// Takes back what this fault, which is no longer in the site, did.
    fn turn_back(&mut self, site: &mut Site, fault: u64) -> Result<Evidence> {
        let wall = self.wall.clone();
        let mut wall = lock(&wall);
        let mut evidence = Evidence {
            void: Vec::new(),
            held: true,
            evidence: Vec::new(),
        };
        // An injection that failed half way may not have come to turning it.
        if wall.is_true() {
            let text = "the machine's clock was not turned";
            evidence.evidence.push(text.into());
        } else {
            let (before, _) = wall.look();
            evidence.evidence.push(format!("before: {}", shown(before)));
            let missed = wall.turn_back(fault);
            let missed = missed.map_err(doing("set the machine's clock right"))?;
            if !wall.is_true() {
                let (rest, from_wanted) = wall.look();
                let text = format!("{}, by what other faults do", shown(rest));
                evidence.evidence.push(text);
                evidence.held = from_wanted.is_near();
                return Ok(evidence);
            }
            evidence
                .evidence
                .push(format!("set right: {}", shown(missed)));
            evidence.held = missed.is_near();
            failpoint("wall:true");
            site.write(Record::Straight)?;
        }
        drop(wall);
        evidence.evidence.extend(self.resume_keepers(site)?);
        Ok(evidence)
    }

    /// Stops those who keep the clock right, if that has not been done yet.
    fn stop_keepers(&mut self, site: &mut Site) -> Result<Vec<String>> {
        if !lock(&self.wall).is_true() {
            return Ok(Vec::new());
        }
        let keepers = sync::find()?;
        if keepers.is_empty() {
            return Ok(vec!["nobody here keeps the clock right".into()]);
        }
        if !keepers.units.is_empty() {
            site.write(Record::Halting {
                units: keepers.units.clone(),
            })?;
        }
        if !keepers.pids.is_empty() {
            site.write(Record::Stopping {
                pids: keepers.pids.clone(),
            })?;
        }
        failpoint("wall:halting");
        // Remembered first: what could be stopped is set going again, whatever else fails.
        self.keepers = keepers.clone();
        sync::stop(&site.nursery, &keepers)?;
        let pids = keepers.pids.iter().map(ToString::to_string);
        let names: Vec<String> = keepers.units.iter().cloned().chain(pids).collect();
        Ok(vec![format!(
            "stopped, as it keeps the clock right: {}",
            names.join(", ")
        )])
    }

    fn resume_keepers(&mut self, site: &mut Site) -> Result<Vec<String>> {
        let keepers = self.keepers.clone();
        let deeds = sync::resume(&site.nursery, &keepers)?;
        if !keepers.units.is_empty() {
            site.write(Record::Restarted {
                units: keepers.units,
            })?;
        }
        if !keepers.pids.is_empty() {
            site.write(Record::Resumed { pids: keepers.pids })?;
        }
        self.keepers = Keepers::default();
        Ok(deeds)
    }
}

impl Mechanism for Turned {
    fn name(&self) -> &'static str {
        "clock"
    }

    fn offers(&self) -> Vec<&'static str> {
        vec!["set-clock"]
    }

    /// All but a freeze, which is a daemon that stands still: nothing of it can be seen in the
    /// machine's clock.
    fn takes(&self, kind: &Fault) -> bool {
        matches!(kind, Fault::Clock { how, .. } if !matches!(how, ClockFault::Freeze { .. }))
    }

    fn check(&mut self, site: &mut Site, kind: &Fault) -> Result<()> {
        match kind {
            Fault::Clock { daemon, .. } => site.daemon(daemon).map(drop),
            _ => Err(anothers(kind)),
        }
    }

    fn inject(&mut self, site: &mut Site, fault: u64, kind: &Fault) -> Result<Evidence> {
        match kind {
            Fault::Clock { how, .. } => self.turn(site, fault, how),
            _ => Err(anothers(kind)),
        }
    }

    fn heal(&mut self, site: &mut Site, fault: u64, _kind: &Fault) -> Result<Evidence> {
        self.turn_back(site, fault)
    }

    /// The truth in the node's place, and beyond it, for the daemon, what the machine's clock
    /// shows.
    fn correct(&self, clocks: &mut Clocks) {
        let wall = lock(&self.wall);
        let (true_ns, error_ns) = wall.true_ns();
        let (from_truth, _) = wall.look();
        clocks.realtime_ns = true_ns;
        let error_ns = error_ns.max(from_truth.error_ns).unsigned_abs();
        clocks.window_ns = clocks.window_ns.max(error_ns);
        if let Some((realtime, _)) = &mut clocks.daemon_offset_ns {
            *realtime = realtime.saturating_add(from_truth.ns);
        }
    }

    fn make_up(&mut self, site: &mut Site, lost_ns: i64) -> Option<Result<Evidence>> {
        Some(self.set_forward(site, lost_ns))
    }
}

/// A panic while it was held is a bug, but the clock must still be set right.
fn lock(wall: &Mutex<Wall>) -> MutexGuard<'_, Wall> {
    wall.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does something to the clock once in each period, in a thread, until it says that it is over.
fn again(
    wall: &Arc<Mutex<Wall>>,
    period: Duration,
    mut act: impl FnMut(&mut Wall, u64) -> bool + Send + 'static,
) -> Result<()> {
    let wall = wall.clone();
    let run = move || {
        let mut next = Instant::now() + period;
        for round in 0.. {
            thread::sleep(next.saturating_duration_since(Instant::now()));
            // A late thread does not hurry after what it has missed.
            next = (next + period).max(Instant::now());
            if !act(&mut lock(&wall), round) {
                return;
            }
        }
    };
    let thread = thread::Builder::new().name("wall".into());
    thread.spawn(run).map_err(doing("start a thread"))?;
    Ok(())
}

fn shown(offset: Offset) -> String {
    format!(
        "the machine's wall clock is off by {} ns (error {} ns) from the truth that its raw clock keeps",
        offset.ns, offset.error_ns
    )
}

/// Undoes what a dead agent's journal says of the machine's clock. Returns what was done.
pub(crate) fn recover(left: &Left, nursery: &Arc<Nursery>) -> Result<Vec<String>> {
    let mut deeds = Vec::new();
    if let Some((controller_boot, truth)) = &left.turned {
        // Asked again: a journal is a file, and files get copied.
        let mut kernel = Kernel::open(controller_boot).map_err(|why| {
            Error::Refused(format!("the machine's clock cannot be set right: {why}"))
        })?;
        let offset = truth
            .restore(&mut kernel)
            .map_err(doing("set the machine's clock right"))?;
        deeds.push(format!("set right: {}", shown(offset)));
    }
    let units = left.units.iter().cloned().collect();
    let keepers = Keepers {
        units,
        // They are among those that are resumed with the daemons.
        pids: Vec::new(),
    };
    deeds.extend(sync::resume(nursery, &keepers)?);
    Ok(deeds)
}
