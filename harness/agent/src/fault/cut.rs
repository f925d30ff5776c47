//! Packets dropped by nftables, in tables of our own that are replaced in one transaction.
//!
//! Incoming packets are dropped in the `input` hook. Outgoing ones must not be: a packet dropped
//! there, or in `output` or `postrouting`, makes `sendto` fail with EPERM, and one dropped in the
//! `egress` hook makes it fail with ENOBUFS (where `IP_RECVERR` is set) and makes TCP believe in
//! local congestion: it tries again every half second and does not back off. No network tells a
//! sender that it lost a packet. So outgoing packets are not dropped but *misdirected* on egress,
//! by a link-layer address that nobody has; the sender sees a packet sent, and TCP backs off as it
//! would (measured: retransmission timeout 3.3 s after 5 s, against 0.2 s with a drop). Only
//! devices that have no such addresses, and the loopback device, drop them.
//!
//! ```text
//! table inet schism   { chain in  { type filter hook input priority raw;
//!     ip saddr 10.1.0.2 numgen random mod 1000000 < 300000 counter drop comment "fault 7" } }
//! table netdev schism { chain out { type filter hook egress devices = { eth0 } priority 0;
//!     ip daddr 10.1.0.2 counter ether daddr set 02:53:43:48:49:53 accept comment "fault 7" } }
//! ```
//!
//! Each table has an empty chain besides, by which it is known to be ours: one of somebody else's
//! that has the same name is neither replaced nor deleted, and cuts are refused while it is there.
//!
//! Every rule names a peer or a local port, so none can match the control path of a controller that
//! is neither. Where the controller may be a peer, or its port a service's, it says how it speaks
//! to the node ([`Control`]), and the first rule of every chain accepts that.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::net::IpAddr;
use std::sync::Arc;

mod kernel;

use self::kernel::{Count, OURS, Table, counters, nft, tables};
use crate::error::{Error, Result};
use crate::journal::Left;
use crate::mechanism::{Mechanism, anothers};
use crate::nursery::Nursery;
use crate::protocol::{Control, Direction, Drop, Evidence, Fault};
use crate::site::Site;

/// A locally administered address (second bit of the first byte) that no device is given.
const NOBODY: &str = "02:53:43:48:49:53";
const MILLION: u32 = 1_000_000;

/// What this node can do, and what the counters said before they were last replaced.
#[derive(Debug, Default)]
pub(crate) struct Cuts {
    /// Why it cannot be done; `None`: it can.
    nft: Option<String>,
    /// Why senders would notice drops; `None`: they do not.
    egress: Option<String>,
    dropped: BTreeMap<u64, u64>,
    control: Option<Control>,
}

impl Cuts {
    /// Tries it: adds tables and deletes them in the same transaction.
    pub(crate) fn probe(nursery: &Arc<Nursery>, control: Option<Control>) -> Cuts {
        let attempt = |text: &str| nft(nursery, text).err().map(|error| error.to_string());
        // A name that nobody else has, as it is deleted at once.
        let name = format!("schism-probe-{}", nursery.prefix());
        Cuts {
            nft: attempt(&format!(
                "table inet {name} {{ chain in {{ type filter hook input priority -300; \
                 ip saddr 192.0.2.1 numgen random mod 1000000 < 1 counter drop; }}; }}\n\
                 delete table inet {name}\n",
            )),
            egress: attempt(&format!(
                "table netdev {name} {{ chain out {{ \
                 type filter hook egress device \"lo\" priority 0; \
                 ip daddr 192.0.2.1 counter ether daddr set {NOBODY} accept; }}; }}\n\
                 delete table netdev {name}\n",
            )),
            dropped: BTreeMap::new(),
            control,
        }
    }

    /// Refuses what the node cannot do, and rules that would match everything.
    fn possible(&self, rules: &[Drop]) -> Result<()> {
        if let Some(why) = &self.nft {
            return Err(Error::Refused(format!(
                "this node cannot drop packets: {why}"
            )));
        }
        if rules.is_empty() {
            return Err(Error::Refused("a cut without rules cuts nothing".into()));
        }
        for rule in rules {
            if rule.peer.is_none() && rule.local_port.is_none() {
                return Err(Error::Refused(
                    "a rule names neither a peer nor a port: it would cut the control path too"
                        .into(),
                ));
            }
            if !(1..=MILLION).contains(&rule.per_million) {
                return Err(Error::Refused(format!(
                    "{} per million is no share of packets (1 to {MILLION})",
                    rule.per_million
                )));
            }
        }
        Ok(())
    }

    /// Puts the rules of all cuts in force. Evidence: the kernel's ruleset, read back.
    fn put(&mut self, site: &Site, fault: u64, rules: &[Drop]) -> Result<Evidence> {
        let (_, sent) = self.replace(site)?;
        let wanted = sent.matches(&format!("{}\n", mark(fault))).count();
        let counts = counters(&site.nursery)?;
        let found = counts.get(&fault).map_or(0, |count| count.rules);
        let mut evidence = vec![format!(
            "the kernel's ruleset holds {found} of {wanted} rules of this fault"
        )];
        evidence.extend(
            rules
                .iter()
                .map(|rule| format!("{:?}: {}", rule.direction, matches(rule))),
        );
        let outgoing = rules.iter().any(|rule| rule.direction == Direction::Out);
        if let (true, Some(why)) = (outgoing, &self.egress) {
            evidence.push(format!(
                "senders on this node notice drops (EPERM): no egress hook: {why}"
            ));
        }
        Ok(Evidence {
            void: Vec::new(),
            held: found == wanted,
            evidence,
        })
    }

    /// Takes the rules of this fault, which is no longer in the site, out of the kernel.
    fn take_out(&mut self, site: &Site, fault: u64) -> Result<Evidence> {
        let (before, _) = self.replace(site)?;
        let after = counters(&site.nursery)?;
        let dropped = self.dropped.remove(&fault).unwrap_or_default();
        let mut evidence = vec![format!("{dropped} packets were dropped")];
        if !before.contains_key(&fault) {
            evidence
                .push("its rules were not in the kernel any more: somebody removed them".into());
        }
        let rest = after.get(&fault).map_or(0, |count| count.rules);
        evidence.push(format!(
            "the kernel's ruleset holds {rest} rules of this fault"
        ));
        Ok(Evidence {
            void: Vec::new(),
            held: rest == 0,
            evidence,
        })
    }

    /// Brings the kernel's tables in line with the faults in force; what the counters said is kept.
    /// Returns what was there before, and the transaction.
    fn replace(&mut self, site: &Site) -> Result<(BTreeMap<u64, Count>, String)> {
        let before = counters(&site.nursery)?;
        for (fault, count) in &before {
            *self.dropped.entry(*fault).or_default() += count.packets;
        }
        let cuts = site.faults.iter().filter_map(|(fault, kind)| match kind {
            Fault::Cut { rules } => Some((*fault, rules.as_slice())),
            _ => None,
        });
        let cuts: Vec<(u64, &[Drop])> = cuts.collect();
        let mut sent = String::new();
        if cuts.is_empty() {
            clear(&site.nursery)?;
        } else {
            let devices = match self.egress {
                None => Some(devices()?),
                Some(_) => None,
            };
            refuse_foreign(&site.nursery)?;
            sent = ruleset(&cuts, devices.as_ref(), self.control);
            nft(&site.nursery, &sent)?;
        }
        Ok((before, sent))
    }
}

impl Mechanism for Cuts {
    fn name(&self) -> &'static str {
        "cut"
    }

    fn offers(&self) -> Vec<&'static str> {
        self.nft.is_none().then_some("nft").into_iter().collect()
    }

    fn takes(&self, kind: &Fault) -> bool {
        matches!(kind, Fault::Cut { .. })
    }

    fn check(&mut self, site: &mut Site, kind: &Fault) -> Result<()> {
        let Fault::Cut { rules } = kind else {
            return Err(anothers(kind));
        };
        self.possible(rules)?;
        refuse_foreign(&site.nursery)
    }

    fn inject(&mut self, site: &mut Site, fault: u64, kind: &Fault) -> Result<Evidence> {
        match kind {
            Fault::Cut { rules } => self.put(site, fault, rules),
            _ => Err(anothers(kind)),
        }
    }

    fn heal(&mut self, site: &mut Site, fault: u64, _kind: &Fault) -> Result<Evidence> {
        self.take_out(site, fault)
    }
}

/// Deletes the tables that a dead agent left.
pub(crate) fn recover(left: &Left, nursery: &Arc<Nursery>) -> Result<Vec<String>> {
    if left.cut {
        clear(nursery)
    } else {
        Ok(Vec::new())
    }
}

/// Deletes our tables, and nothing else. Says what it did, and what it left alone.
fn clear(nursery: &Arc<Nursery>) -> Result<Vec<String>> {
    let mut deeds = Vec::new();
    for Table { family, ours } in tables(nursery)? {
        deeds.push(match ours {
            true => {
                nft(nursery, &format!("delete table {family} schism\n"))?;
                format!("deleted the packet filter table {family} schism")
            }
            false => {
                format!("left alone the packet filter table {family} schism, which is not ours")
            }
        });
    }
    Ok(deeds)
}

/// Refuses to put our tables where others have theirs.
fn refuse_foreign(nursery: &Arc<Nursery>) -> Result<()> {
    let foreign = tables(nursery)?.into_iter().find(|table| !table.ours);
    match foreign {
        None => Ok(()),
        Some(Table { family, .. }) => Err(Error::Refused(format!(
            "this node has a packet filter table `{family} schism` that is not the agent's own: it is \
             left alone, and packets cannot be dropped while it has that name"
        ))),
    }
}

/// The devices on whose egress outgoing packets are caught.
#[derive(Debug, Default)]
struct Devices {
    /// Those with link-layer addresses.
    framed: Vec<String>,
    others: Vec<String>,
}

/// The transaction that puts these rules in the place of whatever we had before. Without devices,
/// outgoing packets are caught in `postrouting`.
fn ruleset(cuts: &[(u64, &[Drop])], devices: Option<&Devices>, control: Option<Control>) -> String {
    let chain = |direction, name, hook: &str, verdict: &str| {
        chain(cuts, control, direction, name, hook, verdict)
    };
    let mut text = String::from("table inet schism {}\ndelete table inet schism\n");
    let table = |family: &str| format!("table {family} schism {{\n  chain {OURS} {{\n  }}\n");
    text += &table("inet");
    text += &chain(Direction::In, "in", "input priority -300", "drop");
    let Some(devices) = devices else {
        text += &chain(Direction::Out, "out", "postrouting priority 0", "drop");
        return text + "}\n";
    };
    text += "}\ntable netdev schism {}\ndelete table netdev schism\n";
    text += &table("netdev");
    let misdirect = format!("ether daddr set {NOBODY} accept");
    for (name, names, verdict) in [
        ("out", &devices.framed, misdirect.as_str()),
        ("out-bare", &devices.others, "drop"),
    ] {
        if !names.is_empty() {
            let hook = format!("egress devices = {{ {} }} priority 0", names.join(", "));
            text += &chain(Direction::Out, name, &hook, verdict);
        }
    }
    text + "}\n"
}

/// By which a fault's rules are known in the kernel.
fn mark(fault: u64) -> String {
    format!("comment \"fault {fault}\"")
}

/// A chain with the rules of one direction.
fn chain(
    cuts: &[(u64, &[Drop])],
    control: Option<Control>,
    direction: Direction,
    name: &str,
    hook: &str,
    verdict: &str,
) -> String {
    let mut text = format!("  chain {name} {{\n    type filter hook {hook}\n");
    if let Some(control) = control {
        let path = Drop {
            direction,
            peer: Some(control.address),
            local_port: Some(control.port),
            per_million: MILLION,
        };
        writeln!(text, "    {} accept", matches(&path)).expect("a string takes all");
    }
    for (fault, rules) in cuts {
        for rule in rules.iter().filter(|rule| rule.direction == direction) {
            let matches = matches(rule);
            let mark = mark(*fault);
            writeln!(text, "    {matches} counter {verdict} {mark}").expect("a string takes all");
        }
    }
    text + "  }\n"
}

/// What a rule matches, in nft's words.
fn matches(rule: &Drop) -> String {
    let (address, port) = match rule.direction {
        Direction::In => ("saddr", "dport"),
        Direction::Out => ("daddr", "sport"),
    };
    let mut parts = Vec::new();
    match rule.peer {
        Some(IpAddr::V4(peer)) => parts.push(format!("ip {address} {peer}")),
        Some(IpAddr::V6(peer)) => parts.push(format!("ip6 {address} {peer}")),
        None => {}
    }
    if let Some(number) = rule.local_port {
        parts.push(format!("tcp {port} {number}"));
    }
    if rule.per_million < MILLION {
        parts.push(format!(
            "numgen random mod {MILLION} < {}",
            rule.per_million
        ));
    }
    parts.join(" ")
}

/// Network devices of this namespace. The kernel passes over a rule that sets the address of a
/// frame where there is none, and (6.18) on the loopback device.
fn devices() -> Result<Devices> {
    let path = "/proc/net/dev";
    let text = fs::read_to_string(path).map_err(|source| Error::Io {
        doing: format!("read {path}"),
        source,
    })?;
    let names = text.lines().skip(2).filter_map(|line| line.split_once(':'));
    let (framed, others) = names
        .map(|(name, _)| name.trim().to_owned())
        .partition(|name| framed(name));
    Ok(Devices { framed, others })
}

/// Whether a device has link-layer addresses of Ethernet's kind.
fn framed(name: &str) -> bool {
    use std::os::fd::AsRawFd;
    let Ok(socket) = std::net::UdpSocket::bind(("127.0.0.1", 0)) else {
        return false;
    };
    // SAFETY: all zeros is a valid `ifreq`; the ioctl reads the name and writes the address.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request
            .ifr_name
            .iter_mut()
            .zip(name.bytes())
            .take(libc::IFNAMSIZ - 1)
        {
            *to = from as libc::c_char;
        }
        libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFHWADDR as _, &mut request) == 0
            && request.ifr_ifru.ifru_hwaddr.sa_family == libc::ARPHRD_ETHER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(direction: Direction, peer: Option<&str>, port: Option<u16>, share: u32) -> Drop {
        Drop {
            direction,
            peer: peer.map(|peer| peer.parse().expect("an address")),
            local_port: port,
            per_million: share,
        }
    }

    #[test]
    fn the_transaction_replaces_our_tables_and_names_every_peer() {
        let first = [
            rule(Direction::In, Some("10.1.0.2"), None, 300_000),
            rule(Direction::Out, Some("fd00::2"), Some(2379), MILLION),
        ];
        let second = [rule(Direction::Out, None, Some(80), MILLION)];
        let cuts: [(u64, &[Drop]); 2] = [(7, &first), (8, &second)];
        let devices = Devices {
            framed: vec!["eth0".into(), "eth1".into()],
            others: vec!["lo".into()],
        };
        assert_eq!(
            ruleset(&cuts, Some(&devices), None),
            "table inet schism {}
delete table inet schism
table inet schism {
  chain made-by-schism {
  }
  chain in {
    type filter hook input priority -300
    ip saddr 10.1.0.2 numgen random mod 1000000 < 300000 counter drop comment \"fault 7\"
  }
}
table netdev schism {}
delete table netdev schism
table netdev schism {
  chain made-by-schism {
  }
  chain out {
    type filter hook egress devices = { eth0, eth1 } priority 0
    ip6 daddr fd00::2 tcp sport 2379 counter ether daddr set 02:53:43:48:49:53 accept comment \"fault 7\"
    tcp sport 80 counter ether daddr set 02:53:43:48:49:53 accept comment \"fault 8\"
  }
  chain out-bare {
    type filter hook egress devices = { lo } priority 0
    ip6 daddr fd00::2 tcp sport 2379 counter drop comment \"fault 7\"
    tcp sport 80 counter drop comment \"fault 8\"
  }
}
"
        );
        let without = ruleset(&cuts, None, None);
        assert!(!without.contains("netdev"));
        assert!(without.contains("    tcp sport 80 counter drop comment \"fault 8\"\n"));
    }

    /// Rules that would cut the controller off if they could: it is a peer, and its port a service.
    #[test]
    fn the_control_path_is_accepted_before_anything_is_dropped() {
        let control = Control {
            address: [10, 1, 0, 2].into(),
            port: 22,
        };
        for (peer, port) in [
            (Some("10.1.0.2"), None),
            (None, Some(22)),
            (Some("10.1.0.2"), Some(22)),
            (Some("10.1.0.3"), Some(7000)),
        ] {
            let rules = [
                rule(Direction::In, peer, port, MILLION),
                rule(Direction::Out, peer, port, 200_000),
            ];
            let devices = Devices {
                framed: vec!["eth0".into()],
                others: vec!["lo".into()],
            };
            for devices in [Some(&devices), None] {
                let text = ruleset(&[(7, &rules)], devices, Some(control));
                let chains = text.split("  chain ").skip(1);
                let chains: Vec<&str> = chains.filter(|chain| !chain.starts_with(OURS)).collect();
                assert_eq!(chains.len(), if devices.is_some() { 3 } else { 2 });
                for chain in chains {
                    let rules: Vec<&str> = chain.lines().skip(2).map(str::trim).collect();
                    let accepted = match chain.contains("hook input") {
                        true => "ip saddr 10.1.0.2 tcp dport 22 accept",
                        false => "ip daddr 10.1.0.2 tcp sport 22 accept",
                    };
                    assert_eq!(rules[0], accepted, "{text}");
                    assert!(rules[1].contains("fault 7"), "{text}");
                }
            }
        }
    }

    #[test]
    fn rules_that_match_everything_or_nothing_are_refused() {
        let cuts = Cuts::default();
        for bad in [
            vec![],
            vec![rule(Direction::In, None, None, MILLION)],
            vec![rule(Direction::In, Some("10.1.0.2"), None, 0)],
            vec![rule(Direction::In, Some("10.1.0.2"), None, MILLION + 1)],
        ] {
            assert!(cuts.possible(&bad).is_err(), "{bad:?}");
        }
        let good = [rule(Direction::In, Some("10.1.0.2"), None, 1)];
        cuts.possible(&good).expect("good");
        let cannot = Cuts {
            nft: Some("no nft".into()),
            ..Cuts::default()
        };
        assert!(cannot.possible(&good).is_err());
    }
}
