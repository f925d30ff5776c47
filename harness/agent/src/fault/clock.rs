//! Clocks of a daemon's tree, turned through [`crate::clock`].
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
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

pub(crate) use super::dial::Dials;
use super::dial::{Dial, lock};
use super::pause;
use super::waits::{Moment, Waits};
use crate::clock::{self, Asked, Clock, ClockError, Line, Patch, Shift};
use crate::error::{Error, Result, doing};
use crate::journal::Record;
use crate::ledger::{Event, Ledger, failpoint};
use crate::protocol::{ClockFault, Clocks, Evidence, Fault};
use crate::tree::{self, Ident};

/// Shortest half of a strobe: below it the thread that turns would eat a core.
const PERIOD_MIN_US: u64 = 100;
/// Longest freeze: a day.
const FREEZE_MAX_MS: u64 = 86_400_000;
/// Processes of a tree that are asked for their time, for evidence.
const ASKED_MAX: usize = 8;

/// A daemon that stands still with its clocks.
#[derive(Debug)]
pub(crate) struct Frozen {
    pub(crate) daemon: String,
    since: Instant,
    pub(crate) until: Instant,
}

/// Refuses what cannot be, before anything is journalled.
pub(crate) fn check(ledger: &mut Ledger, name: &str, how: &ClockFault) -> Result<()> {
    ledger.daemon(name)?;
    if let Some(why) = &ledger.clock_trouble {
        return Err(Error::Refused(format!(
            "this node cannot turn clocks: {why}"
        )));
    }
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
    let mut dials = lock(&ledger.dials);
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
        ClockFault::Drift { ppb } => Line::IDENTITY.bent(*ppb, clock::now(Clock::Realtime)),
        ClockFault::Freeze { .. } => Line::IDENTITY,
    };
    Shift {
        realtime,
        ..Shift::IDENTITY
    }
}

/// Evidence: each process's own code is asked for the time.
pub(crate) fn inject(ledger: &mut Ledger, fault: u64, name: &str) -> Result<Evidence> {
    let Some(Fault::Clock { how, .. }) = ledger.faults.get(&fault).cloned() else {
        unreachable!("the ledger enters a fault before it applies it");
    };
    let old = {
        let mut dials = lock(&ledger.dials);
        let dial = dials.entry(name.to_owned()).or_default();
        let old = dial.sum();
        dial.turns.insert(fault, first_turn(&how));
        old
    };
    let troubles = cover(ledger, name)?;
    if let ClockFault::Freeze { pause_ms, .. } = how {
        let span = Duration::from_millis(pause_ms);
        return freeze(ledger, fault, name, span, troubles);
    }
    failpoint("clock:covered");
    begin_count(ledger, fault, name);
    let mut evidence = ask(ledger, name, troubles)?;
    if let ClockFault::Strobe {
        delta_ns,
        period_us,
    } = how
    {
        strobe(
            ledger,
            fault,
            name,
            delta_ns,
            Duration::from_micros(period_us),
        )?;
    } else {
        evidence
            .evidence
            .extend(follow(ledger, name, Moment::Turned(old))?);
    }
    Ok(evidence)
}

/// Sets those threads of the daemon that wait until a time to what that means by now. A strobe's are
/// left alone: by which of its two clocks they were begun nobody knows.
fn follow(ledger: &mut Ledger, name: &str, moment: Moment) -> Result<Vec<String>> {
    let members = ledger.daemon(name)?.members()?;
    let mut dials = lock(&ledger.dials);
    let Some(dial) = dials.get_mut(name) else {
        return Ok(Vec::new());
    };
    let now = dial.sum();
    Ok(dial.waits.follow(&members, &now, moment))
}

fn strobes(ledger: &Ledger, name: &str) -> bool {
    let strobe = |kind: &Fault| matches!(kind, Fault::Clock { daemon, how: ClockFault::Strobe { .. } } if daemon == name);
    !ledger.demanded(strobe).is_empty()
}

/// Takes the turn of this fault, which is no longer in the ledger, back.
pub(crate) fn heal(
    ledger: &mut Ledger,
    fault: u64,
    name: &str,
    how: &ClockFault,
) -> Result<Evidence> {
    let before = ask(ledger, name, Vec::new())?;
    let mut evidence: Vec<String> = before
        .evidence
        .iter()
        .map(|line| format!("before: {line}"))
        .collect();
    let (use_of, void) = count(ledger, fault, name, how);
    evidence.push(use_of);
    if ledger.frozen.contains_key(&fault) {
        evidence.push("the freeze was cut short".into());
        thaw(ledger, fault)?;
    }
    let mut old = Shift::IDENTITY;
    let mut waits = Waits::default();
    if let Some(dial) = lock(&ledger.dials).get_mut(name) {
        old = dial.sum();
        waits = std::mem::take(&mut dial.waits);
        let turn = dial.turns.remove(&fault);
        if let ClockFault::Freeze { kept: true, .. } = how {
            dial.kept.extend(turn);
            evidence.push("the lag is kept until everything is healed or a restart".into());
        }
    }
    let after = settle(ledger, name)?;
    evidence.extend(after.evidence);
    evidence.extend(release_waits(ledger, name, how, old, waits)?);
    Ok(Evidence {
        void,
        held: after.held,
        evidence,
    })
}

/// Sets those who wait until a time by the clock that was wrong to what that means; says who cannot be.
fn release_waits(
    ledger: &mut Ledger,
    name: &str,
    how: &ClockFault,
    old: Shift,
    mut waits: Waits,
) -> Result<Vec<String>> {
    /// For a thread that had looked at its clock before that was set right, and waits only now.
    const ON_ITS_WAY: Duration = Duration::from_millis(5);
    let members = ledger.daemon(name)?.members()?;
    let now = lock(&ledger.dials)
        .get(name)
        .map_or(Shift::IDENTITY, Dial::sum);
    if now == old && !matches!(how, ClockFault::Strobe { .. }) {
        return Ok(Vec::new());
    }
    // A strobe shows one of two clocks: whoever waits until late has looked at the one that is ahead.
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
    if let Some(dial) = lock(&ledger.dials).get_mut(name) {
        dial.waits = waits;
    }
    Ok(lines)
}

/// From now on the turn of this fault is what the daemon's programs are shown.
fn begin_count(ledger: &Ledger, fault: u64, name: &str) {
    if let Some(dial) = lock(&ledger.dials).get_mut(name) {
        let asked = dial.tally();
        dial.asked_at.insert(fault, asked);
    }
}

/// How often the daemon's programs read the clocks that this fault turns, while it turned them; and
/// if they never did, that the fault was nothing to them.
fn count(ledger: &Ledger, fault: u64, name: &str, how: &ClockFault) -> (String, Vec<String>) {
    let mut dials = lock(&ledger.dials);
    let counted = dials.get_mut(name).and_then(|dial| {
        let now = dial.tally();
        // A freeze that is not over has turned nothing yet.
        let begun = dial.asked_at.remove(&fault);
        dial.counts
            .then(|| begun.map_or(Asked::default(), |begun| now.since(begun)))
    });
    let Some(Asked {
        realtime,
        monotonic,
    }) = counted
    else {
        let text = format!("how often daemon {name:?} read its clocks is not known");
        return (text, Vec::new());
    };
    let (clock, asked, text) = match how {
        ClockFault::Freeze { .. } => (
            "its clocks while they lagged",
            realtime + monotonic,
            format!(
                "daemon {name:?} read its wall clock {realtime} times and its monotonic clock \
                 {monotonic} times while they lagged"
            ),
        ),
        ClockFault::Jump { .. } | ClockFault::Strobe { .. } | ClockFault::Drift { .. } => (
            "its wall clock while that was off",
            realtime,
            format!("daemon {name:?} read its wall clock {realtime} times while it was off"),
        ),
    };
    let never = || {
        format!(
            "daemon {name:?} never read {clock}: it did not look, or it asks the kernel and not its \
             vDSO"
        )
    };
    (text, (asked == 0).then(never).into_iter().collect())
}

/// Takes away what healed freezes have left.
pub(crate) fn forget_kept(ledger: &mut Ledger) -> Result<Vec<String>> {
    let mut deeds = Vec::new();
    let mut names = Vec::new();
    for (name, dial) in lock(&ledger.dials).iter_mut() {
        if !std::mem::take(&mut dial.kept).is_empty() {
            names.push(name.clone());
        }
    }
    for name in names {
        let evidence = settle(ledger, &name)?.evidence;
        deeds.extend(evidence.into_iter().map(|line| format!("kept lag: {line}")));
    }
    Ok(deeds)
}

/// Whether some daemon's clocks lag although no fault says so.
pub(crate) fn lags(ledger: &Ledger) -> bool {
    lock(&ledger.dials)
        .values()
        .any(|dial| !dial.kept.is_empty())
}

/// What a daemon that is about to start must be shown; its last life's kept lag is gone.
pub(crate) fn for_start(ledger: &Ledger, name: &str) -> Option<Shift> {
    let mut dials = lock(&ledger.dials);
    let dial = dials.get_mut(name)?;
    dial.kept.clear();
    dial.patches.clear();
    (!dial.turns.is_empty()).then(|| dial.sum())
}

/// The patch of a process that was started with it.
pub(crate) fn started(ledger: &mut Ledger, name: &str, root: Ident, patch: Patch) -> Result<()> {
    ledger.write(Record::Shifting { pids: vec![root] })?;
    let mut dials = lock(&ledger.dials);
    dials.entry(name.to_owned()).or_default().enter(root, patch);
    Ok(())
}

/// What must be done while faults last: processes that are new are covered, freezes end.
pub(crate) fn tick(ledger: &mut Ledger) -> Vec<String> {
    let mut troubles = Vec::new();
    let now = Instant::now();
    let over = ledger
        .frozen
        .iter()
        .filter(|(_, frozen)| frozen.until <= now);
    let over: Vec<u64> = over.map(|(fault, _)| *fault).collect();
    for fault in over {
        if let Err(error) = thaw(ledger, fault) {
            troubles.push(format!("cannot end the freeze of fault {fault}: {error}"));
        }
    }
    let dials = lock(&ledger.dials);
    let turned = dials.iter().filter(|(_, dial)| !dial.idle());
    let names: Vec<String> = turned.map(|(name, _)| name.clone()).collect();
    drop(dials);
    for name in names {
        match cover(ledger, &name) {
            Ok(more) => troubles.extend(more),
            Err(error) => troubles.push(error.to_string()),
        }
        let due = lock(&ledger.dials)
            .get(&name)
            .is_some_and(|dial| dial.waits.due());
        // What it does and cannot do is said when the fault is taken back.
        if due
            && !strobes(ledger, &name)
            && let Err(error) = follow(ledger, &name, Moment::Later)
        {
            troubles.push(error.to_string());
        }
    }
    troubles
}

/// When [`tick`] must be called next, if anything is to be looked after.
pub(crate) fn next_tick(ledger: &Ledger) -> Option<Instant> {
    const SCAN: Duration = Duration::from_millis(20);
    let turned = lock(&ledger.dials).values().any(|dial| !dial.idle());
    let ends = ledger.frozen.values().map(|frozen| frozen.until);
    ends.chain(turned.then(|| Instant::now() + SCAN)).min()
}

/// Shows every process of the tree the sum. Returns what could not be done.
fn cover(ledger: &mut Ledger, name: &str) -> Result<Vec<String>> {
    let members = ledger.daemon(name)?.members()?;
    let bare: Vec<Ident> = {
        let mut dials = lock(&ledger.dials);
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
    ledger.write(Record::Shifting { pids: bare.clone() })?;
    failpoint("clock:shifting");
    let mut troubles = Vec::new();
    for ident in bare {
        let mut dials = lock(&ledger.dials);
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
fn settle(ledger: &mut Ledger, name: &str) -> Result<Evidence> {
    // Children that were forked since the last look carry the patch too.
    let members = ledger.daemon(name)?.members()?;
    let idle = lock(&ledger.dials).get(name).is_none_or(Dial::idle);
    if !idle && !members.is_empty() {
        let troubles = cover(ledger, name)?;
        return ask(ledger, name, troubles);
    }
    let mut dials = lock(&ledger.dials);
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
pub(crate) fn remove(ident: Ident) -> Result<String, ClockError> {
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

/// Asks the processes for the time, and compares with what they are meant to show.
fn ask(ledger: &mut Ledger, name: &str, troubles: Vec<String>) -> Result<Evidence> {
    let dials = lock(&ledger.dials);
    let Some(dial) = dials.get(name).filter(|dial| !dial.patches.is_empty()) else {
        let mut evidence = troubles;
        evidence.push(format!(
            "daemon {name:?} has no process whose clocks are turned"
        ));
        return Ok(Evidence {
            void: Vec::new(),
            held: false,
            evidence,
        });
    };
    let wanted = dial.sum();
    let mut evidence = Evidence {
        void: Vec::new(),
        held: troubles.is_empty(),
        evidence: troubles,
    };
    for (ident, patch) in dial.patches.iter().take(ASKED_MAX) {
        let (held, line) = match look(patch, &wanted) {
            Ok(seen) => seen,
            Err(ClockError::Gone { .. }) => continue,
            Err(error) => (false, error.to_string()),
        };
        evidence.held &= held;
        evidence.evidence.push(format!("{ident}: {line}"));
    }
    Ok(evidence)
}

/// Two looks at one process: its memory, and what its code says when it is run.
fn look(patch: &Patch, wanted: &Shift) -> Result<(bool, String), ClockError> {
    let written = patch.get()? == *wanted && patch.in_force()?;
    let mut said = Vec::new();
    let mut agrees = true;
    for (clock, name) in [
        (Clock::Realtime, "realtime"),
        (Clock::Monotonic, "monotonic"),
    ] {
        let reading = match patch.ask(clock) {
            Ok(reading) => reading,
            Err(ClockError::Stopped { .. }) => {
                let text = "it is stopped and cannot be asked; its memory";
                let shown = if written { "holds" } else { "does not hold" };
                return Ok((written, format!("{text} {shown} the shift")));
            }
            Err(error) => return Err(error),
        };
        let line = wanted.line(clock);
        // No line runs backwards, so the answer lies between what it shows before and after.
        let span = line.show(reading.before_ns)..=line.show(reading.after_ns);
        agrees &= span.contains(&reading.shown_ns);
        said.push(format!(
            "{name} off by {} ns (error {} ns)",
            reading.lie_ns(),
            reading.error_ns()
        ));
    }
    let said = said.join(", ");
    Ok((
        written && agrees,
        match (written, agrees) {
            (true, true) => format!("its code says {said}"),
            (_, false) => format!("its code says {said}, which is not what was set"),
            (false, _) => format!("its code says {said}, but its memory is not as written"),
        },
    ))
}

/// Stops the tree; [`tick`] ends it.
fn freeze(
    ledger: &mut Ledger,
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
    ledger.frozen.insert(fault, frozen(now));
    let mut evidence = pause::inject(ledger, name)?;
    // Counted from when all stand still: were it from before, time would seem to run backwards.
    ledger.frozen.insert(fault, frozen(Instant::now()));
    ledger.wake(Event::Look);
    evidence.held &= troubles.is_empty();
    evidence.evidence.extend(troubles);
    Ok(evidence)
}

/// Lets a frozen tree run on with clocks that lag: by the whole span, or if it is cut short by what
/// there was of it.
fn thaw(ledger: &mut Ledger, fault: u64) -> Result<()> {
    let Some(frozen) = ledger.frozen.remove(&fault) else {
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
    if let Some(dial) = lock(&ledger.dials).get_mut(name) {
        old = dial.sum();
        if let Some(turn) = dial.turns.get_mut(&fault) {
            *turn = shift;
        }
    }
    // A process that was started meanwhile has no patch yet.
    cover(ledger, name)?;
    begin_count(ledger, fault, name);
    // While they stand still: a machine that is suspended waits no time either.
    follow(ledger, name, Moment::Turned(old))?;
    failpoint("clock:thawing");
    if pause::stoppers(ledger, name).is_empty() {
        pause::release(ledger, name)?;
    }
    Ok(())
}

/// Puts a turn on and off, in a thread that ends when the turn is gone.
fn strobe(ledger: &Ledger, fault: u64, name: &str, delta_ns: i64, period: Duration) -> Result<()> {
    let dials = ledger.dials.clone();
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

/// Reads both of the node's clocks close together, the wall clock between two looks at the other,
/// and asks a daemon's root process for its own.
pub(crate) fn read(ledger: &mut Ledger, daemon: Option<&str>) -> Result<Clocks> {
    let mut window_ns = 0;
    let mut daemon_offset_ns = None;
    if let Some(name) = daemon {
        let root = ledger.daemon(name)?.root;
        let dials = lock(&ledger.dials);
        let patch = root.and_then(|root| dials.get(name)?.patches.get(&root));
        daemon_offset_ns = match (root, patch) {
            (None, _) => None,
            // Without a patch it is shown what everybody is.
            (Some(_), None) => Some((0, 0)),
            (Some(_), Some(patch)) => {
                let (offsets, error_ns) = offsets(patch)?;
                window_ns = error_ns;
                Some(offsets)
            }
        };
    }
    let ns = |clock| {
        let now = clock_gettime(clock);
        now.tv_sec * 1_000_000_000 + now.tv_nsec
    };
    let before = ns(ClockId::Monotonic);
    let realtime_ns = ns(ClockId::Realtime);
    let after = ns(ClockId::Monotonic);
    let mut clocks = Clocks {
        monotonic_ns: before.unsigned_abs(),
        realtime_ns,
        window_ns: window_ns.max((after - before).unsigned_abs()),
        daemon_offset_ns,
    };
    super::wall::read(ledger, &mut clocks);
    Ok(clocks)
}

/// How far a process's clocks are off, realtime and monotonic, and with what error. One that is
/// stopped cannot be asked: then what its memory says it would answer.
fn offsets(patch: &Patch) -> Result<((i64, i64), u64)> {
    let asked = patch.ask(Clock::Realtime).and_then(|realtime| {
        let monotonic = patch.ask(Clock::Monotonic)?;
        let error_ns = realtime.error_ns().max(monotonic.error_ns());
        Ok((
            (realtime.lie_ns(), monotonic.lie_ns()),
            error_ns.unsigned_abs(),
        ))
    });
    match asked {
        Err(ClockError::Stopped { .. }) => {
            let shift = patch.get().map_err(Error::Clock)?;
            let off = |clock| {
                let now = clock::now(clock);
                shift.line(clock).show(now) - now
            };
            Ok(((off(Clock::Realtime), off(Clock::Monotonic)), 0))
        }
        other => other.map_err(Error::Clock),
    }
}
