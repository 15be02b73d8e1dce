//! Asks the kernel for this network namespace's listening TCP sockets (`sock_diag(7)`).
//!
//! `/proc/PID/net/tcp` costs a walk of the whole table of connections, 2 ms and more a time however few there are;
//! the listening sockets have a table of their own, and only netlink reads that alone.

use super::parse::Listener;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, netlink, recv, send, socket};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

// linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;
const IPPROTO_TCP: u8 = 6;
const TCP_LISTEN: u32 = 10;
/// `nlmsghdr`: length, type, flags, sequence, port.
const HEADER: usize = 16;
/// `inet_diag_req_v2`: family, protocol, extensions, pad, states, and a socket id that a dump leaves empty.
const REQUEST: usize = 8 + 48;
/// `inet_diag_msg` up to its end, the inode.
const MESSAGE: usize = 72;
/// One datagram of the answer: the kernel fills at most what it is given.
const BUFFER: usize = 16 << 10;
/// How many datagrams are read: 128 sockets and more in each.
const MOST_DATAGRAMS: usize = 64;

/// Every listening TCP socket of this process's network namespace.
pub(super) fn listeners() -> io::Result<Vec<Listener>> {
    let mut found = vec![];
    for (family, number) in [(AddressFamily::INET, 2), (AddressFamily::INET6, 10)] {
        debug_assert_eq!(u16::from(number), family.as_raw());
        dump(number, &mut found)?;
    }
    Ok(found)
}

fn dump(family: u8, found: &mut Vec<Listener>) -> io::Result<()> {
    let socket = socket(AddressFamily::NETLINK, SocketType::RAW, Some(netlink::SOCK_DIAG))?;
    // A netlink socket without an address sends to the kernel, which has the answer ready when this returns.
    send(&socket, &request(family), SendFlags::empty())?;
    let mut buffer = vec![0; BUFFER];
    for _ in 0..MOST_DATAGRAMS {
        let (length, _) = recv(&socket, buffer.as_mut_slice(), RecvFlags::DONTWAIT)?;
        if read_answer(&buffer[..length], found)? {
            return Ok(());
        }
    }
    Err(io::Error::other("the kernel's list of sockets has no end"))
}

fn request(family: u8) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + REQUEST);
    bytes.extend(u32::try_from(HEADER + REQUEST).unwrap_or_default().to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([family, IPPROTO_TCP, 0, 0]);
    bytes.extend((1_u32 << TCP_LISTEN).to_ne_bytes());
    bytes.resize(HEADER + REQUEST, 0);
    bytes
}

/// Reads one datagram's messages; whether it was the last.
fn read_answer(mut bytes: &[u8], found: &mut Vec<Listener>) -> io::Result<bool> {
    let odd = || io::Error::new(io::ErrorKind::InvalidData, "the kernel's list of sockets is cut off");
    while !bytes.is_empty() {
        let (length, kind) = bytes
            .first_chunk::<4>()
            .and_then(|length| usize::try_from(u32::from_ne_bytes(*length)).ok())
            .zip(bytes.get(4..6).and_then(|kind| kind.try_into().ok()).map(u16::from_ne_bytes))
            .ok_or_else(odd)?;
        let message = bytes.get(HEADER..length).ok_or_else(odd)?;
        match kind {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => {
                let number = message.first_chunk().map_or(0, |number| i32::from_ne_bytes(*number));
                return Err(io::Error::from_raw_os_error(number.saturating_neg()));
            }
            SOCK_DIAG_BY_FAMILY => found.push(listener(message).ok_or_else(odd)?),
            _ => {}
        }
        // Messages begin at multiples of four.
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// `inet_diag_msg`: family, state, timer, retransmits; ports and addresses in network order; device, cookie;
/// expiry, queues, uid, inode.
fn listener(message: &[u8]) -> Option<Listener> {
    let message = message.get(..MESSAGE)?;
    let port = u16::from_be_bytes(message.get(4..6)?.try_into().ok()?);
    let address: [u8; 16] = message.get(8..24)?.try_into().ok()?;
    let address = match message[0] {
        2 => IpAddr::V4(Ipv4Addr::new(address[0], address[1], address[2], address[3])),
        10 => IpAddr::V6(Ipv6Addr::from(address)),
        _ => return None,
    };
    let inode = u32::from_ne_bytes(message.get(68..72)?.try_into().ok()?);
    Some(Listener { address, port, inode: u64::from(inode) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn what_the_kernel_says_is_what_proc_says() {
        let sockets: Vec<_> = ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"]
            .iter()
            .filter_map(|address| TcpListener::bind(address).ok())
            .collect();
        assert!(sockets.len() >= 2);
        let listed = listeners().unwrap();
        let proc = crate::discover::procfs::ProcRoot::default();
        for socket in sockets {
            let address = socket.local_addr().unwrap();
            let of = |all: &[Listener]| all.iter().find(|one| one.port == address.port()).cloned();
            let one = of(&listed).unwrap();
            assert_eq!(one.address, address.ip());
            assert_eq!(Some(one), of(&proc.listeners_by_text(std::process::id()).unwrap()));
        }
    }

    #[test]
    fn an_answer_that_is_cut_off_is_an_error() {
        let mut message = vec![0; HEADER + MESSAGE];
        message[..4].copy_from_slice(&u32::try_from(HEADER + MESSAGE).unwrap().to_ne_bytes());
        message[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        message[HEADER] = 2;
        let mut found = vec![];
        assert!(!read_answer(&message, &mut found).unwrap());
        assert_eq!(found.len(), 1);
        for end in 1..message.len() {
            assert!(read_answer(&message[..end], &mut vec![]).is_err(), "{end}");
        }
        // A length of zero must not be read for ever.
        assert!(read_answer(&[0; 64], &mut vec![]).is_err());
    }
}
