//! A recording, from the socket to the spool in constant memory.
//!
//! Node has no backpressure: what isn't read from the socket, the app must hold. So one task reads, and a
//! thread beside it compresses; between them lies a [queue](super::spill) that is never full.

use super::spill::{self, Intake, IntakeError, Out};
use super::spool::{Compression, Spool, SpoolError, Spooled, Writer};
use crate::attach::link::{Link, ending};
use crate::clock;
use crate::redact::{RedactError, Redactor};
use crate::session::beside::Ended;
use pitwall_inspector::{Command, Connection, Error, Event, EventStream, Incoming, Unescape, UnescapeError};
use pitwall_profile::cpu::JoinError;
use pitwall_protocol::{Load, Recording};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long the app may send nothing while it owes a profile: V8 serialises it in one go.
pub(crate) const SILENCE: Duration = Duration::from_mins(1);
/// The same of a snapshot, whose first bytes come late.
const SNAPSHOT_SILENCE: Duration = Duration::from_mins(5);

/// A recording on the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collected {
    /// The file.
    pub spooled: Spooled,
    /// From the command to the last byte of its answer.
    pub took: Duration,
    /// The recordings of worker threads, or the snapshots after the first.
    pub more: Vec<Another>,
    /// What isn't as it was asked for.
    pub remark: Option<String>,
    /// How long the recording is, where that isn't the time until it was ended.
    pub recorded: Option<Duration>,
    /// Under which load it was made, where that was measured.
    pub load: Option<Load>,
    /// Why it isn't complete: how the connection was lost. There is what had come by then.
    pub cut: Option<String>,
}

impl Collected {
    /// With what was measured and traced beside it.
    pub fn with(&mut self, beside: Ended) {
        let Ended { load, optimizations, remark } = beside;
        self.load = load;
        self.more.extend(optimizations);
        self.remark = match (self.remark.take(), remark) {
            (Some(first), Some(second)) => Some(format!("{first}; {second}")),
            (first, second) => first.or(second),
        };
    }
}

/// One more artifact of the same session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Another {
    /// Its name: `worker-3` of the worker thread with the `threadId` 3, `snapshot-2` of the second snapshot,
    /// [`pitwall_protocol::OPTIMIZATIONS`].
    pub name: String,
    /// The file.
    pub spooled: Spooled,
}

/// Why there is no recording.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The connection ended first.
    #[error("the inspector's connection ended before all of it was here ({0})")]
    Lost(String),
    /// V8 refused.
    #[error("the inspector refused {method}: {message}")]
    Refused {
        /// The command.
        method: &'static str,
        /// What the inspector says.
        message: String,
    },
    /// The conversation went wrong.
    #[error("the inspector's answer can't be read: {0}")]
    Inspector(#[from] Error),
    /// A chunk of a snapshot went wrong.
    #[error(transparent)]
    Chunk(#[from] UnescapeError),
    /// Nothing came.
    #[error("the inspector sent nothing for {0:?} while it owed an answer")]
    Silent(Duration),
    /// The snapshot couldn't be redacted; nothing of it left the pod.
    #[error(transparent)]
    Redact(#[from] RedactError),
    /// Chunks of a recording couldn't be joined.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The spool refused.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

impl CollectError {
    /// How the conversation ended, in words.
    pub fn ending(&self) -> String {
        match self {
            Self::Lost(how) => how.clone(),
            other => other.to_string(),
        }
    }
}

/// The command that ends a recording and asks for it.
fn command(recording: &Recording) -> Command<'static> {
    match recording {
        Recording::Cpu { .. }
        | Recording::CpuInChunks { .. }
        | Recording::AllThreads { .. }
        | Recording::Series { .. }
        | Recording::Check { .. }
        | Recording::Unknown => Command::ProfilerStop,
        Recording::HeapSampling { .. } => Command::HeapProfilerStopSampling,
        Recording::HeapSnapshot { .. } => Command::TakeHeapSnapshot,
    }
}

/// Ends the recording and takes it over into `file`. `progress` hears how much of a heap was walked, in percent.
pub async fn collect(
    link: &mut Link,
    spool: &Spool,
    file: &str,
    recording: &Recording,
    progress: impl FnMut(u8),
) -> Result<Collected, CollectError> {
    let snapshot = matches!(recording, Recording::HeapSnapshot { .. });
    // A snapshot comes faster than the best compression goes, and is large enough for the difference to matter.
    let level = if snapshot { Compression::fast() } else { Compression::default() };
    let redact = matches!(recording, Recording::HeapSnapshot { redact: true });
    let asked = clock::now();
    let mut took = Duration::ZERO;
    let spooled = spooling(spool, file, level, redact, async |intake| {
        let relayed = relay(link, &command(recording), snapshot, intake, progress).await;
        took = clock::now().saturating_duration_since(asked);
        relayed
    })
    .await?;
    Ok(Collected { spooled, took, more: vec![], remark: None, recorded: None, load: None, cut: None })
}

/// Takes to the spool what `relay` puts in, if it succeeds. A thread beside it compresses.
pub(crate) async fn spooling(
    spool: &Spool,
    file: &str,
    level: Compression,
    redact: bool,
    relay: impl AsyncFnOnce(&Intake) -> Result<(), CollectError>,
) -> Result<Spooled, CollectError> {
    let writer = spool.create(file, level)?;
    let (intake, outlet) = spill::queue(spool, &format!("{file}.raw"))?;
    let compressing = tokio::task::spawn_blocking(move || compress(writer, redact, &outlet));
    // Dropping this future drops `intake`: the thread then ends without finishing the file, which deletes it.
    let relayed = relay(&intake).await;
    if relayed.is_ok() {
        intake.complete();
    } else {
        drop(intake);
    }
    let spooled = compressing.await.expect("the compressor neither panics nor is cancelled");
    // A full spool makes the relay fail too; the spool's own words say more.
    let spooled = spooled?;
    relayed?;
    Ok(spooled.expect("a relay that succeeded completes the file"))
}

/// Puts bytes into the queue before the compressor.
pub(crate) fn put(intake: &Intake, bytes: Vec<u8>) -> Result<(), CollectError> {
    match intake.push(bytes) {
        Ok(()) => Ok(()),
        Err(IntakeError::Spool(error)) => Err(CollectError::Spool(error)),
        Err(IntakeError::Gone) => Err(CollectError::Lost("the spool stopped taking it".to_owned())),
    }
}

/// Compresses what comes, and finishes the file if all of it came.
fn compress(
    mut writer: Writer,
    redact: bool,
    outlet: &spill::Outlet,
) -> Result<Option<Spooled>, CollectError> {
    let complete = if redact {
        let mut redactor = Redactor::new(writer);
        let complete = drain(outlet, |bytes| Ok(redactor.write(bytes)?))?;
        if !complete {
            return Ok(None);
        }
        let (inner, done) = redactor.finish()?;
        tracing::info!(?done, "redacted");
        writer = inner;
        complete
    } else {
        drain(outlet, |bytes| Ok(writer.write(bytes)?))?
    };
    Ok(if complete { Some(writer.finish()?) } else { None })
}

/// Takes all that comes; says whether it was complete.
fn drain(
    outlet: &spill::Outlet,
    mut take: impl FnMut(&[u8]) -> Result<(), CollectError>,
) -> Result<bool, CollectError> {
    loop {
        match outlet.next()? {
            Out::Bytes(bytes) => take(&bytes)?,
            Out::End { complete } => return Ok(complete),
        }
    }
}

async fn relay(
    link: &mut Link,
    command: &Command<'_>,
    snapshot: bool,
    intake: &Intake,
    mut progress: impl FnMut(u8),
) -> Result<(), CollectError> {
    let silence = if snapshot { SNAPSHOT_SILENCE } else { SILENCE };
    let sent = link.connection.send(command)?;
    let mut unescape = Unescape::default();
    loop {
        match heard(&mut link.connection, silence).await? {
            Incoming::StreamChunk { id, bytes } if id == sent => put(intake, bytes.to_vec())?,
            Incoming::EventChunk { stream: EventStream::SnapshotChunk, bytes } if snapshot => {
                let mut decoded = Vec::new();
                unescape.push(bytes, &mut decoded)?;
                put(intake, decoded)?;
            }
            Incoming::EventEnd { stream: EventStream::SnapshotChunk, .. } if snapshot => unescape.finish()?,
            Incoming::Event(Event::SnapshotProgress { done, total }) => progress(percent(done, total)),
            Incoming::StreamEnd { id, .. } | Incoming::Reply { id, .. } if id == sent => {
                return Ok(());
            }
            Incoming::Refused { id, message, .. } if id == sent => {
                return Err(CollectError::Refused { method: command.method(), message });
            }
            Incoming::Event(Event::WaitingForDisconnect) => link.exiting = true,
            Incoming::Closed(closed) => return Err(CollectError::Lost(ending(closed))),
            _ => {}
        }
    }
}

pub(crate) async fn heard(
    connection: &mut Connection,
    silence: Duration,
) -> Result<Incoming<&[u8]>, CollectError> {
    let incoming = tokio::time::timeout(silence, connection.next()).await;
    Ok(incoming.map_err(|_| CollectError::Silent(silence))??)
}

fn percent(done: u32, total: u32) -> u8 {
    let percent = u64::from(done) * 100 / u64::from(total.max(1));
    u8::try_from(percent.min(100)).unwrap_or(100)
}
