//! Whose ids look at a process and signal it: the sidecar's own, or those of a child that took the process's.

use super::ladder::{self, Sighting, Taker, failure};
use super::sight::Sight;
use super::{assume, signal, trace};
use crate::discover::procfs::{Facts, ProcRoot};
use crate::discover::shown_command;
use pitwall_protocol::{Failure, FailureReason, ProcessId};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Who looks and signals.
#[derive(Clone, Debug)]
pub enum Eyes {
    /// The sidecar runs with its target's uid and gid.
    Same,
    /// The sidecar is root and has `CAP_SETUID` and `CAP_SETGID`: a short-lived child takes the target's ids.
    Assume {
        /// This program, to be started as the child.
        program: PathBuf,
    },
}

impl Eyes {
    /// Looks at many processes: one sighting each, in order.
    pub async fn look(&self, proc: &ProcRoot, all: Vec<Facts>) -> Vec<Sighting> {
        let sights = match self {
            Self::Same => all.iter().map(|facts| Sight::take(proc, facts)).collect(),
            Self::Assume { program } => assumed_sights(program, &all).await,
        };
        all.into_iter().zip(sights).map(|(facts, sight)| sighting(proc, facts, sight)).collect()
    }

    /// Looks at one process, if it is still that process.
    pub async fn look_at(&self, proc: &ProcRoot, process: ProcessId) -> Result<Sighting, Failure> {
        let facts = proc.facts(process.pid).filter(|facts| facts.id == process && !facts.status.ended);
        let facts = facts.ok_or_else(|| ladder::gone(process))?;
        self.look(proc, vec![facts]).await.pop().ok_or_else(|| ladder::gone(process))
    }

    /// Sends SIGUSR1, after the last proofs.
    pub async fn signal(&self, proc: &ProcRoot, process: ProcessId) -> Result<(), Failure> {
        match self {
            Self::Same => signal::send_usr1(proc, process),
            Self::Assume { program } => {
                let facts = proc.facts(process.pid).ok_or_else(|| ladder::gone(process))?;
                let task = assume::Task::Signal { process };
                match assume::ask(program, facts.status.uid, facts.status.gid, &task).await {
                    Ok(assume::Answer::Signalled) => Ok(()),
                    Ok(assume::Answer::NotSignalled(failure)) => Err(failure),
                    Ok(other) => Err(failure(
                        FailureReason::InspectorDidNotOpen,
                        format!("the child that was to signal pid {} answered {other:?}", process.pid),
                    )),
                    Err(why) => Err(failure(FailureReason::InspectorDidNotOpen, why)),
                }
            }
        }
    }

    /// Removes a trace of V8's that a process left when it was killed, where this pod's containers share its folder.
    pub async fn remove_trace(&self, path: &str) {
        let Some(path) = trace::left_behind(path) else { return };
        let removed = match (self, trace::owner(&path)) {
            (_, None) => return,
            (Self::Same, Some(_)) => trace::remove(&path),
            (Self::Assume { program }, Some((uid, gid))) => {
                let task = assume::Task::RemoveTrace { path: path.clone() };
                match assume::ask(program, uid, gid, &task).await {
                    Ok(assume::Answer::Removed(result)) => result,
                    Ok(other) => Err(format!("the child that was to remove it answered {other:?}")),
                    Err(why) => Err(why),
                }
            }
        };
        if let Err(error) = removed {
            tracing::warn!(path = %path.display(), error, "a trace stays until the pod ends");
        }
    }

    /// Which of these sockets the process holds.
    pub async fn held(
        &self,
        proc: &ProcRoot,
        process: ProcessId,
        inodes: &[u64],
    ) -> Result<Vec<u64>, String> {
        match self {
            Self::Same => {
                let held = proc.held_by(process.pid, inodes).map_err(|error| error.to_string())?;
                // The pid may have been used again while we looked.
                Ok(if proc.runs(process) { held } else { vec![] })
            }
            Self::Assume { program } => {
                let facts = proc.facts(process.pid).ok_or("the process is gone")?;
                let task = assume::Task::Held { process, inodes: inodes.to_vec() };
                match assume::ask(program, facts.status.uid, facts.status.gid, &task).await? {
                    assume::Answer::Held(held) => Ok(held),
                    other => Err(format!("the child that was to look answered {other:?}")),
                }
            }
        }
    }
}

/// One child for each pair of ids.
async fn assumed_sights(program: &std::path::Path, all: &[Facts]) -> Vec<Sight> {
    let mut by_ids: BTreeMap<(u32, u32), Vec<ProcessId>> = BTreeMap::new();
    for facts in all {
        by_ids.entry((facts.status.uid, facts.status.gid)).or_default().push(facts.id);
    }
    let mut seen: BTreeMap<ProcessId, Sight> = BTreeMap::new();
    for ((uid, gid), processes) in by_ids {
        for chunk in processes.chunks(assume::MOST_PROCESSES) {
            let task = assume::Task::Look { processes: chunk.to_vec() };
            let answer = match assume::ask(program, uid, gid, &task).await {
                Ok(assume::Answer::Sights(sights)) if sights.len() == chunk.len() => sights,
                Ok(other) => vec![
                    Sight::refused(format!("the child that was to look answered {other:?}"));
                    chunk.len()
                ],
                Err(why) => vec![Sight::refused(why); chunk.len()],
            };
            seen.extend(chunk.iter().copied().zip(answer));
        }
    }
    all.iter()
        .map(|facts| seen.remove(&facts.id).unwrap_or_else(|| Sight::refused("nobody looked")))
        .collect()
}

fn sighting(proc: &ProcRoot, facts: Facts, sight: Sight) -> Sighting {
    let pid = facts.id.pid;
    let listeners = proc.listeners(pid).unwrap_or_default();
    let port = sight.plan(&facts).port;
    let taken_by = listeners
        .iter()
        .find(|one| port != 0 && one.takes(port) && !sight.held.contains(&one.inode))
        .and_then(|one| proc.holder(one.inode))
        .map(|pid| Taker {
            pid,
            command: proc.facts(pid).map_or_else(String::new, |facts| shown_command(&facts.command)),
        });
    let age_seconds = proc.age_seconds(facts.id);
    let opened_at_start = sight.plan(&facts).opened_at_start;
    // What can't be counted may be there.
    let clients = if opened_at_start { proc.clients_of(pid, port).unwrap_or(usize::MAX) } else { 0 };
    Sighting { facts, sight, listeners, taken_by, age_seconds, clients }
}
