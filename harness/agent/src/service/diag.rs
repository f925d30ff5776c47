//! Sockets, asked of the kernel's socket diagnostics (`sock_diag(7)`).
//!
//! `/proc/net/tcp` says the same, but walks the table of all connections of all namespaces to do
//! so: some 5 ms each time on a machine with 24 GiB, however few sockets a node has. For
//! connections the kernel walks it here too, in half the time. Asked for listeners alone, it looks
//! only where listeners are, which takes a tenth of a millisecond.

use std::io;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

use super::Socket;

const REQUEST: u16 = 20; // SOCK_DIAG_BY_FAMILY
const FLAGS: u16 = 0x301; // NLM_F_REQUEST | NLM_F_DUMP
const ERROR: u16 = 2;
const DONE: u16 = 3;
const HEADER: usize = 16;
const TCP: u8 = 6;
const UDP: u8 = 17;
const INET: u8 = 2;
const INET6: u8 = 10;
const ESTABLISHED: u8 = 1;
/// The state of a datagram socket that is connected to nobody.
const CLOSE: u8 = 7;
const CLOSE_WAIT: u8 = 8;
const LISTEN: u8 = 10;

/// Every socket of this network namespace that listens, and every one that waits for datagrams.
pub fn listening() -> io::Result<Vec<Socket>> {
    all(&[LISTEN])
}

/// The same, and connections.
pub fn sockets() -> io::Result<Vec<Socket>> {
    all(&[LISTEN, ESTABLISHED, CLOSE_WAIT])
}

fn all(tcp: &[u8]) -> io::Result<Vec<Socket>> {
    let mut found = Vec::new();
    let mask = |states: &[u8]| states.iter().map(|state| 1 << state).sum();
    for (protocol, states) in [(TCP, mask(tcp)), (UDP, mask(&[CLOSE]))] {
        for family in [INET, INET6] {
            ask(family, protocol, states, &mut found)?;
        }
    }
    Ok(found)
}

fn ask(family: u8, protocol: u8, states: u32, found: &mut Vec<Socket>) -> io::Result<()> {
    let kind = (SocketType::RAW, SocketFlags::CLOEXEC);
    let socket = socket_with(
        AddressFamily::NETLINK,
        kind.0,
        kind.1,
        Some(netlink::SOCK_DIAG),
    )?;
    send(
        &socket,
        &request(family, protocol, states),
        SendFlags::empty(),
    )?;
    let mut buffer = vec![0; 32 * 1024];
    loop {
        let (_, len) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if read(&buffer[..len], protocol == TCP, found)? {
            return Ok(());
        }
    }
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`.
fn request(family: u8, protocol: u8, states: u32) -> [u8; 72] {
    let mut request = [0; 72];
    request[0..4].copy_from_slice(&72u32.to_ne_bytes());
    request[4..6].copy_from_slice(&REQUEST.to_ne_bytes());
    request[6..8].copy_from_slice(&FLAGS.to_ne_bytes());
    request[HEADER] = family;
    request[HEADER + 1] = protocol;
    request[HEADER + 4..HEADER + 8].copy_from_slice(&states.to_ne_bytes());
    request
}

/// Takes the sockets out of one answer, each a `struct inet_diag_msg`. Whether it was the last.
fn read(mut answer: &[u8], tcp: bool, found: &mut Vec<Socket>) -> io::Result<bool> {
    let short = || io::Error::new(io::ErrorKind::InvalidData, "a socket's description is cut");
    while !answer.is_empty() {
        let word = |at: usize| -> io::Result<[u8; 4]> {
            let bytes = answer.get(at..at + 4).ok_or_else(short)?;
            Ok(bytes.try_into().expect("four bytes"))
        };
        let len = u32::from_ne_bytes(word(0)?) as usize;
        let [a, b, ..] = word(4)?;
        match u16::from_ne_bytes([a, b]) {
            DONE => return Ok(true),
            ERROR => {
                let error = i32::from_ne_bytes(word(HEADER)?);
                return Err(io::Error::from_raw_os_error(error.saturating_neg()));
            }
            REQUEST => {
                // The state at 1; the own port in the order of the network, at 4; the inode at 68.
                let [_, state, ..] = word(HEADER)?;
                let [high, low, ..] = word(HEADER + 4)?;
                found.push(Socket {
                    port: u16::from_be_bytes([high, low]),
                    listens: !tcp || state == LISTEN,
                    tcp,
                    inode: u32::from_ne_bytes(word(HEADER + 68)?).into(),
                });
            }
            // Nothing that tells of a socket.
            _ => {}
        }
        let next = len.next_multiple_of(4);
        if len < HEADER || next > answer.len().next_multiple_of(4) {
            return Err(short());
        }
        answer = answer.get(next..).unwrap_or_default();
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    #[test]
    fn those_who_wait_are_as_the_tables_say() {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("binds");
        let tcp6 = TcpListener::bind("[::1]:0");
        let udp = UdpSocket::bind("127.0.0.1:0").expect("binds");
        let to = tcp.local_addr().expect("has one");
        let _asker = TcpStream::connect(to).expect("connects");
        let mut ports = vec![to.port(), udp.local_addr().expect("has one").port()];
        ports.extend(tcp6.iter().map(|s| s.local_addr().expect("has one").port()));
        let waits = |all: Vec<Socket>| {
            let mine = |socket: &Socket| socket.listens && ports.contains(&socket.port);
            let mut mine: Vec<Socket> = all.into_iter().filter(mine).collect();
            mine.sort_by_key(|socket| (socket.port, socket.inode));
            mine
        };
        let found = waits(listening().expect("asks"));
        assert_eq!(found.len(), ports.len());
        assert_eq!(found, waits(super::super::tables().expect("reads")));
    }

    #[test]
    fn connections_are_as_the_tables_say() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let port = listener.local_addr().expect("has one").port();
        let asker = TcpStream::connect(("127.0.0.1", port)).expect("connects");
        let (answerer, _) = listener.accept().expect("accepts");
        let mine = |all: Vec<Socket>| {
            let mut mine: Vec<Socket> = all.into_iter().filter(|s| s.port == port).collect();
            mine.sort_by_key(|socket| socket.inode);
            mine
        };
        let same = |found: Vec<Socket>| {
            assert_eq!(found, mine(super::super::tables().expect("reads")));
            found
        };
        let found = same(mine(sockets().expect("asks")));
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found.iter().filter(|socket| socket.listens).count(), 1);
        // Half closed by the other side, it may answer still.
        drop(asker);
        let read = (&answerer).read(&mut [0]).expect("its end");
        assert_eq!(read, 0);
        assert_eq!(same(mine(sockets().expect("asks"))).len(), 2);
    }

    #[test]
    fn an_error_of_the_kernel_and_a_cut_answer_are_errors() {
        let mut error = [0; 36];
        error[0..4].copy_from_slice(&36u32.to_ne_bytes());
        error[4..6].copy_from_slice(&ERROR.to_ne_bytes());
        error[HEADER..HEADER + 4].copy_from_slice(&(-2i32).to_ne_bytes());
        let mut found = Vec::new();
        let told = read(&error, true, &mut found).expect_err("an error");
        assert_eq!(told.kind(), io::ErrorKind::NotFound);
        let mut socket = [0; HEADER + 72];
        socket[0..4].copy_from_slice(&(HEADER as u32 + 72).to_ne_bytes());
        socket[4..6].copy_from_slice(&REQUEST.to_ne_bytes());
        socket[HEADER + 4..HEADER + 6].copy_from_slice(&8080u16.to_be_bytes());
        socket[HEADER + 68..].copy_from_slice(&4711u32.to_ne_bytes());
        assert!(!read(&socket, true, &mut found).expect("a socket"));
        assert_eq!((found[0].port, found[0].inode), (8080, 4711));
        for len in 1..socket.len() {
            read(&socket[..len], true, &mut found).expect_err("cut");
        }
        let mut nothing = socket;
        nothing[4..6].copy_from_slice(&1u16.to_ne_bytes());
        let before = found.len();
        assert!(!read(&nothing, true, &mut found).expect("it says nothing"));
        assert_eq!(found.len(), before);
        let endless = [0; HEADER];
        read(&endless, true, &mut found).expect_err("it has no length");
    }
}
