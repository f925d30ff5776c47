//! Packets delayed, lost, doubled, reordered, corrupted, or let through at a rate: `tc`.
//!
//! ```text
//!   htb 5c15: ─┬─ unclassified: passes at once
//!              ├─ class 5c15:1 (fault 7) ─ netem or tbf
//!              └─ class 5c15:2 (fault 9) ─ netem or tbf       one u32 filter for each peer
//! ```
//!
//! The root discipline of each device is replaced by ours, known by its handle, if it is the
//! kernel's default (handle 0); one that somebody else has set is left alone, and the fault is
//! refused. Deleting ours brings the default back. A peer that several faults name is treated by
//! the first of them. What the controller says to the node, and the node to it, passes at once: a
//! filter before all others sees to it.

use std::fmt::Write;
use std::fs;
use std::net::IpAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::error::{Error, Result};
use crate::journal::{Left, Record};
use crate::mechanism::{Mechanism, anothers};
use crate::nursery::Nursery;
use crate::protocol::{Control, Evidence, Fault, Netem, Ran};
use crate::site::{Site, tool};

const TC: Duration = Duration::from_secs(10);
/// The handle by which our root discipline is known.
const HANDLE: &str = "5c15:";
/// A rate that limits nothing, for classes that only delay: 100 Gbit/s.
const UNLIMITED_KBIT: u64 = 100_000_000;

/// What this node's kernel can do, and why not.
#[derive(Debug, Default)]
pub(crate) struct Shaper {
    netem: Option<String>,
    rate: Option<String>,
    control: Option<Control>,
}

impl Shaper {
    /// Tries each discipline on the loopback device of a network namespace that is made for it and
    /// vanishes with the command.
    pub(crate) fn probe(nursery: &Arc<Nursery>, control: Option<Control>) -> Shaper {
        let attempt = |kind: &str| {
            let mut command = Command::new("tc");
            command.args(format!("qdisc add dev lo root {kind}").split(' '));
            // SAFETY: one system call between fork and exec, in a process with one thread.
            let alone = || Ok(unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?);
            // SAFETY: as above; nothing allocates.
            unsafe { std::os::unix::process::CommandExt::pre_exec(&mut command, alone) };
            tool(nursery, command, "", TC)
        };
        let classes = || attempt("htb default 0");
        let why = |result: Result<Ran>| result.err().map(|error| error.to_string());
        Shaper {
            netem: why(classes().and_then(|_| attempt("netem delay 1ms"))),
            rate: why(classes().and_then(|_| attempt("tbf rate 1mbit burst 16k latency 50ms"))),
            control,
        }
    }

    fn possible(&self, netem: &Netem) -> Result<()> {
        if *netem == Netem::default() {
            return Err(Error::Refused("this packet fault disturbs nothing".into()));
        }
        let shares = [
            netem.loss_per_million,
            netem.duplicate_per_million,
            netem.reorder_per_million,
            netem.corrupt_per_million,
        ];
        if shares.iter().any(|share| *share > 1_000_000) {
            return Err(Error::Refused("a share of packets is above 1000000".into()));
        }
        if netem.reorder_per_million > 0 && netem.delay_us == 0 {
            return Err(Error::Refused(
                "reordering needs a delay: packets overtake those that wait".into(),
            ));
        }
        let (what, why) = match rate_only(netem) {
            true => ("limit the rate of packets (tbf)", &self.rate),
            false => ("disturb packets (netem)", &self.netem),
        };
        match why {
            Some(why) => Err(Error::Refused(format!("this node cannot {what}: {why}"))),
            None => Ok(()),
        }
    }

    /// Evidence: the kernel's disciplines, read back.
    fn put(&self, site: &mut Site, fault: u64) -> Result<Evidence> {
        let devices = devices()?;
        for device in &devices {
            if let Some(other) = foreign(&site.nursery, device)? {
                return Err(Error::Refused(format!(
                    "device {device} has a queueing discipline of its own ({other}), which is not ours \
                     to replace"
                )));
            }
        }
        site.write(Record::Shaping {
            devices: devices.clone(),
        })?;
        self.arrange(site, &devices)?;
        let mut evidence = Evidence {
            void: Vec::new(),
            held: !devices.is_empty(),
            evidence: Vec::new(),
        };
        let class = format!("parent {HANDLE}{:x} ", class_of(site, fault));
        for device in &devices {
            let shown = show(&site.nursery, device)?;
            let found = shown.lines().find(|line| line.contains(&class));
            evidence.held &= found.is_some();
            evidence.evidence.push(match found {
                Some(line) => format!("{device}: {line}"),
                None => format!("{device}: the kernel shows no discipline at {class}"),
            });
        }
        Ok(evidence)
    }

    /// Evidence: the kernel's disciplines, and what went through the one that is gone.
    fn take_off(&self, site: &Site, fault: u64) -> Result<Evidence> {
        let devices = devices()?;
        let before = self.arrange(site, &devices)?;
        let mut evidence = Evidence {
            void: Vec::new(),
            held: true,
            evidence: before,
        };
        let others = site.demanded(|kind| matches!(kind, Fault::Packet { .. }));
        for device in &devices {
            let ours = show(&site.nursery, device)?.contains(HANDLE);
            evidence.held &= ours != others.is_empty();
            evidence.evidence.push(match ours {
                true => format!("{device}: disciplines of faults {others:?} remain"),
                false => format!("{device}: no discipline of ours (fault {fault} is gone)"),
            });
        }
        Ok(evidence)
    }

    /// Brings the devices in line with the site. Returns what the counters said before.
    fn arrange(&self, site: &Site, devices: &[String]) -> Result<Vec<String>> {
        let mut before = Vec::new();
        for device in devices {
            let shown = show(&site.nursery, device)?;
            let sent = shown
                .lines()
                .filter(|line| line.contains(HANDLE) || line.contains("Sent"));
            if shown.contains(HANDLE) {
                before.extend(sent.map(|line| format!("{device} before: {}", line.trim())));
            }
            clear(&site.nursery, device)?;
        }
        let faults = site.faults.values().filter_map(|kind| match kind {
            Fault::Packet { peers, netem } => Some((peers.as_slice(), netem)),
            _ => None,
        });
        let faults: Vec<(&[IpAddr], &Netem)> = faults.collect();
        if !faults.is_empty() {
            for device in devices {
                let mut command = Command::new("tc");
                command.args(["-batch", "-"]);
                let text = batch(device, &faults, self.control);
                tool(&site.nursery, command, &text, TC)?;
            }
        }
        Ok(before)
    }
}

impl Mechanism for Shaper {
    fn name(&self) -> &'static str {
        "packet"
    }

    fn offers(&self) -> Vec<&'static str> {
        let known = [("netem", &self.netem), ("tbf", &self.rate)];
        let can = known.into_iter().filter(|(_, why)| why.is_none());
        can.map(|(name, _)| name).collect()
    }

    fn takes(&self, kind: &Fault) -> bool {
        matches!(kind, Fault::Packet { .. })
    }

    fn check(&mut self, _: &mut Site, kind: &Fault) -> Result<()> {
        match kind {
            Fault::Packet { netem, .. } => self.possible(netem),
            _ => Err(anothers(kind)),
        }
    }

    fn inject(&mut self, site: &mut Site, fault: u64, _kind: &Fault) -> Result<Evidence> {
        self.put(site, fault)
    }

    fn heal(&mut self, site: &mut Site, fault: u64, _kind: &Fault) -> Result<Evidence> {
        self.take_off(site, fault)
    }
}

/// Deletes the disciplines that a dead agent left.
pub(crate) fn recover(left: &Left, nursery: &Arc<Nursery>) -> Result<Vec<String>> {
    let mut deeds = Vec::new();
    for device in &left.devices {
        if clear(nursery, device)? {
            deeds.push(format!("deleted the queueing discipline of {device}"));
        }
    }
    Ok(deeds)
}

fn rate_only(netem: &Netem) -> bool {
    let Netem { rate_kbit, .. } = *netem;
    *netem
        == Netem {
            rate_kbit,
            ..Netem::default()
        }
}

/// Deletes our discipline from a device. `false`: there was none.
fn clear(nursery: &Arc<Nursery>, device: &str) -> Result<bool> {
    if !devices()?.iter().any(|known| known == device)
        || !show(nursery, device)?.contains(&format!(" {HANDLE} root"))
    {
        return Ok(false);
    }
    tc(nursery, &format!("qdisc del dev {device} root"))?;
    Ok(true)
}

/// The class of a fault is its place among the packet faults in force.
fn class_of(site: &Site, fault: u64) -> usize {
    let faults = site.demanded(|kind| matches!(kind, Fault::Packet { .. }));
    1 + faults.iter().take_while(|other| **other != fault).count()
}

/// The commands that put these faults on a device with no discipline of ours.
fn batch(device: &str, faults: &[(&[IpAddr], &Netem)], control: Option<Control>) -> String {
    let mut text = format!("qdisc add dev {device} root handle {HANDLE} htb default 0\n");
    let mut add = |line: std::fmt::Arguments| {
        writeln!(text, "{line}").expect("a string takes all");
    };
    // The priorities that filters of faults begin with.
    let first = match control {
        None => 1,
        Some(Control { address, port }) => {
            let (protocol, matched) = match address {
                IpAddr::V4(to) => ("ip", format!("ip dst {to}/32 match ip sport {port} 0xffff")),
                IpAddr::V6(to) => (
                    "ipv6",
                    format!("ip6 dst {to}/128 match ip6 sport {port} 0xffff"),
                ),
            };
            // The root's own class: past all others, and at once.
            add(format_args!(
                "filter add dev {device} parent {HANDLE} protocol {protocol} prio 1 u32 \
                 match {matched} flowid {HANDLE}0"
            ));
            2
        }
    };
    for (at, (peers, netem)) in faults.iter().enumerate() {
        let class = format!("{HANDLE}{:x}", at + 1);
        add(format_args!(
            "class add dev {device} parent {HANDLE} classid {class} htb rate {UNLIMITED_KBIT}kbit \
             burst 1m quantum 60000"
        ));
        add(format_args!(
            "qdisc add dev {device} parent {class} {}",
            leaf(netem)
        ));
        // One protocol per priority: 4 bytes are at another place in each.
        let mut filter = |protocol: &str, offset: usize, matched: String| {
            let priority = first + 3 * at + offset;
            add(format_args!(
                "filter add dev {device} parent {HANDLE} protocol {protocol} prio {priority} u32 \
                 match {matched} flowid {class}"
            ));
        };
        for peer in *peers {
            match peer {
                IpAddr::V4(peer) => filter("ip", 0, format!("ip dst {peer}/32")),
                IpAddr::V6(peer) => filter("ipv6", 1, format!("ip6 dst {peer}/128")),
            }
        }
        if peers.is_empty() {
            filter("all", 2, "u32 0 0".into());
        }
    }
    text
}

fn leaf(netem: &Netem) -> String {
    if rate_only(netem) {
        let rate = netem.rate_kbit;
        return format!("tbf rate {rate}kbit burst 16k latency 400ms");
    }
    let mut text = String::from("netem limit 100000");
    let share = |per_million: u32| f64::from(per_million) / 10_000.0;
    let mut add = |part: String| {
        text.push(' ');
        text += &part;
    };
    if netem.delay_us > 0 || netem.jitter_us > 0 {
        add(format!("delay {}us {}us", netem.delay_us, netem.jitter_us));
    }
    for (name, per_million) in [
        ("loss", netem.loss_per_million),
        ("duplicate", netem.duplicate_per_million),
        ("reorder", netem.reorder_per_million),
        ("corrupt", netem.corrupt_per_million),
    ] {
        if per_million > 0 {
            add(format!("{name} {}%", share(per_million)));
        }
    }
    if netem.rate_kbit > 0 {
        add(format!("rate {}kbit", netem.rate_kbit));
    }
    text
}

/// All but the loopback device: what leaves the node.
fn devices() -> Result<Vec<String>> {
    let path = "/proc/net/dev";
    let text = fs::read_to_string(path).map_err(|source| Error::Io {
        doing: format!("read {path}"),
        source,
    })?;
    let names = text.lines().skip(2).filter_map(|line| line.split_once(':'));
    let names = names.map(|(name, _)| name.trim().to_owned());
    Ok(names.filter(|name| name != "lo").collect())
}

/// The root discipline of a device, if somebody else has set it: it has a handle, and not ours.
fn foreign(nursery: &Arc<Nursery>, device: &str) -> Result<Option<String>> {
    let shown = show(nursery, device)?;
    let root = shown.lines().find(|line| line.contains(" root"));
    Ok(root
        .filter(|line| !line.contains(" 0: ") && !line.contains(&format!(" {HANDLE} ")))
        .map(|line| line.trim().to_owned()))
}

fn show(nursery: &Arc<Nursery>, device: &str) -> Result<String> {
    Ok(tc(nursery, &format!("-s qdisc show dev {device}"))?.stdout)
}

fn tc(nursery: &Arc<Nursery>, words: &str) -> Result<Ran> {
    let mut command = Command::new("tc");
    command.args(words.split(' '));
    tool(nursery, command, "", TC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_has_a_class_and_each_peer_a_filter() {
        let first = Netem {
            delay_us: 50_000,
            jitter_us: 10_000,
            loss_per_million: 25_500,
            ..Netem::default()
        };
        let second = Netem {
            rate_kbit: 512,
            ..Netem::default()
        };
        let peers: [IpAddr; 2] = [[10, 1, 0, 2].into(), "fd00::2".parse().expect("an address")];
        assert_eq!(
            batch("eth0", &[(&peers, &first), (&[], &second)], None),
            "qdisc add dev eth0 root handle 5c15: htb default 0
class add dev eth0 parent 5c15: classid 5c15:1 htb rate 100000000kbit burst 1m quantum 60000
qdisc add dev eth0 parent 5c15:1 netem limit 100000 delay 50000us 10000us loss 2.55%
filter add dev eth0 parent 5c15: protocol ip prio 1 u32 match ip dst 10.1.0.2/32 flowid 5c15:1
filter add dev eth0 parent 5c15: protocol ipv6 prio 2 u32 match ip6 dst fd00::2/128 flowid 5c15:1
class add dev eth0 parent 5c15: classid 5c15:2 htb rate 100000000kbit burst 1m quantum 60000
qdisc add dev eth0 parent 5c15:2 tbf rate 512kbit burst 16k latency 400ms
filter add dev eth0 parent 5c15: protocol all prio 6 u32 match u32 0 0 flowid 5c15:2
"
        );
    }

    #[test]
    fn the_control_path_passes_before_any_filter_of_a_fault() {
        let delay = Netem {
            delay_us: 1_000,
            ..Netem::default()
        };
        let control = Control {
            address: [10, 1, 0, 2].into(),
            port: 22,
        };
        let peers: [IpAddr; 1] = [control.address];
        let text = batch("eth0", &[(&peers, &delay), (&[], &delay)], Some(control));
        let filters: Vec<&str> = text.lines().filter(|l| l.starts_with("filter")).collect();
        assert_eq!(
            filters,
            [
                "filter add dev eth0 parent 5c15: protocol ip prio 1 u32 match ip dst 10.1.0.2/32 \
                 match ip sport 22 0xffff flowid 5c15:0",
                "filter add dev eth0 parent 5c15: protocol ip prio 2 u32 match ip dst 10.1.0.2/32 \
                 flowid 5c15:1",
                "filter add dev eth0 parent 5c15: protocol all prio 7 u32 match u32 0 0 flowid 5c15:2",
            ]
        );
    }

    #[test]
    fn what_disturbs_nothing_or_cannot_be_is_refused() {
        let shaper = Shaper {
            netem: Some("no netem".into()),
            ..Shaper::default()
        };
        let refused = |netem: Netem| shaper.possible(&netem).expect_err("refused").to_string();
        refused(Netem::default());
        refused(Netem {
            rate_kbit: 1,
            loss_per_million: 1_000_001,
            ..Netem::default()
        });
        let delay = Netem {
            delay_us: 1,
            ..Netem::default()
        };
        assert!(refused(delay).contains("no netem"));
        let rate = Netem {
            rate_kbit: 1,
            ..Netem::default()
        };
        shaper.possible(&rate).expect("can");
    }
}
