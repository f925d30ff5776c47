//! What the harness itself has to say of a run, beside its faults: which part of the run begins,
//! that a daemon ended by itself, whether a node came back, what of the plan was never offered,
//! that the machine was late, that somebody stopped the run, what the nodes' clocks show.
//!
//! Each is one event of process `nemesis`, type `info`, and no operation:
//!
//! ```text
//! info f=clock    node=n1  {wall_ns 1795974397211520000, at_ns 3000000, within_ns 900000}
//! info f=phase             {phase "main", limit_ns 60000000000}        operations are offered from here on
//! info f=crash    node=n2  {daemon "paxos-kv", pid 12, status "signal 6", log [..]}
//! info f=phase             {phase "healing"}
//! info f=recovery node=n2  {served true, after_ns 800000000, allowed_ns 30000000000}
//! info f=phase             {phase "final"}
//! info f=phase             {phase "end"}
//! info f=offered           {due 6000, offered 5990, busy {n1 9}, late 1, workers 10}
//! info f=strain   node=n1  {span_ns 9000000000, processors 2, others_ns 400000000, ran_ns 7000000, waited_ns 90000}
//! info f=late              {fault 3, by_ns 4000000000}        what follows comes so much later
//! info f=stopped           {by "SIGTERM", phase "main", after_ns 5000000000, planned 5}
//! ```
//!
//! Histories that other tools wrote have none of them, and whoever reads marks must do without.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::offered::Offered;
use crate::{Event, History, Kind, Name, Process, Time, Value};

/// The parts of a run, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Operations are offered, and faults come and go.
    Main,
    /// What is left of the faults is taken back, and every node has its time to serve again.
    Healing,
    /// The last operations, and what the nodes hold.
    Final,
    /// Nothing more is asked.
    End,
}

/// The value of a `phase` event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begins {
    pub phase: Phase,
    /// How long the main phase is to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_ns: Option<u64>,
}

/// A daemon ended, and nobody told it to. The node is the event's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crash {
    pub daemon: String,
    /// None: it could not even be started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// `exit 1`, `signal 6`.
    pub status: String,
    /// The last lines of its log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
    /// The disk that the run is recorded on was full then, and the node writes onto it too, as
    /// those of a lab do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disk_full: bool,
}

/// Whether a node served again after everything was healed. The node is the event's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    pub served: bool,
    /// From the end of healing to the answer, or for how long it was waited.
    pub after_ns: u64,
    /// How long it was allowed to take.
    pub allowed_ns: u64,
    /// How the daemon was instead, and what else is known of why it did not serve.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// The last lines of its log, if it did not serve.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
    /// Its agent is gone, with its machine perhaps: nobody can see whether it serves.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unseen: bool,
}

/// Somebody ended the run early.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// `SIGINT`, `SIGTERM`, `SIGHUP`.
    pub by: String,
    /// The part of the run that was going on.
    pub phase: Phase,
    /// How long the main phase had gone on by then.
    pub after_ns: u64,
    /// Faults of the schedule.
    pub planned: u64,
    /// It was said twice: what comes after the main phase was left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub abandoned: bool,
}

/// The machine was late, and what is to come of the run was moved back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Late {
    /// The fault that was late.
    pub fault: u64,
    /// By how much everything after it comes later than in the schedule, in all.
    pub by_ns: u64,
}

/// What the wall clock of a node's machine showed, so that its logs can be put beside the history.
/// The node is the event's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// Since 1970.
    pub wall_ns: u64,
    /// When that was by the history's clock, give or take `within_ns`.
    pub at_ns: u64,
    pub within_ns: u64,
}

/// Whether a node's machine gave its daemon a processor when it wanted one, from the last heal to
/// the end of the run. The node is the event's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strain {
    pub span_ns: u64,
    /// Of the machine.
    pub processors: u32,
    /// How long they were busy with anything but the daemons of this run, added up.
    pub others_ns: u64,
    /// How long the threads of the node's daemon ran, added up.
    pub ran_ns: u64,
    /// How long they could have run and had no processor.
    pub waited_ns: u64,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    Phase(Begins),
    Crash(Name, Crash),
    Recovery(Name, Recovery),
    Stopped(Stopped),
    Offered(Offered),
    Late(Late),
    Clock(Name, Clock),
    Strain(Name, Strain),
}

/// A mark, where it stands in the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Index of its event.
    pub index: u64,
    pub time: Time,
    pub mark: Mark,
}

impl Mark {
    /// What its event is called.
    pub fn f(&self) -> Name {
        Name::new_static(match self {
            Mark::Phase(_) => "phase",
            Mark::Crash(..) => "crash",
            Mark::Recovery(..) => "recovery",
            Mark::Stopped(_) => "stopped",
            Mark::Offered(_) => "offered",
            Mark::Late(_) => "late",
            Mark::Clock(..) => "clock",
            Mark::Strain(..) => "strain",
        })
    }

    pub fn node(&self) -> Option<&Name> {
        match self {
            Mark::Crash(node, _)
            | Mark::Recovery(node, _)
            | Mark::Clock(node, _)
            | Mark::Strain(node, _) => Some(node),
            Mark::Phase(_) | Mark::Stopped(_) | Mark::Offered(_) | Mark::Late(_) => None,
        }
    }

    pub fn value(&self) -> Value {
        match self {
            Mark::Phase(begins) => Value::from_serde(begins),
            Mark::Crash(_, crash) => Value::from_serde(crash),
            Mark::Recovery(_, recovery) => Value::from_serde(recovery),
            Mark::Stopped(stopped) => Value::from_serde(stopped),
            Mark::Offered(offered) => Value::from_serde(offered),
            Mark::Late(late) => Value::from_serde(late),
            Mark::Clock(_, clock) => Value::from_serde(clock),
            Mark::Strain(_, strain) => Value::from_serde(strain),
        }
        .expect("marks have only text keys")
    }

    /// The mark that an event is; none if it is anything else.
    pub fn of(event: &Event) -> Option<Mark> {
        fn read<T: DeserializeOwned>(event: &Event) -> Option<T> {
            event.value.to_serde().ok()
        }
        if (event.process, event.kind) != (Process::Nemesis, Kind::Info) {
            return None;
        }
        match event.f.as_str() {
            "phase" => read(event).map(Mark::Phase),
            "crash" => Some(Mark::Crash(event.node.clone()?, read(event)?)),
            "recovery" => Some(Mark::Recovery(event.node.clone()?, read(event)?)),
            "stopped" => read(event).map(Mark::Stopped),
            "offered" => read(event).map(Mark::Offered),
            "late" => read(event).map(Mark::Late),
            "clock" => Some(Mark::Clock(event.node.clone()?, read(event)?)),
            "strain" => Some(Mark::Strain(event.node.clone()?, read(event)?)),
            _ => None,
        }
    }
}

/// Every mark of a history, in its order.
pub fn marks(history: &History) -> Vec<Placed> {
    let columns = history.columns();
    let nemesis = columns
        .rows()
        .filter(|row| row.process() == Process::Nemesis && row.kind() == Kind::Info);
    nemesis
        .filter_map(|row| {
            let event = columns.event(row);
            let mark = Mark::of(&event)?;
            Some(Placed {
                index: event.index,
                time: event.time,
                mark,
            })
        })
        .collect()
}

/// When a part of the run began; none if the history does not say.
pub fn began(marks: &[Placed], phase: Phase) -> Option<Time> {
    marks.iter().find_map(|placed| match &placed.mark {
        Mark::Phase(begins) if begins.phase == phase => Some(placed.time),
        _ => None,
    })
}

/// How long the main phase was to be.
pub fn limit(marks: &[Placed]) -> Option<Duration> {
    marks.iter().find_map(|placed| match &placed.mark {
        Mark::Phase(begins) => begins.limit_ns.map(Duration::from_nanos),
        _ => None,
    })
}

/// The main phase from its beginning to its end, which is the history's where nothing came after
/// it; none if the history does not say when it began.
pub fn main_phase(history: &History) -> Option<(Time, Time)> {
    let marks = marks(history);
    let from = began(&marks, Phase::Main)?;
    let after = [Phase::Healing, Phase::Final, Phase::End];
    let until = after.into_iter().filter_map(|p| began(&marks, p)).min();
    Some((from, until.unwrap_or_else(|| history.end())))
}

/// The last word of the phase that had a plan; none if the history does not tell.
pub fn offered(history: &History) -> Option<Offered> {
    let said = marks(history).into_iter().rev();
    said.map(|placed| placed.mark).find_map(|mark| match mark {
        Mark::Offered(offered) => Some(offered),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::foreign::{self, Format};
    use crate::{fault, jsonl};

    fn of_each_kind() -> Vec<Mark> {
        let phase = |phase, limit_ns| Mark::Phase(Begins { phase, limit_ns });
        let n2 = || Name::new_static("n2");
        vec![
            phase(Phase::Main, Some(60_000_000_000)),
            Mark::Crash(
                n2(),
                Crash {
                    daemon: "paxos-kv".into(),
                    pid: Some(12),
                    status: "signal 6".into(),
                    log: vec!["thread 'main' panicked: \"no\"".into(), "\u{1b}[0m".into()],
                    disk_full: true,
                },
            ),
            phase(Phase::Healing, None),
            Mark::Recovery(
                n2(),
                Recovery {
                    served: false,
                    after_ns: 30_000_000_001,
                    allowed_ns: 30_000_000_000,
                    why: "paxos-kv runs as pid 12, but does not serve".into(),
                    log: vec!["listening".into()],
                    unseen: false,
                },
            ),
            phase(Phase::Final, None),
            phase(Phase::End, None),
            Mark::Stopped(Stopped {
                by: "SIGTERM".into(),
                after_ns: 5_000_000_000,
                phase: Phase::Main,
                planned: 5,
                abandoned: false,
            }),
            Mark::Offered(Offered {
                due: 9,
                offered: 6,
                busy: [(n2(), 2)].into(),
                late: 1,
                workers: 4,
                first_process: 10,
            }),
            Mark::Late(Late {
                fault: 3,
                by_ns: 4_000_000_000,
            }),
            Mark::Clock(
                n2(),
                Clock {
                    wall_ns: 1_795_974_397_211_520_000,
                    at_ns: 3_000_000,
                    within_ns: 900_000,
                },
            ),
            Mark::Strain(
                n2(),
                Strain {
                    span_ns: 9_000_000_000,
                    processors: 2,
                    others_ns: 400_000_000,
                    ran_ns: 7_000_000,
                    waited_ns: 90_000,
                },
            ),
        ]
    }

    fn event(index: u64, process: Process, kind: Kind, f: &str, value: Value) -> Event {
        Event {
            index,
            time: Time(index * 1_000_000_000),
            process,
            kind,
            f: f.into(),
            value,
            error: None,
            node: None,
            version: None,
            due: None,
        }
    }

    /// One client's write goes on all the while: marks stand inside it.
    fn history(marks: &[Mark]) -> History {
        let client = |index, kind| event(index, Process::Client(0), kind, "write", Value::Int(1));
        let mut events = vec![client(0, Kind::Invoke)];
        for (index, mark) in (1..).zip(marks) {
            events.push(Event {
                node: mark.node().cloned(),
                ..event(index, Process::Nemesis, Kind::Info, &mark.f(), mark.value())
            });
        }
        events.push(client(events.len() as u64, Kind::Ok));
        History::new(events).unwrap()
    }

    #[test]
    fn what_is_written_is_read_back_and_is_neither_operation_nor_fault() {
        let written = of_each_kind();
        let history = history(&written);
        let read: Vec<Mark> = marks(&history).into_iter().map(|p| p.mark).collect();
        assert_eq!(read, written);
        assert_eq!(history.ops().len(), 1);
        assert_eq!(history.asked().count(), 1);
        assert_eq!(fault::spans(&history), []);
    }

    #[test]
    fn the_stored_forms_keep_them() {
        let history = history(&of_each_kind());
        let mut lines = Vec::new();
        jsonl::write(&mut lines, &history).unwrap();
        let stored = jsonl::read(lines.as_slice()).unwrap().history;
        assert_eq!(marks(&stored), marks(&history));
        let mut edn = Vec::new();
        foreign::write_edn(&history, &mut edn).unwrap();
        let again = foreign::read(Format::Edn, &edn[..]).unwrap();
        assert_eq!(marks(&again.history), marks(&history));
    }

    #[test]
    fn others_events_of_the_same_names_are_no_marks() {
        let main = || of_each_kind()[0].value();
        let others = [
            event(0, Process::Client(0), Kind::Invoke, "phase", main()),
            event(1, Process::Client(0), Kind::Info, "phase", main()),
            event(2, Process::Nemesis, Kind::Ok, "phase", main()),
            event(3, Process::Nemesis, Kind::Info, "phases", main()),
            event(
                4,
                Process::Nemesis,
                Kind::Info,
                "phase",
                Value::text("main"),
            ),
            // Whose crash, nobody says.
            event(
                5,
                Process::Nemesis,
                Kind::Info,
                "crash",
                of_each_kind()[1].value(),
            ),
        ];
        let history = History::new(others.to_vec()).unwrap();
        assert_eq!(marks(&history), []);
        assert_eq!(main_phase(&history), None);
    }

    #[test]
    fn the_main_phase_ends_where_the_next_part_begins() {
        let all = of_each_kind();
        assert_eq!(
            main_phase(&history(&all)),
            Some((Time(1_000_000_000), Time(3_000_000_000)))
        );
        // A controller that was killed in the midst of it.
        let cut = history(&all[..2]);
        assert_eq!(main_phase(&cut), Some((Time(1_000_000_000), cut.end())));
    }

    #[test]
    fn the_last_word_counts() {
        let said = |due| Offered {
            due,
            offered: due - 3,
            busy: BTreeMap::from([("n1".into(), 2)]),
            late: 1,
            workers: 4,
            first_process: 10,
        };
        let event = |(index, due)| Event {
            index,
            time: Time(index),
            process: Process::Nemesis,
            kind: Kind::Info,
            f: Mark::Offered(said(due)).f(),
            value: Mark::Offered(said(due)).value(),
            error: None,
            node: None,
            version: None,
            due: None,
        };
        let history = History::new((0..).zip([5, 9]).map(event).collect()).unwrap();
        let told = offered(&history).unwrap();
        assert_eq!(told, said(9));
        assert_eq!(
            (told.not_offered(), told.share_not_offered()),
            (3, 3.0 / 9.0)
        );
        assert_eq!(
            [9, 10, 13, 14, 22].map(|p| told.client(p)),
            [None, Some(0), Some(3), Some(0), Some(0)]
        );
        assert_eq!(offered(&History::default()), None);
    }
}
