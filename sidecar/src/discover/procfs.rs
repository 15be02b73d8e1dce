//! Reads `/proc`. What everybody may read becomes [`Facts`]; what needs the process's own ids is in
//! [`crate::attach::sight`].

use super::parse::{self, Listener, SocketLine, Status};
use super::sock_diag;
use pitwall_protocol::ProcessId;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// The most that is read of any file of a process: an app decides how long its command line is.
const LONGEST_FILE: u64 = 256 << 10;
/// `USER_HZ`, which every architecture that Node runs on has at 100.
const TICKS_PER_SECOND: u64 = 100;
/// How much of an executable is searched.
const LARGEST_EXECUTABLE: u64 = 256 << 20;
/// How many descriptors of a process are looked at.
const MOST_DESCRIPTORS: usize = 65_536;

/// Where `/proc` is; another folder in tests.
#[derive(Clone, Debug)]
pub struct ProcRoot(PathBuf);

impl Default for ProcRoot {
    fn default() -> Self {
        Self(PathBuf::from("/proc"))
    }
}

/// What everybody may read about a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Who it is.
    pub id: ProcessId,
    /// From `/proc/PID/status`.
    pub status: Status,
    /// Its arguments.
    pub command: Vec<String>,
    /// The container that its cgroup names.
    pub container: Option<String>,
}

impl ProcRoot {
    /// A folder laid out as `/proc`.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    fn path(&self, pid: u32, file: &str) -> PathBuf {
        self.0.join(pid.to_string()).join(file)
    }

    fn read(&self, pid: u32, file: &str) -> io::Result<Vec<u8>> {
        let mut bytes = vec![];
        File::open(self.path(pid, file))?.take(LONGEST_FILE).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn text(&self, pid: u32, file: &str) -> io::Result<String> {
        self.read(pid, file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Every pid.
    pub fn pids(&self) -> io::Result<Vec<u32>> {
        Ok(std::fs::read_dir(&self.0)?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect())
    }

    /// The container that a process is in.
    pub fn container(&self, pid: u32) -> Option<String> {
        parse::container_id(&self.text(pid, "cgroup").ok()?).map(str::to_owned)
    }

    /// Who has the pid now.
    pub fn identity(&self, pid: u32) -> Option<ProcessId> {
        let start_ticks = parse::start_ticks(&self.text(pid, "stat").ok()?)?;
        Some(ProcessId { pid, start_ticks })
    }

    /// What can be known of a process; `None` when it is gone, or is replaced meanwhile.
    pub fn facts(&self, pid: u32) -> Option<Facts> {
        let id = self.identity(pid)?;
        let status = parse::status(&self.text(pid, "status").ok()?)?;
        let command = parse::arguments(&self.read(pid, "cmdline").unwrap_or_default());
        let container = self.container(pid);
        (self.identity(pid)? == id).then_some(Facts { id, status, command, container })
    }

    /// Whether this very process still runs; one that only waits to be reaped doesn't.
    pub fn runs(&self, id: ProcessId) -> bool {
        self.facts(id.pid).is_some_and(|facts| facts.id == id && !facts.status.ended)
    }

    /// The CPU time that a process has taken so far, of all its threads, in milliseconds.
    pub fn cpu_ms(&self, pid: u32) -> Option<u64> {
        let ticks = parse::cpu_ticks(&self.text(pid, "stat").ok()?)?;
        Some(ticks * 1000 / TICKS_PER_SECOND)
    }

    /// What the scheduler gave its main thread, where the kernel counts.
    pub fn schedstat(&self, pid: u32) -> Option<parse::Schedstat> {
        parse::schedstat(&self.text(pid, "schedstat").ok()?)
    }

    /// Whether this very process runs its own code: one that is being ended doesn't, though it may hold its
    /// memory and its sockets for a while.
    pub fn lives(&self, id: ProcessId) -> bool {
        self.runs(id) && self.text(id.pid, "stat").is_ok_and(|stat| !parse::is_exiting(&stat))
    }

    /// The file that a process executes.
    pub fn executable(&self, pid: u32) -> io::Result<String> {
        std::fs::read_link(self.path(pid, "exe")).map(|path| path.to_string_lossy().into_owned())
    }

    /// Whether the file that a process executes holds these bytes, in its first 256 MiB. A pod that makes this slow slows
    /// its own sidecar only.
    pub fn executable_holds(&self, pid: u32, bytes: &[u8]) -> io::Result<bool> {
        let mut file = File::open(self.path(pid, "exe"))?.take(LARGEST_EXECUTABLE);
        let finder = memchr::memmem::Finder::new(bytes);
        let mut buffer = vec![0; 1 << 20];
        let mut kept = 0;
        loop {
            let read = file.read(&mut buffer[kept..])?;
            if read == 0 {
                return Ok(false);
            }
            let filled = kept + read;
            if finder.find(&buffer[..filled]).is_some() {
                return Ok(true);
            }
            // What is looked for may lie across two reads.
            kept = filled.min(bytes.len() - 1);
            buffer.copy_within(filled - kept..filled, 0);
        }
    }

    /// `NODE_OPTIONS` as the process was started with.
    pub fn node_options(&self, pid: u32) -> io::Result<Option<String>> {
        Ok(parse::variable(&self.read(pid, "environ")?, "NODE_OPTIONS"))
    }

    /// The listening TCP sockets in the network namespace of a process: those of the whole pod.
    pub fn listeners(&self, pid: u32) -> io::Result<Vec<Listener>> {
        let ours = std::fs::read_link(self.0.join("self/ns/net"));
        // Unreadable where the process has other ids: then too a pod has one network.
        let elsewhere =
            std::fs::read_link(self.path(pid, "ns/net")).is_ok_and(|its| ours.is_ok_and(|ours| ours != its));
        if !elsewhere
            && self.path(pid, "stat").exists()
            && let Ok(listeners) = sock_diag::listeners()
        {
            return Ok(listeners);
        }
        self.listeners_by_text(pid)
    }

    /// The same, where netlink is not to be had (a sandbox) or is about another network.
    pub(super) fn listeners_by_text(&self, pid: u32) -> io::Result<Vec<Listener>> {
        let mut found = vec![];
        for file in ["net/tcp", "net/tcp6"] {
            match File::open(self.path(pid, file)) {
                Ok(file) => read_listeners(BufReader::new(file), &mut found)?,
                // A kernel without IPv6.
                Err(error) if error.kind() == io::ErrorKind::NotFound && file == "net/tcp6" => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// How many connections have been made to this port of the pod and not ended.
    pub fn clients_of(&self, pid: u32, port: u16) -> io::Result<usize> {
        let mut clients = 0;
        for file in ["net/tcp", "net/tcp6"] {
            match File::open(self.path(pid, file)) {
                Ok(file) => {
                    for line in BufReader::new(file).lines() {
                        clients += usize::from(parse::is_connection_to(&line?, port));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound && file == "net/tcp6" => {}
                Err(error) => return Err(error),
            }
        }
        Ok(clients)
    }

    /// Which of these sockets a process holds.
    pub fn held_by(&self, pid: u32, inodes: &[u64]) -> io::Result<Vec<u64>> {
        let mut held = vec![];
        if inodes.is_empty() {
            return Ok(held);
        }
        for entry in std::fs::read_dir(self.path(pid, "fd"))?.take(MOST_DESCRIPTORS) {
            // A descriptor may be closed while we look.
            let Ok(link) = entry.and_then(|entry| std::fs::read_link(entry.path())) else { continue };
            if let Some(inode) = link.to_str().and_then(parse::socket_inode)
                && inodes.contains(&inode)
                && !held.contains(&inode)
            {
                held.push(inode);
            }
        }
        Ok(held)
    }

    /// The process that holds a socket, as far as this process may look.
    pub fn holder(&self, inode: u64) -> Option<u32> {
        self.pids()
            .ok()?
            .into_iter()
            .find(|pid| self.held_by(*pid, &[inode]).is_ok_and(|held| !held.is_empty()))
    }

    /// How long ago a process was started, in seconds.
    pub fn age_seconds(&self, id: ProcessId) -> Option<u64> {
        let uptime = std::fs::read_to_string(self.0.join("uptime")).ok()?;
        Some(parse::uptime_seconds(&uptime)?.saturating_sub(id.start_ticks / TICKS_PER_SECOND))
    }

    /// The resident memory of a process and of all others in its container, in bytes. What they share counts
    /// several times.
    pub fn resident_beside(&self, pid: u32) -> u64 {
        let container = self.container(pid);
        let beside =
            |other: &u32| *other == pid || container.is_some() && self.container(*other) == container;
        self.pids().unwrap_or_default().into_iter().filter(beside).map(|pid| self.resident(pid)).sum()
    }

    /// The resident memory of a process in bytes; 0 when it is gone.
    pub fn resident(&self, pid: u32) -> u64 {
        let pages = self.text(pid, "statm").ok().and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
        pages.unwrap_or(0) * rustix::param::page_size() as u64
    }

    /// The memory that the node has free, in bytes.
    pub fn memory_available(&self) -> Option<u64> {
        parse::memory_available(&std::fs::read_to_string(self.0.join("meminfo")).ok()?)
    }

    /// The path, for messages.
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

/// Collects the listening sockets, which the kernel prints before all others: an app with twenty thousand
/// connections costs no more than one with none.
fn read_listeners(lines: impl BufRead, found: &mut Vec<Listener>) -> io::Result<()> {
    for line in lines.lines() {
        match parse::socket_line(&line?) {
            SocketLine::Listening(listener) => found.push(listener),
            SocketLine::Neither => {}
            SocketLine::Other => break,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn this_test_finds_itself() {
        let proc = ProcRoot::default();
        let pid = std::process::id();
        let facts = proc.facts(pid).unwrap();
        assert_eq!(facts.status.inner_pid, pid);
        assert!(proc.runs(facts.id) && proc.lives(facts.id));
        assert!(!proc.runs(ProcessId { start_ticks: facts.id.start_ticks + 1, ..facts.id }));
        assert!(proc.pids().unwrap().contains(&pid));
        assert!(proc.age_seconds(facts.id).unwrap() < 3600);
        assert_eq!(proc.executable(pid).unwrap(), std::env::current_exe().unwrap().to_str().unwrap());
    }

    #[test]
    fn a_listening_socket_is_seen_with_its_holder_and_is_gone_when_closed() {
        let proc = ProcRoot::default();
        let pid = std::process::id();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let seen = |proc: &ProcRoot| proc.listeners(pid).unwrap().into_iter().find(|one| one.port == port);
        let listener = seen(&proc).unwrap();
        assert!(listener.is_loopback());
        assert_eq!(proc.held_by(pid, &[listener.inode]).unwrap(), [listener.inode]);
        assert_eq!(proc.holder(listener.inode), Some(pid));
        drop(socket);
        assert_eq!(seen(&proc), None);
    }

    #[test]
    fn reading_stops_at_the_first_socket_that_does_not_listen() {
        let text = "  sl  local_address rem_address   st\n\
            0: 0100007F:240D 00000000:0000 0A 0:0 00:0 0 1000 0 4711 1\n\
            1: 0100007F:240D 0100007F:C350 01 0:0 00:0 0 1000 0 4713 1\n\
            2: 0100007F:240E 00000000:0000 0A 0:0 00:0 0 1000 0 4712 1\n";
        let mut found = vec![];
        read_listeners(text.as_bytes(), &mut found).unwrap();
        assert_eq!(found.iter().map(|one| one.inode).collect::<Vec<_>>(), [4711]);
    }

    #[test]
    fn a_connection_counts_until_it_is_ended() {
        let proc = ProcRoot::default();
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let clients = || proc.clients_of(std::process::id(), port).unwrap();
        assert_eq!(clients(), 0);
        let client = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (accepted, _) = server.accept().unwrap();
        assert!(clients() > 0);
        drop((client, accepted));
        assert_eq!(clients(), 0);
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let proc = ProcRoot::default();
        let own = proc.resident(std::process::id());
        assert!((1 << 20..1 << 32).contains(&own), "{own}");
        assert!(proc.resident_beside(std::process::id()) >= own);
        assert!(proc.memory_available().unwrap() > 1 << 20);
        assert_eq!(proc.resident(u32::MAX), 0);
    }

    #[test]
    fn an_executable_is_searched_to_its_end() {
        let proc = ProcRoot::default();
        let pid = std::process::id();
        // This text is in the test's own executable; turned around it is not.
        let there = b"only in the test of executable_holds";
        assert!(proc.executable_holds(pid, there).unwrap());
        let absent: Vec<u8> = there.iter().rev().copied().collect();
        assert!(!proc.executable_holds(pid, &absent).unwrap());
        assert!(proc.executable_holds(u32::MAX, there).is_err());
    }

    #[test]
    fn a_process_that_is_gone_is_none() {
        let proc = ProcRoot::at("/nonexistent");
        assert_eq!(proc.facts(1), None);
        assert!(proc.pids().is_err());
        assert!(!proc.runs(ProcessId { pid: 1, start_ticks: 1 }));
    }
}
