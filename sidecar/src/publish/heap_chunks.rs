//! A heap sampling that keeps what was collected, for hours.
//!
//! V8 keeps a sample of everything that was ever allocated until it is asked for them. So when they take too much of the
//! process's memory, they are taken over, and the sampling goes on with a larger interval: fewer samples, each of which
//! stands for more. A thread joins the chunks. What the app allocates between the end of one and the
//! start of the next isn't missed: both commands are dispatched in one go.

use super::collect::{CollectError, Collected, collect, heard};
use super::joining::{Arriving, Finished, Join, Joining, unwritten};
use super::spool::{Spool, Writer};
use crate::attach::link::{self, CallError, Link, ending};
use crate::clock;
use crate::session::budget::{Budget, Verdict};
use pitwall_inspector::{Command, CommandId, Incoming, expression};
use pitwall_profile::heap_sampling::{JoinLimits, Joined, Joiner};
use pitwall_protocol::Recording;
use std::fmt::Write as _;
use std::fs::File;
use std::time::{Duration, Instant};

/// The sampling's interval isn't raised further, in bytes.
const LARGEST_INTERVAL: u32 = 1 << 20;
/// Some 10 MiB for the tree of one recording at worst.
const LIMITS: JoinLimits = JoinLimits {
    chunk_bytes: super::joining::LARGEST_CHUNK,
    chunk_nodes: 100_000,
    nodes: 100_000,
    functions: 20_000,
    text: 2 << 20,
};

/// A sampling under way.
#[derive(Debug)]
pub struct HeapChunks {
    spool: Spool,
    file: String,
    begun: Instant,
    budget: Budget,
    due: Instant,
    /// What was asked for the memory.
    asked: Option<CommandId>,
    turning: Option<Turning>,
    arriving: Option<Arriving>,
    /// `None` before the first chunk.
    joining: Option<Joining<Joined>>,
    stats: Stats,
}

/// What was asked for at the end of a chunk, as far as it isn't answered.
#[derive(Debug)]
struct Turning {
    stop: Option<CommandId>,
    start: Option<CommandId>,
    since: Instant,
}

/// What went other than planned, and what it cost. Intervals in bytes.
#[derive(Clone, Copy, Debug)]
struct Stats {
    asked_for: u32,
    interval: u32,
    turns: u32,
    last_turn: Option<Instant>,
    left_out: u32,
    /// The longest that it took to end a chunk and begin the next.
    longest: Duration,
}

impl HeapChunks {
    /// Looks at the process's memory, before the sampling begins. `interval` is the sampling's, in bytes. One that may not
    /// come in chunks ends when its budget is used up.
    pub async fn begin(
        link: &mut Link,
        spool: &Spool,
        file: &str,
        interval: u32,
        may_turn: bool,
    ) -> Result<Self, CallError> {
        let value = link.evaluate(&expression::memory_outside_of_heap()).await?;
        let before = expression::bytes(&value)?;
        let now = clock::now();
        let budget = Budget::new(before, may_turn, now);
        Ok(Self {
            spool: spool.clone(),
            file: file.to_owned(),
            begun: now,
            due: budget.look_at(now),
            budget,
            asked: None,
            turning: None,
            arriving: None,
            joining: None,
            stats: Stats {
                asked_for: interval,
                interval,
                turns: 0,
                last_turn: None,
                left_out: 0,
                longest: Duration::ZERO,
            },
        })
    }

    /// Waits until [`Self::ask`] is due.
    pub async fn due(&self) {
        if self.asked.is_none() && self.turning.is_none() {
            tokio::time::sleep_until(self.due.into()).await;
        } else {
            std::future::pending::<()>().await;
        }
    }

    /// Asks for the process's memory.
    pub fn ask(&mut self, link: &mut Link) -> Result<(), pitwall_inspector::Error> {
        let text = expression::memory_outside_of_heap();
        self.asked = Some(link.connection.send(&link::evaluate(&text))?);
        Ok(())
    }

    /// Hears what came, and says what is to be done: [`Self::turn`], or the sampling's end.
    pub fn hear(&mut self, incoming: &Incoming<&[u8]>, now: Instant) -> Result<Verdict, CollectError> {
        let memory = match incoming {
            Incoming::Reply { id, result } if self.asked == Some(*id) => {
                link::value(result).ok().and_then(|value| expression::bytes(&value).ok())
            }
            Incoming::Refused { id, .. } if self.asked == Some(*id) => None,
            _ => {
                self.take(incoming, now)?;
                return Ok(Verdict::GoOn);
            }
        };
        (self.asked, self.due) = (None, self.budget.look_at(now));
        Ok(memory.map_or(Verdict::GoOn, |memory| self.budget.look(memory, now)))
    }

    /// Ends the chunk, and begins the next one, with so many times the interval as far as V8's largest.
    pub fn turn(&mut self, link: &mut Link, coarser: u32, now: Instant) -> Result<(), CollectError> {
        let largest = LARGEST_INTERVAL.max(self.stats.interval);
        let interval = self.stats.interval.saturating_mul(coarser).min(largest);
        let coarser = interval / self.stats.interval.max(1);
        let start = Command::HeapProfilerStartSampling { interval, collected: true };
        self.turning = Some(Turning {
            stop: Some(link.connection.send(&Command::HeapProfilerStopSampling)?),
            start: Some(link.connection.send(&start)?),
            since: now,
        });
        self.stats.interval = interval;
        self.budget.taken_over(coarser, now);
        if self.joining.is_none() {
            self.joining = Some(Joining::begin(&self.spool, || Ok(Joiner::new(LIMITS))));
        }
        Ok(())
    }

    fn take(&mut self, incoming: &Incoming<&[u8]>, now: Instant) -> Result<(), CollectError> {
        let Some(turning) = &mut self.turning else { return Ok(()) };
        match incoming {
            Incoming::StreamChunk { id, bytes } if turning.stop == Some(*id) => {
                if self.arriving.is_none() {
                    let name = format!("{}.{}.chunk", self.file, self.stats.turns);
                    self.arriving = Arriving::begin(&self.spool, &name);
                }
                if let Some(arriving) = &mut self.arriving {
                    arriving.put(bytes);
                }
            }
            Incoming::StreamEnd { id, .. } | Incoming::Reply { id, .. } | Incoming::Refused { id, .. }
                if turning.stop == Some(*id) =>
            {
                turning.stop = None;
                self.stats.turns += 1;
                self.stats.last_turn = Some(turning.since);
                let chunk = self.arriving.take();
                let added = self.joining.as_ref().is_some_and(|joining| joining.add(chunk));
                self.stats.left_out += u32::from(!added);
                let took_us = crate::session::micros(now.saturating_duration_since(turning.since));
                tracing::info!(
                    took_us,
                    interval = self.stats.interval,
                    "a chunk of a sampling has come over"
                );
            }
            Incoming::Reply { id, .. } if turning.start == Some(*id) => turning.start = None,
            Incoming::Refused { id, message, .. } if turning.start == Some(*id) => {
                turning.start = None;
                let method = "HeapProfiler.startSampling";
                return Err(CollectError::Refused { method, message: message.clone() });
            }
            Incoming::Closed(closed) => return Err(CollectError::Lost(ending(*closed))),
            _ => {}
        }
        if turning.stop.is_none() && turning.start.is_none() {
            self.stats.longest = self.stats.longest.max(now.saturating_duration_since(turning.since));
            self.turning = None;
        }
        Ok(())
    }

    /// Ends the sampling, and takes over what there is. Without a `link`, which was lost for a reason, that are the
    /// chunks that had come by then.
    pub async fn collect(mut self, link: Result<&mut Link, String>) -> Result<Collected, CollectError> {
        let mut took = Duration::ZERO;
        let cut = match link {
            Ok(link) => {
                let settled = self.settled(link).await;
                if settled.is_ok() && self.joining.is_none() {
                    let whole = Recording::HeapSampling {
                        sampling_interval_bytes: self.stats.interval,
                        collected: true,
                    };
                    return collect(link, &self.spool, &self.file, &whole, |_| {}).await;
                }
                let asked = clock::now();
                let ended = match settled {
                    Ok(()) => self.end(link, asked).await,
                    Err(error) => Err(error),
                };
                took = clock::now().saturating_duration_since(asked);
                ended.err().map(|error| error.ending())
            }
            Err(how) => Some(how),
        };
        let Self { joining, file, begun, mut stats, .. } = self;
        let Some(joining) = joining.filter(|_| stats.turns > stats.left_out) else {
            return Err(CollectError::Lost(cut.unwrap_or_else(|| "nothing could be kept".to_owned())));
        };
        let Finished { spooled, joined, left_out } = joining.finish(file).await?;
        stats.left_out += left_out;
        tracing::info!(?joined, ?stats, "joined");
        let until = stats.last_turn.filter(|_| cut.is_some());
        Ok(Collected {
            spooled,
            took: took.max(stats.longest),
            more: vec![],
            remark: Some(remark(&joined, stats)),
            recorded: until.map(|until| until.saturating_duration_since(begun)),
            load: None,
            cut,
        })
    }

    /// Waits for what was asked for before.
    async fn settled(&mut self, link: &mut Link) -> Result<(), CollectError> {
        while self.turning.is_some() {
            let incoming = heard(&mut link.connection, super::collect::SILENCE).await?;
            self.take(&incoming, clock::now())?;
        }
        Ok(())
    }

    /// Ends the last chunk, and takes it over.
    async fn end(&mut self, link: &mut Link, now: Instant) -> Result<(), CollectError> {
        let stop = Some(link.connection.send(&Command::HeapProfilerStopSampling)?);
        self.turning = Some(Turning { stop, start: None, since: now });
        self.settled(link).await
    }
}

impl Join for Joiner {
    type Joined = Joined;

    fn add(&mut self, chunk: &File) -> Result<(), String> {
        Joiner::add(self, chunk).map_err(|error| error.to_string())
    }

    fn finish(self, into: &mut Writer) -> Result<Joined, CollectError> {
        Joiner::finish(self, into).map_err(unwritten)
    }
}

/// What isn't as it was asked for, in sentences.
fn remark(joined: &Joined, stats: Stats) -> String {
    let kib = |bytes: u32| bytes >> 10;
    let mut said = format!(
        "the app allocates much: the samples were taken over in {} chunks, with a samplingInterval of {}Ki at first and of \
         {}Ki at last",
        joined.chunks,
        kib(stats.asked_for),
        kib(stats.interval)
    );
    if stats.left_out > 0 {
        write!(said, "; {} of them couldn't be kept", stats.left_out).ok();
    }
    if joined.folded > 0 {
        write!(
            said,
            "; {} of {} MiB are shown without their callers, as (folded): the app has more call paths than are kept",
            joined.folded >> 20,
            joined.allocated >> 20
        )
        .ok();
    }
    said
}
