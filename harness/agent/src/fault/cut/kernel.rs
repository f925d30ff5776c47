//! What the kernel holds of our tables, as `nft` tells it. Each question is a program that starts,
//! on every node, so few are asked.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::nursery::Nursery;
use crate::protocol::Ran;
use crate::site::tool;

/// `nft` that takes longer than this is not going to end.
const NFT: Duration = Duration::from_secs(10);
/// The chain by which a table is known to be ours.
pub(super) const OURS: &str = "made-by-schism";
/// The families in which we have a table.
const FAMILIES: [&str; 2] = ["inet", "netdev"];

/// What the kernel holds of one fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) rules: usize,
    pub(super) packets: u64,
}

/// Reads our rules back from the kernel.
pub(super) fn counters(nursery: &Arc<Nursery>) -> Result<BTreeMap<u64, Count>> {
    let mut counts = BTreeMap::new();
    for Table { family, .. } in tables(nursery)?.into_iter().filter(|table| table.ours) {
        let list = ["-j", "list", "table", family, "schism"];
        count(&run(nursery, &list, "")?.stdout, &mut counts);
    }
    Ok(counts)
}

fn count(json: &str, counts: &mut BTreeMap<u64, Count>) {
    let list: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
    for entry in list["nftables"].as_array().into_iter().flatten() {
        let rule = &entry["rule"];
        let fault = rule["comment"]
            .as_str()
            .and_then(|comment| comment.strip_prefix("fault ")?.parse().ok());
        let Some(fault) = fault else { continue };
        let count: &mut Count = counts.entry(fault).or_default();
        count.rules += 1;
        for part in rule["expr"].as_array().into_iter().flatten() {
            count.packets += part["counter"]["packets"].as_u64().unwrap_or_default();
        }
    }
}

/// A table of our name.
pub(super) struct Table {
    pub(super) family: &'static str,
    pub(super) ours: bool,
}

pub(super) fn tables(nursery: &Arc<Nursery>) -> Result<Vec<Table>> {
    Ok(listed(&run(nursery, &["list", "chains"], "")?.stdout))
}

/// Our tables, and others of that name, in what nft lists of all tables.
fn listed(chains: &str) -> Vec<Table> {
    let mark = format!("chain {OURS} {{");
    let mut found: Vec<Table> = Vec::new();
    let mut within = false;
    for line in chains.lines() {
        if line.starts_with("table ") {
            let is = |family: &&str| line == format!("table {family} schism {{");
            let family = FAMILIES.into_iter().find(is);
            within = family.is_some();
            found.extend(family.map(|family| Table {
                family,
                ours: false,
            }));
        } else if within && line.trim() == mark {
            found.last_mut().expect("a table").ours = true;
        }
    }
    found
}

pub(super) fn nft(nursery: &Arc<Nursery>, text: &str) -> Result<Ran> {
    run(nursery, &["-f", "-"], text)
}

fn run(nursery: &Arc<Nursery>, args: &[&str], stdin: &str) -> Result<Ran> {
    let mut command = Command::new("nft");
    command.args(args);
    tool(nursery, command, stdin, NFT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_tables_are_known_by_a_chain_and_not_by_their_name() {
        let chains = "table inet schism {
\tchain made-by-schism {
\t}
\tchain in {
\t\ttype filter hook input priority raw; policy accept;
\t}
}
table ip schism {
\tchain made-by-schism {
\t}
}
table netdev schism {
}
table netdev other {
\tchain made-by-schism {
\t}
}
";
        let found: Vec<_> = listed(chains)
            .iter()
            .map(|table| (table.family, table.ours))
            .collect();
        assert_eq!(found, [("inet", true), ("netdev", false)]);
        assert!(listed("").is_empty());
    }

    #[test]
    fn counters_are_read_by_fault() {
        let json = r#"{"nftables":[{"metainfo":{}},{"rule":{"comment":"fault 7","expr":
            [{"match":{}},{"counter":{"packets":3,"bytes":9}},{"drop":null}]}},
            {"rule":{"comment":"fault 7","expr":[{"counter":{"packets":4}}]}},
            {"rule":{"comment":"somebody's","expr":[{"counter":{"packets":5}}]}}]}"#;
        let mut counts = BTreeMap::new();
        count(json, &mut counts);
        let seven = Count {
            rules: 2,
            packets: 7,
        };
        assert_eq!(counts, BTreeMap::from([(7, seven)]));
    }
}
