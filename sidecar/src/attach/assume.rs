//! The child that takes a target's uid and gid: looks, signals and ends. One JSON line in, one out.
//!
//! A root sidecar without `CAP_SYS_PTRACE` and `CAP_KILL` may neither read `/proc/PID/exe` of a process with
//! another uid nor signal it. A process with the very same ids, and at least its capabilities, may both;
//! `CAP_SETUID` and `CAP_SETGID` are enough to become one. The ids, and all groups, are changed by
//! `std::process::Command` between fork and exec: a child for another user loses every capability there, one
//! for root keeps the sidecar's.

use super::sight::Sight;
use super::{signal, trace};
use crate::discover::procfs::ProcRoot;
use pitwall_protocol::{Failure, ProcessId};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// How many processes one child looks at.
pub const MOST_PROCESSES: usize = 64;
/// How long a child may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the child is to do: its one argument, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Task {
    /// Look at processes.
    Look {
        /// Which.
        processes: Vec<ProcessId>,
    },
    /// Say which sockets a process holds.
    Held {
        /// Which process.
        process: ProcessId,
        /// The sockets' inodes.
        inodes: Vec<u64>,
    },
    /// Remove a trace of V8's.
    RemoveTrace {
        /// Where it is.
        path: PathBuf,
    },
    /// Send SIGUSR1.
    Signal {
        /// To whom.
        process: ProcessId,
    },
}

/// What the child prints, as one line of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// To [`Task::Look`], in its order.
    Sights(Vec<Sight>),
    /// To [`Task::Held`].
    Held(Vec<u64>),
    /// To [`Task::RemoveTrace`].
    Removed(Result<(), String>),
    /// To [`Task::Signal`]: it was sent.
    Signalled,
    /// To [`Task::Signal`]: a proof failed, and nothing was sent.
    NotSignalled(Failure),
}

/// The child's whole life: what it prints.
pub fn perform(proc: &ProcRoot, task: Task) -> Answer {
    match task {
        Task::Look { processes } => Answer::Sights(
            processes
                .iter()
                .take(MOST_PROCESSES)
                .map(|process| match proc.facts(process.pid).filter(|facts| facts.id == *process) {
                    Some(facts) => Sight::take(proc, &facts),
                    None => Sight::refused("the process is gone"),
                })
                .collect(),
        ),
        Task::Held { process, inodes } => {
            let held = proc.held_by(process.pid, &inodes).unwrap_or_default();
            Answer::Held(if proc.runs(process) { held } else { vec![] })
        }
        Task::RemoveTrace { path } => Answer::Removed(trace::remove(&path)),
        Task::Signal { process } => match signal::send_usr1(proc, process) {
            Ok(()) => Answer::Signalled,
            Err(failure) => Answer::NotSignalled(failure),
        },
    }
}

/// Starts a child with these ids and reads its answer.
pub async fn ask(program: &Path, uid: u32, gid: u32, task: &Task) -> Result<Answer, String> {
    let says = |what: &str, error: &dyn std::fmt::Display| {
        format!(
            "{what} a child with uid {uid} and gid {gid} (the sidecar needs CAP_SETUID and CAP_SETGID): {error}"
        )
    };
    let task = serde_json::to_string(task).expect("a task has string keys and no failing serializer");
    let child = tokio::process::Command::new(program)
        .args(["assume", "--uid", &uid.to_string(), "--gid", &gid.to_string(), &task])
        .uid(uid)
        .gid(gid)
        .current_dir("/")
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| says("starting", &error))?;
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output())
        .await
        .map_err(|_| says("waiting for", &format!("no answer within {PATIENCE:?}")))?
        .map_err(|error| says("waiting for", &error))?;
    if !output.status.success() {
        return Err(says("running", &output.status));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| says("reading the answer of", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_and_answers_survive_the_pipe() {
        let process = ProcessId { pid: 17, start_ticks: 4 };
        for task in [
            Task::Look { processes: vec![process] },
            Task::Held { process, inodes: vec![1, 2] },
            Task::RemoveTrace { path: "/dev/shm/x".into() },
            Task::Signal { process },
        ] {
            let text = serde_json::to_string(&task).unwrap();
            assert_eq!(serde_json::from_str::<Task>(&text).unwrap(), task);
        }
        let sight = Sight {
            executable: Err("no".into()),
            lookalike: Some("Bun".into()),
            node_options: Some("x".into()),
            held: vec![9],
        };
        let removed = Answer::Removed(Err("no".into()));
        for answer in [Answer::Sights(vec![sight]), Answer::Held(vec![3]), removed, Answer::Signalled] {
            let text = serde_json::to_string(&answer).unwrap();
            assert_eq!(serde_json::from_str::<Answer>(&text).unwrap(), answer);
        }
    }

    #[test]
    fn a_child_looks_at_this_test() {
        let proc = ProcRoot::default();
        let this = proc.identity(std::process::id()).unwrap();
        let other = ProcessId { start_ticks: this.start_ticks + 1, ..this };
        let Answer::Sights(sights) = perform(&proc, Task::Look { processes: vec![this, other] }) else {
            panic!("sights")
        };
        assert!(sights[0].executable.is_ok());
        assert_eq!(sights[1].executable, Err("the process is gone".to_owned()));
    }
}
