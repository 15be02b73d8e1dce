//! A pull parser for JSON from a stream: constant memory, and every error with its offset.
//!
//! Not `serde_json`, which refuses lone surrogates in strings (V8 writes them), tells lines and columns instead of
//! offsets, and is slow on a stream.

use std::io::{self, Read};
use std::ops::Deref;

use crate::error::ReadError;

const BUFFER: usize = 64 << 10;

/// How deep a value may be nested, unless told. V8's CPU profiles have 5 levels, and tools that add to them a few more.
const DEEPEST: u32 = 64;

/// How much of a string is kept, in bytes. The rest is read and forgotten.
pub(crate) const LONGEST_TEXT: usize = 1024;

/// Reads one JSON document.
pub(crate) struct Json<Reader> {
    reader: Reader,
    buffer: Box<[u8]>,
    at: usize,
    end: usize,
    /// Bytes before those in the buffer.
    before: u64,
    /// The most bytes to be read.
    limit: u64,
    /// How many objects and arrays are open.
    depth: u32,
    deepest: u32,
    /// The last string.
    text: Vec<u8>,
}

/// The name of a member. Those that are longer than any that is looked for are cut.
pub(crate) struct Key {
    bytes: [u8; 24],
    length: usize,
}

impl Deref for Key {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl<Reader: Read> Json<Reader> {
    /// Reads at most `limit` bytes of `reader`.
    pub(crate) fn new(reader: Reader, limit: u64) -> Self {
        let buffer = vec![0; BUFFER].into_boxed_slice();
        Self { reader, buffer, at: 0, end: 0, before: 0, limit, depth: 0, deepest: DEEPEST, text: Vec::new() }
    }

    /// Lets values be nested this deep. Who reads them may go as deep into the stack.
    pub(crate) fn deep(self, deepest: u32) -> Self {
        Self { deepest, ..self }
    }

    /// Where it reads.
    pub(crate) fn offset(&self) -> u64 {
        self.before + self.at as u64
    }

    /// An error of shape here.
    pub(crate) fn shape<T>(&self, problem: &'static str) -> Result<T, ReadError> {
        Err(ReadError::Shape { offset: self.offset(), problem })
    }

    fn problem<T>(&self, problem: &'static str) -> Result<T, ReadError> {
        Err(ReadError::Json { offset: self.offset(), problem })
    }

    /// Makes sure that there is a byte in the buffer. `false` at the end.
    fn fill(&mut self) -> Result<bool, ReadError> {
        if self.at == self.end {
            self.ahead(1)?;
        }
        Ok(self.at < self.end)
    }

    /// Reads until the buffer holds `count` bytes from here, or all that are left, and gives what it holds.
    fn ahead(&mut self, count: usize) -> Result<&[u8], ReadError> {
        while self.end - self.at < count {
            self.buffer.copy_within(self.at..self.end, 0);
            self.before += self.at as u64;
            self.end -= std::mem::take(&mut self.at);
            match self.reader.read(&mut self.buffer[self.end..]) {
                // An early end is told where a value misses its bytes.
                Ok(0) => break,
                Ok(size) => self.end += size,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(ReadError::Io { offset: self.before + self.end as u64, source }),
            }
            if self.before + self.end as u64 > self.limit {
                return Err(ReadError::TooLarge { offset: self.limit, of: "bytes", limit: self.limit });
            }
        }
        Ok(&self.buffer[self.at..self.end])
    }

    fn peek(&mut self) -> Result<u8, ReadError> {
        if self.at == self.end && !self.fill()? {
            return Err(ReadError::CutOff { offset: self.offset() });
        }
        Ok(self.buffer[self.at])
    }

    fn next(&mut self) -> Result<u8, ReadError> {
        let byte = self.peek()?;
        self.at += 1;
        Ok(byte)
    }

    /// The next byte that isn't white space, which it stops before.
    fn token(&mut self) -> Result<u8, ReadError> {
        loop {
            match self.peek()? {
                b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
                token => return Ok(token),
            }
        }
    }

    fn expect(&mut self, token: u8, problem: &'static str) -> Result<(), ReadError> {
        if self.token()? != token {
            return self.problem(problem);
        }
        self.at += 1;
        Ok(())
    }

    fn open(&mut self, token: u8, problem: &'static str) -> Result<(), ReadError> {
        if self.token()? != token {
            return self.shape(problem);
        }
        self.at += 1;
        self.depth += 1;
        if self.depth > self.deepest {
            return self.problem("values are nested too deep");
        }
        Ok(())
    }

    /// Whether another entry follows in an object or array, of which this is the `first` entry or not.
    fn follows(&mut self, first: bool, close: u8) -> Result<bool, ReadError> {
        match self.token()? {
            token if token == close => {
                self.at += 1;
                self.depth -= 1;
                Ok(false)
            }
            b',' if !first => {
                self.at += 1;
                Ok(true)
            }
            _ if first => Ok(true),
            _ => self.problem("a comma or the end of an object or array is missing"),
        }
    }

    /// Reads an object. `member` must read the value of each of its members.
    pub(crate) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, &Key) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        self.open(b'{', "an object is expected")?;
        let mut first = true;
        while self.follows(first, b'}')? {
            first = false;
            if self.token()? != b'"' {
                return self.problem("the name of a member is expected");
            }
            let mut key = Key { bytes: [0; 24], length: 0 };
            self.string(|piece| {
                let kept = piece.len().min(key.bytes.len() - key.length);
                key.bytes[key.length..key.length + kept].copy_from_slice(&piece[..kept]);
                key.length += kept;
            })?;
            self.expect(b':', "a colon is missing")?;
            member(self, &key)?;
        }
        Ok(())
    }

    /// Reads an array. `element` must read each of its elements.
    pub(crate) fn array(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        self.open(b'[', "an array is expected")?;
        let mut first = true;
        while self.follows(first, b']')? {
            first = false;
            element(self)?;
        }
        Ok(())
    }

    /// Reads a string: the first [`LONGEST_TEXT`] bytes of it. Lone surrogates and what isn't UTF-8 become
    /// replacement characters.
    pub(crate) fn text(&mut self) -> Result<String, ReadError> {
        if self.token()? != b'"' {
            return self.shape("a string is expected");
        }
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        self.string(|piece| {
            let kept = piece.len().min(LONGEST_TEXT - text.len());
            text.extend_from_slice(&piece[..kept]);
        })?;
        let kept = match str::from_utf8(&text) {
            // Cut within a character.
            Err(error) if error.error_len().is_none() && text.len() == LONGEST_TEXT => error.valid_up_to(),
            _ => text.len(),
        };
        let lossy = String::from_utf8_lossy(&text[..kept]).into_owned();
        self.text = text;
        Ok(lossy)
    }

    /// Reads a string, and gives its inside as it is written, escapes and all: the whole characters and escapes that fit
    /// in [`LONGEST_TEXT`] bytes. It can be written between quotes again, so what JSON has no place for is refused.
    pub(crate) fn raw_text(&mut self) -> Result<&str, ReadError> {
        if self.token()? != b'"' {
            return self.shape("a string is expected");
        }
        self.at += 1;
        self.text.clear();
        let mut cut = false;
        loop {
            self.peek()?;
            let rest = &self.buffer[self.at..self.end];
            let stop = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
            if !cut {
                let kept = stop.min(LONGEST_TEXT - self.text.len());
                self.text.extend_from_slice(&rest[..kept]);
                cut = kept < stop;
            }
            let special = rest.get(stop).copied();
            self.at += stop;
            match special {
                None => {}
                Some(b'"') => break,
                Some(_) => {
                    // The longest is a pair of surrogates.
                    let mut escape = [0; 12];
                    let ahead = self.ahead(escape.len())?;
                    let held = ahead.len().min(escape.len());
                    escape[..held].copy_from_slice(&ahead[..held]);
                    let before = self.offset();
                    self.at += 1;
                    self.escape()?;
                    let length = usize::try_from(self.offset() - before).expect("at most 12");
                    cut |= LONGEST_TEXT - self.text.len() < length;
                    if !cut {
                        self.text.extend_from_slice(&escape[..length]);
                    }
                }
            }
        }
        self.at += 1;
        if self.text.iter().any(|&byte| byte < b' ') {
            return self.problem("a string holds a control character");
        }
        let whole = match str::from_utf8(&self.text) {
            // Cut within a character.
            Err(error) if error.error_len().is_none() && cut => error.valid_up_to(),
            _ => self.text.len(),
        };
        match str::from_utf8(&self.text[..whole]) {
            Ok(text) => Ok(text),
            Err(_) => self.problem("a string isn't UTF-8"),
        }
    }

    /// Reads a string from its opening quote, and hands on its bytes in pieces.
    fn string(&mut self, mut piece: impl FnMut(&[u8])) -> Result<(), ReadError> {
        self.at += 1;
        loop {
            self.peek()?;
            let rest = &self.buffer[self.at..self.end];
            let Some(stop) = memchr::memchr2(b'"', b'\\', rest) else {
                piece(rest);
                self.at = self.end;
                continue;
            };
            piece(&rest[..stop]);
            let quote = rest[stop] == b'"';
            self.at += stop + 1;
            if quote {
                return Ok(());
            }
            let character = self.escape()?;
            piece(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }

    /// Reads an escape after its backslash.
    fn escape(&mut self) -> Result<char, ReadError> {
        Ok(match self.next()? {
            b'n' => '\n',
            b't' => '\t',
            b'r' => '\r',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            byte @ (b'"' | b'\\' | b'/') => char::from(byte),
            b'u' => {
                match self.code_unit()? {
                    high @ 0xd800..0xdc00 => self.low_half(high)?,
                    // A lone low surrogate is no character.
                    unit => char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER),
                }
            }
            _ => return self.problem("an escape in a string is unknown"),
        })
    }

    /// The character of a high surrogate and the low one, if that follows.
    fn low_half(&mut self, high: u32) -> Result<char, ReadError> {
        let low = self.ahead(6)?.strip_prefix(b"\\u").and_then(|rest| rest.get(..4)).and_then(hexadecimal);
        Ok(match low {
            Some(low @ 0xdc00..0xe000) => {
                self.at += 6;
                char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00))
                    .expect("a pair of surrogates")
            }
            _ => char::REPLACEMENT_CHARACTER,
        })
    }

    fn code_unit(&mut self) -> Result<u32, ReadError> {
        let mut digits = [0; 4];
        for digit in &mut digits {
            *digit = self.next()?;
        }
        match hexadecimal(&digits) {
            Some(unit) => Ok(unit),
            None => self.problem("an escape in a string is not hexadecimal"),
        }
    }

    /// Reads a number, rounded to an integer. Its magnitude is below 2^53, as JavaScript's safe integers.
    pub(crate) fn integer(&mut self) -> Result<i64, ReadError> {
        let first = self.token()?;
        if first != b'-' && !first.is_ascii_digit() {
            return self.shape("a number is expected");
        }
        let negative = first == b'-';
        if negative {
            self.at += 1;
        }
        let mut magnitude = 0i64;
        let mut digits = 0;
        loop {
            // A number may be the document's last byte only where it is the whole document.
            let byte = self.peek()?;
            match byte {
                b'0'..=b'9' => {
                    digits += 1;
                    magnitude = magnitude.saturating_mul(10).saturating_add(i64::from(byte - b'0'));
                    self.at += 1;
                }
                _ if digits == 0 => return self.problem("a digit is expected"),
                b'.' | b'e' | b'E' => return self.fraction(negative, magnitude),
                _ => break,
            }
        }
        if magnitude >= 1 << 53 {
            return self.shape("a number is too large");
        }
        Ok(if negative { -magnitude } else { magnitude })
    }

    /// Reads the rest of a number that isn't written as an integer.
    fn fraction(&mut self, negative: bool, magnitude: i64) -> Result<i64, ReadError> {
        const LONGEST: usize = 40;
        let mut number = magnitude.to_string();
        while let byte @ (b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-') = self.peek()? {
            number.push(char::from(byte));
            self.at += 1;
            if number.len() > LONGEST {
                return self.shape("a number is too long");
            }
        }
        match number.parse::<f64>() {
            #[expect(clippy::cast_possible_truncation, reason = "within 53 bits")]
            Ok(number) if number < (1i64 << 53) as f64 => {
                let rounded = number.round() as i64;
                Ok(if negative { -rounded } else { rounded })
            }
            Ok(_) => self.shape("a number is too large"),
            Err(_) => self.problem("a number can't be read"),
        }
    }

    /// Reads a value of no interest.
    pub(crate) fn skip(&mut self) -> Result<(), ReadError> {
        match self.token()? {
            b'{' => self.object(|json, _| json.skip()),
            b'[' => self.array(Self::skip),
            b'"' => self.string(|_| ()),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            b'-' | b'0'..=b'9' => {
                while let b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-' = self.peek()? {
                    self.at += 1;
                }
                Ok(())
            }
            _ => self.problem("a value is expected"),
        }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), ReadError> {
        for &expected in word {
            if self.peek()? != expected {
                return self.problem("a value is expected");
            }
            self.at += 1;
        }
        Ok(())
    }

    /// Makes sure that nothing follows the document.
    pub(crate) fn end(&mut self) -> Result<(), ReadError> {
        while self.fill()? {
            match self.buffer[self.at] {
                b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
                _ => return self.problem("something follows the profile"),
            }
        }
        Ok(())
    }
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, &digit| Some(number << 4 | char::from(digit).to_digit(16)?))
}

#[cfg(test)]
mod tests;
