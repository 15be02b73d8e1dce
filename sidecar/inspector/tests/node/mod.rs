//! Real Node processes to attach to.

use pitwall_test_node::binary;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pitwall_inspector::expression::{self, Identity};
use pitwall_inspector::{Closed, Command, CommandId, Connection, Evaluated, Incoming, Limits, list};
use serde_json::value::RawValue;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Nothing here takes longer, but on a machine that does ten other things.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A Node process, killed when dropped.
pub(crate) struct Node {
    pub(crate) child: Child,
    stdin: ChildStdin,
    stdout: mpsc::UnboundedReceiver<String>,
    stderr: mpsc::UnboundedReceiver<String>,
}

impl Node {
    /// Starts `tests/apps/APP` and waits until it prints `ready`. Its inspector will take a free port.
    pub(crate) async fn start(version: &str, app: &str) -> Self {
        let mut node = Self::spawn(version, &["--inspect-port=0", app]);
        node.says("ready").await;
        node
    }

    /// Stops before its own first line, with its inspector open.
    pub(crate) async fn before_its_start(version: &str) -> (Self, Attached) {
        Self::starts_open(version, &["--inspect-brk-node=127.0.0.1:0", "ticking.js"]).await
    }

    /// Stops in the midst of its start, with its inspector open, until `unblock` is set.
    pub(crate) async fn amid_its_start(version: &str) -> (Self, Attached) {
        let arguments = ["--inspect=127.0.0.1:0", "--require=./blocks-start.js", "ticking.js"];
        Self::starts_open(version, &arguments).await
    }

    async fn starts_open(version: &str, arguments: &[&str]) -> (Self, Attached) {
        let mut node = Self::spawn(version, arguments);
        let addr = node.listens().await;
        (node, Attached::to(addr).await)
    }

    fn spawn(version: &str, arguments: &[&str]) -> Self {
        let mut child = tokio::process::Command::new(binary(version))
            .args(arguments)
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/apps"))
            .env_remove("NODE_OPTIONS")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("Node starts");
        Self {
            stdin: child.stdin.take().expect("piped"),
            stdout: lines(child.stdout.take().expect("piped")),
            stderr: lines(child.stderr.take().expect("piped")),
            child,
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id().expect("alive")).expect("a pid")
    }

    /// The next line of stdout that contains `text`.
    pub(crate) async fn says(&mut self, text: &str) -> String {
        next_line(&mut self.stdout, text).await
    }

    /// Its event loop turns, from now on.
    pub(crate) async fn ticks_on(&mut self) {
        while self.stdout.try_recv().is_ok() {}
        // The first may have been on its way already.
        self.says("tick").await;
        self.says("tick").await;
    }

    /// Writes to its stdin.
    pub(crate) async fn hears(&mut self, text: &str) {
        self.stdin.write_all(text.as_bytes()).await.expect("it listens");
    }

    /// Sends SIGUSR1, and says where the inspector opened.
    async fn open_inspector(&mut self) -> SocketAddr {
        kill(Pid::from_raw(self.pid()), Signal::SIGUSR1).expect("the signal is sent");
        self.listens().await
    }

    async fn listens(&mut self) -> SocketAddr {
        let line = next_line(&mut self.stderr, "Debugger listening on ws://").await;
        let address = line.split("ws://").nth(1).and_then(|rest| rest.split('/').next()).expect("an address");
        address.parse().expect("an address")
    }

    /// Opens the inspector and connects to it.
    pub(crate) async fn attach(&mut self) -> Attached {
        let addr = self.open_inspector().await;
        Attached::to(addr).await
    }
}

fn lines(stream: impl AsyncRead + Unpin + Send + 'static) -> mpsc::UnboundedReceiver<String> {
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let _ = sender.send(line);
        }
    });
    receiver
}

async fn next_line(lines: &mut mpsc::UnboundedReceiver<String>, text: &str) -> String {
    let mut seen = Vec::new();
    let search = async {
        while let Some(line) = lines.recv().await {
            if line.contains(text) {
                return Some(line);
            }
            seen.push(line);
        }
        None
    };
    let found = timeout(PATIENCE, search).await.unwrap_or_default();
    found.unwrap_or_else(|| panic!("no line with {text:?} came, but {seen:#?}"))
}

/// An open connection.
pub(crate) struct Attached {
    pub(crate) addr: SocketAddr,
    pub(crate) connection: Connection,
}

/// What became of a command.
#[derive(Debug)]
pub(crate) enum Outcome {
    Result(Box<RawValue>),
    Streamed(Vec<u8>),
    Refused(String),
    Closed(Closed),
}

impl Attached {
    async fn to(addr: SocketAddr) -> Self {
        let targets = list(addr).await.expect("the list");
        assert_eq!(targets.len(), 1, "Node offers one target");
        let connection =
            Connection::connect(addr, &targets[0], Limits::default()).await.expect("it connects");
        Self { addr, connection }
    }

    /// Sends a command and waits for what comes of it.
    pub(crate) async fn run(&mut self, command: Command<'_>) -> Outcome {
        let sent = self.connection.send(&command).expect("it is sent");
        self.outcome(sent).await
    }

    async fn outcome(&mut self, sent: CommandId) -> Outcome {
        timeout(PATIENCE, async {
            let mut streamed = Vec::new();
            loop {
                match self.connection.next().await.expect("the inspector speaks the protocol") {
                    Incoming::Reply { id, result } if id == sent => return Outcome::Result(result),
                    Incoming::Refused { id, message, .. } if id == sent => return Outcome::Refused(message),
                    Incoming::StreamChunk { id, bytes } if id == sent => streamed.extend_from_slice(bytes),
                    Incoming::StreamEnd { id, bytes } if id == sent => {
                        assert_eq!(bytes, streamed.len() as u64);
                        return Outcome::Streamed(streamed);
                    }
                    Incoming::Closed(closed) => return Outcome::Closed(closed),
                    other => panic!("{other:?} is to no command that was sent"),
                }
            }
        })
        .await
        .expect("an answer in time")
    }

    /// Waits until the connection ends.
    pub(crate) async fn closed(&mut self) -> Closed {
        match timeout(PATIENCE, self.connection.next()).await.expect("an end in time").expect("an end") {
            Incoming::Closed(closed) => closed,
            other => panic!("{other:?} instead of an end"),
        }
    }

    /// Runs a command whose result is an empty object.
    pub(crate) async fn ok(&mut self, command: Command<'_>) {
        match self.run(command).await {
            Outcome::Result(_) => {}
            other => panic!("{other:?} came of {command:?}"),
        }
    }

    /// The JSON value of an expression.
    pub(crate) async fn evaluate(&mut self, expression: &str) -> Box<RawValue> {
        self.value(expression, true).await
    }

    /// Who answers, once the app isn't starting any more.
    pub(crate) async fn identity(&mut self) -> Identity {
        timeout(PATIENCE, async {
            loop {
                if self.starting().await {
                    continue;
                }
                let answer = self.evaluate(&expression::identity()).await;
                if let Some(identity) = Identity::from_value(&answer).expect("the shape of a result") {
                    return identity;
                }
            }
        })
        .await
        .expect("it starts in time")
    }

    pub(crate) async fn starting(&mut self) -> bool {
        self.value(&expression::starting(), false).await.get() == "true"
    }

    async fn value(&mut self, expression: &str, command_line_api: bool) -> Box<RawValue> {
        let command = Command::Evaluate { expression, timeout: Duration::from_secs(5), command_line_api };
        let Outcome::Result(result) = self.run(command).await else { panic!("{expression} gives no result") };
        match Evaluated::from_result(&result).expect("the shape of a result") {
            Evaluated::Value(value) => value,
            Evaluated::Threw(text) => panic!("{expression} threw {text}"),
        }
    }
}
