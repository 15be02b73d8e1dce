//! Parsers for the files under `/proc`. Pure, and suspicious: names and command lines are the app's own text.
//!
//! Formats: `proc_pid_status(5)`, `proc_pid_stat(5)`, `proc_pid_net(5)`, `cgroups(7)`.

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The bit of a signal in `SigCgt` and its siblings.
fn bit(signal: u32) -> u64 {
    1 << (signal - 1)
}

/// SIGUSR1 on Linux, on every architecture that Node runs on but MIPS.
pub const SIGUSR1: u32 = 10;

/// A signal set as `/proc/PID/status` prints it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignalSet(pub u64);

impl SignalSet {
    /// Whether the set holds SIGUSR1.
    pub fn has_usr1(self) -> bool {
        self.0 & bit(SIGUSR1) != 0
    }

    /// Whether it is what a Go program catches: every signal that can be caught, faults included, which Node and its
    /// libraries leave alone.
    pub fn is_of_go(self) -> bool {
        const SIGBUS: u32 = 7;
        const SIGFPE: u32 = 8;
        let faults = bit(SIGBUS) | bit(SIGFPE);
        self.0 & faults == faults
    }
}

/// What is used of `/proc/PID/status`, which everybody may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The first 15 bytes of the main thread's name; the app may set it.
    pub name: String,
    /// The parent in this process namespace; 0 when it is outside of it.
    pub parent: u32,
    /// The real uid.
    pub uid: u32,
    /// The real gid.
    pub gid: u32,
    /// The pid in the process's own, innermost namespace: what `process.pid` says.
    pub inner_pid: u32,
    /// The signals that have a handler.
    pub caught: SignalSet,
    /// The signals that the main thread blocks.
    pub blocked: SignalSet,
    /// Whether the process has ended and only waits to be reaped.
    pub ended: bool,
}

/// Reads `/proc/PID/status`; `None` when a line that every kernel prints is missing.
pub fn status(text: &str) -> Option<Status> {
    // The kernel escapes line breaks in `Name`, so a line is a line; the first of a name counts.
    let field =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let first_number = |name| field(name)?.split_ascii_whitespace().next()?.parse().ok();
    let set = |name| Some(SignalSet(u64::from_str_radix(field(name)?, 16).ok()?));
    let inner_pid = match field("NSpid") {
        Some(pids) => pids.split_ascii_whitespace().last()?.parse().ok()?,
        None => first_number("Pid")?,
    };
    Some(Status {
        name: field("Name")?.to_owned(),
        parent: first_number("PPid")?,
        uid: first_number("Uid")?,
        gid: first_number("Gid")?,
        inner_pid,
        caught: set("SigCgt")?,
        blocked: set("SigBlk")?,
        ended: field("State").is_some_and(|state| state.starts_with(['Z', 'X', 'x'])),
    })
}

/// The start time in `/proc/PID/stat`, in clock ticks after boot.
pub fn start_ticks(stat: &str) -> Option<u64> {
    after_name(stat, 19)
}

/// The CPU time in `/proc/PID/stat`, of all threads, in clock ticks.
pub fn cpu_ticks(stat: &str) -> Option<u64> {
    Some(after_name::<u64>(stat, 11)? + after_name::<u64>(stat, 12)?)
}

/// What the scheduler gave a thread since it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedstat {
    /// On a CPU, in nanoseconds.
    pub running_ns: u64,
    /// Ready to run, and without a CPU, in nanoseconds.
    pub waiting_ns: u64,
}

/// Reads `/proc/PID/schedstat`; `None` too where the kernel doesn't count.
pub fn schedstat(text: &str) -> Option<Schedstat> {
    let mut numbers = text.split_ascii_whitespace().map(|number| number.parse().ok());
    let (running_ns, waiting_ns) = (numbers.next()??, numbers.next()??);
    (running_ns > 0).then_some(Schedstat { running_ns, waiting_ns })
}

/// What a cgroup's CPU limit took since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttled {
    /// The periods in which it ran.
    pub periods: u64,
    /// Those of them in which it was stopped.
    pub throttled_periods: u64,
    /// For how long, in microseconds.
    pub throttled_us: u64,
}

/// Reads `cpu.stat` of either version of cgroups; `None` where there is no limit that counts.
pub fn throttling(text: &str) -> Option<Throttled> {
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        value.trim().parse::<u64>().ok()
    };
    Some(Throttled {
        periods: field("nr_periods").filter(|periods| *periods > 0)?,
        throttled_periods: field("nr_throttled")?,
        throttled_us: field("throttled_usec").or_else(|| Some(field("throttled_time")? / 1000))?,
    })
}

/// Whether `/proc/PID/stat` is of a process that has begun to end: it runs no code of its own any more, though
/// it may hold its memory and its sockets for a while.
pub fn is_exiting(stat: &str) -> bool {
    const PF_EXITING: u32 = 4;
    after_name::<u32>(stat, 6).is_some_and(|flags| flags & PF_EXITING != 0)
}

/// The field of `/proc/PID/stat` that is this many behind the name, which is in parentheses and may hold blanks
/// and parentheses of its own.
fn after_name<T: FromStr>(stat: &str, nth: usize) -> Option<T> {
    let (_, after) = stat.rsplit_once(')')?;
    after.split_ascii_whitespace().nth(nth)?.parse().ok()
}

/// Whether a line of `/proc/net/tcp` is of a connection that was made to this local port and is not ended.
pub fn is_connection_to(line: &str, port: u16) -> bool {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let local = fields.next().and_then(|local| u16::from_str_radix(local.rsplit(':').next()?, 16).ok());
    // ESTABLISHED, or one that only the other side has ended.
    local == Some(port) && matches!(fields.nth(1), Some("01" | "08"))
}

/// `MemAvailable` of `/proc/meminfo`, in bytes.
pub fn memory_available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The seconds since boot in `/proc/uptime`.
pub fn uptime_seconds(text: &str) -> Option<u64> {
    text.split(['.', ' ']).next()?.parse().ok()
}

/// The arguments of `/proc/PID/cmdline`.
///
/// A process that set its title has one argument with blanks in it, and NULs behind it.
pub fn arguments(cmdline: &[u8]) -> Vec<String> {
    let end = cmdline.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    if end == 0 {
        return vec![];
    }
    cmdline[..end].split(|byte| *byte == 0).map(|arg| String::from_utf8_lossy(arg).into_owned()).collect()
}

/// The value of a variable in `/proc/PID/environ`.
pub fn variable(environ: &[u8], name: &str) -> Option<String> {
    environ.split(|byte| *byte == 0).find_map(|pair| {
        let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(String::from_utf8_lossy(value).into_owned())
    })
}

/// Whether a container id, as the API gives it, is one: 64 hexadecimal digits.
pub fn is_container_id(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// The container id that a `/proc/PID/cgroup` names, from whichever hierarchy says it.
///
/// Seen in the wild: `/kubepods/besteffort/podUID/ID` (v1, cgroupfs),
/// `/kubepods.slice/…/cri-containerd-ID.scope` and `crio-ID.scope` (systemd), and `/../ID` (v2, read from
/// another container's cgroup namespace). A cgroup that the container made inside its own comes after it.
pub fn container_id(cgroup: &str) -> Option<&str> {
    cgroup
        .lines()
        .filter_map(|line| line.splitn(3, ':').nth(2))
        .flat_map(|path| path.split('/'))
        .map(|component| {
            let name = component.strip_suffix(".scope").unwrap_or(component);
            name.rsplit_once(['-', ':']).map_or(name, |(_, last)| last)
        })
        .find(|name| is_container_id(name))
}

/// A TCP socket that waits for connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Listener {
    /// The address that it is bound to.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// The inode of the socket: no two live sockets share one.
    pub inode: u64,
}

impl Listener {
    /// Whether only this network namespace can reach it.
    pub fn is_loopback(&self) -> bool {
        match self.address {
            IpAddr::V4(v4) => v4.is_loopback(),
            IpAddr::V6(v6) => v6.is_loopback() || v6.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback()),
        }
    }

    /// Whether binding `port` on the IPv4 loopback would fail because of this socket.
    pub fn takes(&self, port: u16) -> bool {
        let covers = match self.address {
            IpAddr::V4(v4) => v4.is_loopback() || v4.is_unspecified(),
            IpAddr::V6(v6) => v6.is_unspecified() || v6.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback()),
        };
        covers && self.port == port
    }
}

/// A line of `/proc/PID/net/tcp` or `tcp6`, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketLine {
    /// A listening socket.
    Listening(Listener),
    /// Another socket. The kernel prints these after all listening ones.
    Other,
    /// The heading, or something unreadable.
    Neither,
}

/// Reads one line of `/proc/PID/net/tcp` or `tcp6`.
pub fn socket_line(line: &str) -> SocketLine {
    const LISTEN: &str = "0A";
    let mut fields = line.split_ascii_whitespace();
    let (Some(number), Some(local), Some(_remote), Some(state)) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return SocketLine::Neither;
    };
    if !number.ends_with(':') {
        return SocketLine::Neither;
    }
    if state != LISTEN {
        return SocketLine::Other;
    }
    // After the state: queues, timer, retransmits, uid, timeout, inode.
    let listener = endpoint(local)
        .and_then(|(address, port)| Some(Listener { address, port, inode: fields.nth(5)?.parse().ok()? }));
    listener.map_or(SocketLine::Neither, SocketLine::Listening)
}

/// Reads `0100007F:240D`: each 32-bit word of the address in the machine's byte order, the port plainly.
fn endpoint(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word =
        |at: usize| Some(u32::from_str_radix(address.get(at * 8..at * 8 + 8)?, 16).ok()?.to_ne_bytes());
    let address = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for at in 0..4 {
                bytes[at * 4..at * 4 + 4].copy_from_slice(&word(at)?);
            }
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some((address, port))
}

/// The inode of a `/proc/PID/fd` link such as `socket:[4711]`.
pub fn socket_inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f1c0e1f9d0b4a5c6d7e8f90112233445566778899aabbccddeeff0011223344";

    #[test]
    fn status_gives_ids_signals_and_the_innermost_pid() {
        let text = "Name:\tnode\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t17\nPid:\t17\nPPid:\t1\n\
                    Uid:\t1000\t1001\t1002\t1003\nGid:\t2000\t2000\t2000\t2000\nNSpid:\t4711\t17\t3\n\
                    SigBlk:\t0000000000000000\nSigCgt:\t0000000100004602\n";
        let status = status(text).unwrap();
        assert_eq!(
            status,
            Status {
                name: "node".into(),
                parent: 1,
                uid: 1000,
                gid: 2000,
                inner_pid: 3,
                caught: SignalSet(0x1_0000_4602),
                blocked: SignalSet(0),
                ended: false,
            }
        );
        assert!(status.caught.has_usr1());
    }

    #[test]
    fn a_name_cannot_pass_for_another_line_of_status() {
        // What the kernel prints for a thread named "x\nSigCgt:\t4602".
        let text = "Name:\tx\\nSigCgt:\t4602\nState:\tZ (zombie)\nPid:\t9\nPPid:\t1\nUid:\t0\t0\t0\t0\n\
                    Gid:\t0\t0\t0\t0\nSigBlk:\t0\nSigCgt:\t0\n";
        let status = status(text).unwrap();
        assert!(!status.caught.has_usr1());
        assert!(status.ended);
        assert_eq!(status.inner_pid, 9, "a kernel without NSpid");
    }

    #[test]
    fn a_cut_status_is_no_status() {
        for text in ["", "Name:\tnode\n", "Name:\tnode\nPid:\tx\n", "SigCgt:\tzz\n"] {
            assert_eq!(status(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_the_scheduler_gave_is_read_where_the_kernel_counts() {
        let read = Schedstat { running_ns: 12_345, waiting_ns: 678 };
        for (text, seen) in [
            ("12345 678 9\n", Some(read)),
            ("0 0 0\n", None),
            ("", None),
            ("12345\n", None),
            ("x 1 2\n", None),
        ] {
            assert_eq!(schedstat(text), seen, "{text:?}");
        }
    }

    #[test]
    fn throttling_is_read_of_both_versions_of_cgroups() {
        let read = Throttled { periods: 10, throttled_periods: 3, throttled_us: 42 };
        let second =
            "usage_usec 5\nuser_usec 1\nnr_periods 10\nnr_throttled 3\nthrottled_usec 42\nnr_bursts 0\n";
        for (text, seen) in [
            (second, Some(read)),
            ("nr_periods 10\nnr_throttled 3\nthrottled_time 42999\n", Some(read)),
            ("usage_usec 5\nnr_periods 0\nnr_throttled 0\nthrottled_usec 0\n", None),
            ("usage_usec 5\n", None),
            ("nr_periods x\nnr_throttled 3\nthrottled_usec 42\n", None),
            ("", None),
        ] {
            assert_eq!(throttling(text), seen, "{text:?}");
        }
    }

    #[test]
    fn the_bit_is_that_of_sigusr1() {
        for (set, caught) in [(0x4602, true), (0x4402, false), (0x200, true), (0, false), (!0x200, false)] {
            assert_eq!(SignalSet(set).has_usr1(), caught, "{set:x}");
        }
    }

    #[test]
    fn what_kubectl_catches_is_of_go_and_what_node_catches_is_not() {
        for (set, go) in [(0xffff_fffd_7fc1_fefd, true), (0x1_0000_4602, false), (0, false)] {
            assert_eq!(SignalSet(set).is_of_go(), go, "{set:x}");
        }
    }

    #[test]
    fn start_time_is_found_behind_any_name() {
        let rest = "S 1 17 17 0 -1 4194560 0 0 0 0 1 2 3 4 20 0 11 0 98765 1000 200";
        for name in ["node", "a b", "a) S 1 1", "((", ") ) )", "", "x\u{fffd}"] {
            let stat = format!("17 ({name}) {rest}");
            assert_eq!((start_ticks(&stat), cpu_ticks(&stat)), (Some(98765), Some(3)), "{name:?}");
        }
        for text in
            ["", "17", "17 (node", "17 (node) S 1", "17 (node) S 1 17 17 0 -1 4 0 0 0 0 1 2 3 4 20 0 11 0 x"]
        {
            assert_eq!(start_ticks(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_process_that_ends_is_told_by_its_flags() {
        for (flags, exiting) in [("4194560", false), ("4194564", true), ("4228100", true), ("x", false)] {
            let stat = format!("17 (a) 4 4) R 1 17 17 0 -1 {flags} 0 0 0 0 1 2 3 4 20 0 11 0 98765 1000 200");
            assert_eq!(is_exiting(&stat), exiting, "{stat}");
        }
        assert!(!is_exiting("17 (node) S 1"));
    }

    #[test]
    fn arguments_are_split_at_nuls() {
        let rows: [(&[u8], &[&str]); 6] = [
            (b"", &[]),
            (b"\0\0", &[]),
            (b"node\0app.js\0", &["node", "app.js"]),
            (b"node\0\0app.js\0", &["node", "", "app.js"]),
            (b"my title\0\0\0\0\0", &["my title"]),
            (b"node\0\xff\0", &["node", "\u{fffd}"]),
        ];
        for (cmdline, expected) in rows {
            assert_eq!(arguments(cmdline), expected, "{cmdline:?}");
        }
    }

    #[test]
    fn a_variable_is_found_by_its_whole_name() {
        let environ = b"MY_NODE_OPTIONS=no\0NODE_OPTIONS=--inspect-port=0 a=b\0NODE_OPTIONS=second\0X";
        assert_eq!(variable(environ, "NODE_OPTIONS").as_deref(), Some("--inspect-port=0 a=b"));
        assert_eq!(variable(environ, "X"), None);
        assert_eq!(variable(b"", "NODE_OPTIONS"), None);
    }

    #[test]
    fn the_container_is_found_in_every_known_layout() {
        let rows = [
            format!("4:memory:/kubepods/besteffort/pod1-2/{ID}\n0::/\n"),
            format!("0::/../{ID}\n"),
            format!("0::/../cri-containerd-{ID}.scope\n"),
            format!("0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope/nested\n"),
            format!("12:cpu:/system.slice/docker-{ID}.scope\n"),
            format!("12:cpu:/kubepods/crio-{ID}.scope\n"),
            format!(
                "12:cpu:/system.slice/containerd.service/kubepods-burstable-pod1.slice:cri-containerd:{ID}\n"
            ),
            format!("9:name=systemd:/{ID}\n8:pids:/\n"),
        ];
        for row in rows {
            assert_eq!(container_id(&row), Some(ID), "{row}");
        }
        let short = &ID[1..];
        for row in ["", "0::/\n", "0::/../x\n", "garbage", &format!("0::/{short}\n"), &format!("0::/a{ID}\n")]
        {
            assert_eq!(container_id(row), None, "{row}");
        }
    }

    #[test]
    fn listening_sockets_are_told_from_others() {
        let heading = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
        let v4 = "   0: 0100007F:240D 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0000000000000000 100 0 0 10 0";
        let any = "   1: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4712 1";
        let busy = "   2: 0100007F:240D 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 4713 1";
        let v6 = "   0: 00000000000000000000000001000000:240D 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4714 1";
        let listener = |address: &str, port, inode| {
            SocketLine::Listening(Listener { address: address.parse().unwrap(), port, inode })
        };
        let rows = [
            (heading, SocketLine::Neither),
            ("", SocketLine::Neither),
            ("0: zz 0 0A", SocketLine::Neither),
            (v4, listener("127.0.0.1", 9229, 4711)),
            (any, listener("0.0.0.0", 8080, 4712)),
            (busy, SocketLine::Other),
            (v6, listener("::1", 9229, 4714)),
        ];
        for (line, expected) in rows {
            assert_eq!(socket_line(line), expected, "{line}");
        }
    }

    #[test]
    fn a_wildcard_socket_takes_the_port_on_loopback_too() {
        let rows = [
            ("127.0.0.1", true, true),
            ("127.0.0.9", true, true),
            ("0.0.0.0", false, true),
            ("::", false, true),
            ("::1", true, false),
            ("::ffff:127.0.0.1", true, true),
            ("10.0.0.7", false, false),
        ];
        for (address, loopback, takes) in rows {
            let listener = Listener { address: address.parse().unwrap(), port: 9229, inode: 1 };
            assert_eq!((listener.is_loopback(), listener.takes(9229)), (loopback, takes), "{address}");
            assert!(!listener.takes(9230));
        }
    }

    #[test]
    fn only_socket_links_have_socket_inodes() {
        for (link, inode) in
            [("socket:[12]", Some(12)), ("pipe:[12]", None), ("socket:[x]", None), ("/dev/null", None)]
        {
            assert_eq!(socket_inode(link), inode);
        }
    }
}
