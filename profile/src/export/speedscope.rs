use std::io::{self, BufWriter, Write};

use serde::Serialize;

use super::{caller, name, running};
use crate::cpu::CpuProfile;

const SCHEMA: &str = "https://www.speedscope.app/file-format-schema.json";

/// A function, as speedscope's schema has it.
#[derive(Serialize)]
struct Frame<'profile> {
    name: &'profile str,
    #[serde(skip_serializing_if = "str::is_empty")]
    file: &'profile str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    col: Option<u32>,
}

/// Writes speedscope's own format: one profile of events, a function's opening and closing each, in microseconds since
/// the first sample. `title` is what speedscope calls it.
pub fn speedscope(profile: &CpuProfile, title: &str, out: impl Write) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    write!(out, "{{\"$schema\":\"{SCHEMA}\",\"exporter\":\"pitwall\",\"name\":")?;
    serde_json::to_writer(&mut out, title)?;
    write!(out, ",\"shared\":{{\"frames\":[")?;
    for (at, frame) in profile.frames.iter().enumerate() {
        if at > 0 {
            write!(out, ",")?;
        }
        let frame = Frame { name: name(frame), file: &frame.url, line: frame.line, col: frame.column };
        serde_json::to_writer(&mut out, &frame)?;
    }
    let start = profile.times.first().copied().unwrap_or(0);
    let end = profile.end.max(profile.times.last().copied().unwrap_or(0)).saturating_sub(start).max(0);
    write!(out, "]}},\"profiles\":[{{\"type\":\"evented\",\"name\":")?;
    serde_json::to_writer(&mut out, title)?;
    write!(out, ",\"unit\":\"microseconds\",\"startValue\":0,\"endValue\":{end},\"events\":[")?;
    events(profile, start, end, &mut out)?;
    write!(out, "]}}]}}")?;
    out.flush()
}

fn events(profile: &CpuProfile, start: i64, end: i64, out: &mut impl Write) -> io::Result<()> {
    let mut first = true;
    let mut event = |out: &mut dyn Write, kind: char, at: i64, node: u32| {
        let comma = if std::mem::take(&mut first) { "" } else { "," };
        let frame = profile.nodes[node as usize].frame.0;
        write!(out, "{comma}{{\"type\":\"{kind}\",\"at\":{at},\"frame\":{frame}}}")
    };
    let mut open = None;
    let mut opening = Vec::new();
    let samples = profile.samples.iter().map(|&node| running(profile, node));
    let times = profile.times.iter().map(|time| time - start);
    for (mut next, at) in samples.chain([None]).zip(times.chain([end])) {
        let running = next;
        // A caller comes before what it calls: whichever is later can't be on both stacks.
        while open != next {
            if open > next {
                event(out, 'C', at, open.expect("more than none"))?;
                open = open.and_then(|node| caller(profile, node));
            } else {
                opening.extend(next);
                next = next.and_then(|node| caller(profile, node));
            }
        }
        for node in opening.drain(..).rev() {
            event(out, 'O', at, node)?;
        }
        open = running;
    }
    Ok(())
}
