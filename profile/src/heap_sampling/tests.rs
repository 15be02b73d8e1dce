use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;

const LIMITS: JoinLimits =
    JoinLimits { chunk_bytes: 1 << 20, chunk_nodes: 1000, nodes: 1000, functions: 1000, text: 1 << 16 };

/// A chunk in which the functions on these stacks, as `a b c`, allocated that many bytes.
fn chunk(allocated: &[(&str, u64)]) -> String {
    let mut head = node("(root)", 0);
    for (stack, size) in allocated {
        let mut at = &mut head;
        for name in stack.split(' ').filter(|name| !name.is_empty()) {
            let children = at["children"].as_array_mut().unwrap();
            let known = children.iter().position(|child| child["callFrame"]["functionName"] == name);
            let known = known.unwrap_or_else(|| {
                children.push(node(name, 3));
                children.len() - 1
            });
            at = &mut at["children"][known];
        }
        at["selfSize"] = json!(at["selfSize"].as_u64().unwrap() + size);
    }
    json!({ "head": head, "samples": [{ "size": 16, "nodeId": 1, "ordinal": 1 }] }).to_string()
}

fn node(name: &str, line: i64) -> Value {
    let (script, url, line) = if name == "(root)" { ("0", "", -1) } else { ("7", "file:///app/a.js", line) };
    json!({
        "callFrame": {
            "functionName": name, "scriptId": script, "url": url, "lineNumber": line, "columnNumber": line
        },
        "selfSize": 0, "id": 1, "children": []
    })
}

/// What a profile says that each stack allocated, read by another parser.
fn said(profile: &[u8]) -> BTreeMap<String, u64> {
    fn below(node: &Value, path: &str, said: &mut BTreeMap<String, u64>, ids: &mut Vec<u64>) {
        let name = node["callFrame"]["functionName"].as_str().unwrap();
        let path = if path.is_empty() { name.to_owned() } else { format!("{path} {name}") };
        ids.push(node["id"].as_u64().unwrap());
        for child in node["children"].as_array().unwrap() {
            below(child, &path, said, ids);
        }
        assert!(said.insert(path, node["selfSize"].as_u64().unwrap()).is_none(), "one node a path");
    }
    let profile: Value = serde_json::from_slice(profile).unwrap();
    assert_eq!(profile["samples"], json!([]));
    let (mut all, mut ids) = (BTreeMap::new(), vec![]);
    below(&profile["head"], "", &mut all, &mut ids);
    ids.sort_unstable();
    assert!(ids.windows(2).all(|two| two[0] < two[1]), "each id once");
    all.retain(|_, size| *size > 0);
    all
}

fn joined(chunks: &[String], limits: JoinLimits) -> (BTreeMap<String, u64>, Joined) {
    let mut joiner = Joiner::new(limits);
    for chunk in chunks {
        joiner.add(chunk.as_bytes()).unwrap();
    }
    let mut out = vec![];
    let summary = joiner.finish(&mut out).unwrap();
    (said(&out), summary)
}

fn sizes(expected: &[(&str, u64)]) -> BTreeMap<String, u64> {
    expected.iter().map(|(path, size)| ((*path).to_owned(), *size)).collect()
}

#[test]
fn what_each_path_allocated_is_the_sum_of_the_chunks() {
    let chunks = [
        chunk(&[("a b", 10), ("a c", 20), ("", 5)]),
        chunk(&[("a b", 1), ("d", 7)]),
        chunk(&[("d a", 100), ("a", 2)]),
    ];
    let (said, summary) = joined(&chunks, LIMITS);
    let expected = [
        ("(root)", 5),
        ("(root) a", 2),
        ("(root) a b", 11),
        ("(root) a c", 20),
        ("(root) d", 7),
        ("(root) d a", 100),
    ];
    assert_eq!(said, sizes(&expected));
    assert_eq!(summary, Joined { chunks: 3, nodes: 6, allocated: 145, folded: 0 });
}

#[test]
fn nothing_of_a_damaged_chunk_is_kept_and_others_are_added() {
    let whole = chunk(&[("a b", 10), ("c", 20)]);
    let mut joiner = Joiner::new(LIMITS);
    joiner.add(whole.as_bytes()).unwrap();
    let other = chunk(&[("x y", 1000), ("a b", 1000)]);
    for end in 0..other.len() {
        joiner.add(&other.as_bytes()[..end]).unwrap_err();
    }
    for (from, to) in [
        ("\"selfSize\":1000", "\"selfSize\":-1"),
        ("\"callFrame\"", "\"callframe\""),
        ("\"head\"", "\"tail\""),
        ("\"samples\"", "\"head\""),
    ] {
        let damaged = other.replace(from, to);
        assert_ne!(damaged, other);
        let error = joiner.add(damaged.as_bytes()).unwrap_err();
        assert!(matches!(error, ReadError::Shape { .. }), "{error}");
    }
    joiner.add(whole.as_bytes()).unwrap();
    let mut out = vec![];
    let summary = joiner.finish(&mut out).unwrap();
    assert_eq!(said(&out), sizes(&[("(root) a b", 20), ("(root) c", 40)]));
    assert_eq!((summary.chunks, summary.nodes), (2, 4));
}

#[test]
fn as_deep_as_v8_writes_it_is_read_and_deeper_is_an_error() {
    for (functions, reads) in [(128, true), (200, false)] {
        let mut head = node("f", 3);
        head["selfSize"] = json!(1);
        for n in 1..=functions {
            let mut parent = node(if n == functions { "(root)" } else { "f" }, 3);
            parent["children"] = json!([head]);
            head = parent;
        }
        let text = json!({ "head": head }).to_string();
        assert_eq!(Joiner::new(LIMITS).add(text.as_bytes()).is_ok(), reads, "{functions}");
    }
}

#[test]
fn what_passes_a_limit_is_folded_or_refused_and_no_byte_is_lost() {
    let chunks: Vec<_> =
        (0..40).map(|n| chunk(&[(format!("f{n} g").as_str(), 10), (format!("h{n}").as_str(), 1)])).collect();
    for limits in [
        JoinLimits { nodes: 40, ..LIMITS },
        JoinLimits { functions: 20, ..LIMITS },
        JoinLimits { text: 80, ..LIMITS },
        JoinLimits { nodes: 0, functions: 0, text: 0, ..LIMITS },
    ] {
        let (said, summary) = joined(&chunks, limits);
        assert_eq!(said.values().sum::<u64>(), 40 * 11, "{limits:?}");
        assert_eq!(summary.allocated, 40 * 11);
        assert!(summary.folded > 0 && summary.nodes <= limits.nodes.max(16), "{limits:?} {summary:?}");
        let folded = said.iter().filter(|(path, _)| path.starts_with("(root) (folded)"));
        assert_eq!(folded.map(|(_, size)| size).sum::<u64>(), summary.folded);
    }
    for (limits, of) in [
        (JoinLimits { chunk_nodes: 3, ..LIMITS }, "nodes"),
        (JoinLimits { chunk_bytes: 300, ..LIMITS }, "bytes"),
    ] {
        let error = Joiner::new(limits).add(chunks[0].as_bytes()).unwrap_err();
        assert!(matches!(error, ReadError::TooLarge { of: what, .. } if what == of), "{error}");
    }
}

#[test]
fn hostile_chunks_end_in_an_error_or_in_a_profile() {
    let mut random = fastrand::Rng::with_seed(31);
    let stacks = ["a b c", "a b d", "a", "e f g h", "", "e f"];
    let original = chunk(&stacks.map(|stack| (stack, 1 << random.u32(..40))));
    let (mut refused, mut kept) = (0, 0);
    for _ in 0..400 {
        let mut joiner = Joiner::new(JoinLimits { nodes: 20, functions: 16, ..LIMITS });
        for _ in 0..3 {
            let mut damaged = original.clone().into_bytes();
            for _ in 0..random.usize(0..4) {
                let at = random.usize(..damaged.len());
                damaged[at] = *random.choice(b"0123456789-.e\"\\{}[],: \xff\x01a").unwrap();
            }
            match joiner.add(&damaged[..]) {
                Ok(()) => kept += 1,
                Err(_) => refused += 1,
            }
        }
        let mut out = vec![];
        let summary = joiner.finish(&mut out).unwrap();
        // Functions that differ in their lines only have one name.
        let profile: Value = serde_json::from_slice(&out).unwrap();
        let mut nodes = vec![&profile["head"]];
        let mut allocated = 0;
        while let Some(node) = nodes.pop() {
            allocated += node["selfSize"].as_u64().unwrap();
            nodes.extend(node["children"].as_array().unwrap());
        }
        assert_eq!(allocated, summary.allocated);
    }
    assert!(refused > 200 && kept > 200, "{refused} refused, {kept} kept");
}
