//! What is asked of the inspector before and at the start of a recording.

use super::beside::Beside;
use super::budget::Verdict;
use super::effect::BeginError;
use super::preflight::Measured;
use super::workers::{self, Workers};
use crate::attach::ladder::failure;
use crate::attach::link::{CallError, Link, ending, evaluate};
use crate::clock;
use crate::discover::procfs::ProcRoot;
use crate::publish::collect::{Another, CollectError, Collected, collect};
use crate::publish::cpu_chunks::CpuChunks;
use crate::publish::heap_chunks::HeapChunks;
use crate::publish::spool::Spool;
use pitwall_inspector::{Command, Event, Incoming, expression};
use pitwall_protocol::{FailureReason, ProcessId, Recording};
use std::time::Duration;
use tokio::sync::Notify;

/// How long Node may take to start its profiler: 1.5 s a gigabyte of small objects, on a slow machine.
pub const BEGIN_TIMEOUT: Duration = Duration::from_mins(1);

/// The most snapshots of a series.
const MOST_SNAPSHOTS: u32 = 3;
/// The most worker threads that are recorded at once.
const MOST_WORKERS: usize = 32;
/// No chunk of a recording is shorter: milliseconds.
const SHORTEST_CHUNK_MS: u32 = 100;

/// A recording that runs.
#[derive(Debug, Default)]
pub struct Underway {
    /// What its start took.
    pub took: Duration,
    /// What takes a CPU recording over while it runs, where it comes in chunks.
    pub cpu_chunks: Option<CpuChunks>,
    /// The same of a heap sampling that keeps what was collected.
    pub heap_chunks: Option<HeapChunks>,
    /// The worker threads that are recorded beside the main thread.
    pub workers: Option<Workers>,
    /// What is measured and traced beside it.
    pub beside: Beside,
}

/// Why a recording that goes on should end now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The app wants to exit ([`Link::exiting`]).
    Exiting,
    /// Its samples take too much memory; the numbers.
    OverBudget(String),
}

/// Whom a recording is of, and where it goes.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// `/proc`.
    pub proc: &'a ProcRoot,
    /// The process.
    pub process: ProcessId,
    /// The spool.
    pub spool: &'a Spool,
    /// The file's name on it.
    pub file: &'a str,
}

/// What is to be recorded.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// What.
    pub recording: &'a Recording,
    /// `process.version`.
    pub node_version: &'a str,
    /// Whether V8's trace of optimizations is recorded beside it, and after how long it ends by itself.
    pub trace: Option<Duration>,
}

impl Underway {
    /// Records until it should end, or the connection ends.
    ///
    /// # Cancel safety
    /// May be dropped at any time: what has come is kept.
    pub async fn record(&mut self, link: &mut Link) -> Result<Heard, CollectError> {
        if let Some(chunks) = &mut self.cpu_chunks {
            chunks.record(link, &mut self.beside).await?;
            return Ok(Heard::Exiting);
        }
        let Self { heap_chunks, beside, workers, .. } = self;
        while !link.exiting {
            let incoming = tokio::select! {
                () = beside.due() => {
                    beside.ask(link)?;
                    continue;
                }
                () = due(heap_chunks.as_ref()) => {
                    if let Some(chunks) = heap_chunks {
                        chunks.ask(link)?;
                    }
                    continue;
                }
                incoming = link.connection.next() => incoming?,
            };
            let now = clock::now();
            beside.hear(&incoming, now);
            let verdict = match heap_chunks {
                Some(chunks) => chunks.hear(&incoming, now)?,
                None => Verdict::GoOn,
            };
            match incoming {
                Incoming::Event(Event::WaitingForDisconnect) => link.exiting = true,
                Incoming::Event(event) => {
                    if let Some(workers) = workers {
                        workers.heard(event);
                    }
                }
                Incoming::Closed(closed) => return Err(CollectError::Lost(ending(closed))),
                _ => {}
            }
            match (verdict, heap_chunks.as_mut()) {
                (Verdict::TakeOver { coarser }, Some(chunks)) if !link.exiting => {
                    chunks.turn(link, coarser, now)?;
                }
                (Verdict::End(numbers), _) => return Ok(Heard::OverBudget(numbers)),
                _ => {}
            }
        }
        Ok(Heard::Exiting)
    }

    /// What had come over of a recording whose connection ended as `how` says.
    pub async fn salvage(self, how: String, site: Site<'_>) -> Result<Collected, CollectError> {
        let mut collected = match (self.cpu_chunks, self.heap_chunks) {
            (Some(chunks), _) => chunks.collect(Err(how)).await?,
            (None, Some(chunks)) => chunks.collect(Err(how)).await?,
            (None, None) => return Err(CollectError::Lost(how)),
        };
        collected.with(self.beside.end(None, site).await);
        Ok(collected)
    }

    /// Ends the recording, and takes over what there is. `progress` hears how much of a heap was walked, in percent.
    /// `enough` ends a series before the next one.
    pub async fn take_over(
        self,
        link: &mut Link,
        site: Site<'_>,
        recording: &Recording,
        mut progress: impl FnMut(u8),
        enough: &Notify,
    ) -> Result<Collected, CollectError> {
        let Site { spool, file, .. } = site;
        if let Some(chunks) = self.cpu_chunks {
            let mut collected = chunks.collect(Ok(link)).await?;
            let there = collected.cut.is_none().then_some(link);
            collected.with(self.beside.end(there, site).await);
            return Ok(collected);
        }
        if let Recording::Series { recording, count, interval_ms } = recording {
            let interval = Duration::from_millis(*interval_ms);
            return series(link, spool, file, recording, (*count, interval), progress, enough).await;
        }
        let recording = recording.of_one();
        let mut collected = match self.heap_chunks {
            Some(chunks) => chunks.collect(Ok(&mut *link)).await?,
            None => collect(link, spool, file, recording, &mut progress).await?,
        };
        if let Some(workers) = self.workers {
            let of_workers = workers.collect(link, spool, file, recording).await;
            (collected.more, collected.remark, collected.cut) = of_workers;
        }
        let there = collected.cut.is_none().then_some(link);
        collected.with(self.beside.end(there, site).await);
        Ok(collected)
    }
}

/// Waits until a heap sampling is to be asked how much memory it takes.
async fn due(chunks: Option<&HeapChunks>) {
    match chunks {
        Some(chunks) => chunks.due().await,
        None => std::future::pending().await,
    }
}

/// Snapshots one after the other. What went wrong after the first one is said, and costs no earlier one.
async fn series(
    link: &mut Link,
    spool: &Spool,
    file: &str,
    recording: &Recording,
    (count, interval): (u32, Duration),
    mut progress: impl FnMut(u8),
    enough: &Notify,
) -> Result<Collected, CollectError> {
    let share = |number: u32, percent: u8| {
        u8::try_from(((number - 1) * 100 + u32::from(percent)) / count).unwrap_or(100)
    };
    let mut all = collect(link, spool, file, recording, |percent| progress(share(1, percent))).await?;
    for number in 2..=count {
        let mut nothing = Underway::default();
        let pause = tokio::select! {
            pause = tokio::time::timeout(interval, nothing.record(link)) => pause,
            () = enough.notified() => break,
        };
        match pause {
            Err(_) => {}
            Ok(Ok(_)) => {
                all.remark = Some(format!("the app began to exit after {} of {count} snapshots", number - 1));
                break;
            }
            Ok(Err(error)) => {
                all.cut = Some(error.ending());
                break;
            }
        }
        let name = format!("snapshot-{number}");
        let progress = |percent| progress(share(number, percent));
        match collect(link, spool, &format!("{name}.{file}"), recording, progress).await {
            Ok(next) => {
                all.took = all.took.max(next.took);
                all.more.push(Another { name, spooled: next.spooled });
            }
            Err(error @ (CollectError::Lost(_) | CollectError::Inspector(_))) => {
                all.cut = Some(error.ending());
                break;
            }
            Err(error) => {
                all.remark = Some(format!("{} of {count} snapshots were taken: {error}", number - 1));
                break;
            }
        }
    }
    Ok(all)
}

/// Whether this can be recorded, as far as it is not the target's to say.
pub fn can_record(recording: &Recording) -> bool {
    match recording {
        Recording::AllThreads { recording, .. } => {
            matches!(**recording, Recording::Cpu { .. } | Recording::HeapSampling { .. })
        }
        Recording::Series { recording, count, .. } => {
            matches!(**recording, Recording::HeapSnapshot { .. }) && (1..=MOST_SNAPSHOTS).contains(count)
        }
        _ => true,
    }
}

/// Starts what records over a window, or prepares for a snapshot.
pub async fn begin(link: &mut Link, site: Site<'_>, wish: Wish<'_>) -> Result<Underway, BeginError> {
    let Wish { recording, node_version, trace } = wish;
    let mut beside = match recording.of_one() {
        Recording::Cpu { .. } | Recording::CpuInChunks { .. } => {
            within(Beside::begin(link, trace)).await?.map_err(BeginError::Failed)?
        }
        _ => Beside::default(),
    };
    within(async {
        let mut heap_chunks = None;
        let start = match recording.of_one() {
            Recording::Cpu { sampling_interval_us } | Recording::CpuInChunks { sampling_interval_us, .. } => {
                let interval = Duration::from_micros((*sampling_interval_us).into());
                let set = Command::ProfilerSetSamplingInterval(interval);
                let load = expression::begin_load();
                let [enabled, set, load] =
                    link.call_all([&Command::ProfilerEnable, &set, &evaluate(&load)]).await?;
                enabled?;
                set?;
                beside.load_begun(load, site);
                if let Recording::CpuInChunks { chunk_ms, .. } = recording
                    && !link.exiting
                {
                    let length = Duration::from_millis((*chunk_ms).max(SHORTEST_CHUNK_MS).into());
                    let (chunks, took) =
                        CpuChunks::begin(link, site.spool, site.file, interval, length).await?;
                    let cpu_chunks = Some(chunks);
                    return Ok(Some(Underway { took, cpu_chunks, beside, ..Underway::default() }));
                }
                Command::ProfilerStart
            }
            Recording::HeapSampling { sampling_interval_bytes, collected } => {
                let (interval, collected) = (*sampling_interval_bytes, *collected);
                link.call(&Command::HeapProfilerEnable).await?;
                if collected {
                    // The samples of several threads share the process's memory: which of them takes it can't be told.
                    let may_turn = !matches!(recording, Recording::AllThreads { .. });
                    let Site { spool, file, .. } = site;
                    heap_chunks = Some(HeapChunks::begin(link, spool, file, interval, may_turn).await?);
                }
                Command::HeapProfilerStartSampling { interval, collected }
            }
            Recording::HeapSnapshot { .. } => {
                if node_version.starts_with("v20.") {
                    // V8 11 looks up each closure's position in its source, which takes minutes with large sources;
                    // the debugger leaves behind the tables that make it quick.
                    for result in link.call_all([&Command::DebuggerEnable, &Command::DebuggerDisable]).await?
                    {
                        result?;
                    }
                }
                Command::HeapProfilerEnable
            }
            Recording::AllThreads { .. }
            | Recording::Series { .. }
            | Recording::Check { .. }
            | Recording::Unknown => {
                return Err(CallError::Refused {
                    method: "nothing",
                    message: "unknown recording".to_owned(),
                });
            }
        };
        // Before the main thread: its window isn't to be longer by what a blocked worker is waited for.
        let workers = match recording {
            Recording::AllThreads { recording, workers } => {
                let most = usize::try_from(*workers).unwrap_or(MOST_WORKERS).min(MOST_WORKERS);
                Some(Workers::begin(link, recording, most).await?)
            }
            _ => None,
        };
        if link.exiting {
            return Ok(None);
        }
        let asked = clock::now();
        link.call(&start).await?;
        let took = clock::now().saturating_duration_since(asked);
        Ok(Some(Underway { took, cpu_chunks: None, heap_chunks, workers, beside }))
    })
    .await?
    .ok_or(BeginError::Exiting)
}

/// Measures what the preflight asks for.
pub async fn measure(
    link: &mut Link,
    proc: &ProcRoot,
    process: ProcessId,
    spool_left: u64,
    recording: &Recording,
) -> Result<Measured, BeginError> {
    let answered = within(async { link.evaluate(&expression::heap()).await }).await?;
    let workers = match recording {
        Recording::AllThreads { .. } => within(workers::count(link)).await?,
        _ => 0,
    };
    let heap = expression::Heap::from_value(&answered).map_err(|error| failed(&error))?;
    Ok(Measured {
        used: proc.resident_beside(process.pid),
        heap: heap.used,
        large_objects: heap.large_objects,
        node_free: proc.memory_available().unwrap_or(0),
        spool_left,
        workers: u32::try_from(workers).unwrap_or(u32::MAX),
    })
}

async fn within<T>(commands: impl Future<Output = Result<T, CallError>>) -> Result<T, BeginError> {
    match tokio::time::timeout(BEGIN_TIMEOUT, commands).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error @ (CallError::Refused { .. } | CallError::Threw(_)))) => Err(failed(&error)),
        Ok(Err(CallError::Lost { how, .. })) => Err(BeginError::Lost(how)),
        Ok(Err(CallError::Inspector(error))) => Err(BeginError::Lost(error.to_string())),
        Err(_) => Err(failed(&format_args!(
            "the inspector didn't answer within {BEGIN_TIMEOUT:?}: the app is inside a long native call"
        ))),
    }
}

fn failed(error: &dyn std::fmt::Display) -> BeginError {
    BeginError::Failed(failure(FailureReason::ProfilerFailed, error.to_string()))
}
