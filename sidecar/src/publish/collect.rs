//! The answer of `Profiler.stop`, from the socket to the spool in constant memory.
//!
//! Node has no backpressure: what isn't read from the socket, the app must hold. So one task reads, and a
//! thread beside it compresses; between them lies a short queue.

use super::spool::{Spool, SpoolError, Spooled};
use crate::attach::link::{Link, ending};
use crate::clock;
use pitwall_inspector::{Command, Error, Event, Incoming};
use std::time::Duration;
use tokio::sync::mpsc;

/// Chunks of at most 64 KiB between the socket and the compressor.
const QUEUE: usize = 16;
/// How long the app may send nothing while it owes the profile: V8 serialises it in one go.
const SILENCE: Duration = Duration::from_mins(1);

/// A profile on the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collected {
    /// The file.
    pub spooled: Spooled,
    /// From the command to the last byte of its answer.
    pub took: Duration,
}

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The connection ended first.
    #[error("the inspector's connection ended before the profile was complete ({0})")]
    Lost(String),
    /// V8 refused to stop.
    #[error("the inspector refused Profiler.stop: {0}")]
    Refused(String),
    /// The conversation went wrong.
    #[error("the inspector's answer to Profiler.stop can't be read: {0}")]
    Inspector(#[from] Error),
    /// Nothing came.
    #[error("the inspector sent nothing for {SILENCE:?} while it owed the profile")]
    Silent,
    /// The spool refused.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

/// Stops the profiler and takes the profile over into `file`.
pub async fn collect(link: &mut Link, spool: &Spool, file: &str) -> Result<Collected, CollectError> {
    let mut writer = spool.create(file)?;
    let (chunks, mut queue) = mpsc::channel::<Vec<u8>>(QUEUE);
    // Dropping this future drops `chunks`: the thread then ends without finishing the file, which deletes it.
    let (complete, completed) = tokio::sync::oneshot::channel::<()>();
    let compressing = tokio::task::spawn_blocking(move || {
        while let Some(chunk) = queue.blocking_recv() {
            writer.write(&chunk)?;
        }
        match completed.blocking_recv() {
            Ok(()) => writer.finish().map(Some),
            Err(_) => Ok(None),
        }
    });
    let asked = clock::now();
    let relayed = relay(link, chunks).await;
    let took = clock::now().saturating_duration_since(asked);
    if relayed.is_ok() {
        complete.send(()).ok();
    } else {
        drop(complete);
    }
    let spooled = compressing.await.expect("the compressor neither panics nor is cancelled");
    // A full spool makes the relay fail too; the spool's own words say more.
    let spooled = spooled?;
    relayed?;
    let spooled = spooled.expect("a relay that succeeded completes the file");
    Ok(Collected { spooled, took })
}

async fn relay(link: &mut Link, chunks: mpsc::Sender<Vec<u8>>) -> Result<(), CollectError> {
    let sent = link.connection.send(&Command::ProfilerStop)?;
    loop {
        let incoming = tokio::time::timeout(SILENCE, link.connection.next()).await;
        match incoming.map_err(|_| CollectError::Silent)?? {
            Incoming::StreamChunk { id, bytes } if id == sent => {
                let chunk = bytes.to_vec();
                if chunks.send(chunk).await.is_err() {
                    return Err(CollectError::Lost("the spool stopped taking it".to_owned()));
                }
            }
            Incoming::StreamEnd { id, .. } if id == sent => return Ok(()),
            Incoming::Refused { id, message, .. } if id == sent => {
                return Err(CollectError::Refused(message));
            }
            Incoming::Event(Event::WaitingForDisconnect) => link.exiting = true,
            Incoming::Closed(closed) => return Err(CollectError::Lost(ending(closed))),
            Incoming::Reply { .. }
            | Incoming::Refused { .. }
            | Incoming::StreamChunk { .. }
            | Incoming::StreamEnd { .. } => {}
        }
    }
}
