//! `kubectl pitwall local`, on real Node.js processes of this machine.
#![cfg(target_os = "linux")]

use pitwall_test_node::binary;
use serde_json::Value;
use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

/// The port is free a moment later too, as far as one can tell.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port()
}

/// A busy Node.js process, killed when dropped.
struct Node {
    child: Child,
    port: u16,
}

impl Node {
    fn busy(version: &str, mark: &str) -> Self {
        let port = free_port();
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/apps/busy.js");
        let child = Command::new(binary(version))
            .arg(format!("--inspect-port={port}"))
            .arg(program)
            .arg(mark)
            .stderr(Stdio::null())
            .spawn()
            .expect("Node starts");
        // Before its handler is there, the signal would kill it; that is refused, and here waited for.
        std::thread::sleep(Duration::from_secs(1));
        Self { child, port }
    }

    fn inspector_is_open(&self) -> bool {
        std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn local(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-pitwall"));
    command.arg("local").args(arguments);
    command
}

fn document(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("stdout is one JSON document")
}

#[test]
fn a_process_is_recorded_into_a_file_and_its_inspector_is_closed() {
    for version in ["18.20.8", "20.20.2", "22.23.3", "24.21.0", "26.10.0"] {
        let mut node = Node::busy(version, "whole");
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().to_str().unwrap();
        let pid = node.child.id().to_string();
        let output = local(&[&pid, "--duration", "2s", "--dir", dir, "-o", "json"]).output().unwrap();
        let document = document(&output);
        assert_eq!(document["nodeVersion"], format!("v{version}"));
        let hottest = document["summary"]["hottest"].as_str().unwrap();
        // V8 may have burnCpu's code within its caller's.
        assert!(hottest.starts_with("burnCpu ") || hottest.contains("busy.js:"), "{version}: {hottest}");
        let profile = std::fs::read(document["path"].as_str().unwrap()).unwrap();
        let profile: Value = serde_json::from_slice(&profile).unwrap();
        assert!(profile["samples"].is_array());
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
        assert!(!node.inspector_is_open(), "{version}");
        assert!(node.child.try_wait().unwrap().is_none(), "{version}: it lives on");
    }
}

#[test]
fn ctrl_c_keeps_what_was_recorded() {
    let node = Node::busy("22.23.3", "interrupted");
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let mut recording = local(&["--command", "interrupted", "--duration", "60s", "--dir", dir, "-o", "json"]);
    let recording = recording.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(4));
    let pid = nix::unistd::Pid::from_raw(recording.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let document = document(&recording.wait_with_output().unwrap());
    let recorded = document["summary"]["durationMilliseconds"].as_u64().unwrap();
    assert!((500..30_000).contains(&recorded), "{recorded}");
    assert!(!node.inspector_is_open());
}

#[test]
fn what_is_not_node_is_never_signalled() {
    let mut sleep = Command::new("sleep").arg("60").spawn().unwrap();
    let output = local(&[&sleep.id().to_string()]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("isn't Node"), "{output:?}");
    assert!(sleep.try_wait().unwrap().is_none(), "it lives on");
    sleep.kill().unwrap();
    sleep.wait().unwrap();
    let nobody = local(&["--command", "no process has this in its command line"]).output().unwrap();
    assert_eq!(nobody.status.code(), Some(2), "{nobody:?}");
}
