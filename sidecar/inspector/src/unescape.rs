//! A JSON string that comes in pieces, decoded to UTF-8 in constant memory.

/// Decodes one JSON string, quotes included, that comes in pieces of any length.
///
/// A lone surrogate becomes U+FFFD: a heap snapshot is JSON of its own, whose lone surrogates are escaped once more
/// and so come through unharmed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unescape {
    state: State,
    /// A high surrogate that waits for its other half.
    high: Option<u16>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Before the opening quote.
    #[default]
    Start,
    Text,
    Backslash,
    /// In `\uXXXX`: the digits so far, and how many they are.
    Unicode(u16, u8),
    /// After the closing quote.
    End,
}

/// Something that is no JSON string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the inspector sent a chunk that is no JSON string: {0}")]
pub struct UnescapeError(&'static str);

impl Unescape {
    /// Decodes the next piece, and appends what it says to `output`.
    pub fn push(&mut self, piece: &[u8], output: &mut Vec<u8>) -> Result<(), UnescapeError> {
        output.reserve(piece.len());
        let mut at = 0;
        while at < piece.len() {
            let byte = piece[at];
            match self.state {
                State::Text => {
                    let rest = &piece[at..];
                    let plain = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
                    if plain > 0 {
                        self.lone(output);
                        output.extend_from_slice(&rest[..plain]);
                        at += plain;
                        continue;
                    }
                    self.state = if byte == b'"' { State::End } else { State::Backslash };
                    if self.state == State::End {
                        self.lone(output);
                    }
                }
                State::Backslash => self.escape(byte, output)?,
                State::Unicode(value, count) => {
                    let digit = char::from(byte).to_digit(16).and_then(|digit| u16::try_from(digit).ok());
                    let digit = digit.ok_or(UnescapeError("an escape has another digit than 0-9, a-f"))?;
                    let value = value << 4 | digit;
                    self.state = State::Unicode(value, count + 1);
                    if count == 3 {
                        self.state = State::Text;
                        self.unit(value, output);
                    }
                }
                State::Start | State::End if byte.is_ascii_whitespace() => {}
                State::Start if byte == b'"' => self.state = State::Text,
                State::Start => return Err(UnescapeError("it doesn't begin with a quote")),
                State::End => return Err(UnescapeError("more comes after its end")),
            }
            at += 1;
        }
        Ok(())
    }

    /// The string is over: the next one may begin.
    pub fn finish(&mut self) -> Result<(), UnescapeError> {
        let complete = self.state == State::End;
        *self = Self::default();
        if complete { Ok(()) } else { Err(UnescapeError("it is cut off")) }
    }

    fn escape(&mut self, byte: u8, output: &mut Vec<u8>) -> Result<(), UnescapeError> {
        self.state = State::Text;
        let decoded = match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                self.state = State::Unicode(0, 0);
                return Ok(());
            }
            _ => return Err(UnescapeError("it has an unknown escape")),
        };
        self.lone(output);
        output.push(decoded);
        Ok(())
    }

    /// One unit of UTF-16.
    fn unit(&mut self, unit: u16, output: &mut Vec<u8>) {
        if let Some(high) = self.high {
            if let Some(Ok(character)) = char::decode_utf16([high, unit]).next() {
                self.high = None;
                push(character, output);
                return;
            }
            self.lone(output);
        }
        match char::from_u32(unit.into()) {
            Some(character) => push(character, output),
            None if unit < 0xdc00 => self.high = Some(unit),
            None => push(char::REPLACEMENT_CHARACTER, output),
        }
    }

    /// What waits for its other half doesn't get it.
    fn lone(&mut self, output: &mut Vec<u8>) {
        if self.high.take().is_some() {
            push(char::REPLACEMENT_CHARACTER, output);
        }
    }
}

fn push(character: char, output: &mut Vec<u8>) {
    output.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &str, piece: usize) -> Result<String, UnescapeError> {
        let (mut unescape, mut output) = (Unescape::default(), vec![]);
        for piece in text.as_bytes().chunks(piece) {
            unescape.push(piece, &mut output)?;
        }
        unescape.finish()?;
        Ok(String::from_utf8(output).unwrap())
    }

    #[test]
    fn what_is_decoded_does_not_depend_on_how_the_bytes_are_cut() {
        for text in [
            r#""""#,
            r#" "plain" "#,
            r#""{\"a\":\"\\ud800\",\n\t\r\b\f\/}""#,
            r#""\u00e9\u4e16\ud83d\ude00 é世😀""#,
        ] {
            let expected: String = serde_json::from_str(text).unwrap();
            for piece in [1, 2, 3, 5, 100] {
                assert_eq!(decode(text, piece).as_ref(), Ok(&expected), "{text} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn lone_surrogates_are_replaced_one_by_one() {
        for (text, expected) in [
            (r#""\ud800""#, "\u{fffd}"),
            (r#""\udc00x""#, "\u{fffd}x"),
            (r#""\ud800\ud800x""#, "\u{fffd}\u{fffd}x"),
            (r#""\ud83d\ud83d\ude00""#, "\u{fffd}😀"),
            (r#""\ud83dx\ude00""#, "\u{fffd}x\u{fffd}"),
            (r#""\ud83d\n""#, "\u{fffd}\n"),
            (r#""\ud83d\u0041""#, "\u{fffd}A"),
        ] {
            for piece in [1, 100] {
                assert_eq!(decode(text, piece).as_deref(), Ok(expected), "{text}");
            }
        }
    }

    #[test]
    fn what_is_no_string_is_refused() {
        for text in ["", "x", "\"", "\"a", r#""\x""#, r#""\u00g0""#, r#""a"b"#, r#""\u00"#] {
            for piece in [1, 100] {
                assert!(decode(text, piece).is_err(), "{text}");
            }
        }
    }
}
