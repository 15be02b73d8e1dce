//! The envelope around what is streamed: a result, `{"id":7,"result":{"profile":` … `}}`, or a member of an event,
//! `{"method":"Profiler.consoleProfileFinished","params":{"id":"1","location":{…},"profile":` … `,"title":"t"}}`.

use crate::exchange::EventStream;

/// At most this many bytes of a message are looked at to see what it is, and held back at its end to see that
/// the envelope closes. Node's own envelopes have at most 180 and 50; white space is tolerated within these.
pub(crate) const LONGEST_OPENING: usize = 512;
pub(crate) const LONGEST_CLOSING: usize = 128;

/// What a message is, by how it begins.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Opening<'a> {
    /// It takes more bytes to say.
    Undecided,
    /// A reply whose result begins with this member; its value begins after `length` bytes.
    Reply { id: i32, member: &'a str, length: usize },
    /// An event of which nothing is streamed.
    Event,
    /// An event whose streamed member begins after `length` bytes.
    Streamed { stream: EventStream, length: usize },
    /// Anything else: an error, a result without members, or no message at all.
    Other,
}

/// What the message that begins with `bytes` is. `whole` says that no more bytes of it will come.
pub(crate) fn opening(bytes: &[u8], whole: bool) -> Opening<'_> {
    let looked_at = &bytes[..bytes.len().min(LONGEST_OPENING)];
    let mut cursor = Cursor { bytes: looked_at, at: 0 };
    match cursor.opening() {
        Ok(opening) => opening,
        Err(Stopped::Mismatch) => Opening::Other,
        Err(Stopped::End) if whole || looked_at.len() == LONGEST_OPENING => Opening::Other,
        Err(Stopped::End) => Opening::Undecided,
    }
}

/// Where in `bytes`, the last of a message, the envelope's closing `}}` begins.
pub(crate) fn closing(bytes: &[u8]) -> Option<usize> {
    let inner = bytes.trim_ascii_end().strip_suffix(b"}")?.trim_ascii_end().strip_suffix(b"}")?;
    (bytes.len() - inner.len() <= LONGEST_CLOSING).then_some(inner.len())
}

/// Where in `bytes`, the last of an event, what closes it begins; and the title that the app gave it, if that is
/// a short one of letters and digits.
pub(crate) fn event_closing(bytes: &[u8], stream: EventStream) -> Option<(usize, Option<&str>)> {
    let inner = closing(bytes)?;
    if stream != EventStream::ConsoleProfile {
        return Some((inner, None));
    }
    let titled = || {
        let before = bytes[..inner].trim_ascii_end().strip_suffix(b"\"")?;
        let letters = before.iter().rev().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        let (before, title) = before.split_at(before.len() - letters);
        let value = before.strip_suffix(b"\"")?.trim_ascii_end().strip_suffix(b":")?.trim_ascii_end();
        let value = value.strip_suffix(b"\"title\"")?.trim_ascii_end().strip_suffix(b",")?;
        Some((value.len(), Some(str::from_utf8(title).expect("letters and digits of ASCII"))))
    };
    titled().or(Some((inner, None)))
}

enum Stopped {
    Mismatch,
    End,
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn opening(&mut self) -> Result<Opening<'a>, Stopped> {
        self.token(b'{')?;
        match self.key()? {
            "method" => return self.event(),
            "id" => {}
            _ => return Ok(Opening::Other),
        }
        let id = self.number()?;
        self.token(b',')?;
        if self.key()? != "result" {
            return Ok(Opening::Other);
        }
        self.token(b'{')?;
        let member = self.key()?;
        Ok(Opening::Reply { id, member, length: self.at })
    }

    fn event(&mut self) -> Result<Opening<'a>, Stopped> {
        let stream = match self.string()? {
            b"HeapProfiler.addHeapSnapshotChunk" => EventStream::SnapshotChunk,
            b"Profiler.consoleProfileFinished" => EventStream::ConsoleProfile,
            b"NodeWorker.receivedMessageFromWorker" => EventStream::WorkerMessage { session: 0 },
            _ => return Ok(Opening::Event),
        };
        match self.streamed(stream) {
            Ok((stream, length)) => Ok(Opening::Streamed { stream, length }),
            Err(Stopped::Mismatch) => Ok(Opening::Event),
            Err(Stopped::End) => Err(Stopped::End),
        }
    }

    /// Where the streamed member's value begins, and whose it is.
    fn streamed(&mut self, mut stream: EventStream) -> Result<(EventStream, usize), Stopped> {
        self.token(b',')?;
        if self.key()? != "params" {
            return Err(Stopped::Mismatch);
        }
        self.token(b'{')?;
        loop {
            let member = self.key()?;
            if member == stream.member() {
                return Ok((stream, self.at));
            }
            match &mut stream {
                EventStream::WorkerMessage { session } if member == "sessionId" => {
                    let digits = str::from_utf8(self.string()?).map_err(|_| Stopped::Mismatch)?;
                    *session = digits.parse().map_err(|_| Stopped::Mismatch)?;
                }
                _ => self.skip_flat()?,
            }
            self.token(b',')?;
        }
    }

    /// A string without escapes.
    fn string(&mut self) -> Result<&'a [u8], Stopped> {
        self.token(b'"')?;
        let start = self.at;
        while self.peek()? != b'"' {
            if self.peek()? == b'\\' {
                return Err(Stopped::Mismatch);
            }
            self.at += 1;
        }
        self.at += 1;
        Ok(&self.bytes[start..self.at - 1])
    }

    /// Passes over a short value: a string, or an object of such and of numbers.
    fn skip_flat(&mut self) -> Result<(), Stopped> {
        if self.token(b'"').is_ok() {
            self.at -= 1;
            return self.string().map(drop);
        }
        self.token(b'{')?;
        loop {
            match self.peek()? {
                b'"' => drop(self.string()?),
                b'}' => break,
                b'{' | b'[' => return Err(Stopped::Mismatch),
                _ => self.at += 1,
            }
        }
        self.at += 1;
        Ok(())
    }

    fn peek(&mut self) -> Result<u8, Stopped> {
        self.bytes.get(self.at).copied().ok_or(Stopped::End)
    }

    fn token(&mut self, token: u8) -> Result<(), Stopped> {
        while matches!(self.peek()?, b' ' | b'\t' | b'\r' | b'\n') {
            self.at += 1;
        }
        if self.peek()? != token {
            return Err(Stopped::Mismatch);
        }
        self.at += 1;
        Ok(())
    }

    /// A member's name and its colon. Names of the protocol have letters only.
    fn key(&mut self) -> Result<&'a str, Stopped> {
        self.token(b'"')?;
        let start = self.at;
        while self.peek()?.is_ascii_alphabetic() {
            self.at += 1;
        }
        let key = str::from_utf8(&self.bytes[start..self.at]).expect("letters of ASCII");
        if self.peek()? != b'"' {
            return Err(Stopped::Mismatch);
        }
        self.at += 1;
        self.token(b':')?;
        Ok(key)
    }

    fn number(&mut self) -> Result<i32, Stopped> {
        while matches!(self.peek()?, b' ' | b'\t' | b'\r' | b'\n') {
            self.at += 1;
        }
        let start = self.at;
        while self.peek()?.is_ascii_digit() {
            self.at += 1;
        }
        let digits = str::from_utf8(&self.bytes[start..self.at]).expect("digits of ASCII");
        digits.parse().map_err(|_| Stopped::Mismatch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opening_is_decided_as_soon_as_its_bytes_are_there() {
        for (text, expected) in [
            (r#"{"id":7,"result":{"profile":"#, Opening::Reply { id: 7, member: "profile", length: 28 }),
            (r#"{ "id" : 12 , "result":{ "x" :"#, Opening::Reply { id: 12, member: "x", length: 30 }),
            (r#"{"method":"X.y""#, Opening::Event),
            (r#"{"method":"HeapProfiler.addHeapSnapshotChunk","other":"#, Opening::Event),
            (
                r#"{"method":"HeapProfiler.addHeapSnapshotChunk","params":{"chunk":"#,
                Opening::Streamed { stream: EventStream::SnapshotChunk, length: 64 },
            ),
            (
                r#"{"method":"Profiler.consoleProfileFinished","params":{"id":"1","location":{"scriptId":"7","lineNumber":0},"profile":"#,
                Opening::Streamed { stream: EventStream::ConsoleProfile, length: 116 },
            ),
            (r#"{"id":7,"error":"#, Opening::Other),
            (r#"{"error":"#, Opening::Other),
            (r#"{"id":7,"result":{}"#, Opening::Other),
            (r#"{"id":-"#, Opening::Other),
            (r#"{"id":99999999999,"#, Opening::Other),
            (r#"{"id":""#, Opening::Other),
            ("[", Opening::Other),
            ("\u{0}", Opening::Other),
        ] {
            for cut in 0..text.len() {
                assert_eq!(
                    opening(&text.as_bytes()[..cut], false),
                    Opening::Undecided,
                    "{text} cut at {cut}"
                );
                assert_eq!(opening(&text.as_bytes()[..cut], true), Opening::Other, "{text} ends at {cut}");
            }
            assert_eq!(opening(text.as_bytes(), false), expected, "{text}");
            assert_eq!(opening(format!("{text}1,2,3").as_bytes(), false), expected, "{text} and more");
        }
    }

    #[test]
    fn endless_white_space_is_not_waited_for() {
        assert_eq!(opening(&[b' '; LONGEST_OPENING - 1], false), Opening::Undecided);
        assert_eq!(opening(&[b' '; LONGEST_OPENING], false), Opening::Other);
    }

    #[test]
    fn a_closing_is_found_at_the_end_only() {
        for (text, expected) in [
            ("{}}}", Some(2)),
            ("}}", Some(0)),
            ("1 } \n} ", Some(2)),
            ("}", None),
            ("", None),
            ("}}x", None),
            ("} ]", None),
        ] {
            assert_eq!(closing(text.as_bytes()), expected, "{text:?}");
        }
        assert_eq!(closing(format!("1}}{}}}", " ".repeat(LONGEST_CLOSING)).as_bytes()), None);
    }

    #[test]
    fn an_event_is_closed_with_its_title_if_that_is_a_plain_one() {
        let profile = EventStream::ConsoleProfile;
        for (text, stream, expected) in [
            (r#"{},"title":"a1B"}}"#, profile, Some((2, Some("a1B")))),
            (r#"{} , "title" : "a" } }"#, profile, Some((3, Some("a")))),
            (r#"{},"title":"a b"}}"#, profile, Some((16, None))),
            (r#"{},"title":"a\"}}"#, profile, Some((15, None))),
            (r"{}}}", profile, Some((2, None))),
            (r#"{},"title":"a""#, profile, None),
            (r#"x","title":"a"}}"#, EventStream::SnapshotChunk, Some((14, None))),
        ] {
            assert_eq!(event_closing(text.as_bytes(), stream), expected, "{text}");
        }
    }
}
