//! What worker threads say. Their inspectors are reached through the main thread's, which wraps each of their
//! messages in a JSON string.

use crate::error::Error;
use crate::exchange::{LONGEST_REFUSAL, Message, Refusal};
use crate::reply::{self, LONGEST_CLOSING, Opening};
use crate::unescape::{Unescape, UnescapeError};

/// How much is kept of a message that isn't streamed.
const LONGEST_KEPT: usize = 64 << 10;

/// One message of a worker thread, which comes in pieces:
/// [`EventStream::WorkerMessage`](crate::EventStream::WorkerMessage). The profile in a reply is handed on as it
/// comes, all else is kept.
#[derive(Debug, Default)]
pub struct WorkerMessage {
    unescape: Unescape,
    state: State,
    /// Before the opening is decided: all of it. Of a profile: its last bytes. Of another message: all of it.
    held: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Undecided,
    Profile {
        id: i32,
    },
    Kept,
}

/// What a worker thread said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerSaid {
    /// The reply to a command whose result is a profile: that was handed on.
    Profile {
        /// The command.
        id: i32,
    },
    /// The reply to another command.
    Replied {
        /// The command.
        id: i32,
    },
    /// The worker's inspector refused a command.
    Refused {
        /// The command.
        id: i32,
        /// What it says.
        message: String,
    },
    /// Anything else.
    Other,
}

impl WorkerMessage {
    /// Takes the next piece. Bytes of a profile are appended to `profile`.
    pub fn push(&mut self, piece: &[u8], profile: &mut Vec<u8>) -> Result<(), UnescapeError> {
        self.unescape.push(piece, &mut self.held)?;
        if let State::Undecided = self.state {
            self.decide(false);
        }
        match self.state {
            State::Profile { .. } => {
                let ready = self.held.len().saturating_sub(LONGEST_CLOSING);
                profile.extend(self.held.drain(..ready));
            }
            State::Kept => self.held.truncate(LONGEST_KEPT),
            State::Undecided => {}
        }
        Ok(())
    }

    /// All of it has come. The last bytes of a profile are appended to `profile`.
    pub fn finish(mut self, profile: &mut Vec<u8>) -> Result<WorkerSaid, Error> {
        self.unescape.finish().map_err(|_| Error::EventEnvelope)?;
        if let State::Undecided = self.state {
            self.decide(true);
        }
        if let State::Profile { id } = self.state {
            let inner = reply::closing(&self.held).ok_or(Error::EventEnvelope)?;
            profile.extend_from_slice(&self.held[..inner]);
            return Ok(WorkerSaid::Profile { id });
        }
        let text = String::from_utf8_lossy(&self.held);
        let Ok(message) = serde_json::from_str::<Message<'_>>(&text) else { return Ok(WorkerSaid::Other) };
        let Some(id) = message.id.and_then(|id| id.get().parse().ok()) else { return Ok(WorkerSaid::Other) };
        Ok(match (message.result, message.error) {
            (Some(_), _) => WorkerSaid::Replied { id },
            (None, Some(refusal)) => {
                let refusal: Option<Refusal> = serde_json::from_str(refusal.get()).ok();
                let message = refusal.map_or_else(String::new, |Refusal { code, message }| {
                    format!("{} ({code})", message.cut(LONGEST_REFUSAL))
                });
                WorkerSaid::Refused { id, message }
            }
            (None, None) => WorkerSaid::Other,
        })
    }

    fn decide(&mut self, whole: bool) {
        self.state = match reply::opening(&self.held, whole) {
            Opening::Undecided => State::Undecided,
            Opening::Reply { id, member: "profile", length } => {
                self.held.drain(..length);
                State::Profile { id }
            }
            _ => State::Kept,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of a message, cut into pieces of this size.
    fn read(message: &str, size: usize) -> (WorkerSaid, String) {
        let wrapped = serde_json::to_string(message).unwrap();
        let (mut reader, mut profile) = (WorkerMessage::default(), vec![]);
        for piece in wrapped.as_bytes().chunks(size) {
            reader.push(piece, &mut profile).unwrap();
        }
        (reader.finish(&mut profile).unwrap(), String::from_utf8(profile).unwrap())
    }

    #[test]
    fn a_profile_is_handed_on_and_all_else_is_told() {
        let profile =
            format!(r#"{{"nodes":[{{"functionName":"a \"b\" \u00e9"}}],"more":"{}"}}"#, "x".repeat(3000));
        for size in [1, 7, 100, 10_000] {
            let reply = format!(r#"{{"id":3,"result":{{"profile":{profile}}}}}"#);
            assert_eq!(read(&reply, size), (WorkerSaid::Profile { id: 3 }, profile.clone()));
            for (message, said) in [
                (r#"{"id":1,"result":{}}"#, WorkerSaid::Replied { id: 1 }),
                (
                    r#"{"error":{"code":-32601,"message":"no"},"id":2}"#,
                    WorkerSaid::Refused { id: 2, message: "no (-32601)".into() },
                ),
                (r#"{"method":"Runtime.x","params":{}}"#, WorkerSaid::Other),
                ("nonsense", WorkerSaid::Other),
                ("", WorkerSaid::Other),
            ] {
                assert_eq!(read(message, size), (said, String::new()), "{message}");
            }
        }
    }

    #[test]
    fn what_is_cut_off_is_an_error_and_what_is_long_is_bounded() {
        let mut reader = WorkerMessage::default();
        let mut profile = vec![];
        reader.push(br#""{\"id\":3,\"result\":{\"profile\":{}"#, &mut profile).unwrap();
        assert!(reader.finish(&mut profile).is_err());
        let mut reader = WorkerMessage::default();
        reader.push(b"\"", &mut profile).unwrap();
        for _ in 0..1000 {
            reader.push(&[b'x'; 1000], &mut profile).unwrap();
        }
        assert!(reader.held.len() <= LONGEST_KEPT);
    }
}
