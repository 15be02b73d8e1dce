//! From the signal to a proved connection with the dead-man's switch armed.

use super::eyes::Eyes;
use super::ladder::{Proved, failure, gone};
use super::link::{CallError, Link, address, evaluate, value};
use crate::clock;
use crate::discover::parse::Listener;
use crate::discover::procfs::ProcRoot;
use pitwall_inspector::{Command, Error, SocketPath, expression};
use pitwall_protocol::{Failure, FailureReason, ProcessId};
use std::time::{Duration, Instant};

/// The pause between the first looks for the port, for as long as most need to open it; then it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const FIRST_LOOKS: u32 = 8;
const LONGEST_PAUSE: Duration = Duration::from_millis(20);
/// How long an inspector whose port is open may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an app whose inspector is open already may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(8);
/// How long a process whose inspector has gone again is waited for to end: Node closes it early in its exit.
const EXIT_PATIENCE: Duration = Duration::from_secs(2);

/// A proved connection.
#[derive(Debug)]
pub struct Opened {
    /// The connection.
    pub link: Link,
    /// `process.version`.
    pub node_version: String,
    /// From the signal to here.
    pub took: Duration,
}

/// Why there is no proved connection, and what is left to be done about it.
#[derive(Debug)]
pub enum OpenError {
    /// Nothing was signalled.
    NotSignalled(Failure),
    /// The signal was sent, and nothing opened yet: it may open later.
    Silent(Failure),
    /// An inspector is open that can't be used: it must be closed.
    Unusable(Failure, Listener),
}

/// Signals, waits for the socket that wasn't there before, connects, and proves that it is this process.
/// `found` hears of the socket as soon as it is known to be the process's.
pub async fn open(
    eyes: &Eyes,
    proc: &ProcRoot,
    process: ProcessId,
    proved: &Proved,
    patience: Duration,
    disarm_after: Duration,
    found: impl FnOnce(&Listener),
) -> Result<Opened, OpenError> {
    if let Some(listener) = &proved.opened {
        return join(process, proved, listener).await;
    }
    eyes.signal(proc, process)
        .await
        .map_err(|why| OpenError::NotSignalled(if proc.lives(process) { why } else { gone(process) }))?;
    let signalled = clock::now();
    let Inspector { listener, target } = await_inspector(
        eyes,
        proc,
        process,
        &proved.known,
        signalled + patience,
    )
    .await
    .map_err(|unseen| match unseen {
        Unseen::Gone => OpenError::Silent(gone(process)),
        Unseen::TimedOut { other } => OpenError::Silent(failure(
            FailureReason::InspectorDidNotOpen,
            format!(
                "sent SIGUSR1 to pid {} and saw no inspector of its open within {} ms ({}): the app has a SIGUSR1 \
                     handler of its own, or is inside a long native call. Remove the handler, or try again; \
                     a port that opens within the next minute is closed",
                process.pid,
                patience.as_millis(),
                other.map_or_else(|| "no new port".to_owned(), |other| other.to_string())
            ),
        )),
    })?;
    found(&listener);
    if !listener.is_loopback() {
        let why = failure(
            FailureReason::InspectorFailed,
            format!(
                "the inspector of pid {} opened on {}:{}, where others than this pod could reach it; it is \
                 closed again. Look for a host in process.debugPort, --inspect-port or NODE_OPTIONS",
                process.pid, listener.address, listener.port
            ),
        );
        return Err(OpenError::Unusable(why, listener));
    }
    let proving = prove(process, proved, &listener, target, Some(disarm_after));
    match tokio::time::timeout(ANSWER_TIMEOUT, proving).await {
        Ok(Ok((link, node_version))) => {
            Ok(Opened { link, node_version, took: clock::now().saturating_duration_since(signalled) })
        }
        Ok(Err(why)) if ends(proc, process, &listener).await => {
            Err(OpenError::Silent(exited(process, &why.message)))
        }
        Ok(Err(why)) => Err(OpenError::Unusable(why, listener)),
        Err(_) => {
            let why = silent(process, &listener);
            Err(OpenError::Unusable(why, listener))
        }
    }
}

fn silent(process: ProcessId, listener: &Listener) -> Failure {
    failure(
        FailureReason::InspectorFailed,
        format!(
            "the inspector of pid {} listens on port {} but didn't answer within {ANSWER_TIMEOUT:?}",
            process.pid, listener.port
        ),
    )
}

/// The failure of a process that ended before anything was recorded.
pub fn exited(process: ProcessId, seen: &str) -> Failure {
    failure(
        FailureReason::ProcessExited,
        format!("pid {} ended before the recording had begun ({seen}); nothing was recorded", process.pid),
    )
}

/// Whether the process is on its way out: its inspector is closed, though nobody told it to.
async fn ends(proc: &ProcRoot, process: ProcessId, listener: &Listener) -> bool {
    let until = clock::now() + EXIT_PATIENCE;
    while clock::now() < until {
        if !proc.runs(process) {
            return true;
        }
        let listeners = proc.listeners(process.pid).unwrap_or_default();
        if listeners.iter().any(|one| one.inode == listener.inode) {
            return false;
        }
        tokio::time::sleep(LONGEST_PAUSE).await;
    }
    false
}

/// Connects to the inspector that the process opened itself. It isn't ours to close: no switch is armed, and
/// whatever fails here leaves nothing behind.
async fn join(process: ProcessId, proved: &Proved, listener: &Listener) -> Result<Opened, OpenError> {
    let begun = clock::now();
    let proving = prove(process, proved, listener, None, None);
    match tokio::time::timeout(ANSWER_TIMEOUT, proving).await {
        Ok(Ok((link, node_version))) => {
            Ok(Opened { link, node_version, took: clock::now().saturating_duration_since(begun) })
        }
        Ok(Err(why)) => Err(OpenError::NotSignalled(why)),
        Err(_) => Err(OpenError::NotSignalled(silent(process, listener))),
    }
}

/// Why no socket was found.
#[derive(Debug)]
pub enum Unseen {
    /// The process ended.
    Gone,
    /// No inspector opened in time.
    TimedOut {
        /// What is behind the last port that opened.
        other: Option<Error>,
    },
}

/// An inspector that wasn't there before.
#[derive(Debug)]
pub struct Inspector {
    /// Its socket.
    pub listener: Listener,
    /// Its one target, if it has answered.
    pub target: Option<SocketPath>,
}

/// Waits for a listening socket of the process that isn't among `known`, and that an inspector is behind.
pub async fn await_inspector(
    eyes: &Eyes,
    proc: &ProcRoot,
    process: ProcessId,
    known: &[u64],
    until: Instant,
) -> Result<Inspector, Unseen> {
    let mut known = known.to_vec();
    let mut other = None;
    let mut pause = FIRST_PAUSE;
    for look in 0_u32.. {
        let new: Vec<Listener> = proc
            .listeners(process.pid)
            .unwrap_or_default()
            .into_iter()
            .filter(|one| !known.contains(&one.inode))
            .collect();
        if !new.is_empty() {
            let inodes: Vec<u64> = new.iter().map(|one| one.inode).collect();
            // What can't be looked at now may be looked at in the next round.
            if let Ok(held) = eyes.held(proc, process, &inodes).await {
                for listener in new {
                    if held.contains(&listener.inode) {
                        match answer(&listener).await {
                            Answer::Inspector(target) => return Ok(Inspector { listener, target }),
                            Answer::Other(what) => other = Some(what),
                        }
                    }
                    known.push(listener.inode);
                }
            }
        }
        if proc.identity(process.pid) != Some(process) || !proc.runs(process) {
            return Err(Unseen::Gone);
        }
        if clock::now() >= until {
            break;
        }
        tokio::time::sleep(pause).await;
        if look >= FIRST_LOOKS {
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
    Err(Unseen::TimedOut { other })
}

/// What is behind a socket.
enum Answer {
    Inspector(Option<SocketPath>),
    Other(Error),
}

/// Asks a new socket of the process what it is. One that doesn't answer in time counts as an inspector: better
/// to close too much of what came with our signal than to leave it.
async fn answer(listener: &Listener) -> Answer {
    let asked = tokio::time::timeout(Duration::from_secs(2), pitwall_inspector::list(address(listener)));
    match asked.await {
        Ok(Err(other @ (Error::NotAnInspector { .. } | Error::HttpCutShort { .. }))) => Answer::Other(other),
        Ok(Ok(mut targets)) if targets.len() == 1 => Answer::Inspector(targets.pop()),
        Ok(_) | Err(_) => Answer::Inspector(None),
    }
}

async fn prove(
    process: ProcessId,
    proved: &Proved,
    listener: &Listener,
    target: Option<SocketPath>,
    disarm_after: Option<Duration>,
) -> Result<(Link, String), Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        failure(
            FailureReason::InspectorFailed,
            format!("talked to the inspector of pid {} on port {}: {error}", process.pid, listener.port),
        )
    };
    let call_failed = |error: CallError| failed(&error);
    let link = match target {
        Some(target) => Link::connect_to(listener, &target).await,
        None => Link::connect(listener).await,
    };
    let mut link = link.map_err(|error| failed(&error))?;
    let begun = clock::now();
    let identity = loop {
        match identity(&mut link).await.map_err(call_failed)? {
            Some(identity) => break identity,
            None if clock::now().saturating_duration_since(begun) < START_TIMEOUT => {
                tokio::time::sleep(LONGEST_PAUSE).await;
            }
            None => {
                return Err(failure(
                    FailureReason::NotReady,
                    format!(
                        "pid {} was still starting {START_TIMEOUT:?} after its inspector had opened (Node itself, or \
                         its --require modules); nothing was recorded. Try again later",
                        process.pid
                    ),
                ));
            }
        }
    };
    if u32::try_from(identity.pid) != Ok(proved.inner_pid) {
        return Err(failure(
            FailureReason::WrongProcess,
            format!(
                "connected to the port that pid {} opened and asked for process.pid: {} where {} was \
                 expected; nothing was recorded",
                process.pid, identity.pid, proved.inner_pid
            ),
        ));
    }
    let arm = disarm_after.map_or_else(|| "true".to_owned(), expression::arm);
    let [armed, enabled, notified] = link
        .call_all([
            &evaluate(&arm),
            &Command::NodeRuntimeEnable,
            &Command::NotifyWhenWaitingForDisconnect { enabled: true },
        ])
        .await
        .map_err(call_failed)?;
    armed.and_then(|result| value(&result)).map_err(call_failed)?;
    notified.map_err(call_failed)?;
    match enabled {
        // Node 18 has no such command, and needs none.
        Ok(_) | Err(CallError::Refused { .. }) => {}
        Err(error) => return Err(call_failed(error)),
    }
    Ok((link, identity.version))
}

/// Who answers. `None`: the app is still starting.
async fn identity(link: &mut Link) -> Result<Option<expression::Identity>, CallError> {
    if link.starting().await? {
        return Ok(None);
    }
    Ok(expression::Identity::from_value(&link.evaluate(&expression::identity()).await?)?)
}
