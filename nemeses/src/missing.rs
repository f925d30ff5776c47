//! What the nodes cannot do of what is asked for.

use std::collections::BTreeMap;
use std::fmt;

use history::Name;

use crate::family::Need;

/// A need that some nodes cannot meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What needs it: `packet:delay`.
    pub fault: String,
    pub need: Need,
    pub nodes: Vec<Name>,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: Vec<&str> = self.nodes.iter().map(Name::as_str).collect();
        write!(
            f,
            "{} needs {}, which {} cannot offer",
            self.fault,
            self.need.join(" or "),
            nodes.join(", ")
        )?;
        if self
            .need
            .iter()
            .any(|need| ["suspend", "reset"].contains(need))
        {
            // Nodes that share this kernel have no machine, and of others the hypervisor is not
            // known.
            write!(f, " (only --cluster vagrant with libvirt can)")?;
        }
        if self.need.contains(&"netem") {
            // Loss is the one disturbance of packets that works on every kernel.
            write!(f, " (packet:loss works without)")?;
        }
        Ok(())
    }
}

/// What is asked for, against what each node's agent offers ([`agent::protocol::Hello::offers`]).
/// Every mismatch is in the answer, so that one look is enough.
pub fn missing(
    asked: &BTreeMap<String, &'static [Need]>,
    offers: &BTreeMap<Name, Vec<String>>,
) -> Vec<Missing> {
    let mut all = Vec::new();
    for (fault, needs) in asked {
        for need in *needs {
            let nodes: Vec<Name> = offers
                .iter()
                .filter(|(_, offers)| !offers.iter().any(|o| need.contains(&o.as_str())))
                .map(|(node, _)| node.clone())
                .collect();
            if !nodes.is_empty() {
                all.push(Missing {
                    fault: fault.clone(),
                    need,
                    nodes,
                });
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: &[Need] = &[&["vdso", "set-clock"]];

    #[test]
    fn all_that_is_missing_is_said_at_once() {
        let offers = BTreeMap::from([
            (Name::new("n1"), vec!["nft".to_string(), "tbf".into()]),
            (
                Name::new("n2"),
                vec!["netem".to_string(), "set-clock".into()],
            ),
        ]);
        let asked = BTreeMap::from([
            ("clock:jump".to_string(), CLOCK),
            ("packet:delay".to_string(), &[&["netem"]]),
            ("packet:rate".to_string(), &[&["tbf"]]),
            ("partition:halves".to_string(), &[&["nft"]]),
            ("pause".to_string(), &[]),
        ]);
        let said: Vec<String> = missing(&asked, &offers)
            .iter()
            .map(Missing::to_string)
            .collect();
        assert_eq!(
            said,
            [
                "clock:jump needs vdso or set-clock, which n1 cannot offer",
                "packet:delay needs netem, which n1 cannot offer (packet:loss works without)",
                "packet:rate needs tbf, which n2 cannot offer",
                "partition:halves needs nft, which n2 cannot offer",
            ]
        );
    }
}
