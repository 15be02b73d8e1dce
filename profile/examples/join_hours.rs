//! Measures the join of a long recording of a synthetic app: `join_hours MINUTES INTERVAL_US NODES CHUNK_SECONDS FILE`.
//! Without arguments: 8 hours at 10 ms of 20,000 nodes, in chunks of half a minute.
#![allow(clippy::unwrap_used, reason = "a program for engineers")]

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::time::{Duration, Instant};

use pitwall_profile::cpu::{JoinLimits, Joiner};

/// Samples that two chunks share.
const OVERLAP: usize = 3;

/// A call tree: each node's caller and function.
struct App {
    parents: Vec<usize>,
    functions: Vec<usize>,
}

impl App {
    fn new(nodes: usize, random: &mut fastrand::Rng) -> Self {
        let mut parents: Vec<usize> = vec![0];
        let mut depths: Vec<usize> = vec![0];
        while parents.len() < nodes {
            let from = parents.len().saturating_sub(300);
            let parent = if random.u8(..4) == 0 {
                random.usize(..parents.len())
            } else {
                random.usize(from..parents.len())
            };
            if depths[parent] < 60 {
                parents.push(parent);
                depths.push(depths[parent] + 1);
            }
        }
        let functions = parents.iter().map(|_| random.usize(..nodes / 5)).collect();
        Self { parents, functions }
    }

    /// Writes a chunk as V8 does: the nodes of these samples and their callers.
    fn write(&self, out: &mut impl Write, samples: &[(i64, usize)]) -> io::Result<()> {
        let mut hits = vec![0u32; self.parents.len()];
        let mut ids = vec![0; self.parents.len()];
        let mut nodes = Vec::new();
        for &(_, sample) in samples {
            hits[sample] += 1;
            let (mut node, mut path) = (sample, Vec::new());
            while ids[node] == 0 && !path.contains(&node) {
                path.push(node);
                node = self.parents[node];
            }
            for &node in path.iter().rev() {
                nodes.push(node);
                ids[node] = nodes.len();
            }
        }
        let mut children = vec![Vec::new(); self.parents.len()];
        for &node in nodes.iter().filter(|&&node| node != 0) {
            children[self.parents[node]].push(ids[node]);
        }
        write!(out, "{{\"nodes\":[")?;
        for (at, &node) in nodes.iter().enumerate() {
            let function = self.functions[node];
            let comma = if at == 0 { "" } else { "," };
            write!(
                out,
                r#"{comma}{{"id":{},"callFrame":{{"functionName":"handleRequest{function}","scriptId":"{}","url":"file:///srv/app/node_modules/package{}/lib/file{}.js","lineNumber":{},"columnNumber":{}}},"hitCount":{},"children":{:?}"#,
                at + 1,
                function / 20,
                function / 100,
                function / 20,
                function * 7 % 2000,
                function % 40,
                hits[node],
                children[node],
            )?;
            if hits[node] > 0 {
                let line = function * 7 % 2000 + hits[node] as usize % 4;
                write!(out, r#","positionTicks":[{{"line":{line},"ticks":{}}}]"#, hits[node])?;
            }
            write!(out, "}}")?;
        }
        let start = samples[0].0 - 2000;
        let end = samples[samples.len() - 1].0 + 100;
        write!(out, "],\"startTime\":{start},\"endTime\":{end},\"samples\":[")?;
        for (at, &(_, node)) in samples.iter().enumerate() {
            write!(out, "{}{}", if at == 0 { "" } else { "," }, ids[node])?;
        }
        write!(out, "],\"timeDeltas\":[")?;
        let mut before = start;
        for (at, &(time, _)) in samples.iter().enumerate() {
            write!(out, "{}{}", if at == 0 { "" } else { "," }, time - std::mem::replace(&mut before, time))?;
        }
        write!(out, "]}}")
    }
}

fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let lines = status.lines().filter(|line| line.starts_with("VmHWM") || line.starts_with("VmRSS"));
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join(", ")
}

#[expect(clippy::disallowed_methods, reason = "it measures")]
fn timed<T>(total: &mut Duration, of: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = of();
    *total += start.elapsed();
    result
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| arguments.get(at).map_or(default, |text| text.parse().unwrap());
    let (minutes, interval, nodes, seconds) =
        (number(0, 480), number(1, 10_000), number(2, 20_000), number(3, 30));
    let mut random = fastrand::Rng::with_seed(1);
    let app = App::new(nodes, &mut random);
    let mut spool = tempfile::tempfile().unwrap();
    let step = i64::try_from(interval).unwrap();
    let mut joiner = Joiner::new(
        tempfile::tempfile().unwrap(),
        Duration::from_micros(interval as u64),
        JoinLimits::default(),
    );
    println!("before: {}", memory());
    let (mut adding, mut finishing) = (Duration::ZERO, Duration::ZERO);
    let (mut bytes, mut at, mut samples) = (0, 1_000_000, Vec::new());
    for _ in 0..minutes * 60 / seconds {
        // Most samples are of few functions, as in a real app.
        samples.drain(..samples.len().saturating_sub(OVERLAP));
        samples.extend((0..seconds * 1_000_000 / interval).map(|_| {
            at += step + random.i64(0..step / 10);
            let skewed = random.f64().powi(3) * nodes as f64;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below the nodes")]
            (at, skewed as usize)
        }));
        spool.set_len(0).unwrap();
        spool.seek(SeekFrom::Start(0)).unwrap();
        let mut out = BufWriter::new(&spool);
        app.write(&mut out, &samples).unwrap();
        out.flush().unwrap();
        drop(out);
        bytes += spool.stream_position().unwrap();
        spool.seek(SeekFrom::Start(0)).unwrap();
        timed(&mut adding, || joiner.add(&spool)).unwrap();
    }
    println!("{bytes} bytes of chunks added in {adding:?}: {}", memory());
    let out: Box<dyn Write> = match arguments.get(4) {
        Some(path) => Box::new(File::create(path).unwrap()),
        None => Box::new(io::sink()),
    };
    let summary = timed(&mut finishing, || joiner.finish(out, 2_000_000)).unwrap();
    println!("{summary:?}");
    println!("finished in {finishing:?}: {}", memory());
}
