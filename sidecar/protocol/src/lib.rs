//! What the operator and the sidecar say to each other over the control channel. No IO.
//!
//! The sidecar dials `wss://OPERATOR/channel/v1` ([`PATH`]) with `Authorization: Bearer TOKEN`, a projected
//! service-account token of audience [`AUDIENCE`]. Each message is one JSON text frame of at most
//! [`MAX_MESSAGE`] bytes. The first message is the sidecar's [`Hello`]; the operator answers with
//! [`Welcome`] or closes with a [`CloseCode`]. After that either side speaks when it has something to say.
//!
//! # Rules
//! - Every message names the request's uid and, once a process was chosen, the [`ProcessId`].
//! - Every message is idempotent: a repeated [`Start`] is answered with the session's present [`SessionReport`].
//! - A session belongs to the sidecar once started. It ends without the operator, and its last report is
//!   repeated in every [`Hello`] until an [`OperatorMessage::Acknowledge`] for it arrives.
//! - Nothing that a sidecar says about itself is believed where the Kubernetes API knows better.
//!
//! # Changes that are safe within one [`VERSION`]
//! Adding an optional field (`#[serde(default)]`), adding a value to an enum that has an `Unknown`
//! fallback, adding a message that the other side may ignore ([`decode`] yields
//! [`DecodeError::UnknownMessage`] for it, and both sides skip it). Anything else is a new version: the
//! operator speaks its own and the previous one, since a pod outlives an upgrade.

mod failure;
mod load;
mod operator;
mod preflight;
mod sidecar;
mod upload;

pub use failure::{EarlyEnd, Failure, FailureReason};
pub use load::{EventLoopDelay, Load, MainThread, Throttling};
pub use operator::{
    ContainerBounds, ContainerRef, Guard, Look, OperatorMessage, Recording, Start, Stop, Welcome,
};
pub use preflight::{Check, CheckResult, Preflight};
pub use sidecar::{
    Attach, Hello, Lookalike, OpenedBy, PodRef, Process, ProcessId, Readiness, Seen, SessionPhase,
    SessionReport, SidecarMessage, Stall,
};
pub use upload::{NamedArtifact, Part, UploadGrant, Uploaded, is_artifact_name};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The protocol version that this crate describes.
pub const VERSION: u16 = 1;
/// The oldest version that the operator still speaks.
pub const OLDEST_VERSION: u16 = 1;
/// The path of the WebSocket on the operator.
pub const PATH: &str = "/channel/v1";
/// The audience that the sidecar's token must carry.
pub const AUDIENCE: &str = "pitwall";
/// The longest message that either side accepts, in bytes.
pub const MAX_MESSAGE: usize = 256 * 1024;
/// How many sessions a sidecar runs or keeps unacknowledged at once.
pub const MAX_SESSIONS: usize = 16;
/// How many artifacts a session has at most.
pub const MAX_ARTIFACTS: usize = 34;
/// The name of the artifact, in JSON, of a recording with [`Start::trace_optimizations`].
pub const OPTIMIZATIONS: &str = "optimizations";
/// How many processes a [`Seen`] lists at most; the rest is only counted.
pub const MAX_PROCESSES: usize = 64;

/// How many lookalikes a [`Seen`] lists at most.
pub const MAX_LOOKALIKES: usize = 4;

/// The uid of a `ProfileRequest`, as the API server made it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestUid(pub String);

impl std::fmt::Display for RequestUid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a side closed the channel: WebSocket close codes of the private range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum CloseCode {
    /// The replica that was reached does not lead; dial again.
    NotLeader = 4001,
    /// The token is missing, expired, of another audience, or its pod isn't alive.
    Unauthenticated = 4002,
    /// No common protocol version. The close reason names both.
    UnsupportedVersion = 4003,
    /// A frame that is no message of this protocol, or one over [`MAX_MESSAGE`].
    Malformed = 4004,
    /// The same pod connected again; the newer connection stays.
    Replaced = 4005,
    /// The pod of this connection was deleted.
    PodGone = 4006,
}

impl CloseCode {
    /// The code with this number, if it is one of ours.
    pub fn from_u16(code: u16) -> Option<Self> {
        [
            Self::NotLeader,
            Self::Unauthenticated,
            Self::UnsupportedVersion,
            Self::Malformed,
            Self::Replaced,
            Self::PodGone,
        ]
        .into_iter()
        .find(|known| *known as u16 == code)
    }
}

/// A text frame that could not be taken as a message.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The frame is longer than [`MAX_MESSAGE`].
    #[error("the message has {0} bytes; at most {MAX_MESSAGE} are accepted")]
    TooLong(usize),
    /// The message's `type` isn't known here: a newer peer said something that may be ignored.
    #[error("a message of unknown type {0:?}, to be ignored")]
    UnknownMessage(String),
    /// Not JSON, or not of the message's shape.
    #[error("not a message of protocol version {VERSION}: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// The text of one message.
pub fn encode<M: Serialize>(message: &M) -> String {
    serde_json::to_string(message).expect("messages have string keys and no failing serializer")
}

/// Reads one message, telling unknown ones (to be skipped) from malformed ones (to hang up on).
pub fn decode<M: DeserializeOwned>(text: &str) -> Result<M, DecodeError> {
    #[derive(Deserialize)]
    struct Tagged {
        r#type: String,
    }
    if text.len() > MAX_MESSAGE {
        return Err(DecodeError::TooLong(text.len()));
    }
    serde_json::from_str(text).map_err(|error| match serde_json::from_str::<Tagged>(text) {
        Ok(tagged) if error.to_string().starts_with("unknown variant") => {
            DecodeError::UnknownMessage(tagged.r#type)
        }
        _ => DecodeError::Malformed(error),
    })
}

#[cfg(test)]
mod tests;
