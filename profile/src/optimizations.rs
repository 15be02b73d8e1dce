//! What V8 says of the functions that it optimized and deoptimized: the lines of `--trace-opt` and `--trace-deopt` with
//! `--trace-file-names`.
//!
//! ```text
//! [completed compiling 0x… <JSFunction add </app/cart.js> (sfi = 0x…)> (target MAGLEV) - took 0.001, 0.413, 0.002 ms]
//! [bailout (kind: deopt-eager, reason: not a Smi): begin. deoptimizing 0x… <JSFunction add </app/cart.js> (sfi = 0x…)>, …]
//! ```
//! Node 18 writes `optimizing` where later ones write `completed compiling`. Other lines are of no interest here.
//!
//! # Guarantees
//! - Whatever the bytes, memory is bounded: [`MOST_FUNCTIONS`], of at most [`MOST_REASONS`] reasons, and one line of
//!   [`LONGEST_LINE`]. What goes beyond is counted.
//! - Names are the app's own text: cut, never obeyed.

use crate::text::{shown, shown_end};
use memchr::memmem;
use serde::Serialize;
use std::collections::HashMap;

/// The most functions that are told apart.
pub const MOST_FUNCTIONS: usize = 2_000;
/// The most reasons of one function that are told apart.
pub const MOST_REASONS: usize = 8;
/// Longer lines are left out, in bytes.
pub const LONGEST_LINE: usize = 4_096;
/// Names are cut to this many bytes.
const LONGEST_NAME: usize = 256;

/// Reads a trace as it comes.
#[derive(Debug, Default)]
pub struct Reader {
    line: Vec<u8>,
    /// The line is longer than is kept.
    too_long: bool,
    functions: HashMap<(String, String), Function>,
    left_out: u64,
}

/// What happened to functions, those that were deoptimized most often first.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Optimizations {
    /// How often a function was optimized, in all.
    pub optimized: u64,
    /// How often one was deoptimized, in all.
    pub deoptimized: u64,
    /// The functions.
    pub functions: Vec<Function>,
    /// How many events are of functions, or for reasons, beyond those that are kept, or can't be read.
    pub left_out: u64,
}

/// What happened to a function.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Function {
    /// Its name; empty where it has none.
    pub function: String,
    /// Its script, as V8 knows it: a path, a `file:` URL or `node:` and a module; empty where it has none.
    pub script: String,
    /// How often it was optimized.
    pub optimized: u64,
    /// What that took off the main thread and on it, in milliseconds.
    pub compile_ms: f64,
    /// How often it was deoptimized.
    pub deoptimized: u64,
    /// Why, the most frequent first.
    pub reasons: Vec<Deoptimization>,
}

/// Why a function was deoptimized, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Deoptimization {
    /// `deopt-eager`: a check failed; `deopt-lazy`: the code was invalid when it was returned to.
    pub kind: String,
    /// V8's words, such as `not a Smi` or `wrong map`.
    pub reason: String,
    /// How often.
    pub count: u64,
}

impl Reader {
    /// Takes in what comes next.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            self.keep(&bytes[..end]);
            bytes = &bytes[end + 1..];
            let line = std::mem::take(&mut self.line);
            if std::mem::take(&mut self.too_long) {
                self.left_out += 1;
            } else {
                self.take(&line);
            }
            self.line = line;
            self.line.clear();
        }
        self.keep(bytes);
    }

    /// A part of the trace is missing: what is half there isn't a line.
    pub fn gap(&mut self) {
        self.line.clear();
        self.too_long = false;
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.line.len() + bytes.len() > LONGEST_LINE {
            self.too_long = true;
        } else {
            self.line.extend_from_slice(bytes);
        }
    }

    fn take(&mut self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        let text = text.as_ref();
        if let Some(rest) = text.strip_prefix("[bailout (kind: ") {
            let read = rest.split_once(", reason: ").and_then(|(kind, rest)| {
                let (reason, rest) = rest.split_once("): begin. ")?;
                Some((kind, reason, function(rest)?))
            });
            let Some((kind, reason, name)) = read else {
                self.left_out += 1;
                return;
            };
            if let Some(function) = self.function(name) {
                function.deoptimized += 1;
                if let Some(same) =
                    function.reasons.iter_mut().find(|one| one.kind == kind && one.reason == reason)
                {
                    same.count += 1;
                } else if function.reasons.len() < MOST_REASONS {
                    let (kind, reason) = (shown(kind, LONGEST_NAME), shown(reason, LONGEST_NAME));
                    function.reasons.push(Deoptimization { kind, reason, count: 1 });
                } else {
                    self.left_out += 1;
                }
            }
        } else if text.starts_with("[completed compiling ") || text.starts_with("[optimizing ") {
            // Node 18 says so, too, when it begins: only the end has the times.
            let Some(at) = memmem::rfind(text.as_bytes(), b" - took ") else { return };
            let (before, times) = text.split_at(at);
            let Some(name) = function(before) else {
                self.left_out += 1;
                return;
            };
            if let Some(function) = self.function(name) {
                function.optimized += 1;
                let times = times.trim_start_matches(" - took ").trim_end_matches(" ms]");
                let took: f64 = times.split(", ").filter_map(|time| time.parse::<f64>().ok()).sum();
                function.compile_ms += took.clamp(0.0, 1e9);
            }
        }
    }

    fn function(&mut self, (name, script): (&str, &str)) -> Option<&mut Function> {
        let key = (shown(name, LONGEST_NAME), shown_end(script, LONGEST_NAME));
        if !self.functions.contains_key(&key) && self.functions.len() >= MOST_FUNCTIONS {
            self.left_out += 1;
            return None;
        }
        let empty = || Function { function: key.0.clone(), script: key.1.clone(), ..Function::default() };
        Some(self.functions.entry(key.clone()).or_insert_with(empty))
    }

    /// What the trace said.
    pub fn finish(self) -> Optimizations {
        let mut functions: Vec<_> = self.functions.into_values().collect();
        for function in &mut functions {
            function.compile_ms = (function.compile_ms * 1e3).round() / 1e3;
            function.reasons.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.reason.cmp(&b.reason)));
        }
        functions.sort_by(|a, b| {
            let key = |one: &Function| (one.deoptimized, one.optimized);
            key(b).cmp(&key(a)).then_with(|| (&a.script, &a.function).cmp(&(&b.script, &b.function)))
        });
        Optimizations {
            optimized: functions.iter().map(|one| one.optimized).sum(),
            deoptimized: functions.iter().map(|one| one.deoptimized).sum(),
            functions,
            left_out: self.left_out,
        }
    }
}

/// Name and script in `… <JSFunction NAME <SCRIPT> (sfi = 0x…)>…`, from the last one of the line: a name may say anything.
fn function(text: &str) -> Option<(&str, &str)> {
    let (before, _) = text.rsplit_once(" (sfi = ")?;
    let (_, inner) = before.split_once("<JSFunction")?;
    let inner = inner.trim_start();
    match inner.strip_suffix('>').and_then(|inner| inner.rsplit_once('<')) {
        Some((name, script)) => Some((name.trim_end(), script)),
        None => Some((inner, "")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Optimizations {
        let mut reader = Reader::default();
        reader.push(text.as_bytes());
        reader.finish()
    }

    /// Lines of Node 18.20, 22.23 and 26.10.
    const TRACE: &str = "\
[marking 0x1 <JSFunction add </app/t.js> (sfi = 0x2)> for optimization to TURBOFAN, ConcurrencyMode::kConcurrent, reason: small function]
[compiling method 0x1 <JSFunction add </app/t.js> (sfi = 0x2)> (target TURBOFAN) using Turbofan]
[optimizing 0x1 <JSFunction add </app/t.js> (sfi = 0x2)> (target TURBOFAN) - took 0.006, 0.375, 0.068 ms]
[completed optimizing 0x1 <JSFunction add </app/t.js> (sfi = 0x2)> (target TURBOFAN)]
[bailout (kind: deopt-eager, reason: not a Smi): begin. deoptimizing 0x1 <JSFunction add </app/t.js> (sfi = 0x2)>, opt id 0, bytecode offset 2, deopt exit 0, FP to SP delta 56, caller SP 0x3, pc 0x4]
[bailout (kind: deopt-eager, reason: not a Smi): begin. deoptimizing 0x1 <JSFunction add </app/t.js> (sfi = 0x2)>, 0x5 <Code TURBOFAN>, opt id 1, bytecode offset 2]
[bailout (kind: deopt-lazy, reason: (unknown)): begin. deoptimizing 0x1 <JSFunction add </app/t.js> (sfi = 0x2)>, 0x5 <Code MAGLEV>, opt id 1, bytecode offset 2]
[completed compiling 0x1 <JSFunction </app/t.js> (sfi = 0x2)> (target MAGLEV) OSR - took 0.001, 0.099, 0.000 ms]
[bailout (kind: deopt-eager, reason: prepare for on stack replacement (OSR)): begin. deoptimizing 0x1 <JSFunction m\u{e9}th\u{2603}od (sfi = 0x2)>, 0x5 <Code MAGLEV>, opt id 1]
";

    #[test]
    fn what_three_versions_write_is_read() {
        let read = read(TRACE);
        assert_eq!((read.optimized, read.deoptimized, read.left_out), (2, 4, 0));
        let reason = |kind: &str, reason: &str, count| Deoptimization {
            kind: kind.into(),
            reason: reason.into(),
            count,
        };
        let add = Function {
            function: "add".into(),
            script: "/app/t.js".into(),
            optimized: 1,
            compile_ms: 0.449,
            deoptimized: 3,
            reasons: vec![reason("deopt-eager", "not a Smi", 2), reason("deopt-lazy", "(unknown)", 1)],
        };
        let method = Function {
            function: "m\u{e9}th\u{2603}od".into(),
            deoptimized: 1,
            reasons: vec![reason("deopt-eager", "prepare for on stack replacement (OSR)", 1)],
            ..Function::default()
        };
        let unnamed =
            Function { script: "/app/t.js".into(), optimized: 1, compile_ms: 0.1, ..Function::default() };
        assert_eq!(read.functions, [add, method, unnamed]);
    }

    #[test]
    fn the_pieces_that_it_comes_in_do_not_matter() {
        let whole = read(TRACE);
        for size in [1, 3, 7, 100] {
            let mut reader = Reader::default();
            TRACE.as_bytes().chunks(size).for_each(|piece| reader.push(piece));
            assert_eq!(reader.finish(), whole, "{size}");
        }
    }

    #[test]
    fn what_is_half_there_is_left_out_after_a_gap() {
        let mut reader = Reader::default();
        reader.push(b"[bailout (kind: deopt-eager, reason: x): begin. deopt");
        reader.gap();
        reader.push(TRACE.as_bytes());
        assert_eq!(reader.finish(), read(TRACE));
    }

    #[test]
    fn a_hostile_name_stays_a_name() {
        let line = "[bailout (kind: deopt-eager, reason: not a Smi): begin. deoptimizing 0x1 <JSFunction <script> (sfi = \
                    0x9)> </etc/x> (sfi = 0x2)>, 0x5 <Code TURBOFAN>\n";
        let read = read(line);
        assert_eq!(read.functions.len(), 1);
        assert_eq!(read.functions[0].function, "<script> (sfi = 0x9)>");
    }

    #[test]
    fn memory_is_bounded() {
        let mut reader = Reader::default();
        for at in 0..MOST_FUNCTIONS + 10 {
            let name = "n".repeat(300);
            reader.push(
                format!("[bailout (kind: k, reason: r{at}): begin. deoptimizing 0x1 <JSFunction {at}{name} (sfi = 0x2)>\n")
                    .as_bytes(),
            );
        }
        for at in 0..MOST_REASONS + 5 {
            let line = format!(
                "[bailout (kind: k, reason: q{at}): begin. deoptimizing 0x1 <JSFunction 0{} (sfi = 0x2)>\n",
                "n".repeat(300)
            );
            reader.push(line.as_bytes());
        }
        reader.push(&vec![b'x'; LONGEST_LINE * 3]);
        reader.push(b"\n[bailout (kind: \n");
        let read = reader.finish();
        assert_eq!(read.functions.len(), MOST_FUNCTIONS);
        assert!(read.functions.iter().all(|one| one.function.len() <= LONGEST_NAME));
        assert_eq!(read.functions[0].reasons.len(), MOST_REASONS);
        assert_eq!(read.left_out, 10 + 6 + 1 + 1);
    }
}
