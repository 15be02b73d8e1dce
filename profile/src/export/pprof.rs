use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message as _;

use super::{name, running, stack};
use crate::cpu::{CpuProfile, Frame, FrameKind, durations};
use crate::place::file;

/// Messages of pprof's `profile.proto`, as far as they are written.
/// Source: <https://github.com/google/pprof/blob/main/proto/profile.proto>.
mod proto {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Profile {
        #[prost(message, repeated, tag = "1")]
        pub sample_type: Vec<ValueType>,
        #[prost(message, repeated, tag = "2")]
        pub sample: Vec<Sample>,
        #[prost(message, repeated, tag = "4")]
        pub location: Vec<Location>,
        #[prost(message, repeated, tag = "5")]
        pub function: Vec<Function>,
        #[prost(string, repeated, tag = "6")]
        pub string_table: Vec<String>,
        #[prost(int64, tag = "10")]
        pub duration_nanos: i64,
        #[prost(message, optional, tag = "11")]
        pub period_type: Option<ValueType>,
        #[prost(int64, tag = "12")]
        pub period: i64,
        #[prost(int64, tag = "14")]
        pub default_sample_type: i64,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(super) struct ValueType {
        #[prost(int64, tag = "1")]
        pub r#type: i64,
        #[prost(int64, tag = "2")]
        pub unit: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Sample {
        #[prost(uint64, repeated, tag = "1")]
        pub location_id: Vec<u64>,
        #[prost(int64, repeated, tag = "2")]
        pub value: Vec<i64>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Location {
        #[prost(uint64, tag = "1")]
        pub id: u64,
        #[prost(message, repeated, tag = "4")]
        pub line: Vec<Line>,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(super) struct Line {
        #[prost(uint64, tag = "1")]
        pub function_id: u64,
        #[prost(int64, tag = "2")]
        pub line: i64,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(super) struct Function {
        #[prost(uint64, tag = "1")]
        pub id: u64,
        #[prost(int64, tag = "2")]
        pub name: i64,
        #[prost(int64, tag = "3")]
        pub system_name: i64,
        #[prost(int64, tag = "4")]
        pub filename: i64,
        #[prost(int64, tag = "5")]
        pub start_line: i64,
    }
}

/// The texts of a profile by number. The first must be empty.
struct Texts(Vec<String>);

impl Texts {
    fn add(&mut self, text: &str) -> i64 {
        let known = if text.is_empty() { Some(0) } else { None };
        known.unwrap_or_else(|| {
            self.0.push(text.to_owned());
            i64::try_from(self.0.len() - 1).expect("a length")
        })
    }
}

fn unnamed(frame: &Frame, path: &str) -> String {
    let base = path.rsplit('/').next().unwrap_or(path);
    match (frame.kind, frame.line) {
        (FrameKind::Module, _) | (_, None) => format!("{} {base}", name(frame)),
        (_, Some(line)) => format!("{} {base}:{line}", name(frame)),
    }
}

/// Writes pprof's format. A function's line is the one on which it begins, and a file is named by its path, so that
/// `pprof -list` finds it.
pub fn pprof(profile: &CpuProfile, out: impl Write) -> io::Result<()> {
    let mut texts = Texts(vec![String::new()]);
    let [samples, count, wall, nanoseconds] =
        ["samples", "count", "wall", "nanoseconds"].map(|text| texts.add(text));
    let (mut location, mut function) = (Vec::new(), Vec::new());
    for (id, frame) in (1..).zip(&profile.frames) {
        let path = file(&frame.url);
        let name = match &*frame.name {
            // Its tools take functions of one name for one.
            "" if !path.is_empty() => texts.add(&unnamed(frame, &path)),
            _ => texts.add(name(frame)),
        };
        let filename = texts.add(&path);
        let line = frame.line.map_or(0, i64::from);
        function.push(proto::Function { id, name, system_name: name, filename, start_line: line });
        location.push(proto::Location { id, line: vec![proto::Line { function_id: id, line }] });
    }
    let mut spent = vec![(0i64, 0i64); profile.nodes.len()];
    let mut whole = 0;
    for (&node, time) in profile.samples.iter().zip(durations(profile)) {
        let time = i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        let (count, sum) = &mut spent[node as usize];
        *count += 1;
        *sum = sum.saturating_add(time);
        if profile.frames[profile.nodes[node as usize].frame.index()].kind != FrameKind::NotRecorded {
            whole += time;
        }
    }
    let recorded = i64::try_from(profile.samples.len()).expect("a length");
    let sample = (0..)
        .zip(spent)
        .filter(|&(node, (count, _))| count > 0 && running(profile, node).is_some())
        .map(|(node, (count, time))| proto::Sample {
            location_id: stack(profile, node)
                .map(|node| u64::from(profile.nodes[node as usize].frame.0) + 1)
                .collect(),
            value: vec![count, time],
        })
        .collect();
    let wall_time = proto::ValueType { r#type: wall, unit: nanoseconds };
    let message = proto::Profile {
        sample_type: vec![proto::ValueType { r#type: samples, unit: count }, wall_time],
        sample,
        location,
        function,
        string_table: texts.0,
        duration_nanos: whole,
        period_type: Some(wall_time),
        period: whole.checked_div(recorded).unwrap_or(0),
        default_sample_type: wall,
    };
    let mut out = GzEncoder::new(out, Compression::default());
    out.write_all(&message.encode_to_vec())?;
    out.finish()?.flush()
}

/// The time of each frame with what it calls, as pprof's tools sum it.
#[cfg(test)]
pub(super) fn totals(bytes: &[u8], frames: usize) -> Vec<std::time::Duration> {
    use std::collections::BTreeSet;
    use std::io::Read as _;

    let mut message = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut message).expect("gzip");
    let profile = proto::Profile::decode(&*message).expect("a profile");
    let mut totals = vec![std::time::Duration::ZERO; frames];
    for sample in &profile.sample {
        for &id in &sample.location_id.iter().copied().collect::<BTreeSet<u64>>() {
            let location = profile.location.iter().find(|location| location.id == id).expect("a location");
            let function = usize::try_from(location.line[0].function_id - 1).expect("an index");
            totals[function] +=
                std::time::Duration::from_nanos(u64::try_from(sample.value[1]).expect("a time"));
        }
    }
    totals
}
