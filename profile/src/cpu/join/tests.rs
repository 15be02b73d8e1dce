//! Handmade chunks.

use std::collections::BTreeMap;
use std::io::{Cursor, SeekFrom};

use serde_json::Value;

use super::*;
use crate::tree::NOT_RECORDED;

/// When a sample was taken, and the functions on its stack, as `a b c`.
type Taken = (i64, &'static str);

/// A chunk of these samples as V8 writes it, in this order. Each sample has a tick on the line that is the last digit
/// of its time.
fn chunk(start: i64, end: i64, taken: &[Taken]) -> String {
    numbered_chunk(start, end, taken, 1)
}

/// Its node ids count from `first_id`.
fn numbered_chunk(start: i64, end: i64, taken: &[Taken], first_id: usize) -> String {
    let mut paths = vec![String::new()];
    for (_, stack) in taken {
        for (at, _) in stack.match_indices(' ').chain([(stack.len(), "")]) {
            if !stack.is_empty() && !paths.iter().any(|path| *path == stack[..at]) {
                paths.push(stack[..at].to_owned());
            }
        }
    }
    let id = |path: &str| paths.iter().position(|known| known == path).unwrap() + first_id;
    let node = |path: &String| {
        let name = path.rsplit(' ').next().unwrap();
        let (name, script, url, line) =
            if path.is_empty() { ("(root)", 0, "", -1) } else { (name, 7, "file:///app/a.js", 3) };
        let children: Vec<usize> = paths
            .iter()
            .filter(|child| {
                child.rsplit_once(' ').map_or(!child.is_empty() && path.is_empty(), |(up, _)| up == path)
            })
            .map(|child| id(child))
            .collect();
        let own: Vec<i64> =
            taken.iter().filter(|(_, stack)| stack == path).map(|(at, _)| at.rem_euclid(10)).collect();
        let ticks: Vec<String> = (0..10)
            .map(|line| (line, own.iter().filter(|&&own| own == line).count()))
            .filter(|&(_, ticks)| ticks > 0)
            .map(|(line, ticks)| format!(r#"{{"line":{line},"ticks":{ticks}}}"#))
            .collect();
        format!(
            r#"{{"id":{},"callFrame":{{"functionName":"{name}","scriptId":"{script}","url":"{url}","lineNumber":{line},"columnNumber":{line}}},"hitCount":{},"children":{children:?},"positionTicks":[{}]}}"#,
            id(path),
            own.len(),
            ticks.join(","),
        )
    };
    let nodes: Vec<String> = paths.iter().map(node).collect();
    let samples: Vec<usize> = taken.iter().map(|(_, stack)| id(stack)).collect();
    let mut before = start;
    let deltas: Vec<i64> = taken.iter().map(|(at, _)| at - std::mem::replace(&mut before, *at)).collect();
    format!(
        r#"{{"nodes":[{}],"startTime":{start},"endTime":{end},"samples":{samples:?},"timeDeltas":{deltas:?}}}"#,
        nodes.join(",")
    )
}

/// What a profile says of a path: microseconds itself, `hitCount`, and ticks of lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Said {
    micros: i64,
    hits: u64,
    ticks: BTreeMap<u64, u64>,
}

/// Reads a profile with another parser, and checks its shape.
fn said(json: &[u8]) -> BTreeMap<String, Said> {
    let profile: Value = serde_json::from_slice(json).unwrap();
    let nodes = profile["nodes"].as_array().unwrap();
    let mut paths: BTreeMap<u64, String> = BTreeMap::new();
    let mut said: BTreeMap<String, Said> = BTreeMap::new();
    for node in nodes {
        let id = node["id"].as_u64().unwrap();
        let path = paths.entry(id).or_default().clone();
        for child in node["children"].as_array().into_iter().flatten() {
            let child = child.as_u64().unwrap();
            assert!(child > id || !json.starts_with(b"{\"nodes\":[{\"id\":1,"), "after its parent");
            let name =
                nodes.iter().find(|node| node["id"] == child).unwrap()["callFrame"]["functionName"].as_str();
            let name = name.unwrap();
            let below = if path.is_empty() { name.to_owned() } else { format!("{path} {name}") };
            assert!(paths.insert(child, below).is_none(), "one caller");
        }
        let ticks = node["positionTicks"].as_array().into_iter().flatten();
        let own = Said {
            micros: 0,
            hits: node["hitCount"].as_u64().unwrap(),
            ticks: ticks
                .map(|line| (line["line"].as_u64().unwrap(), line["ticks"].as_u64().unwrap()))
                .collect(),
        };
        assert!(said.insert(path.clone(), own).is_none(), "{path:?} is there twice");
    }
    assert_eq!(paths.len(), nodes.len(), "all below the root");
    let numbers = |name: &str| -> Vec<i64> {
        profile[name].as_array().unwrap().iter().map(|number| number.as_i64().unwrap()).collect()
    };
    let (samples, deltas) = (numbers("samples"), numbers("timeDeltas"));
    assert_eq!(samples.len(), deltas.len());
    let total: i64 = deltas.iter().sum();
    let last = profile["endTime"].as_i64().unwrap() - profile["startTime"].as_i64().unwrap() - total;
    for (sample, lasts) in samples.iter().zip(deltas[1..].iter().copied().chain([last])) {
        let path = &paths[&u64::try_from(*sample).unwrap()];
        said.get_mut(path).unwrap().micros += lasts;
    }
    said
}

fn joiner(limits: JoinLimits) -> Joiner<Cursor<Vec<u8>>> {
    Joiner::new(Cursor::default(), Duration::from_micros(1000), limits)
}

fn finish<File: Read + Write + Seek>(joiner: Joiner<File>) -> (Vec<u8>, Joined) {
    let mut out = Vec::new();
    let summary = joiner.finish(&mut out, u64::MAX).unwrap();
    let profile = crate::cpu::read(&out[..], &crate::cpu::Limits::default()).unwrap();
    assert_eq!(profile.samples.len() as u64, summary.written);
    assert_eq!(profile.nodes.len(), summary.nodes as usize);
    (out, summary)
}

fn joined(chunks: &[String]) -> (Vec<u8>, Joined) {
    let mut joiner = joiner(JoinLimits::default());
    for chunk in chunks {
        joiner.add(chunk.as_bytes()).unwrap();
    }
    finish(joiner)
}

/// `path micros/hits/lines` of each path that has any.
fn lines(json: &[u8]) -> Vec<String> {
    said(json)
        .into_iter()
        .filter(|(_, said)| *said != Said::default())
        .map(|(path, Said { micros, hits, ticks })| {
            let ticks: Vec<String> = ticks.iter().map(|(line, ticks)| format!("{line}:{ticks}")).collect();
            format!("{path} {micros}/{hits}/{}", ticks.join(","))
        })
        .collect()
}

#[test]
fn the_profile_has_the_shape_of_v8() {
    let one = r#"{"nodes":[
        {"id":1,"callFrame":{"functionName":"(root)","scriptId":"0","url":"","lineNumber":-1,"columnNumber":-1},"hitCount":0,"children":[2,4]},
        {"id":2,"callFrame":{"functionName":"a\ud800 \"é\"","scriptId":"81","url":"file:///a\u0041.js","lineNumber":3,"columnNumber":7},"hitCount":2,"children":[3],"positionTicks":[{"line":5,"ticks":2}]},
        {"id":3,"callFrame":{"functionName":"","scriptId":"81","url":"file:///a\u0041.js","lineNumber":30,"columnNumber":0},"hitCount":1,"deoptReason":"out of bounds","positionTicks":[{"line":7,"ticks":1},{"line":6,"ticks":1}]},
        {"id":4,"callFrame":{"functionName":"never","scriptId":"82","url":"","lineNumber":3,"columnNumber":7},"hitCount":0}
        ],"startTime":1000,"endTime":5000,"samples":[2,3,2],"timeDeltas":[900,1000,1000]}"#;
    let two = one.replace("1000,\"end", "4400,\"end").replace("5000", "8400").replace("out of", "other");
    let (out, summary) = joined(&[one.to_owned(), two]);
    let expected = r#"{"nodes":[{"id":1,"callFrame":{"functionName":"(root)","scriptId":"0","url":"","lineNumber":-1,"columnNumber":-1},"hitCount":0,"children":[2]},{"id":2,"callFrame":{"functionName":"a\ud800 \"é\"","scriptId":"81","url":"file:///a\u0041.js","lineNumber":3,"columnNumber":7},"hitCount":4,"children":[3],"positionTicks":[{"line":5,"ticks":4}]},{"id":3,"callFrame":{"functionName":"","scriptId":"81","url":"file:///a\u0041.js","lineNumber":30,"columnNumber":0},"hitCount":2,"deoptReason":"out of bounds","positionTicks":[{"line":6,"ticks":2},{"line":7,"ticks":2}]}],"startTime":1000,"endTime":8400,"samples":[2,3,2,2,3,2],"timeDeltas":[900,1000,1000,1400,1000,1000]}"#;
    assert_eq!(String::from_utf8(out).unwrap(), expected);
    assert_eq!(
        summary,
        Joined {
            chunks: 2,
            samples: 6,
            written: 6,
            thinned: 1.0,
            nodes: 3,
            dropped: 0,
            folded: 0,
            ticks_left_out: 0,
            start: 1000,
            end: 8400,
            gaps: Gaps::default(),
            interval: Duration::from_nanos(1_233_333),
        }
    );
}

#[test]
fn no_time_counts_twice() {
    let mut joiner = joiner(JoinLimits::default());
    let one = chunk(0, 5500, &[(1000, "a"), (2000, "a b"), (3001, "a b"), (4002, "a"), (5003, "a b")]);
    // Three of the four samples of `a b` are dropped, and all of `a d`.
    let two = numbered_chunk(
        3500,
        9000,
        &[(3515, "a d"), (4002, "a b"), (4502, "a b"), (5003, "a b"), (6004, "a b"), (7000, "c")],
        40,
    );
    let within = chunk(5000, 6500, &[(5003, "a b"), (6004, "a b")]);
    let added = joiner.add(one.as_bytes()).unwrap();
    assert_eq!((added.samples, added.dropped, added.start, added.end), (5, 0, 0, 5500));
    assert_eq!(added.interval, Some(Duration::from_nanos(1_000_750)));
    let added = joiner.add(two.as_bytes()).unwrap();
    assert_eq!((added.samples, added.dropped, added.start, added.end), (2, 4, 5500, 9000));
    let added = joiner.add(within.as_bytes()).unwrap();
    assert_eq!((added.samples, added.dropped, added.start, added.end), (0, 2, 9000, 9000));
    let (out, summary) = finish(joiner);
    assert_eq!(
        lines(&out),
        ["a 2001/2/0:1,2:1", "a b 3999/4/0:1,1:1,2:1,3:1", "c 2000/1/0:1"].map(str::to_owned),
        "one of four ticks is kept, on the line that has two of them"
    );
    assert_eq!((summary.chunks, summary.samples, summary.dropped), (2, 7, 6));
    assert!(!String::from_utf8(out).unwrap().contains("\"d\""), "only paths of kept samples");
}

#[test]
fn the_stall_of_the_start_is_no_functions_time() {
    for (start, first, expected_start) in [
        // The interval is 1,000.
        (0, 1_482_000, 1_481_000),
        (0, 1001, 1),
        (0, 1000, 0),
        (0, 17, 0),
        (5000, 5000, 5000),
        // Its first sample seems to come before its start.
        (5000, 4990, 4990),
    ] {
        let taken = [(first, "a"), (first + 1000, "b"), (first + 2000, "a")];
        let (out, summary) = joined(&[chunk(start, first + 3000, &taken)]);
        assert_eq!((summary.start, summary.end), (expected_start, first + 3000), "{start} {first}");
        let said = said(&out);
        assert_eq!((said["a"].micros, said["b"].micros), (2000, 1000), "{start} {first}");
    }
}

#[test]
fn samples_out_of_order_are_put_in_order() {
    let one = chunk(0, 4000, &[(2000, "a"), (1000, "b"), (3000, "c"), (3000, "d"), (2500, "e")]);
    let two = chunk(3500, 6000, &[(5000, "b"), (3000, "a"), (4000, "c")]);
    let (out, _) = joined(&[one, two]);
    let profile: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(profile["timeDeltas"], serde_json::json!([1000, 1000, 500, 500, 0, 1000, 1000]));
    let micros: Vec<i64> = said(&out).values().map(|said| said.micros).collect();
    assert_eq!(micros, [0, 500, 2000, 1000, 1000, 500], "the root, a, b, c, d, e");
}

#[test]
fn time_that_no_chunk_covers_is_no_functions_time() {
    let one = chunk(0, 3000, &[(1000, "a"), (2000, "a")]);
    for (first, is_gap) in [(13_000, false), (13_001, true), (3_000_000, true)] {
        let mut joiner = joiner(JoinLimits::default());
        assert_eq!(joiner.add(one.as_bytes()).unwrap().gap, None);
        let two = chunk(first - 10, first + 2000, &[(first, "b"), (first + 1000, "b")]);
        let added = joiner.add(two.as_bytes()).unwrap();
        let length = u64::try_from(first).unwrap() - 3000;
        let gap = is_gap.then(|| Gap { start: 3000, length: Duration::from_micros(length) });
        assert_eq!(added.gap, gap);
        assert_eq!((added.start, added.end), (if is_gap { first } else { 3000 }, first + 2000));
        let (out, summary) = finish(joiner);
        assert_eq!(summary.gaps.first, gap.into_iter().collect::<Vec<_>>());
        assert_eq!((summary.samples, summary.written), (4, 4 + u64::from(is_gap)));
        let said = said(&out);
        assert_eq!(said["b"].micros, 2000);
        if is_gap {
            assert_eq!(said["a"].micros, 2000);
            let not_recorded = &said[NOT_RECORDED];
            assert_eq!(not_recorded.micros, first - 3000);
            assert_eq!(summary.interval, Duration::from_micros(1250));
            assert_eq!(not_recorded.hits, length / 1250, "as many samples as there would have been");
            let analysis =
                crate::cpu::analyse(&crate::cpu::read(&out[..], &crate::cpu::Limits::default()).unwrap());
            assert_eq!(analysis.duration, Duration::from_micros(4000));
            assert_eq!((analysis.samples, analysis.busy_samples), (4, 4));
            assert_eq!(analysis.sampling_interval, Some(Duration::from_micros(1000)));
        } else {
            assert_eq!(said["a"].micros, 12_000);
            assert!(!said.contains_key(NOT_RECORDED));
        }
    }
    let many: Vec<String> =
        (0..150).map(|at| chunk(at * 100_000, at * 100_000 + 1000, &[(at * 100_000, "a")])).collect();
    let (_, summary) = joined(&many);
    assert_eq!((summary.gaps.first.len(), summary.gaps.count), (100, 149));
    assert_eq!(summary.gaps.total, Duration::from_micros(149 * 99_000));
    assert_eq!(summary.interval, Duration::from_micros(1000));
}

/// All samples of a synthetic app, in order of time.
fn synthetic(random: &mut fastrand::Rng, count: usize) -> Vec<Taken> {
    const STACKS: [&str; 12] = [
        "",
        "a",
        "a b",
        "a b c",
        "a c",
        "a c a",
        "(idle)",
        "(program)",
        "a b c d e f",
        "b",
        "b a",
        "c c c c",
    ];
    let mut at = 1_000_000;
    (0..count)
        .map(|_| {
            at += random.i64(1..2500);
            (at, STACKS[random.usize(..STACKS.len())])
        })
        .collect()
}

#[test]
fn a_profile_that_was_cut_into_chunks_is_joined_to_itself() {
    let mut random = fastrand::Rng::with_seed(17);
    for _ in 0..60 {
        let count = random.usize(20..400);
        let all = synthetic(&mut random, count);
        let (start, end) = (all[0].0 - random.i64(0..=1000), all[count - 1].0 + random.i64(0..900));
        let mut chunks = Vec::new();
        let (mut from, mut to) = (0, 0);
        while to < count {
            to = count.min(to + random.usize(1..80));
            let mut taken = all[from..to].to_vec();
            // As V8 does now and then.
            if taken.len() > 3 && random.bool() {
                let at = random.usize(1..taken.len() - 1);
                taken.swap(at, at + 1);
            }
            let begin = if from == 0 { start } else { all[from].0 - random.i64(0..30) };
            let stop = if to == count { end } else { all[to - 1].0 + random.i64(0..30) };
            chunks.push(numbered_chunk(begin, stop, &taken, random.usize(1..50)));
            from = random.usize(to.saturating_sub(10)..=to);
        }
        let (out, summary) = joined(&chunks);
        let (mut joined_said, mut whole) = (said(&out), said(chunk(start, end, &all).as_bytes()));
        // Which ticks were those of dropped samples isn't known, but how many.
        for said in joined_said.values_mut().chain(whole.values_mut()) {
            said.ticks = BTreeMap::from([(0, said.ticks.values().sum())]);
        }
        joined_said.entry(String::new()).or_default();
        assert_eq!(joined_said, whole);
        assert_eq!((summary.start, summary.end, summary.samples), (start, end, count as u64));
        assert_eq!(summary.gaps.count, 0);
    }
}

#[test]
fn samples_are_thinned_so_that_time_keeps_its_shares() {
    let mut random = fastrand::Rng::with_seed(23);
    let all = synthetic(&mut random, 6000);
    let (start, end) = (all[0].0 - 500, all[5999].0 + 400);
    let add = || {
        let mut joiner = joiner(JoinLimits::default());
        joiner.add(chunk(start, end, &all).as_bytes()).unwrap();
        let late = end + 5_000_000;
        joiner.add(chunk(late - 10, late + 100, &[(late, "late")]).as_bytes()).unwrap();
        joiner
    };
    let (whole, _) = finish(add());
    let whole = said(&whole);
    for (most, written) in
        [(u64::MAX, 6002), (6002, 6002), (6001, 6001), (4000, 4000), (601, 601), (1, 1), (0, 1)]
    {
        let mut out = Vec::new();
        let summary = add().finish(&mut out, most).unwrap();
        assert_eq!((summary.samples, summary.written), (6001, written));
        assert!((summary.thinned - 6002.0 / written as f64).abs() < 1e-9);
        let thinned = said(&out);
        let sum = |said: &BTreeMap<String, Said>| said.values().map(|said| said.micros).sum::<i64>();
        assert!(sum(&whole) - sum(&thinned) == 0, "{most}");
        for (path, said) in &thinned {
            assert_eq!(said.hits, whole[path].hits, "all samples count");
            let off = (said.micros - whole[path].micros).abs();
            let bound = match written {
                6002 => 0,
                // Chance.
                600.. => 150_000,
                _ => continue,
            };
            assert!(off <= bound, "{path}: {off} us at {most}");
        }
        if written > 1 {
            assert!(thinned[NOT_RECORDED].micros >= 4_990_000, "a gap stays one");
        }
    }
}

#[test]
fn what_passes_a_limit_is_folded_and_keeps_its_self_time() {
    let names: Vec<String> = (0..40).map(|number| format!("f{number}")).collect();
    let stacks: Vec<&'static str> = names
        .iter()
        .flat_map(|name| ["", "x ", "y "].map(|below| &*format!("{below}{name}").leak()))
        .collect();
    let taken: Vec<Taken> = (1..).map(|number| number * 1000).zip(stacks).collect();
    let one = chunk(0, 121_000, &taken);
    let two =
        chunk(120_500, 241_000, &taken.iter().map(|(at, stack)| (at + 120_000, *stack)).collect::<Vec<_>>());
    let by_function = |out: &[u8]| {
        let mut times: BTreeMap<String, i64> = BTreeMap::new();
        for (path, said) in self::said(out) {
            assert_eq!(said.hits * 1000, u64::try_from(said.micros).unwrap(), "{path}");
            *times.entry(path.rsplit(' ').next().unwrap().to_owned()).or_default() += said.micros;
        }
        times.retain(|_, time| *time > 0);
        times
    };
    let base = JoinLimits::default();
    for (limits, functions_known) in [
        (base, true),
        // 70 paths, and 10 nodes for the functions of the others, so most of them are lost.
        (JoinLimits { nodes: 80, ..base }, false),
        // 112 paths, and the functions of the rest.
        (JoinLimits { nodes: 128, ..base }, true),
        (JoinLimits { nodes: 0, ..base }, false),
        (JoinLimits { functions: 20, ..base }, false),
        (JoinLimits { text: 60, ..base }, false),
        (JoinLimits { text: 0, ..base }, false),
    ] {
        let mut joiner = joiner(limits);
        let mut folded = 0;
        for chunk in [&one, &two] {
            folded += joiner.add(chunk.as_bytes()).unwrap().folded;
        }
        let (out, summary) = finish(joiner);
        assert_eq!((summary.samples, summary.folded), (240, folded), "{limits:?}");
        assert!(summary.nodes <= limits.nodes.max(16) + 2, "{limits:?}");
        let times = by_function(&out);
        assert_eq!(times.values().sum::<i64>(), 240_000);
        assert_eq!(folded > 0, limits != base, "{limits:?}");
        if functions_known {
            assert_eq!(times.len(), 40, "{limits:?}");
            assert!(times.values().all(|&time| time == 6000), "{limits:?}");
        } else {
            assert!(times["(folded)"] > 6000, "{limits:?}");
        }
    }
    let mut joiner = joiner(JoinLimits { lines: 7, ..base });
    joiner.add(one.as_bytes()).unwrap();
    assert_eq!(finish(joiner).1.ticks_left_out, 113);
}

#[test]
fn a_chunk_beyond_its_limits_is_left_out() {
    let good = chunk(0, 3000, &[(1000, "a"), (2000, "a b")]);
    let large = chunk(2500, 9000, &[(3000, "n"), (4000, "n o"), (5000, "n o p"), (6000, "n o p q")]);
    let last = chunk(8500, 11_000, &[(9500, "a")]);
    let base = JoinLimits::default();
    for (limits, problem) in [
        (JoinLimits { chunk_bytes: 800, ..base }, "more than 800 bytes"),
        (JoinLimits { chunk_nodes: 4, ..base }, "more than 4 nodes"),
        (JoinLimits { chunk_samples: 3, ..base }, "more than 3 lines"),
        (JoinLimits { samples: 6, ..base }, "more than 6 samples"),
    ] {
        let mut joiner = joiner(limits);
        joiner.add(good.as_bytes()).unwrap();
        let error = joiner.add(large.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
        joiner.add(last.as_bytes()).unwrap();
        assert_eq!(finish(joiner).0, joined(&[good.clone(), last.clone()]).0);
    }
}

#[test]
fn a_damaged_chunk_leaves_no_trace() {
    let good = [
        chunk(0, 3000, &[(1000, "a"), (2000, "a b")]),
        chunk(2500, 9000, &[(3000, "c"), (4000, "a c"), (5000, "a b"), (6000, "a")]),
    ];
    let expected = joined(&good).0;
    let damaged = chunk(2500, 9000, &[(3000, "new a"), (4000, "new b"), (5000, "a b"), (5500, "é new")]);
    let mut joiner = joiner(JoinLimits::default());
    joiner.add(good[0].as_bytes()).unwrap();
    for cut in 0..damaged.len() {
        match joiner.add(&damaged.as_bytes()[..cut]) {
            Err(JoinError::Chunk(ReadError::CutOff { offset })) => assert_eq!(offset, cut as u64),
            other => panic!("{other:?} cut at {cut}"),
        }
    }
    for (from, to, problem) in [
        ("\"samples\":[3", "\"samples\":[99", "node 99, which is missing"),
        ("\"children\":[2", "\"children\":[99", "node 99, which is missing"),
        ("\"children\":[2", "\"children\":[1", "its own caller"),
        ("\"id\":3", "\"id\":2", "two nodes have the id 2"),
        ("\"timeDeltas\":[500,", "\"timeDeltas\":[", "4 samples and 3 timeDeltas"),
        ("\"timeDeltas\"", "\"deltas\"", "`timeDeltas` is missing"),
        ("\"startTime\"", "\"start\"", "`startTime` is missing"),
        ("\"lineNumber\":3", "\"lineNumber\":3000000000", "out of range"),
        ("\"ticks\":1", "\"ticks\":-1", "out of range"),
        ("\"functionName\"", "\"name\"", "no functionName"),
        ("\"scriptId\":\"0\"", "\"scriptId\":0", "a string is expected"),
        ("{\"nodes\"", "\"nodes\"", "an object is expected"),
        ("\"startTime\":2500", "\"startTime\":9007199254740992", "too large"),
    ] {
        let chunk = damaged.replacen(from, to, 1);
        assert_ne!(chunk, damaged, "{from}");
        let error = joiner.add(chunk.as_bytes()).unwrap_err().to_string();
        assert!(
            error.starts_with("a chunk of the recording is left out: ") && error.contains(problem),
            "{error}"
        );
    }
    assert_eq!(joiner.add(chunk(2500, 2600, &[]).as_bytes()).unwrap().samples, 0);
    joiner.add(good[1].as_bytes()).unwrap();
    let (out, summary) = finish(joiner);
    assert_eq!(String::from_utf8(out).unwrap(), String::from_utf8(expected).unwrap());
    assert_eq!(summary.chunks, 2);
}

#[test]
fn hostile_chunks_end_in_an_error_or_in_a_profile() {
    let mut random = fastrand::Rng::with_seed(29);
    let taken = synthetic(&mut random, 30);
    let original = chunk(999_000, 1_100_000, &taken);
    let (mut refused, mut kept) = (0, 0);
    for _ in 0..400 {
        let mut joiner = joiner(JoinLimits { nodes: 20, functions: 16, lines: 10, ..JoinLimits::default() });
        for _ in 0..3 {
            let mut damaged = original.clone().into_bytes();
            for _ in 0..random.usize(0..4) {
                let at = random.usize(..damaged.len());
                damaged[at] = *random.choice(b"0123456789-.e\"\\{}[],: \xff\x01a").unwrap();
            }
            match joiner.add(&damaged[..]) {
                Ok(_) => kept += 1,
                Err(_) => refused += 1,
            }
        }
        let mut out = Vec::new();
        match joiner.finish(&mut out, 1000) {
            Ok(_) => {
                crate::cpu::read(&out[..], &crate::cpu::Limits::default()).unwrap();
            }
            Err(error) => assert!(matches!(error, JoinError::Empty), "{error}"),
        }
    }
    assert!(refused > 200 && kept > 200, "{refused} refused, {kept} kept");
    let extremes = [
        r#"{"nodes":[{"id":1,"callFrame":{"functionName":"x"}}],"startTime":-2251799813685240,"endTime":2251799813685240,"samples":[1,1],"timeDeltas":[0,4503599627370480]}"#,
        r#"{"nodes":[{"id":4294967295,"callFrame":{"functionName":"x"}},{"id":0,"callFrame":{"functionName":"x"}}],"startTime":5,"endTime":-9,"samples":[0],"timeDeltas":[2251799813685240]}"#,
    ];
    for extreme in extremes {
        let (out, _) = joined(&[original.clone(), extreme.to_owned(), original.clone()]);
        assert!(said(&out).contains_key("x"));
        let (out, _) = joined(&[extreme.to_owned(), original.clone(), extreme.to_owned()]);
        assert!(said(&out).contains_key("x"));
        let mut joiner = joiner(JoinLimits::default());
        let error = joiner.add(extreme.replace("813685240", "813685249").as_bytes()).unwrap_err();
        assert!(error.to_string().contains("times are out of range"), "{error}");
    }
}

#[test]
fn without_samples_there_is_nothing_to_write() {
    let mut joiner = joiner(JoinLimits::default());
    joiner.add(chunk(0, 10, &[]).as_bytes()).unwrap();
    assert!(matches!(joiner.finish(Vec::new(), 10), Err(JoinError::Empty)));
}

/// A file that fails at each write while it is full, after it took some of the bytes.
struct Full(Cursor<Vec<u8>>, std::rc::Rc<std::cell::Cell<bool>>);

impl Read for Full {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.1.get() {
            self.0.write_all(&bytes[..bytes.len() / 2])?;
            return Err(io::Error::other("full"));
        }
        self.0.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Full {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

#[test]
fn a_chunk_whose_samples_could_not_be_written_leaves_no_trace() {
    let chunks = [
        chunk(0, 3000, &[(1000, "a"), (2000, "a b")]),
        chunk(2500, 9000, &[(3000, "x"), (4000, "a x"), (8000, "a")]),
        chunk(8500, 12_000, &[(9000, "c"), (10_000, "a c"), (11_000, "a")]),
    ];
    let full = std::rc::Rc::new(std::cell::Cell::new(false));
    let file = Full(Cursor::default(), full.clone());
    let mut joiner = Joiner::new(file, Duration::from_micros(1000), JoinLimits::default());
    joiner.add(chunks[0].as_bytes()).unwrap();
    full.set(true);
    let error = joiner.add(chunks[1].as_bytes()).unwrap_err();
    let expected = "the samples of the recording can't be written to the scratch file: full";
    assert_eq!(error.to_string(), expected);
    full.set(false);
    joiner.add(chunks[2].as_bytes()).unwrap();
    assert_eq!(finish(joiner).0, joined(&[chunks[0].clone(), chunks[2].clone()]).0);
}
