//! The lab's network: which addresses, and the `ip` commands that make it.
//!
//! One bridge, one veth pair a node. There is no default route and no interface but these, so no
//! packet finds a way out. IPv6 is off: its link-local addresses come by themselves, take a second
//! to be usable, and would be a way around every fault that names peers by their IPv4 address.

use std::fs;
use std::io;
use std::net::Ipv4Addr;

use history::Name;

/// Bits of an address that name the network.
const PREFIX: u8 = 24;

/// Where the controller is.
pub(super) const CONTROLLER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 254);

/// Where the node of this number is, counted from one.
pub(super) fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, number)
}

/// The bridge, with the controller's own address on it.
pub(super) fn bridge() -> String {
    format!(
        "link set lo up\n\
         link add schism type bridge stp_state 0 mcast_snooping 0\n\
         addr add {CONTROLLER}/{PREFIX} dev schism\n\
         link set schism up\n"
    )
}

/// The cable from the bridge to a node, whose namespace is that of process `pid`.
pub(super) fn cable(number: u8, pid: u32) -> String {
    format!(
        "link add v{number} type veth peer name eth0 netns {pid}\n\
         link set v{number} master schism up\n"
    )
}

/// Takes the cable away, both ends of it.
pub(super) fn uncable(number: u8) -> String {
    format!("link del v{number}\n")
}

/// The node's end.
pub(super) fn plug(number: u8) -> String {
    format!(
        "link set lo up\n\
         addr add {}/{PREFIX} dev eth0\n\
         link set eth0 up\n",
        address(number)
    )
}

/// What every node's /etc/hosts says.
pub(super) fn hosts(names: &[Name]) -> String {
    let mut text = format!("127.0.0.1 localhost\n{CONTROLLER} controller\n");
    for (number, name) in (1..).zip(names) {
        text.push_str(&format!("{} {name}\n", address(number)));
    }
    text
}

/// Turns IPv6 off in this network namespace, for interfaces to come too.
pub(super) fn no_ipv6() -> io::Result<()> {
    for which in ["all", "default"] {
        match fs::write(format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6"), "1") {
            // A kernel without IPv6.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}

/// Gives the network namespaces that come from this one a table of connections of their own, and a
/// small one. Without it all share the machine's, of which whoever lists a node's sockets has to
/// walk every bucket: hundreds of thousands. A kernel before Linux 6.1 has no such choice.
pub(super) fn small_tables() {
    let _ = fs::write("/proc/sys/net/ipv4/tcp_child_ehash_entries", "1024");
}
