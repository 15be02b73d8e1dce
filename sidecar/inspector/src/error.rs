use std::io;
use std::net::SocketAddr;

use crate::command::CommandId;
use crate::frame::FrameError;

/// Why talking to an inspector failed. After any of these the connection is of no more use: drop it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error("{doing} the inspector at {addr}: {source}")]
    Io {
        /// What was tried: `connecting to`, `reading from`, `writing to`.
        doing: &'static str,
        /// Where.
        addr: SocketAddr,
        /// What was seen.
        source: io::Error,
    },
    /// What listens there closed the connection before its HTTP answer was complete.
    #[error("the inspector at {addr} closed the connection before its HTTP answer was complete")]
    HttpCutShort {
        /// Where.
        addr: SocketAddr,
    },
    /// What listens there doesn't answer as Node's inspector does.
    #[error("what listens at {addr} doesn't answer as Node's inspector: {seen}")]
    NotAnInspector {
        /// Where.
        addr: SocketAddr,
        /// What was seen.
        seen: String,
    },
    /// A WebSocket frame that Node's inspector never sends.
    #[error("the inspector sent a frame that Node never sends: {0}")]
    Frame(#[from] FrameError),
    /// A message over the limit.
    #[error("the inspector sent a message of {length} bytes where at most {limit} are accepted")]
    TooLarge {
        /// The length that the frame's header announces.
        length: u64,
        /// The limit that it passes.
        limit: u64,
    },
    /// A message that isn't a reply or an event.
    #[error("the inspector sent a message that is neither reply nor event: {source}")]
    Message {
        /// Where the JSON is wrong.
        source: serde_json::Error,
    },
    /// The reply to a streamed command, without what was to be streamed.
    #[error(
        "the reply to command {id} isn't the expected object with `{member}` as the result's only member"
    )]
    Envelope {
        /// The command.
        id: CommandId,
        /// The member of the result that was to be streamed.
        member: &'static str,
    },
    /// An event whose streamed member isn't followed by the end of the event.
    #[error("the inspector sent an event that doesn't end as Node's do")]
    EventEnvelope,
    /// A result in another shape than its command's.
    #[error("the inspector's result has an unexpected shape: {source}")]
    Result {
        /// Where the JSON is wrong.
        source: serde_json::Error,
    },
    /// The app reads none of the commands.
    #[error("{waiting} bytes of commands wait to be written, the app reads none: at most {limit} may wait")]
    Backlog {
        /// The bytes that would wait.
        waiting: usize,
        /// The limit.
        limit: usize,
    },
    /// Too many commands wait for their replies.
    #[error("{limit} commands wait for the inspector's replies: no more are sent")]
    Unanswered {
        /// How many may wait.
        limit: usize,
    },
    /// The connection has ended; nothing can be sent on it.
    #[error("the inspector's connection has ended")]
    Ended,
}
