use std::collections::HashMap;
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use super::{collapsed, pprof, speedscope};
use crate::cpu::{CpuProfile, Frame, FrameId, FrameKind, Node, analyse};

fn frame(kind: FrameKind, name: &str, url: &str, line: u32) -> Frame {
    let line = (line > 0).then_some(line);
    Frame { kind, name: Arc::from(name), url: Arc::from(url), line, column: line.map(|_| 3) }
}

/// A module that calls `a`, which calls `b`; garbage collection, and idle time.
fn handmade() -> CpuProfile {
    let frames = vec![
        frame(FrameKind::Root, "(root)", "", 0),
        frame(FrameKind::Module, "", "file:///app/my%20shop.js", 1),
        frame(FrameKind::Function, "a;b\n", "file:///app/my%20shop.js", 4),
        frame(FrameKind::Function, "", "node:fs", 9),
        frame(FrameKind::GarbageCollector, "(garbage collector)", "", 0),
        frame(FrameKind::Idle, "(idle)", "", 0),
    ];
    let nodes = [(0, None), (1, Some(0)), (2, Some(1)), (3, Some(2)), (4, Some(0)), (5, Some(0))];
    let nodes = nodes.map(|(frame, parent)| Node { frame: FrameId(frame), parent }).to_vec();
    let samples = vec![2, 3, 3, 5, 4, 1, 3];
    CpuProfile { frames, nodes, samples, times: vec![10, 20, 30, 40, 50, 60, 70], end: 75 }
}

fn text(write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> String {
    let mut out = Vec::new();
    write(&mut out).expect("memory takes it");
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn collapsed_stacks_go_from_the_outermost_function_to_the_innermost() {
    assert_eq!(
        text(|out| collapsed(&handmade(), out)),
        "(module) (my shop.js:1) 1\n\
         (module) (my shop.js:1);a:b  (my shop.js:4) 1\n\
         (module) (my shop.js:1);a:b  (my shop.js:4);(anonymous) (node:fs:9) 3\n\
         (garbage collector) 1\n"
    );
}

#[test]
fn speedscope_gets_what_opens_and_closes_when() {
    let document: Value =
        serde_json::from_str(&text(|out| speedscope(&handmade(), "checkout \"1\"", out))).unwrap();
    assert_eq!(document["$schema"], "https://www.speedscope.app/file-format-schema.json");
    assert_eq!(
        document["shared"]["frames"][2],
        json!({ "name": "a;b\n", "file": "file:///app/my%20shop.js", "line": 4, "col": 3 })
    );
    assert_eq!(document["shared"]["frames"][5], json!({ "name": "(idle)" }));
    let profile = &document["profiles"][0];
    for (key, expected) in [
        ("type", json!("evented")),
        ("name", json!("checkout \"1\"")),
        ("unit", json!("microseconds")),
        ("startValue", json!(0)),
        ("endValue", json!(65)),
    ] {
        assert_eq!(profile[key], expected, "{key}");
    }
    let events: Vec<String> = profile["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| format!("{}{}@{}", event["type"].as_str().unwrap(), event["frame"], event["at"]))
        .collect();
    assert_eq!(
        events.join(" "),
        "O1@0 O2@0 O3@10 C3@30 C2@30 C1@30 O4@40 C4@50 O1@50 O2@60 O3@60 C3@65 C2@65 C1@65"
    );
}

/// A profile of random trees, some of which call themselves, and random samples.
fn random(random: &mut fastrand::Rng) -> CpuProfile {
    let kinds = [FrameKind::Root, FrameKind::Idle, FrameKind::NotRecorded, FrameKind::GarbageCollector];
    let mut frames: Vec<Frame> = kinds.iter().map(|&kind| frame(kind, "", "", 0)).collect();
    frames.extend((1..7).map(|line| frame(FrameKind::Function, "f", "file:///app/f.js", line)));
    let count = random.u32(5..40);
    let mut nodes = vec![Node { frame: FrameId(0), parent: None }];
    for leaf in 1..4 {
        nodes.push(Node { frame: FrameId(leaf), parent: Some(0) });
    }
    let mut path = vec![0];
    for node in 4..count {
        // All that is below a node is right behind it.
        path.truncate(random.usize(1..=path.len()));
        nodes.push(Node { frame: FrameId(random.u32(4..10)), parent: path.last().copied() });
        path.push(node);
    }
    let samples: Vec<u32> = (0..random.usize(0..60)).map(|_| random.u32(0..count)).collect();
    let mut time = random.i64(-1000..1000);
    let times: Vec<i64> = samples
        .iter()
        .map(|_| {
            time += random.i64(0..50);
            time
        })
        .collect();
    CpuProfile { frames, nodes, samples, end: time, times }
}

#[test]
fn the_time_of_a_function_is_the_same_in_every_format() {
    let mut rng = fastrand::Rng::with_seed(11);
    for _ in 0..500 {
        let profile = random(&mut rng);
        let analysis = analyse(&profile);
        let expected = |frame: usize| match profile.frames[frame].kind {
            FrameKind::Function | FrameKind::GarbageCollector => analysis.frames[frame].total_time,
            _ => Duration::ZERO,
        };

        // Events: how long each function was open at least once.
        let document: Value = serde_json::from_str(&text(|out| speedscope(&profile, "", out))).unwrap();
        let mut open: Vec<usize> = Vec::new();
        let mut since: HashMap<usize, u64> = HashMap::new();
        let mut total: HashMap<usize, u64> = HashMap::new();
        let mut last = 0;
        for event in document["profiles"][0]["events"].as_array().unwrap() {
            let frame = usize::try_from(event["frame"].as_u64().unwrap()).unwrap();
            let at = event["at"].as_u64().unwrap();
            assert!(at >= last, "events are in the order of time");
            last = at;
            if event["type"] == "O" {
                if !open.contains(&frame) {
                    since.insert(frame, at);
                }
                open.push(frame);
            } else {
                assert_eq!(open.pop(), Some(frame), "what opened last closes first");
                if !open.contains(&frame) {
                    *total.entry(frame).or_default() += at - since[&frame];
                }
            }
        }
        assert!(open.is_empty(), "all is closed at the end");
        for frame in 0..profile.frames.len() {
            let micros = total.get(&frame).copied().unwrap_or(0);
            assert_eq!(Duration::from_micros(micros), expected(frame), "{frame} of {profile:?}");
        }

        let mut bytes = Vec::new();
        pprof(&profile, &mut bytes).unwrap();
        let sum = super::pprof::totals(&bytes, profile.frames.len());
        for (frame, sum) in sum.into_iter().enumerate() {
            assert_eq!(sum, expected(frame), "{frame} of {profile:?}");
        }
    }
}

#[test]
fn pprof_is_compressed_as_its_tools_expect() {
    let mut bytes = Vec::new();
    pprof(&handmade(), &mut bytes).unwrap();
    let mut message = Vec::new();
    GzDecoder::new(&*bytes).read_to_end(&mut message).unwrap();
    let said = String::from_utf8_lossy(&message);
    for text in [
        "/app/my shop.js",
        "(garbage collector)",
        "nanoseconds",
        "a;b\n",
        "(module) my shop.js",
        "(anonymous) node:fs:9",
    ] {
        assert!(said.contains(text), "{text}");
    }
}
