//! `kubectl pitwall local`, on real Node.js processes of this machine.
#![cfg(target_os = "linux")]

use pitwall_sidecar::discover::procfs::ProcRoot;
use pitwall_test_node::binary;
use serde_json::Value;
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

/// A busy Node.js process, killed when dropped.
struct Node {
    child: Child,
}

impl Node {
    fn busy(version: &str, mark: &str) -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/apps/busy.js");
        let child = Command::new(binary(version))
            .arg("--inspect-port=0")
            .arg(program)
            .arg(mark)
            .stderr(Stdio::null())
            .spawn()
            .expect("Node starts");
        // For an instant after exec a process has no command line.
        let shown = || std::fs::read(format!("/proc/{}/cmdline", child.id())).expect("it runs");
        while shown().is_empty() {
            std::thread::sleep(Duration::from_millis(1));
        }
        Self { child }
    }

    /// The program listens on nothing else.
    fn inspector_is_open(&self) -> bool {
        let (proc, pid) = (ProcRoot::default(), self.child.id());
        let listening: Vec<u64> = proc.listeners(pid).expect("it runs").iter().map(|one| one.inode).collect();
        !proc.held_by(pid, &listening).expect("it runs").is_empty()
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
    for version in pitwall_test_node::EVERY_NODE {
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
fn the_heap_is_sampled_and_taken_whole() {
    for (kind, extension, member) in
        [("HeapSampling", "heapprofile", "head"), ("heapsnapshot", "heapsnapshot", "snapshot")]
    {
        let node = Node::busy("22.23.3", "heap");
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().to_str().unwrap();
        let pid = node.child.id().to_string();
        let output = local(&[&pid, "--type", kind, "--duration", "1s", "--dir", dir]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("panel Memory"), "{said}");
        let recording = std::fs::read(folder.path().join(format!("node-{pid}.{extension}"))).unwrap();
        let recording: Value = serde_json::from_slice(&recording).unwrap();
        assert!(recording[member].is_object(), "{kind}");
        assert!(!node.inspector_is_open(), "{kind}");
    }
}

#[test]
fn ctrl_c_keeps_what_was_recorded() {
    let node = Node::busy("22.23.3", "interrupted");
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let mut recording = local(&["--command", "interrupted", "--duration", "60s", "--dir", dir, "-o", "json"]);
    let mut recording = recording.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(recording.stderr.take().unwrap()).lines();
    let mut before = Vec::new();
    while !before.last().is_some_and(|line: &String| line.starts_with("recording")) {
        before.push(told.next().unwrap_or_else(|| panic!("it ended: {before:?}")).unwrap());
    }
    std::thread::sleep(Duration::from_secs(2));
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
