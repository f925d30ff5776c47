//! Clocks of a daemon's tree, turned through [`crate::vdso`].
//!
//! Each fault is a *turn*: a line for each of the two clocks, added to the truth. What a daemon is
//! shown is the sum of its turns, written into every process of its tree: at injection, every 20 ms
//! into those that are new or have lost it by `exec`, and into one that the agent starts before its
//! first instruction. When the last turn is taken back, so is the patch.
//!
//! ```text
//!   jump    realtime off by a constant
//!   strobe  the same, put on and off by a thread
//!   drift   realtime at another rate since the injection
//!   freeze  SIGSTOP; after the span both clocks off by minus the span, and only then SIGCONT
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::dial::{Dial, lock};
use super::looks::{ask, begin_count, count};
use super::pause;
use super::waits::{Moment, Waits};
use crate::error::{Error, Result, doing};
use crate::journal::{Left, Record};
use crate::mechanism::{Mechanism, anothers};
use crate::nursery::Nursery;
use crate::protocol::{ClockFault, Evidence, Fault};
use crate::site::{Event, Frozen, Site, failpoint};
use crate::tree::{self, Ident};
use crate::vdso::{self, Clock, ClockError, Line, Patch, Shift};

/// Shortest half of a strobe: below it the thread that turns would eat a core.
const PERIOD_MIN_US: u64 = 100;
/// Longest freeze: a day.
const FREEZE_MAX_MS: u64 = 86_400_000;
pub(crate) struct Vdso {
    /// Why clocks cannot be turned; none: they can.
    trouble: Option<String>,
    /// Whether all but freezes is the machine's own clock's business.
    only_freezes: bool,
}

impl Vdso {
    pub fn probe(only_freezes: bool) -> Vdso {
        Vdso {
            only_freezes,
            trouble: vdso::support().err().map(|error| error.to_string()),
        }
    }
}

impl Mechanism for Vdso {
    fn name(&self) -> &'static str {
        "clock"
    }

    fn offers(&self) -> Vec<&'static str> {
        self.trouble
            .is_none()
            .then_some("vdso")
            .into_iter()
            .collect()
    }

    fn takes(&self, kind: &Fault) -> bool {
        match kind {
            Fault::Clock { how, .. } => {
                !self.only_freezes || matches!(how, ClockFault::Freeze { .. })
            }
            _ => false,
        }
    }

    fn check(&mut self, site: &mut Site, kind: &Fault) -> Result<()> {
        let Fault::Clock { daemon, how } = kind else {
            return Err(anothers(kind));
        };
        site.daemon(daemon)?;
        match &self.trouble {
            None => possible(site, daemon, how),
            Some(why) => Err(Error::Refused(format!(
                "this node cannot turn clocks: {why}"
            ))),
        }
    }

    fn inject(&mut self, site: &mut Site, fault: u64, kind: &Fault) -> Result<Evidence> {
        match kind {
            Fault::Clock { daemon, how } => inject(site, fault, daemon, how),
            _ => Err(anothers(kind)),
        }
    }

    fn heal(&mut self, site: &mut Site, fault: u64, kind: &Fault) -> Result<Evidence> {
        match kind {
            Fault::Clock { daemon, how } => heal(site, fault, daemon, how),
            _ => Err(anothers(kind)),
        }
    }

    /// The lag of freezes that are never made up.
    fn leaves(&self, site: &Site) -> bool {
        let dials = lock(&site.dials);
        dials.values().any(|dial| !dial.kept.is_empty())
    }

    fn forget(&mut self, site: &mut Site) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for (name, dial) in lock(&site.dials).iter_mut() {
            if !std::mem::take(&mut dial.kept).is_empty() {
                names.push(name.clone());
            }
        }
        let mut deeds = Vec::new();
        for name in names {
            let evidence = settle(site, &name)?.evidence;
            deeds.extend(evidence.into_iter().map(|line| format!("kept lag: {line}")));
        }
        Ok(deeds)
    }

    fn tick(&mut self, site: &mut Site) -> Vec<String> {
        tick(site)
    }

    fn next_tick(&self, site: &Site) -> Option<Instant> {
        next_tick(site)
    }
}

/// Gives what is left of a dead agent's daemons their own clocks back.
pub(crate) fn recover(left: &Left, _: &Arc<Nursery>) -> Result<Vec<String>> {
    let mut deeds = Vec::new();
    for ident in &left.shifted {
        match remove(*ident) {
            Ok(deed) => deeds.push(deed),
            Err(ClockError::Gone { .. }) => {}
            // Most likely it is no descendant and may not be touched; it was killed before.
            Err(error) => deeds.push(format!("cannot set its clocks right: {error}")),
        }
    }
    Ok(deeds)
}

/// Refuses what cannot be, before anything is journalled.
fn possible(site: &mut Site, name: &str, how: &ClockFault) -> Result<()> {
    match how {
        ClockFault::Strobe { period_us, .. } if *period_us < PERIOD_MIN_US => {
            return Err(Error::Refused(format!(
                "a strobe of {period_us} us is too fast (at least {PERIOD_MIN_US} us)"
            )));
        }
        ClockFault::Freeze { pause_ms, .. } if *pause_ms > FREEZE_MAX_MS => {
            return Err(Error::Refused(format!(
                "a freeze of {pause_ms} ms is too long (at most {FREEZE_MAX_MS} ms)"
            )));
        }
        _ => {}
    }
    let mut dials = lock(&site.dials);
    let dial = dials.entry(name.to_owned()).or_default();
    // Tried out on the sum, because that is what must fit into the arithmetic.
    const TRIAL: u64 = u64::MAX;
    dial.turns.insert(TRIAL, first_turn(how));
    let fits = dial.sum().check();
    dial.turns.remove(&TRIAL);
    fits.map_err(|error| Error::Refused(error.to_string()))
}

/// What a fault adds when it is injected.
fn first_turn(how: &ClockFault) -> Shift {
    let realtime = match how {
        ClockFault::Jump { delta_ns } | ClockFault::Strobe { delta_ns, .. } => {
            Line::offset(*delta_ns)
        }
        ClockFault::Drift { ppb } => Line::IDENTITY.bent(*ppb, vdso::now(Clock::Realtime)),
        ClockFault::Freeze { .. } => Line::IDENTITY,
    };
    Shift {
        realtime,
        ..Shift::IDENTITY
    }
}

/// Evidence: each process's own code is asked for the time.
fn inject(site: &mut Site, fault: u64, name: &str, how: &ClockFault) -> Result<Evidence> {
    let old = {
        let mut dials = lock(&site.dials);
        let dial = dials.entry(name.to_owned()).or_default();
        let old = dial.sum();
        dial.turns.insert(fault, first_turn(how));
        old
    };
    let troubles = cover(site, name)?;
    if let ClockFault::Freeze { pause_ms, .. } = how {
        let span = Duration::from_millis(*pause_ms);
        return freeze(site, fault, name, span, troubles);
    }
    failpoint("clock:covered");
    begin_count(site, fault, name);
    let mut evidence = ask(site, name, troubles)?;
    if let ClockFault::Strobe {
        delta_ns,
        period_us,
    } = how
    {
        strobe(
            site,
            fault,
            name,
            *delta_ns,
            Duration::from_micros(*period_us),
        )?;
    } else {
        evidence
            .evidence
            .extend(follow(site, name, Moment::Turned(old))?);
    }
    Ok(evidence)
}

/// Sets those threads of the daemon that wait until a time to what that means by now. A strobe's
/// are left alone: by which of its two clocks they were begun nobody knows.
fn follow(site: &mut Site, name: &str, moment: Moment) -> Result<Vec<String>> {
    let members = site.daemon(name)?.members()?;
    let mut dials = lock(&site.dials);
    let Some(dial) = dials.get_mut(name) else {
        return Ok(Vec::new());
    };
    let now = dial.sum();
    Ok(dial.waits.follow(&members, &now, moment))
}

fn strobes(site: &Site, name: &str) -> bool {
    let strobe = |kind: &Fault| matches!(kind, Fault::Clock { daemon, how: ClockFault::Strobe { .. } } if daemon == name);
    !site.demanded(strobe).is_empty()
}

/// Takes the turn of this fault, which is no longer in the site, back.
fn heal(site: &mut Site, fault: u64, name: &str, how: &ClockFault) -> Result<Evidence> {
    let before = ask(site, name, Vec::new())?;
    let mut evidence: Vec<String> = before
        .evidence
        .iter()
        .map(|line| format!("before: {line}"))
        .collect();
    let (use_of, void) = count(site, fault, name, how);
    evidence.push(use_of);
    if site.frozen.contains_key(&fault) {
        evidence.push("the freeze was cut short".into());
        thaw(site, fault)?;
    }
    let mut old = Shift::IDENTITY;
    let mut waits = Waits::default();
    if let Some(dial) = lock(&site.dials).get_mut(name) {
        old = dial.sum();
        waits = std::mem::take(&mut dial.waits);
        let turn = dial.turns.remove(&fault);
        if let ClockFault::Freeze { kept: true, .. } = how {
            dial.kept.extend(turn);
            evidence.push("the lag is kept until everything is healed or a restart".into());
        }
    }
    let after = settle(site, name)?;
    evidence.extend(after.evidence);
    evidence.extend(release_waits(site, name, how, old, waits)?);
    Ok(Evidence {
        void,
        held: after.held,
        evidence,
    })
}

/// Sets those who wait until a time by the clock that was wrong to what that means; says who cannot
/// be.
fn release_waits(
    site: &mut Site,
    name: &str,
    how: &ClockFault,
    old: Shift,
    mut waits: Waits,
) -> Result<Vec<String>> {
    /// For a thread that had looked at its clock before that was set right, and waits only now.
    const ON_ITS_WAY: Duration = Duration::from_millis(5);
    let members = site.daemon(name)?.members()?;
    let now = lock(&site.dials)
        .get(name)
        .map_or(Shift::IDENTITY, Dial::sum);
    if now == old && !matches!(how, ClockFault::Strobe { .. }) {
        return Ok(Vec::new());
    }
    // A strobe shows one of two clocks: whoever waits until late has looked at the one that is
    // ahead.
    let old = match how {
        ClockFault::Strobe { delta_ns, .. } => Shift {
            realtime: Line::offset(*delta_ns),
            ..Shift::IDENTITY
        },
        _ => old,
    };
    let mut lines = waits.follow(&members, &now, Moment::Healed(old));
    thread::sleep(ON_ITS_WAY);
    lines.extend(waits.follow(&members, &now, Moment::Healed(old)));
    lines.extend(Waits::timers(&members, &old));
    if let Some(dial) = lock(&site.dials).get_mut(name) {
        dial.waits = waits;
    }
    Ok(lines)
}

/// What must be done while faults last: processes that are new are covered, freezes end.
fn tick(site: &mut Site) -> Vec<String> {
    let mut troubles = Vec::new();
    let now = Instant::now();
    let over = site.frozen.iter().filter(|(_, frozen)| frozen.until <= now);
    let over: Vec<u64> = over.map(|(fault, _)| *fault).collect();
    for fault in over {
        if let Err(error) = thaw(site, fault) {
            troubles.push(format!("cannot end the freeze of fault {fault}: {error}"));
        }
    }
    let dials = lock(&site.dials);
    let turned = dials.iter().filter(|(_, dial)| !dial.idle());
    let names: Vec<String> = turned.map(|(name, _)| name.clone()).collect();
    drop(dials);
    for name in names {
        match cover(site, &name) {
            Ok(more) => troubles.extend(more),
            Err(error) => troubles.push(error.to_string()),
        }
        let due = lock(&site.dials)
            .get(&name)
            .is_some_and(|dial| dial.waits.due());
        // What it does and cannot do is said when the fault is taken back.
        if due
            && !strobes(site, &name)
            && let Err(error) = follow(site, &name, Moment::Later)
        {
            troubles.push(error.to_string());
        }
    }
    troubles
}

/// When [`tick`] must be called next, if anything is to be looked after.
fn next_tick(site: &Site) -> Option<Instant> {
    const SCAN: Duration = Duration::from_millis(20);
    let turned = lock(&site.dials).values().any(|dial| !dial.idle());
    let ends = site.frozen.values().map(|frozen| frozen.until);
    ends.chain(turned.then(|| Instant::now() + SCAN)).min()
}

/// Shows every process of the tree the sum. Returns what could not be done.
fn cover(site: &mut Site, name: &str) -> Result<Vec<String>> {
    let members = site.daemon(name)?.members()?;
    let bare: Vec<Ident> = {
        let mut dials = lock(&site.dials);
        let dial = dials.entry(name.to_owned()).or_default();
        // An exec leaves the process without its patch, and the hold on it without a process.
        dial.patches
            .retain(|ident, patch| members.contains(ident) && patch.get().is_ok());
        dial.turn();
        dial.tally();
        let patched: BTreeSet<Ident> = dial.patches.keys().copied().collect();
        members
            .into_iter()
            .filter(|id| !patched.contains(id))
            .collect()
    };
    if bare.is_empty() {
        return Ok(Vec::new());
    }
    site.write(Record::Shifting { pids: bare.clone() })?;
    failpoint("clock:shifting");
    let mut troubles = Vec::new();
    for ident in bare {
        let mut dials = lock(&site.dials);
        let dial = dials.entry(name.to_owned()).or_default();
        let shift = dial.sum();
        let patched = Patch::install(ident.pid).and_then(|patch| {
            patch.set(&shift)?;
            Ok(patch)
        });
        match patched {
            Ok(patch) => dial.enter(ident, patch),
            Err(ClockError::Gone { .. }) => {}
            Err(error) => troubles.push(format!("not covered: {error}")),
        }
        drop(dials);
        failpoint("clock:half");
    }
    Ok(troubles)
}

/// Brings the tree in line after a turn was taken back: shows the sum of the rest, or takes the
/// patches away.
fn settle(site: &mut Site, name: &str) -> Result<Evidence> {
    // Children that were forked since the last look carry the patch too.
    let members = site.daemon(name)?.members()?;
    let idle = lock(&site.dials).get(name).is_none_or(Dial::idle);
    if !idle && !members.is_empty() {
        let troubles = cover(site, name)?;
        return ask(site, name, troubles);
    }
    let mut dials = lock(&site.dials);
    if idle {
        dials.remove(name);
    }
    let mut evidence = Evidence {
        void: Vec::new(),
        held: true,
        evidence: Vec::new(),
    };
    for ident in members {
        match remove(ident) {
            Ok(text) => evidence.evidence.push(text),
            Err(ClockError::Gone { .. }) => {}
            Err(error) => {
                evidence.held = false;
                evidence.evidence.push(error.to_string());
            }
        }
    }
    if evidence.evidence.is_empty() {
        evidence.evidence.push(format!(
            "no process of daemon {name:?} is there to be set right"
        ));
    }
    Ok(evidence)
}

/// Gives a process its own vDSO back, whoever patched it.
fn remove(ident: Ident) -> Result<String, ClockError> {
    if !tree::alive(ident) {
        return Err(ClockError::Gone { pid: ident.pid });
    }
    // It finds the patch that is there.
    let patch = Patch::install(ident.pid)?;
    patch.set(&Shift::IDENTITY)?;
    let removal = patch.remove()?;
    Ok(match patch.in_force() {
        Ok(true) => format!("{ident}: the patch is still in its memory ({removal})"),
        _ => format!("{ident}: clocks true, patch removed ({removal})"),
    })
}

/// Stops the tree; [`tick`] ends it.
fn freeze(
    site: &mut Site,
    fault: u64,
    name: &str,
    span: Duration,
    troubles: Vec<String>,
) -> Result<Evidence> {
    let now = Instant::now();
    let frozen = |since: Instant| Frozen {
        daemon: name.to_owned(),
        since,
        until: since + span,
    };
    site.frozen.insert(fault, frozen(now));
    let mut evidence = pause::inject(site, name)?;
    // Counted from when all stand still: were it from before, time would seem to run backwards.
    site.frozen.insert(fault, frozen(Instant::now()));
    site.wake(Event::Look);
    evidence.held &= troubles.is_empty();
    evidence.evidence.extend(troubles);
    Ok(evidence)
}

/// Lets a frozen tree run on with clocks that lag: by the whole span, or if it is cut short by what
/// there was of it.
fn thaw(site: &mut Site, fault: u64) -> Result<()> {
    let Some(frozen) = site.frozen.remove(&fault) else {
        return Ok(());
    };
    let stood = Instant::now().min(frozen.until) - frozen.since;
    let lag_ns = i64::try_from(stood.as_nanos()).unwrap_or(i64::MAX);
    let lag = Line::offset(-lag_ns);
    let shift = Shift {
        realtime: lag,
        monotonic: lag,
    };
    let name = &frozen.daemon;
    let mut old = Shift::IDENTITY;
    if let Some(dial) = lock(&site.dials).get_mut(name) {
        old = dial.sum();
        if let Some(turn) = dial.turns.get_mut(&fault) {
            *turn = shift;
        }
    }
    // A process that was started meanwhile has no patch yet.
    cover(site, name)?;
    begin_count(site, fault, name);
    // While they stand still: a machine that is suspended waits no time either.
    follow(site, name, Moment::Turned(old))?;
    failpoint("clock:thawing");
    if site.stoppers(name).is_empty() {
        site.release(name)?;
    }
    Ok(())
}

/// Puts a turn on and off, in a thread that ends when the turn is gone.
fn strobe(site: &Site, fault: u64, name: &str, delta_ns: i64, period: Duration) -> Result<()> {
    let dials = site.dials.clone();
    let name = name.to_owned();
    let run = move || {
        let mut next = Instant::now() + period;
        let mut on = true;
        loop {
            thread::sleep(next.saturating_duration_since(Instant::now()));
            // A late thread does not hurry after what it has missed.
            next = (next + period).max(Instant::now());
            on = !on;
            let mut dials = lock(&dials);
            let Some(dial) = dials.get_mut(&name) else {
                return;
            };
            let Some(turn) = dial.turns.get_mut(&fault) else {
                return;
            };
            turn.realtime = Line::offset(if on { delta_ns } else { 0 });
            dial.turn();
        }
    };
    let thread = thread::Builder::new().name("strobe".into());
    thread.spawn(run).map_err(doing("start a thread"))?;
    Ok(())
}
