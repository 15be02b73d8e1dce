//! Handmade profiles.

use std::fmt::Write as _;
use std::time::Duration;

use super::*;
use crate::ReadError;

/// A call tree in a few words: one node a line, indented by its depth, `name` or `name url:line:column`. Its ids count
/// from 1.
fn nodes(tree: &str) -> String {
    let mut path: Vec<usize> = Vec::new();
    let lines: Vec<&str> = tree.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let outermost = lines.iter().map(|line| line.len() - line.trim_start().len()).min().unwrap();
    let mut children = vec![Vec::new(); lines.len()];
    for (at, line) in lines.iter().enumerate() {
        let depth = (line.len() - line.trim_start().len() - outermost) / 2;
        path.truncate(depth);
        if let Some(&parent) = path.last() {
            children[parent].push(at + 1);
        }
        path.push(at);
    }
    let mut nodes = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let (name, place) = line
            .trim_start()
            .rsplit_once(' ')
            .filter(|(_, place)| place.contains(':'))
            .unwrap_or((line.trim_start(), ""));
        let mut parts = place.rsplitn(3, ':');
        let column: i64 = parts.next().and_then(|column| column.parse().ok()).unwrap_or(0);
        let line: i64 = parts.next().and_then(|line| line.parse().ok()).unwrap_or(0);
        let url = parts.next().unwrap_or("");
        let script = if place.is_empty() { 0 } else { 7 };
        nodes.push(format!(
            r#"{{"id":{},"callFrame":{{"functionName":"{}","scriptId":"{script}","url":"{url}","lineNumber":{},
            "columnNumber":{}}},"hitCount":0,"children":{:?}}}"#,
            at + 1,
            if name == "-" { "" } else { name },
            line - 1,
            column - 1,
            children[at],
        ));
    }
    nodes.join(",")
}

/// A profile of a tree, its samples, each as node and microseconds that it lasts, and its first delta.
fn profile_json(tree: &str, samples: &[(u32, i64)], first_delta: i64) -> String {
    let mut deltas = vec![first_delta];
    deltas.extend(samples.iter().map(|(_, micros)| micros));
    let last = deltas.pop().unwrap();
    let end = 1_000_000 + deltas.iter().sum::<i64>() + last;
    let ids: Vec<u32> = samples.iter().map(|(node, _)| *node).collect();
    format!(
        r#"{{"nodes":[{}],"startTime":1000000,"endTime":{end},"samples":{ids:?},"timeDeltas":{deltas:?}}}"#,
        nodes(tree)
    )
}

fn read_json(json: &str) -> Result<CpuProfile, ReadError> {
    read(json.as_bytes(), &Limits::default())
}

/// What an analysis says about each function, as `name self/total`, in milliseconds.
fn spent(profile: &CpuProfile, analysis: &CpuAnalysis) -> Vec<String> {
    let mut spent: Vec<String> = profile
        .frames
        .iter()
        .zip(&analysis.frames)
        .map(|(frame, time)| {
            format!("{} {}/{}", frame.name, time.self_time.as_millis(), time.total_time.as_millis())
        })
        .collect();
    spent.sort();
    spent
}

const SHOP: &str = "
    (root)
      (idle)
      (garbage collector)
      (program)
      - file:///app/server.js:1:1
        main file:///app/server.js:10:3
          handle file:///app/server.js:20:3
            serialize file:///app/cart.js:5:1
              stringify
          handle file:///app/server.js:20:3
            handle file:///app/server.js:20:3
              serialize file:///app/cart.js:5:1
";

#[test]
fn time_is_told_apart_by_what_ran() {
    let json = profile_json(
        SHOP,
        &[(2, 4000), (3, 1000), (4, 500), (6, 500), (8, 2000), (9, 1000), (11, 250), (12, 250), (12, 500)],
        777_000,
    );
    let profile = read_json(&json).unwrap();
    let analysis = analyse(&profile);
    assert_eq!(analysis.duration, Duration::from_millis(10), "without the time before the first sample");
    assert_eq!(analysis.idle, Duration::from_millis(4));
    assert_eq!(analysis.busy(), Duration::from_millis(6));
    assert_eq!(analysis.garbage_collection, Duration::from_millis(1));
    assert_eq!(analysis.program, Duration::from_micros(500));
    assert_eq!((analysis.samples, analysis.busy_samples), (9, 8));
    let names = |ids: &[FrameId]| -> Vec<String> {
        ids.iter().map(|id| profile.frames[id.index()].name.to_string()).collect()
    };
    assert_eq!(names(&analysis.most_self), ["serialize", "stringify", "main", "handle"]);
    assert_eq!(
        names(&analysis.most_total),
        ["main", "handle", "serialize"],
        "neither modules nor native code"
    );
}

#[test]
fn recursion_counts_once() {
    let json = profile_json(
        "
        (root)
          a file:///app/a.js:1:2
            b file:///app/a.js:2:2
              a file:///app/a.js:1:2
                a file:///app/a.js:1:2
              c file:///app/a.js:3:2
          c file:///app/a.js:3:2
            a file:///app/a.js:1:2
    ",
        &[(2, 1000), (3, 1000), (4, 1000), (5, 1000), (6, 1000), (7, 1000), (8, 1000)],
        0,
    );
    let profile = read_json(&json).unwrap();
    let analysis = analyse(&profile);
    assert_eq!(spent(&profile, &analysis), ["(root) 0/7", "a 4/6", "b 1/4", "c 2/3"]);
}

#[test]
fn a_function_is_one_wherever_it_is_called_and_another_where_it_lies_elsewhere() {
    let json = profile_json(
        "
        (root)
          x file:///app/a.js:1:2
            f file:///app/a.js:2:2
          y file:///app/a.js:3:2
            f file:///app/a.js:2:2
            f file:///app/b.js:2:2
            f file:///app/a.js:2:9
    ",
        &[(3, 1000), (5, 2000), (6, 4000), (7, 8000)],
        0,
    );
    let profile = read_json(&json).unwrap();
    let analysis = analyse(&profile);
    // The last lasts no longer than is usual.
    assert_eq!(spent(&profile, &analysis), ["(root) 0/9", "f 2/2", "f 3/3", "f 4/4", "x 0/1", "y 0/8"]);
}

#[test]
fn samples_that_were_written_out_of_order_last_until_the_next_in_time() {
    // Taken at 10, 12, 11 and 14 ms.
    let json = format!(
        r#"{{"nodes":[{}],"startTime":0,"endTime":15000,"samples":[2,3,4,2],"timeDeltas":[10000,2000,-1000,3000]}}"#,
        nodes(
            "
            (root)
              a file:///a.js:1:2
              b file:///a.js:2:2
              c file:///a.js:3:2
        "
        )
    );
    let profile = read_json(&json).unwrap();
    assert_eq!(profile.times, [10_000, 11_000, 12_000, 14_000]);
    let analysis = analyse(&profile);
    assert_eq!(spent(&profile, &analysis), ["(root) 0/5", "a 2/2", "b 2/2", "c 1/1"]);
}

#[test]
fn the_last_sample_lasts_until_the_end_but_no_longer_than_is_usual() {
    for (last, expected) in [(400, 400), (1000, 1000), (90_000, 1000), (-5, 0)] {
        let json = profile_json(
            "
            (root)
              a file:///a.js:1:2
        ",
            &[(2, 1000), (2, 1000), (2, 1000), (2, last)],
            50,
        );
        let profile = read_json(&json).unwrap();
        assert_eq!(analyse(&profile).duration, Duration::from_micros(3000 + expected), "{last}");
    }
}

#[test]
fn few_samples_or_none_are_no_error() {
    let json = |samples: &str, deltas: &str| {
        format!(
            r#"{{"nodes":[{}],"startTime":5,"endTime":9,"samples":{samples},"timeDeltas":{deltas}}}"#,
            nodes("(root)")
        )
    };
    let none = analyse(&read_json(&json("[]", "[]")).unwrap());
    assert_eq!((none.samples, none.duration, none.sampling_interval), (0, Duration::ZERO, None));
    let one = analyse(&read_json(&json("[1]", "[2]")).unwrap());
    assert_eq!((one.samples, one.duration, one.sampling_interval), (1, Duration::ZERO, None));
    let two = analyse(&read_json(&json("[1,1]", "[0,2]")).unwrap());
    assert_eq!((two.samples, two.duration.as_micros()), (2, 4));
    assert_eq!(two.sampling_interval, Some(Duration::from_micros(2)));
}

#[test]
fn functions_of_equal_time_come_in_the_order_of_their_names_and_places() {
    let mut tree = "(root)\n".to_owned();
    let mut samples = Vec::new();
    for (at, name) in (2..).zip(["d", "b", "a", "c", "b"]) {
        writeln!(tree, "  {name} file:///app/{at}.js:1:2").unwrap();
        samples.push((at, 1000));
    }
    let profile = read_json(&profile_json(&tree, &samples, 0)).unwrap();
    let analysis = analyse(&profile);
    let named: Vec<String> = analysis
        .most_self
        .iter()
        .map(|id| format!("{} {}", profile.frames[id.index()].name, profile.frames[id.index()].url))
        .collect();
    let expected = [
        "a file:///app/4.js",
        "b file:///app/3.js",
        "b file:///app/6.js",
        "c file:///app/5.js",
        "d file:///app/2.js",
    ];
    assert_eq!(named, expected);
    assert_eq!(analysis.most_self, analysis.most_total);
}

#[test]
fn dependencies_are_named_by_total_time_only_where_the_app_has_no_function() {
    let tree = |extra: &str| {
        format!(
            "(root)
  listOnTimeout node:internal/timers:5:5
    run file:///app/node_modules/jobs/index.js:1:5
{extra}"
        )
    };
    let own = "      job file:///app/jobs.js:3:5\n";
    for (tree, samples, expected) in
        [(tree(""), vec![(3, 1000), (3, 1000)], "run"), (tree(own), vec![(3, 1000), (4, 1000)], "job")]
    {
        let profile = read_json(&profile_json(&tree, &samples, 0)).unwrap();
        let analysis = analyse(&profile);
        let names: Vec<&str> =
            analysis.most_total.iter().map(|id| &*profile.frames[id.index()].name).collect();
        assert_eq!(names, [expected]);
    }
}

#[test]
fn callers_are_found_by_children_and_by_parent() {
    let frame = |name: &str| format!(r#""callFrame":{{"functionName":"{name}"}}"#);
    let (root, a, b) = (frame("(root)"), frame("a"), frame("b"));
    let rest = r#""startTime":0,"endTime":2,"samples":[30,30],"timeDeltas":[0,1]"#;
    for nodes in [
        format!(r#"{{"id":10,{root},"children":[20]}},{{"id":20,{a},"children":[30]}},{{"id":30,{b}}}"#),
        format!(r#"{{"id":30,{b},"parent":20}},{{"id":20,{a},"parent":10}},{{"id":10,{root}}}"#),
        format!(
            r#"{{"id":30,"parent":20,{b}}},{{"children":[30],{a},"id":20,"parent":10}},{{"id":10,{root}}}"#
        ),
    ] {
        let profile = read_json(&format!(r#"{{"nodes":[{nodes}],{rest}}}"#)).unwrap();
        let names: Vec<&str> =
            profile.nodes.iter().map(|node| &*profile.frames[node.frame.index()].name).collect();
        assert_eq!(names, ["(root)", "a", "b"], "{nodes}");
        assert_eq!(
            profile.nodes.iter().map(|node| node.parent).collect::<Vec<_>>(),
            [None, Some(0), Some(1)]
        );
        assert_eq!(profile.samples, [2, 2]);
    }
}

#[test]
fn an_app_cannot_pass_its_functions_off_as_idle() {
    let json = profile_json(
        "
        (root)
          (idle) file:///app/evil.js:1:2
          (idle)
    ",
        &[(2, 1000), (3, 1000)],
        0,
    );
    let profile = read_json(&json).unwrap();
    assert_eq!(analyse(&profile).idle, Duration::from_millis(1));
}

#[test]
fn what_contradicts_itself_or_is_no_profile_is_refused_with_where_and_what() {
    let frame = r#""callFrame":{"functionName":"f"}"#;
    let with = |nodes: &str, samples: &str, deltas: &str| {
        format!(
            r#"{{"nodes":[{}],"startTime":0,"endTime":9,"samples":{samples},"timeDeltas":{deltas}}}"#,
            nodes.replace('f', frame)
        )
    };
    for (json, expected) in [
        (with(r#"{"id":1,f},{"id":1,f}"#, "[]", "[]"), "two nodes have the id 1"),
        (with(r#"{"id":1,f,"children":[2]}"#, "[]", "[]"), "node 1 names node 2, which is missing"),
        (with(r#"{"id":1,f,"parent":2}"#, "[]", "[]"), "node 1 names node 2, which is missing"),
        (with(r#"{"id":1,f,"children":[1]}"#, "[]", "[]"), "node 1 is its own caller"),
        (with(r#"{"id":1,f,"parent":2},{"id":2,f,"parent":1}"#, "[]", "[]"), "its own caller"),
        (
            with(
                r#"{"id":9,f},{"id":1,f,"children":[2]},{"id":2,f,"children":[3,1]},{"id":3,f}"#,
                "[]",
                "[]",
            ),
            "its own caller",
        ),
        (
            with(r#"{"id":1,f,"children":[3]},{"id":2,f,"children":[3]},{"id":3,f}"#, "[]", "[]"),
            "node 3 has two callers",
        ),
        (with(r#"{"id":1,f}"#, "[2]", "[0]"), "a sample names node 2, which is missing"),
        (with(r#"{"id":1,f}"#, "[1,1]", "[0]"), "there are 2 samples and 1 timeDeltas"),
        (with(r#"{"id":1,f}"#, "[-1]", "[0]"), "out of range"),
        (with(r#"{"id":1,f}"#, "[\"1\"]", "[0]"), "a number is expected"),
        (with(r#"{"id":4294967296,f}"#, "[]", "[]"), "out of range"),
        (with(r#"{"id":1e400,f}"#, "[]", "[]"), "too large"),
        (with("{f}", "[]", "[]"), "no id"),
        (with(r#"{"id":1}"#, "[]", "[]"), "no callFrame"),
        (with(r#"{"id":1,"callFrame":{}}"#, "[]", "[]"), "no functionName"),
        (with(r#"{"id":1,"callFrame":[]}"#, "[]", "[]"), "an object is expected"),
        (with("7", "[]", "[]"), "an object is expected"),
        ("{}".to_owned(), "`nodes` is missing"),
        (r#"{"nodes":[]}"#.to_owned(), "`samples` is missing"),
        (r#"{"nodes":[],"samples":[]}"#.to_owned(), "`timeDeltas` is missing"),
        (r#"{"nodes":[],"samples":[],"timeDeltas":[]}"#.to_owned(), "`startTime` is missing"),
        (r#"{"nodes":[],"nodes":[]}"#.to_owned(), "twice"),
        (r#"{"snapshot":{"meta":{}},"nodes":[9,1,2,3]}"#.to_owned(), "an object is expected"),
        ("[]".to_owned(), "at byte 0, an object is expected"),
        (String::new(), "it ends at byte 0"),
        ("\u{7f}ELF".to_owned(), "at byte 0"),
        (with("", "[]", "[]") + "{}", "something follows"),
        (
            with(r#"{"id":1,f}"#, &format!("{:?}", [1; 2000]), &format!("{:?}", [(1u64 << 53) - 1; 2000])),
            "the sum of timeDeltas is out of range",
        ),
        (format!(r#"{{"nodes":{}"#, "[".repeat(100_000)), "an object is expected"),
        (format!(r#"{{"x":{}"#, "[".repeat(100_000)), "nested too deep"),
    ] {
        let error = read_json(&json).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}, not {expected}, of {json:.200}");
        assert!(error.contains("byte"), "{error}");
    }
}

#[test]
fn limits_hold() {
    let frame = r#""callFrame":{"functionName":"abcdefgh"}"#;
    let json = format!(
        r#"{{"nodes":[{{"id":1,{frame}}},{{"id":2,{frame},"children":[]}}],"startTime":0,"endTime":9,
        "samples":[1,2],"timeDeltas":[0,1]}}"#
    );
    let exact = Limits { bytes: json.len() as u64, nodes: 2, samples: 2, functions: 1, text: 8 };
    read(json.as_bytes(), &exact).unwrap();
    for (limits, expected) in [
        (Limits { bytes: exact.bytes - 1, ..exact }, "bytes"),
        (Limits { nodes: 1, ..exact }, "more than 1 nodes"),
        (Limits { samples: 1, ..exact }, "more than 1 samples"),
        (Limits { functions: 0, ..exact }, "more than 0 functions"),
        (Limits { text: 7, ..exact }, "more than 7 bytes of names"),
    ] {
        let error = read(json.as_bytes(), &limits).unwrap_err();
        assert!(matches!(error, ReadError::TooLarge { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

/// A chain and a fan of many nodes: neither recursion nor more than linear time.
#[test]
fn extreme_trees_are_read_in_linear_time() {
    let count = 200_000;
    let frame = r#""callFrame":{"functionName":"f","url":"file:///a.js","scriptId":"1"}"#;
    let rest = format!(r#""startTime":0,"endTime":9,"samples":[{count},{count}],"timeDeltas":[0,1]"#);
    let mut chain = String::new();
    let mut fan = String::new();
    for id in 1..=count {
        let comma = if id == 1 { "" } else { "," };
        let parent = if id == 1 { String::new() } else { format!(r#","parent":{}"#, id - 1) };
        write!(chain, r#"{comma}{{"id":{id},{frame}{parent}}}"#).unwrap();
        let parent = if id == 1 { "" } else { r#","parent":1"# };
        write!(fan, r#"{comma}{{"id":{id},{frame}{parent}}}"#).unwrap();
    }
    for nodes in [chain, fan] {
        let profile = read_json(&format!(r#"{{"nodes":[{nodes}],{rest}}}"#)).unwrap();
        let analysis = analyse(&profile);
        assert_eq!(analysis.frames[0].total_time, Duration::from_micros(2));
    }
}
