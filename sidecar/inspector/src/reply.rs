//! The envelope around a streamed result: `{"id":7,"result":{"profile":` … `}}`.

/// At most this many bytes of a message are looked at to see what it is, and held back at its end to see that
/// the envelope closes. Node's own envelope has 30 and 2; white space is tolerated within these.
pub(crate) const LONGEST_OPENING: usize = 128;
pub(crate) const LONGEST_CLOSING: usize = 16;

/// What a message is, by how it begins.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Opening<'a> {
    /// It takes more bytes to say.
    Undecided,
    /// A reply whose result begins with this member; its value begins after `length` bytes.
    Reply { id: i32, member: &'a str, length: usize },
    /// An event.
    Event,
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
            "method" => return Ok(Opening::Event),
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
            (r#"{"method":"#, Opening::Event),
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
            ("1}                }", None),
        ] {
            assert_eq!(closing(text.as_bytes()), expected, "{text:?}");
        }
    }
}
