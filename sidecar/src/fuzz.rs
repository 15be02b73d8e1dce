//! What the fuzz targets run, and the tests for a fixed count: bytes of a hostile app or operator in, no panic, no
//! endless loop, no memory beyond the limits.

use crate::discover::parse;
use crate::redact::Redactor;
use pitwall_inspector::exchange::{Exchange, LONGEST_UNCONSUMED};
use pitwall_inspector::{Command, Incoming, Limits, Unescape};
use std::time::Duration;

/// Splits the input: its first byte says how large the pieces of the rest are.
fn pieces(bytes: &[u8]) -> std::slice::Chunks<'_, u8> {
    let (size, rest) = bytes.split_first().map_or((1, bytes), |(size, rest)| (usize::from(*size) + 1, rest));
    rest.chunks(size)
}

/// A heap snapshot to be redacted.
pub fn redactor(bytes: &[u8]) {
    let mut redactor = Redactor::new(std::io::sink());
    for piece in pieces(bytes) {
        if redactor.write(piece).is_err() {
            return;
        }
    }
    let _ = redactor.finish();
}

/// What an inspector's socket sends, with a command of each kind waiting.
pub fn inspector(bytes: &[u8]) {
    let limits = Limits { message: 1 << 12, stream: 1 << 16, outgoing: 1 << 12 };
    let mut exchange = Exchange::new(limits);
    let evaluate =
        Command::Evaluate { expression: "1", timeout: Duration::from_secs(1), command_line_api: true };
    for command in [Command::ProfilerStop, evaluate, Command::TakeHeapSnapshot] {
        let _ = exchange.command(&command);
    }
    let mut unescape = Unescape::default();
    let mut waiting: Vec<u8> = vec![];
    for piece in pieces(bytes) {
        waiting.extend_from_slice(piece);
        loop {
            let Ok(advanced) = exchange.advance(&waiting) else { return };
            match advanced.incoming {
                Some(Incoming::Closed(_)) => return,
                Some(Incoming::EventChunk { bytes, .. }) => {
                    let _ = unescape.push(&waiting[bytes], &mut vec![]);
                }
                Some(_) => {}
                None => {
                    waiting.drain(..advanced.consumed);
                    break;
                }
            }
            waiting.drain(..advanced.consumed);
        }
        assert!(waiting.len() <= LONGEST_UNCONSUMED, "{} bytes are held back", waiting.len());
    }
    exchange.dropped();
}

/// The files of `/proc` that an app has a say in.
pub fn proc_files(bytes: &[u8]) {
    let _ = parse::arguments(bytes);
    let _ = parse::variable(bytes, "NODE_OPTIONS");
    let text = String::from_utf8_lossy(bytes);
    let _ = parse::status(&text);
    let _ = parse::start_ticks(&text);
    let _ = parse::container_id(&text);
    let _ = parse::memory_available(&text);
    let _ = parse::schedstat(&text);
    let _ = parse::throttling(&text);
    for line in text.lines() {
        let _ = parse::is_connection_to(line, 9229);
    }
    let arguments = parse::arguments(bytes);
    let plan = crate::discover::node::inspector_plan(&arguments, Some(&text));
    let _ = plan.is_exposed();
}

/// A trace of optimizations, whose names are the app's own.
pub fn optimizations(bytes: &[u8]) {
    let mut reader = pitwall_profile::optimizations::Reader::default();
    pieces(bytes).for_each(|piece| reader.push(piece));
    let _ = reader.finish();
}

/// A message of the other side of the control channel.
pub fn protocol(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = pitwall_protocol::decode::<pitwall_protocol::OperatorMessage>(&text);
    let _ = pitwall_protocol::decode::<pitwall_protocol::SidecarMessage>(&text);
}

#[cfg(test)]
mod tests {
    use super::*;

    type Target = fn(&[u8]);

    /// Valid input of each kind, for damage to begin with.
    fn seeds() -> [(Target, Vec<u8>); 5] {
        let frame = |text: &str| {
            let mut frame = vec![0x81, 126];
            frame.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
            frame.extend(text.as_bytes());
            frame
        };
        let chunk =
            r#"{"method":"HeapProfiler.addHeapSnapshotChunk","params":{"chunk":"{\"snapshot\":{\u00e9}"}}"#;
        let title = r#"{"method":"Profiler.consoleProfileFinished","params":{"id":"1","location":{"scriptId":"7"},"profile":{"nodes":[]},"title":"abc"}}"#;
        let reply = format!(r#"{{"id":1,"result":{{"profile":{}}}}}"#, "[1,2,3]".repeat(40));
        let socket = [frame(chunk), frame(title), frame(&reply), frame(&"x".repeat(300))].concat();
        let snapshot = br#"{"snapshot":{"meta":{"node_fields":["type","name","id"],"node_types":[["hidden","string"]],"edge_fields":["type","name_or_index","to_node"],"edge_types":[["element","property"]]},"node_count":1},"nodes":[1,1,1],"edges":[1,0,0],"strings":["a","\u0041\"b"]}"#;
        let status = b"Name:\tnode\nState:\tS\nPPid:\t1\nUid:\t1000\t1000\t1000\t1000\nGid:\t1\t1\t1\t1\nNSpid:\t9\t1\nSigBlk:\t0\nSigCgt:\t4602\nNODE_OPTIONS=--inspect-port=0\0--inspect=[::1]:9229\0";
        let stop = br#"{"type":"start","request":"r","requestName":"n","process":{"pid":1,"startTicks":2},"container":{"name":"a","id":"b"},"recording":{"type":"cpu","samplingIntervalUs":1000},"durationMs":1,"deadlineMs":2,"grant":{"uploadId":"u","partSize":1,"firstPart":1,"urls":[],"expiresInMs":1}}"#;
        let trace = b"[optimizing 0x1 <JSFunction add </t.js> (sfi = 0x2)> (target TURBOFAN) - took 0.006, 0.3, 0.1 ms]\n[bailout (kind: deopt-eager, reason: not a Smi): begin. deoptimizing 0x1 <JSFunction add </t.js> (sfi = 0x2)>, opt id 0]\n";
        [
            (redactor as Target, snapshot.to_vec()),
            (inspector, socket),
            (proc_files, status.to_vec()),
            (protocol, stop.to_vec()),
            (optimizations, trace.to_vec()),
        ]
    }

    #[test]
    fn damaged_input_of_every_kind_is_survived() {
        for (target, seed) in seeds() {
            for round in 0..20_000 {
                let mut random = fastrand::Rng::with_seed(round);
                let mut bytes = vec![random.u8(..)];
                bytes.extend(&seed);
                for _ in 0..random.usize(..8) {
                    let at = random.usize(1..bytes.len());
                    match random.u8(..5) {
                        0 => bytes[at] = random.u8(..),
                        1 => bytes.truncate(at.max(2)),
                        2 => bytes.insert(at, *random.choice(b"{}[]\",:\\09-\0\n ").expect("some")),
                        3 => bytes.extend_from_within(1..at),
                        _ => drop(bytes.drain(at..(at + random.usize(..8)).min(bytes.len()))),
                    }
                    if bytes.len() < 2 {
                        break;
                    }
                }
                target(&bytes);
            }
        }
    }
}
