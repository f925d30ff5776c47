//! The safety-relevant events of a node, one JSON line each, for whoever judges it.
//!
//! The times are those of the kernel's monotonic clock, fetched by a direct system call. The
//! ordinary way goes through the vDSO, which a harness may have shifted for this process; the
//! node's own timers are meant to feel that, this record is not.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use serde_json::json;

use crate::core::Event;
use crate::core::message::Ballot;

/// The file that events go to. Each batch of events is one `write`, so that a killed process loses
/// nothing that it had begun to act upon.
pub struct Trace {
    file: File,
    node: String,
    names: Vec<String>,
    buffer: Vec<u8>,
    /// The last lease that was told: its ballot, start and end.
    lease: Option<(Ballot, u64, u64)>,
}

impl Trace {
    /// Opens the file for appending.
    ///
    /// # Errors
    /// The operating system's.
    pub fn open(path: &Path, node: &str, names: &[String]) -> io::Result<Trace> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Trace {
            file,
            node: node.to_owned(),
            names: names.to_vec(),
            buffer: Vec::new(),
            lease: None,
        })
    }

    /// Adds an event of a step that began at `now`, by the kernel's clock. The next
    /// [`Trace::flush`] writes it.
    ///
    /// The process may be stopped between the step and this call. Were the time taken here, a lease
    /// that was checked and used before the stop would seem to have been used after it.
    pub fn push(&mut self, event: &Event, now: u64) {
        let ballot_json = |ballot: &Ballot| ballot_json(*ballot, &self.names);
        let mut line = match event {
            Event::Start {
                promised,
                accepted,
                decided,
                last,
            } => json!({
                "event": "start", "ballot": ballot_json(promised), "accepted_upto": accepted, "decided_upto": decided,
                "digest": last.map(|digest| digest.to_string()),
            }),
            Event::Promise { ballot } => json!({"event": "promise", "ballot": ballot_json(ballot)}),
            Event::Accept {
                slot,
                ballot,
                digest,
            } => json!({
                "event": "accept", "slot": slot, "ballot": ballot_json(ballot), "digest": digest.to_string(),
            }),
            Event::Lead { ballot } => json!({"event": "lead", "ballot": ballot_json(ballot)}),
            Event::Lease { ballot, age, left } => {
                let from = now.saturating_sub(age.as_nanos() as u64);
                let until = now.saturating_add(left.as_nanos() as u64);
                self.lease = Some((*ballot, from, until));
                json!({"event": "lease", "ballot": ballot_json(ballot), "from_ns": from, "until_ns": until})
            }
            Event::LeaseUsed { ballot } => {
                // Only news if the lease is used for longer than was told.
                let told = self.lease.filter(|(known, ..)| known == ballot);
                let (_, from, until) = told.unwrap_or((*ballot, now, 0));
                if now <= until {
                    return;
                }
                self.lease = Some((*ballot, from, now));
                json!({"event": "lease", "ballot": ballot_json(ballot), "from_ns": from, "until_ns": now})
            }
            Event::Decide {
                slot,
                ballot,
                digest,
            } => json!({
                "event": "decide", "slot": slot, "ballot": ballot_json(ballot), "digest": digest.to_string(),
            }),
            Event::StepDown { ballot } => {
                json!({"event": "step-down", "ballot": ballot_json(ballot)})
            }
        };
        line["t_ns"] = now.into();
        line["node"] = self.node.clone().into();
        // Writing to memory cannot fail.
        let _ = writeln!(self.buffer, "{line}");
    }

    /// Writes what was added.
    ///
    /// # Errors
    /// The operating system's.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

/// `[round, "name"]`; the ballot before all others has no owner.
pub fn ballot_json(ballot: Ballot, names: &[String]) -> serde_json::Value {
    let name = if ballot.round == 0 {
        ""
    } else {
        names
            .get(usize::from(ballot.node))
            .map_or("", String::as_str)
    };
    json!([ballot.round, name])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn events_are_lines_in_the_order_they_were_pushed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace");
        let names = ["n1".to_owned(), "n2".to_owned()];
        let mut trace = Trace::open(&path, "n2", &names).unwrap();
        let promise = Event::Promise {
            ballot: Ballot { round: 3, node: 1 },
        };
        let lead = Event::Lead {
            ballot: Ballot { round: 3, node: 0 },
        };
        trace.push(&promise, 7);
        trace.push(&lead, 9);
        let lines = written(trace, &path);
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["ballot"], json!([3, "n2"]));
        assert_eq!(lines[1]["event"], "lead");
        assert_eq!(
            (&lines[0]["t_ns"], &lines[1]["t_ns"]),
            (&json!(7), &json!(9))
        );
    }

    fn written(mut trace: Trace, path: &Path) -> Vec<serde_json::Value> {
        trace.flush().unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let lines = text.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn a_lease_is_of_the_step_and_not_of_the_moment_in_which_it_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace");
        let mut trace = Trace::open(&path, "n1", &["n1".to_owned()]).unwrap();
        let ballot = Ballot { round: 1, node: 0 };
        let held = Event::Lease {
            ballot,
            age: Duration::from_nanos(10),
            left: Duration::from_nanos(90),
        };
        trace.push(&held, 1_000);
        // In its time that is no news; later it is.
        trace.push(&Event::LeaseUsed { ballot }, 1_090);
        trace.push(&Event::LeaseUsed { ballot }, 1_091);
        let lines = written(trace, &path);
        let spans = lines
            .iter()
            .map(|line| (&line["from_ns"], &line["until_ns"]));
        let spans: Vec<_> = spans.collect();
        let expected =
            [(990, 1_090), (990, 1_091)].map(|(from, until)| (json!(from), json!(until)));
        assert_eq!(
            spans,
            expected.each_ref().map(|(from, until)| (from, until))
        );
    }
}
