//! A Chrome `DevTools` Protocol client for Node.js.
//!
//! [`Connection`] is the thin transport: one TCP connection, a fixed read buffer, no task of its own. All that
//! is decided lies in sans-IO modules below it: [`frame`] reads and writes WebSocket frames, [`exchange`] turns
//! frames into replies and events, [`handshake`] does the HTTP upgrade. What runs inside the app is in
//! [`expression`]. Nothing here reads a clock: time limits are the caller's (`tokio::time::timeout`).
//!
//! # Guarantees
//! - Memory is bounded whatever the peer sends: one read buffer of 64 KiB, one message of at most
//!   [`Limits::message`], and the result of a streamed command ([`Command::ProfilerStop`]) or the large member of
//!   an event ([`EventStream`]) is handed on as it arrives, up to [`Limits::stream`], without being kept.
//! - Node is only ever sent what it survives: whole, masked, unfragmented text frames with complete JSON and ids
//!   from 1 up. (An empty or malformed text frame kills Node 22; a Ping makes every version drop the
//!   connection.)
//! - A reply counts only for a command that waits for it; unknown ids and events are skipped.
//!
//! # Caveats
//! - While a connection is open, the app's exit and `process._debugEnd()` wait for it: on
//!   [`Incoming::Closed`], and after [`Event::WaitingForDisconnect`] as soon as the recording is fetched, drop
//!   the [`Connection`] at once. Dropping closes the TCP connection; there is no closing handshake.
//! - The peer is the app: nothing that it answers proves more than that the app wants it believed.

mod command;
mod connection;
mod error;
mod evaluated;
pub mod exchange;
pub mod expression;
pub mod frame;
pub mod handshake;
mod http;
mod limits;
mod listing;
mod reply;
mod text;
mod unescape;
mod worker;

pub use command::{Command, CommandId};
pub use connection::Connection;
pub use error::Error;
pub use evaluated::Evaluated;
pub use exchange::{Closed, Event, EventStream, Incoming};
pub use handshake::SocketPath;
pub use limits::Limits;
pub use listing::list;
pub use unescape::{Unescape, UnescapeError};
pub use worker::{WorkerMessage, WorkerSaid};
