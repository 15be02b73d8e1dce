//! From the bytes of a `.cpuprofile` to a [`CpuProfile`].

use std::io::Read;
use std::sync::Arc;

use super::profile::{CpuProfile, Draft, Frame, FrameKind, Index, Link, Trees};
use crate::error::ReadError;
use crate::input;
use crate::json::Json;
use crate::tree::NOT_RECORDED;

/// How much of a profile is read. What passes a limit is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes, after decompression.
    pub bytes: u64,
    /// Nodes of the call tree. Each takes about 40 bytes of memory while reading, and 12 afterwards.
    pub nodes: u32,
    /// Samples. Each takes about 24 bytes of memory while reading, and 12 afterwards.
    pub samples: u32,
    /// Different functions. Each takes about 300 bytes of memory while reading, and 60 afterwards.
    pub functions: u32,
    /// Bytes of different names and addresses of scripts.
    pub text: u64,
}

impl Default for Limits {
    /// Ten minutes of a big app at 100 us fit: 2 GiB, 4 million nodes and samples each, half
    /// a million functions, 64 MiB of text.
    fn default() -> Self {
        Self { bytes: 2 << 30, nodes: 4_000_000, samples: 4_000_000, functions: 500_000, text: 64 << 20 }
    }
}

/// Timestamps beyond these bounds would overflow when they are compared.
const LATEST: i64 = 1 << 60;

/// Reads a CPU profile, compressed by gzip or not.
pub fn read(reader: impl Read, limits: &Limits) -> Result<CpuProfile, ReadError> {
    let input = input::open(reader).map_err(|source| ReadError::Io { offset: 0, source })?;
    Reading { json: Json::new(input, limits.bytes), limits, draft: Draft::default() }.profile()
}

/// A part of the profile, and where it begins.
struct Part<T> {
    offset: u64,
    values: Vec<T>,
}

struct Reading<'limits, Reader> {
    json: Json<Reader>,
    limits: &'limits Limits,
    draft: Draft,
}

impl<Reader: Read> Reading<'_, Reader> {
    fn profile(mut self) -> Result<CpuProfile, ReadError> {
        let Self { json, limits, draft } = &mut self;
        let parts = parts(json, limits.samples, |json| node(json, draft, limits))?;
        let Trees { frames, nodes, index } =
            self.draft.into_trees().map_err(|problem| parts.nodes_problem(problem))?;
        let Sampled { samples, times, end, .. } = parts.sampled(&index)?;
        Ok(CpuProfile { frames, nodes, samples, times, end })
    }
}

/// What a profile holds beside its nodes.
pub(super) struct Parts {
    nodes_at: u64,
    samples: Part<u32>,
    deltas: Part<i64>,
    start: i64,
    end: Option<i64>,
}

/// When each sample was taken, in the order of time.
pub(super) struct Sampled {
    pub(super) start: i64,
    /// The node of each sample, as an index.
    pub(super) samples: Vec<u32>,
    pub(super) times: Vec<i64>,
    pub(super) end: i64,
}

/// Reads a profile, of which `node` reads each of the nodes.
pub(super) fn parts<Reader: Read>(
    json: &mut Json<Reader>,
    most_samples: u32,
    mut node: impl FnMut(&mut Json<Reader>) -> Result<(), ReadError>,
) -> Result<Parts, ReadError> {
    let mut nodes = None;
    let mut samples: Option<Part<u32>> = None;
    let mut deltas: Option<Part<i64>> = None;
    let (mut start, mut end) = (None, None);
    json.object(|json, key| match &**key {
        b"nodes" if nodes.is_some() => json.shape("`nodes` is there twice"),
        b"nodes" => {
            nodes = Some(json.offset());
            json.array(&mut node)
        }
        b"samples" if samples.is_some() => json.shape("`samples` is there twice"),
        b"samples" => {
            let offset = json.offset();
            let values = numbers(json, most_samples, |number| u32::try_from(number).ok())?;
            samples = Some(Part { offset, values });
            Ok(())
        }
        b"timeDeltas" if deltas.is_some() => json.shape("`timeDeltas` is there twice"),
        b"timeDeltas" => {
            let offset = json.offset();
            deltas = Some(Part { offset, values: numbers(json, most_samples, Some)? });
            Ok(())
        }
        b"startTime" => {
            start = Some(json.integer()?);
            Ok(())
        }
        b"endTime" => {
            end = Some(json.integer()?);
            Ok(())
        }
        _ => json.skip(),
    })?;
    json.end()?;
    let Some(nodes_at) = nodes else { return json.shape("`nodes` is missing") };
    let Some(samples) = samples else { return json.shape("`samples` is missing") };
    let Some(deltas) = deltas else { return json.shape("`timeDeltas` is missing") };
    let Some(start) = start else { return json.shape("`startTime` is missing") };
    Ok(Parts { nodes_at, samples, deltas, start, end })
}

impl Parts {
    /// The error of nodes that contradict each other.
    pub(super) fn nodes_problem(&self, problem: String) -> ReadError {
        ReadError::Inconsistent { offset: self.nodes_at, problem }
    }

    /// Samples by their time. An error where they contradict the nodes or the deltas.
    pub(super) fn sampled(self, index: &Index) -> Result<Sampled, ReadError> {
        let inconsistent = |offset| move |problem| ReadError::Inconsistent { offset, problem };
        let Self { samples: Part { offset, values: mut samples }, start, end, .. } = self;
        for sample in &mut samples {
            let id = *sample;
            let missing = || format!("a sample names node {id}, which is missing");
            *sample = index.get(id).ok_or_else(missing).map_err(inconsistent(offset))?;
        }
        let Part { offset, values: deltas } = self.deltas;
        if deltas.len() != samples.len() {
            let problem = format!("there are {} samples and {} timeDeltas", samples.len(), deltas.len());
            return Err(inconsistent(offset)(problem));
        }
        let times = times(start, deltas).map_err(inconsistent(offset))?;
        let (samples, times) = in_order(samples, times);
        let end = end.or(times.last().copied()).unwrap_or(start);
        Ok(Sampled { start, samples, times, end })
    }
}

/// An array of integers, of which each must be what `convert` accepts.
fn numbers<Reader: Read, Number>(
    json: &mut Json<Reader>,
    most: u32,
    convert: impl Fn(i64) -> Option<Number>,
) -> Result<Vec<Number>, ReadError> {
    let mut numbers = Vec::new();
    json.array(|json| {
        if numbers.len() >= most as usize {
            return Err(too_large(json, "samples", most));
        }
        match convert(json.integer()?) {
            Some(number) => numbers.push(number),
            None => return json.shape("a number is out of range"),
        }
        Ok(())
    })?;
    Ok(numbers)
}

pub(super) fn too_large<Reader: Read>(
    json: &Json<Reader>,
    of: &'static str,
    limit: impl Into<u64>,
) -> ReadError {
    ReadError::TooLarge { offset: json.offset(), of, limit: limit.into() }
}

pub(super) fn id<Reader: Read>(json: &mut Json<Reader>) -> Result<u32, ReadError> {
    match u32::try_from(json.integer()?) {
        Ok(id) => Ok(id),
        Err(_) => json.shape("the id of a node is out of range"),
    }
}

fn node<Reader: Read>(json: &mut Json<Reader>, draft: &mut Draft, limits: &Limits) -> Result<(), ReadError> {
    let of = u32::try_from(draft.ids.len()).expect("nodes are limited");
    if of >= limits.nodes {
        return Err(too_large(json, "nodes", limits.nodes));
    }
    let (mut own_id, mut frame) = (None, None);
    json.object(|json, key| match &**key {
        b"id" => {
            own_id = Some(id(json)?);
            Ok(())
        }
        b"callFrame" => {
            frame = Some(call_frame(json, draft)?);
            if draft.frames.text_bytes > limits.text {
                return Err(too_large(json, "bytes of names", limits.text));
            }
            Ok(())
        }
        b"children" => json.array(|json| link(json, draft, limits, |id| Link::Child { of, id })),
        b"parent" => link(json, draft, limits, |id| Link::Parent { of, id }),
        _ => json.skip(),
    })?;
    let Some(own_id) = own_id else { return json.shape("a node has no id") };
    let Some(frame) = frame else { return json.shape("a node has no callFrame") };
    draft.ids.push(own_id);
    draft.frame_of.push(draft.frames.frame(frame));
    if draft.frames.distinct.len() > limits.functions as usize {
        return Err(too_large(json, "functions", limits.functions));
    }
    Ok(())
}

fn link<Reader: Read>(
    json: &mut Json<Reader>,
    draft: &mut Draft,
    limits: &Limits,
    link: impl Fn(u32) -> Link,
) -> Result<(), ReadError> {
    // Every node but a root is named by its parent or names it, and may do both.
    if draft.links.len() / 2 >= limits.nodes as usize {
        return Err(too_large(json, "nodes", limits.nodes));
    }
    draft.links.push(link(id(json)?));
    Ok(())
}

fn call_frame<Reader: Read>(json: &mut Json<Reader>, draft: &mut Draft) -> Result<Frame, ReadError> {
    let (mut name, mut url): (Option<Arc<str>>, Option<Arc<str>>) = (None, None);
    let (mut line, mut column) = (None, None);
    let mut native = false;
    json.object(|json, key| {
        match &**key {
            b"functionName" => name = Some(draft.frames.text(&json.text()?)),
            b"url" => url = Some(draft.frames.text(&json.text()?)),
            b"scriptId" => native = &*json.text()? == "0",
            b"lineNumber" => line = from_one(json.integer()?),
            b"columnNumber" => column = from_one(json.integer()?),
            _ => json.skip()?,
        }
        Ok(())
    })?;
    let Some(name) = name else { return json.shape("a callFrame has no functionName") };
    let url = url.unwrap_or_else(|| draft.frames.text(""));
    let anonymous = matches!(&*name, "" | "(anonymous)");
    let kind = match &*name {
        // An app can give a function such a name, but not take its script away.
        "(root)" if native => FrameKind::Root,
        "(idle)" if native => FrameKind::Idle,
        "(program)" if native => FrameKind::Program,
        "(garbage collector)" if native => FrameKind::GarbageCollector,
        NOT_RECORDED if native => FrameKind::NotRecorded,
        _ if native && url.is_empty() => FrameKind::Native,
        // Node compiles a module as one function without a name, which begins where the file does.
        _ if anonymous && (line, column) == (Some(1), Some(1)) && !url.is_empty() => FrameKind::Module,
        _ => FrameKind::Function,
    };
    let name = if anonymous { draft.frames.text("") } else { name };
    Ok(Frame { kind, name, url, line, column })
}

/// Lines and columns are counted from 0 in the format, from 1 by people. V8 says -1 where there is none.
fn from_one(number: i64) -> Option<u32> {
    u32::try_from(number).ok()?.checked_add(1)
}

/// When each sample was taken.
fn times(start: i64, deltas: Vec<i64>) -> Result<Vec<i64>, String> {
    let mut time = start;
    let mut times = deltas;
    for at in &mut times {
        time += *at;
        if time.abs() > LATEST {
            return Err("the sum of timeDeltas is out of range".to_owned());
        }
        *at = time;
    }
    Ok(times)
}

/// Samples by their time. V8 may write them out of order: a delta is then negative.
fn in_order(samples: Vec<u32>, times: Vec<i64>) -> (Vec<u32>, Vec<i64>) {
    if times.is_sorted() {
        return (samples, times);
    }
    let mut pairs: Vec<(i64, u32)> = times.into_iter().zip(samples).collect();
    pairs.sort_by_key(|&(time, _)| time);
    pairs.into_iter().map(|(time, node)| (node, time)).unzip()
}
