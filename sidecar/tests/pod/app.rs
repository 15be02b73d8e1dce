//! Programs in a container.

use super::PATIENCE;
use super::container::Container;
use pitwall_protocol::ProcessId;
use pitwall_sidecar::discover::procfs::ProcRoot;
pub(crate) use pitwall_test_node::binary as node;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{sleep, timeout};

/// A running program, killed when dropped.
pub(crate) struct App {
    pub(crate) child: Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
    /// Where it serves.
    pub(crate) port: u16,
}

/// Where the tests' programs are.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/apps").join(name)
}

/// A port that nobody listens on, a moment ago.
pub(crate) fn free_port() -> u16 {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    free.local_addr().expect("an address").port()
}

impl App {
    /// Starts `tests/apps/SCRIPT` with these options, and waits until it says `ready PORT`.
    pub(crate) async fn node(container: &Container, version: &str, options: &[&str], name: &str) -> Self {
        let mut command = Command::new(node(version));
        command.args(options).arg(script(name));
        Self::start(container, command).await
    }

    pub(crate) async fn start(container: &Container, mut command: Command) -> Self {
        let mut child = command
            .env_remove("NODE_OPTIONS")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        container.admit(child.id().expect("it runs"));
        let stdin = child.stdin.take().expect("piped");
        let stdout = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut app = Self { child, stdin, stdout, port: 0 };
        let line = app.says("ready").await;
        app.port = line.split(' ').nth(1).and_then(|port| port.parse().ok()).expect("ready PORT");
        app
    }

    pub(crate) fn id(&self) -> ProcessId {
        ProcRoot::default().identity(self.child.id().expect("it runs")).expect("it runs")
    }

    /// The next line of its stdout that contains `text`.
    pub(crate) async fn says(&mut self, text: &str) -> String {
        let search = async {
            while let Some(line) = self.stdout.next_line().await.expect("stdout") {
                if line.contains(text) {
                    return line;
                }
            }
            panic!("the program ended before it said {text:?}");
        };
        timeout(PATIENCE, search).await.unwrap_or_else(|_| panic!("the program never said {text:?}"))
    }

    pub(crate) async fn hears(&mut self, text: &str) {
        self.stdin.write_all(text.as_bytes()).await.expect("it listens");
    }

    /// It answers an HTTP request: its event loop turns.
    pub(crate) async fn serves(&self) {
        let asked = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            std::io::Result::Ok(answer)
        };
        let answer = timeout(PATIENCE, asked).await.expect("it answers in time").expect("it answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// The ports that it listens on, its own service left out.
    pub(crate) fn other_ports(&self) -> Vec<u16> {
        let proc = ProcRoot::default();
        let pid = self.child.id().expect("it runs");
        let all = proc.listeners(pid).expect("it runs");
        let held = proc.held_by(pid, &all.iter().map(|one| one.inode).collect::<Vec<_>>()).expect("it runs");
        all.into_iter()
            .filter(|one| held.contains(&one.inode) && one.port != self.port)
            .map(|one| one.port)
            .collect()
    }

    /// In a moment, it listens on its own service's port alone.
    pub(crate) async fn closes_other_ports(&self) {
        let closed = async {
            while !self.other_ports().is_empty() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, closed).await.expect("no other port is open");
    }
}
