//! A process's worker threads, recorded beside its main thread.
//!
//! Their inspectors are reached through the main thread's connection, and answer while that thread is busy, and while
//! they wait in `Atomics.wait`. A thread that stands in a native call answers nothing until it runs again: it is left
//! out, and said so.

use crate::attach::link::{CallError, Link, ending};
use crate::clock;
use crate::publish::collect::{Another, CollectError, heard, put, spooling};
use crate::publish::spool::{Compression, Spool, Spooled};
use pitwall_inspector::{Command, Event, EventStream, Incoming, WorkerMessage, WorkerSaid};
use pitwall_protocol::Recording;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How long the threads may take to begin.
const BEGIN_PATIENCE: Duration = Duration::from_secs(2);
/// How long a thread may send nothing while it owes its profile.
const SILENCE: Duration = Duration::from_secs(15);
/// What a thread is asked at last.
const LAST: i32 = 100;

/// The worker threads that are recorded.
#[derive(Debug, Default)]
pub struct Workers {
    recorded: Vec<Worker>,
    /// Those that there were.
    seen: usize,
    ended: BTreeSet<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Worker {
    session: u32,
    /// `threadId`.
    thread: u32,
}

/// The commands that begin a recording in a thread.
fn beginning(recording: &Recording) -> Vec<Command<'static>> {
    match recording {
        Recording::Cpu { sampling_interval_us } => {
            let interval = Duration::from_micros((*sampling_interval_us).into());
            vec![
                Command::ProfilerEnable,
                Command::ProfilerSetSamplingInterval(interval),
                Command::ProfilerStart,
            ]
        }
        Recording::HeapSampling { sampling_interval_bytes, collected } => {
            let (interval, collected) = (*sampling_interval_bytes, *collected);
            vec![Command::HeapProfilerEnable, Command::HeapProfilerStartSampling { interval, collected }]
        }
        _ => vec![],
    }
}

fn last(recording: &Recording) -> Command<'static> {
    match recording {
        Recording::HeapSampling { .. } => Command::HeapProfilerStopSampling,
        _ => Command::ProfilerStop,
    }
}

/// Begins a session with each worker thread.
async fn attached(link: &mut Link) -> Result<Vec<Worker>, CallError> {
    let mut found = vec![];
    let enable = link.connection.send(&Command::NodeWorkerEnable)?;
    loop {
        match link.connection.next().await? {
            Incoming::Event(Event::WorkerAttached { session, thread }) => {
                found.push(Worker { session, thread });
            }
            Incoming::Event(Event::WaitingForDisconnect) => link.exiting = true,
            Incoming::Reply { id, .. } if id == enable => return Ok(found),
            Incoming::Refused { id, message, .. } if id == enable => {
                return Err(CallError::Refused { method: Command::NodeWorkerEnable.method(), message });
            }
            Incoming::Closed(closed) => {
                let method = Command::NodeWorkerEnable.method();
                return Err(CallError::Lost { method, how: ending(closed) });
            }
            _ => {}
        }
    }
}

/// How many worker threads there are.
pub async fn count(link: &mut Link) -> Result<usize, CallError> {
    let found = attached(link).await?;
    link.call(&Command::NodeWorkerDisable).await?;
    Ok(found.len())
}

impl Workers {
    /// Begins to record at most so many worker threads, those with the lowest `threadId`s.
    pub async fn begin(link: &mut Link, recording: &Recording, most: usize) -> Result<Self, CallError> {
        let mut workers = Self::default();
        let mut found = attached(link).await?;
        workers.seen = found.len();
        found.sort_by_key(|worker| worker.thread);
        found.truncate(most);
        let commands = beginning(recording);
        for worker in &found {
            for (id, command) in (1..).zip(&commands) {
                link.connection.send(&Command::ToWorker { session: worker.session, id, command })?;
            }
        }
        let wanted = i32::try_from(commands.len()).unwrap_or(i32::MAX);
        let until = clock::now() + BEGIN_PATIENCE;
        let mut begun = BTreeSet::new();
        while begun.len() + workers.ended.len() < found.len() {
            match workers.hear(link, until).await? {
                Some((session, WorkerSaid::Replied { id })) if id == wanted => drop(begun.insert(session)),
                Some(_) => {}
                None => break,
            }
        }
        found.retain(|worker| begun.contains(&worker.session));
        workers.recorded = found;
        Ok(workers)
    }

    /// What a worker thread says next; `None` when the time is over.
    async fn hear(
        &mut self,
        link: &mut Link,
        until: Instant,
    ) -> Result<Option<(u32, WorkerSaid)>, CallError> {
        let (mut message, mut nothing) = (WorkerMessage::default(), vec![]);
        loop {
            let incoming = tokio::select! {
                incoming = link.connection.next() => incoming?,
                () = tokio::time::sleep_until(until.into()) => return Ok(None),
            };
            match incoming {
                Incoming::EventChunk { stream: EventStream::WorkerMessage { .. }, bytes } => {
                    // What isn't the protocol's is nobody's word.
                    message.push(bytes, &mut nothing).ok();
                    nothing.clear();
                }
                Incoming::EventEnd { stream: EventStream::WorkerMessage { session }, .. } => {
                    return Ok(Some((session, message.finish(&mut nothing).unwrap_or(WorkerSaid::Other))));
                }
                Incoming::Event(Event::WorkerDetached { session }) => {
                    self.ended.insert(session);
                    return Ok(Some((session, WorkerSaid::Other)));
                }
                Incoming::Event(Event::WaitingForDisconnect) => link.exiting = true,
                Incoming::Closed(closed) => {
                    let method = "NodeWorker.sendMessageToWorker";
                    return Err(CallError::Lost { method, how: ending(closed) });
                }
                _ => {}
            }
        }
    }

    /// How many threads are recorded.
    pub fn count(&self) -> usize {
        self.recorded.len()
    }

    /// Notes that a thread has ended.
    pub fn heard(&mut self, event: Event) {
        match event {
            Event::WorkerDetached { session } => drop(self.ended.insert(session)),
            Event::WorkerAttached { .. } => self.seen += 1,
            _ => {}
        }
    }

    /// Ends the recordings and takes them over, one after the other: what there is, what is missing in words, and how
    /// the connection was lost if it was.
    pub async fn collect(
        mut self,
        link: &mut Link,
        spool: &Spool,
        file: &str,
        recording: &Recording,
    ) -> (Vec<Another>, Option<String>, Option<String>) {
        let (mut taken, mut cut) = (vec![], None);
        for worker in std::mem::take(&mut self.recorded) {
            if self.ended.contains(&worker.session) {
                continue;
            }
            let name = format!("worker-{}", worker.thread);
            match self.take_over(link, spool, &format!("{name}.{file}"), worker, recording).await {
                Ok(spooled) => taken.push(Another { name, spooled }),
                Err(error @ (CollectError::Lost(_) | CollectError::Inspector(_))) => {
                    cut = Some(error.ending());
                    break;
                }
                Err(error) => tracing::warn!(name, %error, "a worker thread's recording is left out"),
            }
        }
        let missing = self.seen - taken.len().min(self.seen);
        let remark = (missing > 0).then(|| {
            format!(
                "{} of {} worker threads are recorded: the others ended or began meanwhile, didn't answer, or are more \
                 than are recorded at once",
                taken.len(),
                self.seen
            )
        });
        (taken, remark, cut)
    }

    async fn take_over(
        &mut self,
        link: &mut Link,
        spool: &Spool,
        file: &str,
        worker: Worker,
        recording: &Recording,
    ) -> Result<Spooled, CollectError> {
        let session = worker.session;
        let command = last(recording);
        let ended = || CollectError::Silent(Duration::ZERO);
        spooling(spool, file, Compression::default(), false, async |intake| {
            link.connection.send(&Command::ToWorker { session, id: LAST, command: &command })?;
            let mut message = WorkerMessage::default();
            loop {
                match heard(&mut link.connection, SILENCE).await? {
                    Incoming::EventChunk { stream: EventStream::WorkerMessage { session: of }, bytes } => {
                        let mut profile = vec![];
                        message.push(bytes, &mut profile)?;
                        if of == session && !profile.is_empty() {
                            put(intake, profile)?;
                        }
                    }
                    Incoming::EventEnd { stream: EventStream::WorkerMessage { session: of }, .. } => {
                        let mut profile = vec![];
                        let said = std::mem::take(&mut message).finish(&mut profile)?;
                        if of != session {
                            continue;
                        }
                        match said {
                            WorkerSaid::Profile { id: LAST } => return put(intake, profile),
                            WorkerSaid::Refused { id: LAST, message } => {
                                return Err(CollectError::Refused { method: command.method(), message });
                            }
                            _ => {}
                        }
                    }
                    Incoming::Event(Event::WorkerDetached { session: of }) => {
                        self.ended.insert(of);
                        if of == session {
                            return Err(ended());
                        }
                    }
                    Incoming::Event(Event::WaitingForDisconnect) => link.exiting = true,
                    Incoming::Closed(closed) => return Err(CollectError::Lost(ending(closed))),
                    _ => {}
                }
            }
        })
        .await
    }
}
