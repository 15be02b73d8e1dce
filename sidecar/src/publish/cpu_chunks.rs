//! A CPU recording of hours, in constant memory on both sides.
//!
//! V8 keeps every sample of a profile until it is asked for. So the recording is cut into chunks while V8's sampler
//! goes on: the next one is begun before the one before it ends, which costs the app some milliseconds where a
//! new start costs a walk over its heap. A thread joins them as they come. When the process is killed, what had
//! come over is there.

use super::collect::{CollectError, Collected, heard};
use super::joining::{Arriving, Finished, Join, Joining, unwritten};
use super::spool::{Room, Spool, Writer};
use crate::attach::link::{self, CallError, Link, ending};
use crate::clock;
use crate::session::beside::Beside;
use pitwall_inspector::{Command, CommandId, Event, EventStream, Incoming, expression};
use pitwall_profile::cpu::{JoinError, JoinLimits, Joined, Joiner};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::time::{Duration, Instant};

/// A recording that the app ends is begun again at most this often.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// The most samples of the joined profile: `DevTools` opens some 2 million.
const MOST_SAMPLES: u64 = 2_000_000;
/// Some 10 MiB for the tree of one recording at worst.
const LIMITS: JoinLimits = JoinLimits {
    chunk_bytes: super::joining::LARGEST_CHUNK,
    chunk_nodes: 50_000,
    chunk_samples: 200_000,
    samples: 20_000_000,
    nodes: 100_000,
    functions: 20_000,
    lines: 50_000,
    text: 2 << 20,
};

/// A recording under way.
#[derive(Debug)]
pub struct CpuChunks {
    spool: Spool,
    file: String,
    /// The chunk that is being recorded, by its title.
    live: Option<String>,
    /// The chunk that was told to end.
    ending: Option<String>,
    begun: Instant,
    /// How long a chunk is: V8 writes it out in one go, some 10 us a node.
    length: Duration,
    /// When the next one begins.
    due: Instant,
    /// What was asked, and when.
    asked: Option<(CommandId, Instant)>,
    arriving: Option<Arriving>,
    arrivals: u32,
    joining: Joining<Joined>,
    stats: Stats,
}

/// What went other than planned, and what it cost.
#[derive(Clone, Copy, Debug, Default)]
struct Stats {
    ended_by_app: u32,
    left_out: u32,
    /// The longest that one of the commands took.
    longest: Duration,
}

impl CpuChunks {
    /// Begins to record. `file` will be the artifact's name on the spool. Says what the start took.
    ///
    /// The profiler must be enabled, and its interval set.
    pub async fn begin(
        link: &mut Link,
        spool: &Spool,
        file: &str,
        interval: Duration,
        length: Duration,
    ) -> Result<(Self, Duration), CallError> {
        let title = title();
        let now = clock::now();
        link::value(&link.call(&within(&expression::begin_chunk(&title))).await?)?;
        let took = clock::now().saturating_duration_since(now);
        let (of, name) = (spool.clone(), format!("{file}.samples"));
        let joining = Joining::begin(spool, move || {
            let (file, room) = of.scratch(&name)?;
            Ok(Joiner::new(Samples { file, room, bytes: 0 }, interval, LIMITS))
        });
        let chunks = Self {
            spool: spool.clone(),
            file: file.to_owned(),
            live: Some(title),
            ending: None,
            begun: now,
            length,
            due: now + length,
            asked: None,
            arriving: None,
            arrivals: 0,
            joining,
            stats: Stats::default(),
        };
        Ok((chunks, took))
    }

    /// Records until the app wants to exit ([`Link::exiting`]) or something goes wrong.
    ///
    /// # Cancel safety
    /// May be dropped at any time: what has come is kept, and [`Self::collect`] goes on from there.
    pub async fn record(&mut self, link: &mut Link, beside: &mut Beside) -> Result<(), CollectError> {
        while !link.exiting {
            let may_ask = self.asked.is_none();
            tokio::select! {
                () = beside.due() => beside.ask(link)?,
                incoming = link.connection.next() => {
                    let (incoming, now) = (incoming?, clock::now());
                    beside.hear(&incoming, now);
                    if self.take(incoming, now)? {
                        link.exiting = true;
                    }
                }
                () = tokio::time::sleep_until(self.due.into()), if may_ask => self.turn(link, clock::now())?,
            }
        }
        Ok(())
    }

    /// Ends the recording, and joins all that has come. Without a `link`, which was lost for a reason, that is what
    /// had come by then.
    pub async fn collect(mut self, link: Result<&mut Link, String>) -> Result<Collected, CollectError> {
        let asked = clock::now();
        let cut = match link {
            Ok(link) => self.end(link).await.err().map(|error| error.ending()),
            Err(how) => Some(how),
        };
        let took = clock::now().saturating_duration_since(asked).max(self.stats.longest);
        let Finished { spooled, joined, left_out } = match self.joining.finish(self.file).await {
            Err(CollectError::Join(JoinError::Empty)) if cut.is_some() => {
                return Err(CollectError::Lost(cut.unwrap_or_default()));
            }
            finished => finished?,
        };
        self.stats.left_out += left_out;
        tracing::info!(?joined, stats = ?self.stats, "joined");
        let micros = u64::try_from(joined.end - joined.start).unwrap_or(0);
        Ok(Collected {
            spooled,
            took,
            more: vec![],
            remark: remark(&joined, self.stats),
            recorded: Some(Duration::from_micros(micros)),
            load: None,
            cut,
        })
    }

    /// Ends the last chunk, and takes it over.
    async fn end(&mut self, link: &mut Link) -> Result<(), CollectError> {
        // Whatever was asked before is answered before.
        while self.asked.is_some() {
            link.exiting |=
                self.take(heard(&mut link.connection, super::collect::SILENCE).await?, clock::now())?;
        }
        let Some(title) = self.live.take() else { return Ok(()) };
        let text = expression::end_chunk(&title);
        self.asked = Some((link.connection.send(&within(&text))?, clock::now()));
        self.ending = Some(title);
        // The chunk comes before the answer.
        while self.asked.is_some() {
            link.exiting |=
                self.take(heard(&mut link.connection, super::collect::SILENCE).await?, clock::now())?;
        }
        Ok(())
    }

    /// Begins the next chunk and ends the one before.
    fn turn(&mut self, link: &mut Link, now: Instant) -> Result<(), CollectError> {
        let title = title();
        let text = match &self.live {
            Some(before) => expression::next_chunk(&title, before),
            None => expression::begin_chunk(&title),
        };
        self.asked = Some((link.connection.send(&within(&text))?, now));
        self.ending = self.live.replace(title);
        self.begun = now;
        self.due = now + self.length;
        Ok(())
    }

    /// Takes in what came; says whether the app wants to exit.
    fn take(&mut self, incoming: Incoming<&[u8]>, now: Instant) -> Result<bool, CollectError> {
        let answers = |id| self.asked.is_some_and(|(asked, _)| asked == id);
        match incoming {
            Incoming::EventChunk { stream: EventStream::ConsoleProfile, bytes } => self.arrive(bytes),
            Incoming::EventEnd { stream: EventStream::ConsoleProfile, title } => {
                self.arrived(title.as_deref(), now);
            }
            Incoming::Reply { id, result } if answers(id) => {
                let (_, asked) = self.asked.take().expect("the reply is to it");
                self.stats.longest = self.stats.longest.max(now.saturating_duration_since(asked));
                link::value(&result).map_err(|error| CollectError::Refused {
                    method: "console.profile",
                    message: error.to_string(),
                })?;
            }
            Incoming::Refused { id, message, .. } if answers(id) => {
                self.asked = None;
                return Err(CollectError::Refused { method: "console.profile", message });
            }
            Incoming::Event(Event::WaitingForDisconnect) => return Ok(true),
            Incoming::Closed(closed) => return Err(CollectError::Lost(ending(closed))),
            _ => {}
        }
        Ok(false)
    }

    fn arrive(&mut self, bytes: &[u8]) {
        let arriving = match &mut self.arriving {
            Some(arriving) => arriving,
            none => {
                self.arrivals += 1;
                let name = format!("{}.{}.chunk", self.file, self.arrivals);
                let Some(arriving) = Arriving::begin(&self.spool, &name) else { return };
                none.insert(arriving)
            }
        };
        arriving.put(bytes);
    }

    /// A profile has come over: of the chunk that was told to end, of one that the app ended, or of the app's own.
    fn arrived(&mut self, title: Option<&str>, now: Instant) {
        let arriving = self.arriving.take();
        if title.is_none() {
            return;
        }
        if title == self.live.as_deref() {
            self.live = None;
            self.stats.ended_by_app += 1;
            self.due = now.max(self.begun + RESTART_PAUSE);
        } else if title == self.ending.as_deref() {
            self.ending = None;
        } else {
            return;
        }
        self.stats.left_out += u32::from(!self.joining.add(arriving));
    }
}

/// The samples of all chunks, on the spool.
struct Samples {
    file: File,
    room: Room,
    /// What has room already.
    bytes: u64,
}

impl Read for Samples {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.file.read(into)
    }
}

impl Seek for Samples {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl Write for Samples {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let end = self.file.stream_position()? + bytes.len() as u64;
        if end > self.bytes {
            self.room.take(end - self.bytes).map_err(io::Error::other)?;
            self.bytes = end;
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Join for Joiner<Samples> {
    type Joined = Joined;

    fn add(&mut self, chunk: &File) -> Result<(), String> {
        let added = Joiner::add(self, chunk).map_err(|error| error.to_string())?;
        tracing::debug!(?added, "a chunk");
        Ok(())
    }

    fn finish(self, into: &mut Writer) -> Result<Joined, CollectError> {
        Joiner::finish(self, into, MOST_SAMPLES).map_err(|error| match error {
            JoinError::Write(source) => unwritten(source),
            other => other.into(),
        })
    }
}

/// What isn't as it was asked for, in sentences.
fn remark(joined: &Joined, stats: Stats) -> Option<String> {
    let mut said = vec![];
    if stats.ended_by_app > 0 {
        said.push(format!(
            "the app ended the recording {} times with console.profileEnd(); it was begun again",
            stats.ended_by_app
        ));
    }
    if stats.left_out > 0 {
        said.push(format!("{} parts of it couldn't be kept", stats.left_out));
    }
    if joined.gaps.count > 0 {
        said.push(format!(
            "{:.1} s in {} gaps were not recorded, and are shown as (not recorded)",
            joined.gaps.total.as_secs_f64(),
            joined.gaps.count
        ));
    }
    if joined.folded > 0 {
        said.push(format!(
            "{} of {} samples are shown without their callers, as (folded): the app has more call paths than are kept",
            joined.folded, joined.samples
        ));
    }
    if joined.thinned > 1.0 {
        said.push(format!(
            "of {} samples, one in {:.1} is shown, so that DevTools can open them",
            joined.samples, joined.thinned
        ));
    }
    (!said.is_empty()).then(|| said.join("; "))
}

/// V8 writes a chunk out before it answers, and a process that has little CPU, or stands still for a while, takes its
/// time: what was begun in the middle of it must not be broken off.
fn within(expression: &str) -> Command<'_> {
    Command::Evaluate { expression, timeout: super::collect::SILENCE, command_line_api: true }
}

/// Random, so that the app can't end a chunk by its title.
fn title() -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(20).collect()
}
