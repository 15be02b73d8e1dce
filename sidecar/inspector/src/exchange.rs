//! From frames to replies and events, without IO: which commands wait for a reply, and what the bytes that came
//! in mean for them.

use std::ops::Range;

use serde::Deserialize;
use serde::de::Error as _;
use serde_json::value::RawValue;

use crate::command::{Command, CommandId};
use crate::error::Error;
use crate::frame::{self, Header, Kind};
use crate::limits::Limits;
use crate::reply::{self, LONGEST_CLOSING, LONGEST_OPENING, Opening};
use crate::text::LossyText;

/// How many commands may wait for their replies.
const MOST_PENDING: usize = 64;

/// How much of an error's text is kept, in characters.
pub(crate) const LONGEST_REFUSAL: usize = 512;

/// What came in. `Bytes` are those of a streamed result: `&[u8]` from a connection, their place in the input
/// from an [`Exchange`].
#[derive(Debug)]
pub enum Incoming<Bytes> {
    /// The result of a command that isn't streamed.
    Reply {
        /// The command.
        id: CommandId,
        /// The `result` of the reply.
        result: Box<RawValue>,
    },
    /// The inspector refused a command.
    Refused {
        /// The command.
        id: CommandId,
        /// The protocol's code: -32601 for an unknown method, -32000 for most else.
        code: i64,
        /// What the inspector says about it.
        message: String,
    },
    /// Something happened in the app.
    Event(Event),
    /// The next bytes of a streamed result, which is one JSON value.
    StreamChunk {
        /// The command.
        id: CommandId,
        /// Never empty.
        bytes: Bytes,
    },
    /// A streamed result is complete, and its envelope was right.
    StreamEnd {
        /// The command.
        id: CommandId,
        /// How many bytes its chunks had together.
        bytes: u64,
    },
    /// The next bytes of a streamed member of an event, which is one JSON value.
    EventChunk {
        /// Of which event.
        stream: EventStream,
        /// Never empty.
        bytes: Bytes,
    },
    /// The event is complete.
    EventEnd {
        /// Which.
        stream: EventStream,
        /// Of a [`EventStream::ConsoleProfile`]: its title, if that has letters and digits of ASCII only.
        title: Option<String>,
    },
    /// The connection has ended. The app may wait for it to be dropped: do so.
    Closed(Closed),
}

impl<Bytes> Incoming<Bytes> {
    pub(crate) fn map<Other>(self, map: impl FnOnce(Bytes) -> Other) -> Incoming<Other> {
        match self {
            Self::Reply { id, result } => Incoming::Reply { id, result },
            Self::Refused { id, code, message } => Incoming::Refused { id, code, message },
            Self::Event(event) => Incoming::Event(event),
            Self::StreamChunk { id, bytes } => Incoming::StreamChunk { id, bytes: map(bytes) },
            Self::StreamEnd { id, bytes } => Incoming::StreamEnd { id, bytes },
            Self::EventChunk { stream, bytes } => Incoming::EventChunk { stream, bytes: map(bytes) },
            Self::EventEnd { stream, title } => Incoming::EventEnd { stream, title },
            Self::Closed(closed) => Incoming::Closed(closed),
        }
    }
}

/// An event whose largest member is handed on as it arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventStream {
    /// `HeapProfiler.addHeapSnapshotChunk`: a JSON string, which [`Unescape`](crate::Unescape) reads.
    SnapshotChunk,
    /// `Profiler.consoleProfileFinished`: the bytes of a `.cpuprofile`. The app can send such events too, with
    /// `console.profile()`.
    ConsoleProfile,
    /// `NodeWorker.receivedMessageFromWorker`: a JSON string, which [`WorkerMessage`](crate::WorkerMessage) reads.
    WorkerMessage {
        /// The worker's session.
        session: u32,
    },
}

impl EventStream {
    pub(crate) fn member(self) -> &'static str {
        match self {
            Self::SnapshotChunk => "chunk",
            Self::ConsoleProfile => "profile",
            Self::WorkerMessage { .. } => "message",
        }
    }
}

/// The events that mean something here. All others are skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// `NodeRuntime.waitingForDisconnect`: the app wants to exit and waits for this connection to be dropped.
    /// It still answers [`Command::ProfilerStop`].
    WaitingForDisconnect,
    /// `HeapProfiler.reportHeapSnapshotProgress`: how much of the heap was walked.
    SnapshotProgress {
        /// Objects done.
        done: u32,
        /// Of so many.
        total: u32,
    },
    /// `NodeWorker.attachedToWorker`: there is a session with a worker thread.
    WorkerAttached {
        /// The session.
        session: u32,
        /// `threadId` of the worker.
        thread: u32,
    },
    /// `NodeWorker.detachedFromWorker`: the worker thread has ended.
    WorkerDetached {
        /// The session.
        session: u32,
    },
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The inspector said goodbye: it is being closed from within the app, which waits for this connection.
    ByFrame {
        /// The status code, if it gave one.
        code: Option<u16>,
    },
    /// The TCP connection ended.
    Dropped {
        /// In the middle of a message: a streamed result is cut off, or the app died.
        within_message: bool,
    },
}

/// One side's view of a connection: commands that wait, and the message that is being read.
#[derive(Debug)]
pub struct Exchange {
    limits: Limits,
    last: i32,
    pending: Vec<Pending>,
    state: State,
    /// The end of an event, to be told next.
    ended_event: Option<(EventStream, Option<String>)>,
    /// The part of a kept message that came in so far.
    message: Vec<u8>,
}

#[derive(Debug)]
struct Pending {
    id: CommandId,
    streamed: Option<&'static str>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Between frames.
    Header,
    /// At the start of a message.
    Opening {
        length: u64,
    },
    /// In a message that is kept.
    Keeping {
        remaining: u64,
    },
    /// In a value that is handed on.
    Streaming {
        what: Streamed,
        remaining: u64,
        delivered: u64,
    },
    /// After a streamed result.
    Streamed {
        id: CommandId,
        bytes: u64,
    },
    /// In a message of no interest.
    Skipping {
        remaining: u64,
    },
    /// In a Close frame.
    Closing {
        remaining: u64,
    },
    Ended(Closed),
}

/// What is handed on.
#[derive(Clone, Copy, Debug)]
enum Streamed {
    Result { id: CommandId, member: &'static str },
    Event(EventStream),
}

impl Streamed {
    fn chunk(self, bytes: Range<usize>) -> Incoming<Range<usize>> {
        match self {
            Self::Result { id, .. } => Incoming::StreamChunk { id, bytes },
            Self::Event(stream) => Incoming::EventChunk { stream, bytes },
        }
    }
}

/// What came of [`Exchange::advance`].
#[derive(Debug)]
pub struct Advanced {
    /// How many bytes of the input are dealt with. The others must come again, with more behind them; they are
    /// fewer than [`LONGEST_UNCONSUMED`] when nothing came of the input.
    pub consumed: usize,
    /// What came in, a chunk as its place in the input. `None`: more input is needed.
    pub incoming: Option<Incoming<Range<usize>>>,
}

/// See [`Advanced::consumed`].
pub const LONGEST_UNCONSUMED: usize = LONGEST_OPENING;

/// What came of one look at the input.
enum Progress {
    /// So many bytes are dealt with.
    Consumed(usize),
    /// So many bytes are dealt with, and this came of them.
    Came(usize, Incoming<Range<usize>>),
    Incomplete,
}

impl Exchange {
    /// An exchange on a connection that was just upgraded.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            last: 0,
            pending: Vec::new(),
            state: State::Header,
            ended_event: None,
            message: Vec::new(),
        }
    }

    /// Notes that `command` waits for its reply, and gives the text that asks for it.
    pub fn command(&mut self, command: &Command<'_>) -> Result<(CommandId, String), Error> {
        if let State::Ended(_) = self.state {
            return Err(Error::Ended);
        }
        if self.pending.len() >= MOST_PENDING {
            return Err(Error::Unanswered { limit: MOST_PENDING });
        }
        self.last = self.last.checked_add(1).ok_or(Error::Unanswered { limit: MOST_PENDING })?;
        let id = CommandId(self.last);
        self.pending.push(Pending { id, streamed: command.streamed_member() });
        Ok((id, command.to_json(id)))
    }

    /// Looks at `input`, the bytes that came in and weren't consumed yet.
    pub fn advance(&mut self, input: &[u8]) -> Result<Advanced, Error> {
        let mut consumed = 0;
        loop {
            match self.step(&input[consumed..])? {
                Progress::Consumed(bytes) => consumed += bytes,
                Progress::Came(bytes, incoming) => {
                    let incoming = incoming.map(|range| range.start + consumed..range.end + consumed);
                    return Ok(Advanced { consumed: consumed + bytes, incoming: Some(incoming) });
                }
                Progress::Incomplete => return Ok(Advanced { consumed, incoming: None }),
            }
        }
    }

    /// The TCP connection ended: what that means.
    pub fn dropped(&mut self) -> Closed {
        let closed = match self.state {
            State::Ended(closed) => closed,
            State::Header | State::Streamed { .. } | State::Closing { .. } => {
                Closed::Dropped { within_message: false }
            }
            State::Opening { .. }
            | State::Keeping { .. }
            | State::Streaming { .. }
            | State::Skipping { .. } => Closed::Dropped { within_message: true },
        };
        self.state = State::Ended(closed);
        closed
    }

    fn step(&mut self, input: &[u8]) -> Result<Progress, Error> {
        match self.state {
            State::Header => match self.ended_event.take() {
                Some((stream, title)) => Ok(Progress::Came(0, Incoming::EventEnd { stream, title })),
                None => self.header(input),
            },
            State::Opening { length } => self.opening(input, length),
            State::Keeping { remaining } => {
                let taken = available(input, remaining);
                self.message.extend_from_slice(&input[..taken]);
                let remaining = remaining - taken as u64;
                self.state = State::Keeping { remaining };
                if remaining > 0 {
                    return Ok(consumed_or_incomplete(taken));
                }
                self.state = State::Header;
                let message = std::mem::take(&mut self.message);
                Ok(match self.decode(&message)? {
                    Some(incoming) => Progress::Came(taken, incoming),
                    None => Progress::Consumed(taken),
                })
            }
            State::Streaming { what, remaining, delivered } => self.stream(input, what, remaining, delivered),
            State::Streamed { id, bytes } => {
                self.state = State::Header;
                Ok(Progress::Came(0, Incoming::StreamEnd { id, bytes }))
            }
            State::Skipping { remaining } => {
                let taken = available(input, remaining);
                let remaining = remaining - taken as u64;
                self.state = if remaining == 0 { State::Header } else { State::Skipping { remaining } };
                Ok(if remaining == 0 { Progress::Consumed(taken) } else { consumed_or_incomplete(taken) })
            }
            State::Closing { remaining } => {
                if (input.len() as u64) < remaining {
                    return Ok(Progress::Incomplete);
                }
                let taken = available(input, remaining);
                let code = input[..taken].first_chunk().map(|code| u16::from_be_bytes(*code));
                let closed = Closed::ByFrame { code };
                self.state = State::Ended(closed);
                Ok(Progress::Came(taken, Incoming::Closed(closed)))
            }
            State::Ended(closed) => Ok(Progress::Came(input.len(), Incoming::Closed(closed))),
        }
    }

    fn header(&mut self, input: &[u8]) -> Result<Progress, Error> {
        let Some((Header { kind, length }, size)) = frame::read_header(input)? else {
            return Ok(Progress::Incomplete);
        };
        self.state = match kind {
            Kind::Text => {
                let limit = self.limits.stream.max(self.limits.message as u64);
                if length > limit {
                    return Err(Error::TooLarge { length, limit });
                }
                State::Opening { length }
            }
            Kind::Close => State::Closing { remaining: length },
            Kind::Heartbeat => State::Skipping { remaining: length },
        };
        Ok(Progress::Consumed(size))
    }

    /// Decides whether a message is streamed, kept or skipped.
    fn opening(&mut self, input: &[u8], length: u64) -> Result<Progress, Error> {
        let taken = available(input, length);
        let opening = reply::opening(&input[..taken], taken as u64 == length);
        if let Opening::Undecided = opening {
            return Ok(Progress::Incomplete);
        }
        if let Opening::Reply { id, member, length: size } = opening
            && let Some(at) = self.pending.iter().position(|pending| pending.id.0 == id)
            && let Some(expected) = self.pending[at].streamed
        {
            let id = self.pending.swap_remove(at).id;
            if member != expected {
                return Err(Error::Envelope { id, member: expected });
            }
            if length > self.limits.stream {
                return Err(Error::TooLarge { length, limit: self.limits.stream });
            }
            let what = Streamed::Result { id, member: expected };
            self.state = State::Streaming { what, remaining: length - size as u64, delivered: 0 };
            return Ok(Progress::Consumed(size));
        }
        if let Opening::Streamed { stream, length: size } = opening
            && length <= self.limits.stream
        {
            let what = Streamed::Event(stream);
            self.state = State::Streaming { what, remaining: length - size as u64, delivered: 0 };
            return Ok(Progress::Consumed(size));
        }
        self.state = if length <= self.limits.message as u64 {
            State::Keeping { remaining: length }
        } else if matches!(opening, Opening::Event | Opening::Streamed { .. }) {
            // The profile of an app that calls console.profile() itself, for one.
            State::Skipping { remaining: length }
        } else {
            return Err(Error::TooLarge { length, limit: self.limits.message as u64 });
        };
        Ok(Progress::Consumed(0))
    }

    /// Hands on a streamed value, but for the last bytes of the message, which must be its envelope's.
    fn stream(
        &mut self,
        input: &[u8],
        what: Streamed,
        remaining: u64,
        delivered: u64,
    ) -> Result<Progress, Error> {
        let held_back = LONGEST_CLOSING as u64;
        if remaining > held_back {
            let taken = available(input, remaining - held_back);
            if taken == 0 {
                return Ok(Progress::Incomplete);
            }
            let (remaining, delivered) = (remaining - taken as u64, delivered + taken as u64);
            self.state = State::Streaming { what, remaining, delivered };
            return Ok(Progress::Came(taken, what.chunk(0..taken)));
        }
        if (input.len() as u64) < remaining {
            return Ok(Progress::Incomplete);
        }
        let taken = available(input, remaining);
        let inner = match what {
            Streamed::Result { id, member } => {
                let inner = reply::closing(&input[..taken]).ok_or(Error::Envelope { id, member })?;
                let bytes = delivered + inner as u64;
                if bytes == 0 {
                    return Err(Error::Envelope { id, member });
                }
                self.state = State::Streamed { id, bytes };
                inner
            }
            Streamed::Event(stream) => {
                let (inner, title) =
                    reply::event_closing(&input[..taken], stream).ok_or(Error::EventEnvelope)?;
                self.ended_event = Some((stream, title.map(str::to_owned)));
                self.state = State::Header;
                inner
            }
        };
        Ok(match inner {
            0 => Progress::Consumed(taken),
            _ => Progress::Came(taken, what.chunk(0..inner)),
        })
    }

    /// What a whole message means. `None`: nothing.
    fn decode<Bytes>(&mut self, message: &[u8]) -> Result<Option<Incoming<Bytes>>, Error> {
        // V8 writes UTF-8; where it doesn't, a broken character must not cost the message.
        let message = String::from_utf8_lossy(message);
        let message: Message<'_> =
            serde_json::from_str(&message).map_err(|source| Error::Message { source })?;
        let id = message.id.and_then(|id| id.get().parse().ok());
        let Some(at) = self.pending.iter().position(|pending| Some(pending.id.0) == id) else {
            let method: Option<LossyText> =
                message.method.and_then(|method| serde_json::from_str(method.get()).ok());
            return Ok(match method.as_ref().map(|LossyText(method)| method.as_str()) {
                Some("NodeRuntime.waitingForDisconnect") => {
                    Some(Incoming::Event(Event::WaitingForDisconnect))
                }
                Some("HeapProfiler.reportHeapSnapshotProgress") => {
                    let progress = message.params.and_then(|params| serde_json::from_str(params.get()).ok());
                    progress.map(|Progressed { done, total }| {
                        Incoming::Event(Event::SnapshotProgress { done, total })
                    })
                }
                Some("NodeWorker.attachedToWorker") => attached(message.params),
                Some("NodeWorker.detachedFromWorker") => {
                    let session = message.params.and_then(|params| serde_json::from_str(params.get()).ok());
                    session
                        .and_then(|WorkerSession { session_id }| session_id.parse().ok())
                        .map(|session| Incoming::Event(Event::WorkerDetached { session }))
                }
                _ => None,
            });
        };
        let Pending { id, streamed } = self.pending.swap_remove(at);
        match (message.error, message.result, streamed) {
            (Some(refusal), _, _) => {
                let Refusal { code, message } =
                    serde_json::from_str(refusal.get()).map_err(|source| Error::Message { source })?;
                Ok(Some(Incoming::Refused { id, code, message: message.cut(LONGEST_REFUSAL) }))
            }
            (None, Some(_), Some(member)) => Err(Error::Envelope { id, member }),
            (None, Some(result), None) => Ok(Some(Incoming::Reply { id, result: result.to_owned() })),
            (None, None, _) => Err(Error::Message {
                source: serde_json::Error::custom(format!(
                    "the reply to command {id} has neither result nor error"
                )),
            }),
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct Message<'a> {
    #[serde(borrow)]
    pub(crate) id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) result: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) error: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<&'a RawValue>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Progressed {
    done: u32,
    total: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WorkerSession<'a> {
    session_id: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AttachedWorker<'a> {
    session_id: &'a str,
    worker_info: WorkerInfo,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WorkerInfo {
    title: LossyText,
}

fn attached<Bytes>(params: Option<&RawValue>) -> Option<Incoming<Bytes>> {
    let AttachedWorker { session_id, worker_info } = serde_json::from_str(params?.get()).ok()?;
    // `workerId` is the session's number, too. The title is Node's own up to the bracket: `[worker 3] NAME`.
    let LossyText(title) = &worker_info.title;
    let (thread, _) = title.strip_prefix("[worker ")?.split_once(']')?;
    let (session, thread) = (session_id.parse().ok()?, thread.parse().ok()?);
    Some(Incoming::Event(Event::WorkerAttached { session, thread }))
}

#[derive(Deserialize)]
pub(crate) struct Refusal {
    pub(crate) code: i64,
    pub(crate) message: LossyText,
}

/// How much of the `remaining` bytes of a frame `input` holds.
fn available(input: &[u8], remaining: u64) -> usize {
    usize::try_from(remaining).map_or(input.len(), |remaining| input.len().min(remaining))
}

fn consumed_or_incomplete(taken: usize) -> Progress {
    if taken == 0 { Progress::Incomplete } else { Progress::Consumed(taken) }
}

#[cfg(test)]
mod tests;
