//! Replaces the contents of strings in a heap snapshot while it streams by, before anything leaves the pod.
//!
//! # What is replaced
//! The text of every node of type string, concatenated string, sliced string and regexp becomes `<string N>`: equal
//! texts stay equal, the empty one stays empty. A name of a property, symbol, class or function that doesn't look
//! like one (at most 40 characters of an identifier; of classes and functions also spaces and punctuation of
//! C++ and of accessors) becomes `<name N>`.
//!
//! # What survives
//! Names that look like names: of properties, variables, classes, functions, and V8's own; among the latter those of
//! scripts' files. An object that is keyed by data which looks like identifiers keeps these keys. Sizes, ids,
//! counts and the shape of the graph stay exact. So the file is safer than it was, and not free of secrets.
//!
//! # How
//! Strings come last in the file and are shared: nine of ten names are also the text of some string. So each index
//! is split into two while nodes and edges pass: the name at twice the index, the text behind it. How an index
//! is used is noted in half a byte; nothing else is kept. Whatever isn't understood ends in an error with
//! its offset, before any of it is written.

mod names;
mod schema;

use names::{keeps_loosely, keeps_strictly, without_weak_pair_names};
use schema::{Column, Schema};
use std::io::{self, Write};

/// How many strings a snapshot may have: 16 MiB of notes.
const MOST_STRINGS: u64 = 1 << 25;
/// The longest `snapshot` member: the schema and a few numbers.
const LONGEST_HEADER: usize = 64 << 10;
/// The longest key between two members.
const LONGEST_KEY: usize = 64;
/// What is kept of a string to judge it as a name.
const LONGEST_NAME: usize = 512;
/// How deep `trace_tree` may be nested.
const DEEPEST: u32 = 1000;
/// What is written at once.
const SLICE: usize = 64 << 10;

/// Why a snapshot couldn't be redacted.
#[derive(Debug, thiserror::Error)]
pub enum RedactError {
    /// Not a heap snapshot as Node 18 to 26 writes them.
    #[error("the heap snapshot can't be redacted: {problem} at byte {offset}")]
    Shape {
        /// Where.
        offset: u64,
        /// What is wrong.
        problem: &'static str,
    },
    /// The other side refused.
    #[error(transparent)]
    Write(#[from] io::Error),
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Redacted {
    /// Strings of the original.
    pub strings: u64,
    /// Names that stay.
    pub names_kept: u64,
    /// Names that were replaced.
    pub names_replaced: u64,
    /// Texts that were replaced.
    pub texts_replaced: u64,
}

/// Takes a snapshot in pieces of any length, and writes the redacted one.
#[derive(Debug)]
pub struct Redactor<W> {
    out: W,
    buffer: Vec<u8>,
    offset: u64,
    state: State,
    schema: Schema,
    /// How each string is used, two to a byte: see [`STRICT`], [`LOOSE`], [`TEXT`].
    uses: Vec<u8>,
    /// The key, header or name that is being read.
    held: Vec<u8>,
    members: u32,
    done: Redacted,
}

/// A name that the app chose, a name that V8 chose, a text.
const STRICT: u8 = 1;
const LOOSE: u8 = 2;
const TEXT: u8 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Start,
    /// Between two members of the document; the key so far is in `held`.
    Between,
    /// In `snapshot`, which is in `held` so far.
    Header {
        depth: u32,
        quoted: bool,
        escaped: bool,
    },
    /// In an array of rows.
    Rows(Rows),
    /// In an array of numbers that name no string.
    Numbers {
        depth: u32,
    },
    /// In `strings`.
    Strings {
        quoted: bool,
        escaped: bool,
        length: u64,
        awaits_comma: bool,
    },
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rows {
    table: Table,
    column: usize,
    /// The row's type, once it was read.
    kind: usize,
    value: u64,
    digits: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Table {
    Nodes,
    Edges,
    Functions,
}

impl<W: Write> Redactor<W> {
    /// Writes the redacted snapshot to `out`.
    pub fn new(out: W) -> Self {
        Self {
            out,
            buffer: Vec::with_capacity(SLICE + 1024),
            offset: 0,
            state: State::Start,
            schema: Schema::default(),
            uses: vec![],
            held: vec![],
            members: 0,
            done: Redacted::default(),
        }
    }

    /// Takes the next bytes of the snapshot.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), RedactError> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let taken = match self.state {
                State::Rows(rows) => self.rows(rest, rows)?,
                State::Strings { quoted: true, escaped: false, .. } => self.text(rest)?,
                _ => {
                    self.one(rest[0])?;
                    1
                }
            };
            at += taken;
            self.offset += taken as u64;
            if self.buffer.len() >= SLICE {
                self.out.write_all(&self.buffer)?;
                self.buffer.clear();
            }
        }
        Ok(())
    }

    /// The snapshot is over.
    pub fn finish(mut self) -> Result<(W, Redacted), RedactError> {
        if self.state != State::End {
            return self.problem("it ends too soon");
        }
        self.out.write_all(&self.buffer)?;
        Ok((self.out, self.done))
    }

    fn problem<T>(&self, problem: &'static str) -> Result<T, RedactError> {
        Err(RedactError::Shape { offset: self.offset, problem })
    }

    /// One byte outside of rows and texts.
    fn one(&mut self, byte: u8) -> Result<(), RedactError> {
        let space = byte.is_ascii_whitespace();
        match self.state {
            State::Start if byte == b'{' => {
                self.buffer.push(byte);
                self.state = State::Between;
            }
            State::Start | State::End if space => {}
            State::Start => return self.problem("it doesn't begin with an object"),
            State::End => return self.problem("more comes after its end"),
            State::Between => return self.between(byte),
            State::Header { depth, quoted, escaped } => return self.header(byte, depth, quoted, escaped),
            State::Numbers { depth } => {
                let depth = match byte {
                    b'[' => depth + 1,
                    b']' => depth - 1,
                    b'0'..=b'9' | b'-' | b',' => depth,
                    _ if space => depth,
                    _ => return self.problem("a section that holds numbers holds something else"),
                };
                if depth > DEEPEST {
                    return self.problem("a section is nested too deep");
                }
                self.buffer.push(byte);
                self.state = if depth == 0 { State::Between } else { State::Numbers { depth } };
            }
            State::Strings { .. } => return self.in_strings(byte),
            State::Rows(_) => unreachable!("rows are read in pieces"),
        }
        Ok(())
    }

    fn between(&mut self, byte: u8) -> Result<(), RedactError> {
        if !matches!(byte, b'[' | b'{' | b'}') {
            if self.held.len() >= LONGEST_KEY {
                return self.problem("a key is too long");
            }
            self.held.push(byte);
            return Ok(());
        }
        let held = std::mem::take(&mut self.held);
        let text = held.trim_ascii();
        if byte == b'}' {
            if !text.is_empty() || self.members == 0 {
                return self.problem("the document ends in the middle of a member");
            }
            self.buffer.push(byte);
            self.state = State::End;
            return Ok(());
        }
        let text = if self.members == 0 { Some(text) } else { text.strip_prefix(b",") };
        let key = text.and_then(|text| {
            let quoted = text.trim_ascii().strip_suffix(b":")?.trim_ascii();
            quoted.strip_prefix(b"\"")?.strip_suffix(b"\"")
        });
        let key = match key {
            Some(key) if key.iter().all(|byte| byte.is_ascii_lowercase() || *byte == b'_') => key,
            _ => return self.problem("a member has another key than Node writes"),
        };
        if (self.members == 0) != (key == b"snapshot") {
            return self.problem("`snapshot` isn't the first member, or is there twice");
        }
        let rows = |table| State::Rows(Rows { table, column: 0, kind: 0, value: 0, digits: 0 });
        self.state = match (key, byte) {
            (b"snapshot", b'{') => {
                self.held.push(byte);
                State::Header { depth: 1, quoted: false, escaped: false }
            }
            (b"nodes", b'[') => rows(Table::Nodes),
            (b"edges", b'[') => rows(Table::Edges),
            (b"trace_function_infos", b'[') => rows(Table::Functions),
            (b"strings", b'[') => {
                State::Strings { quoted: false, escaped: false, length: 0, awaits_comma: false }
            }
            (_, b'[') if self.done.strings == 0 => State::Numbers { depth: 1 },
            _ => return self.problem("a member has another value than Node writes"),
        };
        if self.members > 0 {
            self.buffer.push(b',');
        }
        self.buffer.push(b'"');
        self.buffer.extend_from_slice(key);
        self.buffer.extend_from_slice(b"\":");
        if byte == b'[' {
            self.buffer.push(byte);
        }
        self.members += 1;
        Ok(())
    }

    fn header(&mut self, byte: u8, depth: u32, quoted: bool, escaped: bool) -> Result<(), RedactError> {
        if self.held.len() >= LONGEST_HEADER {
            return self.problem("`snapshot` is too long");
        }
        self.held.push(byte);
        let (depth, quoted, escaped) = match byte {
            _ if escaped => (depth, quoted, false),
            b'\\' => (depth, quoted, true),
            b'"' => (depth, !quoted, false),
            b'{' if !quoted => (depth + 1, quoted, false),
            b'}' if !quoted => (depth - 1, quoted, false),
            _ => (depth, quoted, false),
        };
        if depth > 0 {
            self.state = State::Header { depth, quoted, escaped };
            return Ok(());
        }
        let held = std::mem::take(&mut self.held);
        let Some((schema, written)) = Schema::read(&held) else {
            return self.problem("`snapshot` isn't what Node writes");
        };
        self.schema = schema;
        self.buffer.extend_from_slice(written.as_bytes());
        self.state = State::Between;
        Ok(())
    }

    /// Reads rows to the end of the piece or of the section: how many bytes that are.
    fn rows(&mut self, bytes: &[u8], mut rows: Rows) -> Result<usize, RedactError> {
        for (at, &byte) in bytes.iter().enumerate() {
            match byte {
                b'0'..=b'9' => {
                    if rows.digits == 19 {
                        return self.problem("a number is too large");
                    }
                    rows.value = rows.value * 10 + u64::from(byte - b'0');
                    rows.digits += 1;
                }
                b',' | b']' if rows.digits > 0 => {
                    self.cell(&mut rows)?;
                    self.buffer.push(byte);
                    if byte == b']' {
                        return self.end_of_rows(rows, at);
                    }
                }
                // Only an empty section ends without a number.
                b']' if rows == (Rows { table: rows.table, column: 0, kind: 0, value: 0, digits: 0 }) => {
                    self.buffer.push(byte);
                    return self.end_of_rows(rows, at);
                }
                b'\n' | b' ' | b'\r' | b'\t' if rows.digits == 0 => self.buffer.push(byte),
                b'\n' | b' ' | b'\r' | b'\t' => {}
                _ => return self.problem("a section of rows holds something else than numbers"),
            }
        }
        self.state = State::Rows(rows);
        Ok(bytes.len())
    }

    fn end_of_rows(&mut self, rows: Rows, at: usize) -> Result<usize, RedactError> {
        if rows.column != 0 {
            return self.problem("a row is cut off");
        }
        self.state = State::Between;
        Ok(at + 1)
    }

    /// Writes one number of a row, as what it means.
    fn cell(&mut self, rows: &mut Rows) -> Result<(), RedactError> {
        let columns = match rows.table {
            Table::Nodes => &self.schema.nodes,
            Table::Edges => &self.schema.edges,
            Table::Functions => &self.schema.functions,
        };
        let Some(&column) = columns.get(rows.column) else {
            return self.problem("a section has rows where `meta` says no columns");
        };
        rows.column = if rows.column + 1 == columns.len() { 0 } else { rows.column + 1 };
        let value = std::mem::take(&mut rows.value);
        rows.digits = 0;
        let used_as = match column {
            Column::Number => None,
            Column::Type => {
                rows.kind = usize::try_from(value).unwrap_or(usize::MAX);
                None
            }
            Column::Name => {
                let kinds = match rows.table {
                    Table::Nodes => &self.schema.node_types,
                    Table::Edges => &self.schema.edge_types,
                    Table::Functions => &self.schema.function_types,
                };
                match kinds.get(rows.kind) {
                    Some(used_as) => *used_as,
                    None => return self.problem("a row has a type that `meta` doesn't name"),
                }
            }
        };
        match used_as {
            None => number(&mut self.buffer, value),
            Some(used_as) => {
                if value >= MOST_STRINGS {
                    return self.problem("it has more strings than can be noted");
                }
                self.note(value, used_as);
                number(&mut self.buffer, value * 2 + u64::from(used_as == TEXT));
            }
        }
        Ok(())
    }

    fn note(&mut self, index: u64, used_as: u8) {
        let at = usize::try_from(index / 2).expect("bounded by MOST_STRINGS");
        if self.uses.len() <= at {
            self.uses.resize((at + 1).next_power_of_two(), 0);
        }
        self.uses[at] |= used_as << (index % 2 * 4);
    }

    fn in_strings(&mut self, byte: u8) -> Result<(), RedactError> {
        let State::Strings { quoted, escaped, length, awaits_comma } = self.state else {
            return self.problem("no string is being read");
        };
        if quoted {
            // The byte behind a backslash.
            debug_assert!(escaped, "plain text is read in pieces");
            self.hold(&[byte]);
            self.state = State::Strings { quoted, escaped: false, length: length + 1, awaits_comma };
            return Ok(());
        }
        match byte {
            b'"' if !awaits_comma => {
                self.held.clear();
                self.state = State::Strings { quoted: true, escaped: false, length: 0, awaits_comma };
            }
            b',' if awaits_comma => {
                self.buffer.push(byte);
                self.state = State::Strings { quoted, escaped, length, awaits_comma: false };
            }
            b']' if awaits_comma || self.done.strings == 0 => {
                self.held.clear();
                self.buffer.push(byte);
                self.state = State::Between;
            }
            _ if byte.is_ascii_whitespace() => {}
            _ => return self.problem("`strings` holds something else than strings"),
        }
        Ok(())
    }

    /// Reads within a string, up to its end or to the next backslash: how many bytes that are.
    fn text(&mut self, bytes: &[u8]) -> Result<usize, RedactError> {
        let State::Strings { length, .. } = self.state else {
            return self.problem("no string is being read");
        };
        let plain = memchr::memchr2(b'"', b'\\', bytes).unwrap_or(bytes.len());
        self.hold(&bytes[..plain]);
        let length = length + plain as u64;
        let (escaped, ends) = match bytes.get(plain) {
            None => {
                self.state = State::Strings { quoted: true, escaped: false, length, awaits_comma: false };
                return Ok(plain);
            }
            Some(b'\\') => (true, false),
            Some(_) => (false, true),
        };
        if ends {
            self.string(length);
        } else {
            self.hold(b"\\");
        }
        self.state = State::Strings {
            quoted: !ends,
            escaped,
            length: length + u64::from(escaped),
            awaits_comma: ends,
        };
        Ok(plain + 1)
    }

    /// Keeps the beginning of a string.
    fn hold(&mut self, bytes: &[u8]) {
        let room = LONGEST_NAME.saturating_sub(self.held.len());
        self.held.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Writes a string as the two that it becomes. `length` is that of the original, escapes included.
    fn string(&mut self, length: u64) {
        let index = self.done.strings;
        self.done.strings += 1;
        let at = usize::try_from(index / 2).unwrap_or(usize::MAX);
        let used_as = self.uses.get(at).copied().unwrap_or(0) >> (index % 2 * 4) & 0xf;
        self.buffer.push(b'"');
        if used_as & (STRICT | LOOSE) != 0 {
            let whole = length == self.held.len() as u64;
            let kept = whole
                && if used_as & STRICT != 0 { keeps_strictly(&self.held) } else { keeps_loosely(&self.held) };
            let pair =
                if used_as & STRICT == 0 && whole { without_weak_pair_names(&self.held) } else { None };
            if let Some(pair) = pair {
                self.buffer.extend_from_slice(pair.as_bytes());
                self.done.names_replaced += 1;
            } else if kept {
                self.buffer.extend_from_slice(&self.held);
                self.done.names_kept += 1;
            } else {
                self.placeholder(b"<name ", index);
                self.done.names_replaced += 1;
            }
        }
        self.buffer.extend_from_slice(b"\",\"");
        if used_as & TEXT != 0 && length > 0 {
            self.placeholder(b"<string ", index);
            self.done.texts_replaced += 1;
        }
        self.buffer.push(b'"');
        self.held.clear();
    }

    fn placeholder(&mut self, what: &[u8], index: u64) {
        self.buffer.extend_from_slice(what);
        number(&mut self.buffer, index);
        self.buffer.push(b'>');
    }
}

/// Appends a number in decimal digits.
fn number(buffer: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(value % 10).expect("a digit");
        value /= 10;
        if value == 0 {
            break;
        }
    }
    buffer.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests;
